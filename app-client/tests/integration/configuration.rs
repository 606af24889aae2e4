//! Where to connect, from the files that people keep: app-client.toml and libpq's service file.

use std::fs;

use crate::harness::{Client, PASSWORD, SERVER_NAME, Server, USER};

const WHO: &str =
    "select current_user as u, current_database() as d, ssl from pg_stat_ssl where pid = pg_backend_pid()";

/// A client that has nothing but its folder and the password.
fn bare<const N: usize>(server: &Server, arguments: [&str; N]) -> Client {
    let client = server.client(arguments);
    ["PGHOST", "PGPORT", "PGUSER", "PGDATABASE"].iter().fold(client, |client, name| client.without(name))
}

#[test]
fn app_client_toml_gives_address_authority_and_name() {
    let server = Server::start();
    server.file("music-app-authority.crt", &server.ca);
    let toml = format!(
        "host = \"127.0.0.1\"\nport = {}\ndatabase = \"postgres\"\nca = \"music-app-authority.crt\"\n\
         server_name = \"{SERVER_NAME}\"\n",
        server.port
    );
    server.file("app-client.toml", &toml);
    // It comes before the state file: somebody wrote it.
    server.file("deploy_config.json", "{ \"server_public_ip\": \"192.0.2.1\" }");
    let below = server.folder().join("a/b");
    fs::create_dir_all(&below).expect("the folder is ours");
    let run = || bare(&server, ["--csv", "-c", WHO]).within(&below);
    assert_eq!(run().env("PGUSER", USER).run().succeeds(), format!("u,d,ssl\n{USER},postgres,t\n"));
    run().run().fails(2, &["no user", "--user NAME"]);

    server.file("app-client.toml", &format!("{toml}user = \"{USER}\"\nsslmode = \"disable\"\n"));
    assert_eq!(run().run().succeeds(), format!("u,d,ssl\n{USER},postgres,f\n"));
    server.file("app-client.toml", &toml.replace(SERVER_NAME, "other.ops.internal"));
    run().env("PGUSER", USER).run().fails(3, &["not for `other.ops.internal`"]);
    // The passwords of that server's deployment are known, too, and those of another one are not asked for.
    server.file("app-client.toml", &toml);
    server.file("passwords", &format!("*:*:*:{USER}:{}\n", PASSWORD.replace('\\', "\\\\")));
    let unasked = |host: &str| {
        let state = format!("{{ \"server_public_ip\": \"{host}\", \"passfile\": \"passwords\" }}");
        server.file("deploy_config.json", &state);
        run().without("PGPASSWORD").env("PGUSER", USER).run()
    };
    assert_eq!(unasked("127.0.0.1").succeeds(), format!("u,d,ssl\n{USER},postgres,t\n"));
    unasked("192.0.2.1").fails(3, &["password"]);
    // `--state` chooses the state file, a host that is named neither.
    run().argument("--state=absent.json").run().fails(2, &["absent.json"]);
    let named = run().env("PGUSER", USER).env("PGDATABASE", "postgres").env("PGHOST", "127.0.0.1");
    assert_eq!(
        named.env("PGPORT", &server.port.to_string()).run().succeeds(),
        format!("u,d,ssl\n{USER},postgres,f\n")
    );
}

#[test]
fn app_client_toml_may_leave_the_server_to_the_state_file() {
    let server = Server::start();
    let state = format!("{{ \"server_public_ip\": \"127.0.0.1\", \"server_port\": {} }}", server.port);
    server.file("deploy_config.json", &state);
    server.file("app-client.toml", &format!("user = \"{USER}\"\ndatabase = \"postgres\"\n"));
    assert_eq!(bare(&server, ["--csv", "-c", WHO]).run().succeeds(), format!("u,d,ssl\n{USER},postgres,f\n"));
}

#[test]
fn app_client_toml_that_cannot_be_used_says_where() {
    let server = Server::start();
    server.file("app-client.toml", "host = \"x\"\nprot = 1\n");
    let run = bare(&server, ["-c", "select 1"]).run();
    run.fails(2, &["app-client.toml cannot be used", "line 2", "unknown field `prot`", "server_name"]);
    server.file("app-client.toml", "port = \"x\"");
    bare(&server, ["-c", "select 1"]).run().fails(2, &["line 1", "u16"]);
}

#[test]
fn a_service_names_the_server_and_variables_do_not_change_it() {
    let server = Server::start();
    let service = format!("[music]\nhost=127.0.0.1\nport={}\ndbname=postgres\nuser={USER}\n", server.port);
    let file = server.file(".pg_service.conf", &service);
    let run = || bare(&server, ["--csv", "-c", WHO]).env("PGPORT", "1");
    let expected = format!("u,d,ssl\n{USER},postgres,f\n");
    assert_eq!(run().env("PGSERVICE", "music").run().succeeds(), expected);
    assert_eq!(run().argument("--url=postgresql:///?service=music").run().succeeds(), expected);
    run()
        .env("PGSERVICE", "absent")
        .run()
        .fails(2, &["no service `absent` in", ".pg_service.conf", "[absent]"]);

    // Where PGSERVICEFILE has no such service, the machine's file is asked.
    let elsewhere = server.folder().join("etc");
    fs::create_dir(&elsewhere).expect("the folder is ours");
    fs::rename(&file, elsewhere.join("pg_service.conf")).expect("the folder is ours");
    let mine = server.file("mine", "[other]\nhost=x\n");
    let named = run().env("PGSERVICE", "music").env("PGSERVICEFILE", mine.to_str().expect("UTF-8"));
    assert_eq!(named.env("PGSYSCONFDIR", elsewhere.to_str().expect("UTF-8")).run().succeeds(), expected);
}

#[test]
fn a_service_may_hold_the_password_and_no_message_repeats_it() {
    let server = Server::start();
    let place = format!("[music]\nhost=127.0.0.1\nport={}\ndbname=postgres\nuser={USER}\n", server.port);
    server.file(".pg_service.conf", &format!("{place}password={PASSWORD}\n"));
    let run =
        || bare(&server, ["--csv", "-c", "select 1 as a"]).without("PGPASSWORD").env("PGSERVICE", "music");
    assert_eq!(run().run().succeeds(), "a\n1\n");
    server.file(".pg_service.conf", &format!("{place}password=s3cret\n"));
    let refused = run().run();
    refused.fails(3, &["28P01", ".pg_service.conf, line 6"]);
    server.file(".pg_service.conf", &format!("{place}passwort=s3cret\n"));
    let unknown = run().run();
    unknown.fails(2, &["line 6: app-client does not have the parameter `passwort`"]);
    assert!(!format!("{refused:?}{unknown:?}").contains("s3cret"));
}

#[test]
fn a_command_may_give_the_password_out_of_a_keyring() {
    let server = Server::start();
    let keyring = server.file("keyring", &format!("{PASSWORD}\n"));
    let ask = |command: &str| {
        let client = server.client(["--csv", "-c", "select 1 as a"]).without("PGPASSWORD");
        client.env("PATH", "/usr/bin:/bin").env("APP_CLIENT_PASSWORD_COMMAND", command).run()
    };
    let command = format!("test \"$PGUSER\" = {USER} && cat {}", keyring.display());
    assert_eq!(ask(&command).succeeds(), "a\n1\n");
    ask("false").fails(3, &["APP_CLIENT_PASSWORD_COMMAND ended with exit status: 1", "run it by hand"]);
    ask("true").fails(3, &["printed no password"]);
    ask("echo wrong").fails(3, &["28P01", "came from APP_CLIENT_PASSWORD_COMMAND"]);
}

#[test]
fn the_session_has_the_name_the_settings_and_the_address_of_libpqs_variables() {
    let server = Server::start();
    let shown = "select current_setting('application_name'), current_setting('statement_timeout')";
    let client = server.client(["--csv", "-t", "-c", shown]);
    let named = client.env("PGAPPNAME", "nightly").env("PGOPTIONS", "-c statement_timeout=7s");
    assert_eq!(named.run().succeeds(), "nightly,7s\n");
    assert_eq!(server.client(["--csv", "-t", "-c", shown]).run().succeeds(), "app-client,0\n");

    // The address is dialled, and the certificate is for the name.
    let ca = server.file("ca.pem", &server.ca);
    let ca = ca.to_str().expect("UTF-8");
    let client = |name: &str| {
        let client = server.client(["-c", "select 1", "--sslmode", "verify-full", "--ca", ca]);
        client.env("PGHOST", name).env("PGHOSTADDR", "127.0.0.1").run()
    };
    client(SERVER_NAME).succeeds();
    client("other.ops.internal")
        .fails(3, &["it is for music-app.ops.internal, not for `other.ops.internal`"]);
    // It goes with PGHOST, and not with a host from elsewhere.
    let elsewhere =
        server.client(["-c", "select 1", "--host", "nowhere.invalid"]).env("PGHOSTADDR", "127.0.0.1");
    elsewhere.run().fails(3, &["cannot find the host `nowhere.invalid`"]);
    let alone =
        server.client(["--csv", "-t", "-c", "select 1"]).without("PGHOST").env("PGHOSTADDR", "127.0.0.1");
    assert_eq!(alone.run().succeeds(), "1\n");
}
