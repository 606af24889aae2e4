//! Passes bytes between a client and its database session. Message headers are scanned in the read buffer and whole buffers are
//! written; only the short messages that the ledger needs are looked into, and no row is.
//!
//! Both directions run in one task, each with its own buffer, so that a client that sends a long pipeline and a database that
//! answers it never wait for each other. They are polled by hand: a statement is two turns of a task, and what is made anew, locked
//! or registered in each of them is soon as much as what PgBouncer costs beside the kernel.

mod answers;
mod aside;
mod bulk;
mod requests;
pub(crate) mod splice;

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::BytesMut;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Notify;

use self::answers::Answers;
use self::aside::Aside;
use self::requests::Requests;
use crate::audit_record::{Actor, Lines};
use crate::backend::DISCARD_ALL;
use crate::cancel::Target;
use crate::client_settings::ClientSettings;
use crate::config::PoolMode;
use crate::guard::Pace;
use crate::handover::Person;
use crate::ledger::{HandOver, Ledger};
use crate::pool::DatabaseSession;
use crate::session::Services;
use crate::stream::Stream;
use crate::tier::Tier;
use crate::wire::{ErrorResponse, put_message, put_text};
use crate::{audit, clock, log, queue};

/// So much of the audit is brought out before more is made: a message of a few KiB may end in thousands of records.
const RECORDS_AT_ONCE: usize = 64 * 1024;

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

    fn is_draining(&self) -> bool {
        self.relay.services.draining.borrow().is_some()
    }

    fn poll_record(&self, lines: &mut Lines, context: &mut Context<'_>) -> Poll<Result<(), ErrorResponse>> {
        self.relay.services.audit.poll_write(lines, context).map_err(|error| {
            self.relay.services.readiness.audit_failed();
            audit::unwritten(&error)
        })
    }
}

pub(crate) async fn run(
    relay: Relay<'_>,
    settings: ClientSettings,
    mut client: Stream,
    session: Box<DatabaseSession>,
) {
    let (services, tier) = (relay.services, relay.tier);
    let (person, target) = (relay.person.session, relay.target);
    let shared = Shared { relay, ledger: Mutex::new(Ledger::new(settings)), attention: Notify::new() };
    target.set(session.backend.key()).await;
    let mut session = Some(session);
    if shared.shares_sessions() {
        detach(&shared, &mut session).await;
    }
    let mut answers = Answers::new(Lines::new(shared.relay.actor));
    let end = {
        let mut conversation = pin!(converse(&shared, &mut client, &mut session, &mut answers));
        let watching = pin!(clock::watch(services, tier, &shared.ledger, &shared.attention, target));
        let mut watching = Aside::new(watching);
        poll_fn(|context| match conversation.as_mut().poll(context) {
            Poll::Pending => watching.poll(context).map(End::Closed),
            ended => ended,
        })
        .await
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
        let _ = client.write_all(&answer.encoded()).await;
    }
    let _ = client.shutdown().await;
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
    let lines = &mut answers.lines;
    loop {
        let is_more = shared.ledger().abandon(&mut |statement| services.audit.note(lines, statement));
        if !is_more || lines.waiting.len() >= RECORDS_AT_ONCE {
            let recorded = poll_fn(|context| shared.poll_record(lines, context)).await;
            if !is_more || recorded.is_err() {
                // Logged inside; the session is over.
                break;
            }
        }
    }
}

/// Passes messages both ways: on one database session or, transaction by transaction, on any of the tier's.
async fn converse(
    shared: &Shared<'_>,
    client: &mut Stream,
    held: &mut Option<Box<DatabaseSession>>,
    answers: &mut Answers,
) -> End {
    let mut requests = Requests::default();
    loop {
        let mut ahead = BytesMut::new();
        let session = match held {
            Some(session) => session,
            None => {
                if let Some(end) = poll_fn(|context| requests.poll_first(shared, client, context)).await {
                    return end;
                }
                match attach(shared, client).await {
                    Ok((session, messages)) => {
                        ahead = messages;
                        held.insert(session)
                    }
                    Err(answer) => return End::Closed(answer),
                }
            }
        };
        requests.begin(ahead);
        answers.begin(&session.backend.received);
        // Answers first: most are the last, and then the client need not be looked at.
        let turn =
            |context: &mut Context<'_>| match answers.poll(shared, &mut session.backend, client, context) {
                Poll::Pending => requests.poll(shared, client, session, context),
                ended => ended,
            };
        match poll_fn(turn).await {
            End::Released => detach(shared, held).await,
            end => return end,
        }
    }
}

/// Gets a database session, and what has to be sent ahead of the client's messages to make it the client's.
async fn attach(
    shared: &Shared<'_>,
    client: &mut Stream,
) -> Result<(Box<DatabaseSession>, BytesMut), ErrorResponse> {
    let Relay { services, tier, person, target, .. } = &shared.relay;
    let mut session = match services.pools.try_acquire(*tier, person.session) {
        Some(session) => session,
        // Boxed: a session that waits for its client has no room for this.
        None => Box::pin(wait_for_session(shared, client)).await?,
    };
    target.set(session.backend.key()).await;
    let mut ahead = BytesMut::new();
    let mut ledger = shared.ledger();
    if let Some(hand_over) = ledger.attach(&mut session, person.session) {
        let introduction = person.introduction(&services.identity_key, &session.facts, ledger.settings());
        let mut answers = introduction.answers;
        if hand_over == HandOver::ResetAndIdentity {
            put_message(&mut ahead, b'Q', |body| put_text(body, DISCARD_ALL));
            answers += 1;
        }
        ahead.extend_from_slice(&introduction.messages);
        ledger.hands_over(answers);
    }
    drop(ledger);
    Ok((session, ahead))
}

/// Waits in the tier's line.
async fn wait_for_session(
    shared: &Shared<'_>,
    client: &mut Stream,
) -> Result<Box<DatabaseSession>, ErrorResponse> {
    let Relay { services, actor, tier, person, .. } = &shared.relay;
    let pools = &services.pools;
    let acquiring = pools.acquire(*tier, person.session);
    match queue::wait(client, &mut BytesMut::new(), pools.pooling.queue_timeout, acquiring).await {
        Some(Ok(session)) => Ok(session),
        Some(Err(error)) => {
            log::warning("session_refused", json!({ "user": actor.user, "error": error.to_string() }));
            Err(ErrorResponse::fatal("57P03", "the database is not available at the moment")
                .with_hint("connect again in a few seconds"))
        }
        None => Err(queue::too_long()),
    }
}

async fn detach(shared: &Shared<'_>, held: &mut Option<Box<DatabaseSession>>) {
    // Waits for a cancel that is on its way: it must not reach the next owner.
    shared.relay.target.set(None).await;
    if let Some(mut session) = held.take() {
        shared.ledger().detach(&mut session);
        shared.relay.services.pools.give_back(shared.relay.tier, session);
    }
}
