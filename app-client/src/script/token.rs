//! SQL cut into tokens (PostgreSQL's manual, "Lexical Structure"), as far as the prompt needs it to read a statement.

use std::borrow::Cow;

use super::splitter::{dollar_delimiter, is_word_start, word_length};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A keyword or a name without quotes.
    Word,
    QuotedName,
    /// In single quotes, with or without E, or between dollars.
    Text,
    Comment,
    /// With what clings to it.
    Number,
    /// Any other character.
    Sign,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    pub(crate) start: usize,
    /// Whether its quote or comment has an end. That of the end of the line has none.
    pub(crate) closed: bool,
}

/// A word that is no comment, text or quoted name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// In lower case.
    pub(crate) text: String,
    /// How many parentheses are open around it.
    pub(crate) depth: usize,
}

impl<'a> Token<'a> {
    pub(crate) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    pub(crate) fn is_name(&self) -> bool {
        matches!(self.kind, Kind::Word | Kind::QuotedName)
    }

    /// What the server makes of the name.
    pub(crate) fn name(&self) -> Cow<'a, str> {
        plain(self.text)
    }

    /// What stands after the opening dollars of a text that has no end yet: the body of a function, usually.
    pub(crate) fn open_body(&self) -> Option<&'a str> {
        let delimiter = dollar_delimiter(self.text).filter(|_| self.kind == Kind::Text && !self.closed)?;
        Some(&self.text[delimiter.len()..])
    }
}

/// The name that `written` stands for: quotes taken away, or in lower case without them.
pub(crate) fn plain(written: &str) -> Cow<'_, str> {
    match written.strip_prefix('"') {
        Some(rest) => {
            let inside = rest.strip_suffix('"').unwrap_or(rest);
            if inside.contains('"') { inside.replace("\"\"", "\"").into() } else { inside.into() }
        }
        None if written.contains(char::is_uppercase) => written.to_lowercase().into(),
        None => written.into(),
    }
}

/// Space is between tokens.
pub(crate) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut start = 0;
    while let Some(first) = text[start..].chars().next() {
        let rest = &text[start..];
        if first.is_ascii_whitespace() {
            start += 1;
            continue;
        }
        let (kind, end) = match first {
            '\'' => (Kind::Text, quoted(rest, first, false)),
            'e' | 'E' if rest[1..].starts_with('\'') => {
                (Kind::Text, quoted(&rest[1..], '\'', true).map(|end| end + 1))
            }
            '"' => (Kind::QuotedName, quoted(rest, first, false)),
            '$' => match dollar_delimiter(rest) {
                Some(delimiter) => (Kind::Text, dollar_quoted(rest, &delimiter)),
                None => (Kind::Sign, Some(1)),
            },
            '-' if rest.starts_with("--") => (Kind::Comment, rest.find('\n')),
            '/' if rest.starts_with("/*") => (Kind::Comment, commented(rest)),
            _ if is_word_start(first) => (Kind::Word, Some(word_length(rest))),
            _ if first.is_ascii_digit() => (Kind::Number, Some(word_length(rest))),
            _ => (Kind::Sign, Some(first.len_utf8())),
        };
        let text = &rest[..end.unwrap_or(rest.len())];
        tokens.push(Token { kind, text, start, closed: end.is_some() });
        start += text.len();
    }
    tokens
}

pub(crate) fn words(sql: &str) -> Vec<Word> {
    let mut depth: usize = 0;
    let mut words = Vec::new();
    for token in tokens(sql) {
        match (token.kind, token.text) {
            (Kind::Word, text) => words.push(Word { text: text.to_lowercase(), depth }),
            (Kind::Sign, "(") => depth += 1,
            (Kind::Sign, ")") => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    words
}

/// The length of what is quoted at the front of `text`. `None` if it is not closed.
fn quoted(text: &str, quote: char, escapes: bool) -> Option<usize> {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if escapes && character == '\\' {
            characters.next();
        } else if character == quote && characters.next_if(|(_, next)| *next == quote).is_none() {
            return Some(at + quote.len_utf8());
        }
    }
    None
}

fn dollar_quoted(text: &str, delimiter: &str) -> Option<usize> {
    let body = &text[delimiter.len()..];
    body.find(delimiter).map(|at| at + 2 * delimiter.len())
}

/// Comments hold comments.
fn commented(text: &str) -> Option<usize> {
    let (mut at, mut depth) = (2, 1);
    while depth > 0 {
        let rest = &text[at..];
        match (rest.find("/*"), rest.find("*/")) {
            (Some(open), Some(close)) if open < close => (at, depth) = (at + open + 2, depth + 1),
            (_, Some(close)) => (at, depth) = (at + close + 2, depth - 1),
            _ => return None,
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_comments_hold_no_words() {
        let sql = "select 'it''s', E'\\' x', \"a b\", $$ c $$, $t$ d $t$, $1, 1e5 -- e\n/* f /* g */ h */ From T (i, (J));";
        let found: Vec<(String, usize)> =
            words(sql).into_iter().map(|word| (word.text, word.depth)).collect();
        let expected = [("select", 0), ("from", 0), ("t", 0), ("i", 1), ("j", 2)];
        assert_eq!(found, expected.map(|(text, depth)| (text.to_owned(), depth)));
    }

    #[test]
    fn what_is_not_closed_ends_with_the_text() {
        for sql in ["a 'b c", "a \"b", "a $$ b", "a $x$ b $$", "a /* b /* c */ d", "a -- b", "a E'b\\'"] {
            let found = tokens(sql);
            assert!(
                matches!(found.as_slice(), [word, open] if word.closed && !open.closed),
                "{sql}: {found:?}"
            );
            assert_eq!(words(sql), [Word { text: "a".to_owned(), depth: 0 }], "{sql}");
        }
        assert_eq!(words("a $"), [Word { text: "a".to_owned(), depth: 0 }]);
    }
}
