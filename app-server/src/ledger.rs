//! What a client has asked and the database has not yet answered. Both directions of a relay report their messages here; what
//! comes out is who is idle, which statements ended how, and which answers are not meant for the client.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use crate::audit_record::Statement;
use crate::client_settings::{ClientSettings, Setting};
use crate::pool::{DatabaseSession, Owner};
use crate::prepared_statements::PreparedStatements;
use crate::record_play::is_record_play;
use crate::session_state::{Tie, deallocated, tie_of};
use crate::wire::{ErrorResponse, error_field, take_text};

/// Audit records carry at most this much of a statement: a page of SQL, not a bulk insert.
const SQL_LIMIT: usize = 16 * 1024;

#[derive(Debug)]
enum Asked {
    /// A simple query: any number of results, then ReadyForQuery. The first `hidden` ones are the server's own.
    Query {
        sql: Arc<str>,
        at: Instant,
        hidden: u8,
        refusal: Option<Box<ErrorResponse>>,
    },
    Parse {
        name: Vec<u8>,
        sql: Arc<str>,
        at: Instant,
        refusal: Option<Box<ErrorResponse>>,
    },
    /// A Parse of the server's own, for a statement that the client prepared on another database session.
    Replay {
        name: Vec<u8>,
    },
    Execute {
        sql: Arc<str>,
        at: Instant,
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
    portals: HashMap<Vec<u8>, Arc<str>>,
    /// The transaction status of the last ReadyForQuery.
    transaction_status: u8,
    /// Between CopyInResponse and CopyDone the database ignores Sync.
    copying_in: bool,
    /// Extended-protocol messages were sent and no Sync has ended them.
    batch_open: bool,
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
    /// DISCARD ALL or RESET took the session's identity away.
    identity_lost: bool,
}

/// What has to be sent ahead of a client's messages on a database session that was not its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandOver {
    Identity,
    ResetAndIdentity,
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
            portals: HashMap::new(),
            transaction_status: b'I',
            copying_in: false,
            batch_open: false,
            is_over: false,
            undelivered: false,
            last_activity: Instant::now(),
            last_ended: Instant::now(),
            rows: 0,
            bytes: 0,
            exceeded: None,
            must_cancel: false,
            cancelling: false,
            identity_lost: false,
        }
    }

    /// Nothing is under way, no transaction is open, and the client has all its answers.
    pub(crate) fn is_idle(&self) -> bool {
        self.transaction_status == b'I' && !self.is_busy()
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
            b'P' => is_record_play(&sql_text(rest)),
            b'B' => {
                let statement = take_text(rest).unwrap_or_default();
                self.statements.sql(statement).is_some_and(|sql| is_record_play(sql))
            }
            _ => false,
        }
    }

    /// Whether a simple query is `record_play` outside a transaction block; answers its text.
    pub(crate) fn is_record_play_query(&self, body: &[u8]) -> Option<Arc<str>> {
        let sql = sql_text(&mut { body });
        (self.transaction_status == b'I' && is_record_play(&sql)).then_some(sql)
    }

    /// Notes a simple query that the server has put a statement in front of.
    pub(crate) fn extended_query(&mut self, sql: Arc<str>) {
        let at = Instant::now();
        self.last_activity = at;
        self.batch_open = false;
        self.asked.push_back(Asked::Query { sql, at, hidden: 1, refusal: None });
    }

    /// Notes that `refusal::substitute` was sent in the place of a message of the client (Query, Parse or FunctionCall).
    pub(crate) fn refused(&mut self, kind: u8, body: &[u8], refusal: ErrorResponse) {
        let at = Instant::now();
        self.last_activity = at;
        let (sql, refusal) = (statement_text(kind, body), Some(Box::new(refusal)));
        if kind == b'P' {
            self.batch_open = true;
            self.asked.push_back(Asked::Parse { name: Vec::new(), sql, at, refusal });
        } else {
            self.batch_open = false;
            self.asked.push_back(Asked::Query { sql, at, hidden: 0, refusal });
        }
    }

    /// What to tell the client instead of the error `body`, if this server caused it: the syntax error of `refusal::substitute`,
    /// or the cancellation of a statement that costs too much.
    pub(crate) fn take_refusal(&mut self, body: &[u8]) -> Option<ErrorResponse> {
        match error_field(body, b'C') {
            Some(b"57014") => return self.exceeded.take(),
            Some(b"42601") => {}
            _ => return None,
        }
        self.drop_stale_syncs();
        match self.asked.front_mut() {
            Some(Asked::Query { refusal, .. } | Asked::Parse { refusal, .. }) => {
                refusal.take().map(|refusal| *refusal)
            }
            _ => None,
        }
    }

    /// Notes a message of the client that was read at `at`. `body` is without kind and length.
    pub(crate) fn client_message(&mut self, kind: u8, body: &[u8], at: Instant) {
        self.last_activity = at;
        match kind {
            b'Q' => {
                let sql = sql_text(&mut { body });
                self.asked.push_back(Asked::Query { sql, at, hidden: 0, refusal: None });
                self.batch_open = false;
                // A simple query ends the unnamed statement.
                self.statements.forget(b"");
            }
            b'P' => {
                let rest = &mut { body };
                let name = take_text(rest).unwrap_or_default();
                let sql = sql_text(rest);
                if !self.statements.remember(name, &sql, body) {
                    self.tied = self.tied.or(Some(Tie::Other));
                }
                self.asked.push_back(Asked::Parse { name: name.to_vec(), sql, at, refusal: None });
                self.batch_open = true;
            }
            b'B' => {
                let rest = &mut { body };
                let portal = take_text(rest).unwrap_or_default().to_vec();
                let statement = take_text(rest).unwrap_or_default();
                let sql = self.statements.sql(statement).map_or_else(|| "".into(), Arc::clone);
                self.portals.insert(portal, sql);
                self.batch_open = true;
            }
            b'E' => {
                let portal = take_text(&mut { body }).unwrap_or_default();
                let sql = self.portals.get(portal).cloned().unwrap_or_else(|| "".into());
                self.asked.push_back(Asked::Execute { sql, at });
                self.batch_open = true;
            }
            b'C' => {
                if let Some((what, name)) = body.split_first() {
                    let name = take_text(&mut { name }).unwrap_or_default();
                    if *what == b'S' {
                        self.statements.forget(name);
                    } else {
                        self.portals.remove(name);
                    }
                }
                self.batch_open = true;
            }
            b'D' | b'H' => self.batch_open = true,
            b'S' if !self.copying_in => {
                self.asked.push_back(Asked::Sync);
                self.batch_open = false;
            }
            b'c' | b'f' => self.copying_in = false,
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
        self.rows += 1;
        self.bytes += length as u64;
        (self.rows, self.bytes)
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
            self.drop_stale_syncs();
            if matches!(self.asked.front(), Some(Asked::Replay { .. })) {
                self.asked.pop_front();
                return Answer::Swallow;
            }
        }
        self.undelivered = true;
        match kind {
            b'1' => {
                if matches!(self.asked.front(), Some(Asked::Parse { .. })) {
                    self.asked.pop_front();
                }
            }
            b'C' => return self.command_complete(body, now, ended),
            // EmptyQueryResponse and PortalSuspended end an Execute that has nothing more to record.
            b'I' | b's' => {
                self.drop_stale_syncs();
                if matches!(self.asked.front(), Some(Asked::Execute { .. })) {
                    self.asked.pop_front();
                }
            }
            b'G' => {
                self.copying_in = true;
                // A Sync sent ahead of the copy data is one that the database ignores.
                if let Some(place) = self.asked.iter().position(|asked| matches!(asked, Asked::Sync)) {
                    self.asked.remove(place);
                }
            }
            b'E' => self.error(body, now, ended),
            b'Z' => {
                self.copying_in = false;
                self.statement_ended(now);
                if body == b"I" {
                    // Portals end with their transaction.
                    self.portals.clear();
                }
                self.transaction_status = body.first().copied().unwrap_or(b'I');
                if self.transaction_status == b'I' {
                    self.settings.settle();
                } else {
                    self.settings_in_doubt();
                }
                while let Some(asked) = self.asked.pop_front() {
                    if matches!(asked, Asked::Query { .. } | Asked::Sync) {
                        break;
                    }
                }
            }
            _ => {}
        }
        Answer::Pass
    }

    /// Tells `ended` of what is still unanswered when the session ends.
    pub(crate) fn abandon(&mut self, ended: &mut impl FnMut(&Statement<'_>)) {
        for asked in self.asked.drain(..) {
            if let Asked::Query { sql, at, .. } | Asked::Execute { sql, at } = asked {
                let duration = at.elapsed();
                ended(&Statement { sql: &sql, tag: None, rows: None, bytes: 0, duration, sqlstate: None });
            }
        }
    }

    /// A transaction may have taken back what the client has set: the database session at hand knows, and is kept.
    fn settings_in_doubt(&mut self) {
        if self.settings.unsettle() {
            self.tied = self.tied.or(Some(Tie::Other));
        }
    }

    fn drop_stale_syncs(&mut self) {
        while matches!(self.asked.front(), Some(Asked::Sync)) {
            self.asked.pop_front();
        }
    }

    fn command_complete(
        &mut self,
        body: &[u8],
        now: Instant,
        ended: &mut impl FnMut(&Statement<'_>),
    ) -> Answer {
        self.drop_stale_syncs();
        self.copying_in = false;
        if let Some(Asked::Query { hidden: hidden @ 1.., .. }) = self.asked.front_mut() {
            *hidden -= 1;
            return Answer::Swallow;
        }
        let tag = text(take_text(&mut { body }).unwrap_or_default());
        let bytes = self.bytes;
        self.statement_ended(now);
        if tag == "DISCARD ALL" || tag == "RESET" {
            self.identity_lost = true;
        }
        if tag == "DISCARD ALL" || tag == "DEALLOCATE ALL" {
            self.statements.forget_all();
        }
        let (sql, at) = match self.asked.front() {
            // A query may hold several statements: it stays until ReadyForQuery.
            Some(Asked::Query { sql, at, .. }) => (Arc::clone(sql), *at),
            Some(Asked::Execute { sql, at }) => {
                let found = (Arc::clone(sql), *at);
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
        let rows = tag.rsplit(' ').next().and_then(|count| count.parse().ok());
        let (tag, duration, sqlstate) = (Some(&*tag), now - at, Some("00000"));
        ended(&Statement { sql: &sql, tag, rows, bytes, duration, sqlstate });
        Answer::Pass
    }

    /// A Sync that is next is the error's own: it commits, and that may fail.
    fn error(&mut self, body: &[u8], now: Instant, ended: &mut impl FnMut(&Statement<'_>)) {
        self.is_over |= matches!(error_field(body, b'V'), Some(b"FATAL" | b"PANIC"));
        self.settings_in_doubt();
        self.copying_in = false;
        let bytes = self.bytes;
        self.statement_ended(now);
        let code = error_field(body, b'C').map_or(Cow::Borrowed("XX000"), String::from_utf8_lossy);
        if let Some(
            Asked::Query { sql, at, .. } | Asked::Parse { sql, at, .. } | Asked::Execute { sql, at },
        ) = self.asked.front()
        {
            let (duration, sqlstate) = (now - *at, Some(&*code));
            ended(&Statement { sql, tag: None, rows: None, bytes, duration, sqlstate });
        }
        // After an error the database skips to the next Sync; a simple query's error is followed by its ReadyForQuery.
        while let Some(Asked::Parse { .. } | Asked::Replay { .. } | Asked::Execute { .. }) =
            self.asked.front()
        {
            match self.asked.pop_front() {
                // Neither has it been prepared, nor does anybody think so.
                Some(Asked::Parse { name, .. }) => self.statements.forget(&name),
                Some(Asked::Replay { name }) => self.statements.forget_here(&name),
                _ => {}
            }
        }
    }
}

/// What an audit record shows of a refused message.
fn statement_text(kind: u8, body: &[u8]) -> Arc<str> {
    let rest = &mut { body };
    match kind {
        b'P' => {
            take_text(rest);
            sql_text(rest)
        }
        b'Q' => sql_text(rest),
        _ => "(function call)".into(),
    }
}

fn sql_text(body: &mut &[u8]) -> Arc<str> {
    let sql = take_text(body).unwrap_or_default();
    let shown = text(&sql[..sql.len().min(SQL_LIMIT)]);
    if sql.len() > SQL_LIMIT { format!("{shown} .. ({} bytes)", sql.len()).into() } else { shown.into() }
}

/// Nearly always it is UTF-8, and that is found out several times faster than how to replace what is not.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}
