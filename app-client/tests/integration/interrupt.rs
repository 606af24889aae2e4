//! Ctrl-C, signals that end the program, and a server that goes away.

use std::fs;
use std::io::Read;
use std::process::Command;

use crate::harness::{Client, Server, eventually};
use crate::terminal::Terminal;

fn interrupt(process: u32) {
    signal("-INT", &process.to_string());
}

fn signal(name: &str, process: &str) {
    assert!(Command::new("kill").args([name, process]).status().expect("kill runs").success());
}

/// The client on a terminal of a shell.
fn shell(client: Client) -> Terminal {
    Terminal::open(client.env("TERM", "xterm-256color").env("NO_COLOR", "1").in_a_shell())
}

/// Sends the signal to the client in `shell`, which must leave with `code` and a terminal that echoes.
#[track_caller]
fn ends(server: &Server, shell: &mut Terminal, name: &str, code: u32) {
    let process = fs::read_to_string(server.folder().join("client.pid")).expect("the shell wrote it");
    signal(name, process.trim());
    left(shell, code);
}

#[track_caller]
fn left(shell: &mut Terminal, code: u32) {
    shell.shows(&format!("left with {code}\r\n"));
    let modes = shell.shows("echo ") + &shell.shows("echok");
    assert!(!modes.contains("-icanon") && !modes.contains("-echo ") && !modes.contains("-icrnl"), "{modes}");
}

fn running(server: &Server) -> bool {
    let count = server.psql(&[
        "-Atc",
        "select count(*) from pg_stat_activity where query like '%pg_sleep(600%' and pid <> pg_backend_pid()",
    ]);
    count == b"1\n"
}

#[test]
fn ctrl_c_cancels_the_statement_at_the_server() {
    let server = Server::start();
    let ca = server.file("ca.pem", &server.ca);
    for arguments in [vec![], vec!["--sslmode", "verify-ca", "--ca", ca.to_str().expect("UTF-8")]] {
        let client = server.client(["-c", "select pg_sleep(600)", "-c", "select 'never'"]);
        let child = arguments.into_iter().fold(client, |client, argument| client.argument(argument)).spawn();
        eventually("the statement to run", || running(&server));
        interrupt(child.id());
        let ended = child.wait_with_output().expect("the client ends");
        assert_eq!(ended.status.code(), Some(130));
        assert!(ended.stdout.is_empty(), "{ended:?}");
        assert!(String::from_utf8_lossy(&ended.stderr).contains("57014"), "{ended:?}");
        eventually("the statement to end", || !running(&server));
    }
}

#[test]
fn a_signal_that_ends_the_program_cancels_the_statement_and_leaves_the_terminal_as_it_was() {
    let server = Server::start();
    for (name, code) in [("-TERM", 143), ("-HUP", 129), ("-QUIT", 131)] {
        let mut prompt = shell(server.client([]));
        prompt.shows("owner postgres=> ");
        ends(&server, &mut prompt, name, code);

        let mut busy = shell(server.client([]));
        busy.shows("owner postgres=> ");
        busy.keys("select pg_sleep(600);\r");
        eventually("the statement to run", || running(&server));
        ends(&server, &mut busy, name, code);
        eventually("the statement to end", || !running(&server));
    }
}

#[test]
fn a_script_that_is_told_to_end_shows_the_rows_so_far_and_runs_no_more() {
    let server = Server::start();
    server.psql(&["-c", "create table t (a int)"]);
    let script = "select g, repeat('x', 9000), case when g > 3 then pg_sleep(600) end from generate_series(1, 5) g; \
                  insert into t values (1);";
    let mut child = server.client(["--csv", "--on-error", "continue"]).stdin(script).spawn();
    let mut first = [0; 100];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut first).expect("rows come");
    signal("-TERM", &child.id().to_string());
    let ended = child.wait_with_output().expect("the client ends");
    assert_eq!(ended.status.code(), Some(143));
    assert!(String::from_utf8_lossy(&ended.stdout).contains("\n2,xxx"), "{}", ended.stdout.len());
    assert_eq!(server.psql(&["-Atc", "select count(*) from t"]), b"0\n");
    assert!(!running(&server));
}

#[test]
fn a_signal_that_was_to_be_ignored_stays_ignored() {
    let server = Server::start();
    let client = server.client(["-c", "select 'done' from pg_sleep(600)"]);
    let child = client.by_shell("trap '' HUP INT; exec \"$0\" \"$@\"").spawn();
    eventually("the statement to run", || running(&server));
    // The one that is heard comes last.
    for name in ["-HUP", "-INT", "-TERM"] {
        signal(name, &child.id().to_string());
    }
    assert_eq!(child.wait_with_output().expect("the client ends").status.code(), Some(143));
}

#[test]
fn a_window_that_is_closed_ends_the_prompt_even_if_no_signal_says_so() {
    let server = Server::start();
    let client = server.client([]).env("TERM", "xterm-256color").env("NO_COLOR", "1");
    let mut terminal = Terminal::open(client.by_shell("trap '' HUP; \"$0\" \"$@\"; exit $?"));
    terminal.shows("owner postgres=> ");
    terminal.close();
    terminal.ends(129);
}

#[test]
fn a_password_that_is_not_given_leaves_the_terminal_as_it_was() {
    let server = Server::start();
    for (name, code) in [("-TERM", 143), ("-INT", 130)] {
        let mut asked = shell(server.client([]).without("PGPASSWORD"));
        asked.shows("Password for owner: ");
        ends(&server, &mut asked, name, code);
    }
    let mut asked = shell(server.client([]).without("PGPASSWORD"));
    asked.shows("Password for owner: ");
    asked.keys("\x03");
    left(&mut asked, 130);
}

#[test]
fn rows_that_came_before_the_cut_are_kept_and_counted() {
    let mut server = Server::start();
    let statement = "select repeat('x', 20000) as x, pg_sleep(case when g > 20 then 600 else 0 end) from generate_series(1, 30) g";
    let mut child = server.client(["--csv", "-c", statement]).spawn();
    let mut start = [0; 200_000];
    let mut output = child.stdout.take().expect("a pipe");
    output.read_exact(&mut start).expect("rows came");
    server.kill();
    let mut rest = Vec::new();
    output.read_to_end(&mut rest).expect("a pipe");
    let ended = child.wait_with_output().expect("the client ends");
    let stderr = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("rows of the result had come when the connection to the server was lost"),
        "{stderr}"
    );
}
