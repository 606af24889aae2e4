//! The prompt on the application's own server, and what becomes of it when that server ends the session,
//! drains, goes away in the middle of a statement, and is there again.

use crate::harness::eventually;
use crate::query_server::{FREE, PREMIUM, QueryServer};
use crate::terminal::Terminal;

const PROMPT: &str = "premium@example.com (tier_premium) music=> ";
const INSERT: &str = "insert into content (title, duration_s, content_type) values ('Once Only', 1, 'song');";

fn begin(server: &QueryServer) -> Terminal {
    let mut terminal = server.terminal(PREMIUM, ["-v", "n=41"]);
    terminal.shows(PROMPT);
    terminal
}

/// How many rows of `INSERT` there are.
fn inserted(server: &QueryServer) -> Vec<u8> {
    let count = "select count(*) from content where title = 'Once Only'";
    server.database.psql(&["-d", "music", "-Atc", count])
}

#[test]
fn a_session_that_idled_too_long_is_replaced_and_what_was_half_typed_stays() {
    let server = QueryServer::start(&[("IDLE_TIMEOUT_S", "1")]);
    let mut terminal = begin(&server);
    terminal.keys("select :n + 1");
    server.sessions_are_gone();
    terminal.keys(" as answer;\r");
    terminal.shows("(57P05)");
    terminal.shows("connected again");
    terminal.shows("     42\r\n");
    terminal.shows(PROMPT);
}

#[test]
fn a_server_that_drains_and_is_replaced_keeps_prompt_text_and_variables() {
    let mut server = QueryServer::start(&[]);
    let mut terminal = begin(&server);
    terminal.keys("\\set m 'kept'\r");
    terminal.shows(PROMPT);
    terminal.keys("select :n + 1");
    server.drain();
    server.start_again();
    terminal.keys(" as answer, :'m' as y;\r");
    terminal.shows("(57P01)");
    terminal.shows("connected again");
    terminal.shows("     42 | kept\r\n");
    terminal.shows(PROMPT);

    // While there is none, what was typed waits at the prompt, and Enter is enough when it is back.
    server.drain();
    terminal.keys("select 'back ' || :n as x;\r");
    terminal.shows("is the server running");
    terminal.shows("the statement was not sent; Enter tries again");
    terminal.shows(PROMPT);
    server.start_again();
    terminal.keys("\r");
    terminal.shows("back 41\r\n");
}

#[test]
fn a_statement_that_runs_when_the_drain_begins_is_let_finish() {
    let mut server = QueryServer::start(&[]);
    let mut terminal = begin(&server);
    let held = server.database.hold("music", "lock table content");
    terminal.keys("select count(*) > 0 as counted from content;\r");
    eventually("the statement to wait", || waits(&server));
    server.begin_to_drain();
    drop(held);
    server.ends();
    terminal.shows(" t\r\n");
    terminal.shows(PROMPT);
    server.start_again();
    terminal.keys("select :n + 1 as answer;\r");
    terminal.shows("     42\r\n");
}

#[test]
fn a_write_under_which_the_server_goes_away_is_never_sent_again_by_itself() {
    let mut server = QueryServer::start(&[]);
    let mut terminal = begin(&server);
    let held = server.database.hold("music", "lock table content");
    terminal.keys(&format!("{INSERT}\r"));
    eventually("the insert to wait", || waits(&server));
    server.kill();
    server.start_again();
    terminal.shows("the connection to the server was lost");
    terminal.shows("whether the statement took effect is not known; it is not sent again by itself");
    terminal.shows("connected again");
    terminal.shows(PROMPT);
    drop(held);
    // What the user does next is the user's own decision.
    terminal.keys("select :n + 1 as answer;\r");
    terminal.shows("     42\r\n");
    terminal.shows(PROMPT);
    eventually("the audit to have what came after", || server.has_said(&["select 41 + 1 as answer"]));
    assert_eq!(server.count(&["Once Only"]), 0, "the new server was sent the write");
}

#[test]
fn none_of_a_transaction_is_sent_to_the_server_that_comes_after() {
    let mut server = QueryServer::start(&[]);
    let mut terminal = begin(&server);
    terminal.keys(&format!("begin; {INSERT}\r"));
    terminal.shows("INSERT 0 1");
    terminal.shows("music=*> ");
    server.kill();
    server.start_again();
    terminal.keys(&format!("{INSERT} commit;\r"));
    terminal.shows("the transaction ended with its session, and nothing of it was kept");
    terminal.shows("the statement was not sent; it is at the prompt again");
    terminal.shows(PROMPT);
    terminal.shows(INSERT);
    assert_eq!(inserted(&server), b"0\n");
}

#[test]
fn a_long_statement_asks_the_query_server_for_nobody_elses_business() {
    let server = QueryServer::start(&[]);
    let mut terminal = begin(&server);
    terminal.keys("select pg_sleep(4.5), 'over' as x;\r");
    terminal.shows("4 s; Ctrl-C cancels\x1b[K");
    terminal.shows("over");
    assert!(!server.has_said(&["pg_stat_activity"]));
}

#[test]
fn the_catalog_can_be_looked_at_and_completed_by_a_free_account() {
    let server = QueryServer::start(&[]);
    let mut terminal = server.terminal(FREE, []);
    let prompt = "free@example.com (tier_free) music=> ";
    terminal.shows(prompt);
    terminal.keys("\\pager off\r");
    terminal.shows(prompt);
    for (command, expected) in [
        ("\\d", "playlist_summary"),
        ("\\d content", "Table \"public.content\""),
        ("\\d+ playlist_summary", "view definition"),
        ("\\dt public.*", "content_artist"),
        ("\\di cont*", "content_title"),
        ("\\dv", "playlist_summary"),
        ("\\df record_play", "record_play"),
        ("\\dn", "workspace"),
        ("\\du tier*", "tier_premium"),
        ("\\l+ music", "music"),
    ] {
        terminal.keys(&format!("{command}\r"));
        terminal.shows(command);
        terminal.shows("\r\n");
        terminal.shows(expected);
        terminal.shows("row");
        terminal.shows(prompt);
    }
    terminal.keys("select content_t\t");
    terminal.shows("content_type");
}

#[test]
fn a_denied_statement_says_the_tier_and_what_it_may_do() {
    let server = QueryServer::start(&[]);
    server.client(FREE, ["-c", INSERT]).run().fails(1, &["(42501)", "HINT: your account is `free`: "]);
    let refused = server.client(FREE, ["-c", "select 1"]).env("PGPASSWORD", "wrong").run();
    refused.fails(3, &["hint: the password came from PGPASSWORD: correct it there"]);
}

/// Whether a statement of a premium account waits for a lock. Its text is not for others to see, so it cannot be asked for.
fn waits(server: &QueryServer) -> bool {
    let count =
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and usename = 'tier_premium'";
    server.database.psql(&["-Atc", count]) == b"1\n"
}
