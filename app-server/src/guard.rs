//! What strangers and guests may take: failed logins per account and address, and open sessions per account.
//!
//! Nobody is locked out of an account by somebody else's failures: they count for the address they came from.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::wire::ErrorResponse;

/// Failures are counted for this long after the first one.
const WINDOW: Duration = Duration::from_secs(60);
/// A person mistypes a few times; ten guesses a minute find nothing.
const FAILURES_PER_ACCOUNT: u32 = 10;
/// Many people may share an address, and one who sprays passwords over many accounts has one.
const FAILURES_PER_ADDRESS: u32 = 100;
/// Above this many counters the expired ones are dropped, so that made-up names cannot fill the memory.
const COUNTERS: usize = 10_000;
/// A driver's pool and a few tools; each session is a session of the database.
const SESSIONS_PER_ACCOUNT: usize = 20;

#[derive(Default)]
pub(crate) struct Guard {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    /// By address, and by address and account.
    failures: HashMap<(IpAddr, Option<String>), Failures>,
    sessions: HashMap<i64, usize>,
}

struct Failures {
    since: Instant,
    count: u32,
}

impl Guard {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses an attempt to log in after too many that failed, before anything is looked up.
    pub(crate) fn admit(&self, address: IpAddr, user: &str) -> Result<(), ErrorResponse> {
        let counts = self.counts();
        let keys = [
            ((address, Some(user.to_lowercase())), FAILURES_PER_ACCOUNT),
            ((address, None), FAILURES_PER_ADDRESS),
        ];
        let waits = keys.into_iter().filter_map(|(key, limit)| {
            let failures = counts.failures.get(&key).filter(|failures| failures.count >= limit)?;
            WINDOW.checked_sub(failures.since.elapsed())
        });
        match waits.max() {
            None => Ok(()),
            Some(wait) => Err(ErrorResponse::fatal("28000", "too many failed logins from this address")
                .with_hint(format!("try again in {} s", wait.as_secs() + 1))),
        }
    }

    pub(crate) fn login_failed(&self, address: IpAddr, user: &str) {
        let mut counts = self.counts();
        if counts.failures.len() >= COUNTERS {
            counts.failures.retain(|_, failures| failures.since.elapsed() < WINDOW);
        }
        for key in [(address, Some(user.to_lowercase())), (address, None)] {
            // Full of fresh counters: the address's own counter still says enough.
            if key.1.is_some() && counts.failures.len() >= COUNTERS {
                continue;
            }
            let failures =
                counts.failures.entry(key).or_insert_with(|| Failures { since: Instant::now(), count: 0 });
            if failures.since.elapsed() >= WINDOW {
                *failures = Failures { since: Instant::now(), count: 0 };
            }
            failures.count += 1;
        }
    }

    pub(crate) fn open_sessions(&self) -> usize {
        self.counts().sessions.values().sum()
    }

    /// Takes a place for a session of the account; it is given back when the place is dropped.
    pub(crate) fn open_session(self: &Arc<Self>, account_id: i64) -> Result<Place, ErrorResponse> {
        let mut counts = self.counts();
        let open = counts.sessions.entry(account_id).or_default();
        if *open >= SESSIONS_PER_ACCOUNT {
            return Err(ErrorResponse::fatal(
                "53300",
                format!("your account has {SESSIONS_PER_ACCOUNT} sessions open already"),
            )
            .with_hint("close some of them, or wait until they expire"));
        }
        *open += 1;
        Ok(Place { guard: Arc::clone(self), account_id })
    }
}

pub(crate) struct Place {
    guard: Arc<Guard>,
    account_id: i64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.guard.counts();
        if let Some(open) = counts.sessions.get_mut(&self.account_id) {
            *open -= 1;
            if *open == 0 {
                counts.sessions.remove(&self.account_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_count_for_the_address_they_came_from() {
        let guard = Guard::default();
        let (attacker, honest) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        for _ in 0..FAILURES_PER_ACCOUNT {
            assert!(guard.admit(attacker, "A@example.com").is_ok());
            guard.login_failed(attacker, "a@example.com");
        }
        assert!(guard.admit(attacker, "a@Example.com").is_err());
        assert!(guard.admit(attacker, "b@example.com").is_ok());
        assert!(guard.admit(honest, "a@example.com").is_ok());
        for made_up in 0..2 * COUNTERS {
            guard.login_failed(attacker, &made_up.to_string());
        }
        assert!(guard.admit(attacker, "b@example.com").is_err());
        assert!(guard.counts().failures.len() <= COUNTERS + 1);
    }

    #[test]
    fn a_place_is_given_back() {
        let guard = Arc::new(Guard::default());
        let places: Vec<_> = (0..SESSIONS_PER_ACCOUNT).map(|_| guard.open_session(7).unwrap()).collect();
        assert!(guard.open_session(7).is_err());
        assert!(guard.open_session(8).is_ok());
        drop(places);
        assert!(guard.open_session(7).is_ok());
        assert!(guard.counts().sessions.is_empty());
    }
}
