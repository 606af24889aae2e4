//! Whether to serve: asked by `/readyz` and by every login, answered by really using what a session needs, at most once a second:
//! the roles, a database session out of each tier's pool, and the audit trail.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

use crate::log;
use crate::session::Services;
use crate::tier::Tier;

/// Balancers ask from many places at once; they share one answer of this age.
const FRESH: Duration = Duration::from_secs(1);

/// A trail that takes longer for one record holds up every statement.
const RECORD_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) struct Readiness {
    last: Mutex<Option<Answer>>,
    /// A record could not be written since it was last tried here.
    audit_failed: AtomicBool,
    draining: watch::Receiver<Option<Instant>>,
}

#[derive(Clone)]
struct Answer {
    at: Instant,
    result: Result<(), String>,
}

impl Readiness {
    pub(crate) fn new(draining: watch::Receiver<Option<Instant>>) -> Self {
        Self { last: Mutex::new(None), audit_failed: AtomicBool::new(false), draining }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.borrow().is_some()
    }

    /// Who could not write a record says so here.
    pub(crate) fn audit_failed(&self) {
        self.audit_failed.store(true, Ordering::Relaxed);
    }

    /// `Err` says why not, for an operator; no secret is in it.
    pub(crate) async fn check(&self, services: &Services) -> Result<(), String> {
        if self.is_draining() {
            return Err("the server is shutting down".to_owned());
        }
        let mut last = self.last.lock().await;
        if let Some(answer) = last.as_ref().filter(|answer| answer.at.elapsed() < FRESH) {
            return answer.result.clone();
        }
        let was_ready = last.as_ref().is_some_and(|answer| answer.result.is_ok());
        let mut result = use_database(services).await;
        // A trail that works is not written to just to see that.
        if result.is_ok() && (self.audit_failed.swap(false, Ordering::Relaxed) || !was_ready) {
            let recorded = timeout(RECORD_TIMEOUT, services.audit.serving()).await;
            let recorded = recorded.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
            result = recorded.map_err(|error| {
                self.audit_failed();
                format!("the audit trail cannot be written: {error}")
            });
        }
        match (&result, last.as_ref().map(|answer| &answer.result)) {
            (Ok(()), Some(Ok(()))) => {}
            (Ok(()), _) => log::info("ready", serde_json::Value::Null),
            (Err(reason), Some(Err(before))) if reason == before => {}
            (Err(reason), _) => log::warning("not_ready", serde_json::json!({ "reason": reason })),
        }
        *last = Some(Answer { at: Instant::now(), result: result.clone() });
        result
    }
}

async fn use_database(services: &Services) -> Result<(), String> {
    let checked = services.accounts.check(&services.database, &services.identity_key).await;
    checked.map_err(|error| error.to_string())?;
    for tier in Tier::ALL {
        services.pools.check_out(tier).await.map_err(|error| error.to_string())?;
    }
    Ok(())
}
