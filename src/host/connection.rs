//! The clients of a run: made when the first of them is needed, changed for a while by a scope, and how an operation that uses them is run.

use std::cell::RefCell;
use std::future::Future;
use std::sync::Arc;

use super::{Host, World};
use crate::clients::aws::Clients;
use crate::error::Error;
use crate::progress::Line;

/// Makes the clients, when the first of them is needed: a playbook that asks no service needs no account.
pub type Connect = Box<dyn Fn(&Host) -> Result<Clients, Error> + Send + Sync>;

thread_local! {
    /// The clients of `aws::in_region` and `aws::as_role`, for the script's thread and for each thread of `parallel`.
    static SCOPE: RefCell<Option<Arc<Clients>>> = const { RefCell::new(None) };
}

impl Host {
    /// The clients: those of the scope that this thread is in, else the run's own. The first use connects them and prints the account line.
    pub fn aws(&self) -> Result<Arc<Clients>, Error> {
        match self.scope() {
            Some(clients) => Ok(clients),
            None => self.own_aws(),
        }
    }

    /// The run's own clients, also inside a scope: lock, journal and state belong to them.
    pub(super) fn own_aws(&self) -> Result<Arc<Clients>, Error> {
        if let Some(clients) = self.clients.get() {
            return Ok(clients.clone());
        }
        let clients = Arc::new((self.connect)(self)?);
        let first = self.clients.get().is_none();
        let clients = self.clients.get_or_init(|| clients);
        if first {
            self.progress.line(Line::Info, &self.account_line(clients));
        }
        Ok(clients.clone())
    }

    /// The clients of another region or role that this thread works with for a while.
    pub fn scope(&self) -> Option<Arc<Clients>> {
        SCOPE.with_borrow(Clone::clone)
    }

    /// Runs something with the clients of a scope, or without one.
    pub fn within<T>(&self, scope: Option<Arc<Clients>>, run: impl FnOnce() -> T) -> T {
        /// Puts the outer scope back, also when a panic passes.
        struct Restore(Option<Arc<Clients>>);
        impl Drop for Restore {
            fn drop(&mut self) {
                SCOPE.set(self.0.take());
            }
        }
        let _restore = Restore(SCOPE.replace(scope));
        run()
    }

    /// Whether the run has asked any service.
    pub fn used(&self) -> bool {
        self.clients.get().is_some()
    }

    fn account_line(&self, clients: &Clients) -> String {
        let identity = &clients.identity;
        let mut line = match &self.world {
            World::Local { .. } => format!("local cloud · {}", clients.region),
            World::Aws => format!("account {} · {} · {}", identity.account, clients.region, identity.caller),
        };
        if let Some(left) =
            identity.expiry.and_then(|expiry| expiry.duration_since(std::time::SystemTime::now()).ok())
        {
            line += &format!(" · credentials {} min left", left.as_secs() / 60);
        }
        line
    }

    /// Runs an operation that uses the clients to its end, or fails with kind `interrupted` when the run is stopped.
    pub fn block<T>(&self, operation: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        // Here, since a client cannot be connected in the middle of an operation: that would block inside the runtime.
        self.aws()?;
        self.block_without_account(operation)
    }

    /// The same for an operation that uses no client.
    pub fn block_without_account<T>(
        &self,
        operation: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let mut cancel = self.cancel.subscribe();
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = cancel.wait_for(|cancelled| *cancelled) => Err(Error::interrupted()),
                done = operation => done,
            }
        })
    }
}
