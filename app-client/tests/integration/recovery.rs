//! A session that ends under the prompt: expired, drained, cut, or gone with its server.

use crate::harness::{Server, eventually};
use crate::terminal::Terminal;

const PROMPT: &str = "owner postgres=> ";
const SESSIONS: &str = "select count(*) from pg_stat_activity where application_name = 'app-client'";

fn begin(server: &Server) -> Terminal {
    let mut terminal = server.terminal(["-v", "n=41"]);
    terminal.shows(PROMPT);
    terminal
}

/// As a server that drains ends them.
fn end_sessions(server: &Server) {
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'app-client'";
    server.psql(&["-c", end]);
}

fn sessions_are_gone(server: &Server) {
    eventually("the session to end", || server.psql(&["-Atc", SESSIONS]) == b"0\n");
}

#[test]
fn a_server_that_was_restarted_under_the_prompt_is_found_again() {
    let mut server = Server::start();
    let mut terminal = begin(&server);
    server.restart();
    terminal.keys("select :n + 1 as answer;\r");
    terminal.shows("connected again");
    terminal.shows("     42\r\n");
    terminal.shows(PROMPT);

    // While it is away what was typed waits at the prompt, and Enter is enough when it is back.
    server.kill();
    terminal.keys("select 'back ' || :n as x; select 'and ' || 'more' as y;\r");
    terminal.shows("is the server running");
    terminal.shows("the statement was not sent; Enter tries again");
    terminal.shows(PROMPT);
    server.restart();
    terminal.keys("\r");
    terminal.shows("back 41\r\n");
    terminal.shows("and more\r\n");
    terminal.shows(PROMPT);
}

#[test]
fn a_session_that_expired_is_replaced_and_what_was_half_typed_stays() {
    let server = Server::start();
    let mut terminal = begin(&server);
    terminal.keys("set idle_session_timeout = '1s';\r");
    terminal.shows("SET");
    terminal.shows(PROMPT);
    terminal.keys("select :n + 1");
    sessions_are_gone(&server);
    terminal.keys(" as answer;\r");
    terminal.shows("(57P05)");
    terminal.shows("connected again");
    terminal.shows("     42\r\n");
    terminal.shows(PROMPT);
}

#[test]
fn a_write_under_which_the_session_ends_is_never_sent_again_by_itself() {
    let server = Server::start();
    server.psql(&["-c", "create table t (a int)"]);
    let mut terminal = begin(&server);
    terminal.keys("insert into t select 1 from pg_sleep(600);\r");
    eventually("the statement to run", || {
        let running =
            "select count(*) from pg_stat_activity where query like 'insert into t%' and state = 'active'";
        server.psql(&["-Atc", running]) == b"1\n"
    });
    end_sessions(&server);
    terminal.shows("(57P01)");
    terminal.shows("whether the statement took effect is not known; it is not sent again by itself");
    terminal.shows("connected again");
    terminal.shows(PROMPT);
    terminal
        .keys("select query, 'asked' as y from pg_stat_activity where application_name = 'app-client';\r");
    let seen = terminal.shows("asked\r\n");
    assert!(!seen.contains("| insert") && !seen.contains("\r\n insert"), "{seen}");
}

#[test]
fn none_of_a_transaction_is_sent_without_the_rest() {
    let server = Server::start();
    server.psql(&["-c", "create table t (a int)"]);
    let mut terminal = begin(&server);
    terminal.keys("begin; insert into t values (1);\r");
    terminal.shows("owner postgres=*> ");
    end_sessions(&server);
    sessions_are_gone(&server);
    terminal.keys("insert into t values (2); commit;\r");
    terminal.shows("the transaction ended with its session, and nothing of it was kept");
    terminal.shows("the statement was not sent; it is at the prompt again");
    terminal.shows(PROMPT);
    terminal.shows("insert into t values (2); commit;");
    assert_eq!(server.psql(&["-Atc", "select count(*) from t"]), b"0\n");
    terminal.keys("\x03");
    terminal.shows(PROMPT);
    terminal.keys("select count(*), 'still ' || 'here' as x from t;\r");
    terminal.shows("     0 | still here");
}
