//! The lock of this machine: on a file, which the kernel frees when the process ends,
//! however it ends. The file says who holds it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::{Error, Kind, LOCKED};

/// The lock, held until it is dropped.
#[derive(Debug)]
pub(super) struct FileLock {
    _file: File,
}

impl FileLock {
    /// Takes the lock at `path` for `stack`, or says who has it (kind `conflict`, code `Locked`).
    pub(super) fn take(path: &Path, stack: &str) -> Result<Self, Error> {
        let failed = |source: std::io::Error| Error::io(format_args!("lock {}", path.display()), &source);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).map_err(failed)?;
                return Err(Error::new(
                    Kind::Conflict,
                    format!("the stack `{stack}` is locked by {}", holder.trim()),
                )
                .code(LOCKED)
                .help("wait until that run has ended, then run the same command again"));
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let holder = format!("process {} since {}\n", std::process::id(), jiff::Timestamp::now());
        file.rewind()
            .and_then(|()| file.set_len(0))
            .and_then(|()| file.write_all(holder.as_bytes()))
            .map_err(failed)?;
        Ok(FileLock { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_is_told_who_holds_the_lock() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("lock");
        let held = FileLock::take(&path, "music-app").unwrap();
        let refused = FileLock::take(&path, "music-app").unwrap_err();
        assert_eq!(refused.code, LOCKED);
        assert!(refused.message.contains(&format!("process {}", std::process::id())), "{refused}");
        drop(held);
        FileLock::take(&path, "music-app").unwrap();
    }
}
