//! From the client to its database session.

use std::future::Future as _;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::splice::{Outgoing, pass_on};
use super::{End, Shared};
use crate::ledger::Turn;
use crate::pool::{DatabaseSession, Facts};
use crate::stream::Stream;
use crate::tier::Tier;
use crate::wire::{ErrorResponse, header};
use crate::{record_play, refusal};

/// Asks the database for the answers that it has.
const FLUSH: &[u8] = b"H\0\0\0\x04";
/// One read.
const READ: usize = 16 * 1024;
/// A text of this length counts as one statement more: it is read, run and recorded as a whole.
const COUNTED_LENGTH: usize = 16 * 1024;
/// A buffer that long messages have grown beyond this is not kept: thousands of clients say nothing most of the time.
const KEPT: usize = 1024;

/// What comes next.
#[derive(Clone, Copy, Default)]
enum Stage {
    #[default]
    Read,
    Scan,
    Write,
    Wait,
}

/// What was read from the client and not yet passed on.
#[derive(Default)]
pub(super) struct Requests {
    buffer: BytesMut,
    /// What is still to come of a message that is passed on unseen.
    passing: usize,
    stage: Stage,
    outgoing: Outgoing,
    /// What ends the relay once `outgoing` is written.
    end: Option<End>,
    /// What comes next from the client can only be passed on once something is answered.
    is_waiting: bool,
    /// The client asked faster than it may, and is not listened to before this is over.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Requests {
    /// Waits until there is something to do for a database session: a slow client must not hold one while it sends.
    pub(super) fn poll_first(
        &mut self,
        shared: &Shared<'_>,
        client: &mut Stream,
        context: &mut Context<'_>,
    ) -> Poll<Option<End>> {
        loop {
            if let Some((kind, length)) = header(&self.buffer, 0) {
                if !(5..=shared.relay.services.message_bytes).contains(&length) {
                    return Poll::Ready(Some(End::Closed(too_long(shared, length))));
                }
                if kind == b'X' {
                    return Poll::Ready(Some(End::ClientLeft));
                }
                if self.buffer.len() >= length || kind == b'd' {
                    shared.ledger().queued = true;
                    ready!(self.poll_pause(context));
                    return Poll::Ready(None);
                }
            }
            if !matches!(ready!(self.poll_read(client, context)), Ok(1..)) {
                return Poll::Ready(Some(End::ClientLeft));
            }
        }
    }

    /// Begins with a database session. `ahead` goes before all that is passed on to it.
    pub(super) fn begin(&mut self, ahead: BytesMut) {
        self.outgoing.changed = ahead;
        self.stage = Stage::Scan;
    }

    /// Passes on what comes, until there is a reason not to.
    pub(super) fn poll(
        &mut self,
        shared: &Shared<'_>,
        client: &mut Stream,
        session: &mut DatabaseSession,
        context: &mut Context<'_>,
    ) -> Poll<End> {
        loop {
            match self.stage {
                Stage::Scan => {
                    self.scan(shared, &session.facts);
                    self.stage = Stage::Write;
                }
                Stage::Write => {
                    let writer = &mut session.backend.stream;
                    if ready!(self.outgoing.poll_write(&mut self.buffer, writer, context)).is_err() {
                        return Poll::Ready(End::DatabaseLeft);
                    }
                    self.stage = if self.is_waiting { Stage::Wait } else { Stage::Read };
                    if self.buffer.is_empty() && self.buffer.capacity() > KEPT {
                        self.buffer = BytesMut::new();
                    }
                    let mut ledger = shared.ledger();
                    ledger.forwarding = self.passing > 0;
                    if let Some(end) = self.end.take() {
                        return Poll::Ready(end);
                    }
                    // Mostly the answers are still to come, and then the other direction sees that the session may be released.
                    if shared.shares_sessions() && ledger.may_release() {
                        return Poll::Ready(End::Released);
                    }
                }
                Stage::Wait => {
                    // Whenever answers were taken in, this is asked again.
                    let next = header(&self.buffer, 0);
                    if next.is_some_and(|(kind, _)| shared.ledger().turn(kind) == Turn::Wait) {
                        return Poll::Pending;
                    }
                    self.stage = Stage::Scan;
                }
                Stage::Read => {
                    ready!(self.poll_pause(context));
                    if !matches!(ready!(self.poll_read(client, context)), Ok(1..)) {
                        return Poll::Ready(End::ClientLeft);
                    }
                    self.stage = Stage::Scan;
                }
            }
        }
    }

    /// Waits while the client's account is ahead of its tier's rate. What was asked already goes on meanwhile.
    fn poll_pause(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        Poll::Ready(())
    }

    /// Reads by way of the stack: thousands of clients that say nothing hold no buffer.
    fn poll_read(&mut self, client: &mut Stream, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut room = [MaybeUninit::uninit(); READ];
        let mut read = ReadBuf::uninit(&mut room);
        ready!(Pin::new(client).poll_read(context, &mut read))?;
        self.buffer.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    }

    /// `facts` are those of the database session, for when the client resets it.
    fn scan(&mut self, shared: &Shared<'_>, facts: &Facts) {
        let Self { buffer, passing, outgoing, end, pause, is_waiting, .. } = self;
        *is_waiting = false;
        let buffer = &buffer[..];
        let now = Instant::now();
        let mut ledger = shared.ledger();
        ledger.forwarding = true;
        let mut statements = ledger.take_unexecuted();
        loop {
            let at = pass_on(buffer, &mut outgoing.end_at, passing);
            let Some((kind, length)) = header(buffer, at) else { break };
            if !(5..=shared.relay.services.message_bytes).contains(&length) {
                *end = Some(End::Closed(too_long(shared, length)));
                break;
            }
            if kind == b'd' {
                *passing = length;
                continue;
            }
            let Some(message) = buffer.get(at..at + length) else { break };
            if kind == b'X' {
                *end = Some(End::ClientLeft);
                break;
            }
            match ledger.turn(kind) {
                Turn::Pass => {}
                Turn::Wait => {
                    if ledger.must_flush() {
                        outgoing.replace(buffer, at, at, FLUSH);
                    }
                    *is_waiting = true;
                    break;
                }
                Turn::Drop => {
                    outgoing.replace(buffer, at, at + length, &[]);
                    outgoing.end_at += length;
                    continue;
                }
                Turn::Violation => {
                    let message = "protocol violation: a message that may not come here";
                    let answer = ErrorResponse::fatal("08P01", message);
                    *end = Some(End::Closed(
                        answer.with_hint("end a batch with Sync, and copy data with CopyDone"),
                    ));
                    break;
                }
            }
            if ledger.take_identity_lost() {
                let key = &shared.relay.services.identity_key;
                let introduction = shared.relay.person.introduction(key, facts, ledger.settings());
                (0..introduction.answers).for_each(|_| ledger.own_messages(b'Z'));
                outgoing.replace(buffer, at, at, &introduction.messages);
            }
            let body = &message[5..];
            let is_free = shared.relay.tier == Tier::Free;
            let judged = refusal::of_message(shared.relay.tier, kind, body);
            statements += judged.as_ref().map_or(u64::from(kind != b'P'), |count| *count);
            if matches!(kind, b'Q' | b'P') {
                statements += (length / COUNTED_LENGTH) as u64;
            }
            if let Err(refusal) = judged {
                ledger.refused(kind, body, refusal);
                outgoing.replace(buffer, at, at + length, &refusal::substitute(kind, body));
            } else if kind == b'E'
                && let Some(refusal) = ledger.exhausted(body)
            {
                ledger.refused(kind, body, refusal);
                outgoing.replace(buffer, at, at + length, &refusal::substitute(kind, body));
            } else if is_free
                && kind == b'Q'
                && let Some(sql) = ledger.is_record_play_query(body)
            {
                outgoing.replace(buffer, at, at + length, &record_play::read_write_query(&sql));
                ledger.extended_query(sql);
            } else {
                if is_free && ledger.begins_record_play(kind, body) {
                    ledger.own_messages(b'3');
                    outgoing.replace(buffer, at, at, &record_play::read_write_step());
                }
                if let Some(parse) = ledger.replay(kind, body) {
                    outgoing.replace(buffer, at, at, &parse);
                }
                ledger.client_message(kind, body, now);
            }
            outgoing.end_at += length;
        }
        if statements > 0
            && let Some(limit) = shared.relay.services.limits.of(shared.relay.tier)
        {
            let wait = shared.relay.pace.note(statements, limit.statements_per_s);
            *pause = (wait > Duration::ZERO).then(|| Box::pin(sleep(wait)));
        }
    }
}

fn too_long(shared: &Shared<'_>, length: usize) -> ErrorResponse {
    ErrorResponse::fatal(
        "08P01",
        format!("a message of {length} bytes: at most {} are accepted", shared.relay.services.message_bytes),
    )
    .with_hint("send bulk data with COPY, which is a row per message")
}
