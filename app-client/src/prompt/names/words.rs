//! SQL cut into words, as far as completion needs it: what is a name, and what is inside of quotes.

use std::borrow::Cow;

/// A word, a quoted name, a string or a comment; everything else a character at a time; space is nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    pub(super) start: usize,
    /// Whether its quote or comment has an end. That of the end of the line has none.
    pub(super) closed: bool,
}

impl<'a> Token<'a> {
    pub(super) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    pub(super) fn is_quoted_name(&self) -> bool {
        self.text.starts_with('"')
    }

    pub(super) fn is_word(&self) -> bool {
        self.text.starts_with(is_word)
    }

    pub(super) fn is_name(&self) -> bool {
        self.is_word() || self.is_quoted_name()
    }

    pub(super) fn is_comment(&self) -> bool {
        self.text.starts_with("--") || self.text.starts_with("/*")
    }

    /// What the server makes of the name.
    pub(super) fn name(&self) -> Cow<'a, str> {
        plain(self.text)
    }
}

/// The name that `written` stands for: quotes taken away, or in lower case without them.
pub(super) fn plain(written: &str) -> Cow<'_, str> {
    match written.strip_prefix('"') {
        Some(rest) => {
            let inside = rest.strip_suffix('"').unwrap_or(rest);
            if inside.contains('"') { inside.replace("\"\"", "\"").into() } else { inside.into() }
        }
        None if written.contains(char::is_uppercase) => written.to_lowercase().into(),
        None => written.into(),
    }
}

pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let (length, closed) = match first {
            _ if first.is_whitespace() => {
                at += first.len_utf8();
                continue;
            }
            '\'' | '"' => quoted(rest, first),
            _ if rest.starts_with("--") => upto(rest.find('\n')).unwrap_or((rest.len(), false)),
            _ if rest.starts_with("/*") => {
                upto(rest.find("*/").map(|end| end + 2)).unwrap_or((rest.len(), false))
            }
            _ if is_word(first) => (rest.find(|character| !is_word(character)).unwrap_or(rest.len()), true),
            _ => (first.len_utf8(), true),
        };
        tokens.push(Token { text: &rest[..length], start: at, closed });
        at += length;
    }
    tokens
}

fn upto(end: Option<usize>) -> Option<(usize, bool)> {
    end.map(|end| (end, true))
}

/// To the quote that is not doubled.
fn quoted(text: &str, quote: char) -> (usize, bool) {
    let mut at = 1;
    while let Some(end) = text[at..].find(quote) {
        at += end + 1;
        if !text[at..].starts_with(quote) {
            return (at, true);
        }
        at += 1;
    }
    (text.len(), false)
}

pub(super) fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || character == '$'
}
