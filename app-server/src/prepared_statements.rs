//! A client's prepared statements. They are the client's on whichever database session it gets: one that does not know a statement
//! is sent its Parse ahead of the message that uses it.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::BytesMut;

use crate::pool::{DatabaseSession, Prepared};
use crate::wire::{put_message, take_text};

/// What a client's prepared statements may take here. Drivers keep some hundreds of them.
const BYTES_LIMIT: usize = 4 * 1024 * 1024;

struct Named {
    sql: Arc<str>,
    /// The whole Parse message.
    message: Arc<[u8]>,
}

#[derive(Default)]
pub(crate) struct PreparedStatements {
    statements: HashMap<Vec<u8>, Named>,
    /// Bytes of all `statements`.
    bytes: usize,
    /// What of them the database session at hand knows.
    here: Prepared,
    /// How many named statements were closed so far.
    closed: u64,
}

impl PreparedStatements {
    /// Takes up a database session. False: it knows statements that were closed elsewhere.
    pub(crate) fn attach(&mut self, session: &mut DatabaseSession) -> bool {
        self.here = std::mem::take(&mut session.prepared);
        session.closed_statements == self.closed || self.here.is_empty()
    }

    /// The database session at hand was reset.
    pub(crate) fn reset_here(&mut self) {
        self.here.clear();
    }

    pub(crate) fn detach(&mut self, session: &mut DatabaseSession) {
        session.prepared = std::mem::take(&mut self.here);
        session.closed_statements = self.closed;
    }

    pub(crate) fn sql(&self, name: &[u8]) -> Option<&Arc<str>> {
        self.statements.get(name).map(|named| &named.sql)
    }

    /// The name and the Parse message of the statement that a Bind or Describe uses, if this database session does not know it.
    pub(crate) fn replay(&mut self, kind: u8, body: &[u8]) -> Option<(Vec<u8>, Arc<[u8]>)> {
        let rest = &mut { body };
        match kind {
            b'B' => drop(take_text(rest)),
            b'D' if rest.first() == Some(&b'S') => *rest = &rest[1..],
            _ => return None,
        }
        let name = take_text(rest)?;
        let message = &self.statements.get(name)?.message;
        if self.here.get(name).is_some_and(|known| Arc::ptr_eq(known, message)) {
            return None;
        }
        self.here.insert(name.to_vec(), Arc::clone(message));
        Some((name.to_vec(), Arc::clone(message)))
    }

    /// Remembers the body of a Parse. False: there are too many already, so it is known to this database session only.
    pub(crate) fn remember(&mut self, name: &[u8], sql: &Arc<str>, body: &[u8]) -> bool {
        self.forget_bytes(name);
        if self.bytes + body.len() > BYTES_LIMIT {
            self.statements.remove(name);
            return false;
        }
        let mut message = BytesMut::with_capacity(body.len() + 5);
        put_message(&mut message, b'P', |out| out.extend_from_slice(body));
        let message: Arc<[u8]> = Arc::from(&message[..]);
        self.bytes += message.len();
        self.here.insert(name.to_vec(), Arc::clone(&message));
        self.statements.insert(name.to_vec(), Named { sql: Arc::clone(sql), message });
        true
    }

    fn forget_bytes(&mut self, name: &[u8]) {
        let known = self.statements.get(name).map_or(0, |named| named.message.len());
        self.bytes = self.bytes.saturating_sub(known);
    }

    pub(crate) fn forget(&mut self, name: &[u8]) {
        // After each simple query, of clients that mostly have none.
        if !self.statements.is_empty() {
            self.forget_bytes(name);
            self.statements.remove(name);
        }
        if !self.here.is_empty() {
            self.here.remove(name);
        }
        self.closed += u64::from(!name.is_empty());
    }

    /// This database session does not know the statement after all.
    pub(crate) fn forget_here(&mut self, name: &[u8]) {
        self.here.remove(name);
    }

    pub(crate) fn forget_all(&mut self) {
        self.statements.clear();
        self.here.clear();
        self.bytes = 0;
        self.closed += 1;
    }
}
