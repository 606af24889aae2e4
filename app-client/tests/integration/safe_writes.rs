//! Writes that are asked about: those without a WHERE always, and with `\safe on` all of them, whichever
//! command they come by.

use crate::harness::Server;
use crate::query_server::{FREE, PREMIUM, QueryServer};
use crate::terminal::Terminal;

const PROMPT: &str = "owner postgres=> ";
const KEEP: &str = "keep this change? [y/N] ";

fn begin(server: &Server) -> Terminal {
    server.psql(&["-c", "create table d (a int)", "-c", "insert into d values (1), (2)"]);
    let mut terminal = server.terminal([]);
    terminal.shows(PROMPT);
    terminal
}

fn safe(server: &Server) -> Terminal {
    let mut terminal = begin(server);
    terminal.keys("\\safe on\r");
    terminal.shows("safe writes is on");
    terminal.shows(PROMPT);
    terminal
}

#[track_caller]
fn holds(server: &Server, rows: &str) {
    let found = server.psql(&["-Atc", "select string_agg(a::text, ' ' order by a) from d"]);
    assert_eq!(String::from_utf8(found).expect("UTF-8").trim_end(), rows);
}

#[test]
fn a_change_without_where_is_asked_about_however_it_is_written() {
    let server = Server::start();
    server.file("all.sql", "select 'first' as x;\ndelete from d;\nselect 'ne' || 'ver' as x;\n");
    let mut terminal = begin(&server);
    for typed in [
        "update d set a = (select 2 where true);",
        "with x as (select 1) delete from d;",
        "delete from d -- where\r;",
        "explain analyze delete from d;",
        "\\i all.sql",
        "update d set a = 0 \\watch 0.1",
        "\\copy (delete from d returning a) to out.csv",
    ] {
        terminal.keys(&format!("{typed}\r"));
        terminal.shows("changes every row of the table; run it? [y/N] ");
        terminal.keys("n\r");
        terminal.shows("not run");
        let rest = terminal.shows(PROMPT);
        assert!(!rest.contains("never"), "{rest}");
        holds(&server, "1 2");
    }
    terminal.keys("explain delete from d;\r");
    terminal.shows("Delete on d");
}

#[test]
fn with_safe_writes_each_command_that_writes_asks() {
    let server = Server::start();
    server.file("w.sql", "update d set a = 10 where a = 1;\ninsert into d values (4);\n");
    server.file("d.csv", "8\n9\n");
    std::fs::create_dir_all(server.folder().join("sql/operations")).expect("the folder is ours");
    server.file("sql/operations/1_add.sql", "-- Add: a number.\ninsert into d values ($1::int)\n");
    let mut terminal = safe(&server);
    server.psql(&[
        "-c",
        "create function grow() returns int language sql as 'insert into d values (7) returning a'",
    ]);
    for typed in [
        "\\i w.sql",
        "\\copy d from d.csv",
        "\\op 1 5",
        "explain analyze update d set a = 3 where a = 1;",
        "insert into d values (6) \\watch 0.1",
        "select grow();",
        "do $$ begin insert into d values (3); end $$;",
        "drop table d;",
        "\\explain select grow()",
        "delete from d where a = 1 \\g",
    ] {
        terminal.keys(&format!("{typed}\r"));
        terminal.shows(KEEP);
        terminal.keys("\r");
        terminal.shows("rolled back");
        let rest = terminal.shows(PROMPT);
        assert!(!rest.contains(KEEP), "{typed}: {rest}");
        holds(&server, "1 2");
    }
    for typed in ["\\i w.sql", "\\op add 5", "\\copy d from d.csv"] {
        terminal.keys(&format!("{typed}\r"));
        for _ in 0..(if typed.contains("w.sql") { 2 } else { 1 }) {
            terminal.shows(KEEP);
            terminal.keys("y\r");
            terminal.shows("kept");
        }
        terminal.shows(PROMPT);
    }
    holds(&server, "2 4 5 8 9 10");
}

#[test]
fn with_safe_writes_what_changes_nothing_asks_nothing() {
    let server = Server::start();
    let mut terminal = safe(&server);
    for (typed, shown) in [
        ("select count(*), 'counted' as x from d;", "counted"),
        ("set statement_timeout = '60s';", "SET"),
        ("show statement_timeout;", " 1min"),
        ("\\copy (select a from d) to out.csv", "COPY 2"),
        ("\\dt", " d "),
        ("vacuum d;", "VACUUM"),
        ("\\explain delete from d where a = 1", "not run; these are the planner's estimates"),
    ] {
        terminal.keys(&format!("{typed}\r"));
        terminal.shows(shown);
        let rest = terminal.shows(PROMPT);
        assert!(!rest.contains("keep this") && !rest.contains("rolled back"), "{typed}: {rest}");
    }
    // A transaction of one's own is one's own to end.
    terminal.keys("begin; insert into d values (3);\r");
    terminal.shows("INSERT 0 1");
    terminal.shows("owner postgres=*> ");
    terminal.keys("commit;\r");
    terminal.shows("COMMIT");
    terminal.shows(PROMPT);
    holds(&server, "1 2 3");
    terminal.keys("create database other;\r");
    terminal.shows("(25001)");
    terminal.shows("rolled back");
    terminal.shows("\\safe off runs it without");
    // What the server finds out only at the end is not said to be kept.
    terminal.keys("create table u (a int unique deferrable initially deferred);\r");
    terminal.shows(KEEP);
    terminal.keys("y\r");
    terminal.shows("kept");
    terminal.shows(PROMPT);
    terminal.keys("insert into u values (1), (1);\r");
    terminal.shows(KEEP);
    terminal.keys("y\r");
    terminal.shows("(23505)");
    let rest = terminal.shows(PROMPT);
    assert!(!rest.contains("kept"), "{rest}");
}

#[test]
fn safe_writes_hold_on_the_query_server_too() {
    let server = QueryServer::start(&[]);
    let mut terminal = server.terminal(PREMIUM, []);
    let prompt = "premium@example.com (tier_premium) music=> ";
    terminal.shows(prompt);
    terminal.keys("\\safe on\r");
    terminal.shows(prompt);
    for (answer, said, left) in [("n", "rolled back", "0"), ("y", "kept", "1")] {
        terminal.keys("insert into content (title, duration_s, content_type) values ('Twice', 1, 'song');\r");
        terminal.shows("INSERT 0 1");
        terminal.shows(KEEP);
        terminal.keys(&format!("{answer}\r"));
        terminal.shows(said);
        terminal.shows(prompt);
        let count = server.database.psql(&[
            "-d",
            "music",
            "-Atc",
            "select count(*) from content where title = 'Twice'",
        ]);
        assert_eq!(String::from_utf8(count).expect("UTF-8").trim_end(), left);
    }
    let mut terminal = server.terminal(FREE, []);
    terminal.shows("(tier_free) music=> ");
    terminal.keys("\\safe on\r");
    terminal.shows("(tier_free) music=> ");
    terminal.keys("select count(*) > 0 as x, 'ti' || 'tles' as y from content;\r");
    terminal.shows("titles");
    assert!(!terminal.shows("(tier_free) music=> ").contains("keep this"));
    // What the server allows only by itself.
    terminal.keys("select record_play(1);\r");
    terminal.shows("in a read-only transaction");
    terminal.shows("\\safe off runs it without");
    terminal.shows("(tier_free) music=> ");
    terminal.keys("\\safe off\r");
    terminal.shows("safe writes is off");
    terminal.shows("(tier_free) music=> ");
    terminal.keys("select record_play(1);\r");
    terminal.shows("(1 row)");
}
