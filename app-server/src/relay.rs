//! Passes bytes between a client and its database session. Message headers are scanned in the read buffer and whole buffers are
//! written; only the short messages that the ledger needs are looked into, and no row is.
//!
//! Both directions run in one task, each with its own buffer, so that a client that sends a long pipeline and a database that
//! answers it never wait for each other.

mod answers;
mod requests;
mod splice;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use serde_json::json;
use tokio::io::{AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::time::{sleep_until, timeout};

use self::answers::from_database;
use self::requests::{Incoming, first_message, from_client};
use crate::audit_record::{Actor, Lines};
use crate::backend::{Backend, DISCARD_ALL};
use crate::cancel::Target;
use crate::config::PoolMode;
use crate::guard::Pace;
use crate::handover::Person;
use crate::ledger::{HandOver, Ledger};
use crate::pool::{self, DatabaseSession};
use crate::session::Services;
use crate::stream::Stream;
use crate::tier::Tier;
use crate::wire::{ErrorResponse, put_message, put_text};
use crate::{clock, log};

/// A client is told why nothing happens when it has waited for a database session for this long.
const NOTICE_AFTER: Duration = Duration::from_secs(2);

/// The parties of a relay.
pub(crate) struct Relay<'a> {
    pub(crate) services: &'a Services,
    pub(crate) actor: &'a Actor,
    pub(crate) tier: Tier,
    pub(crate) person: &'a Person,
    /// What a cancel goes to.
    pub(crate) target: &'a Target,
    pub(crate) pace: &'a Pace,
}

/// Why a relay ended.
enum End {
    ClientLeft,
    DatabaseLeft,
    /// Not of the relay, but of its use of a database session: nothing of the client's is in it or on the way.
    Released,
    /// This server ends it and says why.
    Closed(ErrorResponse),
}

struct Shared<'a> {
    relay: Relay<'a>,
    ledger: Mutex<Ledger>,
    /// A limit was passed, which the clock has to look at.
    attention: Notify,
}

impl Shared<'_> {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shares_sessions(&self) -> bool {
        self.relay.services.pools.pooling.mode == PoolMode::Transaction
    }

    /// Waits while the client's account is ahead of its tier's rate. What was asked already goes on meanwhile.
    async fn keep_pace(&self) {
        // Kept: whoever waits may be stopped by an answer, and must wait again.
        let not_before = self.ledger().not_before;
        if let Some(not_before) = not_before {
            sleep_until(not_before.into()).await;
        }
    }

    /// No transaction is open, and nothing is on its way in either direction.
    fn is_idle(&self) -> bool {
        let ledger = self.ledger();
        ledger.is_idle() && !ledger.forwarding
    }

    fn is_draining(&self) -> bool {
        self.relay.services.draining.borrow().is_some()
    }

    fn record(&self, lines: &mut Lines) -> Result<(), ErrorResponse> {
        self.relay.services.audit.write(lines).map_err(|error| {
            log::error("audit_failed", json!({ "error": error.to_string() }));
            ErrorResponse::fatal("58030", "the audit trail cannot be written, so nothing is answered")
        })
    }
}

pub(crate) async fn run(relay: Relay<'_>, client: Stream, session: DatabaseSession) {
    let (services, tier) = (relay.services, relay.tier);
    let (person, target) = (relay.person.session, relay.target);
    let shared = Shared { relay, ledger: Mutex::new(Ledger::new()), attention: Notify::new() };
    let (mut client_reader, mut client_writer) = tokio::io::split(client);
    target.set(session.backend.key()).await;
    let mut session = Some(session);
    let mut lines = Lines::new(shared.relay.actor);
    if shared.shares_sessions() {
        detach(&shared, &mut session).await;
    }
    let end = tokio::select! {
        biased;
        end = converse(&shared, &mut client_reader, &mut client_writer, &mut session, &mut lines) => end,
        answer = clock::watch(services, tier, &shared.ledger, &shared.attention, target) => End::Closed(answer),
    };
    let (was_busy, is_idle) = {
        let ledger = shared.ledger();
        (ledger.is_busy(), ledger.is_idle() && !ledger.forwarding)
    };
    let (answer, database_left) = match end {
        End::ClientLeft | End::Released => (None, false),
        End::DatabaseLeft => {
            (Some(ErrorResponse::fatal("08006", "the database closed the connection")), true)
        }
        End::Closed(answer) => (Some(answer), false),
    };
    if let Some(answer) = answer {
        // The client may be gone already; there is nobody else to tell.
        let _ = client_writer.write_all(&answer.encoded()).await;
    }
    let _ = client_writer.shutdown().await;
    if let Some(session) = session {
        // PostgreSQL does not look at the connection while it works: what nobody waits for any more is stopped.
        if was_busy && !database_left {
            target.cancel(&services.database).await;
        }
        target.set(None).await;
        if is_idle && !database_left {
            services.pools.reset(tier, session);
        } else {
            session.backend.close().await;
        }
    }
    services.pools.forget(tier, person);
    shared.ledger().abandon(&mut |statement| services.audit.note(&mut lines, statement));
    // Logged inside; the session is over.
    let _ = shared.record(&mut lines);
}

/// Passes messages both ways: on one database session or, transaction by transaction, on any of the tier's.
async fn converse(
    shared: &Shared<'_>,
    reader: &mut ReadHalf<Stream>,
    writer: &mut WriteHalf<Stream>,
    held: &mut Option<DatabaseSession>,
    lines: &mut Lines,
) -> End {
    let mut incoming = Incoming::default();
    loop {
        let mut ahead = BytesMut::new();
        let session = match held {
            Some(session) => session,
            None => {
                if let Some(end) = first_message(shared, reader, &mut incoming).await {
                    return end;
                }
                match attach(shared, writer).await {
                    Ok((session, messages)) => {
                        ahead = messages;
                        held.insert(session)
                    }
                    Err(answer) => return End::Closed(answer),
                }
            }
        };
        let Backend { reader: from, writer: to, received, .. } = &mut session.backend;
        let end = tokio::select! {
            biased;
            end = from_client(shared, reader, to, &mut incoming, ahead, &session.facts) => end,
            end = from_database(shared, from, writer, received, lines) => end,
        };
        match end {
            End::Released => detach(shared, held).await,
            end => return end,
        }
    }
}

/// Gets a database session, and what has to be sent ahead of the client's messages to make it the client's.
async fn attach(
    shared: &Shared<'_>,
    writer: &mut WriteHalf<Stream>,
) -> Result<(DatabaseSession, BytesMut), ErrorResponse> {
    let Relay { services, tier, person, target, .. } = &shared.relay;
    let mut session = match services.pools.try_acquire(*tier, person.session) {
        Some(session) => session,
        // Boxed: thousands of sessions wait for their clients and need no room for this.
        None => Box::pin(wait_for_session(shared, writer)).await?,
    };
    target.set(session.backend.key()).await;
    let mut ahead = BytesMut::new();
    let hand_over = shared.ledger().attach(&mut session, person.session);
    if hand_over == Some(HandOver::ResetAndIdentity) {
        put_message(&mut ahead, b'Q', |body| put_text(body, DISCARD_ALL));
    }
    if hand_over.is_some() {
        ahead.extend_from_slice(&person.batch(&services.identity_key, &session.facts));
    }
    Ok((session, ahead))
}

/// Waits in the tier's line, and tells the client so when it takes long.
async fn wait_for_session(
    shared: &Shared<'_>,
    writer: &mut WriteHalf<Stream>,
) -> Result<DatabaseSession, ErrorResponse> {
    let Relay { services, actor, tier, person, .. } = &shared.relay;
    let pools = &services.pools;
    let acquiring = timeout(pools.pooling.queue_timeout, pools.acquire(*tier, person.session));
    tokio::pin!(acquiring);
    let acquired = match timeout(NOTICE_AFTER, &mut acquiring).await {
        Ok(acquired) => acquired,
        Err(_) => {
            say(writer, "all database sessions of your tier are in use: waiting for one").await;
            acquiring.await
        }
    };
    match acquired {
        Ok(Ok(session)) => Ok(session),
        Ok(Err(error)) => {
            log::warning("session_refused", json!({ "user": actor.user, "error": error.to_string() }));
            Err(ErrorResponse::fatal("57P03", "the database is not available at the moment")
                .with_hint("connect again in a few seconds"))
        }
        Err(_) => Err(pool::queue_too_long()),
    }
}

async fn detach(shared: &Shared<'_>, held: &mut Option<DatabaseSession>) {
    // Waits for a cancel that is on its way: it must not reach the next owner.
    shared.relay.target.set(None).await;
    if let Some(mut session) = held.take() {
        shared.ledger().detach(&mut session);
        shared.relay.services.pools.give_back(shared.relay.tier, session);
    }
}

/// Tells the client something in between.
async fn say(writer: &mut WriteHalf<Stream>, message: &str) {
    // A client that is gone is noticed by whoever reads from it or answers it.
    let _ = writer.write_all(&ErrorResponse::notice(message).encoded()).await;
    let _ = writer.flush().await;
}
