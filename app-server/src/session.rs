//! One PostgreSQL connection from its first packet to its end: negotiate TLS, log the person in, open a database session as the
//! tier's role and hand it to the person, then relay.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{BufMut as _, BytesMut};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use crate::accounts::{Account, Accounts};
use crate::audit::{self, Audit};
use crate::audit_record::Actor;
use crate::backend::{BackendError, Database};
use crate::cancel::{Registration, Registry};
use crate::client_settings::{ClientSettings, Setting};
use crate::config::{Limits, Strangers};
use crate::guard::{Guard, Place};
use crate::handover::Person;
use crate::identity::IdentityKey;
use crate::log;
use crate::login::{self, LoginError, Method, Startup};
use crate::pool::{DatabaseSession, Owner, Pools};
use crate::proxy_protocol::Network;
use crate::queue;
use crate::readiness::Readiness;
use crate::relay::{self, Relay};
use crate::stream::Stream;
use crate::tier::Tier;
use crate::tls::ServerTls;
use crate::wire::{
    CANCEL_REQUEST, ErrorResponse, GSSENC_REQUEST, SSL_REQUEST, put_message, put_text, read_startup_body,
};

/// What is read of a message that is too long, so that its sender hears of it, and for how long.
const UNREAD_BYTES: usize = 256 * 1024;
const UNREAD_TIMEOUT: Duration = Duration::from_secs(2);

/// What all sessions share.
pub(crate) struct Services {
    pub(crate) database: Arc<Database>,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) pools: Pools,
    /// Numbers sessions, which pools tell apart by it.
    pub(crate) next_session: AtomicU64,
    pub(crate) identity_key: IdentityKey,
    pub(crate) readiness: Readiness,
    pub(crate) cancels: Arc<Registry>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) guard: Arc<Guard>,
    /// What serves TLS, once it is to be served; renewed when the certificate is.
    pub(crate) tls: watch::Receiver<Option<Arc<ServerTls>>>,
    pub(crate) insecure: bool,
    pub(crate) proxy_from: Vec<Network>,
    pub(crate) password_from: Vec<Network>,
    pub(crate) metrics_from: Vec<Network>,
    pub(crate) strangers: Strangers,
    /// The longest message of a client.
    pub(crate) message_bytes: usize,
    /// When the shutdown began, once it has.
    pub(crate) draining: watch::Receiver<Option<std::time::Instant>>,
    pub(crate) drain_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) limits: Limits,
}

impl Services {
    pub(crate) fn tls(&self) -> Option<Arc<ServerTls>> {
        self.tls.borrow().clone()
    }

    pub(crate) async fn ready(&self) -> Result<(), String> {
        self.readiness.check(self).await
    }
}

/// Serves a connection whose first byte, the high one of the start-up packet's length, was zero and has been read; or tells it why
/// not, as soon as it can hear that.
pub(crate) async fn serve(
    stream: Stream,
    peer: SocketAddr,
    services: Arc<Services>,
    tls: Option<Arc<ServerTls>>,
    deadline: Instant,
    refusal: Option<ErrorResponse>,
) -> io::Result<()> {
    // Boxed, as all that comes before the relay: thousands of sessions that only wait need no room for it.
    let beginning = Box::pin(begin(stream, peer, &services, tls, deadline, refusal));
    let Some(begun) = beginning.await? else {
        return Ok(());
    };
    let relay = Relay {
        services: &services,
        actor: &begun.actor,
        tier: begun.tier,
        person: &begun.person,
        target: &begun.registration.target,
        pace: &begun.place.pace,
    };
    relay::run(relay, begun.settings, begun.stream, begun.database_session).await;
    Ok(())
}

/// A session that has begun: the client may ask.
struct Begun {
    stream: Stream,
    tier: Tier,
    actor: Actor,
    person: Person,
    settings: ClientSettings,
    database_session: Box<DatabaseSession>,
    registration: Registration,
    place: Place,
}

/// `None`: it did not come to a session, and the client was told why.
async fn begin(
    stream: Stream,
    peer: SocketAddr,
    services: &Services,
    tls: Option<Arc<ServerTls>>,
    deadline: Instant,
    refusal: Option<ErrorResponse>,
) -> io::Result<Option<Begun>> {
    let tls = tls.as_deref();
    let Some((mut stream, packet)) = negotiate(stream, services, tls, deadline).await? else {
        return Ok(None);
    };
    if let Some(answer) = refusal {
        return send_error(&mut stream, &answer).await.map(|()| None);
    }
    let Ok(logged_in) = timeout_at(deadline, log_in(&mut stream, &packet, peer, services, tls)).await else {
        return send_error(&mut stream, &too_late(services)).await.map(|()| None);
    };
    let Some(LoggedIn { mut startup, account, actor, mut unsent }) = logged_in? else {
        return Ok(None);
    };
    let tier = account.tier;
    let place = match services.guard.open_session(account.account_id) {
        Ok(place) => place,
        Err(answer) => {
            let reason = answer.message.clone();
            return refuse(services, unsent, &mut stream, &actor, answer, &reason).await.map(|()| None);
        }
    };
    let session = services.next_session.fetch_add(1, Ordering::Relaxed);
    let person = Person::new(session, account.account_id);
    let settings = ClientSettings::new(std::mem::take(&mut startup.settings));
    let opening = open(services, tier, &person, settings.current());
    let opened = queue::wait(&mut stream, &mut unsent, services.pools.pooling.queue_timeout, opening).await;
    let (database_session, reported) = match opened.unwrap_or(Err(OpenError::Queue)) {
        Ok(opened) => opened,
        Err(error) => {
            log::warning("session_refused", json!({ "user": actor.user, "error": error.to_string() }));
            let (answer, reason) = (error.answer(), error.to_string());
            return refuse(services, unsent, &mut stream, &actor, answer, &reason).await.map(|()| None);
        }
    };
    if let Err(answer) = record_login(services, &actor, "00000", "").await {
        return send_error_after(unsent, &mut stream, &answer).await.map(|()| None);
    }
    let registration = services.cancels.register(startup.key_length);
    let greeting = &mut unsent;
    for (name, value) in &reported {
        // What the database calls its session's user is no business of the client's.
        let value = if name == "session_authorization" { &startup.user } else { value };
        put_message(greeting, b'S', |body| {
            put_text(body, name);
            put_text(body, value);
        });
    }
    put_message(greeting, b'K', |body| {
        body.extend_from_slice(&registration.key);
    });
    put_message(greeting, b'Z', |body| body.put_u8(b'I'));
    stream.write_all(greeting).await?;
    stream.flush().await?;
    Ok(Some(Begun { stream, tier, actor, person, settings, database_session, registration, place }))
}

/// Why a database session could not be opened for a login.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("no database session was free in time")]
    Queue,
    #[error(transparent)]
    Database(#[from] BackendError),
}

impl OpenError {
    /// What the client is told: its own mistakes in full, ours in general.
    fn answer(&self) -> ErrorResponse {
        match self {
            Self::Queue => queue::too_long(),
            // Invalid parameter value, too many connections: the database's words are for the client.
            Self::Database(BackendError::Refused { code, message, .. })
                if code.starts_with("22") || code == "53300" =>
            {
                ErrorResponse::fatal(code.clone(), message.clone())
            }
            Self::Database(_) => ErrorResponse::fatal("57P03", "the database is not available at the moment")
                .with_hint("try again in a few seconds"),
        }
    }
}

/// A database session that is the person's, and what it reports of itself.
async fn open(
    services: &Services,
    tier: Tier,
    person: &Person,
    settings: &[Setting],
) -> Result<(Box<DatabaseSession>, Vec<Setting>), OpenError> {
    let mut session = services.pools.acquire(tier, person.session).await?;
    if session.owner != Owner::Clean {
        session.reset().await?;
    }
    match person.take(&services.identity_key, &mut session, settings).await {
        Ok(reported) => {
            session.owner = Owner::Session(person.session);
            Ok((session, reported))
        }
        Err(error) => {
            session.owner = Owner::Abandoned;
            services.pools.reset(tier, session);
            Err(error.into())
        }
    }
}

/// A client that has proved who it is, and has not been told so.
struct LoggedIn {
    startup: Startup,
    account: Account,
    actor: Actor,
    /// What tells it.
    unsent: BytesMut,
}

/// Reads up to the start-up packet, which it answers. `None`: it was a cancel request, or the client was told what is wrong.
async fn negotiate(
    mut stream: Stream,
    services: &Services,
    tls: Option<&ServerTls>,
    deadline: Instant,
) -> io::Result<Option<(Stream, Vec<u8>)>> {
    // The first byte, a zero, was read by the listener.
    let mut known = 1;
    loop {
        let reading = async {
            let mut length = [0; 4];
            stream.read_exact(&mut length[std::mem::take(&mut known)..]).await?;
            let length = u32::from_be_bytes(length);
            if length as usize > services.strangers.startup_bytes {
                return Ok(Err(length));
            }
            read_startup_body(&mut stream, length, services.strangers.startup_bytes).await.map(Ok)
        };
        let packet: Result<_, u32> = match timeout_at(deadline, reading).await {
            Ok(read) => read?,
            Err(_) => return send_error(&mut stream, &too_late(services)).await.map(|()| None),
        };
        let packet = match packet {
            Ok(packet) => packet,
            Err(length) => {
                let limit = services.strangers.startup_bytes;
                let message = format!("a start-up packet of {length} bytes: at most {limit} are accepted");
                let answer = ErrorResponse::fatal("08P01", message);
                return send_error_unread(&mut stream, &answer, deadline).await.map(|()| None);
            }
        };
        match packet.first_chunk::<4>().map(|code| u32::from_be_bytes(*code)) {
            Some(SSL_REQUEST) => match timeout_at(deadline, answer_ssl_request(stream, tls)).await {
                Ok(answered) => stream = answered?,
                // In the middle of a handshake nothing can be said.
                Err(_) => return Ok(None),
            },
            Some(GSSENC_REQUEST) => {
                stream.write_all(b"N").await?;
                stream.flush().await?;
            }
            Some(CANCEL_REQUEST) => {
                cancel(&packet[4..], services).await;
                return Ok(None);
            }
            _ => return Ok(Some((stream, packet))),
        }
    }
}

fn too_late(services: &Services) -> ErrorResponse {
    let seconds = services.strangers.login_timeout.as_secs();
    ErrorResponse::fatal("57014", format!("the login took longer than {seconds} s"))
        .with_hint("connect again")
}

/// `None`: the login was refused, and the client told so.
async fn log_in(
    stream: &mut Stream,
    packet: &[u8],
    peer: SocketAddr,
    services: &Services,
    tls: Option<&ServerTls>,
) -> io::Result<Option<LoggedIn>> {
    let is_clear = matches!(stream, Stream::Clear(_));
    if is_clear && !services.insecure && !peer.ip().to_canonical().is_loopback() {
        let answer = ErrorResponse::fatal("28000", "this server accepts encrypted connections only")
            .with_hint("connect with sslmode=require or stronger");
        return send_error(stream, &answer).await.map(|()| None);
    }
    let startup = match Startup::parse(packet, &services.database.name) {
        Ok(startup) => startup,
        Err(answer) => return send_error(stream, &answer).await.map(|()| None),
    };
    if let Some(negotiate) = &startup.negotiate {
        stream.write_all(negotiate).await?;
    }
    if services.ready().await.is_err() {
        let answer = ErrorResponse::fatal("57P03", "the server is not ready to accept logins")
            .with_hint("try again in a few seconds; GET /readyz on the same port says why");
        return send_error(stream, &answer).await.map(|()| None);
    }
    let mut actor = Actor { session: rand::random(), user: startup.user.clone(), tier: "none", client: peer };
    if let Err(answer) = services.guard.admit(peer.ip(), &startup.user) {
        let reason = answer.message.clone();
        return refuse(services, BytesMut::new(), stream, &actor, answer, &reason).await.map(|()| None);
    }
    let account = match services.accounts.find_login(&services.database, &startup.user).await {
        Ok(account) => account,
        Err(error) => {
            log::error("login_lookup_failed", json!({ "error": error.to_string() }));
            let answer = ErrorResponse::fatal("57P03", "the server cannot check logins at the moment");
            let reason = error.to_string();
            return refuse(services, BytesMut::new(), stream, &actor, answer, &reason).await.map(|()| None);
        }
    };
    if let Some(account) = &account {
        actor.tier = account.tier.name();
    }
    let mock_salt_key = services.identity_key.mock_salt_key();
    let is_encrypted = matches!(stream, Stream::Tls(_));
    let address = peer.ip().to_canonical();
    let method = if is_encrypted && services.password_from.iter().any(|network| network.contains(address)) {
        Method::Password
    } else {
        Method::Scram {
            certificate_hash: tls.filter(|_| is_encrypted).and_then(|tls| tls.certificate_hash.as_deref()),
        }
    };
    let proved = login::authenticate(stream, &startup.user, account.as_ref(), &mock_salt_key, method).await;
    if let Err(LoginError::Connection(error)) = proved {
        return Err(error);
    }
    // Before anything is answered, so that guesses made at once count like those made one after the other.
    if let Err(answer) = services.guard.judge(peer.ip(), &startup.user, proved.is_err()) {
        let reason = answer.message.clone();
        return refuse(services, BytesMut::new(), stream, &actor, answer, &reason).await.map(|()| None);
    }
    match (proved, account) {
        (Ok(unsent), Some(account)) => Ok(Some(LoggedIn { startup, account, actor, unsent })),
        // A mock verifier cannot be satisfied.
        (Ok(_), None) => Err(io::Error::other("a login without an account was accepted")),
        (Err(LoginError::Connection(error)), _) => Err(error),
        (Err(LoginError::Refused { reason, answer }), _) => {
            refuse(services, BytesMut::new(), stream, &actor, answer, &reason).await.map(|()| None)
        }
    }
}

/// `Err` is what to tell instead of the outcome, which could not be recorded. Nobody may log in unrecorded, or wait for ever.
async fn record_login(
    services: &Services,
    actor: &Actor,
    sqlstate: &str,
    reason: &str,
) -> Result<(), ErrorResponse> {
    let recording = services.audit.login(actor, sqlstate, reason);
    let recorded = timeout(services.strangers.login_timeout, recording).await;
    recorded.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|error| {
        services.readiness.audit_failed();
        audit::unwritten(&error)
    })
}

/// Records a login that comes to nothing, and tells the client, after what it has not been told yet.
async fn refuse(
    services: &Services,
    unsent: BytesMut,
    stream: &mut Stream,
    actor: &Actor,
    answer: ErrorResponse,
    reason: &str,
) -> io::Result<()> {
    let recorded = record_login(services, actor, &answer.code, reason).await;
    send_error_after(unsent, stream, &recorded.err().unwrap_or(answer)).await
}

async fn answer_ssl_request(mut stream: Stream, tls: Option<&ServerTls>) -> io::Result<Stream> {
    match (tls, stream) {
        (Some(tls), Stream::Clear(mut socket)) => {
            // Whatever the client sends before the handshake is read by the handshake, and breaks it: clear bytes cannot
            // be smuggled into the encrypted session (CVE-2021-23214).
            socket.write_all(b"S").await?;
            Ok(Stream::Tls(Box::new(tls.acceptor.accept(socket).await?.into())))
        }
        (_, unchanged) => {
            stream = unchanged;
            stream.write_all(b"N").await?;
            stream.flush().await?;
            Ok(stream)
        }
    }
}

async fn cancel(key: &[u8], services: &Services) {
    // An unknown key gets no answer either way: that is the protocol, and it tells a guesser nothing.
    if let Some(target) = services.cancels.find(key) {
        target.cancel(&services.database).await;
    }
}

async fn send_error(stream: &mut Stream, answer: &ErrorResponse) -> io::Result<()> {
    send_error_after(BytesMut::new(), stream, answer).await
}

async fn send_error_after(
    mut unsent: BytesMut,
    stream: &mut Stream,
    answer: &ErrorResponse,
) -> io::Result<()> {
    answer.encode(&mut unsent);
    stream.write_all(&unsent).await?;
    stream.shutdown().await
}

/// The same to a client that is in the middle of saying something: what it says is taken, because the system drops our answer when a
/// connection is closed with something unread.
async fn send_error_unread(stream: &mut Stream, answer: &ErrorResponse, deadline: Instant) -> io::Result<()> {
    send_error(stream, answer).await?;
    let deadline = deadline.min(Instant::now() + UNREAD_TIMEOUT);
    let (mut room, mut left) = ([0; 4096], UNREAD_BYTES);
    while let Ok(Ok(read @ 1..)) = timeout_at(deadline, stream.read(&mut room)).await
        && read < left
    {
        left -= read;
    }
    Ok(())
}
