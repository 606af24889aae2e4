//! The audit trail: one JSON line per login and per statement, written before the client hears of the outcome.
//!
//! Lines are handed to the operating system in whole, so they survive the end of this process; a file is also synced to
//! disk every second, and a power failure may lose that second. It is rotated by size. Who reads stdout slowly holds up those who
//! are on record and nobody else; a sink that fails ends the sessions: nothing is answered that was not recorded.

use std::future::{Future as _, poll_fn};
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use serde_json::json;

use crate::audit_file::AuditFile;
use crate::audit_record::{Actor, Lines, Statement};
use crate::config::Rotation;
use crate::metrics::Metrics;
use crate::wire::ErrorResponse;
use crate::{log, standard_output};

pub(crate) struct Audit {
    pub(crate) metrics: Metrics,
    redacts_literals: bool,
    sink: Sink,
}

enum Sink {
    Stdout,
    File(Mutex<AuditFile>),
}

fn lock(file: &Mutex<AuditFile>) -> MutexGuard<'_, AuditFile> {
    file.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Audit {
    pub(crate) fn open(path: Option<&Path>, rotation: Rotation, redacts_literals: bool) -> io::Result<Self> {
        let sink = match path {
            None => Sink::Stdout,
            Some(path) => Sink::File(Mutex::new(AuditFile::open(path, rotation)?)),
        };
        Ok(Self { metrics: Metrics::default(), redacts_literals, sink })
    }

    /// Records a login at once.
    pub(crate) async fn login(&self, actor: &Actor, sqlstate: &str, reason: &str) -> io::Result<()> {
        self.metrics.login(sqlstate == "00000");
        let mut lines = Lines::new(actor);
        lines.login(sqlstate, reason);
        poll_fn(|context| self.poll_write(&mut lines, context)).await
    }

    /// Records that the server begins to serve, or does so again: whoever reads the trail sees where it could have been interrupted.
    pub(crate) async fn serving(&self) -> io::Result<()> {
        let mut lines = Lines::serving();
        poll_fn(|context| self.poll_write(&mut lines, context)).await
    }

    /// Puts a record to those that the next `poll_write` brings out.
    pub(crate) fn note(&self, lines: &mut Lines, statement: &Statement<'_>) {
        if !statement.is_suspended {
            self.metrics.statement(statement.outcome(), statement.duration);
        }
        lines.statement(statement, self.redacts_literals);
    }

    /// Writes what waits, by one write: to a file here and now, which is memory to the operating system, to stdout by its thread.
    pub(crate) fn poll_write(&self, lines: &mut Lines, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some(under_way) = &mut lines.under_way {
                let written = ready!(Pin::new(under_way).poll(context));
                lines.under_way = None;
                written.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))?;
            }
            if lines.waiting.is_empty() {
                return Poll::Ready(Ok(()));
            }
            match &self.sink {
                Sink::Stdout => {
                    lines.under_way = Some(standard_output::records(std::mem::take(&mut lines.waiting)));
                }
                Sink::File(file) => {
                    lock(file).write(&lines.waiting)?;
                    lines.clear();
                }
            }
        }
    }

    /// Brings what was written to disk; called every second and at the end.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let unsynced = match &self.sink {
            Sink::File(file) => lock(file).take_unsynced()?,
            Sink::Stdout => None,
        };
        // Outside the lock: statements go on while the disk works.
        unsynced.map_or(Ok(()), |file| file.sync_data())
    }
}

/// What to tell instead of an answer that could not be recorded.
pub(crate) fn unwritten(error: &io::Error) -> ErrorResponse {
    log::error("audit_failed", json!({ "error": error.to_string() }));
    ErrorResponse::fatal("58030", "the audit trail cannot be written, so nothing is answered")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::SocketAddr;

    use super::*;

    #[tokio::test]
    async fn files_are_rotated_and_the_newest_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let rotation = Rotation { bytes: 300, files: 2 };
        let audit = Audit::open(Some(&path), rotation, false).unwrap();
        let client = SocketAddr::from(([127, 0, 0, 1], 1));
        for number in 0..10 {
            let actor = Actor { session: number, user: "line\nbreak".to_owned(), tier: "free", client };
            audit.login(&actor, "28P01", "wrong password").await.unwrap();
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
