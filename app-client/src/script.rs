//! SQL text cut into statements as psql cuts it: at semicolons outside of quotes, comments,
//! parentheses and function bodies; variables (`:name`, `:'name'`, `:"name"`) filled in on the way.

mod splitter;
mod token;

use std::io::{self, BufRead};

use thiserror::Error;

pub(crate) use splitter::{Splitter, Statement, Variables, is_word_character};
pub(crate) use token::{Kind, Token, Word, plain, tokens, words};

#[derive(Debug, Error)]
pub(crate) enum Error {
    #[error("cannot read {name}: {source}")]
    Read { name: String, source: io::Error },
    #[error("{name}:{line}: the text is not UTF-8")]
    Encoding { name: String, line: usize },
    #[error("{name}:{line}: `\\{command}` is a command of the prompt, not of a script")]
    Backslash { name: String, line: usize, command: String },
    #[error("{name}:{line}: the statement that begins here is not finished: {reason}")]
    Unfinished { name: String, line: usize, reason: &'static str },
}

/// A script that is read as it runs, so its size does not matter.
pub(crate) struct Script<R> {
    input: R,
    name: String,
    splitter: Splitter,
    line: usize,
}

impl<R: BufRead> Script<R> {
    pub(crate) fn new(input: R, name: String, variables: Variables) -> Self {
        Self { input, name, splitter: Splitter::new(variables), line: 0 }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The next statement. The last one needs no semicolon.
    pub(crate) fn next(&mut self) -> Result<Option<Statement>, Error> {
        loop {
            if let Some(statement) = self.splitter.next() {
                return Ok(Some(statement));
            }
            if let Some(line) = self.splitter.backslash() {
                let command = line.split_whitespace().next().unwrap_or_default().to_owned();
                return Err(Error::Backslash { name: self.name.clone(), line: self.line, command });
            }
            let mut line = Vec::new();
            if !self.read_line(&mut line)? {
                return match self.splitter.open_construct() {
                    Some((line, reason)) => Err(Error::Unfinished { name: self.name.clone(), line, reason }),
                    None => Ok(self.splitter.rest()),
                };
            }
            let line = String::from_utf8(line)
                .map_err(|_| Error::Encoding { name: self.name.clone(), line: self.line })?;
            // A byte order mark is an editor's habit, not SQL.
            let text = if self.line == 1 { line.trim_start_matches('\u{feff}') } else { &line };
            self.splitter.push(text, self.line);
        }
    }

    /// A line of the data that follows COPY FROM STDIN; false at `\.` or the end of the script.
    pub(crate) fn copy_line(&mut self, line: &mut Vec<u8>) -> Result<bool, Error> {
        line.clear();
        let more = self.read_line(line)?;
        Ok(more && !matches!(line.as_slice(), b"\\." | b"\\.\n" | b"\\.\r\n"))
    }

    fn read_line(&mut self, line: &mut Vec<u8>) -> Result<bool, Error> {
        self.line += 1;
        self.input
            .read_until(b'\n', line)
            .map(|read| read > 0)
            .map_err(|source| Error::Read { name: self.name.clone(), source })
    }
}
