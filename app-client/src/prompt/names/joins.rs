//! The tables that a statement names, what they are called in it, and how foreign keys join them.

use super::catalog::Catalog;
use super::keywords::KEYWORDS;
use crate::script::{Kind, Token, plain};

/// Between two tables of the catalog, by their places in it.
#[derive(Debug)]
pub(super) struct ForeignKey {
    pub(super) table: usize,
    pub(super) columns: Vec<String>,
    /// The table that it refers to.
    pub(super) other: usize,
    pub(super) other_columns: Vec<String>,
}

/// A table of a statement: `content as c` is the table `content` with the name `c`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Source {
    pub(super) table: usize,
    /// As the statement writes it.
    pub(super) name: String,
}

impl Source {
    pub(super) fn is_called(&self, name: &str) -> bool {
        plain(&self.name) == name
    }
}

/// The tables after FROM, JOIN, UPDATE and INTO, in order, as far as the catalog knows them.
pub(super) fn sources<'a>(catalog: &Catalog, tokens: &[Token<'a>]) -> Vec<Source> {
    let tokens: Vec<&Token<'a>> = tokens.iter().filter(|token| token.kind != Kind::Comment).collect();
    let is =
        |at: usize, text: &str| tokens.get(at).is_some_and(|token| token.text.eq_ignore_ascii_case(text));
    let named = |at: usize| tokens.get(at).copied().filter(|token| token.is_name() && !is_keyword(token));
    let mut sources = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if !["from", "join", "update", "into"].iter().any(|before| token.text.eq_ignore_ascii_case(before)) {
            continue;
        }
        let mut at = at + 1;
        while let Some(mut table) = named(at) {
            let mut schema = None;
            if let (true, Some(within)) = (is(at + 1, "."), named(at + 2)) {
                schema = Some(table.name());
                table = within;
                at += 2;
            }
            let with_as = usize::from(is(at + 1, "as"));
            let alias = named(at + 1 + with_as);
            if let Some(place) = catalog.find(schema.as_deref(), &table.name()) {
                sources.push(Source { table: place, name: alias.unwrap_or(table).text.to_owned() });
            }
            at += 1 + with_as + usize::from(alias.is_some());
            if !is(at, ",") {
                break;
            }
            at += 1;
        }
    }
    sources
}

/// Tables to join with what is there already, each with its condition.
pub(super) fn with_conditions(catalog: &Catalog, sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        for key in &catalog.keys {
            let joined = [(key.other, key.table), (key.table, key.other)];
            let new = joined.into_iter().filter(|(present, _)| *present == source.table).map(|(_, new)| new);
            for place in new.filter(|place| sources.iter().all(|source| source.table != *place)) {
                let table = &catalog.tables[place];
                let new = Source { table: place, name: table.name.clone() };
                let condition = condition(key, &new, source);
                found.extend(condition.map(|condition| format!("{} on {condition}", table.written())));
            }
        }
    }
    found
}

/// What may stand after the ON of the last table.
pub(super) fn conditions(catalog: &Catalog, sources: &[Source]) -> Vec<String> {
    let Some((last, before)) = sources.split_last() else { return Vec::new() };
    let pairs = before.iter().rev().flat_map(|source| catalog.keys.iter().map(move |key| (key, source)));
    pairs.filter_map(|(key, source)| condition(key, last, source)).collect()
}

/// `a.artist_id = ca.artist_id`, if the key is between these two.
fn condition(key: &ForeignKey, left: &Source, right: &Source) -> Option<String> {
    let (left_columns, right_columns) = match (left.table, right.table) {
        (table, other) if table == key.table && other == key.other => (&key.columns, &key.other_columns),
        (other, table) if table == key.table && other == key.other => (&key.other_columns, &key.columns),
        _ => return None,
    };
    let pairs = left_columns.iter().zip(right_columns);
    let equal: Vec<String> = pairs.map(|(a, b)| format!("{}.{a} = {}.{b}", left.name, right.name)).collect();
    Some(equal.join(" and "))
}

fn is_keyword(token: &Token<'_>) -> bool {
    KEYWORDS.binary_search(&token.text.to_ascii_lowercase().as_str()).is_ok()
}
