//! `\copy`: COPY between a table or a query and a file of this machine, read and written with the
//! rights of whoever sits here.

use std::env;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::Session;
use super::typed_data::TypedData;
use crate::error::Error;
use crate::run::{Outcome, Runner};
use crate::script::Statement;

const PIECE: usize = 64 * 1024;

#[derive(Debug, PartialEq)]
struct Copy {
    /// What the server is asked.
    sql: String,
    direction: Direction,
    /// `None` is the terminal.
    file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Direction {
    From,
    To,
}

impl Session {
    pub(super) fn copy(&mut self, line: &str) -> Result<(), Error> {
        let Some(copy) = parse(line) else {
            remark!(
                "error: expected `\\copy TABLE [(COLUMNS)] from|to FILE [OPTIONS]` or `\\copy (QUERY) to FILE [OPTIONS]`"
            );
            remark!(
                "hint: quote a file name that has spaces: 'my songs.csv'; options are those of COPY, such as `csv header`"
            );
            return Ok(());
        };
        if !self.is_agreed(&copy.sql) {
            return Ok(());
        }
        let statement = Statement { text: copy.sql, line: 1 };
        let file = match (copy.direction, copy.file) {
            (_, None) => None,
            (Direction::From, Some(path)) => match File::open(&path) {
                Ok(file) => Some((file, path)),
                Err(source) => {
                    failed("read", &path, &source);
                    return Ok(());
                }
            },
            (Direction::To, Some(path)) => match File::create(&path) {
                Ok(file) => Some((file, path)),
                Err(source) => {
                    failed("write", &path, &source);
                    return Ok(());
                }
            },
        };
        let sent =
            self.send(&format!("\\copy {line}"), &statement.text, |runner| match (copy.direction, file) {
                (Direction::From, None) => {
                    let mut data = TypedData::default();
                    runner.run(&statement, None, &mut |line| data.next(line))
                }
                (Direction::To, None) => runner.run(&statement, None, &mut |_| Ok(false)),
                (Direction::From, Some((file, path))) => copy_from(runner, &statement, file, path),
                (Direction::To, Some((file, _))) => copy_to(runner, &statement, file),
            });
        sent.map(|_| ())
    }
}

fn copy_from(
    runner: &mut Runner,
    statement: &Statement,
    mut file: File,
    path: PathBuf,
) -> Result<Outcome, Error> {
    runner.run(statement, None, &mut |piece| {
        piece.resize(PIECE, 0);
        let read = file.read(piece).map_err(|source| Error::File { path: path.clone(), source })?;
        piece.truncate(read);
        Ok(read > 0)
    })
}

fn copy_to(runner: &mut Runner, statement: &Statement, file: File) -> Result<Outcome, Error> {
    let before = runner.output.redirect(file);
    let outcome = runner.run(statement, None, &mut |_| Ok(false));
    if outcome.is_ok() {
        runner.output.restore(before);
    }
    if matches!(outcome, Ok(Outcome::Done)) && runner.output.style.shows_tags() {
        say!("{}", runner.tag);
    }
    outcome
}

/// A file of the user's that cannot be used.
pub(super) fn failed(what: &str, path: &Path, error: &io::Error) {
    remark!("error: cannot {what} {}: {error}", path.display());
    if let (io::ErrorKind::NotFound, Ok(folder)) = (error.kind(), env::current_dir()) {
        remark!("hint: names count from {}; one that has spaces may be in quotes: 'a b'", folder.display());
    }
}

/// Cuts the line at its own FROM or TO: the first one outside of parentheses and quotes.
fn parse(line: &str) -> Option<Copy> {
    let (at, length, direction) = direction(line)?;
    let (what, rest) = (line[..at].trim(), line[at + length..].trim());
    let query = what.starts_with('(');
    if what.is_empty() || (query && direction == Direction::From) {
        return None;
    }
    let (file, options) = file_name(rest)?;
    let (word, end) = match direction {
        Direction::From => ("from", "stdin"),
        Direction::To => ("to", "stdout"),
    };
    let sql = format!("copy {what} {word} {end} {options}").trim_end().to_owned();
    let terminal = file.eq_ignore_ascii_case(end) || file.eq_ignore_ascii_case(&format!("p{end}"));
    Some(Copy { sql, direction, file: (!terminal).then(|| PathBuf::from(file)) })
}

fn direction(line: &str) -> Option<(usize, usize, Direction)> {
    let mut depth = 0_usize;
    let mut quote = None;
    let mut word = None;
    for (at, character) in line.char_indices() {
        let within_word = character.is_alphanumeric() || character == '_';
        match quote {
            Some(open) if character == open => quote = None,
            Some(_) => {}
            None if matches!(character, '\'' | '"') => quote = Some(character),
            None if character == '(' => depth += 1,
            None if character == ')' => depth = depth.saturating_sub(1),
            None => {}
        }
        match (within_word, word) {
            (true, None) if quote.is_none() && depth == 0 => word = Some(at),
            (false, Some(start)) => {
                let found = &line[start..at];
                // The first word is the table, even if it is called `to`.
                if start > 0 && found.eq_ignore_ascii_case("from") {
                    return Some((start, found.len(), Direction::From));
                }
                if start > 0 && found.eq_ignore_ascii_case("to") {
                    return Some((start, found.len(), Direction::To));
                }
                word = None;
            }
            _ => {}
        }
    }
    None
}

/// The name at the front, `'in quotes'` if it has spaces, and the options after it.
pub(super) fn file_name(text: &str) -> Option<(String, &str)> {
    if let Some(quoted) = text.strip_prefix('\'') {
        let mut name = String::new();
        let mut rest = quoted;
        loop {
            let (part, after) = rest.split_once('\'')?;
            name.push_str(part);
            match after.strip_prefix('\'') {
                Some(after) => {
                    name.push('\'');
                    rest = after;
                }
                None => return Some((name, after.trim())),
            }
        }
    }
    let (name, options) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (!name.is_empty()).then(|| (name.to_owned(), options.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> (String, Option<String>) {
        let copy = parse(line).expect("it can be read");
        (copy.sql, copy.file.map(|file| file.display().to_string()))
    }

    #[test]
    fn the_file_leaves_the_statement_and_the_options_stay() {
        let file = |name: &str| Some(name.to_owned());
        assert_eq!(
            parsed("song from a.csv csv header"),
            ("copy song from stdin csv header".into(), file("a.csv"))
        );
        assert_eq!(
            parsed("(select 'a to b' from \"to\" where (x) is null) TO 'it''s mine.csv' with (format csv)"),
            (
                "copy (select 'a to b' from \"to\" where (x) is null) to stdout with (format csv)".into(),
                file("it's mine.csv")
            )
        );
        assert_eq!(
            parsed("s.song (id, title) to /tmp/x"),
            ("copy s.song (id, title) to stdout".into(), file("/tmp/x"))
        );
        assert_eq!(parsed("song to stdout"), ("copy song to stdout".into(), None));
    }

    #[test]
    fn what_names_no_file_is_refused() {
        for line in ["", "song", "song to", "from x", "(select 1) from x", "song to 'open"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
