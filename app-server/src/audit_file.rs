//! The file of the audit trail: appended to, rotated by size, the newest kept: `audit.log.1` is the one put aside last.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::config::Rotation;

pub(crate) struct AuditFile {
    path: PathBuf,
    rotation: Rotation,
    file: File,
    size: u64,
    unsynced: bool,
}

impl AuditFile {
    pub(crate) fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), rotation, file, size, unsynced: false })
    }

    /// Hands whole lines to the operating system in one piece.
    pub(crate) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.size > 0 && self.size + lines.len() as u64 > self.rotation.bytes {
            self.rotate()?;
        }
        self.unsynced = true;
        self.size += lines.len() as u64;
        self.file.write_all(lines)
    }

    /// The file, when something was written to it since this was last asked.
    pub(crate) fn take_unsynced(&mut self) -> io::Result<Option<File>> {
        if !std::mem::take(&mut self.unsynced) {
            return Ok(None);
        }
        self.file.try_clone().map(Some)
    }

    fn rotate(&mut self) -> io::Result<()> {
        // What is put aside is complete on disk.
        self.file.sync_data()?;
        let numbered = |number: u64| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..self.rotation.files).rev() {
            match fs::rename(numbered(number), numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, numbered(1))?;
        *self = Self::open(&self.path, self.rotation)?;
        Ok(())
    }
}
