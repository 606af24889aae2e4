//! Each leg of the way, and the one that fails.

use crate::harness::{SERVER_NAME, Server, USER, free_port};
use crate::query_server::{FREE, PREMIUM, QueryServer};

#[test]
fn each_leg_is_timed_up_to_the_one_that_fails() {
    let server = Server::start();
    let ca = server.file("ca.pem", &server.ca);
    let ca = ca.to_str().expect("UTF-8");
    let full = ["doctor", "--sslmode", "verify-full", "--ca", ca, "--server-name", SERVER_NAME];
    let shown = server.client(full).run().succeeds();
    let legs: Vec<&str> = shown.lines().filter(|line| line.contains(" ok ")).collect();
    let names: Vec<&str> = legs.iter().filter_map(|leg| leg.split_whitespace().next()).collect();
    assert_eq!(names, ["name", "tcp", "tls", "login", "role", "query"], "{shown}");
    assert!(shown.contains("TLS 1.3, required, verified as music-app.ops.internal"), "{shown}");
    assert!(shown.contains("password from PGPASSWORD"), "{shown}");
    assert!(shown.contains(&format!("run as {USER}, PostgreSQL ")), "{shown}");

    let fails = |client: crate::harness::Client, leg: &str, hint: &str| {
        let run = client.run();
        run.fails(3, &[hint]);
        let last = run.stdout.lines().last().unwrap_or_default();
        assert!(last.starts_with(leg) && last.contains("FAILED"), "{run:?}");
    };
    let port = free_port().to_string();
    fails(server.client(["doctor", "--host", "nowhere.invalid"]), "name", "check the spelling");
    fails(server.client(["doctor", "--port", &port]), "tcp", "is the server running");
    fails(server.client(["doctor", "--sslmode", "verify-full", "--ca", ca]), "tls", "--server-name");
    fails(server.client(["doctor"]).env("PGPASSWORD", "wrong"), "login", "came from PGPASSWORD");
}

#[test]
fn on_the_query_server_the_role_is_the_tier() {
    let server = QueryServer::start(&[]);
    for (user, tier) in [(FREE, "tier_free"), (PREMIUM, "tier_premium")] {
        let shown = server.client(user, ["doctor"]).run().succeeds();
        assert!(shown.contains(&format!("statements run as {tier}, PostgreSQL ")), "{shown}");
        assert!(shown.contains("verified as music-app.ops.internal"), "{shown}");
    }
}

#[test]
fn words_that_cannot_be_written_are_an_error_and_no_crash() {
    let server = Server::start();
    let full = server.client(["doctor"]).by_shell("\"$0\" \"$@\" >/dev/full").run();
    full.fails(1, &["No space left on device"]);
    for closed in ["\"$0\" \"$@\" >&-", "{ \"$0\" \"$@\"; echo \"left with $?\" >&2; } | true"] {
        let run = server.client(["doctor"]).by_shell(closed).run();
        assert!(!run.stderr.contains("panicked"), "{run:?}");
        assert!(!run.stderr.contains("left with 101"), "{run:?}");
    }
    // What is said on stderr has no other place to go: the code says the rest.
    let mute =
        server.client(["doctor", "--port", &free_port().to_string()]).by_shell("\"$0\" \"$@\" 2>&-").run();
    assert_eq!(mute.status.code(), Some(3), "{mute:?}");
}
