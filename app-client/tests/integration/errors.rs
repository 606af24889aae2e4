//! What goes wrong every week reads as a sentence with a next step.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::harness::{PASSWORD, Server, USER};

#[test]
fn a_denied_statement_repeats_what_the_server_says_about_the_tier() {
    let server = Server::start();
    let raise = "do $$ begin raise insufficient_privilege using message = 'permission denied for table content', \
                 hint = 'your account is `free`: it may SELECT the catalogue'; end $$";
    let run = server.client(["-c", raise]).run();
    run.fails(
        1,
        &["permission denied for table content (42501)", "HINT: your account is `free`: it may SELECT"],
    );

    server.psql(&["-c", "create role reader login password 'x'", "-c", "create table t (a int)"]);
    let denied = server.client(["-c", "delete from t", "--user", "reader"]).env("PGPASSWORD", "x").run();
    denied
        .fails(1, &["permission denied for table t (42501)", "HINT: this login lacks that right", "--user"]);
}

#[test]
fn a_syntax_error_has_a_caret_under_its_place() {
    let server = Server::start();
    let run = server.client(["-c", "select 1\nfrom t wehre '日本' = nope ="]).run();
    run.fails(1, &["(42601)", "LINE 2: from t wehre '日本' = nope =\n                     ^\n"]);
}

#[test]
fn an_expired_certificate_says_who_has_to_act() {
    let server = Server::start();
    let ca = server.expire_certificate();
    let ca = server.file("ca.pem", &ca);
    let run = server.client(["-c", "select 1", "--ca", ca.to_str().expect("UTF-8")]).run();
    run.fails(3, &["is refused: it has expired", "hint: the server needs a new certificate"]);
}

#[test]
fn a_wrong_password_an_unknown_host_and_a_closed_port_say_what_to_do() {
    let server = Server::start();
    let run = server.client(["-c", "select 1"]).env("PGPASSWORD", "wrong").run();
    run.fails(
        3,
        &["password authentication failed", "hint: the password came from PGPASSWORD: correct it there"],
    );
    assert!(!run.stderr.contains(PASSWORD), "{run:?}");
    let unknown = server.client(["-c", "select 1", "--host", "nowhere.invalid"]).run();
    unknown.fails(3, &["cannot find the host `nowhere.invalid`", "hint: check the spelling of the host"]);
    let closed = server.client(["-c", "select 1", "--port", "1"]).run();
    closed.fails(3, &["cannot connect to 127.0.0.1:1", "hint: nothing listens there"]);

    let nobody = server.client(["-c", "select 1", "--user", "nobody"]).env("PGPASSWORD", "x").run();
    nobody.fails(3, &["hint: the password came from PGPASSWORD"]);
    let url = server.client(["-c", "select 1", "--host", "postgresql://db.example.com/music"]).run();
    url.fails(3, &["hint: that is a URL: `--url` takes the whole of it"]);
    let bare = server.client(["select 1"]).run();
    bare.fails(2, &["hint: a statement follows `-c`"]);

    let mut terminal = server.terminal_without_password(["-c", "select 1"]);
    terminal.shows(&format!("Password for {USER}: "));
    terminal.keys("wrong\r");
    terminal.shows("hint: check the user name, and type the password again");
    terminal.ends(3);
}

#[test]
fn a_server_that_drains_asks_for_a_moment() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port().to_string();
    let draining = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the client comes");
        assert_ne!(stream.read(&mut [0; 1024]).expect("it speaks first"), 0);
        let fields = b"SFATAL\0C57P03\0Mthe server is shutting down\0\0";
        let length = u32::try_from(fields.len() + 4).expect("it is short").to_be_bytes();
        stream.write_all(&[b"E", length.as_slice(), fields].concat()).expect("it listens");
        assert_eq!(stream.read(&mut [0; 1024]).expect("it leaves in order"), 0);
    });
    let server = Server::start();
    let run = server.client(["-c", "select 1", "--port", &port]).run();
    run.fails(3, &["the server is shutting down (57P03)", "hint: the server is starting, draining or full"]);
    draining.join().expect("the server saw what it expected");
}

#[test]
fn a_session_that_ends_under_a_script_says_that_the_outcome_is_not_known() {
    let server = Server::start();
    let run = server.client(["-c", "select pg_terminate_backend(pg_backend_pid())"]).run();
    run.fails(1, &["(57P01)", "hint: whether the statement took effect is not known"]);
}
