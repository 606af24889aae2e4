//! A client's portals: which statement each one runs, and what was answered of those that stop after some rows. A statement is told of
//! before the client hears that it has stopped, and once more, with all its rows, when its portal ends.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::audit_record::Statement;
use crate::wire::ErrorResponse;

/// A portal, whatever others had its name before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PortalId(u64);

struct Portal {
    id: PortalId,
    sql: Arc<str>,
    /// How many batches were sent before the one that it was bound in.
    batch: u64,
    /// It was asked for some rows only, so it may stop with more to come.
    may_stop: bool,
}

/// What a portal has answered so far.
#[derive(Clone, Copy, Default)]
pub(crate) struct Answered {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) duration: Duration,
}

struct Stopped {
    sql: Arc<str>,
    answered: Answered,
    /// It has passed its tier's limit: what to tell who asks for more.
    refusal: Option<ErrorResponse>,
}

#[derive(Default)]
pub(crate) struct Portals {
    open: HashMap<Vec<u8>, Portal>,
    bound: u64,
    stopped: BTreeMap<PortalId, Stopped>,
    /// Portals that have stopped and ended, of which is still to be told.
    over: VecDeque<Stopped>,
}

impl Portals {
    /// Notes a Bind in the batch of that number. The portal that had the name ends with it; answered is which, if it may have stopped.
    pub(crate) fn bind(&mut self, name: &[u8], sql: Arc<str>, batch: u64) -> Option<PortalId> {
        self.bound += 1;
        let portal = Portal { id: PortalId(self.bound), sql, batch, may_stop: false };
        let replaced = self.open.insert(name.to_vec(), portal)?;
        replaced.may_stop.then_some(replaced.id)
    }

    /// Notes a Close, and answers which portal ends with it, if it may have stopped.
    pub(crate) fn close(&mut self, name: &[u8]) -> Option<PortalId> {
        let closed = self.open.remove(name)?;
        closed.may_stop.then_some(closed.id)
    }

    /// Notes an Execute for so many rows, zero for all, and answers what it runs. The database knows no portal that is not here.
    pub(crate) fn execute(&mut self, name: &[u8], rows: u32) -> Option<(PortalId, Arc<str>)> {
        let portal = self.open.get_mut(name)?;
        portal.may_stop |= rows > 0;
        Some((portal.id, Arc::clone(&portal.sql)))
    }

    /// Why a portal answers no more, if it has passed a limit.
    pub(crate) fn refusal(&self, name: &[u8]) -> Option<ErrorResponse> {
        if self.stopped.is_empty() {
            return None;
        }
        self.stopped.get(&self.open.get(name)?.id)?.refusal.clone()
    }

    /// What a portal that has stopped before has answered.
    pub(crate) fn answered(&self, id: PortalId) -> Answered {
        self.stopped.get(&id).map_or_else(Answered::default, |stopped| stopped.answered)
    }

    /// Notes that a portal has stopped, having answered so much since it was bound. True: it has not stopped before.
    pub(crate) fn stop(
        &mut self,
        id: PortalId,
        sql: Arc<str>,
        answered: Answered,
        refusal: Option<ErrorResponse>,
    ) -> bool {
        self.stopped.insert(id, Stopped { sql, answered, refusal }).is_none()
    }

    /// A portal has ended by what tells of it. Answers what it had answered before.
    pub(crate) fn take(&mut self, id: PortalId) -> Answered {
        self.stopped.remove(&id).map_or_else(Answered::default, |stopped| stopped.answered)
    }

    /// A portal has ended, and nothing else tells of it.
    pub(crate) fn end(&mut self, id: PortalId) {
        self.over.extend(self.stopped.remove(&id));
    }

    /// Portals end with their transaction, which was all batches before that of the given number.
    pub(crate) fn end_transaction(&mut self, batch: u64) {
        if !self.open.is_empty() {
            self.open.retain(|_, portal| portal.batch >= batch);
        }
        self.end_stopped();
    }

    /// None of those that have stopped goes on.
    pub(crate) fn end_stopped(&mut self) {
        self.over.extend(std::mem::take(&mut self.stopped).into_values());
    }

    /// Tells `ended` of one that has ended. False: there is none.
    pub(crate) fn tell(&mut self, ended: &mut impl FnMut(&Statement<'_>)) -> bool {
        let Some(stopped) = self.over.pop_front() else {
            return false;
        };
        let Answered { rows, bytes, duration } = stopped.answered;
        let (rows, sqlstate) = (Some(rows), Some("00000"));
        ended(&Statement { rows, bytes, duration, sqlstate, ..Statement::of(&stopped.sql) });
        true
    }
}
