//! One run at a time for each stack, wherever it is started: a file of this machine, which the kernel frees when a process ends,
//! and a lease in the account, which other machines see.

mod file;
mod lease;

use std::path::Path;

use crate::clients::aws::Clients;
use crate::error::Error;

use file::FileLock;
pub use lease::Lease;

/// The lock of a stack, until it is given back.
pub struct Lock {
    pub lease: Lease,
    // Freed after the lease: the next run on this machine finds none of ours.
    _file: FileLock,
}

impl Lock {
    /// Takes the lock of `stack`, or says who has it and until when (kind `conflict`, code `Locked`). `path` is the file on this machine.
    pub async fn take(path: &Path, stack: &str, clients: &Clients) -> Result<Self, Error> {
        let file = FileLock::take(path, stack)?;
        let lease = Lease::take(path, stack, clients).await?;
        Ok(Lock { lease, _file: file })
    }
}
