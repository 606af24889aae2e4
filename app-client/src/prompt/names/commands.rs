//! Completion of the prompt's commands: their names, files after `\i` and `\o`, operations, formats.
//! What they say about SQL or tables is completed as SQL is.

use std::fs;
use std::path::Path;

use crate::prompt::{command, operation};

/// What fits after the backslash and `before`, and how much of it it replaces. `None` where SQL fits.
pub(super) fn fitting(before: &str) -> Option<(Vec<String>, usize)> {
    let Some((name, rest)) = before.split_once(char::is_whitespace) else {
        return Some((beginning(names(), before), before.len()));
    };
    let rest = rest.trim_start();
    let found = match name {
        "i" | "o" => files(rest),
        "format" => beginning(command::FORMATS.iter().map(|(name, _)| (*name).to_owned()), rest),
        "op" if !rest.contains(char::is_whitespace) => beginning(operation::names(), rest),
        "pager" | "safe" | "timing" | "t" => beginning(["off", "on"].map(str::to_owned), rest),
        _ => return None,
    };
    Some((found, rest.len()))
}

/// As the help lists them.
fn names() -> Vec<String> {
    let words = command::HELP.split(|letter: char| letter.is_whitespace() || ",;".contains(letter));
    let mut names: Vec<String> =
        words.filter_map(|word| word.strip_prefix('\\')).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

fn beginning(names: impl IntoIterator<Item = String>, typed: &str) -> Vec<String> {
    names.into_iter().filter(|name| name.starts_with(typed)).collect()
}

/// Of the folder that `typed` names so far; a folder ends with a slash. Hidden ones are for who asks.
fn files(typed: &str) -> Vec<String> {
    let (folder, start) =
        typed.rsplit_once('/').map_or(("", typed), |(_, start)| (&typed[..typed.len() - start.len()], start));
    let listed = fs::read_dir(if folder.is_empty() { Path::new(".") } else { Path::new(folder) });
    let entries = listed.into_iter().flatten().flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let slash = if entry.path().is_dir() { "/" } else { "" };
        let shown = name.starts_with(start) && (start.starts_with('.') || !name.starts_with('.'));
        shown.then(|| format!("{folder}{name}{slash}"))
    });
    let mut found: Vec<String> = entries.collect();
    found.sort();
    found
}
