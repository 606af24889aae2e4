//! Completion: SQL's words, and the tables and columns that this user can see.

use std::sync::{Arc, Mutex, PoisonError};

use reedline::{Completer, Span, Suggestion};

use crate::connection::Connection;

pub(super) const KEYWORDS: &[&str] = &[
    "all",
    "alter",
    "analyze",
    "and",
    "any",
    "as",
    "asc",
    "begin",
    "between",
    "by",
    "cascade",
    "case",
    "cast",
    "check",
    "coalesce",
    "column",
    "commit",
    "conflict",
    "constraint",
    "copy",
    "count",
    "create",
    "cross",
    "current_date",
    "current_timestamp",
    "current_user",
    "default",
    "delete",
    "desc",
    "distinct",
    "do",
    "drop",
    "else",
    "end",
    "except",
    "exists",
    "explain",
    "false",
    "first",
    "for",
    "foreign",
    "from",
    "full",
    "function",
    "grant",
    "group",
    "having",
    "ilike",
    "in",
    "index",
    "inner",
    "insert",
    "intersect",
    "into",
    "is",
    "join",
    "key",
    "last",
    "lateral",
    "left",
    "like",
    "limit",
    "max",
    "min",
    "natural",
    "not",
    "now",
    "null",
    "nulls",
    "offset",
    "on",
    "or",
    "order",
    "outer",
    "over",
    "partition",
    "primary",
    "references",
    "returning",
    "revoke",
    "right",
    "rollback",
    "row",
    "select",
    "set",
    "sum",
    "table",
    "temporary",
    "then",
    "to",
    "transaction",
    "true",
    "truncate",
    "union",
    "unique",
    "update",
    "using",
    "values",
    "view",
    "when",
    "where",
    "window",
    "with",
];

/// A table and its columns, in order.
#[derive(Debug, Clone, PartialEq)]
struct Table {
    name: String,
    columns: Vec<String>,
}

/// Shared between the session, which loads them, and the line editor, which offers them.
#[derive(Clone, Default)]
pub(super) struct Names {
    tables: Arc<Mutex<Vec<Table>>>,
}

/// More columns than anyone completes among; it bounds the time before the first prompt.
const MOST_COLUMNS: usize = 100_000;
const MOST_SUGGESTIONS: usize = 100;

impl Names {
    /// Asks the catalog. A server that does not answer leaves the words of SQL.
    pub(super) fn load(&self, connection: &mut Connection) {
        let sql = format!(
            "select c.relname, a.attname from pg_catalog.pg_class c \
             join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped \
             where c.relkind in ('r', 'p', 'v', 'm', 'f') and pg_catalog.pg_table_is_visible(c.oid) \
             and c.relnamespace <> 'pg_catalog'::pg_catalog.regnamespace \
             order by c.relname, a.attnum limit {MOST_COLUMNS}"
        );
        let Ok(answer) = connection.ask(&sql) else { return };
        let mut tables: Vec<Table> = Vec::new();
        for row in answer.rows {
            let [Some(table), Some(column)] = row.as_slice() else { continue };
            match tables.last_mut().filter(|last| last.name == *table) {
                Some(last) => last.columns.push(column.clone()),
                None => tables.push(Table { name: table.clone(), columns: vec![column.clone()] }),
            }
        }
        *self.tables.lock().unwrap_or_else(PoisonError::into_inner) = tables;
    }

    /// What fits at the end of `before`, the text up to the cursor; `text` is the whole statement.
    fn fitting(&self, before: &str, text: &str) -> Vec<String> {
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let typed = last_word(before);
        let ahead = &before[..before.len() - typed.len()];
        let mut found: Vec<String> = Vec::new();
        if let Some(owner) = ahead.strip_suffix('.').map(last_word).filter(|owner| !owner.is_empty()) {
            // After `alias.` only that table's columns make sense.
            let name = table_of(owner, text);
            found.extend(
                tables.iter().filter(|table| table.name == name).flat_map(|table| table.columns.clone()),
            );
        } else {
            let previous = last_word(ahead.trim_end()).to_ascii_lowercase();
            if matches!(previous.as_str(), "from" | "join" | "into" | "update" | "table") {
                found.extend(tables.iter().map(|table| table.name.clone()));
            } else {
                let used: Vec<&str> = words(text).collect();
                let mentioned = tables.iter().filter(|table| used.contains(&table.name.as_str()));
                found.extend(mentioned.flat_map(|table| table.columns.clone()));
                found.extend(KEYWORDS.iter().map(|word| (*word).to_owned()));
                found.extend(tables.iter().map(|table| table.name.clone()));
            }
        }
        let lower = typed.to_lowercase();
        found.retain(|name| name.to_lowercase().starts_with(&lower));
        let mut seen = std::collections::HashSet::new();
        found.retain(|name| seen.insert(name.clone()));
        found.truncate(MOST_SUGGESTIONS);
        found
    }
}

impl Completer for Names {
    fn complete(&mut self, line: &str, position: usize) -> Vec<Suggestion> {
        let before = line.get(..position).unwrap_or(line);
        let start = before.len() - last_word(before).len();
        self.fitting(before, line)
            .into_iter()
            .map(|value| Suggestion { value, span: Span::new(start, before.len()), ..Suggestion::default() })
            .collect()
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn last_word(text: &str) -> &str {
    let start = text.char_indices().rev().find(|(_, character)| !is_word(*character));
    start.map_or(text, |(at, character)| &text[at + character.len_utf8()..])
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character| !is_word(character)).filter(|word| !word.is_empty())
}

/// The table that `alias` stands for in `text`: `from content c` or `join content as c`.
fn table_of<'a>(alias: &'a str, text: &'a str) -> &'a str {
    let words: Vec<&str> = words(text).collect();
    for (index, word) in words.iter().enumerate() {
        let names_table =
            ["from", "join", "update", "into"].iter().any(|before| word.eq_ignore_ascii_case(before));
        if let (true, Some(table)) = (names_table, words.get(index + 1)) {
            let after = words.get(index + 2).copied().unwrap_or_default();
            let given =
                if after.eq_ignore_ascii_case("as") { words.get(index + 3).copied() } else { Some(after) };
            if given == Some(alias) {
                return table;
            }
        }
    }
    alias
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let table = |name: &str, columns: &[&str]| Table {
            name: name.to_owned(),
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        };
        let tables =
            vec![table("content", &["content_id", "title"]), table("artist", &["artist_id", "name"])];
        Names { tables: Arc::new(Mutex::new(tables)) }
    }

    #[test]
    fn what_is_offered_depends_on_what_stands_before() {
        let names = names();
        let fitting = |before: &str, after: &str| names.fitting(before, &format!("{before}{after}"));
        assert_eq!(fitting("select * from co", ""), ["content"]);
        assert_eq!(fitting("select c.", " from content c"), ["content_id", "title"]);
        assert_eq!(fitting("select * from artist as a where a.n", ""), ["name"]);
        assert_eq!(fitting("select ti", " from content"), ["title"]);
        assert_eq!(fitting("SEL", ""), ["select"]);
    }
}
