//! What a result does to a screen: the pager, the clock of whoever looks, windows that change.

use crate::harness::{Client, Server};
use crate::terminal::Terminal;

const PROMPT: &str = "owner postgres=> ";

fn client(server: &Server) -> Client {
    server.client([]).env("TERM", "xterm-256color").env("NO_COLOR", "1").env("PATH", "/usr/bin:/bin")
}

#[test]
fn a_result_that_does_not_fit_goes_to_the_pager_and_one_that_fits_does_not() {
    let server = Server::start();
    let mut terminal = Terminal::open(client(&server).env("PAGER", "sed s/^/paged:/"));
    terminal.shows(PROMPT);
    terminal.keys("select g from generate_series(1, 100) g;\r");
    terminal.shows("paged: 100\r\n");
    terminal.shows("paged:(100 rows)");
    terminal.shows(PROMPT);
    terminal.keys("select repeat('wide', 30) as x;\r");
    terminal.shows("paged: widewide");
    terminal.shows(PROMPT);
    terminal.keys("select 6 * 7 as answer;\r");
    assert!(!terminal.shows("     42\r\n").contains("paged"));
    terminal.shows(PROMPT);
    terminal.keys("\\pager off\r");
    terminal.shows("the pager is off");
    terminal.shows(PROMPT);
    terminal.keys("select g from generate_series(1, 100) g;\r");
    assert!(!terminal.shows("(100 rows)").contains("paged"));
}

#[test]
fn leaving_the_pager_ends_the_statement_and_nothing_else() {
    let server = Server::start();
    let mut terminal = Terminal::open(client(&server).env("PAGER", "head -n 3"));
    terminal.shows(PROMPT);
    terminal.keys("begin; select generate_series(1, 1000000000) as n;\r");
    terminal.shows("1\r\n");
    terminal.shows("owner postgres=");
    terminal.keys("rollback;\r");
    terminal.shows("ROLLBACK");
    terminal.shows(PROMPT);
    terminal.keys("select 'still ' || 'here' as x;\r");
    let drawn = terminal.shows("still here");
    assert!(!drawn.contains("connected again"), "{drawn}");
}

#[test]
fn moments_are_shown_on_the_clock_of_the_user_at_the_prompt_only() {
    let server = Server::start();
    let mut terminal = Terminal::open(client(&server).env("PGTZ", "Asia/Kathmandu"));
    terminal.shows(PROMPT);
    terminal.keys("select timestamptz '2026-01-01 00:00:00Z' as at;\r");
    terminal.shows("2026-01-01 05:45:00+05:45");
    terminal.shows(PROMPT);
    // A session that replaces another one has the same clock.
    server.psql(&[
        "-c",
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'app-client'",
    ]);
    terminal.keys("select timestamptz '2026-01-02 00:00:00Z' as at;\r");
    terminal.shows("2026-01-02 05:45:00+05:45");

    let mut terminal = Terminal::open(client(&server).env("TZ", "Asia/Kathmandu"));
    terminal.shows(PROMPT);
    terminal.keys("show timezone;\r");
    terminal.shows(" Asia/Kathmandu\r\n");
    let script = server.client(["-tc", "show timezone"]).env("TZ", "Asia/Kathmandu").run().succeeds();
    assert!(!script.contains("Kathmandu"), "{script}");
}

#[test]
fn a_window_that_changes_keeps_what_was_typed_and_the_pager_knows_it() {
    let server = Server::start();
    let mut terminal = Terminal::open(client(&server).env("PAGER", "sed s/^/paged:/"));
    terminal.shows(PROMPT);
    terminal.keys("select repeat('w', 60) ");
    terminal.shows("60) ");
    terminal.resize(20, 50);
    terminal.keys("as x;\r");
    terminal.shows("paged: www");
    terminal.shows(PROMPT);
    terminal.resize(30, 100);
    terminal.keys("select repeat('v', 60) as x;\r");
    let drawn = terminal.shows(" vvv");
    assert!(!drawn.contains("paged"), "{drawn}");
}

#[test]
fn a_terminal_that_is_slow_to_answer_does_not_end_the_session() {
    let server = Server::start();
    let mut terminal = Terminal::slow(client(&server), 1);
    terminal.shows(PROMPT);
    terminal.keys("select 'still ' || 'here';\r");
    terminal.shows("still here");
}

#[test]
fn foreign_keys_complete_a_join_with_its_condition() {
    let server = Server::start();
    server.psql(&[
        "-c",
        "create table song (song_id int primary key, title text)",
        "-c",
        "create table play (song_id int references song, at date)",
        "-c",
        "insert into song values (7, 'Blue Tiles'); insert into play values (7, '2026-01-01')",
    ]);
    let mut terminal = Terminal::open(client(&server));
    terminal.shows(PROMPT);
    terminal.keys("select s.title, p.at from play p join song s on \t");
    // The menu marks its choice with capitals where there are no colours.
    terminal.shows("S.SONG_ID = P.SONG_ID");
    terminal.keys("\r");
    terminal.shows("s.song_id = p.song_id");
    terminal.keys(";\r");
    terminal.shows("Blue Tiles | 2026-01-01");
}
