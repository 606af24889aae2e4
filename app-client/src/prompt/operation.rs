//! `\op NAME args`: the named operations of the platform, one query a file in `sql/operations`.
//! The arguments are sent apart from the query, so what they contain is never SQL.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

#[derive(Debug)]
pub(super) struct Operation {
    pub(super) sql: String,
    pub(super) arguments: Vec<String>,
}

#[derive(Debug, Error)]
pub(super) enum Error {
    #[error("no folder sql/operations here or in a folder above")]
    NoFolder,
    #[error("no operation `{name}`; there are:\n{known}")]
    Unknown { name: String, known: String },
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("`{name}` takes {expected} argument{}, not {given}: {purpose}", if *expected == 1 { "" } else { "s" })]
    Arguments { name: String, expected: usize, given: usize, purpose: String },
    #[error("a quote in the arguments is not closed")]
    Quote,
}

/// Finds the operation by its number or its name; without a name, lists them as an error would.
pub(super) fn find(line: &str) -> Result<Operation, Error> {
    let mut words = words(line)?.into_iter();
    let wanted = words.next().unwrap_or_default();
    let arguments: Vec<String> = words.collect();
    let read = |path: &Path| {
        fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })
    };
    let mut known = String::new();
    for path in &files()? {
        let (stem, number, name) = named(path);
        let sql = read(path)?;
        let purpose = sql.lines().next().unwrap_or_default().trim_start_matches("--").trim().to_owned();
        if wanted == number || wanted == name || wanted == stem {
            let expected = parameters(&sql);
            if expected != arguments.len() {
                return Err(Error::Arguments { name: wanted, expected, given: arguments.len(), purpose });
            }
            return Ok(Operation { sql, arguments });
        }
        known.push_str(&format!("  {number:>2} {name:<24} {purpose}\n"));
    }
    Err(Error::Unknown { name: wanted, known: known.trim_end().to_owned() })
}

/// For the completion, which has nobody to tell of an error.
pub(super) fn names() -> Vec<String> {
    files().unwrap_or_default().iter().map(|path| named(path).2).collect()
}

/// `4_find_content.sql`: the whole, its number, its name.
fn named(path: &Path) -> (String, String, String) {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let (number, name) = stem.split_once('_').unwrap_or(("", &stem));
    (stem.to_string(), number.to_owned(), name.to_owned())
}

fn files() -> Result<Vec<PathBuf>, Error> {
    let folder = folder()?;
    let entries = fs::read_dir(&folder).map_err(|source| Error::Read { path: folder.clone(), source })?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .collect();
    files.sort();
    Ok(files)
}

fn folder() -> Result<PathBuf, Error> {
    let here = env::current_dir().map_err(|_| Error::NoFolder)?;
    here.ancestors()
        .map(|folder| folder.join("sql/operations"))
        .find(|path| path.is_dir())
        .ok_or(Error::NoFolder)
}

/// The highest `$n` of the query.
fn parameters(sql: &str) -> usize {
    let numbers = sql.split('$').skip(1).filter_map(|rest| {
        let digits = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
        rest[..digits].parse().ok()
    });
    numbers.max().unwrap_or(0)
}

/// Words apart by spaces; `'one word'` or `"one word"` keeps its spaces.
fn words(line: &str) -> Result<Vec<String>, Error> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, after) = match first {
            '\'' | '"' => rest[1..].split_once(first).ok_or(Error::Quote)?,
            _ => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_keep_their_spaces_in_quotes() {
        assert_eq!(words("4 'Blue Tiles'  \"it's\" x").expect("words"), ["4", "Blue Tiles", "it's", "x"]);
        assert!(words("4 'open").is_err());
        assert_eq!(parameters("select $1, $12, $2"), 12);
    }
}
