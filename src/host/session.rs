//! The stack's lock, journal and state: taken when they are first needed, and given back at the end of the run or of a statement.

use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Host, private_folder};
use crate::clients::aws::Clients;
use crate::error::{Error, LOCKED};
use crate::journal::Journal;
use crate::lock::Lock;
use crate::state::State;

/// The stack of a run, and what its changes need.
pub(super) struct Session {
    journal: Option<(Lock, Journal)>,
    state: State,
}

impl Host {
    /// Uses what belongs to the stack. The first use reads its state file: one that cannot be read, or is another's, ends the run
    /// before anything is changed.
    fn with_session<T>(
        &self,
        use_session: impl FnOnce(&mut Session) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let stack = self.stack()?;
        let aws = self.own_aws()?;
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let session = match &mut *session {
            Some(open) => open,
            none => {
                let state = State::open(&self.project.state, stack, &aws.identity.account, &aws.region)?;
                none.insert(Session { journal: None, state })
            }
        };
        use_session(session)
    }

    /// Reads or writes the stack's state.
    pub fn with_state<T>(&self, use_state: impl FnOnce(&mut State) -> Result<T, Error>) -> Result<T, Error> {
        self.with_session(|session| use_state(&mut session.state))
    }

    /// The journal, under the stack's lock, which the first use takes.
    pub(super) fn with_journal<T>(
        &self,
        use_journal: impl FnOnce(&mut Journal) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.with_session(|session| {
            let (lock, journal) = match &mut session.journal {
                Some(open) => open,
                none => none.insert(self.open_journal()?),
            };
            lock.lease.check()?;
            use_journal(journal)
        })
    }

    fn open_journal(&self) -> Result<(Lock, Journal), Error> {
        let stack = self.stack()?;
        let aws = self.own_aws()?;
        let scope = format!("{}-{}-{stack}", aws.identity.account, aws.region);
        let folder = self.project.folder.join("journal");
        private_folder(&folder)?;
        let lock = self.take_lock(&folder.join(format!("{scope}.lock")), stack, &aws)?;
        let journal = Journal::open(&folder.join(format!("{scope}.ndjson")), &scope)?;
        Ok((lock, journal))
    }

    /// Takes the stack's lock; while another run has it, waits as long as `--lock-wait` says.
    fn take_lock(&self, path: &Path, stack: &str, aws: &Clients) -> Result<Lock, Error> {
        let deadline = Instant::now() + self.consent.lock_wait;
        let mut line = None;
        loop {
            match self.block(Lock::take(path, stack, aws)) {
                Err(error) if error.code == LOCKED && Instant::now() < deadline => {
                    line.get_or_insert_with(|| self.progress.wait("lock")).status(&error.message);
                    self.block(async {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        Ok(())
                    })?;
                }
                other => return other,
            }
        }
    }

    /// Gives the stack's lock back, if the run has taken it.
    pub fn unlock(&self) -> Result<(), Error> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        match session.as_mut().and_then(|session| session.journal.take()) {
            Some((lock, _)) => self.block(lock.lease.release()),
            None => Ok(()),
        }
    }

    /// Makes ready for another statement of the same session: an interruption and an agreement were for the one before.
    pub fn begin_statement(&self) {
        self.cancelled.store(false, Ordering::SeqCst);
        self.cancel.send_replace(false);
        self.agreed.store(false, Ordering::SeqCst);
        // What was seen before is looked at again.
        self.attempts.fetch_add(1, Ordering::SeqCst);
    }

    /// Gives the stack's lock back, and forgets what was read of the stack: hours may pass until the next statement.
    pub fn end_statement(&self) -> Result<(), Error> {
        let unlocked = self.uninterrupted(|| self.unlock());
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = None;
        *self.secrets.lock().unwrap_or_else(PoisonError::into_inner) = None;
        unlocked
    }
}
