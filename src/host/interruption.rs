//! How a run ends before its script does: Ctrl-C stops the run, or ends a loop without an end of its own; and what is done on the way out.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Host;

/// A loop that has no end of its own: the first Ctrl-C ends it, and the script goes on behind it.
pub struct Endless {
    host: Arc<Host>,
    told: watch::Sender<bool>,
}

impl Endless {
    /// Whether the loop is to end.
    pub fn interrupted(&self) -> bool {
        *self.told.borrow()
    }

    /// Returns when the loop is to end; never where there is none.
    pub async fn wait(this: Option<&Self>) {
        match this {
            Some(endless) => drop(endless.told.subscribe().wait_for(|told| *told).await),
            None => std::future::pending().await,
        }
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        let mut loops = self.host.loops.lock().unwrap_or_else(PoisonError::into_inner);
        loops.retain(|told| !told.same_channel(&self.told));
    }
}

impl Host {
    /// Stops the run: the blocked call returns, and the script ends at its next operation.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        self.cancel.send_replace(true);
    }

    pub fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    /// Runs what has to be done also after Ctrl-C, such as closing what was opened. A second Ctrl-C ends the process.
    pub fn uninterrupted<T>(&self, run: impl FnOnce() -> T) -> T {
        let cancelled = self.cancelled.swap(false, Ordering::SeqCst);
        self.cancel.send_replace(false);
        let outcome = run();
        if cancelled {
            self.cancel();
        }
        outcome
    }

    /// Makes the first Ctrl-C end a loop in place of the run, as long as the value lives.
    pub fn endless(self: &Arc<Self>) -> Endless {
        let told = watch::Sender::new(false);
        self.loops.lock().unwrap_or_else(PoisonError::into_inner).push(told.clone());
        Endless { host: self.clone(), told }
    }

    /// Tells the loops without an end that they are to end. `false` where there is none, or all have been told before.
    pub fn end_loops(&self) -> bool {
        let loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
        // No short cut: every one of them is told.
        loops.iter().filter(|told| !told.send_replace(true)).count() > 0
    }

    /// Runs an operation beside the script.
    pub fn spawn<T: Send + 'static>(
        &self,
        operation: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.runtime.spawn(operation)
    }

    /// Runs an operation on the way out, also of an interrupted run, for at most `limit`.
    pub fn last_moment(&self, limit: Duration, operation: impl Future<Output = ()>) {
        // What has not come to its end by then is left.
        _ = self.runtime.block_on(async { tokio::time::timeout(limit, operation).await });
    }
}
