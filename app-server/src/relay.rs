//! Passes bytes between a client and its database session. Message headers are scanned in the read buffer and whole buffers are
//! written; only the short messages that the ledger needs are looked into, and no row is.
//!
//! Both directions run in one task, each with its own buffer, so that a client that sends a long pipeline and a database that
//! answers it never wait for each other.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::{sleep_until, timeout};

use crate::audit::{Actor, Statement};
use crate::backend::{Backend, DISCARD_ALL};
use crate::cancel::Target;
use crate::config::PoolMode;
use crate::guard::Pace;
use crate::handover::Person;
use crate::ledger::{Answer, HandOver, Ledger};
use crate::pool::{self, DatabaseSession, Facts};
use crate::session::Services;
use crate::session_state::Tie;
use crate::stream::Stream;
use crate::tier::Tier;
use crate::wire::{ErrorResponse, put_message, put_text};
use crate::{clock, log, record_play, refusal};

/// One read; PostgreSQL writes results in pieces of 8 KiB, and the kernel collects several when it is ahead of us.
const READ_SIZE: usize = 32 * 1024;
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
    /// Something happened that the clock has to look at: answers were delivered during a shutdown, or a limit was passed.
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

    fn may_release(&self) -> bool {
        self.shares_sessions() && self.ledger().may_release()
    }

    fn is_draining(&self) -> bool {
        self.relay.services.draining.borrow().is_some()
    }

    fn record(&self, statement: &Statement) -> Result<(), ErrorResponse> {
        self.relay.services.audit.statement(self.relay.actor, statement).map_err(|error| {
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
    if shared.shares_sessions() {
        detach(&shared, &mut session).await;
    }
    let end = tokio::select! {
        end = converse(&shared, &mut client_reader, &mut client_writer, &mut session) => end,
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
    let abandoned = shared.ledger().abandoned();
    for statement in abandoned {
        // Logged inside; the session is over.
        let _ = shared.record(&statement);
    }
}

/// What was read from the client and not yet passed on.
#[derive(Default)]
struct Incoming {
    buffer: BytesMut,
    /// What is still to come of a message that is passed on unseen.
    passing: usize,
}

/// Passes messages both ways: on one database session or, transaction by transaction, on any of the tier's.
async fn converse(
    shared: &Shared<'_>,
    reader: &mut ReadHalf<Stream>,
    writer: &mut WriteHalf<Stream>,
    held: &mut Option<DatabaseSession>,
) -> End {
    let mut incoming = Incoming::default();
    loop {
        let mut ahead = BytesMut::new();
        let session = match held {
            Some(session) => session,
            None => {
                if let Some(end) = first_message(shared, reader, &mut incoming.buffer).await {
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
            end = from_client(shared, reader, to, &mut incoming, ahead, &session.facts) => end,
            end = from_database(shared, from, writer, received) => end,
        };
        match end {
            End::Released => detach(shared, held).await,
            end => return end,
        }
    }
}

/// Waits until there is something to do for a database session: a slow client must not hold one while it sends.
async fn first_message(
    shared: &Shared<'_>,
    reader: &mut ReadHalf<Stream>,
    buffer: &mut BytesMut,
) -> Option<End> {
    loop {
        if let Some((kind, length)) = header(buffer, 0) {
            if !(5..=shared.relay.services.message_bytes).contains(&length) {
                return Some(End::Closed(too_long(shared, length)));
            }
            if kind == b'X' {
                return Some(End::ClientLeft);
            }
            if buffer.len() >= length || kind == b'd' {
                shared.ledger().queued = true;
                shared.keep_pace().await;
                return None;
            }
        }
        buffer.reserve(READ_SIZE);
        match reader.read_buf(buffer).await {
            Ok(0) | Err(_) => return Some(End::ClientLeft),
            Ok(_) => {}
        }
    }
}

/// Gets a database session, and what has to be sent ahead of the client's messages to make it the client's.
async fn attach(
    shared: &Shared<'_>,
    writer: &mut WriteHalf<Stream>,
) -> Result<(DatabaseSession, BytesMut), ErrorResponse> {
    let Relay { services, actor, tier, person, target, .. } = &shared.relay;
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
    let mut session = match acquired {
        Ok(Ok(session)) => session,
        Ok(Err(error)) => {
            log::warning("session_refused", json!({ "user": actor.user, "error": error.to_string() }));
            return Err(ErrorResponse::fatal("57P03", "the database is not available at the moment")
                .with_hint("connect again in a few seconds"));
        }
        Err(_) => return Err(pool::queue_too_long()),
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

/// Kind and whole length of the message that starts at `at`, once its header is there.
fn header(buffer: &[u8], at: usize) -> Option<(u8, usize)> {
    let header = buffer.get(at..at + 5)?;
    let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
    Some((header[0], length + 1))
}

/// What is to be written of a read buffer: mostly all of it as it is, sometimes with messages left out or put in.
#[derive(Default)]
struct Outgoing {
    changed: BytesMut,
    /// Up to here the buffer is in `changed`, or is left out.
    taken: usize,
}

impl Outgoing {
    fn replace(&mut self, buffer: &[u8], from: usize, to: usize, replacement: &[u8]) {
        self.changed.extend_from_slice(&buffer[self.taken..from]);
        self.changed.extend_from_slice(replacement);
        self.taken = to;
    }

    async fn write(
        mut self,
        buffer: &[u8],
        end: usize,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        if self.taken == 0 && self.changed.is_empty() {
            writer.write_all(&buffer[..end]).await?;
        } else {
            self.changed.extend_from_slice(&buffer[self.taken..end]);
            writer.write_all(&self.changed).await?;
        }
        writer.flush().await
    }
}

/// How far a read buffer may be written, and what else was found in it.
struct Scanned {
    outgoing: Outgoing,
    end_at: usize,
    end: Option<End>,
}

/// `ahead` goes before all; `facts` are those of the database session, for when the client resets it.
async fn from_client(
    shared: &Shared<'_>,
    reader: &mut ReadHalf<Stream>,
    writer: &mut WriteHalf<Stream>,
    incoming: &mut Incoming,
    mut ahead: BytesMut,
    facts: &Facts,
) -> End {
    let Incoming { buffer, passing } = incoming;
    loop {
        let scanned = scan_client(shared, buffer, passing, std::mem::take(&mut ahead), facts);
        if scanned.end_at > 0 || !scanned.outgoing.changed.is_empty() {
            if scanned.outgoing.write(buffer, scanned.end_at, writer).await.is_err() {
                return End::DatabaseLeft;
            }
            buffer.advance(scanned.end_at);
        }
        {
            let mut ledger = shared.ledger();
            ledger.forwarding = *passing > 0;
        }
        if let Some(end) = scanned.end {
            return end;
        }
        // Mostly the answers are still to come, and then the other direction sees it.
        if shared.may_release() {
            return End::Released;
        }
        shared.keep_pace().await;
        buffer.reserve(READ_SIZE);
        match reader.read_buf(buffer).await {
            Ok(0) | Err(_) => return End::ClientLeft,
            Ok(_) => {}
        }
    }
}

fn scan_client(
    shared: &Shared<'_>,
    buffer: &[u8],
    passing: &mut usize,
    ahead: BytesMut,
    facts: &Facts,
) -> Scanned {
    let outgoing = Outgoing { changed: ahead, taken: 0 };
    let mut scanned = Scanned { outgoing, end_at: 0, end: None };
    let mut ledger = shared.ledger();
    ledger.forwarding = true;
    let mut statements = 0;
    loop {
        let at = pass_on(buffer, &mut scanned.end_at, passing);
        let Some((kind, length)) = header(buffer, at) else { break };
        if !(5..=shared.relay.services.message_bytes).contains(&length) {
            scanned.end = Some(End::Closed(too_long(shared, length)));
            break;
        }
        if kind == b'd' {
            *passing = length;
            continue;
        }
        let Some(message) = buffer.get(at..at + length) else { break };
        if kind == b'X' {
            scanned.end = Some(End::ClientLeft);
            break;
        }
        if ledger.take_identity_lost() {
            ledger.own_messages(b'Z');
            let batch = shared.relay.person.batch(&shared.relay.services.identity_key, facts);
            scanned.outgoing.replace(buffer, at, at, &batch);
        }
        let body = &message[5..];
        let is_free = shared.relay.tier == Tier::Free;
        if let Some(refusal) = refusal::of_message(shared.relay.tier, kind, body) {
            ledger.refused(kind, body, refusal);
            scanned.outgoing.replace(buffer, at, at + length, &refusal::substitute(kind, body));
        } else if is_free
            && kind == b'Q'
            && let Some(sql) = ledger.is_record_play_query(body)
        {
            scanned.outgoing.replace(buffer, at, at + length, &record_play::read_write_query(&sql));
            ledger.extended_query(sql);
        } else {
            if is_free && ledger.begins_record_play(kind, body) {
                ledger.own_messages(b'3');
                scanned.outgoing.replace(buffer, at, at, &record_play::read_write_step());
            }
            if let Some(parse) = ledger.replay(kind, body) {
                scanned.outgoing.replace(buffer, at, at, &parse);
            }
            ledger.client_message(kind, body);
        }
        statements += u64::from(matches!(kind, b'Q' | b'E'));
        scanned.end_at += length;
    }
    if statements > 0
        && let Some(limit) = shared.relay.services.limits.of(shared.relay.tier)
    {
        let wait = shared.relay.pace.note(statements, limit.statements_per_s);
        ledger.not_before = (wait > Duration::ZERO).then(|| Instant::now() + wait);
    }
    scanned
}

/// Skips what is left of a message that is passed on unseen, and answers where the next one starts.
fn pass_on(buffer: &[u8], end_at: &mut usize, passing: &mut usize) -> usize {
    let step = (*passing).min(buffer.len() - *end_at);
    *end_at += step;
    *passing -= step;
    *end_at
}

fn too_long(shared: &Shared<'_>, length: usize) -> ErrorResponse {
    ErrorResponse::fatal(
        "08P01",
        format!("a message of {length} bytes: at most {} are accepted", shared.relay.services.message_bytes),
    )
    .with_hint("send bulk data with COPY, which is a row per message")
}

async fn from_database(
    shared: &Shared<'_>,
    reader: &mut ReadHalf<Stream>,
    writer: &mut WriteHalf<Stream>,
    buffer: &mut BytesMut,
) -> End {
    let mut passing = 0;
    let mut ended = Vec::new();
    let mut tie = None;
    loop {
        let scanned = scan_database(shared, buffer, &mut passing, &mut ended);
        // Recorded first: what a client has heard of is in the audit.
        for statement in ended.drain(..) {
            if let Err(answer) = shared.record(&statement) {
                return End::Closed(answer);
            }
        }
        if scanned.end_at > 0 {
            if scanned.outgoing.write(buffer, scanned.end_at, writer).await.is_err() {
                return End::ClientLeft;
            }
            buffer.advance(scanned.end_at);
            shared.ledger().undelivered = false;
            if shared.shares_sessions()
                && let Err(answer) = hold_tie(shared, writer, &mut tie).await
            {
                return End::Closed(answer);
            }
            let is_between = scanned.end.is_none() && passing == 0 && buffer.is_empty();
            // Here and not by the clock: a client that asks at once again would never be found idle.
            if is_between && shared.is_draining() && shared.is_idle() {
                return End::Closed(clock::shutting_down());
            }
            if is_between && shared.may_release() {
                return End::Released;
            }
        }
        if let Some(end) = scanned.end {
            return end;
        }
        buffer.reserve(READ_SIZE);
        match reader.read_buf(buffer).await {
            Ok(0) | Err(_) => return End::DatabaseLeft,
            Ok(_) => {}
        }
    }
}

/// A client whose state ties it to its database session keeps that, if not too many of its tier do already.
async fn hold_tie(
    shared: &Shared<'_>,
    writer: &mut WriteHalf<Stream>,
    held: &mut Option<OwnedSemaphorePermit>,
) -> Result<(), ErrorResponse> {
    let Some(tie) = shared.ledger().tied() else {
        *held = None;
        return Ok(());
    };
    if held.is_some() {
        return Ok(());
    }
    *held = shared.relay.services.pools.tie(shared.relay.tier);
    if held.is_none() {
        let message = "too many sessions of your tier keep settings or other state of their own";
        return Err(ErrorResponse::fatal("53300", message).with_hint(
            "use SET LOCAL in a transaction, or DISCARD ALL when the state is not needed any more",
        ));
    }
    if tie == Tie::Listening {
        say(writer, "this session has a database session to itself while it listens, until DISCARD ALL")
            .await;
    }
    Ok(())
}

fn scan_database(
    shared: &Shared<'_>,
    buffer: &[u8],
    passing: &mut usize,
    ended: &mut Vec<Statement>,
) -> Scanned {
    let mut scanned = Scanned { outgoing: Outgoing::default(), end_at: 0, end: None };
    let limit = shared.relay.services.limits.of(shared.relay.tier);
    let mut ledger = shared.ledger();
    loop {
        let at = pass_on(buffer, &mut scanned.end_at, passing);
        let Some((kind, length)) = header(buffer, at) else { break };
        if length < 5 {
            let answer = ErrorResponse::fatal("08006", "the database sent a malformed message");
            scanned.end = Some(End::Closed(answer));
            break;
        }
        if matches!(kind, b'D' | b'd') && !ledger.answers_own() {
            let (rows, bytes) = ledger.row(length);
            if let Some(limit) = limit
                && (rows > limit.rows || bytes > limit.bytes)
                && ledger.exceed(clock::too_much(shared.relay.tier, rows > limit.rows, limit))
            {
                shared.attention.notify_one();
            }
            *passing = length;
            continue;
        }
        let Some(message) = buffer.get(at..at + length) else { break };
        let explained = if kind == b'E' {
            let body = &message[5..];
            let refused = ledger.take_refusal(body).map(|answer| answer.encoded());
            refused.or_else(|| refusal::explain_denial(body, shared.relay.tier))
        } else {
            None
        };
        match (ledger.database_message(kind, &explained.as_deref().unwrap_or(message)[5..], ended), explained)
        {
            (Answer::HandOverFailed, _) => {
                log::warning("hand_over_failed", json!({ "role": shared.relay.tier.role() }));
                let message = "the database session could not be prepared for you";
                let answer = ErrorResponse::fatal("57P03", message).with_hint("connect again");
                scanned.end = Some(End::Closed(answer));
                break;
            }
            (Answer::Swallow, _) => scanned.outgoing.replace(buffer, at, at + length, &[]),
            (Answer::Pass, Some(explained)) => scanned.outgoing.replace(buffer, at, at + length, &explained),
            (Answer::Pass, None) => {}
        }
        scanned.end_at += length;
    }
    scanned
}
