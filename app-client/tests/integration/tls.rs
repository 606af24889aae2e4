//! What is believed, at each level of verification.

use crate::harness::{SERVER_NAME, Server};

const ENCRYPTED: &str = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";

#[test]
fn each_mode_verifies_what_it_says() {
    let server = Server::start();
    let ca = server.file("ca.pem", &server.ca);
    let other = server.file("other.pem", &Server::other_authority());
    let (ca, other) = (ca.to_str().expect("UTF-8"), other.to_str().expect("UTF-8"));
    let run = |arguments: &[&str]| {
        let client = server.client(["--csv", "-c", ENCRYPTED]);
        arguments.iter().fold(client, |client, argument| client.argument(argument)).run()
    };

    assert_eq!(run(&["--sslmode", "disable"]).succeeds(), "ssl\nf\n");
    assert_eq!(run(&["--sslmode", "require"]).succeeds(), "ssl\nt\n");
    assert_eq!(run(&["--sslmode", "verify-ca", "--ca", ca]).succeeds(), "ssl\nt\n");
    let full = ["--sslmode", "verify-full", "--ca", ca];
    assert_eq!(run(&[full.as_slice(), &["--server-name", SERVER_NAME]].concat()).succeeds(), "ssl\nt\n");
    // On this machine TLS is used when there is something to verify it with.
    assert_eq!(run(&["--ca", ca, "--server-name", SERVER_NAME]).succeeds(), "ssl\nt\n");
    assert_eq!(run(&[]).succeeds(), "ssl\nf\n");

    run(&full).fails(3, &["it is for music-app.ops.internal, not for `127.0.0.1`", "--server-name"]);
    for mode in ["require", "verify-ca", "verify-full"] {
        run(&["--sslmode", mode, "--ca", other])
            .fails(3, &["certificate", "is refused", "other.pem", "--ca FILE"]);
    }
    run(&["--sslmode", "verify-ca"]).fails(3, &["the system's trust store"]);
    run(&["--sslmode", "prefer"]).fails(2, &["verify-full"]);
}

#[test]
fn another_host_is_verified_in_full_unless_told_otherwise() {
    let server = Server::start();
    let ca = server.file("ca.pem", &server.ca);
    let ca = ca.to_str().expect("UTF-8");
    // The resolver takes this for 127.0.0.1; spelled so it could be any host.
    let client = |rest: &[&str]| {
        let client = server.client(["--csv", "-c", ENCRYPTED, "--host", "127.1"]);
        rest.iter().fold(client, |client, argument| client.argument(argument)).run()
    };
    client(&["--server-name", SERVER_NAME]).fails(3, &["certificate", "is refused"]);
    // The right authority is not enough: the name counts, too.
    let wrong = ["--ca", ca, "--server-name", "other.ops.internal"];
    client(&wrong)
        .fails(3, &["it is for music-app.ops.internal, not for `other.ops.internal`", "--server-name"]);
    assert_eq!(client(&["--ca", ca, "--server-name", SERVER_NAME]).succeeds(), "ssl\nt\n");
    assert_eq!(client(&[wrong.as_slice(), &["--sslmode", "verify-ca"]].concat()).succeeds(), "ssl\nt\n");
}

#[test]
fn a_server_without_tls_gets_nothing_when_tls_is_required() {
    let server = Server::start();
    server.psql(&["-c", "alter system set ssl = off", "-c", "select pg_reload_conf()"]);
    let ca = server.file("ca.pem", &server.ca);
    crate::harness::eventually("the server to turn TLS off", || {
        let run = server.client(["-c", "select 1", "--sslmode", "require"]).run();
        run.status.code() == Some(3) && run.stderr.contains("does not offer an encrypted connection")
    });
    let optional = server.client(["--csv", "-c", "select 1 as a", "--ca", ca.to_str().expect("UTF-8")]);
    assert_eq!(optional.run().succeeds(), "a\n1\n");
}

#[test]
fn a_file_that_is_no_certificate_is_named() {
    let server = Server::start();
    let ca = server.file("ca.pem", "not a certificate");
    let run = server.client(["-c", "select 1", "--ca", ca.to_str().expect("UTF-8")]).run();
    run.fails(3, &["ca.pem holds no certificate"]);
    server.client(["-c", "select 1", "--ca", "absent.pem"]).run().fails(2, &["absent.pem"]);
}
