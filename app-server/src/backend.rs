//! A session with the database: logging in as one of our roles, asking a few questions of our own, and being handed to a
//! person. After that it is bytes for `relay`.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::{backend::Message, frontend};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::{DatabaseAddress, Passwords};
use crate::stream::Stream;
use crate::tier::Tier;
use crate::tls::DatabaseTls;

/// A database that does not answer a login within this is as good as down: clients must hear of it soon.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

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
    #[error("the database answered a login of `{role}` with {what}")]
    Unexpected { role: &'static str, what: &'static str },
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
        Self { address: format!("{host}:{}", address.port), name: address.database.clone(), tls, passwords }
    }

    fn password(&self, login: Login) -> &str {
        match login {
            Login::AppAuth => self.passwords.app_auth.expose(),
            Login::Tier(Tier::Free) => self.passwords.free.expose(),
            Login::Tier(Tier::Premium) => self.passwords.premium.expose(),
            Login::Tier(Tier::Admin) => self.passwords.admin.expose(),
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
            let mut backend = Backend {
                login,
                stream: self.open().await?,
                received: BytesMut::new(),
                parameters: Vec::new(),
                key: None,
            };
            backend.log_in(&self.name, self.password(login), settings).await?;
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
    /// What the session reported of itself at login, for the client.
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

    async fn log_in(
        &mut self,
        database: &str,
        password: &str,
        settings: &[(&str, &str)],
    ) -> Result<(), BackendError> {
        let mut out = BytesMut::new();
        let parameters = [("user", self.login.role()), ("database", database)];
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
                    let exchange = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
                    frontend::sasl_initial_response(SCRAM_SHA_256, exchange.message(), &mut out)?;
                    self.send(&out).await?;
                    scram = Some(exchange);
                }
                Message::AuthenticationSaslContinue(body) => {
                    let exchange =
                        scram.as_mut().ok_or_else(|| self.unexpected("a SCRAM step out of turn"))?;
                    exchange.update(body.data())?;
                    frontend::sasl_response(exchange.message(), &mut out)?;
                    self.send(&out).await?;
                }
                Message::AuthenticationSaslFinal(body) => {
                    let exchange =
                        scram.as_mut().ok_or_else(|| self.unexpected("a SCRAM step out of turn"))?;
                    exchange.finish(body.data())?;
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

    async fn run(&mut self, sql: &str, parameters: &[&str]) -> Result<Vec<Row>, BackendError> {
        use fallible_iterator::FallibleIterator as _;
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
        let (mut rows, mut failure) = (Vec::new(), None);
        loop {
            match self.next().await? {
                Message::DataRow(body) => {
                    let ranges: Vec<_> = body.ranges().collect()?;
                    let value = |range| String::from_utf8_lossy(&body.buffer()[range]).into_owned();
                    rows.push(ranges.into_iter().map(|range| range.map(value)).collect());
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
            if let Some(message) = Message::parse(&mut self.received)? {
                return Ok(message);
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}
