//! What was typed is there in the next session, however the last one ended; and how it is drawn.

use std::fs;

use crate::harness::Server;
use crate::terminal::Terminal;

const PROMPT: &str = "owner postgres=> ";

#[test]
fn a_line_is_remembered_as_soon_as_it_is_run_and_found_in_the_next_session() {
    let server = Server::start();
    let mut terminal = server.terminal([]);
    terminal.shows(PROMPT);
    terminal.keys("select 6 * 7 as answer;\r");
    terminal.shows("     42\r\n");
    terminal.shows(PROMPT);
    // Nothing is tidied up.
    terminal.process.kill().expect("it is our child");
    terminal.process.wait().expect("it is our child");
    let history = server.folder().join(".local/state/app-client/history");
    assert_eq!(fs::read_to_string(history).expect("a history"), "select 6 * 7 as answer;\n");

    let mut terminal = server.terminal([]);
    terminal.shows(PROMPT);
    terminal.keys("select 'later' as x;\r");
    terminal.shows(" later");
    terminal.shows(PROMPT);
    terminal.keys("\x12");
    terminal.shows("(history: ");
    terminal.keys("6 * ");
    terminal.shows("(history: 6 * ) ");
    terminal.keys("\r");
    terminal.shows("select 6 * 7 as answer;");
    terminal.keys("\r");
    terminal.shows("     42\r\n");
    terminal.shows(PROMPT);
    // The line before the last one.
    terminal.keys("\x1b[A\x1b[A\r");
    terminal.shows(" later\r\n");
}

#[test]
fn keywords_strings_and_numbers_have_colours_unless_they_are_not_wanted() {
    let server = Server::start();
    let coloured = server.client([]).env("TERM", "xterm-256color");
    let mut terminal = Terminal::open(coloured);
    terminal.shows(PROMPT);
    terminal.keys("select 'text', 42");
    let drawn = terminal.shows("42");
    for part in ["\x1b[1;34mselect", "\x1b[32m'text'", "\x1b[36m42"] {
        assert!(drawn.contains(part), "{part:?} in {drawn:?}");
    }
    let mut plain = server.terminal([]);
    plain.shows(PROMPT);
    plain.keys("select 'text', 42");
    assert!(!plain.shows("42").contains("\x1b[1;34m"));
}
