//! What the server does while a statement takes long, asked over a second session: computes, reads
//! files, waits for somebody's lock.
//!
//! Only a PostgreSQL that is reached directly is asked. A pooler, and the query server is one, runs
//! the statement in a session that is not ours to look at; then there is nothing to say.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use crate::connection::Connection;
use crate::output::cell;
use crate::password::Passwords;
use crate::target::Target;

/// Between two questions: what stands on the screen is a second old at most.
const PAUSE: Duration = Duration::from_secs(1);

/// Can look at what another session of the same login does.
#[derive(Clone)]
pub(crate) struct Observer {
    target: Arc<Target>,
    passwords: Passwords,
    /// The server has shown that it cannot say.
    silent: Arc<AtomicBool>,
}

/// A look at one statement; it ends when this is dropped.
pub(crate) struct Activity {
    said: Arc<Mutex<Option<String>>>,
    over: Arc<AtomicBool>,
    thread: Thread,
}

impl Observer {
    /// Logs in as `passwords` did for the session that runs the statements.
    pub(crate) fn new(target: Arc<Target>, passwords: &Passwords) -> Self {
        Self { target, passwords: passwords.without_asking(), silent: Arc::default() }
    }

    /// Begins to look at the session of `process_id`. `None` if there is nothing to be learnt.
    pub(crate) fn observe(&self, process_id: i32) -> Option<Activity> {
        if self.silent.load(Ordering::Relaxed) {
            return None;
        }
        let (said, over) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (observer, sentence, stop) = (self.clone(), Arc::clone(&said), Arc::clone(&over));
        let thread = thread::spawn(move || observer.look(process_id, &sentence, &stop)).thread().clone();
        Some(Activity { said, over, thread })
    }

    fn look(mut self, process_id: i32, said: &Mutex<Option<String>>, over: &AtomicBool) {
        // A server that is full or drains has a reason, and the user did not ask for this session.
        let Ok(mut connection) = Connection::open(&self.target, &mut self.passwords) else { return };
        if !is_direct(&mut connection) {
            self.silent.store(true, Ordering::Relaxed);
            return connection.close();
        }
        let question = question(process_id);
        while !over.load(Ordering::Relaxed) {
            let Ok(answer) = connection.ask(&question) else { return };
            let sentence = answer.rows.into_iter().next().and_then(|row| describe(&row));
            *said.lock().unwrap_or_else(PoisonError::into_inner) = sentence;
            thread::park_timeout(PAUSE);
        }
        connection.close();
    }
}

impl Activity {
    /// `the server waits for a lock of anna (process 4711)`.
    pub(crate) fn said(&self) -> Option<String> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }
}

/// Whether the process of a session's cancel key is the one that answers its statements.
fn is_direct(connection: &mut Connection) -> bool {
    let own = connection.process_id().to_string();
    let answer = connection.ask("select pg_catalog.pg_backend_pid()").unwrap_or_default();
    answer.rows.first().and_then(|row| row.first()).is_some_and(|process| *process == Some(own))
}

/// State, what it waits for, whose locks, and how far a long command is.
fn question(process_id: i32) -> String {
    let commands = [
        ("create_index", "blocks_done", "blocks_total"),
        ("vacuum", "heap_blks_scanned", "heap_blks_total"),
        ("analyze", "sample_blks_scanned", "sample_blks_total"),
        ("cluster", "heap_blks_scanned", "heap_blks_total"),
    ];
    let progress = commands.map(|(command, done, total)| {
        format!(
            "select phase || coalesce(' ' || 100 * {done} / nullif({total}, 0) || ' %', '') \
             from pg_catalog.pg_stat_progress_{command} where pid = a.pid"
        )
    });
    format!(
        "select a.state, a.wait_event_type, a.wait_event, \
         case when a.wait_event_type = 'Lock' then (select string_agg(b.usename || ' (process ' || b.pid || ')', ', ') \
         from pg_catalog.pg_stat_activity b where b.pid = any (pg_catalog.pg_blocking_pids(a.pid))) end, \
         ({} limit 1) from pg_catalog.pg_stat_activity a where a.pid = {process_id}",
        progress.join(" union all ")
    )
}

fn describe(row: &[Option<String>]) -> Option<String> {
    let [state, kind, event, holders, progress] = row else { return None };
    if state.as_deref() != Some("active") {
        return None;
    }
    let event = event.as_deref().unwrap_or_default();
    let doing = match (kind.as_deref(), holders) {
        (None, _) => "computes".to_owned(),
        (Some("Lock"), Some(holders)) => format!("waits for a lock of {holders}"),
        (Some("Lock"), None) => format!("waits for a lock ({event})"),
        (Some("IO"), _) => format!("reads or writes files ({event})"),
        (Some("Client"), _) => "waits for this program".to_owned(),
        (Some("IPC"), _) => format!("waits for another process of its own ({event})"),
        (Some("Timeout"), _) => format!("pauses ({event})"),
        (Some(kind), _) => format!("waits ({kind} {event})"),
    };
    let said = match progress {
        Some(progress) => format!("the server {doing}; {progress}"),
        None => format!("the server {doing}"),
    };
    // The words are the server's: they may not steer the terminal.
    Some(cell::visible(&said).into_owned())
}
