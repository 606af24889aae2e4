//! The line that says that a long statement is still running: on stderr, and only on a terminal.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

/// A statement that is quicker needs no word about it.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) struct Progress {
    started: Instant,
    enabled: bool,
    /// The second that is on the screen.
    shown: Option<u64>,
}

impl Progress {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), enabled: io::stderr().is_terminal(), shown: None }
    }

    /// Says how long it has taken, and how many rows have come; once a second.
    pub(crate) fn tick(&mut self, rows: u64) {
        let elapsed = self.started.elapsed();
        let seconds = elapsed.as_secs();
        if self.enabled && elapsed >= PATIENCE && self.shown != Some(seconds) {
            let came = if rows > 0 {
                format!("{rows} rows, {} a second, ", rows / seconds.max(1))
            } else {
                String::new()
            };
            eprint!("\r{came}{seconds} s; Ctrl-C cancels\x1b[K");
            self.shown = Some(seconds);
        }
    }

    /// Takes the line away before something else is written.
    pub(crate) fn clear(&mut self) {
        if self.shown.take().is_some() {
            eprint!("\r\x1b[K");
        }
    }
}
