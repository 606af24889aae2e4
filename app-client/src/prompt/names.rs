//! Completion: SQL's words, the tables and columns that this user can name, and the joins that their
//! foreign keys suggest.

mod catalog;
mod commands;
mod joins;
mod keywords;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reedline::{Completer, Span, Suggestion};

use crate::connection::Connection;
use crate::script::{Kind, Token, is_word_character, plain, tokens};
use catalog::{Catalog, Table};
pub(super) use keywords::KEYWORDS;

/// Shared between the session, which loads them, and the line editor, which offers them.
#[derive(Clone, Default)]
pub(super) struct Names {
    catalog: Arc<Mutex<Catalog>>,
}

const MOST_SUGGESTIONS: usize = 100;

/// What a cursor stands behind.
struct Place<'a> {
    /// The beginning of a word, perhaps nothing of it.
    typed: &'a str,
    /// `schema.table.` or `alias.`, outermost first, without its dots.
    owners: Vec<String>,
    /// The words of the statement that come before, without owners.
    ahead: Vec<Token<'a>>,
}

impl Names {
    /// Asks the catalog. A server that does not answer leaves what is known, at least the words of SQL.
    pub(super) fn load(&self, connection: &mut Connection) {
        let Some((tables, places)) = catalog::tables(connection) else { return };
        // The tables are there for whoever asks while the keys are not.
        *self.catalog() = Catalog::new(tables, Vec::new());
        if let Some(keys) = catalog::keys(connection, &places) {
            self.catalog().keys = keys;
        }
    }

    fn catalog(&self) -> MutexGuard<'_, Catalog> {
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What fits at the end of `before`, the text up to the cursor, and how much of `before` it replaces;
    /// `after` is the rest.
    fn fitting(&self, before: &str, after: &str) -> (Vec<String>, usize) {
        let Some(place) = Place::find(before) else { return (Vec::new(), 0) };
        let catalog = self.catalog();
        let statement: Vec<Token<'_>> = place.ahead.iter().copied().chain(following(after)).collect();
        let mut found = match place.owners.as_slice() {
            [] => unowned(&catalog, &place, &statement),
            owners => owned(&catalog, owners, &place, &statement),
        };
        let quoted = place.typed.starts_with('"');
        let typed = place.typed.trim_start_matches('"').to_lowercase();
        found.retain(|offer| begins_with(offer.strip_prefix('"').unwrap_or(offer), &typed));
        if quoted {
            // A quote was typed: only a name can follow, and it has to be closed.
            found.retain(|offer| offer.starts_with('"') || offer.chars().all(is_word_character));
            for offer in found.iter_mut().filter(|offer| !offer.starts_with('"')) {
                *offer = format!("\"{offer}\"");
            }
        }
        let mut seen = HashSet::new();
        found.retain(|offer| seen.insert(offer.clone()));
        found.truncate(MOST_SUGGESTIONS);
        (found, place.typed.len())
    }
}

/// After `alias.` only that table's columns make sense, and what joins them; after `schema.` its tables.
fn owned(catalog: &Catalog, owners: &[String], place: &Place<'_>, statement: &[Token<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    let columns = |place: usize| catalog.tables[place].columns.clone();
    match owners {
        [schema, table] => found.extend(catalog.find(Some(schema), table).into_iter().flat_map(columns)),
        [owner] => {
            let sources = joins::sources(catalog, statement);
            let source = sources.iter().find(|source| source.is_called(owner));
            if let (true, Some(source)) = (place.follows("on"), source) {
                let conditions = joins::conditions(catalog, &joins::sources(catalog, &place.ahead));
                let prefix = format!("{}.", source.name);
                let whole = conditions.iter();
                found.extend(whole.filter_map(|whole| whole.strip_prefix(&prefix)).map(str::to_owned));
            }
            let table = source.map(|source| source.table).or_else(|| catalog.find(None, owner));
            found.extend(table.into_iter().flat_map(columns));
            let within = catalog.tables.iter().filter(|table| plain(&table.schema) == *owner);
            found.extend(within.map(|table| table.name.clone()));
        }
        _ => {}
    }
    found
}

fn unowned(catalog: &Catalog, place: &Place<'_>, statement: &[Token<'_>]) -> Vec<String> {
    // As in psql, the server's own tables are for who asks for them.
    let system = place.typed.to_lowercase().starts_with("pg_");
    let offered = |table: &&Table| table.visible && (system || !table.is_system());
    let tables = || catalog.tables.iter().filter(offered).map(|table| table.name.clone());
    let schemas = || catalog.schemas.iter().map(|schema| format!("{schema}."));
    let mut found = Vec::new();
    if place.follows("join") {
        found.extend(joins::with_conditions(catalog, &joins::sources(catalog, &place.ahead)));
        found.extend(tables().chain(schemas()));
    } else if ["from", "into", "update", "table"].iter().any(|word| place.follows(word)) || place.describes()
    {
        found.extend(tables().chain(schemas()));
    } else {
        if place.follows("on") {
            found.extend(joins::conditions(catalog, &joins::sources(catalog, &place.ahead)));
        }
        let mentioned: Vec<_> = joins::sources(catalog, statement);
        found.extend(mentioned.iter().flat_map(|source| catalog.tables[source.table].columns.clone()));
        if !place.typed.starts_with('"') {
            found.extend(KEYWORDS.iter().map(|word| (*word).to_owned()));
        }
        found.extend(tables().chain(schemas()));
    }
    found
}

impl<'a> Place<'a> {
    /// `None` inside of a text or a comment, where nothing is to be completed. The body of a function is SQL of its own.
    fn find(before: &'a str) -> Option<Self> {
        let mut ahead = tokens(before);
        if let Some(last) = ahead.last().filter(|last| !last.closed && last.kind != Kind::QuotedName) {
            return last.open_body().and_then(Self::find);
        }
        // A statement that ended is another one's.
        if let Some(end) = ahead.iter().rposition(|token| token.text == ";") {
            ahead.drain(..=end);
        }
        let mut start = before.len();
        let mut typed = "";
        let open = |last: &Token<'_>| match last.kind {
            Kind::Word | Kind::Number => true,
            Kind::QuotedName => !last.closed,
            Kind::Text | Kind::Comment | Kind::Sign => false,
        };
        if let Some(last) = ahead.last().copied().filter(|last| last.end() == start && open(last)) {
            ahead.pop();
            (start, typed) = (last.start, last.text);
        }
        let mut owners = Vec::new();
        while let [.., owner, dot] = ahead.as_slice()
            && dot.text == "."
            && dot.end() == start
            && owner.end() == dot.start
            && owner.is_name()
        {
            owners.insert(0, owner.name().into_owned());
            start = owner.start;
            ahead.truncate(ahead.len() - 2);
        }
        Some(Self { typed, owners, ahead })
    }

    /// After `\d`, `\dt+` and the like.
    fn describes(&self) -> bool {
        match self.ahead.as_slice() {
            [backslash, command, plus @ ..] => {
                backslash.text == "\\"
                    && command.text.starts_with('d')
                    && plus.iter().all(|plus| plus.text == "+")
            }
            _ => false,
        }
    }

    fn follows(&self, word: &str) -> bool {
        let last = self.ahead.iter().rev().find(|token| token.kind != Kind::Comment);
        last.is_some_and(|last| last.text.eq_ignore_ascii_case(word))
    }
}

/// The rest of the statement that `after` begins within.
fn following(after: &str) -> impl Iterator<Item = Token<'_>> {
    tokens(after).into_iter().take_while(|token| token.text != ";")
}

/// Whether `offer` begins with `typed`, which is in lower case.
fn begins_with(offer: &str, typed: &str) -> bool {
    let mut offered = offer.chars().flat_map(char::to_lowercase);
    typed.chars().all(|letter| offered.next() == Some(letter))
}

impl Completer for Names {
    fn complete(&mut self, line: &str, position: usize) -> Vec<Suggestion> {
        let (before, after) = line.split_at_checked(position).unwrap_or((line, ""));
        let command = before.trim_start().strip_prefix('\\').and_then(commands::fitting);
        let (found, replaced) = command.unwrap_or_else(|| self.fitting(before, after));
        let span = Span::new(before.len() - replaced, before.len());
        found.into_iter().map(|value| Suggestion { value, span, ..Suggestion::default() }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::catalog::Table;
    use super::joins::ForeignKey;
    use super::*;

    fn names() -> Names {
        let table = |schema: &str, name: &str, columns: &[&str]| Table {
            schema: schema.to_owned(),
            name: name.to_owned(),
            visible: schema != "private",
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        };
        let tables = vec![
            table("public", "content", &["content_id", "title"]),
            table("public", "artist", &["artist_id", "name"]),
            table("public", "content_artist", &["content_id", "artist_id"]),
            table("public", "\"Release Year\"", &["\"Year\"", "\"order\"", "content_id"]),
            table("private", "account", &["artist_id", "secret"]),
            table("pg_catalog", "pg_class", &["relname"]),
        ];
        let key = |table: usize, other: usize, column: &str| ForeignKey {
            table,
            columns: vec![column.to_owned()],
            other,
            other_columns: vec![column.to_owned()],
        };
        let keys = vec![key(2, 1, "artist_id"), key(2, 0, "content_id"), key(4, 1, "artist_id")];
        Names { catalog: Arc::new(Mutex::new(Catalog::new(tables, keys))) }
    }

    fn fitting(before: &str, after: &str) -> Vec<String> {
        names().fitting(before, after).0
    }

    #[test]
    fn what_is_offered_depends_on_what_stands_before() {
        assert_eq!(fitting("select * from conte", ""), ["content", "content_artist"]);
        assert_eq!(fitting("select c.", " from content c"), ["content_id", "title"]);
        assert_eq!(fitting("select * from artist as a where a.n", ""), ["name"]);
        assert_eq!(fitting("select ti", " from content"), ["title"]);
        assert_eq!(fitting("select x.n", " from content c, public.artist x where true"), ["name"]);
        assert_eq!(fitting("SEL", ""), ["select"]);
        // The statement at hand, not its neighbours.
        assert_eq!(fitting("select * from artist; select ti", " from content; table artist"), ["title"]);
        assert!(fitting("select * from artist; select ti", "; table content").is_empty());
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
        let away = "private.account on account.artist_id = artist.artist_id";
        assert_eq!(fitting("select * from artist join priv", ""), [away, "private."]);
    }

    #[test]
    fn names_that_need_quotes_get_them_and_are_known_by_them() {
        assert_eq!(fitting("select * from rel", ""), ["\"Release Year\""]);
        assert_eq!(fitting("select * from \"Rel", ""), ["\"Release Year\""]);
        assert_eq!(names().fitting("select * from \"Release Y", "").1, "\"Release Y".len());
        assert_eq!(fitting("select * from \"conte", ""), ["\"content\"", "\"content_artist\""]);
        assert_eq!(fitting("select o", " from \"Release Year\" r")[0], "\"order\"");
        assert_eq!(fitting("select \"R\".", " from \"Release Year\" \"R\"")[0], "\"Year\"");
        assert_eq!(fitting("select R.y", " from \"Release Year\" r"), ["\"Year\""]);
    }

    #[test]
    fn a_schema_is_completed_and_then_its_tables() {
        assert_eq!(fitting("select * from priv", ""), ["private."]);
        assert_eq!(fitting("select * from private.", ""), ["account"]);
        assert_eq!(fitting("select secr", " from private.account"), ["secret"]);
        assert_eq!(fitting("select private.account.s", ""), ["secret"]);
        assert!(fitting("select secr", " from account").is_empty());
        assert_eq!(fitting("select * from pg_", ""), ["pg_class", "pg_catalog."]);
        assert!(!fitting("select * from ", "").contains(&"pg_class".to_owned()));
    }

    #[test]
    fn commands_complete_themselves_and_what_they_take() {
        let complete = |line: &str| -> Vec<String> {
            names().complete(line, line.len()).into_iter().map(|suggestion| suggestion.value).collect()
        };
        assert_eq!(complete("\\ti"), ["timing"]);
        assert_eq!(
            complete("\\d"),
            [
                "d", "d+", "dD", "dT", "db", "df", "di", "dm", "dn", "dp", "ds", "dt", "dt+", "dtS", "du",
                "dv", "dx"
            ]
        );
        assert_eq!(complete("\\d conte"), ["content", "content_artist"]);
        assert_eq!(complete("\\d+ private."), ["account"]);
        assert_eq!(complete("\\format nd"), ["ndjson"]);
        assert_eq!(complete("\\i src/prompt/nam"), ["src/prompt/names.rs", "src/prompt/names/"]);
        assert_eq!(complete("\\explain table conte"), ["content", "content_artist"]);
    }

    #[test]
    fn nothing_is_offered_inside_of_strings_and_comments() {
        for inside in [
            "select 'sel",
            "select 1 -- sel",
            "select /* sel",
            "select 'it''s sel",
            "select E'it\\'s sel",
            "select /* a /* b */ sel",
        ] {
            assert!(fitting(inside, "").is_empty(), "{inside}");
        }
        assert_eq!(fitting("select 'x' /* y */ -- z\n, ti", " from content"), ["title"]);
        // The body of a function is SQL.
        assert_eq!(fitting("do $x$ begin update conte", " $x$"), ["content", "content_artist"]);
        assert_eq!(fitting("select $$ it's $$, ti", " from content"), ["title"]);
    }
}
