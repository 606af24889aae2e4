//! The operational log: one JSON object per line on stdout.

use serde_json::{Map, Value};

use crate::standard_output;

/// The present moment in UTC, as every log and audit line shows it.
pub(crate) fn timestamp() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

/// Writes one line. `fields` is a JSON object; what is not an object is shown under `detail`.
pub(crate) fn line(level: &str, event: &str, fields: Value) {
    standard_output::log_line(text(level, event, fields));
}

pub(crate) fn text(level: &str, event: &str, fields: Value) -> String {
    let mut record = Map::new();
    record.insert("time".to_owned(), timestamp().into());
    record.insert("level".to_owned(), level.into());
    record.insert("event".to_owned(), event.into());
    match fields {
        Value::Object(fields) => record.extend(fields),
        Value::Null => {}
        other => {
            record.insert("detail".to_owned(), other);
        }
    }
    let mut text = Value::Object(record).to_string();
    text.push('\n');
    text
}

pub(crate) fn info(event: &str, fields: Value) {
    line("info", event, fields);
}

pub(crate) fn warning(event: &str, fields: Value) {
    line("warning", event, fields);
}

pub(crate) fn error(event: &str, fields: Value) {
    line("error", event, fields);
}
