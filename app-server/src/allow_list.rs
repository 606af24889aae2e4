//! What free and premium accounts may say at all. It only ever refuses: grants and row security decide about data, and this closes what
//! grants leave open because many people share a role (`ALTER ROLE` of oneself, other people's statements and sessions, large objects,
//! advisory locks) or because it runs text as a statement where nobody can read it.
//!
//! A statement is judged by a parser, never by its first word; what the parser cannot read is refused.

use sqlparser::ast::{CopyTarget, Expr, Set, Statement, Value};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Tokenizer};

use crate::tier::Tier;
use crate::wire::ErrorResponse;

/// Names that may not occur, as a table, a function or anything else.
const DENIED_NAMES: &[&str] = &[
    // Other people's statements.
    "pg_stat_activity",
    "pg_stat_get_activity",
    "pg_stat_statements",
    // Other people's sessions.
    "pg_terminate_backend",
    "pg_cancel_backend",
    "pg_notify",
    // Data stored without a grant, even by a read-only session.
    "pg_largeobject",
    "pg_largeobject_metadata",
    "lo_creat",
    "lo_create",
    "lo_from_bytea",
    "lo_put",
    "lo_get",
    "lo_open",
    "lo_unlink",
    "lo_import",
    "lo_export",
    "lo_truncate",
    "lo_truncate64",
    "lowrite",
    "loread",
    "pg_logical_emit_message",
    // Text that is run as a statement.
    "ts_stat",
    "ts_rewrite",
];
const DENIED_PREFIXES: &[&str] = &["pg_stat_get_backend_", "pg_advisory_", "pg_try_advisory_", "dblink"];
/// `query_to_xml` and its eleven siblings run or read what is named in a text.
const DENIED_PART: &str = "_to_xml";

/// Settings that change who somebody is, or how the next statement is read.
const DENIED_SETTINGS: &[&str] = &[
    "role",
    "session_authorization",
    "standard_conforming_strings",
    "backslash_quote",
    "escape_string_warning",
];

/// Clocks that, set by a function and so unseen, could make the reset fail that the session's next owner relies on.
const CLOCKS: &[&str] = &[
    "statement_timeout",
    "lock_timeout",
    "transaction_timeout",
    "idle_session_timeout",
    "idle_in_transaction_session_timeout",
];

/// `Err` is what to answer instead of running `sql`. Admins are trusted with what their grants give.
pub(crate) fn check(tier: Tier, sql: &str) -> Result<(), ErrorResponse> {
    if tier == Tier::Admin {
        return Ok(());
    }
    let refuse = |what: String| Err(denial(tier, &what));
    let dialect = PostgreSqlDialect {};
    let unreadable = |error: String| {
        ErrorResponse::error("42601", format!("the server cannot read this statement: {error}"))
            .with_hint(format!("{}; what the server cannot read is refused for this tier", tier.hint()))
    };
    let mut tokens =
        Tokenizer::new(&dialect, sql).tokenize().map_err(|error| unreadable(error.to_string()))?;
    if let Some(name) = denied_name(&tokens) {
        return refuse(name);
    }
    // The parser wants one after COPY .. FROM STDIN.
    tokens.push(Token::SemiColon);
    let statements = Parser::new(&dialect).with_tokens(tokens).parse_statements();
    for statement in statements.map_err(|error| unreadable(error.to_string()))? {
        if let Some(what) = denied_statement(&statement) {
            return refuse(what);
        }
    }
    Ok(())
}

fn denial(tier: Tier, what: &str) -> ErrorResponse {
    ErrorResponse::error("42501", format!("permission denied: {what}")).with_hint(tier.hint())
}

fn denied_name(tokens: &[Token]) -> Option<String> {
    let significant: Vec<&Token> =
        tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_))).collect();
    // An UPDATE of this view is a set_config whose name nobody can read.
    if has_word(&significant, "pg_settings") && has_word(&significant, "update") {
        return Some("`pg_settings` may not be updated".to_owned());
    }
    for (place, token) in significant.iter().enumerate() {
        let Token::Word(word) = token else { continue };
        let name = word.value.to_ascii_lowercase();
        let denied = DENIED_NAMES.contains(&name.as_str())
            || DENIED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            || name.contains(DENIED_PART);
        if denied {
            return Some(format!("`{name}` may not be used"));
        }
        // U&"..." spells a name in escapes, which only PostgreSQL would read.
        if name == "u"
            && word.quote_style.is_none()
            && matches!(significant.get(place + 1), Some(Token::Ampersand))
        {
            return Some("names and texts in U& escapes may not be used".to_owned());
        }
        if name == "set_config" && !sets_a_plain_setting(&significant[place + 1..]) {
            return Some(
                "`set_config` may only be given the name of a harmless setting as a plain text".to_owned(),
            );
        }
    }
    None
}

fn has_word(tokens: &[&Token], wanted: &str) -> bool {
    tokens.iter().any(|token| matches!(token, Token::Word(word) if word.value.eq_ignore_ascii_case(wanted)))
}

fn sets_a_plain_setting(rest: &[&Token]) -> bool {
    match rest {
        [Token::LParen, Token::SingleQuotedString(name), Token::Comma, ..] => {
            // An encoding is changed by SET, whose value can be read.
            !is_denied_setting(name)
                && !CLOCKS.contains(&plain_name(name).as_str())
                && plain_name(name) != "client_encoding"
        }
        _ => false,
    }
}

fn is_denied_setting(name: &str) -> bool {
    DENIED_SETTINGS.contains(&plain_name(name).as_str())
}

fn plain_name(name: &str) -> String {
    name.trim().trim_matches('"').to_ascii_lowercase()
}

/// Whether the parser here and PostgreSQL read the same quotes in a text of this encoding.
///
/// In the encodings that only clients have (GBK, SJIS, BIG5 ..: PostgreSQL manual, "Character Set Support") a quote or a backslash can
/// be the second half of a character. Let through are UTF-8 and those of one byte, by their names in PostgreSQL.
pub(crate) fn is_safe_encoding(name: &str) -> bool {
    let name: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    ["utf8", "unicode", "sqlascii"].contains(&name.as_str())
        || ["latin", "iso8859", "win125", "windows125"].iter().any(|family| name.starts_with(family))
}

const UNSAFE_ENCODING: &str = "client_encoding may be UTF8 or an encoding of one byte";

/// Why a statement may not be run, if it may not.
fn denied_statement(statement: &Statement) -> Option<String> {
    match statement {
        Statement::Query(_)
        | Statement::Insert(_)
        | Statement::Update(_)
        | Statement::Delete(_)
        | Statement::Merge(_)
        | Statement::ShowVariable { .. }
        | Statement::ShowVariables { .. }
        | Statement::StartTransaction { .. }
        | Statement::Commit { .. }
        | Statement::Rollback { .. }
        | Statement::Savepoint { .. }
        | Statement::ReleaseSavepoint { .. }
        | Statement::Execute { .. }
        | Statement::Deallocate { .. }
        | Statement::Declare { .. }
        | Statement::Fetch { .. }
        | Statement::Close { .. }
        | Statement::Discard { .. }
        | Statement::Reset(_)
        | Statement::LISTEN { .. }
        | Statement::UNLISTEN { .. }
        | Statement::Copy { target: CopyTarget::Stdin | CopyTarget::Stdout, .. } => None,
        Statement::Prepare { statement, .. } | Statement::Explain { statement, .. } => {
            denied_statement(statement)
        }
        Statement::Set(set) => denied_set(set),
        Statement::Copy { .. } => Some("COPY may only use STDIN and STDOUT".to_owned()),
        other => Some(format!("{} may not be run", first_words(other))),
    }
}

fn denied_set(set: &Set) -> Option<String> {
    let name = match set {
        Set::SingleAssignment { variable, values, .. } => {
            // `set session characteristics` and the like come without a name; a value must not hide another name.
            let plain = values.iter().all(|value| match value {
                Expr::Value(value) => !matches!(value.value, Value::Placeholder(_)),
                _ => true,
            });
            if plain_name(&variable.to_string()) == "client_encoding" {
                let safe = matches!(values.as_slice(), [value] if is_safe_encoding(&value.to_string()));
                return (!safe).then(|| UNSAFE_ENCODING.to_owned());
            }
            return (!plain || is_denied_setting(&variable.to_string()))
                .then(|| format!("the setting `{variable}` may not be changed"));
        }
        Set::SetNames { charset_name, .. } => {
            return (!is_safe_encoding(&charset_name.to_string())).then(|| UNSAFE_ENCODING.to_owned());
        }
        // It may not even be said to mean the default: the statement does not tell which one that is.
        Set::SetNamesDefault {} => return Some(UNSAFE_ENCODING.to_owned()),
        Set::SetTimeZone { .. } | Set::SetTransaction { .. } => return None,
        Set::SetRole { .. } => "role",
        Set::SetSessionAuthorization(_) => "session_authorization",
        _ => "several at once",
    };
    Some(format!("the setting `{name}` may not be changed"))
}

/// The statement's own first two words, for a message.
fn first_words(statement: &Statement) -> String {
    let text = statement.to_string();
    let words: Vec<&str> = text
        .split_ascii_whitespace()
        .take(2)
        .filter(|word| word.bytes().all(|byte| byte.is_ascii_alphabetic()))
        .collect();
    words.join(" ").to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn honest_statements_are_let_through() {
        for sql in [
            "select title, duration_s from content order by title limit 5",
            "SELECT 1;",
            "",
            "-- a comment only",
            "select 1; select 2 /* nested /* comment */ */;",
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < 5) select * from n",
            "select count(*) filter (where duration_s > 300), array_agg(title order by title) from content",
            "select *, row_number() over (partition by content_type order by duration_s desc) from content",
            "insert into playlist (name) values ('Mine') on conflict do nothing returning playlist_id",
            "update content set duration_s = $1 where content_id = $2",
            "delete from content",
            "begin",
            "begin read write",
            "start transaction isolation level serializable",
            "commit",
            "end",
            "rollback",
            "abort",
            "savepoint a",
            "release savepoint a",
            "rollback to savepoint a",
            "set timezone to 'Europe/Rome'",
            "set time zone 'UTC'",
            "set statement_timeout = '5s'",
            "set search_path to public",
            "set transaction read write",
            "set local work_mem = '4MB'",
            "show all",
            "show transaction_read_only",
            "reset all",
            "discard all",
            "deallocate all",
            "listen news",
            "unlisten *",
            "set client_encoding to 'UTF8'",
            "set client_encoding = latin1",
            "set names 'utf-8'",
            "set extra_float_digits = 3",
            "set datestyle to iso",
            "set session characteristics as transaction read only",
            "explain select 1",
            "explain (analyze, buffers) select * from content",
            "prepare p as select 1",
            "execute p",
            "deallocate p",
            "declare c cursor for select 1",
            "fetch 10 from c",
            "close c",
            "copy content to stdout",
            "copy content (title) to stdout with (format csv, header)",
            "copy (select 1) to stdout",
            "copy content (title, duration_s, content_type) from stdin",
            "select set_config('app.note', 'x', false)",
            "select current_setting('app.identity', true)",
            "select 'pg_stat_activity', 'drop table content'",
            "select title ~* 'lan', title ilike '%a%', title similar to 'a%' from content",
            "select interval '1 day', date '2026-01-01', now() at time zone 'UTC', '{1,2}'::int[], array[1,2][1]",
            "select E'it\\'s', $$dollar$$, $tag$quoted$tag$, U.title from content U",
            "select case when 1 = 1 then 'a' else 'b' end, coalesce(null, 1), extract(epoch from now())",
            "select * from content tablesample system (10)",
            "select * from generate_series(1, 3) as s(i) cross join lateral (select i * 2) as d",
            "values (1), (2)",
            "select distinct on (content_type) * from content order by content_type, duration_s desc",
            "select * from content where (content_id, title) in ((1, 'a')) and album_id is not distinct from null",
            "select * from content for update skip locked",
            "select string_agg(title, ', ') within group (order by title) from content",
            "select percentile_cont(0.5) within group (order by duration_s) from content",
            "select content_type, count(*) from content group by rollup (content_type) having count(*) > 1",
            "select '{\"a\":1}'::jsonb -> 'a', '{\"a\":1}'::jsonb @> '{}', '[1]'::jsonb ->> 0",
        ] {
            for tier in [Tier::Free, Tier::Premium] {
                if let Err(refusal) = check(tier, sql) {
                    panic!("{sql}: {refusal}");
                }
            }
        }
    }

    #[test]
    fn what_grants_leave_open_is_refused() {
        for sql in [
            "alter role tier_free password 'x'",
            "alter user tier_free set search_path = x",
            "ALTER ROLE tier_free IN DATABASE music SET a = 1",
            "select 1; alter role tier_free password 'x'",
            "/* a */ alter /* b */ role tier_free password 'x'",
            "do $$ begin execute 'alter role tier_free password ''x'''; end $$",
            "DO LANGUAGE plpgsql 'begin end'",
            "select * from pg_stat_activity",
            "select * from pg_catalog.\"pg_stat_activity\"",
            "table pg_stat_activity",
            "select query from PG_STAT_ACTIVITY",
            "select pg_stat_get_backend_activity(1)",
            "select U&\"pg\\005fstat_activity\"(1)",
            "select u & \"x\"",
            "select pg_terminate_backend(1)",
            "select (select pg_cancel_backend(pid)) from content",
            "explain analyze select pg_terminate_backend(1)",
            "prepare p as select lo_create(0)",
            "select lo_from_bytea(0, 'x')",
            "select pg_catalog.lowrite(1, 'x')",
            "select pg_advisory_lock(1)",
            "select pg_try_advisory_lock(1)",
            "select query_to_xml('select 1', true, true, '')",
            "select ts_stat('select 1')",
            "set role tier_admin",
            "set session authorization tier_admin",
            "set \"role\" to 'tier_admin'",
            "set local role tier_admin",
            "set standard_conforming_strings = off",
            "set session backslash_quote = on",
            "set client_encoding to 'GBK'",
            "set client_encoding = sjis",
            "set client_encoding to default",
            "set names 'BIG5'",
            "set names default",
            "select set_config('client_encoding', 'GBK', false)",
            "select set_config('Client_Encoding ', 'UTF8', false)",
            "select set_config('role', 'tier_admin', false)",
            "select set_config('ro' || 'le', 'tier_admin', false)",
            "select set_config(E'role', 'tier_admin', false)",
            "select set_config('Statement_Timeout', '1', false)",
            "update pg_settings set setting = 'off' where name = 'standard_conforming_strings'",
            "prepare p as update pg_catalog.\"pg_settings\" set setting = '1'",
            "explain analyze update pg_settings set setting = '1' where name = 'lock_timeout'",
            "select set_config(setting_name => 'role', new_value => 'x', is_local => false)",
            "copy content to program 'cat'",
            "copy content from '/etc/passwd'",
            "notify news",
            "select pg_notify('a', 'b')",
            "grant select on content to public",
            "create table a (b int)",
            "drop table content",
            "truncate content",
            "vacuum",
            "lock table content",
            "comment on table content is 'x'",
            "load 'x'",
            "call p()",
            "select 'unterminated",
            "select $$unterminated",
            "selec 1",
            "reindex table content",
            "create function f() returns int language sql as 'select 1'",
        ] {
            for tier in [Tier::Free, Tier::Premium] {
                assert!(check(tier, sql).is_err(), "{sql}");
            }
            assert!(check(Tier::Admin, sql).is_ok(), "{sql}");
        }
    }
}
