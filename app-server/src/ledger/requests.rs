//! What the client says: what may be passed on now, and what the database will answer for it.

use std::sync::Arc;
use std::time::Instant;

use sha2::{Digest as _, Sha256};

use super::{Asked, Ledger, text};
use crate::record_play::is_record_play;
use crate::session_state::Tie;
use crate::wire::{ErrorResponse, take_text};

/// A prepared statement that is longer is recorded as a whole once, when it is prepared: a few bytes can execute it.
const REPEATED: usize = 4 * 1024;
/// No more than this may be unanswered of one client: each takes memory here, and what the database skips after an error it never
/// answers. Drivers that send ahead send some hundreds.
const UNANSWERED_LIMIT: usize = 1024;
/// PostgreSQL tells names apart by so many bytes (NAMEDATALEN less one).
const NAME_BYTES: usize = 63;

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

impl Ledger {
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

    /// The Parse message to send ahead of a Bind or Describe whose statement this database session does not know.
    pub(crate) fn replay(&mut self, kind: u8, body: &[u8]) -> Option<Arc<[u8]>> {
        let (name, message) = self.statements.replay(kind, body)?;
        self.asked.push_back(Asked::Replay { name });
        self.batch_open = true;
        Some(message)
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

    /// Why an Execute asks for more than its statement may answer, if it does.
    pub(crate) fn exhausted(&self, body: &[u8]) -> Option<ErrorResponse> {
        self.portals.refusal(take_name(&mut { body }))
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
