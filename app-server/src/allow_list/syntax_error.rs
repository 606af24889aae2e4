//! What the parser cannot read, and where: the statement is read once more, with the place of each token,
//! which the statements that can be read need not pay for.

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use crate::tier::Tier;
use crate::wire::ErrorResponse;

pub(super) fn answer(tier: Tier, sql: &str) -> ErrorResponse {
    let (what, position) = found(sql);
    ErrorResponse::error("42601", format!("the server cannot read this statement: {what}"))
        .with_hint(format!("{}; what the server cannot read is refused for this tier", tier.hint()))
        .at(position)
}

/// What is wrong, and its place in characters from 1.
fn found(sql: &str) -> (String, Option<u32>) {
    let dialect = PostgreSqlDialect {};
    let mut tokens = match Tokenizer::new(&dialect, sql).tokenize_with_location() {
        Ok(tokens) => tokens,
        Err(error) => {
            let position = position(sql, error.location.line, error.location.column);
            return (error.message, Some(position));
        }
    };
    tokens.push(TokenWithSpan::wrap(Token::SemiColon));
    let mut parser = Parser::new(&dialect).with_tokens_with_locations(tokens);
    let unreadable = loop {
        match super::next_statement(&mut parser) {
            Ok(Some(_)) => {}
            Ok(None) => return ("it is ambiguous".to_owned(), None),
            Err(error) => break error,
        }
    };
    match unreadable {
        ParserError::ParserError(message) | ParserError::TokenizerError(message) => {
            let (what, position) = placed(sql, &message);
            (plain(&what), Some(position))
        }
        ParserError::RecursionLimitExceeded => ("it is nested too deep".to_owned(), None),
    }
}

/// The parser writes the place behind its message, and none where it ran out of tokens.
fn placed(sql: &str, message: &str) -> (String, u32) {
    let place = message.rsplit_once(" at Line: ").and_then(|(what, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some((what.to_owned(), position(sql, line.parse().ok()?, column.parse().ok()?)))
    });
    // The semicolon that is missed is ours.
    let end = || message.trim_end_matches("found: ;").trim_end_matches("found: EOF");
    place.unwrap_or_else(|| {
        let what = if end() == message { message.to_owned() } else { format!("{}found: its end", end()) };
        (what, counted(sql.trim_end().chars().count() + 1))
    })
}

/// In the words of the other messages here.
fn plain(what: &str) -> String {
    what.replacen("Expected: ", "expected ", 1).replacen(", found: ", ", found ", 1)
}

fn position(sql: &str, line: u64, column: u64) -> u32 {
    let before = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
    let lines = sql.split_inclusive('\n').take(before);
    counted(lines.map(|line| line.chars().count()).sum())
        .saturating_add(column.try_into().unwrap_or(u32::MAX))
}

/// A statement is shorter than 4 GiB.
fn counted(characters: usize) -> u32 {
    characters.try_into().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_counted_in_characters_from_one() {
        for (sql, marked, what) in [
            ("selct 1", "selct", "expected an SQL statement, found selct"),
            ("select 1; selct 2", "selct", "expected an SQL statement, found selct"),
            ("select '日本',\n\tè frm t where", "t where", "found t"),
            ("select title\r\nfrom content content content", "content", "found content"),
            ("select (1 + 2", "", "found its end"),
            ("select 'open", "'open", "Unterminated string literal"),
        ] {
            let (found, position) = found(sql);
            let at = if marked.is_empty() { sql.len() } else { sql.rfind(marked).expect("it is in it") };
            assert_eq!(position, Some(counted(sql[..at].chars().count() + 1)), "{sql}: {found}");
            assert!(found.contains(what), "{sql}: {found}");
        }
    }

    #[test]
    fn the_answer_has_the_place_and_what_the_tier_may_do() {
        let answer = answer(Tier::Free, "select 1 frm t x");
        let body = &answer.encoded()[5..];
        assert_eq!(crate::wire::error_field(body, b'P'), Some(b"14".as_slice()));
        assert_eq!(crate::wire::error_field(body, b'C'), Some(b"42601".as_slice()));
        assert!(
            crate::wire::error_field(body, b'H').is_some_and(|hint| hint.ends_with(b"refused for this tier"))
        );
    }
}
