//! What is not there yet: how it is waited for, and what was started and has to come up before the run ends.

use std::future::Future;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::{Host, World};
use crate::error::{Error, Kind};

/// How long a new thing may be unknown to another part of AWS; seconds as a rule; an instance profile up to two minutes.
const VISIBLE_WITHIN: Duration = Duration::from_secs(120);

/// Waits for something that was started, and fails if it did not come up.
pub(super) type Expectation = Box<dyn Fn(&Host) -> Result<(), Error> + Send>;

impl Host {
    /// Asks `probe` again and again until it gives a value, with a line that says what is waited for. A dry run does not wait: what
    /// is not there yet is known after the deployment (kind `planned`).
    ///
    /// `probe` returns `Ok(Err(status))` for "not yet". Fails with kind `timeout`, naming the last status, after `limit`.
    pub fn wait<T, F, P>(&self, what: &str, limit: Duration, mut probe: P) -> Result<T, Error>
    where
        P: FnMut() -> F,
        F: Future<Output = Result<Result<T, String>, Error>>,
    {
        let started = Instant::now();
        let mut line = None;
        let mut pause = self.shortest_pause();
        loop {
            let status = match self.block(probe()) {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(_)) if self.dry_run => return Err(Error::planned(what)),
                Ok(Err(status)) => status,
                // EC2 API Reference, "Eventual consistency"; other services have it too.
                Err(error) if error.kind == Kind::NotFound && self.made_lately() => {
                    format!("not visible everywhere yet ({})", error.code)
                }
                Err(error) => return Err(error),
            };
            line.get_or_insert_with(|| self.progress.wait(what)).status(&status);
            if started.elapsed() > limit {
                return Err(Error::new(
                    Kind::Timeout,
                    format!("{what}: still {status} after {}", crate::progress::seconds(limit)),
                )
                .help("run the same command again to go on waiting"));
            }
            self.block(async {
                tokio::time::sleep(pause).await;
                Ok(())
            })?;
            pause = (pause * 2).min(self.longest_pause());
        }
    }

    /// AWS throttles describe calls; the local cloud does not.
    pub(super) fn shortest_pause(&self) -> Duration {
        match self.world {
            World::Aws => Duration::from_secs(2),
            World::Local { .. } => Duration::from_millis(20),
        }
    }

    /// The SDKs' waiters ask every 15 to 30 s.
    fn longest_pause(&self) -> Duration {
        match self.world {
            World::Aws => Duration::from_secs(15),
            World::Local { .. } => Duration::from_millis(200),
        }
    }

    /// Whether this run has made something that may not be known everywhere yet.
    pub(super) fn made_lately(&self) -> bool {
        let made = *self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.is_some_and(|made| made.elapsed() < VISIBLE_WITHIN)
    }

    /// Remembers something that was started and that the run has to see come up, also if the script never asks for it.
    pub fn expect(&self, come_up: impl Fn(&Host) -> Result<(), Error> + Send + 'static) {
        let scope = self.scope();
        let come_up = move |host: &Host| host.within(scope.clone(), || come_up(host));
        self.expected.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(come_up));
    }

    /// Waits for everything that was started.
    pub fn settle(&self) -> Result<(), Error> {
        if self.dry_run {
            return Ok(());
        }
        let expected = std::mem::take(&mut *self.expected.lock().unwrap_or_else(PoisonError::into_inner));
        expected.iter().try_for_each(|come_up| come_up(self))
    }
}
