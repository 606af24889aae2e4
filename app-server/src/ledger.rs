//! What a client has asked and the database has not yet answered. Both directions of a relay report their messages here; what
//! comes out is who is idle, which statements ended how, and which answers are not meant for the client.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::audit_record::Statement;
use crate::client_settings::{ClientSettings, Setting};
use crate::pool::{DatabaseSession, Owner};
use crate::portals::{Answered, PortalId, Portals};
use crate::prepared_statements::PreparedStatements;
use crate::record_play::is_record_play;
use crate::session_state::{Tie, deallocated, tie_of};
use crate::wire::{ErrorResponse, error_field, take_text};

/// A prepared statement that is longer is recorded as a whole once, when it is prepared: a few bytes can execute it.
const REPEATED: usize = 4 * 1024;
/// No more than this may be unanswered of one client: each takes memory here, and what the database skips after an error it never
/// answers. Drivers that send ahead send some hundreds.
const UNANSWERED_LIMIT: usize = 1024;
/// PostgreSQL tells names apart by so many bytes (NAMEDATALEN less one).
const NAME_BYTES: usize = 63;

#[derive(Debug)]
enum Asked {
    /// A simple query: any number of results, then ReadyForQuery. The first `hidden` ones are the server's own.
    Query {
        sql: Arc<str>,
        at: Instant,
        hidden: u8,
        /// How many of its statements have ended and were told of.
        told: u32,
        refusal: Option<Box<ErrorResponse>>,
    },
    Parse {
        name: Vec<u8>,
        sql: Arc<str>,
        at: Instant,
        refusal: Option<Box<ErrorResponse>>,
        /// What is executed under this name later is known by its whole text.
        is_known: bool,
    },
    /// A Parse of the server's own, for a statement that the client prepared on another database session.
    Replay {
        name: Vec<u8>,
    },
    Execute {
        sql: Arc<str>,
        at: Instant,
        portal: Option<PortalId>,
    },
    /// A Bind or Close that ends a portal which may have stopped after some rows.
    EndOfPortal {
        portal: PortalId,
    },
    Sync,
    /// Messages of the server's own: their answers, up to one of the kind `last`, are not for the client.
    Own {
        last: u8,
    },
    /// The same up to ReadyForQuery, for a session that changes its owner: should it fail, nothing behind it may be answered.
    HandOver,
}

pub(crate) struct Ledger {
    asked: VecDeque<Asked>,
    statements: PreparedStatements,
    settings: ClientSettings,
    /// The database session at hand holds state that the client has asked for, and must not lose.
    tied: Option<Tie>,
    /// Messages were taken in and are not all written to the database.
    pub(crate) forwarding: bool,
    /// The client waits for a database session.
    pub(crate) queued: bool,
    portals: Portals,
    /// How many batches have been sent: what ends in a Sync, and simple queries.
    batches: u64,
    /// The transaction status of the last ReadyForQuery.
    transaction_status: u8,
    /// The database expects copy data.
    copying_in: bool,
    /// Ends of copy data that were sent before the database has asked for it.
    copy_ends_ahead: u32,
    /// Extended-protocol messages were sent and no Sync has ended them.
    batch_open: bool,
    /// The database has reported an error in the open batch, and ignores all up to the next Sync.
    skipping: bool,
    /// The database was asked for the answers that it has, and nothing else since.
    flushed: bool,
    /// The database has ended its session, and all that comes is the end of the connection: no ReadyForQuery.
    is_over: bool,
    /// Answers were taken in and have not been passed on.
    pub(crate) undelivered: bool,
    pub(crate) last_activity: Instant,
    /// When the last statement ended: the next one in a pipeline runs from then on.
    last_ended: Instant,
    /// Rows that the statement under way has answered, and their bytes.
    rows: u64,
    bytes: u64,
    /// The statement under way was cancelled by this server, which is what to tell.
    exceeded: Option<ErrorResponse>,
    /// .. and it has not been told to the database yet.
    must_cancel: bool,
    /// .. or is on its way there: until then nothing more of the answer is taken in, so that little more comes than may.
    pub(crate) cancelling: bool,
    /// Statements that have a record without an Execute, and are still to be counted.
    unexecuted: u64,
    /// DISCARD ALL or RESET took the session's identity away.
    identity_lost: bool,
}

/// What has to be sent ahead of a client's messages on a database session that was not its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandOver {
    Identity,
    ResetAndIdentity,
}

/// What to do with a message of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Pass,
    /// What it means depends on an answer that is still to come.
    Wait,
    /// The database would ignore it.
    Drop,
    /// No client in its senses says this here.
    Violation,
}

/// What to do with a message of the database.
pub(crate) enum Answer {
    Pass,
    /// It answers a question of the server's own.
    Swallow,
    /// The session could not be made its new owner's.
    HandOverFailed,
}

impl Ledger {
    pub(crate) fn new(settings: ClientSettings) -> Self {
        Self {
            asked: VecDeque::new(),
            statements: PreparedStatements::default(),
            settings,
            tied: None,
            forwarding: false,
            queued: false,
            portals: Portals::default(),
            batches: 0,
            transaction_status: b'I',
            copying_in: false,
            copy_ends_ahead: 0,
            batch_open: false,
            skipping: false,
            flushed: false,
            is_over: false,
            undelivered: false,
            last_activity: Instant::now(),
            last_ended: Instant::now(),
            rows: 0,
            bytes: 0,
            exceeded: None,
            must_cancel: false,
            cancelling: false,
            unexecuted: 0,
            identity_lost: false,
        }
    }

    /// Nothing is under way, no transaction is open, and the client has all its answers.
    pub(crate) fn is_idle(&self) -> bool {
        self.transaction_status == b'I' && !self.is_busy()
    }

    /// It is the client's turn, and a transaction waits for it: one of its own, or that of a batch without a Sync.
    pub(crate) fn is_idle_in_transaction(&self) -> bool {
        let is_open = self.transaction_status != b'I' || self.batch_open;
        is_open && self.running_since().is_none() && !self.undelivered && !self.queued && !self.is_over
    }

    /// A statement is under way, or something else that the client has to hear of.
    pub(crate) fn is_busy(&self) -> bool {
        !self.asked.is_empty() || self.batch_open || self.undelivered || self.queued || self.is_over
    }

    /// Nothing of the client's is in the database session, or on the way to or from it, that a next transaction would need.
    pub(crate) fn may_release(&self) -> bool {
        self.tied.is_none() && !self.forwarding && self.is_idle()
    }

    pub(crate) fn tied(&self) -> Option<Tie> {
        self.tied
    }

    /// The settings that follow the client.
    pub(crate) fn settings(&self) -> &[Setting] {
        self.settings.current()
    }

    /// Takes up a database session, and answers what makes it the person's if it is not: one that is somebody else's, or that
    /// knows statements which were closed elsewhere or not the client's settings, must be reset first.
    pub(crate) fn attach(&mut self, session: &mut DatabaseSession, person: u64) -> Option<HandOver> {
        self.queued = false;
        let knows_settings = session.changed_settings == self.settings.changes();
        let is_current = self.statements.attach(session) && knows_settings;
        let needed = match session.owner {
            Owner::Session(owner) if owner == person && is_current => return None,
            Owner::Clean => HandOver::Identity,
            _ => HandOver::ResetAndIdentity,
        };
        self.statements.reset_here();
        self.identity_lost = false;
        session.owner = Owner::Session(person);
        Some(needed)
    }

    /// Notes what was sent ahead on a database session that has changed its owner, and will be answered so often.
    pub(crate) fn hands_over(&mut self, answers: usize) {
        self.asked.extend(std::iter::repeat_with(|| Asked::HandOver).take(answers));
    }

    /// Gives a database session up, which is idle.
    pub(crate) fn detach(&mut self, session: &mut DatabaseSession) {
        self.statements.detach(session);
        session.changed_settings = self.settings.changes();
        if self.identity_lost {
            session.owner = Owner::Abandoned;
        }
    }

    /// The Parse message to send ahead of a Bind or Describe whose statement this database session does not know.
    pub(crate) fn replay(&mut self, kind: u8, body: &[u8]) -> Option<Arc<[u8]>> {
        let (name, message) = self.statements.replay(kind, body)?;
        self.asked.push_back(Asked::Replay { name });
        self.batch_open = true;
        Some(message)
    }

    /// Whether the next message starts a batch while the session has no identity; asks once.
    pub(crate) fn take_identity_lost(&mut self) -> bool {
        let restore = self.identity_lost && self.is_idle();
        if restore {
            self.identity_lost = false;
        }
        restore
    }

    /// Notes messages of the server's own, whose answers, up to one of the kind `last`, the client must not see.
    pub(crate) fn own_messages(&mut self, last: u8) {
        self.asked.push_back(Asked::Own { last });
    }

    /// Whether a message begins `record_play` outside a transaction block, in the extended protocol.
    pub(crate) fn begins_record_play(&self, kind: u8, body: &[u8]) -> bool {
        if self.transaction_status != b'I' || self.batch_open {
            return false;
        }
        let rest = &mut { body };
        take_text(rest);
        match kind {
            b'P' => is_record_play(&text(take_text(rest).unwrap_or_default())),
            b'B' => {
                let statement = take_text(rest).unwrap_or_default();
                self.statements.sql(statement).is_some_and(|sql| is_record_play(sql))
            }
            _ => false,
        }
    }

    /// Whether a simple query is `record_play` outside a transaction block; answers its text.
    pub(crate) fn is_record_play_query(&self, body: &[u8]) -> Option<Arc<str>> {
        let sql = text(take_text(&mut { body }).unwrap_or_default());
        (self.transaction_status == b'I' && is_record_play(&sql)).then(|| sql.into())
    }

    /// Notes a simple query that the server has put a statement in front of.
    pub(crate) fn extended_query(&mut self, sql: Arc<str>) {
        let at = Instant::now();
        self.last_activity = at;
        self.end_batch(Asked::Query { sql, at, hidden: 1, told: 0, refusal: None });
    }

    fn end_batch(&mut self, asked: Asked) {
        self.asked.push_back(asked);
        self.batch_open = false;
        self.batches += 1;
    }

    /// Notes that `refusal::substitute` was sent in the place of a message of the client (Query, Parse, Execute or
    /// FunctionCall).
    pub(crate) fn refused(&mut self, kind: u8, body: &[u8], refusal: ErrorResponse) {
        let at = Instant::now();
        self.last_activity = at;
        let (sql, refusal) = (self.statement_text(kind, body), Some(Box::new(refusal)));
        if matches!(kind, b'P' | b'E') {
            self.batch_open = true;
            self.asked.push_back(Asked::Parse { name: Vec::new(), sql, at, refusal, is_known: true });
        } else {
            self.end_batch(Asked::Query { sql, at, hidden: 0, told: 0, refusal });
        }
    }

    /// What an audit record shows of a refused message.
    fn statement_text(&mut self, kind: u8, body: &[u8]) -> Arc<str> {
        let rest = &mut { body };
        match kind {
            b'P' => {
                take_text(rest);
                sql_text(rest)
            }
            b'Q' => sql_text(rest),
            b'E' => {
                let portal = self.portals.execute(take_name(rest), 0);
                portal.map_or_else(|| "".into(), |(_, sql)| sql)
            }
            _ => "(function call)".into(),
        }
    }

    /// Why an Execute asks for more than its statement may answer, if it does.
    pub(crate) fn exhausted(&self, body: &[u8]) -> Option<ErrorResponse> {
        self.portals.refusal(take_name(&mut { body }))
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

    /// What to do with the client's next message. Of each that is passed on it must be certain whether it will be answered. Otherwise
    /// answers would be taken for those of other messages, and in the end a database session be given up that has some to come.
    pub(crate) fn turn(&self, kind: u8) -> Turn {
        // The database would run a simple query here, or ignore it after an error that it has not reported yet.
        if self.batch_open && matches!(kind, b'Q' | b'F') {
            return Turn::Violation;
        }
        if self.skipping && kind != b'S' {
            return Turn::Drop;
        }
        // Never answered.
        if matches!(kind, b'c' | b'f' | b'H') {
            return Turn::Pass;
        }
        let copies = match self.asked.back() {
            Some(Asked::Query { sql, .. } | Asked::Execute { sql, .. }) => may_copy(sql),
            _ => false,
        };
        match (copies, self.copying_in, kind) {
            // A Sync is ignored while data is expected, and anything else breaks the database session.
            (true, true, b'S') => Turn::Drop,
            (true, true, _) => Turn::Violation,
            // Is data expected? If so, is this behind its end, or behind an error in it?
            (true, false, _) => Turn::Wait,
            (false, ..) if self.asked.len() >= UNANSWERED_LIMIT => Turn::Wait,
            (false, ..) => Turn::Pass,
        }
    }

    /// Whether to ask the database for the answers that it has, because the client's next message waits for one.
    pub(crate) fn must_flush(&mut self) -> bool {
        !std::mem::replace(&mut self.flushed, true)
    }

    /// Notes a message of the client that was read at `at`. `body` is without kind and length.
    pub(crate) fn client_message(&mut self, kind: u8, body: &[u8], at: Instant) {
        self.last_activity = at;
        self.flushed = false;
        // Nothing is passed on behind a COPY before it is answered, so what was sent ahead was for that.
        if matches!(kind, b'Q' | b'E') {
            self.copy_ends_ahead = 0;
        }
        match kind {
            b'Q' => {
                let sql = sql_text(&mut { body });
                self.end_batch(Asked::Query { sql, at, hidden: 0, told: 0, refusal: None });
                // A simple query ends the unnamed statement.
                self.statements.forget(b"");
            }
            b'P' => {
                let rest = &mut { body };
                let name = take_text(rest).unwrap_or_default();
                let sql = sql_text(rest);
                let is_short = sql.len() <= REPEATED;
                let shown = if is_short { Arc::clone(&sql) } else { shortened(&sql) };
                let is_kept = self.statements.remember(name, &shown, body);
                if !is_kept {
                    self.tied = self.tied.or(Some(Tie::Other));
                }
                let is_known = is_short && is_kept;
                self.asked.push_back(Asked::Parse { name: name.to_vec(), sql, at, refusal: None, is_known });
                self.batch_open = true;
            }
            b'B' => {
                let rest = &mut { body };
                let portal = take_name(rest);
                let statement = take_text(rest).unwrap_or_default();
                // Prepared by a PREPARE, or more than is kept: either has a record with its text.
                let unknown = || format!("(prepared statement \"{}\")", text(statement)).into();
                let sql = self.statements.sql(statement).map_or_else(unknown, Arc::clone);
                let replaced = self.portals.bind(portal, sql, self.batches);
                self.asked.extend(replaced.map(|portal| Asked::EndOfPortal { portal }));
                self.batch_open = true;
            }
            b'E' => {
                let rest = &mut { body };
                let name = take_name(rest);
                let rows = rest.first_chunk().map_or(0, |rows| u32::from_be_bytes(*rows));
                let (portal, sql) = match self.portals.execute(name, rows) {
                    Some((portal, sql)) => (Some(portal), sql),
                    None => (None, format!("(portal \"{}\")", text(name)).into()),
                };
                self.asked.push_back(Asked::Execute { sql, at, portal });
                self.batch_open = true;
            }
            b'C' => {
                if let Some((what, name)) = body.split_first() {
                    let rest = &mut { name };
                    if *what == b'S' {
                        self.statements.forget(take_text(rest).unwrap_or_default());
                    } else {
                        let closed = self.portals.close(take_name(rest));
                        self.asked.extend(closed.map(|portal| Asked::EndOfPortal { portal }));
                    }
                }
                self.batch_open = true;
            }
            b'D' => self.batch_open = true,
            b'S' => {
                self.end_batch(Asked::Sync);
                self.skipping = false;
            }
            b'c' | b'f' if self.copying_in => self.copying_in = false,
            b'c' | b'f' => self.copy_ends_ahead = self.copy_ends_ahead.saturating_add(1),
            _ => {}
        }
    }

    /// The next message of the database answers a question of the server's own.
    pub(crate) fn answers_own(&self) -> bool {
        matches!(self.asked.front(), Some(Asked::Own { .. } | Asked::HandOver))
    }

    /// Notes a row, and answers how many the statement has, and their bytes.
    pub(crate) fn row(&mut self, length: usize) -> (u64, u64) {
        self.undelivered = true;
        if self.rows == 0 {
            self.continue_portal();
        }
        self.rows += 1;
        self.bytes += length as u64;
        (self.rows, self.bytes)
    }

    /// What a portal answers now is added to what it has answered before it stopped.
    fn continue_portal(&mut self) {
        self.drop_stale();
        if let Some(Asked::Execute { portal: Some(portal), .. }) = self.asked.front() {
            let before = self.portals.answered(*portal);
            (self.rows, self.bytes) = (before.rows, before.bytes);
        }
    }

    /// Since when the database has been working on a statement, if it has.
    pub(crate) fn running_since(&self) -> Option<Instant> {
        match self.asked.iter().find(|asked| !matches!(asked, Asked::Sync)) {
            Some(Asked::Query { at, .. } | Asked::Execute { at, .. }) => Some((*at).max(self.last_ended)),
            _ => None,
        }
    }

    /// Notes that the statement under way costs too much. True: this is new.
    pub(crate) fn exceed(&mut self, answer: ErrorResponse) -> bool {
        let is_new = self.exceeded.is_none();
        if is_new {
            self.exceeded = Some(answer);
            self.must_cancel = true;
            self.cancelling = true;
        }
        is_new
    }

    /// Whether the statement under way is to be cancelled; asks once.
    pub(crate) fn take_cancel(&mut self) -> bool {
        std::mem::take(&mut self.must_cancel)
    }

    pub(crate) fn is_exceeded(&self) -> bool {
        self.exceeded.is_some()
    }

    fn statement_ended(&mut self, at: Instant) {
        self.last_ended = at;
        self.rows = 0;
        self.bytes = 0;
        self.exceeded = None;
        self.must_cancel = false;
        self.cancelling = false;
    }

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

    /// Tells `ended` of a portal that has ended without a word of the database. False: there is none.
    pub(crate) fn tell_of_portal(&mut self, ended: &mut impl FnMut(&Statement<'_>)) -> bool {
        self.portals.tell(ended)
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
    fn drop_stale(&mut self) {
        while matches!(self.asked.front(), Some(Asked::Sync | Asked::EndOfPortal { .. })) {
            self.asked.pop_front();
        }
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
}

/// A portal's name, as far as PostgreSQL tells it from others.
fn take_name<'a>(body: &mut &'a [u8]) -> &'a [u8] {
    let name = take_text(body).unwrap_or_default();
    &name[..name.len().min(NAME_BYTES)]
}

/// Whether a statement may be a COPY: it has the word in it, which cannot be spelled in escapes, or its text is not known to the end.
fn may_copy(sql: &str) -> bool {
    let has_word = || {
        let mut rest = sql.as_bytes();
        std::iter::from_fn(|| {
            let place = rest.iter().position(|byte| byte.eq_ignore_ascii_case(&b'c'))?;
            rest = &rest[place + 1..];
            Some(rest)
        })
        .any(|rest| rest.get(..3).is_some_and(|end| end.eq_ignore_ascii_case(b"opy")))
    };
    sql.starts_with('(') || sql.len() > REPEATED || has_word()
}

fn sql_text(body: &mut &[u8]) -> Arc<str> {
    text(take_text(body).unwrap_or_default()).into()
}

/// What stands for a text that was recorded as a whole: its beginning, its length, and what tells it from all others.
fn shortened(sql: &str) -> Arc<str> {
    let digest = Sha256::digest(sql).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let beginning = &sql[..sql.floor_char_boundary(REPEATED)];
    format!("{beginning} .. ({} bytes, sha256 {digest})", sql.len()).into()
}

/// Nearly always it is UTF-8, and that is found out several times faster than how to replace what is not.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}
