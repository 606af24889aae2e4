//! From the client to its database session.

use std::io;
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, ReadHalf, WriteHalf};

use super::splice::{Outgoing, Scanned, header, pass_on};
use super::{End, Shared};
use crate::pool::Facts;
use crate::stream::Stream;
use crate::tier::Tier;
use crate::wire::ErrorResponse;
use crate::{record_play, refusal};

/// One read. Most statements fit, and thousands of clients that say nothing hold no more than this.
const SHORT_READ: usize = 1024;
/// One read of a client that has filled the last one.
const LONG_READ: usize = 32 * 1024;

/// What was read from the client and not yet passed on.
#[derive(Default)]
pub(super) struct Incoming {
    pub(super) buffer: BytesMut,
    /// What is still to come of a message that is passed on unseen.
    passing: usize,
    /// The last read took all the room it had.
    was_filled: bool,
}

impl Incoming {
    async fn read(&mut self, reader: &mut ReadHalf<Stream>) -> io::Result<usize> {
        self.buffer.reserve(if self.was_filled { LONG_READ } else { SHORT_READ });
        let length = reader.read_buf(&mut self.buffer).await?;
        self.was_filled = self.buffer.len() == self.buffer.capacity();
        Ok(length)
    }

    /// Gives back what a long message took.
    fn shrink(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > 2 * SHORT_READ {
            self.buffer = BytesMut::new();
        }
    }
}

/// Waits until there is something to do for a database session: a slow client must not hold one while it sends.
pub(super) async fn first_message(
    shared: &Shared<'_>,
    reader: &mut ReadHalf<Stream>,
    incoming: &mut Incoming,
) -> Option<End> {
    loop {
        if let Some((kind, length)) = header(&incoming.buffer, 0) {
            if !(5..=shared.relay.services.message_bytes).contains(&length) {
                return Some(End::Closed(too_long(shared, length)));
            }
            if kind == b'X' {
                return Some(End::ClientLeft);
            }
            if incoming.buffer.len() >= length || kind == b'd' {
                shared.ledger().queued = true;
                shared.keep_pace().await;
                return None;
            }
        }
        incoming.shrink();
        match incoming.read(reader).await {
            Ok(0) | Err(_) => return Some(End::ClientLeft),
            Ok(_) => {}
        }
    }
}

/// `ahead` goes before all; `facts` are those of the database session, for when the client resets it.
pub(super) async fn from_client(
    shared: &Shared<'_>,
    reader: &mut ReadHalf<Stream>,
    writer: &mut WriteHalf<Stream>,
    incoming: &mut Incoming,
    mut ahead: BytesMut,
    facts: &Facts,
) -> End {
    loop {
        let scanned = scan_client(shared, incoming, std::mem::take(&mut ahead), facts);
        if scanned.end_at > 0 || !scanned.outgoing.changed.is_empty() {
            if scanned.outgoing.write(&incoming.buffer, scanned.end_at, writer).await.is_err() {
                return End::DatabaseLeft;
            }
            incoming.buffer.advance(scanned.end_at);
        }
        // Mostly the answers are still to come, and then the other direction sees that the session may be released.
        let may_release = {
            let mut ledger = shared.ledger();
            ledger.forwarding = incoming.passing > 0;
            shared.shares_sessions() && ledger.may_release()
        };
        if let Some(end) = scanned.end {
            return end;
        }
        if may_release {
            return End::Released;
        }
        shared.keep_pace().await;
        match incoming.read(reader).await {
            Ok(0) | Err(_) => return End::ClientLeft,
            Ok(_) => {}
        }
    }
}

fn scan_client(shared: &Shared<'_>, incoming: &mut Incoming, ahead: BytesMut, facts: &Facts) -> Scanned {
    let Incoming { buffer, passing, .. } = incoming;
    let buffer = &buffer[..];
    let now = Instant::now();
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
            ledger.client_message(kind, body, now);
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

fn too_long(shared: &Shared<'_>, length: usize) -> ErrorResponse {
    ErrorResponse::fatal(
        "08P01",
        format!("a message of {length} bytes: at most {} are accepted", shared.relay.services.message_bytes),
    )
    .with_hint("send bulk data with COPY, which is a row per message")
}
