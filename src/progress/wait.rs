//! A wait that a person sees: a line that is rewritten in place on a terminal, elsewhere one for each news.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::{Line, Progress, seconds};
use crate::secret;

/// Without a terminal, a wait says again that it still waits after this long.
const REMINDER: Duration = Duration::from_secs(30);

/// A wait that is under way.
#[derive(Debug)]
pub struct Wait<'a> {
    progress: &'a Progress,
    bar: Option<ProgressBar>,
    what: String,
    status: String,
    started: Instant,
    said: Option<Instant>,
}

impl<'a> Wait<'a> {
    pub(super) fn begin(progress: &'a Progress, what: String) -> Self {
        let bar = progress.terminal.then(|| {
            let bar = progress.bars.add(ProgressBar::new_spinner());
            bar.set_style(
                ProgressStyle::with_template("  {spinner} {msg} ({elapsed})")
                    .unwrap_or_else(|_| ProgressStyle::default_spinner()),
            );
            bar.set_message(what.clone());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Wait { progress, bar, what, status: String::new(), started: Instant::now(), said: None }
    }

    /// The service's own word for how far it is.
    pub fn status(&mut self, status: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{}: {}", self.what, secret::mask(status)));
        } else if !same_but_for_numbers(status, &self.status)
            || self.said.is_none_or(|said| said.elapsed() > REMINDER)
        {
            self.said = Some(Instant::now());
            self.progress
                .line(Line::Wait, &format!("{}: {status} ({})", self.what, seconds(self.started.elapsed())));
        }
        status.clone_into(&mut self.status);
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(record) = &self.progress.record {
            record.waited(&self.what, self.started);
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            self.progress.bars.remove(bar);
        }
    }
}

/// A countdown is not news at every tick.
fn same_but_for_numbers(one: &str, other: &str) -> bool {
    let words = |text: &str| text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    words(one) == words(other)
}
