//! What a person sees of a run, on stderr: steps, changes, waits, the recap. Results go to stdout.
//!
//! On a terminal a wait is a line that is rewritten in place; elsewhere every line stays as it is printed. Every line
//! passes through [`secret::mask`].

pub mod order;
mod recap;
mod transfer;
mod wait;

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use indicatif::MultiProgress;

use recap::Recap;
pub use transfer::Transfer;
pub use wait::Wait;

use crate::record::{self, How, Record};
use crate::{plan, secret};
use order::Said;

/// How lines begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogStyle {
    /// A sign and the text
    #[default]
    Plain,
    /// `[STEP]`, `[SUCCESS]`, `[WAIT]` .. before the text, for grep
    Tagged,
}

/// The kind of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    Info,
    Step,
    Success,
    Warning,
    Wait,
}

impl Line {
    fn tag(self) -> &'static str {
        match self {
            Line::Info => "[INFO]",
            Line::Step => "[STEP]",
            Line::Success => "[SUCCESS]",
            Line::Warning => "[WARNING]",
            Line::Wait => "[WAIT]",
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Line::Info => "",
            Line::Step => "==> ",
            Line::Success => "  + ",
            Line::Warning => "warning: ",
            Line::Wait => "  . ",
        }
    }

    fn style(self) -> Style {
        match self {
            Line::Info => Style::new(),
            Line::Step => Style::new().bold(),
            Line::Success => AnsiColor::Green.on_default(),
            Line::Warning => AnsiColor::Yellow.on_default(),
            Line::Wait => Style::new().dimmed(),
        }
    }
}

/// Writes a line of a result to stdout. `println!` would end the program with a panic where `| head` has read enough.
pub fn result(line: &str) {
    let line = format!("{}\n", plan::readable(&secret::mask(line)));
    if let Some(Said::Result(line)) = order::hold(Said::Result(line)) {
        write_result(&line);
    }
}

fn write_result(line: &str) {
    // Whoever closed stdout does not want the result.
    _ = std::io::stdout().lock().write_all(line.as_bytes());
}

/// What a change does to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Create,
    Update,
    Delete,
    /// A part of a thing that is there: a rule, a listener, a target, a subscription.
    Add,
    Remove,
    /// A rule that is there for a while: no change that stays, and counted as an effect.
    Open,
    Close,
}

impl Verb {
    /// What is about to be done.
    pub fn word(self) -> &'static str {
        match self {
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Delete => "delete",
            Verb::Add => "add",
            Verb::Remove => "remove",
            Verb::Open => "open",
            Verb::Close => "close",
        }
    }

    /// How lines of a change begin.
    pub fn sign(self) -> char {
        match self {
            Verb::Create | Verb::Add | Verb::Open => '+',
            Verb::Update => '~',
            Verb::Delete | Verb::Remove | Verb::Close => '-',
        }
    }
}

/// Where a run's lines go.
#[derive(Debug)]
pub struct Progress {
    style: LogStyle,
    terminal: bool,
    colour: bool,
    started: Instant,
    bars: MultiProgress,
    recap: Mutex<Recap>,
    json: bool,
    /// For the report, where one is asked for.
    record: Option<Record>,
}

impl Progress {
    pub fn new(style: LogStyle) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Progress {
            style,
            terminal,
            colour,
            started: Instant::now(),
            bars: MultiProgress::new(),
            recap: Mutex::new(Recap::default()),
            json: false,
            record: None,
        }
    }

    /// Results are for programs.
    #[must_use]
    pub fn json(self, json: bool) -> Self {
        Progress { json, ..self }
    }

    /// What happens is recorded for a report.
    #[must_use]
    pub fn recorded(self, recorded: bool) -> Self {
        let record = recorded.then(|| Record::begin(self.started));
        Progress { record, ..self }
    }

    /// What has happened, where that is recorded.
    pub fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a line can be rewritten in place.
    pub fn live(&self) -> bool {
        self.terminal
    }

    /// Whether a person can be asked.
    pub fn interactive(&self) -> bool {
        self.terminal && std::io::stdin().is_terminal()
    }

    /// Whether errors may be drawn in colour.
    pub fn colour(&self) -> bool {
        self.colour
    }

    pub fn line(&self, kind: Line, text: &str) {
        if let (Some(record), Line::Warning) = (&self.record, kind) {
            record.warning(text);
        }
        let text = plan::readable(&secret::mask(text));
        let (sign, style) = match self.style {
            LogStyle::Tagged => (format!("{} ", kind.tag()), kind.style()),
            LogStyle::Plain => (kind.sign().to_owned(), kind.style()),
        };
        let line = if self.colour {
            format!("{}{sign}{text}{}\n", style.render(), style.render_reset())
        } else {
            format!("{sign}{text}\n")
        };
        self.say(Said::Line(line));
    }

    /// A resource was changed: one line, and one more in the recap.
    pub fn changed(&self, verb: Verb, text: &str) {
        self.counts().changed(verb);
        match self.style {
            LogStyle::Tagged => self.line(Line::Success, text),
            LogStyle::Plain => {
                let style = match verb {
                    Verb::Create | Verb::Add | Verb::Open => AnsiColor::Green.on_default(),
                    Verb::Update => AnsiColor::Yellow.on_default(),
                    Verb::Delete | Verb::Remove | Verb::Close => AnsiColor::Red.on_default(),
                };
                let text = plan::readable(&secret::mask(text));
                let sign = verb.sign();
                self.say(Said::Line(if self.colour {
                    format!("  {}{sign} {text}{}\n", style.render(), style.render_reset())
                } else {
                    format!("  {sign} {text}\n")
                }));
            }
        }
    }

    /// Something is done that is no resource: SQL, a message.
    pub fn effect(&self, what: &str) {
        if let Some(record) = &self.record {
            record.effect(what);
        }
        self.counts().effects += 1;
    }

    /// Says from the first line on that nothing is done, only planned.
    pub fn plan(&self) {
        self.counts().planned = true;
    }

    /// Begins a step.
    pub fn step(&self, title: &str) -> Step<'_> {
        self.counts().begun += 1;
        self.line(Line::Step, title);
        let span = self.record.as_ref().map(|record| record.span(record::Kind::Step, title));
        let waited = order::waited();
        Step { progress: self, title: title.to_owned(), started: Instant::now(), waited, span }
    }

    /// How many steps have begun.
    pub fn steps(&self) -> usize {
        self.counts().begun
    }

    /// A plan could not be followed to its end.
    pub fn left_out(&self) {
        self.counts().left_out = true;
    }

    /// Whether a plan has changes to make, or may have.
    pub fn pending(&self) -> bool {
        let counts = self.counts();
        counts.left_out || counts.changes() > 0
    }

    /// Resources changed so far.
    pub fn changes(&self) -> u32 {
        self.counts().changes()
    }

    /// Begins to wait for `what`; the line ends when the value is dropped.
    pub fn wait(&self, what: &str) -> Wait<'_> {
        Wait::begin(self, plan::readable(&secret::mask(what)))
    }

    /// The last lines: what was changed, and the time of each step.
    pub fn recap(&self) {
        let text = self.counts().text(self.started.elapsed());
        self.line(Line::Step, &text);
    }

    fn counts(&self) -> MutexGuard<'_, Recap> {
        self.recap.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says something now, or when its part of the run has its turn.
    fn say(&self, said: Said) {
        match order::hold(said) {
            Some(Said::Line(text)) => self.print(&text),
            Some(Said::Result(line)) => write_result(&line),
            Some(Said::Step(title, took)) => self.counts().steps.push((title, took)),
            None => {}
        }
    }

    fn print(&self, text: &str) {
        let write = || {
            // Nobody is left to tell when stderr is closed.
            _ = std::io::stderr().lock().write_all(text.as_bytes());
        };
        if self.terminal { self.bars.suspend(write) } else { write() }
    }
}

/// A step that is under way.
#[derive(Debug)]
pub struct Step<'a> {
    progress: &'a Progress,
    title: String,
    started: Instant,
    /// How long its thread had waited for turns before.
    waited: Duration,
    span: Option<record::Open<'a>>,
}

impl Step<'_> {
    /// The step is over.
    pub fn end(self, how: How) {
        if let Some(span) = self.span {
            span.end(how);
        }
        // Others' time is not its own.
        let waited = order::waited().saturating_sub(self.waited);
        self.progress.say(Said::Step(self.title, self.started.elapsed().saturating_sub(waited)));
    }
}

/// A duration as people say it: `0.8 s`, `12 s`, `3 min 5 s`.
pub fn seconds(duration: Duration) -> String {
    let whole = duration.as_secs();
    match whole {
        0..=9 => format!("{:.1} s", duration.as_secs_f64()),
        10..=59 => format!("{whole} s"),
        _ => format!("{} min {} s", whole / 60, whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_say_them() {
        assert_eq!(seconds(Duration::from_millis(840)), "0.8 s");
        assert_eq!(seconds(Duration::from_secs(12)), "12 s");
        assert_eq!(seconds(Duration::from_secs(185)), "3 min 5 s");
    }
}
