//! A line on the terminal about a statement that takes long: on stderr, only if that is a terminal.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use terminal_size::{Width, terminal_size_of};
use unicode_width::UnicodeWidthChar;

use crate::activity::{Activity, Observer};
use crate::say;

/// A statement that is quicker needs no word about it.
const PATIENCE: Duration = Duration::from_secs(1);
/// One that takes longer is worth a second session.
const CURIOSITY: Duration = Duration::from_secs(2);

pub(crate) struct Progress {
    started: Instant,
    enabled: bool,
    /// The second that is on the screen.
    shown: Option<u64>,
    /// Who can say what the server does, until it was asked.
    observer: Option<Observer>,
    process_id: i32,
    activity: Option<Activity>,
}

impl Progress {
    /// Of a statement that the session of `process_id` runs.
    pub(crate) fn start(observer: &Observer, process_id: i32) -> Self {
        let enabled = io::stderr().is_terminal();
        Self {
            started: Instant::now(),
            enabled,
            shown: None,
            observer: enabled.then(|| observer.clone()),
            process_id,
            activity: None,
        }
    }

    /// Says how long it has taken, how many rows have come, and what the server does; once a second.
    pub(crate) fn tick(&mut self, rows: u64) {
        let elapsed = self.started.elapsed();
        let seconds = elapsed.as_secs();
        if !self.enabled || elapsed < PATIENCE || self.shown == Some(seconds) {
            return;
        }
        if elapsed >= CURIOSITY
            && let Some(observer) = self.observer.take()
        {
            self.activity = observer.observe(self.process_id);
        }
        let came = match rows {
            0 => String::new(),
            rows => {
                let rate = rows as f64 / elapsed.as_secs_f64();
                // Of a few a second the fraction matters.
                format!("{rows} rows, {rate:.*} a second, ", usize::from(rate < 10.0))
            }
        };
        let said = self.activity.as_ref().and_then(Activity::said);
        let doing = said.map_or_else(String::new, |said| format!("; {said}"));
        let line = format!("{came}{seconds} s; Ctrl-C cancels{doing}");
        say::to(io::stderr(), format_args!("\r{}\x1b[K", fitting(&line)));
        self.shown = Some(seconds);
    }

    /// Takes the line away before something else is written.
    pub(crate) fn clear(&mut self) {
        if self.shown.take().is_some() {
            say::to(io::stderr(), format_args!("\r\x1b[K"));
        }
    }
}

/// What a line of the window holds: one that wraps could not be taken away.
fn fitting(line: &str) -> &str {
    let Some((Width(columns), _)) = terminal_size_of(io::stderr()) else { return line };
    let mut room = usize::from(columns).saturating_sub(1);
    let end = line.char_indices().find(|(_, character)| {
        let width = character.width().unwrap_or(0);
        let fits = width <= room;
        room = room.saturating_sub(width);
        !fits
    });
    end.map_or(line, |(end, _)| &line[..end])
}
