//! Which statements deserve a question before they run. By their words only: the server decides what
//! they do, this merely catches the slip of a tired evening.

/// Whether the first word of `sql` is `word`.
pub(super) fn begins_with(sql: &str, word: &str) -> bool {
    words(sql).next().is_some_and(|first| first.eq_ignore_ascii_case(word))
}

/// UPDATE or DELETE without a WHERE.
pub(super) fn changes_every_row(sql: &str) -> bool {
    (begins_with(sql, "update") || begins_with(sql, "delete"))
        && !words(sql).any(|word| word.eq_ignore_ascii_case("where"))
}

pub(super) fn writes(sql: &str) -> bool {
    let writing = ["insert", "update", "delete", "merge", "truncate"];
    writing.iter().any(|word| begins_with(sql, word))
        // A data-changing WITH.
        || begins_with(sql, "with") && words(sql).any(|word| writing.iter().any(|w| word.eq_ignore_ascii_case(w)))
}

/// A statement that may be run to see how it runs. What a function does is not known, which is why
/// this is for a person who typed the statement, not for a program.
pub(super) fn is_read(sql: &str) -> bool {
    let reading = ["select", "table", "values", "with"];
    reading.iter().any(|word| begins_with(sql, word)) && !writes(sql)
}

fn words(sql: &str) -> impl Iterator<Item = &str> {
    sql.split(|character: char| !(character.is_alphanumeric() || character == '_'))
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_without_where_is_noticed() {
        assert!(changes_every_row("UPDATE content SET title = ''"));
        assert!(changes_every_row("delete from content"));
        assert!(!changes_every_row("delete from content\nWhere content_id = 1"));
        assert!(!changes_every_row("select * from updates"));
    }

    #[test]
    fn writes_are_told_from_reads() {
        assert!(is_read("select 1") && is_read("table t") && !is_read("delete from t") && !is_read("vacuum"));
        assert!(writes("with gone as (delete from t returning *) select * from gone"));
        assert!(!writes("with t as (select 1) select * from t") && !writes("table t"));
    }
}
