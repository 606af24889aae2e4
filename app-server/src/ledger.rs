//! What a client has asked and the database has not yet answered. Both directions of a relay report their messages here; what
//! comes out is who is idle, which statements ended how, and which answers are not meant for the client.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use crate::audit::Statement;
use crate::record_play::is_record_play;
use crate::wire::{ErrorResponse, error_field, take_text};

/// Audit records carry at most this much of a statement: a page of SQL, not a bulk insert.
const SQL_LIMIT: usize = 16 * 1024;

/// Of more named statements than this the audit does not know the text. Drivers keep some hundreds.
const STATEMENTS_LIMIT: usize = 10_000;

#[derive(Debug)]
enum Asked {
    /// A simple query: any number of results, then ReadyForQuery. The first `hidden` ones are the server's own.
    Query {
        sql: Arc<str>,
        at: Instant,
        hidden: u8,
        refusal: Option<ErrorResponse>,
    },
    Parse {
        sql: Arc<str>,
        at: Instant,
        refusal: Option<ErrorResponse>,
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
}

pub(crate) struct Ledger {
    asked: VecDeque<Asked>,
    statements: HashMap<Vec<u8>, Arc<str>>,
    portals: HashMap<Vec<u8>, Arc<str>>,
    /// The transaction status of the last ReadyForQuery.
    transaction_status: u8,
    /// Between CopyInResponse and CopyDone the database ignores Sync.
    copying_in: bool,
    /// Extended-protocol messages were sent and no Sync has ended them.
    batch_open: bool,
    /// Answers were taken in and have not been passed on.
    pub(crate) undelivered: bool,
    pub(crate) last_activity: Instant,
    /// When the last statement ended: the next one in a pipeline runs from then on.
    last_ended: Instant,
    /// Rows that the statement under way has answered.
    rows: u64,
    /// The statement under way was cancelled by this server, which is what to tell.
    exceeded: Option<ErrorResponse>,
    /// .. and it has not been told to the database yet.
    must_cancel: bool,
    /// DISCARD ALL or RESET took the session's identity away.
    identity_lost: bool,
}

/// What to do with a message of the database.
pub(crate) enum Answer {
    Pass,
    /// It answers a question of the server's own.
    Swallow,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            asked: VecDeque::new(),
            statements: HashMap::new(),
            portals: HashMap::new(),
            transaction_status: b'I',
            copying_in: false,
            batch_open: false,
            undelivered: false,
            last_activity: Instant::now(),
            last_ended: Instant::now(),
            rows: 0,
            exceeded: None,
            must_cancel: false,
            identity_lost: false,
        }
    }

    /// Nothing is under way, no transaction is open, and the client has all its answers.
    pub(crate) fn is_idle(&self) -> bool {
        self.transaction_status == b'I' && !self.is_busy()
    }

    /// A statement is under way.
    pub(crate) fn is_busy(&self) -> bool {
        !self.asked.is_empty() || self.batch_open || self.undelivered
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
            b'B' => self
                .statements
                .get(take_text(rest).unwrap_or_default())
                .is_some_and(|sql| is_record_play(sql)),
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
        let (sql, refusal) = (statement_text(kind, body), Some(refusal));
        if kind == b'P' {
            self.batch_open = true;
            self.asked.push_back(Asked::Parse { sql, at, refusal });
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
            Some(Asked::Query { refusal, .. } | Asked::Parse { refusal, .. }) => refusal.take(),
            _ => None,
        }
    }

    /// Notes a message of the client. `body` is without kind and length.
    pub(crate) fn client_message(&mut self, kind: u8, body: &[u8]) {
        let at = Instant::now();
        self.last_activity = at;
        match kind {
            b'Q' => {
                let sql = sql_text(&mut { body });
                self.asked.push_back(Asked::Query { sql, at, hidden: 0, refusal: None });
                self.batch_open = false;
            }
            b'P' => {
                let rest = &mut { body };
                let name = take_text(rest).unwrap_or_default().to_vec();
                let sql = sql_text(rest);
                if self.statements.len() < STATEMENTS_LIMIT || self.statements.contains_key(&name) {
                    self.statements.insert(name, Arc::clone(&sql));
                }
                self.asked.push_back(Asked::Parse { sql, at, refusal: None });
                self.batch_open = true;
            }
            b'B' => {
                let rest = &mut { body };
                let portal = take_text(rest).unwrap_or_default().to_vec();
                let statement = take_text(rest).unwrap_or_default();
                let sql = self.statements.get(statement).cloned().unwrap_or_else(|| "".into());
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
                    let map = if *what == b'S' { &mut self.statements } else { &mut self.portals };
                    map.remove(name);
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
        matches!(self.asked.front(), Some(Asked::Own { .. }))
    }

    /// Notes a row, and answers how many the statement has.
    pub(crate) fn row(&mut self) -> u64 {
        self.undelivered = true;
        self.rows += 1;
        self.rows
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

    fn statement_ended(&mut self) {
        self.last_ended = Instant::now();
        self.rows = 0;
        self.exceeded = None;
        self.must_cancel = false;
    }

    /// Notes a message of the database, and adds the statement it ends, if it does, to `ended`.
    pub(crate) fn database_message(&mut self, kind: u8, body: &[u8], ended: &mut Vec<Statement>) -> Answer {
        self.last_activity = Instant::now();
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
        self.undelivered = true;
        match kind {
            b'1' => {
                self.drop_stale_syncs();
                if matches!(self.asked.front(), Some(Asked::Parse { .. })) {
                    self.asked.pop_front();
                }
            }
            b'C' => return self.command_complete(body, ended),
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
            b'E' => self.error(body, ended),
            b'Z' => {
                self.copying_in = false;
                self.statement_ended();
                if body == b"I" {
                    // Portals end with their transaction.
                    self.portals.clear();
                }
                self.transaction_status = body.first().copied().unwrap_or(b'I');
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

    /// What is still unanswered when the session ends.
    pub(crate) fn abandoned(&mut self) -> Vec<Statement> {
        let statement = |asked| match asked {
            Asked::Query { sql, at, .. } | Asked::Execute { sql, at } => {
                Some(Statement { sql, tag: None, rows: None, duration: at.elapsed(), sqlstate: None })
            }
            _ => None,
        };
        self.asked.drain(..).filter_map(statement).collect()
    }

    fn drop_stale_syncs(&mut self) {
        while matches!(self.asked.front(), Some(Asked::Sync)) {
            self.asked.pop_front();
        }
    }

    fn command_complete(&mut self, body: &[u8], ended: &mut Vec<Statement>) -> Answer {
        self.drop_stale_syncs();
        self.copying_in = false;
        if let Some(Asked::Query { hidden: hidden @ 1.., .. }) = self.asked.front_mut() {
            *hidden -= 1;
            return Answer::Swallow;
        }
        let tag = String::from_utf8_lossy(take_text(&mut { body }).unwrap_or_default()).into_owned();
        self.statement_ended();
        if tag == "DISCARD ALL" || tag == "RESET" {
            self.identity_lost = true;
        }
        if tag == "DISCARD ALL" || tag == "DEALLOCATE ALL" {
            self.statements.clear();
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
        let rows = tag.rsplit(' ').next().and_then(|count| count.parse().ok());
        let sqlstate = Some("00000".to_owned());
        ended.push(Statement { sql, tag: Some(tag), rows, duration: at.elapsed(), sqlstate });
        Answer::Pass
    }

    fn error(&mut self, body: &[u8], ended: &mut Vec<Statement>) {
        self.drop_stale_syncs();
        self.copying_in = false;
        self.statement_ended();
        let code = error_field(body, b'C').map(|code| String::from_utf8_lossy(code).into_owned());
        let sqlstate = Some(code.unwrap_or_else(|| "XX000".to_owned()));
        if let Some(
            Asked::Query { sql, at, .. } | Asked::Parse { sql, at, .. } | Asked::Execute { sql, at },
        ) = self.asked.front()
        {
            let sql = Arc::clone(sql);
            ended.push(Statement { sql, tag: None, rows: None, duration: at.elapsed(), sqlstate });
        }
        // After an error the database skips to the next Sync; a simple query's error is followed by its ReadyForQuery.
        while matches!(self.asked.front(), Some(Asked::Parse { .. } | Asked::Execute { .. })) {
            self.asked.pop_front();
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
    let shown = String::from_utf8_lossy(&sql[..sql.len().min(SQL_LIMIT)]);
    if sql.len() > SQL_LIMIT { format!("{shown} .. ({} bytes)", sql.len()).into() } else { shown.into() }
}
