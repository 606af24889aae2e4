//! What the database says: which statement it answers, how that has ended, and whether it is for the client.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Asked, Ledger, text};
use crate::audit_record::Statement;
use crate::portals::{Answered, PortalId};
use crate::session_state::{Tie, deallocated, tie_of};
use crate::wire::{ErrorResponse, error_field, take_text};

/// What to do with a message of the database.
pub(crate) enum Answer {
    Pass,
    /// It answers a question of the server's own.
    Swallow,
    /// The session could not be made its new owner's.
    HandOverFailed,
}

impl Ledger {
    /// Notes a message of the database that was read at `now`, and tells `ended` of the statement that it ends, if it does.
    pub(crate) fn database_message(
        &mut self,
        kind: u8,
        body: &[u8],
        now: Instant,
        ended: &mut impl FnMut(&Statement<'_>),
    ) -> Answer {
        self.last_activity = now;
        if let Some(Asked::HandOver) = self.asked.front() {
            match kind {
                b'E' => return Answer::HandOverFailed,
                b'Z' => drop(self.asked.pop_front()),
                // What the session reports of itself is what the client was told at its login.
                _ => {}
            }
            return Answer::Swallow;
        }
        if let Some(Asked::Own { last }) = self.asked.front()
            && !matches!(kind, b'A' | b'S')
        {
            let ended = kind == *last;
            // Before a Sync, a failure of ours ends the client's batch: it has to hear of it.
            let failed = kind == b'E' && *last != b'Z';
            if ended || failed {
                self.asked.pop_front();
            }
            if !failed {
                return Answer::Swallow;
            }
        }
        if kind == b'1' {
            self.drop_stale();
            if matches!(self.asked.front(), Some(Asked::Replay { .. })) {
                self.asked.pop_front();
                return Answer::Swallow;
            }
        }
        self.undelivered = true;
        match kind {
            b'1' => {
                if let Some(Asked::Parse { sql, at, is_known, .. }) =
                    self.asked.pop_front_if(|asked| matches!(asked, Asked::Parse { .. }))
                    && !is_known
                {
                    self.unexecuted += 1;
                    let (tag, duration, sqlstate) = (Some("PREPARE"), now - at, Some("00000"));
                    ended(&Statement { tag, duration, sqlstate, ..Statement::of(&sql) });
                }
            }
            b'2' | b'3' => {
                if let Some(Asked::EndOfPortal { portal }) = self.asked.front() {
                    self.portals.end(*portal);
                    self.asked.pop_front();
                }
            }
            b'C' => return self.command_complete(body, now, ended),
            b's' => self.portal_suspended(now, ended),
            // EmptyQueryResponse ends an Execute that has nothing to record.
            b'I' => {
                self.drop_stale();
                if matches!(self.asked.front(), Some(Asked::Execute { .. })) {
                    self.asked.pop_front();
                }
            }
            b'G' => match self.copy_ends_ahead.checked_sub(1) {
                Some(others) => self.copy_ends_ahead = others,
                None => self.copying_in = true,
            },
            b'E' => self.error(body, now, ended),
            b'Z' => {
                self.copying_in = false;
                self.statement_ended(now);
                self.transaction_status = body.first().copied().unwrap_or(b'I');
                if self.transaction_status == b'I' {
                    self.settings.settle();
                } else {
                    self.settings_in_doubt();
                }
                // There is one, unless the ledger is out of step: then the database session is nobody else's any more.
                self.is_over |= !std::iter::from_fn(|| self.asked.pop_front())
                    .any(|asked| matches!(asked, Asked::Query { .. } | Asked::Sync));
                if body == b"I" {
                    let is_end = |asked: &&Asked| matches!(asked, Asked::Query { .. } | Asked::Sync);
                    let unanswered = self.asked.iter().filter(is_end).count() as u64;
                    self.portals.end_transaction(self.batches.saturating_sub(unanswered));
                }
            }
            _ => {}
        }
        Answer::Pass
    }

    fn command_complete(
        &mut self,
        body: &[u8],
        now: Instant,
        ended: &mut impl FnMut(&Statement<'_>),
    ) -> Answer {
        self.drop_stale();
        self.copying_in = false;
        if let Some(Asked::Query { hidden: hidden @ 1.., .. }) = self.asked.front_mut() {
            *hidden -= 1;
            return Answer::Swallow;
        }
        let tag = text(take_text(&mut { body }).unwrap_or_default());
        let mut answered = Answered { rows: self.rows, bytes: self.bytes, duration: Duration::ZERO };
        self.statement_ended(now);
        if tag == "DISCARD ALL" || tag == "RESET" {
            self.identity_lost = true;
        }
        if tag == "DISCARD ALL" || tag == "DEALLOCATE ALL" {
            self.statements.forget_all();
        }
        let (sql, at, part) = match self.asked.front_mut() {
            // A query may hold several statements: it stays until ReadyForQuery.
            Some(Asked::Query { sql, at, told, .. }) => {
                *told += 1;
                (Arc::clone(sql), *at, *told)
            }
            Some(Asked::Execute { sql, at, portal }) => {
                let (found, portal) = ((Arc::clone(sql), *at, 1), *portal);
                answered = self.portal_ended(portal, answered);
                self.asked.pop_front();
                found
            }
            _ => return Answer::Pass,
        };
        match &*tag {
            "DISCARD ALL" => {
                self.tied = None;
                self.settings.reset();
            }
            "SET" | "RESET" if self.transaction_status == b'I' && self.settings.hear(&sql) => {}
            // Which ones it was cannot be told, so all are as after the login, and stay with this database session.
            "RESET" => {
                self.settings.reset();
                self.tied = self.tied.or(Some(Tie::Other));
            }
            "ROLLBACK" => self.settings_in_doubt(),
            "DEALLOCATE" => {
                if let Some(name) = deallocated(&sql) {
                    self.statements.forget(name.as_bytes());
                }
            }
            _ => self.tied = self.tied.or_else(|| tie_of(&tag, &sql)),
        }
        // What was answered before a portal stopped is not in the count of its last rows.
        let rows = tag.rsplit(' ').next().and_then(|count| count.parse().ok());
        let rows = rows.map(|rows: u64| rows.max(answered.rows));
        let (bytes, duration) = (answered.bytes, answered.duration + (now - at));
        let (tag, sqlstate) = (Some(&*tag), Some("00000"));
        ended(&Statement { part, tag, rows, bytes, duration, sqlstate, ..Statement::of(&sql) });
        Answer::Pass
    }

    /// Tells `ended` the first time, before the client hears of rows; then when the portal has ended.
    fn portal_suspended(&mut self, now: Instant, ended: &mut impl FnMut(&Statement<'_>)) {
        self.drop_stale();
        let refusal = self.exceeded.take();
        let (rows, bytes) = (self.rows, self.bytes);
        self.statement_ended(now);
        if let Some(Asked::Execute { sql, at, portal: Some(portal) }) =
            self.asked.pop_front_if(|asked| matches!(asked, Asked::Execute { .. }))
        {
            let duration = self.portals.answered(portal).duration + (now - at);
            let answered = Answered { rows, bytes, duration };
            if self.portals.stop(portal, Arc::clone(&sql), answered, refusal) {
                let (rows, sqlstate) = (Some(rows), Some("00000"));
                let so_far = Statement { rows, bytes, duration, sqlstate, ..Statement::of(&sql) };
                ended(&Statement { is_suspended: true, ..so_far });
            }
        }
    }

    /// What a portal has answered in all, which now ends.
    fn portal_ended(&mut self, portal: Option<PortalId>, answered: Answered) -> Answered {
        let before = portal.map_or_else(Answered::default, |portal| self.portals.take(portal));
        // As long as it answers nothing more, nothing was added to what it has answered before.
        let (rows, bytes) = (answered.rows.max(before.rows), answered.bytes.max(before.bytes));
        Answered { rows, bytes, duration: before.duration }
    }

    /// A Sync that is next is the error's own: it commits, and that may fail.
    fn error(&mut self, body: &[u8], now: Instant, ended: &mut impl FnMut(&Statement<'_>)) {
        self.is_over |= matches!(error_field(body, b'V'), Some(b"FATAL" | b"PANIC"));
        self.settings_in_doubt();
        self.copying_in = false;
        let mut answered = Answered { rows: self.rows, bytes: self.bytes, duration: Duration::ZERO };
        self.statement_ended(now);
        while matches!(self.asked.front(), Some(Asked::EndOfPortal { .. })) {
            self.asked.pop_front();
        }
        if let Some(Asked::Execute { portal, .. }) = self.asked.front() {
            answered = self.portal_ended(*portal, answered);
        }
        let code = error_field(body, b'C').map_or(Cow::Borrowed("XX000"), String::from_utf8_lossy);
        self.unexecuted += u64::from(matches!(self.asked.front(), Some(Asked::Parse { .. })));
        let failed = match self.asked.front() {
            Some(Asked::Query { sql, at, told, .. }) => Some((sql, at, told + 1)),
            Some(Asked::Parse { sql, at, .. } | Asked::Execute { sql, at, .. }) => Some((sql, at, 1)),
            _ => None,
        };
        if let Some((sql, at, part)) = failed {
            let Answered { rows, bytes, duration } = answered;
            let (duration, sqlstate) = (duration + (now - *at), Some(&*code));
            let rows = (rows > 0).then_some(rows);
            ended(&Statement { part, rows, bytes, duration, sqlstate, ..Statement::of(sql) });
        }
        // After an error the database skips to the next Sync; a simple query's error is followed by its ReadyForQuery.
        while let Some(
            Asked::Parse { .. } | Asked::Replay { .. } | Asked::Execute { .. } | Asked::EndOfPortal { .. },
        ) = self.asked.front()
        {
            match self.asked.pop_front() {
                // Neither has it been prepared, nor does anybody think so.
                Some(Asked::Parse { name, .. }) => self.statements.forget(&name),
                Some(Asked::Replay { name }) => self.statements.forget_here(&name),
                _ => {}
            }
        }
        self.skipping = self.asked.is_empty() && self.batch_open;
    }

    /// Tells `ended` of one more statement that is still unanswered when the session ends. False: there is none.
    pub(crate) fn abandon(&mut self, ended: &mut impl FnMut(&Statement<'_>)) -> bool {
        while let Some(asked) = self.asked.pop_front() {
            let (sql, at, portal, part) = match asked {
                Asked::Query { sql, at, told, .. } => (sql, at, None, told + 1),
                Asked::Execute { sql, at, portal } => (sql, at, portal, 1),
                _ => continue,
            };
            let answered = Answered { rows: self.rows, bytes: self.bytes, duration: Duration::ZERO };
            (self.rows, self.bytes) = (0, 0);
            let Answered { rows, bytes, duration } = self.portal_ended(portal, answered);
            let (rows, duration) = ((rows > 0).then_some(rows), duration + at.elapsed());
            ended(&Statement { part, rows, bytes, duration, ..Statement::of(&sql) });
            return true;
        }
        self.portals.end_stopped();
        self.portals.tell(ended)
    }

    /// Tells `ended` of a portal that has ended without a word of the database. False: there is none.
    pub(crate) fn tell_of_portal(&mut self, ended: &mut impl FnMut(&Statement<'_>)) -> bool {
        self.portals.tell(ended)
    }

    /// How many statements were recorded without an Execute since this was last asked.
    pub(crate) fn take_unexecuted(&mut self) -> u64 {
        std::mem::take(&mut self.unexecuted)
    }

    /// A transaction may have taken back what the client has set: the database session at hand knows, and is kept.
    fn settings_in_doubt(&mut self) {
        if self.settings.unsettle() {
            self.tied = self.tied.or(Some(Tie::Other));
        }
    }

    /// A message that answers neither a Sync nor a Bind shows that those in front of what it answers are over.
    pub(super) fn drop_stale(&mut self) {
        while matches!(self.asked.front(), Some(Asked::Sync | Asked::EndOfPortal { .. })) {
            self.asked.pop_front();
        }
    }

    /// What to tell the client instead of the error `body`, if this server caused it: the syntax error of `refusal::substitute`,
    /// or the cancellation of a statement that costs too much.
    pub(crate) fn take_refusal(&mut self, body: &[u8]) -> Option<ErrorResponse> {
        match error_field(body, b'C') {
            Some(b"57014") if self.exceeded.is_some() => return self.exceeded.take(),
            // A cancel may have come too late for what it was meant for.
            Some(b"42601" | b"57014") => {}
            _ => return None,
        }
        self.drop_stale();
        match self.asked.front_mut() {
            Some(Asked::Query { refusal, .. } | Asked::Parse { refusal, .. }) => {
                refusal.take().map(|refusal| *refusal)
            }
            _ => None,
        }
    }

    /// The next message of the database answers a question of the server's own.
    pub(crate) fn answers_own(&self) -> bool {
        matches!(self.asked.front(), Some(Asked::Own { .. } | Asked::HandOver))
    }
}
