//! The tables that a statement names, what they are called in it, and how foreign keys join them.

use super::is_word;
use super::keywords::KEYWORDS;

#[derive(Debug)]
pub(super) struct ForeignKey {
    pub(super) table: String,
    pub(super) columns: Vec<String>,
    /// The table that it refers to.
    pub(super) other: String,
    pub(super) other_columns: Vec<String>,
}

/// A table of a statement: `content as c` is the table `content` with the name `c`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Source<'a> {
    pub(super) table: &'a str,
    pub(super) name: &'a str,
}

/// The tables after FROM, JOIN, UPDATE and INTO, in order.
pub(super) fn sources(text: &str) -> Vec<Source<'_>> {
    let tokens = tokens(text);
    let word = |at: usize| tokens.get(at).copied().filter(|token| token.starts_with(is_word));
    let mut sources = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if !["from", "join", "update", "into"].iter().any(|before| token.eq_ignore_ascii_case(before)) {
            continue;
        }
        let mut at = at + 1;
        while let Some(mut table) = word(at).filter(|table| !is_keyword(table)) {
            if let (Some(&"."), Some(within)) = (tokens.get(at + 1), word(at + 2)) {
                table = within;
                at += 2;
            }
            let named = word(at + 1).filter(|next| next.eq_ignore_ascii_case("as"));
            let alias = word(at + 1 + usize::from(named.is_some())).filter(|alias| !is_keyword(alias));
            sources.push(Source { table, name: alias.unwrap_or(table) });
            at += 1 + usize::from(named.is_some()) + usize::from(alias.is_some());
            if tokens.get(at) != Some(&",") {
                break;
            }
            at += 1;
        }
    }
    sources
}

/// Tables to join with what is there already, each with its condition.
pub(super) fn with_conditions(keys: &[ForeignKey], sources: &[Source<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        for key in keys {
            let joined = [(&key.other, &key.table), (&key.table, &key.other)];
            let new = joined.into_iter().filter(|(present, _)| *present == source.table).map(|(_, new)| new);
            for table in new.filter(|table| sources.iter().all(|source| source.table != table.as_str())) {
                let new = Source { table, name: table };
                found.extend(condition(key, new, *source).map(|condition| format!("{table} on {condition}")));
            }
        }
    }
    found
}

/// What may stand after the ON of the last table.
pub(super) fn conditions(keys: &[ForeignKey], sources: &[Source<'_>]) -> Vec<String> {
    let Some((last, before)) = sources.split_last() else { return Vec::new() };
    let pairs = before.iter().rev().flat_map(|source| keys.iter().map(move |key| (key, source)));
    pairs.filter_map(|(key, source)| condition(key, *last, *source)).collect()
}

/// `a.artist_id = ca.artist_id`, if the key is between these two.
fn condition(key: &ForeignKey, left: Source<'_>, right: Source<'_>) -> Option<String> {
    let (left_columns, right_columns) = match (left.table, right.table) {
        (table, other) if table == key.table && other == key.other => (&key.columns, &key.other_columns),
        (other, table) if table == key.table && other == key.other => (&key.other_columns, &key.columns),
        _ => return None,
    };
    let pairs = left_columns.iter().zip(right_columns);
    let equal: Vec<String> = pairs.map(|(a, b)| format!("{}.{a} = {}.{b}", left.name, right.name)).collect();
    Some(equal.join(" and "))
}

fn is_keyword(word: &str) -> bool {
    KEYWORDS.binary_search(&word.to_ascii_lowercase().as_str()).is_ok()
}

/// Words, and everything else a character at a time; space is nothing.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match is_word(first) {
            true => rest.find(|character| !is_word(character)).unwrap_or(rest.len()),
            false => first.len_utf8(),
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}
