//! The words of a statement: what stands outside of quotes and comments, and how deep in parentheses.

use super::splitter::{dollar_delimiter, is_word_start, word_length};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// In lower case.
    pub(crate) text: String,
    /// How many parentheses are open around it.
    pub(crate) depth: usize,
}

pub(crate) fn words(sql: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut depth: usize = 0;
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' | '"' => quoted(rest, first, false),
            '$' => dollar_quoted(rest),
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => commented(rest),
            first if is_word_start(first) => {
                let length = word_length(rest);
                let (word, after) = rest.split_at(length);
                match word {
                    "e" | "E" if after.starts_with('\'') => length + quoted(after, '\'', true),
                    word => {
                        words.push(Word { text: word.to_lowercase(), depth });
                        length
                    }
                }
            }
            // A number and what clings to it is no word.
            first if first.is_ascii_digit() => word_length(rest),
            other => {
                match other {
                    '(' => depth += 1,
                    ')' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                other.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    words
}

/// The length of what is quoted at the front of `text`; all of it, if it is not closed.
fn quoted(text: &str, quote: char, escapes: bool) -> usize {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if escapes && character == '\\' {
            characters.next();
        } else if character == quote && characters.next_if(|(_, next)| *next == quote).is_none() {
            return at + quote.len_utf8();
        }
    }
    text.len()
}

fn dollar_quoted(text: &str) -> usize {
    let Some(delimiter) = dollar_delimiter(text) else { return 1 };
    let body = &text[delimiter.len()..];
    body.find(&delimiter).map_or(text.len(), |at| at + 2 * delimiter.len())
}

/// Comments hold comments.
fn commented(text: &str) -> usize {
    let (mut at, mut depth) = (2, 1);
    while depth > 0 {
        let rest = &text[at..];
        match (rest.find("/*"), rest.find("*/")) {
            (Some(open), Some(close)) if open < close => (at, depth) = (at + open + 2, depth + 1),
            (_, Some(close)) => (at, depth) = (at + close + 2, depth - 1),
            _ => return text.len(),
        }
    }
    at
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
        for sql in
            ["a 'b c", "a \"b", "a $$ b", "a $x$ b $$", "a /* b /* c */ d", "a -- b", "a E'b\\'", "a $"]
        {
            assert_eq!(words(sql), [Word { text: "a".to_owned(), depth: 0 }], "{sql}");
        }
    }
}
