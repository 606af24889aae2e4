//! The folder of one local cloud: what lies where, who may hold it, and how a file in it is replaced so that a kill
//! leaves either the old or the new text.
//!
//! `cloud.json` (where the endpoint is), `state.json` (every resource), `lock`, `rds-ca.pem` (the authority that signs the
//! databases' certificates), `sshd.json` (what the user says of shells: see `ec2::sshd`), `instances/<id>/console.log`, and the data of the databases (see [`Folder::databases`]).

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::cloud::Cloud;
use crate::{Error, machine};

/// A local cloud that answers, as `cloud.json` describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    pub endpoint: String,
    pub pid: u32,
    pub account: String,
    pub region: String,
}

/// The local cloud of this folder, if one answers. What a killed supervisor left behind counts as none.
pub fn running(folder: &Path) -> Result<Option<Running>, Error> {
    let path = folder.join("cloud.json");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::File { action: "read", path, source }),
    };
    let Ok(running) = serde_json::from_str::<Running>(&text) else { return Ok(None) };
    Ok(answers(&running).then_some(running))
}

/// Another program may have taken the port since: only an answer that names the same process counts.
fn answers(running: &Running) -> bool {
    let ask = || -> std::io::Result<String> {
        let address = running.endpoint.trim_start_matches("http://");
        let address = address.parse().map_err(std::io::Error::other)?;
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.set_write_timeout(Some(Duration::from_secs(2)))?;
        write!(stream, "GET /_local/pid HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.take(4096).read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| {
        answer.rsplit("\r\n\r\n").next().is_some_and(|body| body.trim() == running.pid.to_string())
    })
}

/// Whether no supervisor holds this folder: one that was told to stop holds it until all that it ran has ended.
pub fn is_free(folder: &Path) -> Result<bool, Error> {
    let path = folder.join("lock");
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
        Err(source) => return Err(Error::File { action: "open", path, source }),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(Error::File { action: "lock", path, source }),
    }
}

/// Removes the local cloud of this folder, its databases included. Refuses while it runs.
pub fn reset(folder: &Path) -> Result<(), Error> {
    // Root's databases lie elsewhere: they may be there even if somebody removed the folder by hand.
    let folder = Folder::open(folder)?;
    let _held = folder.lock()?;
    // What cannot be read names no process either.
    if let Ok(state) = Cloud::load(&folder) {
        machine::end_all(&state);
    }
    crate::postgres::stop_all_below(&folder.databases())?;
    for path in [folder.databases(), folder.path.clone()] {
        match fs::remove_dir_all(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::File { action: "remove", path, source }),
        }
    }
    Ok(())
}

#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(crate) fn open(path: &Path) -> Result<Folder, Error> {
        create_private(path)?;
        let path = path.canonicalize().map_err(|source| Error::File {
            action: "find",
            path: path.to_path_buf(),
            source,
        })?;
        Ok(Folder { path })
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn instance(&self, id: &str) -> PathBuf {
        self.path.join("instances").join(id)
    }

    /// PostgreSQL refuses to run as root, and the user that it runs as instead cannot enter root's home. So root's databases
    /// lie under /var/lib, in a folder that is named after this one.
    pub(crate) fn databases(&self) -> PathBuf {
        if !rustix::process::geteuid().is_root() {
            return self.path.join("rds");
        }
        let digest = Sha256::digest(self.path.as_os_str().as_encoded_bytes());
        let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Path::new("/var/lib/ops-local").join(name)
    }

    /// Holds the folder for this process until the file is dropped or the process ends, however it ends.
    pub(crate) fn lock(&self) -> Result<File, Error> {
        let path = self.join("lock");
        let failed = |source| Error::File { action: "lock", path: path.clone(), source };
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(source)) => return Err(failed(source)),
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                file.read_to_string(&mut pid).map_err(failed)?;
                let pid = if pid.is_empty() { "unknown".to_string() } else { pid };
                return Err(Error::AlreadyRunning { folder: self.path.clone(), pid });
            }
        }
        file.set_len(0).map_err(failed)?;
        file.write_all(std::process::id().to_string().as_bytes()).map_err(failed)?;
        Ok(file)
    }

    /// Replaces a file of the folder (mode 0600) as a whole.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.join(name);
        let failed = |source| Error::File { action: "write", path: path.clone(), source };
        let draft = self.join(&format!(".{name}.new"));
        let mut options = OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o600).open(&draft).map_err(failed)?;
        file.write_all(bytes).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        fs::rename(&draft, &path).map_err(failed)?;
        File::open(&self.path).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    pub(crate) fn read(&self, name: &str) -> Result<Option<String>, Error> {
        let path = self.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::File { action: "read", path, source }),
        }
    }

    pub(crate) fn remove(&self, name: &str) -> Result<(), Error> {
        let path = self.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::File { action: "remove", path, source: error })
            }
            _ => Ok(()),
        }
    }
}

/// Creates a folder that only this user may enter, with its parents.
pub(crate) fn create_private(path: &Path) -> Result<(), Error> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| Error::File {
        action: "create",
        path: path.to_path_buf(),
        source,
    })
}
