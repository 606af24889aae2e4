//! The audit trail: one JSON line per login and per statement, written before the client hears of the outcome.
//!
//! Lines are handed to the operating system in whole, so they survive the end of this process; a file is also synced to
//! disk every second, and a power failure may lose that second. It is rotated by size. A sink that is slow holds up statements; one that fails ends the
//! sessions: nothing is answered that was not recorded.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::audit_file::AuditFile;
use crate::audit_record::{Actor, Lines, Statement};
use crate::config::Rotation;
use crate::metrics::Metrics;

pub(crate) struct Audit {
    pub(crate) metrics: Metrics,
    redacts_literals: bool,
    sink: Mutex<Sink>,
}

enum Sink {
    Stdout,
    File(AuditFile),
}

impl Audit {
    pub(crate) fn open(path: Option<&Path>, rotation: Rotation, redacts_literals: bool) -> io::Result<Self> {
        let sink = match path {
            None => Sink::Stdout,
            Some(path) => Sink::File(AuditFile::open(path, rotation)?),
        };
        Ok(Self { metrics: Metrics::default(), redacts_literals, sink: Mutex::new(sink) })
    }

    fn sink(&self) -> MutexGuard<'_, Sink> {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a login at once.
    pub(crate) fn login(&self, actor: &Actor, sqlstate: &str, reason: &str) -> io::Result<()> {
        self.metrics.login(sqlstate == "00000");
        let mut lines = Lines::new(actor);
        lines.login(sqlstate, reason);
        self.write(&mut lines)
    }

    /// Puts a record to those that the next `write` brings out.
    pub(crate) fn note(&self, lines: &mut Lines, statement: &Statement<'_>) {
        if !statement.is_suspended {
            self.metrics.statement(statement.outcome(), statement.duration);
        }
        lines.statement(statement, self.redacts_literals);
    }

    /// Writes what waits, by one write.
    pub(crate) fn write(&self, lines: &mut Lines) -> io::Result<()> {
        if lines.waiting.is_empty() {
            return Ok(());
        }
        match &mut *self.sink() {
            Sink::Stdout => io::stdout().lock().write_all(&lines.waiting)?,
            Sink::File(file) => file.write(&lines.waiting)?,
        }
        lines.clear();
        Ok(())
    }

    /// Brings what was written to disk; called every second and at the end.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let unsynced = match &mut *self.sink() {
            Sink::File(file) => file.take_unsynced()?,
            Sink::Stdout => None,
        };
        // Outside the lock: statements go on while the disk works.
        unsynced.map_or(Ok(()), |file| file.sync_data())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::SocketAddr;

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
