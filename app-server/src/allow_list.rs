//! What free and premium accounts may say at all. It only ever refuses: grants and row security decide about data, and this closes what
//! grants leave open because many people share a role (`ALTER ROLE` of oneself, other people's statements and sessions, large objects,
//! advisory locks) or because it runs text as a statement where nobody can read it.
//!
//! A statement is judged by a parser, never by its first word; what the parser cannot read is refused.

mod settings;
mod syntax_error;

use sqlparser::ast::{CopyTarget, Statement};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, Tokenizer, Whitespace};

pub(crate) use settings::is_safe_encoding;

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

/// Answers how many statements there are. `Err` is what to answer instead of running them. Admins are trusted with what their
/// grants give, and theirs are not counted.
pub(crate) fn check(tier: Tier, sql: &[u8]) -> Result<u64, ErrorResponse> {
    if tier == Tier::Admin {
        return Ok(0);
    }
    let sql = &String::from_utf8_lossy(sql);
    let refuse = |what: String| Err(denial(tier, &what));
    let dialect = PostgreSqlDialect {};
    let mut tokens = Tokenizer::new(&dialect, sql).tokenize().map_err(|_| syntax_error::answer(tier, sql))?;
    if let Some(name) = denied_name(tier, &tokens) {
        return refuse(name);
    }
    if let Some(what) = ambiguous_text(&tokens) {
        return refuse(what.to_owned());
    }
    if runs_a_block(&tokens) {
        return refuse("DO may not be run".to_owned());
    }
    // The parser wants one after COPY .. FROM STDIN.
    tokens.push(Token::SemiColon);
    let mut parser = Parser::new(&dialect).with_tokens(tokens);
    let mut count = 0;
    // One by one: a message may hold thousands, and all their trees at once would be a thousand times its length.
    while let Some(statement) = next_statement(&mut parser).map_err(|_| syntax_error::answer(tier, sql))? {
        if let Some(what) = denied_statement(tier, &statement) {
            return refuse(what);
        }
        count += 1;
    }
    Ok(count)
}

/// The next of all statements, to the last token: the parser's own loop stops at an END that PostgreSQL reads as a name
/// (`select 1 end; ..`).
fn next_statement(parser: &mut Parser<'_>) -> Result<Option<Statement>, ParserError> {
    while parser.consume_token(&Token::SemiColon) {}
    let statement = match &parser.peek_token().token {
        Token::EOF => return Ok(None),
        // A query by itself, which the parser knows only inside of others.
        Token::Word(word) if word.keyword == Keyword::TABLE => Statement::Query(parser.parse_query()?),
        _ => parser.parse_statement()?,
    };
    let next = parser.peek_token();
    if !matches!(next.token, Token::SemiColon | Token::EOF) {
        return parser.expected("end of statement", next);
    }
    Ok(Some(statement))
}

/// DO, which the parser does not know: it is denied as what it is, not as something that cannot be read.
fn runs_a_block(tokens: &[Token]) -> bool {
    let mut words = tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_)));
    let mut begins = true;
    words.any(|token| {
        let is_do = matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("do"));
        std::mem::replace(&mut begins, *token == Token::SemiColon) && is_do
    })
}

/// What PostgreSQL would cut into texts and statements at other places than the tokenizer here.
fn ambiguous_text(tokens: &[Token]) -> Option<&'static str> {
    let mut after_escapes = false;
    for token in tokens {
        match token {
            // PostgreSQL begins a text at `$x$` whatever the letter; here only a parameter may be left over.
            Token::Placeholder(name)
                if !name.strip_prefix('$').is_some_and(|digits| {
                    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
                }) =>
            {
                return Some(
                    "parameters are written `$1`, and the tags of `$tag$` texts in letters and digits",
                );
            }
            // A text on the next line goes on with the escapes of the one before.
            Token::EscapedStringLiteral(_) => after_escapes = true,
            Token::SingleQuotedString(_) if after_escapes => {
                return Some("a text in escapes (E'..') may not go on in another one");
            }
            Token::Whitespace(
                Whitespace::Space
                | Whitespace::Tab
                | Whitespace::Newline
                | Whitespace::SingleLineComment { .. },
            ) => {}
            _ => after_escapes = false,
        }
    }
    None
}

fn denial(tier: Tier, what: &str) -> ErrorResponse {
    ErrorResponse::error("42501", format!("permission denied: {what}")).with_hint(tier.hint())
}

fn denied_name(tier: Tier, tokens: &[Token]) -> Option<String> {
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
        if name == "set_config" && !settings::sets_a_plain_one(tier, &significant[place + 1..]) {
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

/// Why a statement may not be run, if it may not.
fn denied_statement(tier: Tier, statement: &Statement) -> Option<String> {
    match statement {
        Statement::Query(_)
        | Statement::Insert(_)
        | Statement::Update(_)
        | Statement::Delete(_)
        | Statement::Merge(_)
        | Statement::ShowVariable { .. }
        | Statement::ShowVariables { .. }
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
        | Statement::LISTEN { .. }
        | Statement::UNLISTEN { .. }
        | Statement::Copy { target: CopyTarget::Stdin | CopyTarget::Stdout, .. } => None,
        Statement::Prepare { statement, .. } | Statement::Explain { statement, .. } => {
            denied_statement(tier, statement)
        }
        Statement::StartTransaction { modes, statements, .. } if statements.is_empty() => {
            settings::denied_access(tier, modes)
        }
        Statement::Set(set) => settings::denied_set(tier, set),
        Statement::Reset(reset) => settings::denied_reset(tier, &reset.reset),
        Statement::Copy { .. } => Some("COPY may only use STDIN and STDOUT".to_owned()),
        other => Some(format!("{} may not be run", first_words(other))),
    }
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

    fn check(tier: Tier, sql: &str) -> Result<u64, ErrorResponse> {
        super::check(tier, sql.as_bytes())
    }

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
            "table content",
            "select 1 as \"end\"; select 2",
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
    fn a_free_transaction_stays_read_only() {
        for sql in [
            "begin read write",
            "begin isolation level serializable, read write",
            "start transaction read write",
            "set transaction read write",
            "set session characteristics as transaction read write",
            "set transaction_read_only = off",
            "set local \"Transaction_Read_Only\" to off",
            "set default_transaction_read_only to default",
            "reset transaction_read_only",
            "reset default_transaction_read_only",
            "select set_config('transaction_read_only', 'off', true)",
        ] {
            assert!(check(Tier::Free, sql).is_err(), "{sql}");
            assert!(check(Tier::Premium, sql).is_ok(), "{sql}");
        }
        assert!(
            check(Tier::Free, "begin read only; set transaction read only; reset role; reset all").is_ok()
        );
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
            "select 1 end; alter role tier_free password 'x'",
            "select $\u{1f4a5}$ , ' $\u{1f4a5}$; alter role tier_free password 'x' -- '",
            "select E'a'\n'\\' || '\n; alter role tier_free password 'x' -- '",
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
