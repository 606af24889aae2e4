//! The state machine behind a script and the prompt: fed a line at a time, it says when a
//! statement is whole and, if it is not, what is still open.

use std::collections::BTreeMap;

pub(crate) type Variables = BTreeMap<String, String>;

/// A statement and the line that it begins on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) text: String,
    pub(crate) line: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Splitter {
    variables: Variables,
    /// What was pushed last and is not scanned yet.
    input: String,
    at: usize,
    input_line: usize,
    /// The statement that is being gathered.
    statement: String,
    line: usize,
    inside: Inside,
    parentheses: usize,
    /// The first words of the statement, in lower case: `create or replace function ...`
    words: Vec<String>,
    /// BEGIN ATOMIC and CASE that wait for their END, in the body of a function.
    begins: usize,
    backslash: Option<String>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
enum Inside {
    #[default]
    Nothing,
    String {
        escapes: bool,
    },
    Identifier,
    /// The whole delimiter, `$body$`.
    Dollar(String),
    Comment {
        depth: usize,
    },
}

impl Splitter {
    pub(crate) fn new(variables: Variables) -> Self {
        Self { variables, ..Self::default() }
    }

    /// Takes a line with its line break. Everything pushed before must have been drained by `next`.
    pub(crate) fn push(&mut self, line: &str, number: usize) {
        self.input.drain(..self.at);
        self.at = 0;
        self.input.push_str(line);
        self.input_line = number;
    }

    /// The next whole statement in what was pushed.
    pub(crate) fn next(&mut self) -> Option<Statement> {
        while self.at < self.input.len() && self.backslash.is_none() {
            // A semicolon after nothing ends nothing.
            if self.step()
                && let Some(statement) = self.rest()
            {
                return Some(statement);
            }
        }
        None
    }

    /// What was pushed and not looked at yet.
    pub(crate) fn unread(&self) -> &str {
        self.rest_of_input()
    }

    /// The rest of the line after a backslash that scanning stopped at.
    pub(crate) fn backslash(&mut self) -> Option<String> {
        self.backslash.take()
    }

    /// What was gathered so far, as a statement; `None` if it is only space and comments.
    pub(crate) fn rest(&mut self) -> Option<Statement> {
        let text = std::mem::take(&mut self.statement);
        let meaningful = std::mem::replace(&mut self.line, 0);
        self.inside = Inside::Nothing;
        self.parentheses = 0;
        self.begins = 0;
        self.words.clear();
        (meaningful > 0).then(|| Statement { text: text.trim_end().to_owned(), line: meaningful })
    }

    /// What keeps the statement from being whole although the text is at its end.
    pub(crate) fn open_construct(&self) -> Option<(usize, &'static str)> {
        let reason = match &self.inside {
            Inside::Nothing => return None,
            Inside::String { .. } => "a `'` is not closed",
            Inside::Identifier => "a `\"` is not closed",
            Inside::Dollar(_) => "a `$` quote is not closed",
            Inside::Comment { .. } => "a `/*` is not closed",
        };
        Some((self.line.max(1), reason))
    }

    /// Moves over one token or character. True when a statement ended.
    fn step(&mut self) -> bool {
        match self.inside.clone() {
            Inside::Nothing => return self.outside(),
            Inside::String { escapes } => self.quoted('\'', escapes),
            Inside::Identifier => self.quoted('"', false),
            Inside::Dollar(delimiter) => match self.rest_of_input().find(&delimiter) {
                Some(offset) => {
                    self.take(offset + delimiter.len());
                    self.inside = Inside::Nothing;
                }
                None => self.take(self.input.len() - self.at),
            },
            Inside::Comment { depth } => self.comment(depth),
        }
        false
    }

    fn outside(&mut self) -> bool {
        let rest = self.rest_of_input();
        let Some(first) = rest.chars().next() else { return false };
        let two = rest.get(..2).unwrap_or_default();
        if first.is_whitespace() {
            // Space before the statement is dropped, so that its first line is where it begins.
            match self.statement.is_empty() {
                true => self.at += first.len_utf8(),
                false => self.take(first.len_utf8()),
            }
        } else if two == "--" {
            let length = rest.find('\n').unwrap_or(rest.len());
            self.skip_or_take(length);
        } else if two == "/*" {
            self.inside = Inside::Comment { depth: 1 };
            self.skip_or_take(2);
        } else if first == '\\' {
            let line = rest[1..].split('\n').next().unwrap_or_default().to_owned();
            self.at += 1 + line.len();
            self.backslash = Some(line);
        } else if first == ';' && self.parentheses == 0 && self.begins == 0 {
            self.at += 1;
            return true;
        } else {
            if self.line == 0 {
                self.line = self.input_line;
            }
            self.token(first);
        }
        false
    }

    fn token(&mut self, first: char) {
        match first {
            '\'' => self.open(Inside::String { escapes: false }, 1),
            '"' => self.open(Inside::Identifier, 1),
            '(' => {
                self.parentheses += 1;
                self.take(1);
            }
            ')' => {
                self.parentheses = self.parentheses.saturating_sub(1);
                self.take(1);
            }
            '$' => match dollar_delimiter(self.rest_of_input()) {
                Some(delimiter) => {
                    let length = delimiter.len();
                    self.open(Inside::Dollar(delimiter), length);
                }
                None => self.take(1),
            },
            ':' if self.rest_of_input()[1..].starts_with([':', '=']) => self.take(2),
            ':' => self.variable(),
            first if is_word_start(first) => self.word(),
            // A number and what clings to it, so that `1e5` or `$1` is no word.
            first if first.is_ascii_digit() => self.take(word_length(self.rest_of_input())),
            other => self.take(other.len_utf8()),
        }
    }

    fn word(&mut self) {
        let length = word_length(self.rest_of_input());
        let word = self.rest_of_input()[..length].to_ascii_lowercase();
        self.take(length);
        if word == "e" && self.rest_of_input().starts_with('\'') {
            return self.open(Inside::String { escapes: true }, 1);
        }
        let first_words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let in_routine = matches!(
            first_words.as_slice(),
            ["create", "function" | "procedure", ..]
                | ["create", "or", "replace", "function" | "procedure", ..]
        );
        match word.as_str() {
            "begin" if in_routine && self.parentheses == 0 => self.begins += 1,
            "case" if self.begins > 0 => self.begins += 1,
            "end" => self.begins = self.begins.saturating_sub(1),
            _ => {}
        }
        if self.words.len() < 4 {
            self.words.push(word);
        }
    }

    /// `:name`, `:'name'` or `:"name"`; one that is not set stays as it is, as in psql.
    fn variable(&mut self) {
        let rest = &self.rest_of_input()[1..];
        let quote = rest.chars().next().filter(|character| matches!(character, '\'' | '"'));
        let name_at = quote.map_or(0, char::len_utf8);
        let length = rest[name_at..]
            .find(|character: char| !(character.is_alphanumeric() || character == '_'))
            .unwrap_or(rest.len() - name_at);
        let name = &rest[name_at..name_at + length];
        let closed = quote.is_none_or(|quote| rest[name_at + length..].starts_with(quote));
        let value = self.variables.get(name).filter(|_| closed && length > 0);
        let Some(value) = value else { return self.take(1) };
        let filled = match quote {
            None => value.clone(),
            Some('"') => format!("\"{}\"", value.replace('"', "\"\"")),
            // With a backslash the text must say that backslashes count, whatever the server's setting.
            Some(_) if value.contains('\\') => {
                format!(" E'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
            }
            Some(_) => format!("'{}'", value.replace('\'', "''")),
        };
        self.statement.push_str(&filled);
        self.at += 1 + 2 * name_at + length;
    }

    fn quoted(&mut self, quote: char, escapes: bool) {
        let rest = self.rest_of_input();
        let Some(offset) = rest.find(|character| character == quote || (escapes && character == '\\')) else {
            return self.take(rest.len());
        };
        if rest[offset..].starts_with('\\') {
            let escaped = rest[offset + 1..].chars().next().map_or(0, char::len_utf8);
            return self.take(offset + 1 + escaped);
        }
        self.take(offset + 1);
        match self.rest_of_input().starts_with(quote) {
            // A doubled quote stands for one of them.
            true => self.take(1),
            false => self.inside = Inside::Nothing,
        }
    }

    fn comment(&mut self, depth: usize) {
        let rest = self.rest_of_input();
        let (offset, depth) = match (rest.find("/*"), rest.find("*/")) {
            (Some(open), Some(close)) if open < close => (open + 2, depth + 1),
            (Some(open), None) => (open + 2, depth + 1),
            (_, Some(close)) => (close + 2, depth - 1),
            (None, None) => (rest.len(), depth),
        };
        self.inside = if depth == 0 { Inside::Nothing } else { Inside::Comment { depth } };
        self.skip_or_take(offset);
    }

    fn open(&mut self, inside: Inside, length: usize) {
        self.take(length);
        self.inside = inside;
    }

    /// Comments before the statement are dropped, those within it are kept: hints live there.
    fn skip_or_take(&mut self, length: usize) {
        match self.line {
            0 => self.at += length,
            _ => self.take(length),
        }
    }

    fn take(&mut self, length: usize) {
        self.statement.push_str(&self.input[self.at..self.at + length]);
        self.at += length;
    }

    fn rest_of_input(&self) -> &str {
        &self.input[self.at..]
    }
}

pub(super) fn is_word_start(character: char) -> bool {
    character.is_ascii_alphabetic() || character == '_' || !character.is_ascii()
}

pub(super) fn word_length(text: &str) -> usize {
    text.find(|character| !is_word_character(character)).unwrap_or(text.len())
}

pub(crate) fn is_word_character(character: char) -> bool {
    is_word_start(character) || character.is_ascii_digit() || character == '$'
}

/// `$$` or `$tag$` at the front of `text`.
pub(super) fn dollar_delimiter(text: &str) -> Option<String> {
    let length = text[1..].find('$')?;
    let tag = &text[1..1 + length];
    let proper = tag
        .chars()
        .enumerate()
        .all(|(index, character)| is_word_start(character) || (index > 0 && character.is_ascii_digit()));
    proper.then(|| text[..length + 2].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split_with(text: &str, variables: Variables) -> Vec<String> {
        let mut splitter = Splitter::new(variables);
        let mut statements = Vec::new();
        for (index, line) in text.split_inclusive('\n').enumerate() {
            splitter.push(line, index + 1);
            while let Some(statement) = splitter.next() {
                statements.push(format!("{}:{}", statement.line, statement.text));
            }
        }
        statements.extend(splitter.rest().map(|statement| format!("{}:{}", statement.line, statement.text)));
        statements
    }

    fn split(text: &str) -> Vec<String> {
        split_with(text, Variables::new())
    }

    #[test]
    fn semicolons_in_quotes_comments_and_parentheses_do_not_split() {
        for whole in [
            "select ';', \"a;b\", 'it''s;'",
            r"select e'\';', E'a'';b'",
            r"select 'back\'",
            "select $$;$$, $a$;$b$;$a$, $1",
            "select 1 /* ; /* ; */ ; */ + 1",
            "select 1 -- ;\n+ 1",
            "create rule r as on insert to t do also (select 1; select 2)",
            "create function f() returns int begin atomic select case when true then 1; end; select 2; end",
            "create or replace procedure p() begin atomic insert into t values (1); end",
            "select x.e$1, a::int",
        ] {
            assert_eq!(split(&format!("{whole};\nselect 2")).len(), 2, "{whole}");
            assert_eq!(split(whole), [format!("1:{whole}")], "{whole}");
        }
    }

    #[test]
    fn statements_know_their_line_and_comments_alone_are_none() {
        let text = "-- head\n\n/* more\n*/ select 1;;\n;select\n2; begin; end;\n-- tail\n";
        assert_eq!(split(text), ["4:select 1", "5:select\n2", "6:begin", "6:end"]);
        assert_eq!(split("  -- nothing\n/* at all */ ;\n"), Vec::<String>::new());
    }

    #[test]
    fn variables_are_filled_in_outside_of_quotes_only() {
        let variables = Variables::from([
            ("n".to_owned(), "42".to_owned()),
            ("s".to_owned(), "it's".to_owned()),
            ("p".to_owned(), r"c:\x".to_owned()),
        ]);
        let text = "select :n, :'s', :\"s\", ':n', x::n, :unset, a[1:2], :'p'";
        assert_eq!(
            split_with(text, variables),
            [r#"1:select 42, 'it''s', "it's", ':n', x::n, :unset, a[1:2],  E'c:\\x'"#]
        );
    }

    #[test]
    fn what_is_open_at_the_end_is_named() {
        for (text, expected) in
            [("select 'a\n", "'"), ("select \"a", "\""), ("do $x$ a $$", "$"), ("/* a", "/*")]
        {
            let mut splitter = Splitter::default();
            splitter.push(text, 7);
            assert_eq!(splitter.next(), None);
            let (_, reason) = splitter.open_construct().expect("something is open");
            assert!(reason.contains(&format!("`{expected}`")), "{reason}");
        }
    }
}
