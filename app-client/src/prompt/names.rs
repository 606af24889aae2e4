//! Completion: SQL's words, the tables and columns that this user can see, and the joins that their
//! foreign keys suggest.

mod joins;
mod keywords;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reedline::{Completer, Span, Suggestion};

use crate::connection::{Answer, Connection};
use joins::{ForeignKey, Source};
pub(super) use keywords::KEYWORDS;

/// A table and its columns, in order.
#[derive(Debug, Clone, PartialEq)]
struct Table {
    name: String,
    columns: Vec<String>,
}

/// What the catalog says.
#[derive(Debug, Default)]
struct Catalog {
    tables: Vec<Table>,
    keys: Vec<ForeignKey>,
}

/// Shared between the session, which loads them, and the line editor, which offers them.
#[derive(Clone, Default)]
pub(super) struct Names {
    catalog: Arc<Mutex<Catalog>>,
}

/// More tables than anyone completes among; it bounds the memory, and the time before a statement that is
/// typed at once.
const MOST_TABLES: usize = 20_000;
const MOST_SUGGESTIONS: usize = 100;
/// Between the columns of a table: no name has it.
const SEPARATOR: char = '\x1f';

impl Names {
    /// Asks the catalog. A server that does not answer leaves what is known, at least the words of SQL.
    pub(super) fn load(&self, connection: &mut Connection) {
        let tables = format!(
            "select c.relname, (select string_agg(a.attname::text, E'\\x1f' order by a.attnum) \
             from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) \
             from pg_catalog.pg_class c \
             where c.relkind in ('r', 'p', 'v', 'm', 'f') and c.relnamespace <> 'pg_catalog'::pg_catalog.regnamespace \
             and pg_catalog.pg_table_is_visible(c.oid) order by c.relname limit {MOST_TABLES}"
        );
        let columns = |relation: &str, numbers: &str| {
            format!(
                "(select string_agg(a.attname::text, E'\\x1f' order by k.place) \
                 from unnest({numbers}) with ordinality k(number, place) \
                 join pg_catalog.pg_attribute a on a.attrelid = {relation} and a.attnum = k.number)"
            )
        };
        let keys = format!(
            "select r.relname, {}, f.relname, {} from pg_catalog.pg_constraint c \
             join pg_catalog.pg_class r on r.oid = c.conrelid join pg_catalog.pg_class f on f.oid = c.confrelid \
             where c.contype = 'f' and pg_catalog.pg_table_is_visible(r.oid) and pg_catalog.pg_table_is_visible(f.oid) \
             order by 3, 1 limit {MOST_TABLES}",
            columns("c.conrelid", "c.conkey"),
            columns("c.confrelid", "c.confkey")
        );
        let apart = |text: &str| text.split(SEPARATOR).map(str::to_owned).collect();
        let Ok(Answer { error: None, rows, .. }) = connection.ask(&tables) else { return };
        let tables = rows.into_iter().filter_map(|row| match row.as_slice() {
            [Some(name), columns] => {
                let columns = columns.as_deref().map(apart).unwrap_or_default();
                Some(Table { name: name.clone(), columns })
            }
            _ => None,
        });
        self.catalog().tables = tables.collect();
        let Ok(Answer { error: None, rows, .. }) = connection.ask(&keys) else { return };
        let keys = rows.into_iter().filter_map(|row| match row.as_slice() {
            [Some(table), Some(columns), Some(other), Some(other_columns)] => Some(ForeignKey {
                table: table.clone(),
                columns: apart(columns),
                other: other.clone(),
                other_columns: apart(other_columns),
            }),
            _ => None,
        });
        self.catalog().keys = keys.collect();
    }

    fn catalog(&self) -> MutexGuard<'_, Catalog> {
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What fits at the end of `before`, the text up to the cursor; `text` is the whole statement.
    fn fitting(&self, before: &str, text: &str) -> Vec<String> {
        let catalog = self.catalog();
        let Catalog { tables, keys } = &*catalog;
        let typed = last_word(before);
        let ahead = &before[..before.len() - typed.len()];
        let sources = joins::sources(text);
        let mut found: Vec<String> = Vec::new();
        if let Some(owner) = ahead.strip_suffix('.').map(last_word).filter(|owner| !owner.is_empty()) {
            // After `alias.` only that table's columns make sense, and what joins them.
            let name =
                sources.iter().find(|source| source.name == owner).map_or(owner, |source| source.table);
            let before_owner = &ahead[..ahead.len() - owner.len() - 1];
            if last_word(before_owner.trim_end()).eq_ignore_ascii_case("on") {
                let conditions = joins::conditions(keys, &joins::sources(before_owner));
                let prefix = format!("{owner}.");
                found.extend(
                    conditions.iter().filter_map(|whole| whole.strip_prefix(&prefix)).map(str::to_owned),
                );
            }
            found.extend(
                tables.iter().filter(|table| table.name == name).flat_map(|table| table.columns.clone()),
            );
        } else {
            match last_word(ahead.trim_end()).to_ascii_lowercase().as_str() {
                "join" => {
                    found.extend(joins::with_conditions(keys, &joins::sources(ahead)));
                    found.extend(tables.iter().map(|table| table.name.clone()));
                }
                "from" | "into" | "update" | "table" => {
                    found.extend(tables.iter().map(|table| table.name.clone()));
                }
                previous => {
                    if previous == "on" {
                        found.extend(joins::conditions(keys, &joins::sources(ahead)));
                    }
                    let mentioned =
                        |table: &&Table| sources.iter().any(|Source { table: name, .. }| *name == table.name);
                    found.extend(tables.iter().filter(mentioned).flat_map(|table| table.columns.clone()));
                    found.extend(KEYWORDS.iter().map(|word| (*word).to_owned()));
                    found.extend(tables.iter().map(|table| table.name.clone()));
                }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let table = |name: &str, columns: &[&str]| Table {
            name: name.to_owned(),
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        };
        let tables = vec![
            table("content", &["content_id", "title"]),
            table("artist", &["artist_id", "name"]),
            table("content_artist", &["content_id", "artist_id"]),
        ];
        let key = |other: &str, column: &str| ForeignKey {
            table: "content_artist".to_owned(),
            columns: vec![column.to_owned()],
            other: other.to_owned(),
            other_columns: vec![column.to_owned()],
        };
        let keys = vec![key("artist", "artist_id"), key("content", "content_id")];
        Names { catalog: Arc::new(Mutex::new(Catalog { tables, keys })) }
    }

    fn fitting(before: &str, after: &str) -> Vec<String> {
        names().fitting(before, &format!("{before}{after}"))
    }

    #[test]
    fn what_is_offered_depends_on_what_stands_before() {
        assert_eq!(fitting("select * from conte", ""), ["content", "content_artist"]);
        assert_eq!(fitting("select c.", " from content c"), ["content_id", "title"]);
        assert_eq!(fitting("select * from artist as a where a.n", ""), ["name"]);
        assert_eq!(fitting("select ti", " from content"), ["title"]);
        assert_eq!(fitting("select x.n", " from content c, public.artist x where true"), ["name"]);
        assert_eq!(fitting("SEL", ""), ["select"]);
    }

    #[test]
    fn foreign_keys_suggest_joins_and_their_conditions() {
        let joined = "content_artist on content_artist.content_id = c.content_id";
        assert_eq!(fitting("select * from content c join content_a", " limit 1"), [joined, "content_artist"]);
        assert_eq!(fitting("select * from content c join ", "")[0], joined);
        let start = "select * from content c join content_artist ca on ca.content_id = c.content_id join artist a on ";
        assert_eq!(fitting(start, "")[0], "a.artist_id = ca.artist_id");
        assert_eq!(fitting(&format!("{start}a.ar"), ""), ["artist_id = ca.artist_id", "artist_id"]);
        assert_eq!(fitting("select * from content c join artist a on t", "")[0], "title");
    }
}
