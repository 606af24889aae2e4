//! What strangers and guests may take: failed logins per account and address, connections per address, sessions and statements
//! per account.
//!
//! Nobody is locked out of an account by somebody else's failures: they count for the address they came from.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::Strangers;
use crate::wire::ErrorResponse;

/// Failures are counted for this long after the first one.
const WINDOW: Duration = Duration::from_secs(60);
/// Above this many counters the expired ones are dropped, so that made-up names cannot fill the memory.
const COUNTERS: usize = 10_000;
/// So many connections beyond an address's limit are told about it at a time; more are closed without a word.
const TOLD: usize = 10;
/// An account may run this long's worth of statements at once, after it was silent for as long.
const BURST: Duration = Duration::from_secs(10);

pub(crate) struct Guard {
    strangers: Strangers,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    /// By address, and by address and account.
    failures: HashMap<(IpAddr, Option<String>), Failures>,
    sessions: HashMap<i64, Sessions>,
    connections: HashMap<IpAddr, usize>,
}

#[derive(Default)]
struct Sessions {
    open: usize,
    pace: Arc<Pace>,
}

/// How fast an account asks: the moment at which all its statements so far would have been due at its tier's rate.
#[derive(Default)]
pub(crate) struct Pace(Mutex<Option<Instant>>);

impl Pace {
    /// Notes statements, and answers how long to wait before the next.
    pub(crate) fn note(&self, statements: u64, per_second: u64) -> Duration {
        let now = Instant::now();
        let mut due = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = due.filter(|due| *due > now).unwrap_or(now);
        let paid = begin + Duration::from_secs_f64(statements as f64 / per_second as f64);
        *due = Some(paid);
        (paid - now).saturating_sub(BURST)
    }
}

struct Failures {
    since: Instant,
    count: u32,
}

impl Guard {
    pub(crate) fn new(strangers: Strangers) -> Self {
        Self { strangers, counts: Mutex::default() }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses an attempt to log in after too many that failed, before anything is looked up.
    pub(crate) fn admit(&self, address: IpAddr, user: &str) -> Result<(), ErrorResponse> {
        self.refused(&self.counts(), address, user)
    }

    /// Counts an attempt that has failed, and refuses one made after too many, whatever it proved: those that were admitted together
    /// are judged one after the other. Nothing of an attempt may be answered before this.
    pub(crate) fn judge(&self, address: IpAddr, user: &str, has_failed: bool) -> Result<(), ErrorResponse> {
        let mut counts = self.counts();
        self.refused(&counts, address, user)?;
        if has_failed {
            Self::count_failure(&mut counts, address, user);
        }
        Ok(())
    }

    fn refused(&self, counts: &Counts, address: IpAddr, user: &str) -> Result<(), ErrorResponse> {
        let keys = [
            ((address, Some(user.to_lowercase())), self.strangers.account_failures),
            ((address, None), self.strangers.address_failures),
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

    fn count_failure(counts: &mut Counts, address: IpAddr, user: &str) {
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
        self.counts().sessions.values().map(|sessions| sessions.open).sum()
    }

    /// Takes a place for a session of the account; it is given back when the place is dropped.
    pub(crate) fn open_session(self: &Arc<Self>, account_id: i64) -> Result<Place, ErrorResponse> {
        let limit = self.strangers.account_sessions;
        let mut counts = self.counts();
        let sessions = counts.sessions.entry(account_id).or_default();
        if sessions.open >= limit {
            return Err(ErrorResponse::fatal(
                "53300",
                format!("your account has {limit} sessions open already"),
            )
            .with_hint("close some of them, or wait until they expire"));
        }
        sessions.open += 1;
        let pace = Arc::clone(&sessions.pace);
        Ok(Place { guard: Arc::clone(self), account_id, pace })
    }

    /// The same for a connection of an address. `None`: not even to be told why.
    pub(crate) fn open_connection(self: &Arc<Self>, address: IpAddr) -> Option<ConnectionPlace> {
        let limit = self.strangers.address_connections;
        let mut counts = self.counts();
        let open = counts.connections.entry(address).or_default();
        if *open >= limit.saturating_add(TOLD) {
            return None;
        }
        let refusal = (*open >= limit).then(|| {
            let message = format!("your address has {limit} connections open already");
            ErrorResponse::fatal("53300", message).with_hint("close some of them")
        });
        *open += 1;
        Some(ConnectionPlace { guard: Arc::clone(self), address, refusal })
    }
}

pub(crate) struct Place {
    guard: Arc<Guard>,
    account_id: i64,
    pub(crate) pace: Arc<Pace>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.guard.counts();
        if let Some(sessions) = counts.sessions.get_mut(&self.account_id) {
            sessions.open -= 1;
            // Who comes back at once must find how fast it was.
            let is_over_pace = || sessions.pace.note(0, 1) > Duration::ZERO;
            if sessions.open == 0 && !is_over_pace() {
                counts.sessions.remove(&self.account_id);
            }
        }
    }
}

pub(crate) struct ConnectionPlace {
    guard: Arc<Guard>,
    address: IpAddr,
    /// It is one too many, and only open to be told so: under TLS, which takes a moment.
    pub(crate) refusal: Option<ErrorResponse>,
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        let mut counts = self.guard.counts();
        if let Some(open) = counts.connections.get_mut(&self.address) {
            *open -= 1;
            if *open == 0 {
                counts.connections.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        Guard::new(Strangers {
            login_timeout: Duration::from_secs(10),
            startup_bytes: 10_000,
            account_failures: 10,
            address_failures: 100,
            account_sessions: 3,
            address_connections: 2,
        })
    }

    #[test]
    fn a_burst_is_free_and_what_goes_beyond_it_waits() {
        let pace = Pace::default();
        assert_eq!(pace.note(90, 10), Duration::ZERO);
        let wait = pace.note(30, 10);
        assert!(wait > Duration::from_millis(1900) && wait <= Duration::from_secs(2), "{wait:?}");
    }

    #[test]
    fn connections_are_counted_by_address() {
        let guard = Arc::new(guard());
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let is_served = |address| guard.open_connection(address).unwrap().refusal.is_none();
        let places = [guard.open_connection(one).unwrap(), guard.open_connection(one).unwrap()];
        assert!(!is_served(one) && is_served(other));
        let told: Vec<_> = (0..TOLD).map(|_| guard.open_connection(one).unwrap()).collect();
        assert!(guard.open_connection(one).is_none());
        drop((places, told));
        assert!(is_served(one));
        assert!(guard.counts().connections.is_empty());
    }

    #[test]
    fn failures_count_for_the_address_they_came_from() {
        let guard = guard();
        let (attacker, honest) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        for _ in 0..10 {
            assert!(guard.admit(attacker, "A@example.com").is_ok());
            assert!(guard.judge(attacker, "a@example.com", true).is_ok());
        }
        assert!(guard.admit(attacker, "a@Example.com").is_err());
        // One that was admitted before, with the right password.
        assert!(guard.judge(attacker, "a@example.com", false).is_err());
        assert!(guard.admit(attacker, "b@example.com").is_ok());
        assert!(guard.admit(honest, "a@example.com").is_ok());
        for made_up in 0..2 * COUNTERS {
            let _ = guard.judge(attacker, &made_up.to_string(), true);
        }
        assert!(guard.admit(attacker, "b@example.com").is_err());
        assert!(guard.counts().failures.len() <= COUNTERS + 1);
    }

    #[test]
    fn a_place_is_given_back() {
        let guard = Arc::new(guard());
        let places: Vec<_> = (0..3).map(|_| guard.open_session(7).unwrap()).collect();
        assert!(guard.open_session(7).is_err());
        assert!(guard.open_session(8).is_ok());
        drop(places);
        assert!(guard.open_session(7).is_ok());
        assert!(guard.counts().sessions.is_empty());
    }
}
