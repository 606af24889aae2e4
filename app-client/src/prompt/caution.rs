//! Which statements deserve a question before they run. By their words only: the server decides what
//! they do, this merely catches the slip of a tired evening.

use crate::script::{Word, words};

/// What changes the session, or cannot run in a transaction and changes no data.
const ABOUT_THE_SESSION: &[&str] = &[
    "begin",
    "start",
    "commit",
    "end",
    "rollback",
    "abort",
    "savepoint",
    "release",
    "prepare",
    "deallocate",
    "declare",
    "fetch",
    "move",
    "close",
    "set",
    "reset",
    "show",
    "discard",
    "listen",
    "unlisten",
    "load",
    "vacuum",
    "analyze",
    "checkpoint",
];

/// Whether the first word of `sql` is `word`.
pub(super) fn begins_with(sql: &str, word: &str) -> bool {
    words(sql).first().is_some_and(|first| first.text == word)
}

/// Whether a transaction around the statement would be in its way and guard nothing.
pub(super) fn is_about_the_session(sql: &str) -> bool {
    ABOUT_THE_SESSION.iter().any(|word| begins_with(sql, word))
}

/// SET ROLE and the like, and the end of a transaction, which takes SET LOCAL back.
pub(super) fn may_change_role(sql: &str) -> bool {
    let words = words(sql);
    let names = |wanted: &[&str]| words.iter().any(|word| wanted.contains(&word.text.as_str()));
    match words.first().map_or("", |word| word.text.as_str()) {
        "set" => names(&["role", "authorization"]),
        "reset" => names(&["role", "authorization", "all"]),
        "discard" | "commit" | "end" | "rollback" | "abort" => true,
        _ => false,
    }
}

/// An UPDATE or DELETE without a WHERE of its own, also in a WITH, a COPY or under EXPLAIN ANALYZE.
pub(super) fn changes_every_row(sql: &str) -> bool {
    let words = words(sql);
    let Some(words) = what_runs(&words) else { return false };
    let first = words.first().map_or("", |word| word.text.as_str());
    // In others, such as the body of a function, they are not run now.
    matches!(first, "update" | "delete" | "insert" | "with" | "copy")
        && (0..words.len())
            .any(|place| is_change(words, place) && !own(words, place).any(|word| word == "where"))
}

pub(super) fn writes(sql: &str) -> bool {
    const WRITING: &[&str] = &["insert", "update", "delete", "merge", "truncate"];
    let words = words(sql);
    let Some(first) = words.first() else { return false };
    let is_writing = |word: &Word| WRITING.contains(&word.text.as_str());
    match first.text.as_str() {
        // It may hold one that changes data.
        "with" => words.iter().any(is_writing),
        "select" => own(&words, 0).any(|word| word == "into"),
        _ => is_writing(first),
    }
}

/// A statement that may be run to see how it runs. What a function does is not known, which is why
/// this is for a person who typed the statement, not for a program.
pub(super) fn is_read(sql: &str) -> bool {
    let reading = ["select", "table", "values", "with"];
    reading.iter().any(|word| begins_with(sql, word)) && !writes(sql)
}

/// The words from the statement that is run; `None` if EXPLAIN only plans it.
fn what_runs(words: &[Word]) -> Option<&[Word]> {
    if words.first()?.text != "explain" {
        return Some(words);
    }
    let is_option =
        |word: &Word| word.depth > 0 || matches!(word.text.as_str(), "analyze" | "analyse" | "verbose");
    let statement = 1 + words[1..].iter().position(|word| !is_option(word))?;
    let analyze =
        words[1..statement].iter().position(|word| matches!(word.text.as_str(), "analyze" | "analyse"))?;
    let off = matches!(words[analyze + 2].text.as_str(), "off" | "false");
    (!off).then(|| &words[statement..])
}

/// Whether an UPDATE or DELETE begins here, and not `for update`, `on conflict do update` and the like.
fn is_change(words: &[Word], place: usize) -> bool {
    let word = |place: usize| words.get(place).map_or("", |word| word.text.as_str());
    match word(place) {
        "delete" => word(place + 1) == "from",
        "update" => {
            let before = place.checked_sub(1).map_or("", word);
            !matches!(before, "for" | "key" | "do" | "then") && own(words, place).any(|word| word == "set")
        }
        _ => false,
    }
}

/// What follows within the same parentheses, and not in deeper ones.
fn own(words: &[Word], place: usize) -> impl Iterator<Item = &str> {
    let depth = words[place].depth;
    let within = words[place..].iter().take_while(move |word| word.depth >= depth);
    within.filter(move |word| word.depth == depth).map(|word| word.text.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_without_a_where_of_its_own_is_noticed() {
        for sql in [
            "UPDATE content SET title = ''",
            "delete from content",
            "update d set a = (select 2 where true)",
            "with x as (select 1 where true) delete from d",
            "with x as (delete from d returning *) select * from x where true",
            "with x as (delete from d), y as (select 1 where true) select 1",
            "delete from content -- where\n",
            "delete from content /* where */",
            "delete from \"where\"",
            "update content set title = 'where'",
            "explain analyze delete from d",
            "explain (analyze, buffers) update d set a = 1",
            "copy (delete from d returning *) to stdout",
        ] {
            assert!(changes_every_row(sql), "{sql}");
        }
        for sql in [
            "delete from content\nWhere content_id = 1",
            "update d set a = 1 from e where d.id = e.id returning (select 1)",
            "with x as (update d set a = 1 where b) select * from x",
            "select * from updates",
            "with x as (select 1) select * from d for no key update",
            "insert into d values (1) on conflict (a) do update set a = 1",
            "explain delete from d",
            "explain (analyze off) delete from d",
            "explain",
            "create function f() returns void begin atomic delete from d; end",
            "grant delete on d to anna",
            "",
        ] {
            assert!(!changes_every_row(sql), "{sql}");
        }
    }

    #[test]
    fn writes_are_told_from_reads() {
        assert!(is_read("select 1") && is_read("table t") && !is_read("delete from t") && !is_read("vacuum"));
        assert!(writes("with gone as (delete from t returning *) select * from gone"));
        assert!(!writes("with t as (select 'delete') select * from t") && !writes("table t"));
        assert!(writes("select 1 as a into t") && is_read("select (select 1) as \"into\""));
    }
}
