//! A session with the database: logging in as one of our roles, asking a few questions of our own, and being handed to a
//! person. After that it is bytes for `relay`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use postgres_protocol::authentication::sasl::SCRAM_SHA_256;
use postgres_protocol::message::{backend::Message, frontend};
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::{DatabaseAddress, Passwords};
use crate::database_scram::{DatabaseExchange, RememberedKeys};

use crate::scram::ScramError;
use crate::stream::Stream;
use crate::tier::Tier;
use crate::tls::DatabaseTls;
use crate::wire::header;

/// A database that does not answer a login within this is as good as down: clients must hear of it soon.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);
/// One read of an answer to ourselves: all of nearly every one.
const READ: usize = 1024;

pub(crate) const DISCARD_ALL: &str = "discard all";

#[derive(Debug, thiserror::Error)]
pub(crate) enum BackendError {
    #[error("cannot reach the database at {address}: {source}")]
    Unreachable { address: String, source: io::Error },
    #[error("the database at {address} does not accept TLS; DATABASE_URL asks for it")]
    NoTls { address: String },
    #[error("TLS with the database at {address} failed: {source}")]
    Tls { address: String, source: io::Error },
    #[error("the database did not answer within {seconds} s")]
    Timeout { seconds: u64 },
    #[error("the database refused `{role}`: {message} ({code})")]
    Refused { role: &'static str, code: String, message: String },
    #[error("the connection to the database broke: {0}")]
    Broken(#[from] io::Error),
    #[error("the login of `{role}` at the database failed: {source}")]
    Scram { role: &'static str, source: ScramError },
    #[error("the database answered a login of `{role}` with {what}")]
    Unexpected { role: &'static str, what: &'static str },
}

impl BackendError {
    /// Whether trying again may help: the database is away, starts, ends, or is full.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::Broken(_) => true,
            Self::Refused { code, .. } => code.starts_with("57P") || code == "53300",
            _ => false,
        }
    }
}

/// Whom this server logs in as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Login {
    AppAuth,
    Tier(Tier),
}

impl Login {
    pub(crate) fn role(self) -> &'static str {
        match self {
            Self::AppAuth => "app_auth",
            Self::Tier(tier) => tier.role(),
        }
    }
}

/// Where the database is and how to log in to it.
pub(crate) struct Database {
    address: String,
    pub(crate) name: String,
    tls: Option<DatabaseTls>,
    passwords: Passwords,
    app_auth_keys: RememberedKeys,
    tier_keys: [RememberedKeys; Tier::ALL.len()],
}

/// What identifies a database session to a CancelRequest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BackendKey {
    pub(crate) process_id: i32,
    pub(crate) secret_key: i32,
}

impl Database {
    pub(crate) fn new(address: &DatabaseAddress, tls: Option<DatabaseTls>, passwords: Passwords) -> Self {
        let host =
            if address.host.contains(':') { format!("[{}]", address.host) } else { address.host.clone() };
        Self {
            address: format!("{host}:{}", address.port),
            name: address.database.clone(),
            tls,
            passwords,
            app_auth_keys: RememberedKeys::default(),
            tier_keys: Default::default(),
        }
    }

    fn password(&self, login: Login) -> &str {
        match login {
            Login::AppAuth => self.passwords.app_auth.expose(),
            Login::Tier(Tier::Free) => self.passwords.free.expose(),
            Login::Tier(Tier::Premium) => self.passwords.premium.expose(),
            Login::Tier(Tier::Admin) => self.passwords.admin.expose(),
        }
    }

    fn keys(&self, login: Login) -> &RememberedKeys {
        match login {
            Login::AppAuth => &self.app_auth_keys,
            Login::Tier(tier) => &self.tier_keys[tier as usize],
        }
    }

    async fn open(&self) -> Result<Stream, BackendError> {
        let unreachable = |source| BackendError::Unreachable { address: self.address.clone(), source };
        let mut socket = TcpStream::connect(&self.address).await.map_err(unreachable)?;
        socket.set_nodelay(true).map_err(unreachable)?;
        let Some(tls) = &self.tls else {
            return Ok(Stream::Clear(socket));
        };
        let mut request = BytesMut::new();
        frontend::ssl_request(&mut request);
        socket.write_all(&request).await?;
        if socket.read_u8().await? != b'S' {
            return Err(BackendError::NoTls { address: self.address.clone() });
        }
        tls.connect(socket)
            .await
            .map_err(|source| BackendError::Tls { address: self.address.clone(), source })
    }

    /// Logs in. `settings` go into the start-up packet.
    pub(crate) async fn connect(
        &self,
        login: Login,
        settings: &[(&str, &str)],
    ) -> Result<Backend, BackendError> {
        let connecting = async {
            let stream = self.open().await?;
            let mut backend =
                Backend { login, stream, received: BytesMut::new(), parameters: Vec::new(), key: None };
            backend.log_in(self, settings).await?;
            Ok(backend)
        };
        timeout(CONNECT_TIMEOUT, connecting)
            .await
            .unwrap_or(Err(BackendError::Timeout { seconds: CONNECT_TIMEOUT.as_secs() }))
    }

    /// Asks the database to stop what the session is doing.
    pub(crate) async fn cancel(&self, key: BackendKey) -> Result<(), BackendError> {
        let cancelling = async {
            let mut stream = self.open().await?;
            let mut request = BytesMut::new();
            frontend::cancel_request(key.process_id, key.secret_key, &mut request);
            stream.write_all(&request).await?;
            stream.flush().await?;
            // The database closes the connection when it has signalled the session: from then on it is done. Some close
            // it without ceremony, which is as good.
            let _ = stream.read(&mut [0]).await;
            Ok(())
        };
        timeout(CONNECT_TIMEOUT, cancelling)
            .await
            .unwrap_or(Err(BackendError::Timeout { seconds: CONNECT_TIMEOUT.as_secs() }))
    }
}

pub(crate) struct Backend {
    login: Login,
    pub(crate) stream: Stream,
    /// What was read and not yet looked at.
    pub(crate) received: BytesMut,
    /// What the session reported of itself since the last time somebody took it.
    pub(crate) parameters: Vec<(String, String)>,
    key: Option<BackendKey>,
}

pub(crate) type Row = Vec<Option<String>>;

impl Backend {
    pub(crate) fn key(&self) -> Option<BackendKey> {
        self.key
    }

    fn unexpected(&self, what: &'static str) -> BackendError {
        BackendError::Unexpected { role: self.login.role(), what }
    }

    async fn log_in(&mut self, database: &Database, settings: &[(&str, &str)]) -> Result<(), BackendError> {
        let role = self.login.role();
        let failed = |source| BackendError::Scram { role, source };
        let mut out = BytesMut::new();
        let parameters = [("user", self.login.role()), ("database", database.name.as_str())];
        frontend::startup_message(parameters.into_iter().chain(settings.iter().copied()), &mut out)?;
        self.send(&out).await?;
        let mut scram = None;
        loop {
            out.clear();
            match self.next().await? {
                Message::AuthenticationOk => {}
                Message::AuthenticationSasl(body) => {
                    let offered = fallible_iterator::FallibleIterator::collect::<Vec<_>>(body.mechanisms())?;
                    if !offered.contains(&SCRAM_SHA_256) {
                        return Err(self.unexpected("no SCRAM-SHA-256"));
                    }
                    let exchange = DatabaseExchange::begin();
                    frontend::sasl_initial_response(
                        SCRAM_SHA_256,
                        exchange.client_first().as_bytes(),
                        &mut out,
                    )?;
                    self.send(&out).await?;
                    scram = Some(exchange);
                }
                Message::AuthenticationSaslContinue(body) => {
                    let exchange: &mut DatabaseExchange =
                        scram.as_mut().ok_or_else(|| self.unexpected("a SCRAM step out of turn"))?;
                    let (password, keys) = (database.password(self.login), database.keys(self.login));
                    let answer = exchange.respond(body.data(), password, keys);
                    frontend::sasl_response(answer.map_err(failed)?.as_bytes(), &mut out)?;
                    self.send(&out).await?;
                }
                Message::AuthenticationSaslFinal(body) => {
                    let exchange =
                        scram.as_mut().ok_or_else(|| self.unexpected("a SCRAM step out of turn"))?;
                    exchange.verify(body.data()).map_err(failed)?;
                }
                Message::AuthenticationCleartextPassword | Message::AuthenticationMd5Password(_) => {
                    // Our roles have SCRAM verifiers; whoever asks for the password itself must not get it.
                    return Err(self.unexpected("a request for the password instead of SCRAM"));
                }
                Message::ParameterStatus(body) => {
                    self.parameters.push((body.name()?.to_owned(), body.value()?.to_owned()));
                }
                Message::BackendKeyData(body) => {
                    self.key =
                        Some(BackendKey { process_id: body.process_id(), secret_key: body.secret_key() });
                }
                Message::NoticeResponse(_) => {}
                Message::ErrorResponse(body) => return Err(self.refused(body.fields())),
                Message::ReadyForQuery(_) => return Ok(()),
                _ => return Err(self.unexpected("a message that is no part of a login")),
            }
        }
    }

    fn refused(&self, mut fields: postgres_protocol::message::backend::ErrorFields<'_>) -> BackendError {
        use fallible_iterator::FallibleIterator as _;
        let (mut code, mut message) = (String::new(), String::new());
        while let Ok(Some(field)) = fields.next() {
            let value = String::from_utf8_lossy(field.value_bytes()).into_owned();
            match field.type_() {
                b'C' => code = value,
                b'M' => message = value,
                _ => {}
            }
        }
        BackendError::Refused { role: self.login.role(), code, message }
    }

    /// Runs one statement of our own with text parameters, and answers its rows.
    pub(crate) async fn query(&mut self, sql: &str, parameters: &[&str]) -> Result<Vec<Row>, BackendError> {
        timeout(QUERY_TIMEOUT, self.run(sql, parameters))
            .await
            .unwrap_or(Err(BackendError::Timeout { seconds: QUERY_TIMEOUT.as_secs() }))
    }

    /// DISCARD ALL: the session is as after its login, and the settings of its start-up packet hold again.
    pub(crate) async fn discard_all(&mut self) -> Result<(), BackendError> {
        let mut out = BytesMut::new();
        // By itself and first: a clock of the last owner's that runs out during DISCARD ALL does not stop it, but what comes next.
        frontend::query("reset statement_timeout", &mut out)?;
        frontend::query(DISCARD_ALL, &mut out)?;
        self.ask(&out, 2).await
    }

    /// Sends messages of our own, and waits until the database has said ReadyForQuery so many times. Fails if one of them did.
    pub(crate) async fn ask(&mut self, messages: &[u8], answers: usize) -> Result<(), BackendError> {
        let asking = async {
            self.send(messages).await?;
            let mut result = Ok(());
            for _ in 0..answers {
                match self.answer().await {
                    Err(error @ BackendError::Refused { .. }) => result = result.and(Err(error)),
                    answer => drop(answer?),
                }
            }
            result
        };
        timeout(QUERY_TIMEOUT, asking)
            .await
            .unwrap_or(Err(BackendError::Timeout { seconds: QUERY_TIMEOUT.as_secs() }))
    }

    /// Whether a session that nobody uses is still there: what has something to say without being asked has ended, or is about to.
    pub(crate) fn is_alive(&mut self) -> bool {
        let mut unexpected = [0];
        let mut buffer = ReadBuf::new(&mut unexpected);
        // Nobody waits: whoever reads next registers again.
        let mut context = Context::from_waker(Waker::noop());
        Pin::new(&mut self.stream).poll_read(&mut context, &mut buffer).is_pending()
            && self.received.is_empty()
    }

    /// Says goodbye. The database ends the session, and whatever it holds, either way.
    pub(crate) async fn close(mut self) {
        let mut goodbye = BytesMut::new();
        frontend::terminate(&mut goodbye);
        let closing = async {
            self.send(&goodbye).await?;
            self.stream.shutdown().await
        };
        let _ = timeout(GOODBYE_TIMEOUT, closing).await;
    }

    async fn run(&mut self, sql: &str, parameters: &[&str]) -> Result<Vec<Row>, BackendError> {
        let mut out = BytesMut::new();
        frontend::parse("", sql, [], &mut out)?;
        let bound = frontend::bind(
            "",
            "",
            [],
            parameters,
            |parameter, buffer| {
                buffer.extend_from_slice(parameter.as_bytes());
                Ok(postgres_protocol::IsNull::No)
            },
            [],
            &mut out,
        );
        if bound.is_err() {
            return Err(self.unexpected("parameters that cannot be sent"));
        }
        frontend::execute("", 0, &mut out)?;
        frontend::sync(&mut out);
        self.send(&out).await?;
        self.answer().await
    }

    /// Rows, up to ReadyForQuery.
    async fn answer(&mut self) -> Result<Vec<Row>, BackendError> {
        use fallible_iterator::FallibleIterator as _;
        let (mut rows, mut failure) = (Vec::new(), None);
        loop {
            match self.next().await? {
                Message::DataRow(body) => {
                    let ranges: Vec<_> = body.ranges().collect()?;
                    let value = |range| String::from_utf8_lossy(&body.buffer()[range]).into_owned();
                    rows.push(ranges.into_iter().map(|range| range.map(value)).collect());
                }
                Message::ParameterStatus(body) => {
                    self.parameters.push((body.name()?.to_owned(), body.value()?.to_owned()));
                }
                Message::ErrorResponse(body) => failure = Some(self.refused(body.fields())),
                Message::ReadyForQuery(_) => return failure.map_or(Ok(rows), Err),
                _ => {}
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    async fn next(&mut self) -> io::Result<Message> {
        loop {
            match header(&self.received, 0) {
                // The value of a FunctionCall: the crate does not know the message, and nobody asks for it.
                Some((b'V', length)) if length <= self.received.len() => {
                    self.received.advance(length);
                    continue;
                }
                Some((b'V', _)) | None => {}
                Some(_) => {
                    if let Some(message) = Message::parse(&mut self.received)? {
                        return Ok(message);
                    }
                }
            }
            self.received.reserve(READ);
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}
