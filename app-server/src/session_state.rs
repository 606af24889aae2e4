//! What a statement leaves behind in a database session for later ones: settings, listening, prepared statements, cursors.
//! Read from its command tag and text, and only to keep for a client what is its own: nobody else ever sees it, read or not.

/// What ties a client to its database session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tie {
    Listening,
    Other,
}

/// Whether a statement that has succeeded ties its client to its database session until DISCARD ALL.
pub(crate) fn tie_of(tag: &str, sql: &str) -> Option<Tie> {
    let ties = match tag {
        "LISTEN" => return Some(Tie::Listening),
        "PREPARE" | "LOAD" => true,
        "SET" => !ends_with_transaction(sql),
        "DECLARE CURSOR" => has_word(sql, &["hold"]),
        "CREATE TABLE" | "CREATE VIEW" | "CREATE SEQUENCE" => {
            has_word(sql, &["temp", "temporary", "pg_temp"])
        }
        _ => false,
    };
    ties.then_some(Tie::Other)
}

/// SET LOCAL and SET TRANSACTION, alone. Among several statements the tag does not tell which one it was.
fn ends_with_transaction(sql: &str) -> bool {
    let alone = !sql.trim_end().trim_end_matches(';').contains(';');
    let mut words = sql.split_ascii_whitespace();
    let mut next_is = |expected: &[&str]| {
        words.next().is_some_and(|word| expected.iter().any(|expected| word.eq_ignore_ascii_case(expected)))
    };
    alone && next_is(&["set"]) && next_is(&["local", "transaction", "constraints"])
}

fn has_word(sql: &str, wanted: &[&str]) -> bool {
    sql.split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
        .any(|word| wanted.iter().any(|wanted| word.eq_ignore_ascii_case(wanted)))
}

/// The name in a DEALLOCATE, as PostgreSQL reads it: in lower case unless quoted.
pub(crate) fn deallocated(sql: &str) -> Option<String> {
    let mut words = sql.trim().trim_end_matches(';').split_ascii_whitespace().skip(1).peekable();
    words.next_if(|word| word.eq_ignore_ascii_case("prepare"));
    let name = words.next()?;
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(quoted) => Some(quoted.replace("\"\"", "\"")),
        None => Some(name.to_ascii_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_outlives_a_transaction_ties() {
        for (tag, sql) in [
            ("SET", "set timezone = 'UTC'"),
            ("SET", "begin; set local timezone = 'UTC'; set datestyle = iso"),
            ("PREPARE", "prepare p as select 1"),
            ("DECLARE CURSOR", "declare c cursor with hold for select 1"),
            ("CREATE TABLE", "create TEMP table t (a int)"),
            ("CREATE TABLE", "create table pg_temp.t (a int)"),
        ] {
            assert_eq!(tie_of(tag, sql), Some(Tie::Other), "{sql}");
        }
        assert_eq!(tie_of("LISTEN", "listen news"), Some(Tie::Listening));
        for (tag, sql) in [
            ("SET", "SET LOCAL timezone = 'UTC';"),
            ("SET", "set transaction read only"),
            ("DECLARE CURSOR", "declare c cursor for select 1"),
            ("CREATE TABLE", "create table temperature (a int)"),
            ("SELECT 1", "select 'set'"),
            ("BEGIN", "begin"),
        ] {
            assert_eq!(tie_of(tag, sql), None, "{sql}");
        }
    }

    #[test]
    fn the_name_of_a_deallocate_is_read_as_postgresql_reads_it() {
        assert_eq!(deallocated("DEALLOCATE Plan1;").as_deref(), Some("plan1"));
        assert_eq!(deallocated("deallocate prepare \"Plan\"\"1\"").as_deref(), Some("Plan\"1"));
        assert_eq!(deallocated("deallocate"), None);
    }
}
