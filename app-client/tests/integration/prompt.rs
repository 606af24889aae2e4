//! The interactive session, typed at on a real pseudo terminal.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::{PASSWORD, Server, USER, eventually};
use crate::terminal::Terminal;

const PROMPT: &str = "owner postgres=> ";

/// The prompt of a session that has just begun.
fn begin(server: &Server) -> Terminal {
    let mut terminal = server.terminal([]);
    terminal.shows("postgres on PostgreSQL ");
    terminal.shows(PROMPT);
    terminal
}

#[test]
fn statements_and_commands_are_run_until_one_leaves() {
    let server = Server::start();
    let mut terminal = begin(&server);
    terminal.keys("select 6 * 7 as answer;\r");
    terminal.shows(" answer \r\n--------\r\n     42\r\n(1 row)\r\n");
    terminal.shows(PROMPT);
    terminal.keys("select 1,\r");
    terminal.shows("... ");
    terminal.keys("nope;\r");
    terminal.shows("ERROR: column \"nope\" does not exist (42703)\r\nLINE 2: nope");
    terminal.shows(PROMPT);
    terminal.keys("create table song (id int primary key, title text not null);\r");
    terminal.shows("CREATE TABLE");
    terminal.keys("\\d song\r");
    terminal.shows(" title  | text    |           | not null | ");
    terminal.shows("primary key");
    terminal.keys("\\dt so*\r");
    terminal.shows(" public | song | table | owner");
    terminal.keys("\\x\r");
    terminal.shows("format is expanded");
    terminal.keys("select 1 as a \\g\r");
    terminal.shows("-[ RECORD 1 ]\r\na | 1\r\n");
    terminal.keys("\\nonsense\r");
    terminal.shows("there is no command `\\nonsense`");
    terminal.keys("begin;\r");
    terminal.shows("owner postgres=*> ");
    terminal.keys("nope;\r");
    terminal.shows("42601");
    terminal.shows("owner postgres=!> ");
    terminal.keys("rollback;\r");
    terminal.shows(PROMPT);
    terminal.keys("Exit\r");
    terminal.ends(0);

    let history = server.folder().join(".local/state/app-client/history");
    assert!(fs::read_to_string(&history).expect("a history").contains("select 6 * 7"));
    assert_eq!(fs::metadata(&history).expect("a history").permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_prompt_shows_the_role_that_statements_run_as() {
    let server = Server::start();
    server.psql(&["-c", "create role bob"]);
    let mut terminal = begin(&server);
    for (typed, prompt) in [
        ("set role bob;", "owner (bob) postgres=> "),
        ("reset role;", PROMPT),
        ("begin;", "owner postgres=*> "),
        ("set local role bob;", "owner (bob) postgres=*> "),
        ("nope;", "owner (bob) postgres=!> "),
        ("rollback;", PROMPT),
        ("set session authorization bob;", "owner (bob) postgres=> "),
        ("discard all;", PROMPT),
    ] {
        terminal.keys(&format!("{typed}\r"));
        terminal.shows(prompt);
    }
}

#[test]
fn a_write_is_asked_about_before_it_does_harm() {
    let server = Server::start();
    server.psql(&["-c", "create table t (a int)", "-c", "insert into t values (1), (2)"]);
    let mut terminal = begin(&server);
    terminal.keys("delete from t;\r");
    terminal.shows("changes every row of the table; run it? [y/N] ");
    terminal.keys("n\r");
    terminal.shows("not run");
    terminal.shows(PROMPT);
    terminal.keys("\\safe on\r");
    terminal.shows("safe writes is on");
    terminal.shows(PROMPT);
    terminal.keys("update t set a = 10 where a = 1;\r");
    terminal.shows("UPDATE 1");
    terminal.shows("keep this change? [y/N] ");
    terminal.keys("\r");
    terminal.shows("rolled back");
    terminal.shows(PROMPT);
    terminal.keys("update t set a = 20 where a = 2;\r");
    terminal.shows("keep this change? [y/N] ");
    terminal.keys("y\r");
    terminal.shows("kept");
    terminal.shows(PROMPT);
    assert_eq!(server.psql(&["-Atc", "select a from t order by a"]), b"1\n20\n");
}

#[test]
fn tab_completes_tables_and_the_columns_of_an_alias() {
    let server = Server::start();
    server.psql(&[
        "-c",
        "create table playlist (playlist_id int, nickname text)",
        "-c",
        "insert into playlist values (7, 'x')",
    ]);
    let mut terminal = begin(&server);
    terminal.keys("select nick from playl\t");
    terminal.shows("playlist");
    terminal.keys("\x03");
    terminal.shows(PROMPT);
    terminal.keys("select p.playlist_i from playlist p where p.nickn\t");
    terminal.shows("nickname");
    terminal.keys("\x03");
}

#[test]
fn named_operations_take_arguments_apart_from_the_sql() {
    let server = Server::start();
    let folder = server.folder().join("sql/operations");
    fs::create_dir_all(&folder).expect("the folder is ours");
    fs::write(folder.join("4_find.sql"), "-- Find by title.\nselect $1::text || '!' as found\n")
        .expect("written");
    let mut terminal = begin(&server);
    terminal.keys("\\op\r");
    terminal.shows(" 4 find");
    terminal.shows("Find by title.");
    terminal.keys("\\op find \"it's; drop\"\r");
    terminal.shows("it's; drop!");
    terminal.keys("\\op 4\r");
    terminal.shows("takes 1 argument, not 0: Find by title.");
}

#[test]
fn a_password_is_asked_for_and_not_echoed() {
    let server = Server::start();
    let mut terminal = server.terminal_without_password(["--csv", "-c", "select current_user as name"]);
    terminal.shows(&format!("Password for {USER}: "));
    terminal.keys(&format!("{PASSWORD}\r"));
    let rest = terminal.shows(&format!("name\r\n{USER}\r\n"));
    assert!(!rest.contains(PASSWORD), "{rest:?}");
    terminal.ends(0);
}

#[test]
fn a_command_in_the_middle_of_a_statement_does_not_end_it() {
    let server = Server::start();
    let mut terminal = begin(&server);
    terminal.keys("select 'still ' ||\r");
    terminal.shows("... ");
    terminal.keys("\\conninfo\r");
    terminal.shows("user owner");
    terminal.shows("select 'still ' ||");
    terminal.keys(" 'here' as x;\r");
    terminal.shows("still here\r\n");
    terminal.shows(PROMPT);
    terminal.keys("select 'repeated' as x \\watch 0.1\r");
    terminal.shows("repeated\r\n");
    terminal.shows("repeated\r\n");
    terminal.keys("\x03");
    terminal.shows(PROMPT);
}

#[test]
fn the_prompt_is_there_while_the_names_for_the_completion_are_loaded() {
    let server = Server::start();
    server.psql(&["-c", "create table playlist (nickname text)"]);
    // Foreign keys come last, and do not come while this is locked.
    let held = server.hold("postgres", "lock table pg_catalog.pg_constraint");
    let mut terminal = begin(&server);
    terminal.keys("select nick");
    eventually("the names of the tables", || {
        let asks = "select count(*) from pg_stat_activity where application_name = 'app-client' and wait_event_type = 'Lock'";
        server.psql(&["-Atc", asks]) == b"1\n"
    });
    terminal.keys("\x01\x0bselect * from playl\t");
    terminal.shows("playlist");
    terminal.keys(" limit 0;\r");
    drop(held);
    terminal.shows("(0 rows)");
    terminal.shows(PROMPT);
}

#[test]
fn tab_offers_what_is_known_while_the_names_are_on_their_way() {
    let server = Server::start();
    server.psql(&["-c", "create table playlist (nickname text)"]);
    let held = server.hold("postgres", "lock table pg_catalog.pg_namespace");
    let mut terminal = begin(&server);
    terminal.keys("sel\t");
    terminal.shows("select");
    terminal.keys(" * from playl\t");
    terminal.shows("NO RECORDS FOUND");
    terminal.keys("\x03\x03");
    terminal.shows(PROMPT);
    terminal.keys("upd\t");
    terminal.shows("update");
    terminal.keys("\x03");
    terminal.shows(PROMPT);
    drop(held);
    terminal.keys("select 'names are' || ' here' as x;\r");
    terminal.shows("names are here");
    terminal.shows(PROMPT);
    terminal.keys("select * from playl\t");
    terminal.shows("playlist");
    terminal.keys("\x03\x03");
    // Who leaves does not wait for them.
    let _held = server.hold("postgres", "lock table pg_catalog.pg_namespace");
    let mut terminal = begin(&server);
    terminal.keys("\x04");
    terminal.ends(0);
}

#[test]
fn null_has_a_sign_of_its_own_if_one_is_set_and_a_long_table_is_straight() {
    let server = Server::start();
    let mut terminal = begin(&server);
    terminal.keys("\\pset null <null>\r");
    terminal.shows("NULL is shown as `<null>`");
    terminal.shows(PROMPT);
    terminal.keys("select null as a, '' as b;\r");
    terminal.shows("   a    | b \r\n--------+---\r\n <null> | \r\n");
    terminal.shows(PROMPT);
    terminal.keys("\\pset pager off\r");
    terminal.shows("the pager is off");
    terminal.shows(PROMPT);
    // Wider behind the first screen.
    terminal.keys("select g, repeat('w', g / 10) as w, 1 as n from generate_series(1, 90) g;\r");
    terminal.shows("  1 |           | 1\r\n");
    terminal.shows(" 90 | wwwwwwwww | 1\r\n");
}

#[test]
fn a_menu_that_is_not_chosen_from_does_not_keep_the_statement_from_running() {
    let server = Server::start();
    server.psql(&["-c", "create table song as select 'it ran' as x; create table songbook (x int)"]);
    let mut terminal = begin(&server);
    terminal.keys("select 1;\r");
    terminal.shows("(1 row)");
    terminal.shows(PROMPT);
    terminal.keys("select * from so\t");
    terminal.shows("songbook");
    terminal.keys("ng;\r");
    terminal.shows("it ran");
    terminal.shows(PROMPT);
    // The semicolon is found in the history as well.
    terminal.keys("\x12song;\r\r");
    terminal.shows("it ran");
}

#[test]
fn names_that_need_quotes_get_them_and_schemas_are_completed() {
    let server = Server::start();
    server.psql(&[
        "-c",
        "create schema archive; create table archive.\"Old Songs\" (\"Release Year\" int, \"order\" int)",
        "-c",
        "insert into archive.\"Old Songs\" values (1999, 7)",
    ]);
    let mut terminal = begin(&server);
    // The names are there once a statement was run.
    terminal.keys("select 1;\r");
    terminal.shows("(1 row)");
    terminal.shows(PROMPT);
    terminal.keys("table arch\t");
    terminal.shows("archive.");
    terminal.keys("\t");
    terminal.shows("\"Old Songs\"");
    terminal.keys(";\r");
    terminal.shows("1999 |     7");
    terminal.shows(PROMPT);
    terminal.keys("select o.\"Rel\t");
    terminal.shows("NO RECORDS FOUND");
    terminal.keys("\x03\x03");
    terminal.shows(PROMPT);
    terminal.keys("select rel from archive.\"Old Songs\"\x01\x1bf\x1bf\t");
    terminal.shows("\"Release Year\"");
    terminal.keys("\x05;\r");
    terminal.shows("         1999");
}

#[test]
fn watch_repeats_the_last_statement_until_ctrl_c() {
    let server = Server::start();
    server.psql(&["-c", "create sequence beat"]);
    let mut terminal = begin(&server);
    terminal.keys("select nextval('beat') as beat;\r");
    terminal.shows("    1\r\n");
    terminal.keys("\\watch 0.1\r");
    terminal.shows("    2\r\n");
    terminal.shows("    4\r\n");
    terminal.keys("\x03");
    terminal.shows(PROMPT);
}

#[test]
fn data_cannot_command_the_terminal_in_any_format() {
    let server = Server::start();
    for arguments in [["--csv", "-c"], ["--json", "-c"], ["-t", "-c"], ["-x", "-c"]] {
        let sql = "select E'\\x1b]0;owned\\x07' || U&'\\009b' as x, 'end' || 'ed' as y";
        let mut terminal = server.terminal([arguments[0], arguments[1], sql]);
        let drawn = terminal.shows("ended");
        assert!(drawn.contains("]0;owned") && !drawn.contains(['\x1b', '\x07', '\u{9b}']), "{drawn:?}");
    }
    let mut copy = server.terminal(["-c", "copy (select E'\\x1b]0;owned', 'end' || 'ed') to stdout"]);
    assert!(!copy.shows("ended").contains('\x1b'));
}

#[test]
fn explain_shows_a_tree_and_does_not_run_a_write() {
    let server = Server::start();
    server.psql(&[
        "-c",
        "create table t as select g as a from generate_series(1, 1000) g",
        "-c",
        "analyze t",
    ]);
    let mut terminal = begin(&server);
    terminal.keys("\\explain select count(*) from t where a > 10;\r");
    terminal.shows("Aggregate");
    terminal.shows("-> Seq Scan on t (a > 10)");
    terminal.shows("ms to plan");
    terminal.keys("\\explain delete from t where a = 1\r");
    terminal.shows("ModifyTable on t");
    terminal.shows("not run; these are the planner's estimates");
    terminal.keys("\\explain select nope\r");
    terminal.shows("42703");
    assert_eq!(server.psql(&["-Atc", "select count(*) from t"]), b"1000\n");
}
