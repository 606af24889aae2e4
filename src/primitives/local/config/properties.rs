//! `.properties` files as `java.util.Properties` reads them. What is not ASCII is written as `\uXXXX`, which every reader of them knows.

use std::ops::Range;

use crate::error::Error;

/// A key of a file: its name, its value, and where the value stands.
struct Property {
    key: String,
    value: String,
    place: Range<usize>,
}

pub(super) fn find(text: &str, key: &str) -> Result<Option<String>, Error> {
    // The last one counts.
    Ok(properties(text)?
        .into_iter()
        .rev()
        .find(|property| property.key == key)
        .map(|property| property.value))
}

pub(super) fn replace(text: &str, key: &str, value: &str) -> Result<String, Error> {
    let mut text = text.to_owned();
    let found = properties(&text)?.into_iter().rev().find(|property| property.key == key);
    let place = found.ok_or_else(|| Error::internal(format!("`{key}` is gone")))?.place;
    // A key that stands alone has nothing between itself and its value.
    let alone = !text[..place.start].ends_with(['=', ':', ' ', '\t', '\x0c', '\n', '\r']);
    text.replace_range(place, &format!("{}{}", if alone { "=" } else { "" }, escaped(value, false)));
    Ok(text)
}

pub(super) fn add(text: &str, key: &str, value: &str) -> String {
    with_line(text, &format!("{}={}", escaped(key, true), escaped(value, false)))
}

/// The text with a line more at its end, ended as its others are.
pub(super) fn with_line(text: &str, line: &str) -> String {
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let gap = if text.is_empty() || text.ends_with('\n') { "" } else { end };
    format!("{text}{gap}{line}{end}")
}

fn properties(text: &str) -> Result<Vec<Property>, Error> {
    let mut properties = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        at += white(&bytes[at..]);
        match bytes.get(at) {
            None => break,
            Some(b'\n' | b'\r') => {
                at += 1;
                continue;
            }
            Some(b'#' | b'!') => {
                at = line_end(bytes, at, false);
                continue;
            }
            Some(_) => {}
        }
        let end = line_end(bytes, at, true);
        let key_end = key_end(bytes, at, end);
        // `key = value`, `key value`, and lines that go on in the next one.
        let mut value = skip_white(bytes, key_end, end);
        if matches!(bytes.get(value), Some(b'=' | b':')) && value < end {
            value = skip_white(bytes, value + 1, end);
        }
        properties.push(Property {
            key: unescaped(&text[at..key_end])?,
            value: unescaped(&text[value..end])?,
            place: value..end,
        });
        at = end;
    }
    Ok(properties)
}

fn white(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\x0c')).count()
}

/// Behind white space, and behind line ends that a backslash takes away.
fn skip_white(bytes: &[u8], mut at: usize, end: usize) -> usize {
    loop {
        at += white(&bytes[at..end]);
        match &bytes[at..end] {
            [b'\\', b'\r', b'\n', ..] => at += 3,
            [b'\\', b'\n' | b'\r', ..] => at += 2,
            _ => return at,
        }
    }
}

/// Where a line ends; a logical one goes on behind a line end that a backslash takes away.
fn line_end(bytes: &[u8], mut at: usize, logical: bool) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if logical => {
                at += if bytes[at + 1..].starts_with(b"\r\n") { 3 } else { 2 };
            }
            b'\n' | b'\r' => return at,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn key_end(bytes: &[u8], mut at: usize, end: usize) -> usize {
    while at < end {
        match bytes[at] {
            b'\\' => at += 2,
            b'=' | b':' | b' ' | b'\t' | b'\x0c' => return at,
            _ => at += 1,
        }
    }
    end
}

fn unescaped(raw: &str) -> Result<String, Error> {
    let mut units: Vec<u16> = Vec::new();
    let mut characters = raw.chars().peekable();
    let push = |units: &mut Vec<u16>, character: char| {
        units.extend(character.encode_utf16(&mut [0; 2]).iter());
    };
    while let Some(character) = characters.next() {
        if character != '\\' {
            push(&mut units, character);
            continue;
        }
        match characters.next() {
            Some('n') => push(&mut units, '\n'),
            Some('t') => push(&mut units, '\t'),
            Some('r') => push(&mut units, '\r'),
            Some('f') => push(&mut units, '\x0c'),
            Some('u') => {
                let digits: String = characters.by_ref().take(4).collect();
                let unit = u16::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4);
                units.push(unit.ok_or_else(|| {
                    Error::invalid(format!(
                        "`\\u{digits}` is no character: expected are four hexadecimal digits"
                    ))
                })?);
            }
            // A line that goes on: what indents it does not belong to it.
            Some(end @ ('\n' | '\r')) => {
                if end == '\r' {
                    characters.next_if_eq(&'\n');
                }
                while characters.next_if(|next| matches!(next, ' ' | '\t' | '\x0c')).is_some() {}
            }
            Some(other) => push(&mut units, other),
            None => {}
        }
    }
    String::from_utf16(&units)
        .map_err(|_| Error::invalid(format!("`{raw}` has half of a character that `\\uXXXX` writes in two")))
}

fn escaped(text: &str, key: bool) -> String {
    let mut escaped = String::new();
    for (at, character) in text.chars().enumerate() {
        match character {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            '\x0c' => escaped.push_str("\\f"),
            ' ' if key || at == 0 => escaped.push_str("\\ "),
            '=' | ':' | '#' | '!' if key || at == 0 => escaped.extend(['\\', character]),
            ' '..='~' => escaped.push(character),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    escaped += &format!("\\u{unit:04X}");
                }
            }
        }
    }
    escaped
}
