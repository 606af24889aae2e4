//! TOML: a value is replaced where it stands in the text; a new key is put by an editor that keeps the rest.

use std::ops::Range;

use toml_edit::{Document, DocumentMut, Item, Key, Table, Value};

use super::Scalar;
use crate::error::Error;

pub(super) fn find(text: &str, key: &str) -> Result<Option<Scalar>, Error> {
    Ok(locate(text, key)?.map(|(scalar, _)| scalar))
}

pub(super) fn replace(text: &str, key: &str, value: &Scalar) -> Result<String, Error> {
    let (_, place) = locate(text, key)?.ok_or_else(|| Error::internal(format!("`{key}` is gone")))?;
    let mut text = text.to_owned();
    text.replace_range(place, written(value).to_string().trim());
    Ok(text)
}

pub(super) fn add(text: &str, key: &str, value: &Scalar) -> Result<String, Error> {
    let mut document: DocumentMut = text.parse().map_err(|error| unreadable(&error))?;
    let path = path(key)?;
    let Some((last, tables)) = path.split_last() else { return Err(no_key(key)) };
    let mut table: &mut Table = document.as_table_mut();
    for part in tables {
        let item = table.entry(part.get()).or_insert_with(|| {
            let mut table = Table::new();
            table.set_implicit(false);
            Item::Table(table)
        });
        table = item.as_table_mut().ok_or_else(|| {
            Error::invalid(format!("`{}` is no table, so `{key}` cannot be put into it", part.get())).key(key)
        })?;
    }
    table.insert(last.get(), Item::Value(written(value)));
    let edited = document.to_string();
    // The editor knows one line ending only.
    Ok(if text.contains("\r\n") { edited.replace("\r\n", "\n").replace('\n', "\r\n") } else { edited })
}

fn path(key: &str) -> Result<Vec<Key>, Error> {
    Key::parse(key).map_err(|_| no_key(key))
}

fn no_key(key: &str) -> Error {
    Error::invalid(format!("`{key}` is no key of a TOML file")).key(key).help("write it as `table.key`")
}

fn unreadable(error: &toml_edit::TomlError) -> Error {
    Error::invalid(format!("this is no TOML: {}", error.to_string().trim_end()))
}

/// The value of a key, and where it stands.
fn locate(text: &str, key: &str) -> Result<Option<(Scalar, Range<usize>)>, Error> {
    let document = Document::parse(text).map_err(|error| unreadable(&error))?;
    let mut item: &Item = document.as_item();
    for part in path(key)? {
        let found = item.as_table_like().and_then(|table| table.get(part.get()));
        let Some(found) = found else { return Ok(None) };
        item = found;
    }
    let scalar = match item.as_value() {
        Some(Value::String(text)) => Scalar::Text(text.value().clone()),
        Some(Value::Integer(number)) => Scalar::Int(*number.value()),
        Some(Value::Float(number)) => Scalar::Float(*number.value()),
        Some(Value::Boolean(value)) => Scalar::Bool(*value.value()),
        _ => {
            return Err(
                Error::invalid(format!("`{key}` is {}, and not one value", item.type_name())).key(key)
            );
        }
    };
    let place = item.span().ok_or_else(|| Error::internal(format!("`{key}` has no place in its file")))?;
    Ok(Some((scalar, place)))
}

fn written(value: &Scalar) -> Value {
    match value {
        Scalar::Text(text) => Value::from(text.as_str()),
        Scalar::Int(number) => Value::from(*number),
        Scalar::Float(number) => Value::from(*number),
        Scalar::Bool(value) => Value::from(*value),
    }
}
