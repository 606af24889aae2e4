//! From the database session to its client.

use std::io;
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, ReadHalf, WriteHalf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep;

use super::splice::{Outgoing, Scanned, header, pass_on};
use super::{End, Shared, say};
use crate::audit_record::{Lines, Statement};
use crate::ledger::Answer;
use crate::session_state::Tie;
use crate::stream::Stream;
use crate::wire::ErrorResponse;
use crate::{clock, log, refusal};

/// One read of an answer that is not long.
const SHORT_READ: usize = 8 * 1024;
/// One read of a long answer.
const LONG_READ: usize = 256 * 1024;
/// PostgreSQL writes in pieces of 8 KiB. After this many reads in a row that were full, or nearly, there is more to come.
const FULL_READS: u32 = 4;
/// What is left to gather in the kernel meanwhile is read and written by one call each instead of by some twenty. The runtime's
/// timers tell milliseconds apart.
const GATHERING: Duration = Duration::from_millis(1);

/// Reads, and tells from what comes how long the answer is.
#[derive(Default)]
struct Reading {
    full_reads: u32,
}

impl Reading {
    async fn read(&mut self, reader: &mut ReadHalf<Stream>, buffer: &mut BytesMut) -> io::Result<usize> {
        let is_long = self.full_reads >= FULL_READS;
        if is_long {
            sleep(GATHERING).await;
        }
        buffer.reserve(if is_long { LONG_READ } else { SHORT_READ });
        let length = reader.read_buf(buffer).await?;
        self.full_reads = if length >= SHORT_READ { self.full_reads.saturating_add(1) } else { 0 };
        Ok(length)
    }
}

pub(super) async fn from_database(
    shared: &Shared<'_>,
    reader: &mut ReadHalf<Stream>,
    writer: &mut WriteHalf<Stream>,
    buffer: &mut BytesMut,
    lines: &mut Lines,
) -> End {
    let mut passing = 0;
    let mut tie = None;
    let mut reading = Reading::default();
    loop {
        let scanned = scan_database(shared, buffer, &mut passing, lines);
        // Recorded first: what a client has heard of is in the audit.
        if let Err(answer) = shared.record(lines) {
            return End::Closed(answer);
        }
        if scanned.end_at > 0 {
            if scanned.outgoing.write(buffer, scanned.end_at, writer).await.is_err() {
                return End::ClientLeft;
            }
            buffer.advance(scanned.end_at);
            let (tied, may_release) = {
                let mut ledger = shared.ledger();
                ledger.undelivered = false;
                (ledger.tied(), ledger.may_release())
            };
            let shares_sessions = shared.shares_sessions();
            if shares_sessions && let Err(answer) = hold_tie(shared, tied, writer, &mut tie).await {
                return End::Closed(answer);
            }
            let is_between = scanned.end.is_none() && passing == 0 && buffer.is_empty();
            // Here and not by the clock: a client that asks at once again would never be found idle.
            if is_between && shared.is_draining() && shared.is_idle() {
                return End::Closed(clock::shutting_down());
            }
            // Who is tied is not released, so nothing was waited for since.
            if is_between && shares_sessions && may_release {
                return End::Released;
            }
        }
        if let Some(end) = scanned.end {
            return end;
        }
        match reading.read(reader, buffer).await {
            Ok(0) | Err(_) => return End::DatabaseLeft,
            Ok(_) => {}
        }
    }
}

/// A client whose state ties it to its database session keeps that, if not too many of its tier do already.
async fn hold_tie(
    shared: &Shared<'_>,
    tied: Option<Tie>,
    writer: &mut WriteHalf<Stream>,
    held: &mut Option<OwnedSemaphorePermit>,
) -> Result<(), ErrorResponse> {
    let Some(tie) = tied else {
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

fn scan_database(shared: &Shared<'_>, buffer: &[u8], passing: &mut usize, lines: &mut Lines) -> Scanned {
    let now = Instant::now();
    let mut ended = |statement: &Statement<'_>| shared.relay.services.audit.note(lines, statement);
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
        let body = &explained.as_deref().unwrap_or(message)[5..];
        match (ledger.database_message(kind, body, now, &mut ended), explained) {
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
