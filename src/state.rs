//! `deploy_config.json`: what other tools read about a deployment. Never a secret, and only a cache: tags rebuild it.
//!
//! One file serves one world. It is written as a whole to a temporary file, fsynced and renamed, so a reader or
//! a crash never meets half of it. A file that cannot be read, or that belongs to another account or stack, is never overwritten.

use std::fs::{File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::error::Error;

/// The version of the layout of the file, in `schema_version`.
const SCHEMA_VERSION: u64 = 1;

/// The keys that say whose file it is.
const IDENTITY: [&str; 3] = ["stack", "account", "region"];

/// The state of one stack, as last read or written.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    values: Map<String, Value>,
}

impl State {
    /// Reads `path` for a stack, or starts an empty state if there is no such file.
    ///
    /// Where the default file belongs to another stack, the state is `deploy_config.<stack>.json` beside it.
    pub fn open(path: &Path, stack: &str, account: &str, region: &str) -> Result<Self, Error> {
        let identity = [stack, account, region];
        let mut path = path.to_owned();
        let mut values = read(&path)?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let own = path.with_file_name(format!("{stem}.{stack}.json"));
        // A stack that once got a file of its own keeps it, also when the default one is free again.
        if own.exists() || values.get("stack").is_some_and(|found| found != stack) {
            values = read(&own)?;
            path = own;
        }
        for (key, expected) in IDENTITY.into_iter().zip(identity) {
            match values.get(key) {
                None => {}
                Some(Value::String(found)) if found == expected => {}
                Some(found) => {
                    return Err(Error::invalid(format!(
                        "{} belongs to {key} {found}, and this run is for `{expected}`",
                        path.display()
                    ))
                    .help("choose another file with `--state FILE`, or move this one away"));
                }
            }
        }
        values.insert("schema_version".into(), SCHEMA_VERSION.into());
        for (key, value) in IDENTITY.into_iter().zip(identity) {
            values.insert(key.into(), value.into());
        }
        Ok(State { path, values })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// Sets keys (`null` removes one) and writes the file if that changed anything. Keys that others put there stay.
    pub fn set(&mut self, values: impl IntoIterator<Item = (String, Value)>) -> Result<(), Error> {
        let before = self.values.clone();
        for (key, value) in values {
            if value.is_null() {
                self.values.remove(&key);
            } else {
                self.values.insert(key, value);
            }
        }
        if self.values == before && self.path.exists() { Ok(()) } else { self.write() }
    }

    /// Removes the file: the stack is gone.
    pub fn remove(&mut self) -> Result<(), Error> {
        self.values.clear();
        match std::fs::remove_file(&self.path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(format_args!("remove {}", self.path.display()), &source))
            }
            _ => Ok(()),
        }
    }

    fn write(&self) -> Result<(), Error> {
        let mut text =
            serde_json::to_vec_pretty(&self.values).map_err(|error| Error::internal(error.to_string()))?;
        text.push(b'\n');
        self.sweep().and_then(|()| write_atomically(&self.path, &text)).map_err(|source| {
            Error::io(format_args!("write {}", self.path.display()), &source)
                .help("it is as it was: free some disk space and run the same command again")
        })
    }

    /// Removes what a run left that was killed before it renamed its file. One that is younger may be somebody's who is writing now.
    fn sweep(&self) -> std::io::Result<()> {
        let (folder, beginning) = unfinished(&self.path);
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let old = || {
                Ok::<_, std::io::Error>(
                    entry.metadata()?.modified()?.elapsed().is_ok_and(|age| age > ABANDONED),
                )
            };
            if name.starts_with(&beginning) && name.ends_with(UNFINISHED) && old()? {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// A file that is unfinished for so long is nobody's any more: writing one takes milliseconds.
const ABANDONED: Duration = Duration::from_secs(60);

/// How the name of a file ends that is not whole yet.
const UNFINISHED: &str = ".new";

/// Where the unfinished file for `path` lies, and how its name begins.
fn unfinished(path: &Path) -> (&Path, String) {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    (folder, format!(".{}.", path.file_name().unwrap_or_default().to_string_lossy()))
}

/// Replaces `path` by `text`, mode 0600: temporary file, fsync, rename, fsync of the folder.
pub fn write_atomically(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let (folder, beginning) = unfinished(path);
    let mut file = tempfile::Builder::new().prefix(&beginning).suffix(UNFINISHED).tempfile_in(folder)?;
    file.as_file().set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(text)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(folder)?.sync_all()
}

fn read(path: &Path) -> Result<Map<String, Value>, Error> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(Map::new()),
        Err(source) => return Err(Error::io(format_args!("read {}", path.display()), &source)),
    };
    let values: Map<String, Value> = serde_json::from_str(&text).map_err(|error| {
        Error::invalid(format!("{} is not a JSON object: {error}", path.display()))
            .help("it is only a cache: move it away, and the next run writes it anew from what exists")
    })?;
    match values.get("schema_version").map(Value::as_u64) {
        None | Some(Some(SCHEMA_VERSION)) => Ok(values),
        Some(other) => Err(Error::invalid(format!(
            "{} has schema_version {}, and this program knows {SCHEMA_VERSION}",
            path.display(),
            other.map_or_else(|| "that is no number".to_owned(), |version| version.to_string())
        ))
        .help("use the version of ops that wrote it, or move the file away: it is rebuilt from what exists")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path, stack: &str) -> Result<State, Error> {
        State::open(path, stack, "000000000000", "us-east-1")
    }

    #[test]
    fn what_others_wrote_is_kept_and_the_file_is_private() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("deploy_config.json");
        std::fs::write(&path, r#"{"note": "mine", "db_name": "old"}"#).unwrap();
        let mut state = open(&path, "music-app").unwrap();
        state.set([("db_name".to_owned(), "music".into()), ("nlb_dns".to_owned(), Value::Null)]).unwrap();

        let reread = open(&path, "music-app").unwrap();
        assert_eq!(reread.get("note"), Some(&"mine".into()));
        assert_eq!(reread.get("db_name"), Some(&"music".into()));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn another_stack_gets_a_file_of_its_own_and_another_account_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("deploy_config.json");
        open(&path, "one").unwrap().set([]).unwrap();
        assert!(open(&path, "two").unwrap().path().ends_with("deploy_config.two.json"));
        let foreign = State::open(&path, "one", "111111111111", "us-east-1").unwrap_err();
        assert!(foreign.message.contains("belongs to account"), "{foreign}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_refused_and_stays_as_it_is() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("deploy_config.json");
        let broken = [
            "",
            "{",
            "[]",
            "null",
            "{\"schema_version\": 99}",
            "{\"schema_version\": \"x\"}",
            "\u{0}\u{0}",
            "{}{}",
        ];
        for text in broken {
            std::fs::write(&path, text).unwrap();
            assert!(open(&path, "music-app").is_err(), "{text:?}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }
}
