//! Cancel keys of our own: a client gets a key that this server made, never the database's, and only a key of a living session
//! does anything.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::backend::BackendKey;

/// Process id and secret as the client gets them in BackendKeyData.
pub(crate) type ClientKey = (u32, u32);

#[derive(Default)]
pub(crate) struct Registry {
    sessions: Mutex<HashMap<ClientKey, BackendKey>>,
}

impl Registry {
    /// Gives a session its key, which is forgotten when the registration is dropped.
    pub(crate) fn register(self: &Arc<Self>, backend: BackendKey) -> Registration {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let key = loop {
            let key = (rand::random(), rand::random());
            if !sessions.contains_key(&key) {
                break key;
            }
        };
        sessions.insert(key, backend);
        Registration { registry: Arc::clone(self), key }
    }

    pub(crate) fn find(&self, key: ClientKey) -> Option<BackendKey> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied()
    }
}

pub(crate) struct Registration {
    registry: Arc<Registry>,
    pub(crate) key: ClientKey,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
