//! Ctrl-C, and a server that goes away.

use std::io::Read;
use std::process::Command;

use crate::harness::{Server, eventually};

fn interrupt(process: u32) {
    assert!(Command::new("kill").args(["-INT", &process.to_string()]).status().expect("kill runs").success());
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
