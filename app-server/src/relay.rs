//! Passes bytes between a client and its database session. Message headers are scanned in the read buffer and whole buffers are
//! written; only the short messages that the ledger needs are looked into, and no row is.
//!
//! Both directions run in one task, each with its own buffer, so that a client that sends a long pipeline and a database that
//! answers it never wait for each other.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Buf as _, BytesMut};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Notify;

use crate::audit::{Actor, Statement};
use crate::backend::Backend;
use crate::ledger::{Answer, Ledger};
use crate::session::Services;
use crate::stream::Stream;
use crate::tier::Tier;
use crate::wire::{ErrorResponse, put_message};
use crate::{clock, identity, log, record_play, refusal};

/// One read; PostgreSQL writes results in pieces of 8 KiB, and the kernel collects several when it is ahead of us.
const READ_SIZE: usize = 32 * 1024;
/// The longest message accepted from a client. PostgreSQL's own limit is 1 GiB, which is one client's memory here.
const MESSAGE_LIMIT: usize = 16 * 1024 * 1024;

/// The parties of a relay.
pub(crate) struct Relay<'a> {
    pub(crate) services: &'a Services,
    pub(crate) actor: &'a Actor,
    pub(crate) tier: Tier,
    /// The value of `app.identity`, for when the client resets its session.
    pub(crate) identity: &'a str,
}

/// Why a relay ended.
enum End {
    ClientLeft,
    DatabaseLeft,
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

pub(crate) async fn run(relay: Relay<'_>, client: Stream, backend: Backend) -> io::Result<()> {
    let services = relay.services;
    let key = backend.key();
    let shared = Shared { relay, ledger: Mutex::new(Ledger::new()), attention: Notify::new() };
    let (mut client_reader, mut client_writer) = tokio::io::split(client);
    let (mut database_reader, mut database_writer) = tokio::io::split(backend.stream);
    let end = tokio::select! {
        end = from_client(&shared, &mut client_reader, &mut database_writer) => end,
        end = from_database(&shared, &mut database_reader, &mut client_writer, backend.received) => end,
        answer = clock::watch(services, shared.relay.tier, &shared.ledger, &shared.attention, key) => End::Closed(answer),
    };
    let was_busy = shared.ledger().is_busy();
    let answer = match end {
        End::ClientLeft => None,
        End::DatabaseLeft => Some(ErrorResponse::fatal("08006", "the database closed the connection")),
        End::Closed(answer) => Some(answer),
    };
    if let Some(answer) = answer {
        let mut out = BytesMut::new();
        answer.encode(&mut out);
        // The client may be gone already; there is nobody else to tell.
        let _ = client_writer.write_all(&out).await;
    }
    let _ = client_writer.shutdown().await;
    // PostgreSQL does not look at the connection while it works: what nobody waits for any more is stopped.
    if was_busy
        && let Some(key) = key
        && let Err(error) = services.database.cancel(key).await
    {
        log::warning("cancel_failed", json!({ "error": error.to_string() }));
    }
    let mut goodbye = BytesMut::new();
    put_message(&mut goodbye, b'X', |_| {});
    let _ = database_writer.write_all(&goodbye).await;
    let _ = database_writer.shutdown().await;
    let abandoned = shared.ledger().abandoned();
    for statement in abandoned {
        // Logged inside; the session is over.
        let _ = shared.record(&statement);
    }
    Ok(())
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

async fn from_client(
    shared: &Shared<'_>,
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
) -> End {
    let mut buffer = BytesMut::with_capacity(READ_SIZE);
    // What is still to come of a message that is passed on unseen.
    let mut passing = 0;
    loop {
        buffer.reserve(READ_SIZE);
        match reader.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return End::ClientLeft,
            Ok(_) => {}
        }
        let scanned = scan_client(shared, &buffer, &mut passing);
        if scanned.outgoing.write(&buffer, scanned.end_at, writer).await.is_err() {
            return End::DatabaseLeft;
        }
        buffer.advance(scanned.end_at);
        if let Some(end) = scanned.end {
            return end;
        }
    }
}

fn scan_client(shared: &Shared<'_>, buffer: &[u8], passing: &mut usize) -> Scanned {
    let mut scanned = Scanned { outgoing: Outgoing::default(), end_at: 0, end: None };
    let mut ledger = shared.ledger();
    loop {
        let at = pass_on(buffer, &mut scanned.end_at, passing);
        let Some((kind, length)) = header(buffer, at) else { break };
        if !(5..=MESSAGE_LIMIT).contains(&length) {
            scanned.end = Some(End::Closed(too_long(length)));
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
            scanned.outgoing.replace(buffer, at, at, &identity::restore_batch(shared.relay.identity));
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
            ledger.client_message(kind, body);
        }
        scanned.end_at += length;
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

fn too_long(length: usize) -> ErrorResponse {
    ErrorResponse::fatal(
        "08P01",
        format!("a message of {length} bytes: at most {MESSAGE_LIMIT} are accepted"),
    )
    .with_hint("send bulk data with COPY, which is a row per message")
}

async fn from_database(
    shared: &Shared<'_>,
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    received: BytesMut,
) -> End {
    let mut buffer = received;
    let mut passing = 0;
    let mut ended = Vec::new();
    loop {
        let scanned = scan_database(shared, &buffer, &mut passing, &mut ended);
        // Recorded first: what a client has heard of is in the audit.
        for statement in ended.drain(..) {
            if let Err(answer) = shared.record(&statement) {
                return End::Closed(answer);
            }
        }
        if scanned.end_at > 0 {
            if scanned.outgoing.write(&buffer, scanned.end_at, writer).await.is_err() {
                return End::ClientLeft;
            }
            buffer.advance(scanned.end_at);
            shared.ledger().undelivered = false;
            if shared.is_draining() {
                shared.attention.notify_one();
            }
        }
        if let Some(end) = scanned.end {
            return end;
        }
        buffer.reserve(READ_SIZE);
        match reader.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return End::DatabaseLeft,
            Ok(_) => {}
        }
    }
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
            let rows = ledger.row();
            if let Some(limit) = limit
                && kind == b'D'
                && rows > limit.rows
                && ledger.exceed(clock::too_many_rows(shared.relay.tier, limit.rows))
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
            (Answer::Swallow, _) => scanned.outgoing.replace(buffer, at, at + length, &[]),
            (Answer::Pass, Some(explained)) => scanned.outgoing.replace(buffer, at, at + length, &explained),
            (Answer::Pass, None) => {}
        }
        scanned.end_at += length;
    }
    scanned
}
