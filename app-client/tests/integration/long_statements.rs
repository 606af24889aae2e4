//! What a statement that takes its time shows, what may be typed meanwhile, and Ctrl-C.

use crate::harness::{Server, eventually};
use crate::terminal::Terminal;

const PROMPT: &str = "owner postgres=> ";

/// The prompt of a session that has just begun.
fn begin(server: &Server) -> Terminal {
    let mut terminal = server.terminal([]);
    terminal.shows("postgres on PostgreSQL ");
    terminal.shows(PROMPT);
    terminal
}

/// Rows down the page, as they come.
fn calm(terminal: &mut Terminal) {
    for (command, said) in [("\\pager off", "the pager is off"), ("\\x", "format is expanded")] {
        terminal.keys(&format!("{command}\r"));
        terminal.shows(said);
        terminal.shows(PROMPT);
    }
}

#[test]
fn the_first_rows_are_on_the_screen_while_the_rest_is_computed() {
    let server = Server::start();
    let statement = "select g, repeat('x', 9000) as wide, pg_sleep(case when g > 3 then 600 else 0 end) \
                     from generate_series(1, 10) g";
    let mut terminal = server.terminal(["-x", "-c", statement]);
    terminal.shows("-[ RECORD 1 ]");
    let mut aligned = server.terminal(["-c", statement]);
    aligned.shows(" g | ");
    aligned.shows(" 1 | xxx");
}

#[test]
fn a_long_statement_says_that_it_is_still_running() {
    let server = Server::start();
    let mut terminal = begin(&server);
    terminal.keys("select pg_sleep(2.5), 'done' as x;\r");
    terminal.shows("1 s; Ctrl-C cancels");
    terminal.shows("2 s; Ctrl-C cancels");
    // The line is wiped before the result.
    terminal.shows("\r\x1b[K pg_sleep |  x");
}

#[test]
fn rows_that_come_slowly_are_counted_below_the_last_one() {
    let server = Server::start();
    let mut terminal = begin(&server);
    calm(&mut terminal);
    // Each row is larger than the buffer in which PostgreSQL gathers output.
    terminal.keys("select g, repeat('x', 9000) as wide, pg_sleep(0.4) from generate_series(1, 8) g;\r");
    terminal.shows("-[ RECORD 2 ]");
    terminal.shows(" rows, ");
    let drawn = terminal.shows(" a second, ");
    assert!(drawn.contains('.') && !drawn.contains("RECORD"), "{drawn}");
    let rest = terminal.shows("-[ RECORD 8 ]");
    // The next row takes its place.
    assert!(rest.contains("Ctrl-C cancels") && rest.contains("\r\x1b[K-[ RECORD"), "{}", rest.len());
    terminal.shows(PROMPT);
}

#[test]
fn a_long_statement_says_what_the_server_waits_for() {
    let server = Server::start();
    server.psql(&["-c", "create table t (a int)"]);
    let held = server.hold("postgres", "lock table t");
    let mut terminal = begin(&server);
    terminal.keys("select count(*), 'free' as x from t;\r");
    terminal.shows(" s; Ctrl-C cancels; the server waits for a lock of owner (process ");
    drop(held);
    terminal.shows("     0 | free");
    terminal.shows(PROMPT);
    // A line that wraps could not be taken away.
    terminal.resize(30, 45);
    terminal.keys("select pg_sleep(4), 'over' as x;\r");
    terminal.shows(" s; Ctrl-C cancels; the server pauses (PgSl\x1b[K");
    terminal.shows("over");
}

#[test]
fn what_is_typed_while_a_statement_runs_waits_for_the_prompt() {
    let server = Server::start();
    server.psql(&["-c", "create table t (a int)", "-c", "insert into t values (1)"]);
    let mut terminal = begin(&server);
    let held = server.hold("postgres", "lock table t");
    terminal.keys("select count(*), 'whole' as x from t;\r");
    eventually("the statement to wait", || {
        let waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
        server.psql(&["-Atc", waits]) == b"1\n"
    });
    terminal.keys("select 'fi' || 'rst' as x;\rselect 'seconds\x7f' || '!' as x;\rselect 'th");
    drop(held);
    let result = terminal.shows("     1 | whole");
    assert!(!result.contains("'fi'"), "{result}");
    terminal.shows("first\r\n");
    terminal.shows("second!\r\n");
    terminal.keys("ird' || '!' as x;\r");
    terminal.shows("third!\r\n");
    terminal.shows(PROMPT);

    // While a command looks something up as well.
    let held = server.hold("postgres", "lock table pg_catalog.pg_policy");
    terminal.keys("\\d t\r");
    eventually("the command to wait", || {
        let waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
        server.psql(&["-Atc", waits]) == b"1\n"
    });
    terminal.keys("select 'four' || 'th' as x;\r");
    drop(held);
    terminal.shows("fourth\r\n");
    terminal.shows(PROMPT);

    // It answers no question that was not there when it was typed.
    let held = server.hold("postgres", "lock table t");
    terminal.keys("select count(*) from t; delete from t;\r");
    terminal.shows("s; Ctrl-C cancels");
    terminal.keys("y\r");
    drop(held);
    terminal.shows("run it? [y/N] ");
    terminal.keys("n\r");
    terminal.shows("not run");
    assert_eq!(server.psql(&["-Atc", "select count(*) from t"]), b"1\n");
}

#[test]
fn ctrl_c_cancels_the_statement_and_the_prompt_stays() {
    let server = Server::start();
    let mut terminal = begin(&server);
    terminal.keys("select 'started', pg_sleep(600);\r");
    eventually("the statement to run", || {
        let count = "select count(*) from pg_stat_activity where query like '%pg_sleep(600%' and pid <> pg_backend_pid()";
        server.psql(&["-Atc", count]) == b"1\n"
    });
    terminal.keys("\x03");
    terminal.shows("57014");
    terminal.shows(PROMPT);
    // With nothing running it only gives a new line.
    terminal.keys("select \x03");
    terminal.shows(PROMPT);
    terminal.keys("select 'still ' || 'here' as x;\r");
    terminal.shows("still here");
    terminal.shows(PROMPT);
    terminal.keys("\x04");
    terminal.ends(0);
}

#[test]
fn ctrl_c_is_heard_between_the_rounds_of_a_watch() {
    let server = Server::start();
    let mut terminal = begin(&server);
    // Without a pause there is nearly always a round that begins or ends.
    for round in 0..20 {
        terminal.keys(&format!("select 'round ' || {round} as x \\watch 0\r"));
        terminal.shows(&format!("round {round}\r\n"));
        terminal.keys("\x03");
        terminal.shows(PROMPT);
    }
    // What follows in the line is given up, too, and the next line is not.
    terminal.keys("select pg_sleep(600); select 'ne' || 'ver' as x;\r");
    eventually("the statement to run", || {
        let count = "select count(*) from pg_stat_activity where query like '%pg_sleep(600%' and pid <> pg_backend_pid()";
        server.psql(&["-Atc", count]) == b"1\n"
    });
    terminal.keys("\x03");
    terminal.shows("57014");
    assert!(!terminal.shows(PROMPT).contains("never"));
    terminal.keys("select 'still ' || 'here' as x;\r");
    terminal.shows("still here");
}

#[test]
fn the_rows_before_ctrl_c_stay() {
    let server = Server::start();
    let statement = "select g, repeat('x', 9000) as wide, case when g > 3 then pg_sleep(600) end \
                     from generate_series(1, 9) g";
    let mut terminal = begin(&server);
    calm(&mut terminal);
    terminal.keys(&format!("{statement};\r"));
    terminal.shows("-[ RECORD 2 ]");
    terminal.keys("\x03");
    let drawn = terminal.shows("57014");
    assert!(drawn.contains("cancelling; Ctrl-C again leaves without waiting"), "{}", drawn.len());
    terminal.shows(PROMPT);

    let mut child = server.client(["-c", statement]).spawn();
    eventually("the statement to run", || {
        let sleeps = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
        server.psql(&["-Atc", sleeps]) == b"1\n"
    });
    let pressed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(pressed.expect("kill runs").success());
    let mut shown = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().expect("a pipe"), &mut shown).expect("UTF-8");
    assert_eq!(child.wait().expect("it is our child").code(), Some(130));
    // Three rows, held back for their widths until now, and no footer that counts them.
    assert!(shown.contains("\n 2 | xxx") && !shown.contains("rows)"), "{}", shown.len());
}
