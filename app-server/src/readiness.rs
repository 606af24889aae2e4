//! Whether to serve: asked by `/readyz` and by every login, answered by really using the database, at most once a second.

use std::time::{Duration, Instant};

use tokio::sync::{Mutex, watch};

use crate::accounts::Accounts;
use crate::backend::{Backend, Database, Login};
use crate::identity::IdentityKey;
use crate::log;
use crate::tier::Tier;

/// Balancers ask from many places at once; they share one answer of this age.
const FRESH: Duration = Duration::from_secs(1);

pub(crate) struct Readiness {
    last: Mutex<Option<Answer>>,
    draining: watch::Receiver<Option<Instant>>,
}

#[derive(Clone)]
struct Answer {
    at: Instant,
    result: Result<(), String>,
    /// The tiers' own logins were proved: done once, because each costs the database a session.
    tiers_proved: bool,
}

impl Readiness {
    pub(crate) fn new(draining: watch::Receiver<Option<Instant>>) -> Self {
        Self { last: Mutex::new(None), draining }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.borrow().is_some()
    }

    /// `Err` says why not, for an operator; no secret is in it.
    pub(crate) async fn check(
        &self,
        database: &Database,
        accounts: &Accounts,
        key: &IdentityKey,
    ) -> Result<(), String> {
        if self.is_draining() {
            return Err("the server is shutting down".to_owned());
        }
        let mut last = self.last.lock().await;
        if let Some(answer) = last.as_ref().filter(|answer| answer.at.elapsed() < FRESH) {
            return answer.result.clone();
        }
        let mut tiers_proved = last.as_ref().is_some_and(|answer| answer.tiers_proved);
        let mut result = accounts.check(database, key).await.map_err(|error| error.to_string());
        if result.is_ok() && !tiers_proved {
            result = prove_tiers(database).await;
            tiers_proved = result.is_ok();
        }
        match (&result, last.as_ref().map(|answer| &answer.result)) {
            (Ok(()), Some(Ok(()))) => {}
            (Ok(()), _) => log::info("ready", serde_json::Value::Null),
            (Err(reason), Some(Err(before))) if reason == before => {}
            (Err(reason), _) => log::warning("not_ready", serde_json::json!({ "reason": reason })),
        }
        *last = Some(Answer { at: Instant::now(), result: result.clone(), tiers_proved });
        result
    }
}

async fn prove_tiers(database: &Database) -> Result<(), String> {
    for tier in Tier::ALL {
        let session = database.connect(Login::Tier(tier), &[]).await;
        session.map(drop::<Backend>).map_err(|error| error.to_string())?;
    }
    Ok(())
}
