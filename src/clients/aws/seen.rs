//! What was read of a service, kept for those who look for one thing after another: a list of all of a stack's groups answers for
//! each of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Others change things too: older than this it is read again.
const FRESH: Duration = Duration::from_secs(10);

/// The last list that was read, until this run changes something.
#[derive(Debug)]
pub struct Seen<T> {
    last: Mutex<Option<Read<T>>>,
    reader: Mutex<()>,
}

#[derive(Debug)]
struct Read<T> {
    /// How much this run had tried to change before.
    attempts: u64,
    at: Instant,
    list: Arc<Vec<T>>,
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Seen { last: Mutex::new(None), reader: Mutex::new(()) }
    }
}

impl<T> Seen<T> {
    /// The list, if it is still good after `attempts` changes.
    pub fn get(&self, attempts: u64) -> Option<Arc<Vec<T>>> {
        let seen = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let read = seen.as_ref().filter(|read| read.attempts == attempts && read.at.elapsed() < FRESH)?;
        Some(Arc::clone(&read.list))
    }

    /// Is held while the list is asked for: who needs it meanwhile waits for that answer, instead of asking as well.
    pub fn reading(&self) -> MutexGuard<'_, ()> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a list that was asked for at `at`, when `attempts` changes had been tried.
    pub fn keep(&self, attempts: u64, at: Instant, list: Vec<T>) -> Arc<Vec<T>> {
        let list = Arc::new(list);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Read { attempts, at, list: Arc::clone(&list) });
        list
    }
}
