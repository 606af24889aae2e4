//! The project folder of one test: what the project has, without its state, its accounts and its clouds.

use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

use crate::commands::local;
use crate::error::Error;

/// A folder that is gone, with the local cloud in it, when the test is over.
pub(super) struct Room {
    folder: TempDir,
}

impl Room {
    /// A folder that has what `root` has, by way of links; what runs leave behind, and what is hidden, stays outside.
    pub(super) fn of(root: &Path) -> Result<Self, Error> {
        let failed = |source| Error::io("make the folder of a test", &source);
        let folder = tempfile::Builder::new().prefix("ops-test-").tempdir().map_err(failed)?;
        for entry in root.read_dir().map_err(|source| Error::io("read the project's folder", &source))? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let shown = name.to_string_lossy();
            if !shown.starts_with('.') && !shown.starts_with("deploy_config") && shown != "target" {
                symlink(entry.path(), folder.path().join(&name)).map_err(failed)?;
            }
        }
        Ok(Room { folder })
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Takes the local cloud down, and says if that fails.
    pub(super) fn leave(self) -> Result<(), Error> {
        self.discard()
    }

    fn discard(&self) -> Result<(), Error> {
        let cloud = self.folder.path().join(".ops").join("local");
        if cloud.exists() { local::discard(&cloud) } else { Ok(()) }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // After `leave` there is nothing left; where the test could not even be started, nobody is left to be told.
        _ = self.discard();
    }
}
