//! The audit trail: one JSON line per login and per statement, written before the client hears of the outcome.
//!
//! A line is handed to the operating system by one write, so it survives the end of this process; a file is also synced to
//! disk every second, and a power failure may lose that second. A sink that is slow holds up statements; one that fails ends the
//! sessions: nothing is answered that was not recorded.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;

use crate::log;

pub(crate) struct Audit {
    sink: Mutex<Sink>,
}

enum Sink {
    Stdout,
    File { file: File, unsynced: bool },
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
    pub(crate) fn open(file: Option<&Path>) -> io::Result<Self> {
        let sink = match file {
            None => Sink::Stdout,
            Some(path) => {
                let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
                Sink::File { file, unsynced: false }
            }
        };
        Ok(Self { sink: Mutex::new(sink) })
    }

    pub(crate) fn login(&self, actor: &Actor, sqlstate: &str, reason: &str) -> io::Result<()> {
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
        self.write(&json!({
            "time": log::timestamp(),
            "audit": "statement",
            "session": format!("{:08x}", actor.session),
            "user": actor.user,
            "tier": actor.tier,
            "client": actor.client.to_string(),
            "sql": &*statement.sql,
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
            Sink::File { file, unsynced } => {
                *unsynced = true;
                file.write_all(line.as_bytes())
            }
        }
    }

    /// Brings what was written to disk; called every second and at the end.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let file = match &mut *self.sink.lock().unwrap_or_else(PoisonError::into_inner) {
            Sink::File { file, unsynced } if *unsynced => {
                *unsynced = false;
                file.try_clone()?
            }
            _ => return Ok(()),
        };
        // Outside the lock: statements go on while the disk works.
        file.sync_data()
    }
}
