//! What happened in a run, and when: its steps and what ran side by side in them, its waits, changes, effects and warnings. Kept
//! only where a report is asked for, since a run may have no end.

use std::cell::Cell;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Zoned;

use crate::progress::Verb;

/// What took its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Step,
    /// One of those that `parallel` runs side by side.
    Item,
    /// Something was not there yet.
    Wait,
}

/// How something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Well,
    Failed,
    /// By Ctrl-C.
    Stopped,
}

/// Something that took its time. Moments count from the beginning of the run.
#[derive(Debug, Clone)]
pub struct Span {
    /// The span that it was in.
    pub parent: Option<usize>,
    pub kind: Kind,
    pub title: String,
    pub began: Duration,
    /// `None` while it lasts.
    pub ended: Option<Duration>,
    pub how: How,
}

/// A change of a resource that was made, planned or tried.
#[derive(Debug, Clone)]
pub struct Change {
    pub verb: Verb,
    pub service: String,
    pub operation: String,
    pub name: String,
    /// What the change was about, such as the keys that differed.
    pub detail: String,
    pub at: Duration,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

/// Something that was said or done at a moment.
#[derive(Debug, Clone)]
pub struct Note {
    pub at: Duration,
    pub text: String,
}

/// All that was recorded.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    pub spans: Vec<Span>,
    pub changes: Vec<Change>,
    pub effects: Vec<Note>,
    pub warnings: Vec<Note>,
}

/// The record of one run.
#[derive(Debug)]
pub struct Record {
    /// When the run began, by the clock on the wall.
    pub began: Zoned,
    started: Instant,
    contents: Mutex<Contents>,
}

thread_local! {
    /// The innermost span of this thread.
    static CURRENT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The innermost span of this thread.
pub fn current() -> Option<usize> {
    CURRENT.get()
}

/// Runs something as a part of a span that another thread has begun.
pub fn within<T>(span: Option<usize>, run: impl FnOnce() -> T) -> T {
    let before = CURRENT.replace(span);
    let value = run();
    CURRENT.set(before);
    value
}

impl Record {
    /// Begins the record of a run that began at `started`, a moment ago.
    pub fn begin(started: Instant) -> Self {
        Record { began: Zoned::now(), started, contents: Mutex::new(Contents::default()) }
    }

    /// How long the run has taken so far.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub fn contents(&self) -> Contents {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a span of this thread; it ends when the value is dropped.
    pub fn span(&self, kind: Kind, title: &str) -> Open<'_> {
        let mut contents = self.lock();
        let number = contents.spans.len();
        contents.spans.push(Span {
            parent: current(),
            kind,
            title: title.to_owned(),
            began: self.elapsed(),
            ended: None,
            how: How::Well,
        });
        Open { record: self, number, before: CURRENT.replace(Some(number)) }
    }

    /// Something was waited for, from `began` until now.
    pub fn waited(&self, what: &str, began: Instant) {
        let span = Span {
            parent: current(),
            kind: Kind::Wait,
            title: what.to_owned(),
            began: began.saturating_duration_since(self.started),
            ended: Some(self.elapsed()),
            how: How::Well,
        };
        self.lock().spans.push(span);
    }

    /// Something was changed; where it was not, `failure` says why.
    pub fn changed(&self, verb: Verb, of: [&str; 3], detail: &str, failure: Option<String>) {
        let [service, operation, name] = of.map(str::to_owned);
        let detail = detail.to_owned();
        let at = self.elapsed();
        self.lock().changes.push(Change { verb, service, operation, name, detail, at, failure });
    }

    pub fn effect(&self, text: &str) {
        let note = Note { at: self.elapsed(), text: text.to_owned() };
        self.lock().effects.push(note);
    }

    pub fn warning(&self, text: &str) {
        let note = Note { at: self.elapsed(), text: text.to_owned() };
        self.lock().warnings.push(note);
    }
}

/// A span that lasts.
#[derive(Debug)]
pub struct Open<'a> {
    record: &'a Record,
    number: usize,
    before: Option<usize>,
}

impl Open<'_> {
    /// Ends it otherwise than well.
    pub fn end(self, how: How) {
        if let Some(span) = self.record.lock().spans.get_mut(self.number) {
            span.how = how;
        }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        CURRENT.set(self.before);
        let ended = self.record.elapsed();
        if let Some(span) = self.record.lock().spans.get_mut(self.number) {
            span.ended = Some(ended);
        }
    }
}
