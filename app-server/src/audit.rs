//! The audit trail: one JSON line per login and per statement, written before the client hears of the outcome.
//!
//! A line is handed to the operating system by one write, so it survives the end of this process; a file is also synced to
//! disk every second, and a power failure may lose that second. It is rotated by size. A sink that is slow holds up statements; one that fails ends the
//! sessions: nothing is answered that was not recorded.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;

use crate::config::Rotation;
use crate::log;
use crate::metrics::Metrics;
use crate::redaction::redact;

pub(crate) struct Audit {
    pub(crate) metrics: Metrics,
    redacts_literals: bool,
    sink: Mutex<Sink>,
}

enum Sink {
    Stdout,
    File(AuditFile),
}

/// Who did it.
#[derive(Debug, Clone)]
pub(crate) struct Actor {
    pub(crate) session: u32,
    pub(crate) user: String,
    pub(crate) tier: &'static str,
    pub(crate) client: SocketAddr,
}

/// What came of a statement.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) sql: Arc<str>,
    /// The command tag, for one that succeeded.
    pub(crate) tag: Option<String>,
    pub(crate) rows: Option<u64>,
    pub(crate) duration: Duration,
    /// Five zeros for success; none for a statement whose outcome nobody waited for.
    pub(crate) sqlstate: Option<String>,
}

impl Audit {
    pub(crate) fn open(path: Option<&Path>, rotation: Rotation, redacts_literals: bool) -> io::Result<Self> {
        let sink = match path {
            None => Sink::Stdout,
            Some(path) => Sink::File(AuditFile::open(path, rotation)?),
        };
        Ok(Self { metrics: Metrics::default(), redacts_literals, sink: Mutex::new(sink) })
    }

    pub(crate) fn login(&self, actor: &Actor, sqlstate: &str, reason: &str) -> io::Result<()> {
        self.metrics.login(sqlstate == "00000");
        self.write(&json!({
            "time": log::timestamp(),
            "audit": "login",
            "session": format!("{:08x}", actor.session),
            "user": actor.user,
            "tier": actor.tier,
            "client": actor.client.to_string(),
            "outcome": if sqlstate == "00000" { "success" } else { "failed" },
            "sqlstate": sqlstate,
            "reason": reason,
        }))
    }

    pub(crate) fn statement(&self, actor: &Actor, statement: &Statement) -> io::Result<()> {
        let outcome = match statement.sqlstate.as_deref() {
            None => "abandoned",
            Some("00000") => "success",
            Some("42501") => "denied",
            Some("57014") => "cancelled",
            Some(_) => "error",
        };
        self.metrics.statement(outcome, statement.duration);
        let sql =
            if self.redacts_literals { redact(&statement.sql).into() } else { Arc::clone(&statement.sql) };
        self.write(&json!({
            "time": log::timestamp(),
            "audit": "statement",
            "session": format!("{:08x}", actor.session),
            "user": actor.user,
            "tier": actor.tier,
            "client": actor.client.to_string(),
            "sql": &*sql,
            "outcome": outcome,
            "tag": statement.tag,
            "rows": statement.rows,
            "duration_ms": u64::try_from(statement.duration.as_micros()).map_or(f64::MAX, |us| us as f64 / 1000.0),
            "sqlstate": statement.sqlstate,
        }))
    }

    fn write(&self, record: &serde_json::Value) -> io::Result<()> {
        // JSON escapes every control character, so a record is one line whatever the client sent.
        let line = format!("{record}\n");
        match &mut *self.sink.lock().unwrap_or_else(PoisonError::into_inner) {
            Sink::Stdout => io::stdout().lock().write_all(line.as_bytes()),
            Sink::File(file) => file.write(line.as_bytes()),
        }
    }

    /// Brings what was written to disk; called every second and at the end.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let file = match &mut *self.sink.lock().unwrap_or_else(PoisonError::into_inner) {
            Sink::File(AuditFile { file, unsynced, .. }) if *unsynced => {
                *unsynced = false;
                file.try_clone()?
            }
            _ => return Ok(()),
        };
        // Outside the lock: statements go on while the disk works.
        file.sync_data()
    }
}

struct AuditFile {
    path: PathBuf,
    rotation: Rotation,
    file: File,
    size: u64,
    unsynced: bool,
}

impl AuditFile {
    fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), rotation, file, size, unsynced: false })
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.size > 0 && self.size + line.len() as u64 > self.rotation.bytes {
            self.rotate()?;
        }
        self.unsynced = true;
        self.size += line.len() as u64;
        self.file.write_all(line)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_rotated_and_the_newest_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let rotation = Rotation { bytes: 300, files: 2 };
        let audit = Audit::open(Some(&path), rotation, false).unwrap();
        let client = SocketAddr::from(([127, 0, 0, 1], 1));
        for number in 0..10 {
            let actor = Actor { session: number, user: "line\nbreak".to_owned(), tier: "free", client };
            audit.login(&actor, "28P01", "wrong password").unwrap();
        }
        audit.sync().unwrap();
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["audit.log", "audit.log.1", "audit.log.2"]);
        for (name, session) in [("audit.log", 9), ("audit.log.1", 8), ("audit.log.2", 7)] {
            let text = fs::read_to_string(folder.path().join(name)).unwrap();
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(text.contains(&format!("{session:08x}")), "{text}");
        }
    }
}
