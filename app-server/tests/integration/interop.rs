//! Clients that others wrote, over TLS with SCRAM: psycopg 3 and JDBC. psql and pgbench are in `protocol`, tokio-postgres everywhere.

use std::path::Path;
use std::process::Command;

use crate::harness::{PASSWORD, Postgres, Server, eventually, world};

/// Runs a client's script, which must end well.
fn run(server: &Server, program: &str, arguments: &[&str], script: &str, install: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(script);
    let output = Command::new(program)
        .args(arguments)
        .arg(script)
        .arg(server.address.port().to_string())
        .arg(server.ca_file())
        .env("PGPASSWORD", PASSWORD)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}: {install}"));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}\n{program} needs its PostgreSQL driver: {install}");
}

#[tokio::test]
async fn psycopg_prepares_pipelines_copies_and_cancels() {
    let (_postgres, server) = world().await;
    // Debian's own: another one in the PATH does not see Debian's packages.
    run(&server, "/usr/bin/python3", &[], "psycopg3.py", "apt-get install python3-psycopg");
}

#[tokio::test]
async fn jdbc_prepares_batches_fetches_and_cancels() {
    let postgres = Postgres::start().await;
    postgres.migrate().await;
    postgres.fill().await;
    let server = Server::start_with(&postgres, &[("POOL_SIZE", "1")]);
    server.wait_until_ready();
    let install = "apt-get install default-jdk-headless libpostgresql-jdbc-java";
    run(&server, "java", &["-cp", "/usr/share/java/postgresql.jar"], "Jdbc.java", install);
    // One row of three was read, and all were stored.
    eventually("the audit has the insert and how it ended", || {
        let is_insert =
            |line: &&serde_json::Value| line["sql"].as_str().is_some_and(|sql| sql.contains("'fetched '"));
        let lines = server.lines();
        let told: Vec<_> =
            lines.iter().filter(is_insert).map(|line| (&line["outcome"], &line["rows"])).collect();
        told == [(&"suspended".into(), &1.into()), (&"success".into(), &1.into())]
    });
}
