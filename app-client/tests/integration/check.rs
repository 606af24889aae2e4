//! The seed's acceptance scenario: what each tier may do.

use crate::harness::{Client, Server};

/// The tiers' grants on the one table that the scenario touches.
fn prepare(server: &Server) {
    let sql = "create table content (content_id bigint generated always as identity primary key, title text not null, \
                   duration_s int not null, content_type text not null); \
               insert into content (title, duration_s, content_type) values ('one', 100, 'song'), ('two', 200, 'song'); \
               create role \"free@example.com\" login password 'music-demo'; \
               alter role \"free@example.com\" set default_transaction_read_only = on; \
               create role \"premium@example.com\" login password 'music-demo'; \
               grant select on content to \"free@example.com\"; \
               grant select, insert, update on content to \"premium@example.com\"";
    server.psql(&["-c", sql]);
}

fn check(server: &Server) -> Client {
    server.client(["check", "--csv"]).without("PGUSER").env("PGPASSWORD", "music-demo")
}

#[test]
fn eight_of_eight_pass_and_nothing_stays() {
    let server = Server::start();
    prepare(&server);
    let before = server.psql(&["-c", "table content"]);
    let run = check(&server).run();
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert_eq!(run.stdout.matches(",PASS\n").count(), 8, "{run:?}");
    assert_eq!(run.stderr, "8 of 8 passed; everything was rolled back\n");
    assert_eq!(server.psql(&["-c", "table content"]), before);
}

#[test]
fn the_prompt_may_follow_and_asks_who() {
    let server = Server::start();
    prepare(&server);
    server.file(".pgpass", "*:*:*:*:music-demo\n");
    let mut terminal = server.terminal_without_account(["check", "--then-prompt"]);
    terminal.shows("8 of 8 passed");
    terminal.shows("Log in as: ");
    terminal.keys("free@example.com\r");
    terminal.shows("free@example.com postgres=> ");
    terminal.keys("exit\r");
    terminal.ends(0);
}

#[test]
fn a_policy_that_is_too_wide_or_broken_fails() {
    let server = Server::start();
    prepare(&server);
    server.psql(&["-c", "grant delete on content to \"premium@example.com\""]);
    let run = check(&server).run();
    run.fails(1, &["7 of 8"]);
    assert!(run.stdout.contains(",denied,allowed,FAIL\n"), "{run:?}");

    // An error is neither allowed nor denied.
    server.psql(&["-c", "alter table content rename to contents"]);
    let run = check(&server).run();
    run.fails(1, &["0 of 8"]);
    assert!(run.stdout.contains("42P01"), "{run:?}");

    // Nor is a statement that found nothing to change.
    server.psql(&["-c", "alter table contents rename to content", "-c", "truncate content"]);
    check(&server).run().fails(1, &["of 8 passed"]);
}

#[test]
fn an_account_that_cannot_log_in_is_no_result() {
    let server = Server::start();
    check(&server).run().fails(3, &["28P01", "free@example.com"]);
    server.client(["check", "-c", "select 1"]).run().fails(2, &["check"]);
    server.client(["-c", "select 1", "check"]).run().fails(2, &["`check` and `doctor` have their own"]);
}
