//! A deployment's state file is all that the client needs to find its server.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Client, PASSWORD, SERVER_NAME, Server, USER};

const WHERE: &str =
    "select current_user as u, current_database() as d, ssl from pg_stat_ssl where pid = pg_backend_pid()";

fn state(server: &Server) -> Value {
    json!({
        "server_public_ip": "127.0.0.1",
        "server_port": server.port,
        "nlb_enabled": false,
        "server_name": SERVER_NAME,
        "server_ca": server.ca,
        "db_name": "postgres",
        "passfile": "secrets/pgpass",
    })
}

/// A client that has nothing but the folder it is in.
fn bare<const N: usize>(server: &Server, arguments: [&str; N]) -> Client {
    let client = server.client(arguments);
    ["PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGPASSWORD"]
        .iter()
        .fold(client, |client, name| client.without(name))
}

#[test]
fn it_gives_address_authority_name_database_and_password_file() {
    let server = Server::start();
    let below = server.file("deploy_config.json", &state(&server).to_string()).with_file_name("a").join("b");
    fs::create_dir_all(&below).expect("the folder is ours");
    fs::create_dir(below.ancestors().nth(2).expect("two up").join("secrets")).expect("the folder is ours");
    server.file("secrets/pgpass", &format!("*:*:*:{USER}:{}\n", PASSWORD.replace('\\', "\\\\")));

    let run = bare(&server, ["--csv", "-c", WHERE, "--user", USER]).within(&below).run();
    assert_eq!(run.succeeds(), format!("u,d,ssl\n{USER},postgres,t\n"));
    bare(&server, ["-c", WHERE]).within(&below).run().fails(2, &[&format!("--user {USER}")]);

    // The name that the state records is the one that is verified.
    let mut other = state(&server);
    other["server_name"] = "other.ops.internal".into();
    server.file("deploy_config.json", &other.to_string());
    bare(&server, ["-c", WHERE, "--user", USER]).run().fails(3, &["not for `other.ops.internal`"]);
}

#[test]
fn with_a_balancer_its_address_is_used() {
    let server = Server::start();
    let mut state = state(&server);
    state["nlb_enabled"] = true.into();
    state["nlb_dns"] = "localhost".into();
    state["nlb_port"] = server.port.into();
    state["server_public_ip"] = "192.0.2.1".into();
    server.file("deploy_config.json", &state.to_string());
    let client = bare(&server, ["--csv", "-c", "select 1 as a", "--user", USER]).env("PGPASSWORD", PASSWORD);
    assert_eq!(client.run().succeeds(), "a\n1\n");
}

#[test]
fn the_state_file_of_the_deployment_comes_before_the_local_one() {
    let server = Server::start();
    let client = |arguments: &[&str]| {
        let client =
            bare(&server, ["--csv", "-c", "select 1 as a", "--user", USER]).env("PGPASSWORD", PASSWORD);
        arguments.iter().fold(client, |client, argument| client.argument(argument)).run()
    };
    client(&[]).fails(2, &["no state file deploy_config.json", "ops run deploy.rhai --local", "--host"]);
    client(&["--local"]).fails(2, &["no state file deploy_config.local.json", "ops run deploy.rhai --local"]);

    let good = state(&server).to_string();
    let mut dead = state(&server);
    dead["server_ca"] = "".into();
    dead["server_port"] = 1.into();
    let dead = dead.to_string();

    server.file("deploy_config.demo.json", &good);
    assert_eq!(client(&[]).succeeds(), "a\n1\n");
    server.file("deploy_config.second.json", &good);
    client(&[])
        .fails(2, &["several deployments", "deploy_config.demo.json, deploy_config.second.json", "--state"]);
    assert_eq!(client(&["--state", "deploy_config.second.json"]).succeeds(), "a\n1\n");

    server.file("deploy_config.local.json", &good);
    assert_eq!(client(&[]).succeeds(), "a\n1\n");
    server.file("deploy_config.json", &dead);
    client(&[]).fails(3, &["127.0.0.1:1"]);
    assert_eq!(client(&["--local"]).succeeds(), "a\n1\n");
    client(&["--local", "--host", "x"]).fails(2, &["cannot be used with"]);
}

#[test]
fn a_state_file_that_cannot_be_used_says_why() {
    let server = Server::start();
    let client = || bare(&server, ["-c", "select 1", "--user", USER]).run();
    server.file("deploy_config.json", "{ \"server_public_ip\": ");
    client().fails(2, &["deploy_config.json is damaged", "ops run deploy.rhai"]);
    server.file("deploy_config.json", "{}");
    client().fails(2, &["names no server: `server_public_ip` is missing"]);
    server.file("deploy_config.json", "{\"nlb_enabled\": true}");
    client().fails(2, &["`nlb_dns` is missing"]);
    bare(&server, ["-c", "select 1", "--state", "absent.json"]).run().fails(2, &["absent.json"]);
}

#[test]
fn a_host_that_is_named_leaves_the_state_file_out() {
    let server = Server::start();
    server.file("deploy_config.json", "damaged");
    assert_eq!(server.client(["--csv", "-c", "select 1 as a"]).run().succeeds(), "a\n1\n");
}
