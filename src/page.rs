//! The page of a run, for `ops run --report`: when each step ran, what was changed, what failed and where, and what exists now.
//!
//! One HTML file without scripts or anything from outside. The template escapes every value; before that each text passes through
//! [`secret::mask`], in one place.

mod resources;
mod timeline;

use std::path::Path;
use std::time::Duration;

use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Serialize;
use serde_json::Value;

use crate::error::Error;
use crate::picture::Picture;
use crate::progress::seconds;
use crate::record::{Note, Record};
use crate::state::write_atomically;
use crate::{plan, secret};

const TEMPLATE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");

/// So many effects or warnings are listed; a loop may have thousands.
const NOTES: usize = 200;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    Done,
    Planned,
    Failed,
    Refused,
    Interrupted,
}

/// A thing of the stack that is there now.
#[derive(Debug, Clone)]
pub struct Existing {
    /// How a playbook names it: `ec2:server`.
    pub key: String,
    pub title: String,
    pub status: String,
}

/// What is there now, and its picture.
#[derive(Debug, Clone)]
pub struct Existence {
    pub things: Vec<Existing>,
    pub picture: Picture,
}

/// What a page tells besides the record.
#[derive(Debug)]
pub struct Told<'a> {
    pub playbook: &'a str,
    pub ending: Ending,
    /// Names and values for the head of the page, such as the account.
    pub facts: Vec<(&'static str, String)>,
    /// Each failure as it is drawn on the screen.
    pub errors: Vec<String>,
    /// The playbook's result.
    pub output: Option<Value>,
    /// `None` where the run has no stack, else what is there or why that is not known.
    pub existence: Option<Result<Existence, Error>>,
}

/// What the template is filled with.
#[derive(Serialize)]
struct Page<'a> {
    playbook: &'a str,
    ending: Ending,
    facts: Vec<Pair>,
    ticks: Vec<timeline::Tick>,
    rows: Vec<timeline::Row>,
    left_out: usize,
    resources: Vec<resources::Resource>,
    counts: Vec<resources::Count>,
    effects: Notes,
    warnings: Notes,
    errors: Vec<String>,
    output: Vec<Pair>,
    has_stack: bool,
    missing: Option<String>,
}

#[derive(Serialize)]
struct Pair {
    name: String,
    value: String,
}

#[derive(Serialize)]
struct Notes {
    notes: Vec<Pair>,
    left_out: usize,
}

impl Notes {
    fn of(notes: &[Note]) -> Self {
        let pair = |note: &Note| Pair { name: seconds(note.at), value: note.text.clone() };
        Notes {
            notes: notes.iter().take(NOTES).map(pair).collect(),
            left_out: notes.len().saturating_sub(NOTES),
        }
    }
}

/// Fails where a page cannot be written to `path`, before a run that would then have none.
pub fn check(path: &Path) -> Result<(), Error> {
    if !path.extension().is_some_and(|ending| ending == "html" || ending == "htm") {
        return Err(Error::usage(format!("the report cannot be written to {}", path.display()))
            .help("it is a page for browsers: name a file that ends in .html"));
    }
    let tried = if path.is_dir() {
        Err(std::io::ErrorKind::IsADirectory.into())
    } else {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        tempfile::tempfile_in(folder.unwrap_or(Path::new("."))).map(drop)
    };
    tried.map_err(|source| {
        Error::usage(format!("the report cannot be written to {}: {source}", path.display()))
            .help("nothing was run: name a file in a folder that is there and that you may write to")
    })
}

/// Writes the page as a whole or not at all, for its owner alone.
pub fn write(path: &Path, record: &Record, told: &Told<'_>) -> Result<(), Error> {
    let text = render(record, told)?;
    write_atomically(path, text.as_bytes())
        .map_err(|source| Error::io(format_args!("write the report {}", path.display()), &source))
}

fn render(record: &Record, told: &Told<'_>) -> Result<String, Error> {
    let contents = record.contents();
    let took = record.elapsed();
    let (things, svg, missing) = match &told.existence {
        Some(Ok(existence)) => (&existence.things[..], existence.picture.svg(), None),
        Some(Err(error)) => (&[][..], String::new(), Some(error.title())),
        None => (&[][..], String::new(), None),
    };
    let planned = told.ending == Ending::Planned;
    let (rows, left_out) = timeline::rows(&contents.spans, took);
    let resources = resources::resources(&contents.changes, things, planned);
    let page = Page {
        playbook: told.playbook,
        ending: told.ending,
        facts: facts(record, told, took),
        ticks: timeline::ticks(took),
        rows,
        left_out,
        counts: resources::counts(&resources),
        resources,
        effects: Notes::of(&contents.effects),
        warnings: Notes::of(&contents.warnings),
        errors: told.errors.clone(),
        output: told.output.as_ref().map(pairs).unwrap_or_default(),
        has_stack: told.existence.is_some(),
        missing,
    };
    let mut page = serde_json::to_value(page).map_err(|error| Error::internal(error.to_string()))?;
    mask(&mut page);
    fill(page, svg).map_err(|error| Error::internal(format!("the report's template: {error:#}")))
}

/// Fills the template. The style and the picture are no values: they are put in as they are.
fn fill(page: Value, svg: String) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_template("page", TEMPLATE)?;
    let (style, svg) =
        (minijinja::Value::from_safe_string(STYLE.to_owned()), minijinja::Value::from_safe_string(svg));
    let page = minijinja::value::Serde(page);
    environment.get_template("page")?.render(minijinja::context! { page, style, svg })
}

fn facts(record: &Record, told: &Told<'_>, took: Duration) -> Vec<Pair> {
    let began = record.began.strftime("%Y-%m-%d %H:%M:%S %Z").to_string();
    let own = [("began", began), ("took", seconds(took)), ("ops", env!("CARGO_PKG_VERSION").to_owned())];
    let all = told.facts.iter().cloned().chain(own);
    all.map(|(name, value)| Pair { name: name.to_owned(), value }).collect()
}

/// A result, one line for each of its keys.
fn pairs(output: &Value) -> Vec<Pair> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(_) | Value::Object(_) => {
            serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
        }
        other => other.to_string(),
    };
    match output {
        Value::Object(map) => {
            map.iter().map(|(name, value)| Pair { name: name.clone(), value: text(value) }).collect()
        }
        other => vec![Pair { name: String::new(), value: text(other) }],
    }
}

/// Makes every text fit to be shown.
fn mask(value: &mut Value) {
    match value {
        Value::String(text) => {
            let shown = plan::readable(&secret::mask(text));
            let printable = |c: char| {
                if c.is_control() && !matches!(c, '\n' | '\t') { char::REPLACEMENT_CHARACTER } else { c }
            };
            *text = shown.chars().map(printable).collect();
        }
        Value::Array(values) => values.iter_mut().for_each(mask),
        Value::Object(values) => values.values_mut().for_each(mask),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
