//! `.env` files as a shell reads them with `set -a; . ./.env`: words are quoted as in POSIX (Shell Command Language, 2.2).
//!
//! What a shell would compute (`$HOME`, `` `date` ``) is taken as it is written. `docker run --env-file` reads no quotes at all.

use std::ops::Range;

use crate::error::Error;

/// A variable of a file: its name, its value, and where the value stands.
pub(in crate::primitives::local) struct Variable {
    pub(in crate::primitives::local) name: String,
    pub(in crate::primitives::local) value: String,
    place: Range<usize>,
}

/// The variables of a file, in its order.
pub(in crate::primitives::local) fn variables(text: &str) -> Result<Vec<Variable>, Error> {
    let mut variables = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let line_end = text[start..].find('\n').map_or(text.len(), |end| start + end);
        let line = &text[start..line_end];
        let assignment = line.trim_start();
        if assignment.trim_end().is_empty() || assignment.starts_with('#') {
            start = line_end + 1;
            continue;
        }
        let mut at = start + (line.len() - assignment.len());
        if let Some(rest) = assignment.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])) {
            at += assignment.len() - rest.trim_start().len();
        }
        let number = text[..start].matches('\n').count() + 1;
        let name_end = text[at..line_end].find('=').map(|end| at + end);
        let Some(name_end) = name_end.filter(|end| is_name(&text[at..*end])) else {
            return Err(Error::invalid(format!("line {number} is neither `NAME=value` nor a comment")));
        };
        let (value, end) = word(text, name_end + 1)
            .ok_or_else(|| Error::invalid(format!("line {number} opens a quote that is never closed")))?;
        variables.push(Variable { name: text[at..name_end].to_owned(), value, place: name_end + 1..end });
        start = text[end..].find('\n').map_or(text.len(), |next| end + next + 1);
    }
    Ok(variables)
}

pub(super) fn find(text: &str, key: &str) -> Result<Option<String>, Error> {
    // The last one counts, as in a shell.
    Ok(variables(text)?
        .into_iter()
        .rev()
        .find(|variable| variable.name == key)
        .map(|variable| variable.value))
}

pub(super) fn replace(text: &str, key: &str, value: &str) -> Result<String, Error> {
    let mut text = text.to_owned();
    let found = variables(&text)?.into_iter().rev().find(|variable| variable.name == key);
    let place = found.ok_or_else(|| Error::internal(format!("`{key}` is gone")))?.place;
    text.replace_range(place, &quoted(key, value)?);
    Ok(text)
}

pub(super) fn add(text: &str, key: &str, value: &str) -> Result<String, Error> {
    if !is_name(key) {
        return Err(Error::invalid(format!("`{key}` cannot be the name of a variable"))
            .key(key)
            .help("use letters, digits and `_`, not beginning with a digit"));
    }
    Ok(super::properties::with_line(text, &format!("{key}={}", quoted(key, value)?)))
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The value that begins at `start`, and where it ends. `None` where a quote is not closed.
fn word(text: &str, start: usize) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut characters = text[start..].char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '\n' | ' ' | '\t' => return Some((value, start + at)),
            '\r' if characters.peek().is_none_or(|(_, next)| *next == '\n') => {
                return Some((value, start + at));
            }
            '\'' => loop {
                match characters.next()?.1 {
                    '\'' => break,
                    inside => value.push(inside),
                }
            },
            '"' => loop {
                match characters.next()?.1 {
                    '"' => break,
                    '\\' => match characters.next()?.1 {
                        escaped @ ('$' | '`' | '"' | '\\') => value.push(escaped),
                        '\n' => {}
                        other => value.extend(['\\', other]),
                    },
                    inside => value.push(inside),
                }
            },
            '\\' => match characters.next()?.1 {
                '\n' => {}
                escaped => value.push(escaped),
            },
            plain => value.push(plain),
        }
    }
    Some((value, text.len()))
}

/// A value so that a shell reads it back as it is.
fn quoted(key: &str, value: &str) -> Result<String, Error> {
    if value.contains('\0') {
        return Err(Error::invalid(format!(
            "the value of `{key}` has a zero character, which no variable can hold"
        ))
        .key(key));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./:@%+,-=".contains(c);
    Ok(if value.chars().all(plain) {
        value.to_owned()
    } else if !value.contains('\'') {
        format!("'{value}'")
    } else {
        let mut quoted = String::from('"');
        for character in value.chars() {
            if matches!(character, '$' | '`' | '"' | '\\') {
                quoted.push('\\');
            }
            quoted.push(character);
        }
        quoted + "\""
    })
}
