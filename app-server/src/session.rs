//! One PostgreSQL connection from its first packet to its end: negotiate TLS, log the person in, open a database session as the
//! tier's role and hand it to the person, then relay.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut as _, BytesMut};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::accounts::{Account, Accounts};
use crate::audit::{Actor, Audit};
use crate::backend::{Backend, BackendError, Database, Login};
use crate::cancel::Registry;
use crate::config::Limits;
use crate::guard::Guard;
use crate::identity::IdentityKey;
use crate::log;
use crate::login::{self, LoginError, Startup};
use crate::readiness::Readiness;
use crate::relay::{self, Relay};
use crate::stream::Stream;
use crate::tier::Tier;
use crate::wire::{
    CANCEL_REQUEST, ErrorResponse, GSSENC_REQUEST, SSL_REQUEST, put_message, put_text, read_startup_body,
};

/// From the first byte to the accepted password; also what a silent socket costs at most.
pub(crate) const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);

/// What all sessions share.
pub(crate) struct Services {
    pub(crate) database: Arc<Database>,
    pub(crate) accounts: Accounts,
    pub(crate) identity_key: IdentityKey,
    pub(crate) readiness: Readiness,
    pub(crate) cancels: Arc<Registry>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) guard: Arc<Guard>,
    pub(crate) acceptor: Option<TlsAcceptor>,
    pub(crate) insecure: bool,
    /// When the shutdown began, once it has.
    pub(crate) draining: watch::Receiver<Option<Instant>>,
    pub(crate) drain_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) limits: Limits,
}

impl Services {
    pub(crate) fn acceptor(&self) -> Option<&TlsAcceptor> {
        self.acceptor.as_ref()
    }

    pub(crate) async fn ready(&self) -> Result<(), String> {
        self.readiness.check(&self.database, &self.accounts, &self.identity_key).await
    }
}

/// Serves a connection whose first byte, the high one of the start-up packet's length, was zero and has been read.
pub(crate) async fn serve(stream: Stream, peer: SocketAddr, services: Arc<Services>) -> io::Result<()> {
    let Ok(logged_in) = timeout(LOGIN_TIMEOUT, log_in(stream, peer, &services)).await else {
        return Ok(());
    };
    let Some((mut stream, startup, account, actor)) = logged_in? else {
        return Ok(());
    };
    // Held until the session ends.
    let _place = match services.guard.open_session(account.account_id) {
        Ok(place) => place,
        Err(answer) => {
            record_login(&services, &actor, &answer.code, &answer.message)?;
            return send_error(&mut stream, &answer).await;
        }
    };
    let opened = open_backend(&services, &account, &startup).await;
    let (backend, identity) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            log::warning("session_refused", json!({ "user": actor.user, "error": error.to_string() }));
            let answer = refusal(&error);
            record_login(&services, &actor, &answer.code, &error.to_string())?;
            return send_error(&mut stream, &answer).await;
        }
    };
    record_login(&services, &actor, "00000", "")?;
    let registration = backend.key().map(|key| services.cancels.register(key));
    let mut greeting = BytesMut::new();
    put_message(&mut greeting, b'R', |body| body.put_u32(0));
    for (name, value) in &backend.parameters {
        // What the database calls its session's user is no business of the client's.
        let value = if name == "session_authorization" { &startup.user } else { value };
        put_message(&mut greeting, b'S', |body| {
            put_text(body, name);
            put_text(body, value);
        });
    }
    if let Some(registration) = &registration {
        put_message(&mut greeting, b'K', |body| {
            body.put_u32(registration.key.0);
            body.put_u32(registration.key.1);
        });
    }
    put_message(&mut greeting, b'Z', |body| body.put_u8(b'I'));
    stream.write_all(&greeting).await?;
    stream.flush().await?;

    let relay = Relay { services: &services, actor: &actor, tier: account.tier, identity: &identity };
    relay::run(relay, stream, backend).await
}

type LoggedIn = (Stream, Startup, Account, Actor);

/// `None`: the connection was a cancel request, or was refused and told so.
async fn log_in(mut stream: Stream, peer: SocketAddr, services: &Services) -> io::Result<Option<LoggedIn>> {
    // The first byte was read by the listener.
    let mut high_byte_read = true;
    let packet = loop {
        let length = if high_byte_read {
            let mut rest = [0; 4];
            stream.read_exact(&mut rest[1..]).await?;
            u32::from_be_bytes(rest)
        } else {
            stream.read_u32().await?
        };
        high_byte_read = false;
        let packet = read_startup_body(&mut stream, length).await?;
        let code = packet.first_chunk::<4>().map(|code| u32::from_be_bytes(*code));
        match code {
            Some(SSL_REQUEST) => stream = answer_ssl_request(stream, services).await?,
            Some(GSSENC_REQUEST) => {
                stream.write_all(b"N").await?;
                stream.flush().await?;
            }
            Some(CANCEL_REQUEST) => {
                cancel(&packet[4..], services).await;
                return Ok(None);
            }
            _ => break packet,
        }
    };
    let is_clear = matches!(stream, Stream::Clear(_));
    if is_clear && !services.insecure && !peer.ip().to_canonical().is_loopback() {
        let answer = ErrorResponse::fatal("28000", "this server accepts encrypted connections only")
            .with_hint("connect with sslmode=require or stronger");
        return send_error(&mut stream, &answer).await.map(|()| None);
    }
    let startup = match Startup::parse(&packet, &services.database.name) {
        Ok(startup) => startup,
        Err(answer) => return send_error(&mut stream, &answer).await.map(|()| None),
    };
    if let Some(negotiate) = &startup.negotiate {
        stream.write_all(negotiate).await?;
    }
    if services.ready().await.is_err() {
        let answer = ErrorResponse::fatal("57P03", "the server is not ready to accept logins")
            .with_hint("try again in a few seconds; GET /readyz on the same port says why");
        return send_error(&mut stream, &answer).await.map(|()| None);
    }
    let mut actor = Actor { session: rand::random(), user: startup.user.clone(), tier: "none", client: peer };
    if let Err(answer) = services.guard.admit(peer.ip(), &startup.user) {
        record_login(services, &actor, &answer.code, &answer.message)?;
        return send_error(&mut stream, &answer).await.map(|()| None);
    }
    let account = match services.accounts.find_login(&services.database, &startup.user).await {
        Ok(account) => account,
        Err(error) => {
            log::error("login_lookup_failed", json!({ "error": error.to_string() }));
            let answer = ErrorResponse::fatal("57P03", "the server cannot check logins at the moment");
            record_login(services, &actor, &answer.code, &error.to_string())?;
            return send_error(&mut stream, &answer).await.map(|()| None);
        }
    };
    if let Some(account) = &account {
        actor.tier = account.tier.name();
    }
    let mock_salt_key = services.identity_key.mock_salt_key();
    match (login::authenticate(&mut stream, &startup.user, account.as_ref(), &mock_salt_key).await, account) {
        (Ok(()), Some(account)) => Ok(Some((stream, startup, account, actor))),
        // A mock verifier cannot be satisfied.
        (Ok(()), None) => Err(io::Error::other("a login without an account was accepted")),
        (Err(LoginError::Connection(error)), _) => Err(error),
        (Err(LoginError::Refused { reason, answer }), _) => {
            services.guard.login_failed(peer.ip(), &startup.user);
            record_login(services, &actor, &answer.code, &reason)?;
            send_error(&mut stream, &answer).await.map(|()| None)
        }
    }
}

fn record_login(services: &Services, actor: &Actor, sqlstate: &str, reason: &str) -> io::Result<()> {
    services.audit.login(actor, sqlstate, reason).inspect_err(|error| {
        log::error("audit_failed", json!({ "error": error.to_string() }));
    })
}

async fn answer_ssl_request(mut stream: Stream, services: &Services) -> io::Result<Stream> {
    match (services.acceptor(), stream) {
        (Some(acceptor), Stream::Clear(mut socket)) => {
            // Whatever the client sends before the handshake is read by the handshake, and breaks it: clear bytes cannot
            // be smuggled into the encrypted session (CVE-2021-23214).
            socket.write_all(b"S").await?;
            Ok(Stream::Tls(Box::new(acceptor.accept(socket).await?.into())))
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
    let Some((process_id, secret)) = key.split_first_chunk::<4>() else { return };
    let Ok(secret) = <[u8; 4]>::try_from(secret) else { return };
    let key = (u32::from_be_bytes(*process_id), u32::from_be_bytes(secret));
    // An unknown key gets no answer either way: that is the protocol, and it tells a guesser nothing.
    if let Some(backend) = services.cancels.find(key)
        && let Err(error) = services.database.cancel(backend).await
    {
        log::warning("cancel_failed", json!({ "error": error.to_string() }));
    }
}

async fn send_error(stream: &mut Stream, answer: &ErrorResponse) -> io::Result<()> {
    let mut out = BytesMut::new();
    answer.encode(&mut out);
    stream.write_all(&out).await?;
    stream.shutdown().await
}

/// What a client is told when its database session cannot be opened: its own mistakes in full, ours in general.
fn refusal(error: &BackendError) -> ErrorResponse {
    match error {
        // Invalid parameter value, too many connections: the database's words are for the client.
        BackendError::Refused { code, message, .. } if code.starts_with("22") || code == "53300" => {
            ErrorResponse::fatal(code.clone(), message.clone())
        }
        _ => ErrorResponse::fatal("57P03", "the database is not available at the moment")
            .with_hint("try again in a few seconds"),
    }
}

/// Opens a database session as the tier's role, and makes it the account's. Also answers the value of `app.identity`.
async fn open_backend(
    services: &Services,
    account: &Account,
    startup: &Startup,
) -> Result<(Backend, String), BackendError> {
    let limit = services.limits.of(account.tier);
    let pinned = account.tier.pinned_settings(limit.map(|limit| limit.duration));
    let chosen = startup.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let settings: Vec<_> = chosen.chain(pinned.iter().map(|(name, value)| (*name, value.as_str()))).collect();
    let mut backend = connect(services, account.tier, &settings).await?;
    if repair_role_settings(&mut backend, account.tier).await? {
        backend = connect(services, account.tier, &settings).await?;
    }
    let facts = "select a.pid, (extract(epoch from a.backend_start) * 1000000)::bigint
        from pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) a";
    let rows = backend.query(facts, &[]).await?;
    let fact = |column: usize| rows.first()?.get(column)?.as_deref();
    let (Some(process_id), Some(started_us)) = (fact(0), fact(1)) else {
        return Err(BackendError::Unexpected {
            role: account.tier.role(),
            what: "no facts about its own session",
        });
    };
    let identity = services.identity_key.sign(account.account_id, process_id, started_us);
    // As a parameter, so that the text shown in pg_stat_activity does not hold it.
    backend.query("select pg_catalog.set_config('app.identity', $1, false)", &[&identity]).await?;
    Ok((backend, identity))
}

async fn connect(
    services: &Services,
    tier: Tier,
    settings: &[(&str, &str)],
) -> Result<Backend, BackendError> {
    let first = services.database.connect(Login::Tier(tier), settings).await;
    match first {
        // Anybody of the tier may have changed the password of the role they share.
        Err(BackendError::Refused { ref code, .. }) if code == "28P01" => {
            if services.accounts.restore_tier_login(&services.database, tier).await? {
                log::warning("tier_login_restored", json!({ "role": tier.role() }));
                services.database.connect(Login::Tier(tier), settings).await
            } else {
                first
            }
        }
        other => other,
    }
}

/// Undoes what somebody who shares the role stored with ALTER ROLE. True: the session began with it and must be replaced.
async fn repair_role_settings(backend: &mut Backend, tier: Tier) -> Result<bool, BackendError> {
    let stored = "select setting,
            format('alter role %I%s ', session_user, case when d.oid is null then '' else format(' in database %I', d.datname) end),
            quote_ident(split_part(setting, '=', 1))
        from pg_catalog.pg_db_role_setting s
        cross join lateral unnest(s.setconfig) setting
        left join pg_catalog.pg_database d on d.oid = s.setdatabase
        where s.setrole = (select oid from pg_catalog.pg_roles where rolname = session_user)";
    let rows = backend.query(stored, &[]).await?;
    let declared = tier.declared_role_settings();
    let mut foreign = Vec::new();
    for row in rows {
        if let [Some(setting), Some(alter), Some(name)] = row.as_slice()
            && !declared.contains(&setting.as_str())
        {
            foreign.push((setting.clone(), alter.clone(), name.clone()));
        }
    }
    if foreign.is_empty() {
        return Ok(false);
    }
    // The free tier's sessions are read-only; this one ends here.
    backend.query("set default_transaction_read_only = off", &[]).await?;
    let mut repaired = false;
    for (setting, alter, name) in foreign {
        match backend.query(&format!("{alter} reset {name}"), &[]).await {
            Ok(_) => {
                repaired = true;
                log::warning("role_setting_removed", json!({ "role": tier.role(), "setting": setting }));
            }
            // Set by a superuser, so by an operator and on purpose: a tier cannot remove it, nor could it have set it.
            Err(BackendError::Refused { code, .. }) if code == "42501" => {}
            Err(error) => return Err(error),
        }
    }
    Ok(repaired)
}
