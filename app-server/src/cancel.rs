//! Cancel keys of our own: a client gets a key that this server made, never the database's, and only a key of a living session
//! does anything.
//!
//! A database session is not given to anybody else while a cancel is on its way to it: a late one cannot hit the next owner.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;

use crate::backend::{BackendKey, Database};
use crate::log;

/// Process id and secret, as the client gets them in BackendKeyData. It is random as a whole, the process id too.
pub(crate) type ClientKey = Box<[u8]>;

/// Four bytes of process id, and a secret of the length that protocol 3.0 has, or of any that 3.2 allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyLength {
    Short = 8,
    Long = 36,
}

/// The database session that a client has at the moment, if any.
#[derive(Clone, Default)]
pub(crate) struct Target(Arc<tokio::sync::Mutex<Option<BackendKey>>>);

impl Target {
    /// Waits for cancels that are under way.
    pub(crate) async fn set(&self, backend: Option<BackendKey>) {
        // Nearly always there is none.
        match self.0.try_lock() {
            Ok(mut target) => *target = backend,
            Err(_) => *self.0.lock().await = backend,
        }
    }

    /// Stops what the session's database session is doing. Goes on to its end even if nobody waits for it any more.
    pub(crate) async fn cancel(&self, database: &Arc<Database>) {
        let (target, database) = (Arc::clone(&self.0), Arc::clone(database));
        let cancelling = tokio::spawn(async move {
            let backend = target.lock_owned().await;
            if let Some(key) = *backend
                && let Err(error) = database.cancel(key).await
            {
                log::warning("cancel_failed", json!({ "error": error.to_string() }));
            }
        });
        // The task does not panic, and an abort is the end of the process.
        let _ = cancelling.await;
    }
}

#[derive(Default)]
pub(crate) struct Registry {
    sessions: Mutex<HashMap<ClientKey, Target>>,
}

impl Registry {
    fn sessions(&self) -> MutexGuard<'_, HashMap<ClientKey, Target>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a session its key, which is forgotten when the registration is dropped.
    pub(crate) fn register(self: &Arc<Self>, length: KeyLength) -> Registration {
        let mut sessions = self.sessions();
        let key = loop {
            let key: ClientKey = rand::random::<[u8; KeyLength::Long as usize]>()[..length as usize].into();
            if !sessions.contains_key(&key) {
                break key;
            }
        };
        let target = Target::default();
        sessions.insert(key.clone(), target.clone());
        Registration { registry: Arc::clone(self), key, target }
    }

    pub(crate) fn find(&self, key: &[u8]) -> Option<Target> {
        self.sessions().get(key).cloned()
    }
}

pub(crate) struct Registration {
    registry: Arc<Registry>,
    pub(crate) key: ClientKey,
    pub(crate) target: Target,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.sessions().remove(&self.key);
    }
}
