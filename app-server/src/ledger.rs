//! What a client has asked and the database has not yet answered. Both directions of a relay report their messages here; what
//! comes out is who is idle, which statements ended how, and which answers are not meant for the client.

mod answers;
mod requests;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

pub(crate) use answers::Answer;
pub(crate) use requests::Turn;

use crate::client_settings::{ClientSettings, Setting};
use crate::pool::{DatabaseSession, Owner};
use crate::portals::{PortalId, Portals};
use crate::prepared_statements::PreparedStatements;
use crate::session_state::Tie;
use crate::wire::ErrorResponse;

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
}

/// Nearly always it is UTF-8, and that is found out several times faster than how to replace what is not.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}
