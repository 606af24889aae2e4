//! From the database session to its client.

use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::BytesMut;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;

use super::bulk::Bulk;
use super::splice::{Outgoing, pass_on};
use super::{End, RECORDS_AT_ONCE, Shared};
use crate::audit_record::{Lines, Statement};
use crate::backend::Backend;
use crate::ledger::{Answer, Ledger};
use crate::session_state::Tie;
use crate::stream::Stream;
use crate::wire::{ErrorResponse, error_field, header};
use crate::{clock, log, refusal};

/// What comes next.
#[derive(Clone, Copy, Default)]
enum Stage {
    #[default]
    Scan,
    Record,
    Write,
    Read,
}

/// What was read from the database session and not yet passed on.
pub(super) struct Answers {
    /// What is still to come of a message that is passed on unseen.
    passing: usize,
    stage: Stage,
    /// Not all of what was read has been looked at: first that is recorded and passed on.
    is_cut: bool,
    outgoing: Outgoing,
    /// What ends the relay once `outgoing` is written.
    end: Option<End>,
    /// The right to a database session that is tied to the client.
    tie: Option<OwnedSemaphorePermit>,
    bulk: Bulk,
    pub(super) lines: Lines,
}

impl Answers {
    pub(super) fn new(lines: Lines) -> Self {
        Self {
            passing: 0,
            stage: Stage::Scan,
            is_cut: false,
            outgoing: Outgoing::default(),
            end: None,
            tie: None,
            bulk: Bulk::default(),
            lines,
        }
    }

    /// Begins with a database session, of which something may have been received already.
    pub(super) fn begin(&mut self, received: &BytesMut) {
        self.stage = if received.is_empty() { Stage::Read } else { Stage::Scan };
    }

    /// Passes on what comes, until there is a reason not to.
    pub(super) fn poll(
        &mut self,
        shared: &Shared<'_>,
        backend: &mut Backend,
        client: &mut Stream,
        context: &mut Context<'_>,
    ) -> Poll<End> {
        let Backend { stream: database, received, .. } = backend;
        loop {
            match self.stage {
                Stage::Scan => {
                    self.is_cut = self.scan(shared, received);
                    self.stage = Stage::Record;
                }
                // Recorded first: what a client has heard of is in the audit.
                Stage::Record => {
                    if let Err(answer) = ready!(shared.poll_record(&mut self.lines, context)) {
                        return Poll::Ready(End::Closed(answer));
                    }
                    self.stage = Stage::Write;
                }
                Stage::Write => {
                    if !self.outgoing.is_empty() {
                        if ready!(self.outgoing.poll_write(received, client, context)).is_err() {
                            return Poll::Ready(End::ClientLeft);
                        }
                        if let Some(end) = self.delivered(shared, database, received) {
                            return Poll::Ready(end);
                        }
                        // There may be something to add.
                        continue;
                    }
                    if let Some(end) = self.end.take() {
                        return Poll::Ready(end);
                    }
                    self.stage = if self.is_cut { Stage::Scan } else { Stage::Read };
                }
                Stage::Read => {
                    if shared.ledger().cancelling {
                        // The clock sees to it, in this task.
                        return Poll::Pending;
                    }
                    if !matches!(ready!(self.bulk.poll_read(database, received, context)), Ok(1..)) {
                        return Poll::Ready(End::DatabaseLeft);
                    }
                    self.stage = Stage::Scan;
                }
            }
        }
    }

    /// The client has all that was received.
    fn delivered(&mut self, shared: &Shared<'_>, database: &Stream, received: &BytesMut) -> Option<End> {
        let is_between_messages = self.passing == 0;
        let is_between = self.end.is_none() && !self.is_cut && is_between_messages && received.is_empty();
        let mut ledger = shared.ledger();
        ledger.undelivered = false;
        let tied = ledger.tied();
        let may_release = is_between && shared.shares_sessions() && ledger.may_release();
        let is_idle = is_between && ledger.is_idle() && !ledger.forwarding;
        if !ledger.is_busy() {
            self.bulk.stop(database);
        }
        drop(ledger);
        if shared.shares_sessions()
            && is_between_messages
            && let Err(answer) = self.hold_tie(shared, tied)
        {
            return Some(End::Closed(answer));
        }
        // Here and not by the clock: a client that asks at once again would never be found idle.
        if is_idle && shared.is_draining() {
            return Some(End::Closed(clock::shutting_down()));
        }
        may_release.then_some(End::Released)
    }

    /// A client whose state ties it to its database session keeps that, if not too many of its tier do already.
    fn hold_tie(&mut self, shared: &Shared<'_>, tied: Option<Tie>) -> Result<(), ErrorResponse> {
        let Some(tie) = tied else {
            self.tie = None;
            return Ok(());
        };
        if self.tie.is_some() {
            return Ok(());
        }
        self.tie = shared.relay.services.pools.tie(shared.relay.tier);
        if self.tie.is_none() {
            let message = "too many sessions of your tier keep settings or other state of their own";
            return Err(ErrorResponse::fatal("53300", message).with_hint(
                "use SET LOCAL in a transaction, or DISCARD ALL when the state is not needed any more",
            ));
        }
        if tie == Tie::Listening {
            let message = "this session has a database session to itself while it listens, until DISCARD ALL";
            ErrorResponse::notice(message).encode(&mut self.outgoing.changed);
        }
        Ok(())
    }

    /// True: there is more to look at than is recorded at once.
    fn scan(&mut self, shared: &Shared<'_>, buffer: &[u8]) -> bool {
        let Self { passing, outgoing, end, lines, .. } = self;
        let now = Instant::now();
        let limit = shared.relay.services.limits.of(shared.relay.tier);
        let mut ledger = shared.ledger();
        if tell_of_portals(shared, &mut ledger, lines) {
            return true;
        }
        loop {
            let at = pass_on(buffer, &mut outgoing.end_at, passing);
            let Some((kind, length)) = header(buffer, at) else { break };
            if length < 5 {
                let answer = ErrorResponse::fatal("08006", "the database sent a malformed message");
                *end = Some(End::Closed(answer));
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
            let ended = &mut |statement: &Statement<'_>| shared.relay.services.audit.note(lines, statement);
            match (ledger.database_message(kind, body, now, ended), &explained) {
                (Answer::HandOverFailed, _) => {
                    let said = |field| error_field(body, field).map(String::from_utf8_lossy);
                    let (sqlstate, error) = (said(b'C'), said(b'M'));
                    let role = shared.relay.tier.role();
                    log::warning(
                        "hand_over_failed",
                        json!({ "role": role, "sqlstate": sqlstate, "error": error }),
                    );
                    let message = "the database session could not be prepared for you";
                    let answer = ErrorResponse::fatal("57P03", message).with_hint("connect again");
                    *end = Some(End::Closed(answer));
                    break;
                }
                (Answer::Swallow, _) => outgoing.replace(buffer, at, at + length, &[]),
                (Answer::Pass, Some(explained)) => outgoing.replace(buffer, at, at + length, explained),
                (Answer::Pass, None) => {}
            }
            outgoing.end_at += length;
            if tell_of_portals(shared, &mut ledger, lines) {
                return true;
            }
        }
        false
    }
}

/// Notes what portals have ended. True: so much waits now that it is brought out first.
fn tell_of_portals(shared: &Shared<'_>, ledger: &mut Ledger, lines: &mut Lines) -> bool {
    while lines.waiting.len() < RECORDS_AT_ONCE {
        if !ledger.tell_of_portal(&mut |statement| shared.relay.services.audit.note(lines, statement)) {
            return false;
        }
    }
    true
}
