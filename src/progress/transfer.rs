//! A file on its way: a bar on a terminal, elsewhere a line now and then.

use indicatif::{ProgressBar, ProgressStyle};

use super::{Progress, Wait};
use crate::secret;

const MIB: u64 = 1024 * 1024;

/// How far a file is. The bar ends when the value is dropped.
pub struct Transfer<'a> {
    progress: &'a Progress,
    shown: Shown<'a>,
}

enum Shown<'a> {
    Bar(ProgressBar),
    Lines(Wait<'a>),
}

impl Progress {
    /// Begins to move a file, which `what` names.
    pub fn transfer(&self, what: &str) -> Transfer<'_> {
        if !self.terminal {
            return Transfer { progress: self, shown: Shown::Lines(self.wait(what)) };
        }
        let bar = self.bars.add(ProgressBar::new(0));
        let style = ProgressStyle::with_template("  {msg} {bar:30} {bytes} of {total_bytes} ({eta})");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(secret::mask(what));
        Transfer { progress: self, shown: Shown::Bar(bar) }
    }
}

impl Transfer<'_> {
    /// `done` of `all` bytes have arrived.
    pub fn reached(&mut self, done: u64, all: u64) {
        match &mut self.shown {
            Shown::Bar(bar) => {
                bar.set_length(all);
                bar.set_position(done);
            }
            // A small file is there before anybody has read the line.
            Shown::Lines(_) if all < 10 * MIB => {}
            Shown::Lines(wait) => wait.status(&format!("{} of {} MiB", done / MIB, all / MIB)),
        }
    }
}

impl Drop for Transfer<'_> {
    fn drop(&mut self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
            self.progress.bars.remove(bar);
        }
    }
}
