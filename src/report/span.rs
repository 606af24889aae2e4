//! Places in a text: from the engine's line and column, counted in characters, to byte ranges.

use std::ops::Range;

use rhai::{ParseErrorType, Position};

/// The token that starts at a position. A position outside of the text gives its nearest end.
pub(super) fn token(text: &str, position: Position) -> Range<usize> {
    let start = offset(text, position);
    start..start + token_length(&text[start..])
}

/// Where to show a syntax error. A missing `;` is noticed at the next token, but belongs behind the last one.
pub(super) fn of_syntax_error(text: &str, kind: &ParseErrorType, position: Position) -> Position {
    let is_missing = matches!(kind, ParseErrorType::MissingToken(token, _) if token == ";");
    if !is_missing || position.is_none() {
        return position;
    }
    let mut last = None;
    for (token, start) in rhai::Engine::new_raw().lex([&text]).0 {
        if token == rhai::Token::EOF
            || (start.line(), start.position()) >= (position.line(), position.position())
        {
            break;
        }
        last = Some(start);
    }
    let Some(last) = last.filter(|last| last.line() < position.line()) else { return position };
    let range = self::token(text, last);
    let column = last.position().unwrap_or(1) + text[range].chars().count();
    match (last.line().map(u16::try_from), u16::try_from(column)) {
        (Some(Ok(line)), Ok(column)) => Position::new(line, column),
        _ => position,
    }
}

fn offset(text: &str, position: Position) -> usize {
    let Some(line) = position.line() else { return 0 };
    let mut start = 0;
    for _ in 1..line {
        match text[start..].find('\n') {
            Some(length) => start += length + 1,
            None => return text.len(),
        }
    }
    let rest = text[start..].split('\n').next().unwrap_or_default();
    let rest = rest.strip_suffix('\r').unwrap_or(rest);
    let column = position.position().unwrap_or(1).saturating_sub(1);
    start + rest.char_indices().nth(column).map_or(rest.len(), |(index, _)| index)
}

/// The length in bytes of the token that a text starts with. It ends with its line at the latest.
fn token_length(text: &str) -> usize {
    let line = text.split(['\n', '\r']).next().unwrap_or_default();
    let Some(first) = line.chars().next() else { return 0 };
    let run = |belongs: fn(char) -> bool| line.find(|next| !belongs(next)).unwrap_or(line.len());
    match first {
        '"' | '`' | '\'' => quoted_length(line, first),
        '0'..='9' => {
            let whole = run(|next| next.is_alphanumeric() || next == '_');
            match line[whole..].strip_prefix('.') {
                Some(rest) if rest.starts_with(|next: char| next.is_ascii_digit()) => {
                    whole + 1 + rest.find(|next: char| !next.is_alphanumeric()).unwrap_or(rest.len())
                }
                _ => whole,
            }
        }
        _ if first.is_alphanumeric() || first == '_' => run(|next| next.is_alphanumeric() || next == '_'),
        '(' | ')' | '[' | ']' | '{' | '}' | ',' | ';' => 1,
        _ if first.is_ascii_punctuation() => run(|next| "+-*/%<>=!&|^~?:.@#$".contains(next)).max(1),
        _ => first.len_utf8(),
    }
}

fn quoted_length(line: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, next) in line.char_indices().skip(1) {
        match next {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            _ if next == quote => return index + 1,
            _ => {}
        }
    }
    line.len()
}
