//! Commands of the prompt that read or write files, and the editor.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use crate::harness::Server;
use crate::terminal::Terminal;

const PROMPT: &str = "owner postgres=> ";

fn begin(server: &Server) -> Terminal {
    let mut terminal = server.terminal([]);
    terminal.shows(PROMPT);
    terminal
}

#[test]
fn copy_moves_data_between_a_table_and_a_file_of_this_machine() {
    let server = Server::start();
    server.psql(&["-c", "create table song (id int, title text)"]);
    server.file("my songs.csv", "id,title\n1,\"a,b\"\n2,日本\n");
    let mut terminal = begin(&server);
    terminal.keys("\\copy song from 'my songs.csv' csv header\r");
    terminal.shows("COPY 2\r\n");
    terminal.shows(PROMPT);
    terminal.keys("\\copy (select id, title from song order by id desc) to out.csv with (format csv)\r");
    terminal.shows("COPY 2\r\n");
    terminal.shows(PROMPT);
    let written = fs::read_to_string(server.folder().join("out.csv")).expect("it was written");
    assert_eq!(written, "2,日本\n1,\"a,b\"\n");

    terminal.keys("\\copy song from absent.csv\r");
    terminal.shows("cannot read absent.csv");
    terminal.keys("\\copy song from 'my songs.csv'\r");
    terminal.shows("(22P02)");
    terminal.keys("\\copy song\r");
    terminal.shows("expected `\\copy TABLE");
    terminal.keys("select count(*), 'still ' || 'here' as x from song;\r");
    terminal.shows("     2 | still here");
}

#[test]
fn a_file_name_may_be_in_quotes_and_one_that_is_not_there_says_where_it_was_looked_for() {
    let server = Server::start();
    server.file("it's mine.sql", "select 'qu' || 'oted' as x;\n");
    let mut terminal = begin(&server);
    for typed in ["\\i 'it''s mine.sql'", "\\i it's mine.sql"] {
        terminal.keys(&format!("{typed}\r"));
        terminal.shows("quoted\r\n");
        terminal.shows(PROMPT);
    }
    terminal.keys("\\i absent.sql\r");
    terminal.shows("cannot read absent.sql");
    terminal.shows(&format!("hint: names count from {}", server.folder().display()));
    terminal.keys("\\i\r");
    terminal.shows("expected the name of a file");
    terminal.keys("\\o 'my result.txt'\r");
    terminal.shows("results go to my result.txt");
    terminal.shows(PROMPT);
    terminal.keys("select 42 as x;\r");
    crate::harness::eventually("the result", || {
        fs::read_to_string(server.folder().join("my result.txt")).is_ok_and(|text| text.ends_with("\n\n"))
    });
    terminal.shows(PROMPT);
    terminal.keys("\\o\r");
    terminal.shows("results are shown here");
    assert!(fs::read_to_string(server.folder().join("my result.txt")).expect("a file").contains("42"));
    terminal.keys("\\copy (select 1) to absent/x.csv\r");
    terminal.shows("cannot write absent/x.csv");
    terminal.shows("hint: names count from");
}

#[test]
fn the_time_is_shown_whichever_command_asked() {
    let server = Server::start();
    server.psql(&["-c", "create table song (id int, title text)"]);
    server.file("one.sql", "select 1;\n");
    server.file("rows.csv", "1,x\n");
    fs::create_dir_all(server.folder().join("sql/operations")).expect("the folder is ours");
    server.file("sql/operations/1_count.sql", "-- Count.\nselect count(*) from song\n");
    let mut terminal = begin(&server);
    terminal.keys("\\timing on\r");
    terminal.shows("timing is on");
    for typed in [
        "select 1;",
        "\\i one.sql",
        "\\copy song from rows.csv csv",
        "\\d song",
        "\\dt",
        "\\op 1",
        "\\explain select 1",
    ] {
        terminal.shows(PROMPT);
        terminal.keys(&format!("{typed}\r"));
        terminal.shows("Time: ");
        terminal.shows(" ms\r\n");
    }
}

#[test]
fn results_go_into_a_file_until_told_otherwise() {
    let server = Server::start();
    let mut terminal = begin(&server);
    terminal.keys("\\o out.txt\r");
    terminal.shows("results go to out.txt");
    terminal.shows(PROMPT);
    terminal.keys("select 6 * 7 as answer;\r");
    crate::harness::eventually("the result", || {
        fs::read_to_string(server.folder().join("out.txt")).is_ok_and(|text| text.ends_with("\n\n"))
    });
    terminal.keys("\\o\r");
    assert!(!terminal.shows("results are shown here").contains("42"));
    terminal.shows(PROMPT);
    terminal.keys("select 6 * 8 as answer;\r");
    terminal.shows("     48\r\n");
    let written = fs::read_to_string(server.folder().join("out.txt")).expect("it was written");
    assert_eq!(written, " answer \n--------\n     42\n(1 row)\n\n");
    terminal.keys("\\o absent/out.txt\r");
    terminal.shows("cannot write absent/out.txt");
    // A disk that is full ends neither the prompt nor the results.
    terminal.keys("\\o /dev/full\r");
    terminal.shows("results go to /dev/full");
    terminal.shows(PROMPT);
    terminal.keys("select 1;\r");
    terminal.shows("results are shown here again");
    terminal.shows(PROMPT);
    terminal.keys("select 'still ' || 'here' as x;\r");
    terminal.shows("still here");
}

#[test]
fn the_editor_gives_the_statement_back_to_the_prompt() {
    let server = Server::start();
    let editor = server.file("editor", "#!/bin/sh\nsed -i s/41/42/ \"$1\"\n");
    fs::set_permissions(&editor, Permissions::from_mode(0o755)).expect("the file is ours");
    let editor = editor.to_str().expect("UTF-8").to_owned();
    let client = server.client([]).env("TERM", "xterm-256color").env("NO_COLOR", "1");
    let client = client.env("PATH", "/usr/bin:/bin").env("EDITOR", &editor);
    let mut terminal = Terminal::open(client);
    terminal.shows(PROMPT);
    terminal.keys("select 41\r");
    terminal.shows("... ");
    terminal.keys("as answer \\e\r");
    terminal.shows("select 42");
    terminal.shows("as answer");
    terminal.keys(";\r");
    terminal.shows("     42\r\n");
    terminal.shows(PROMPT);
    // The last statement was whole, and so it comes back: Enter runs it.
    fs::write(&editor, "#!/bin/sh\nsed -i s/42/43/ \"$1\"\n").expect("the file is ours");
    terminal.keys("\\e\r");
    terminal.shows("as answer;");
    terminal.keys("\r");
    terminal.shows("     43\r\n");
    terminal.shows(PROMPT);
    fs::write(&editor, "#!/bin/sh\nexit 1\n").expect("the file is ours");
    terminal.keys("\\e\r");
    terminal.shows("ended with exit status: 1; set EDITOR to another one");
    terminal.shows(PROMPT);
}

#[test]
fn rows_are_typed_or_pasted_after_copy_and_can_be_given_up() {
    let server = Server::start();
    server.psql(&["-c", "create table t (a int, b text)"]);
    let mut terminal = begin(&server);
    // As a paste comes: all at once.
    terminal.keys("copy t from stdin;\r1\tone\r2\ttwo\r\\.\rselect count(*), 'pas' || 'ted' as x from t;\r");
    terminal.shows("`\\.` alone or Ctrl-D ends them");
    terminal.shows("copy> ");
    terminal.shows("COPY 2");
    terminal.shows("     2 | pasted");
    terminal.shows(PROMPT);
    terminal.keys("copy t from stdin;\r");
    terminal.shows("copy> ");
    terminal.keys("3\tthree\r");
    terminal.shows("three");
    terminal.shows("copy> ");
    terminal.keys("\x03");
    terminal.shows("given up at the prompt");
    terminal.shows(PROMPT);
    terminal.keys("\\copy t from stdin csv\r");
    terminal.shows("copy> ");
    terminal.keys("4,four\r");
    terminal.shows("copy> ");
    terminal.keys("\x04");
    terminal.shows("COPY 1");
    assert_eq!(server.psql(&["-Atc", "select a, b from t order by a"]), b"1|one\n2|two\n4|four\n");
}

#[test]
fn home_shows_songs_and_podcasts_and_the_playlists_of_those_who_may_have_some() {
    let server = Server::start();
    let mut terminal = begin(&server);
    terminal.keys("\\home\r");
    terminal.shows("this database is not the music platform's");
    terminal.shows(PROMPT);
    for migration in ["0001_roles", "0002_music", "0003_private", "0004_rules", "0005_access"] {
        let file = format!("{}/../sql/migrations/{migration}.sql", env!("CARGO_MANIFEST_DIR"));
        server.psql(&["-v", "ON_ERROR_STOP=1", "-f", &file]);
    }
    let sample = format!("{}/../sql/sample.sql", env!("CARGO_MANIFEST_DIR"));
    server.psql(&["-v", "ON_ERROR_STOP=1", "-f", &sample]);
    terminal.keys("\\home\r");
    let shown = terminal.shows("Playlists\r\n");
    assert!(
        shown.contains("Songs\r\n") && shown.contains("Podcasts\r\n") && shown.contains(" 00:0"),
        "{shown}"
    );
    terminal.shows("tracks");
    terminal.shows(PROMPT);
    terminal.keys("set role tier_free;\r");
    terminal.shows("SET");
    terminal.keys("\\home\r");
    terminal.shows("Podcasts\r\n");
    let rest = terminal.shows("owner (tier_free) postgres=> ");
    assert!(!rest.contains("Playlists"), "{rest}");
}
