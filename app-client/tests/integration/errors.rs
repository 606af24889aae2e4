//! What goes wrong every week reads as a sentence with a next step.

use crate::harness::{PASSWORD, Server, USER, eventually};
use crate::query_server::{FREE, PREMIUM, QueryServer};

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
fn a_syntax_error_has_a_caret_on_the_query_server_in_every_tier() {
    let server = QueryServer::start(&[]);
    for user in [FREE, PREMIUM] {
        let run = server.client(user, ["-c", "selct 1"]).run();
        run.fails(
            1,
            &["(42601)\nLINE 1: selct 1\n        ^\nHINT: ", "cannot read this statement: expected"],
        );
        let run = server.client(user, ["-c", "select '日本',\n title frm content x"]).run();
        run.fails(1, &["(42601)\nLINE 2:  title frm content x\n                   ^\n"]);
        // What PostgreSQL itself finds has one, too.
        let run = server.client(user, ["-c", "select titel from content"]).run();
        run.fails(1, &["(42703)\nLINE 1: select titel from content\n               ^"]);
    }
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
    let mut server = QueryServer::start(&[]);
    let held = server.database.hold("music", "lock table content");
    let busy = server.client(PREMIUM, ["-tc", "select count(*) > 0 from content"]).spawn();
    eventually("the statement to wait", || {
        let waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
        server.database.psql(&["-Atc", waits]) == b"1\n"
    });
    server.begin_to_drain();
    let run = server.client(FREE, ["-c", "select 1"]).run();
    run.fails(3, &["the login was refused: FATAL: ", "(57P03)", "\nhint: try again in a few seconds"]);
    drop(held);
    assert_eq!(busy.wait_with_output().expect("the client ends").stdout, b" t\n\n");
    server.ends();
}

#[test]
fn a_session_that_ends_under_a_script_says_that_the_outcome_is_not_known() {
    let server = Server::start();
    let run = server.client(["-c", "select pg_terminate_backend(pg_backend_pid())"]).run();
    run.fails(1, &["(57P01)", "hint: whether the statement took effect is not known"]);
}
