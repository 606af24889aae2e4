//! How a run ends: what was deferred, why it has failed, and what the playbook gives back.

use std::sync::PoisonError;

use rhai::{Engine, EvalAltResult};

use super::Host;

/// A closure of the script that runs when the script has ended.
pub type Deferred = Box<dyn FnOnce(&Engine) -> Result<(), Box<EvalAltResult>> + Send>;

impl Host {
    /// Remembers a closure for the end of the run.
    pub fn defer(&self, deferred: Deferred) {
        self.deferred.lock().unwrap_or_else(PoisonError::into_inner).push(deferred);
    }

    /// The closure that was deferred last and has not run yet.
    pub fn next_deferred(&self) -> Option<Deferred> {
        self.deferred.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Remembers why the script has failed.
    pub fn fail(&self, why: &str) {
        // The first reason is the one.
        _ = self.failure.set(crate::secret::mask(why));
    }

    /// Why the script has failed; `None` while it runs, and where it has not.
    pub fn failure(&self) -> Option<String> {
        self.failure.get().cloned()
    }

    /// What the playbook gives back on stdout.
    pub fn set_output(&self, value: serde_json::Value) {
        *self.output.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    }

    /// What the playbook has given, once.
    pub fn take_output(&self) -> Option<serde_json::Value> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
