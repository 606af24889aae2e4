//! The program's commands, and where it takes its settings from.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use tokio_postgres::NoTls;

use crate::harness::{FREE, PREMIUM, Postgres, Server, ask, certificate, eventually, signal, value, world};

fn app_server(arguments: &[&str], variables: &[(&str, &str)], stdin: &str) -> Output {
    let mut process = Command::new(env!("CARGO_BIN_EXE_app-server"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    process.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    process.wait_with_output().unwrap()
}

#[test]
fn a_configuration_is_checked_without_showing_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (chain, key) = certificate(&folder.path().join("ca.pem"));
    let secret = file("secret", "hidden\n");
    let identity_key = file("identity", "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=\n");
    let (chain_file, key_file) = (file("chain.pem", &chain), file("key.pem", &key));
    let config = file(
        "app-server.toml",
        &format!(
            "listen = '0.0.0.0:8080'\ndatabase_url = 'postgres://127.0.0.1/music'\npool_size = 5\n\
             app_auth_password_file = '{secret}'\ntier_free_password_file = '{secret}'\n\
             tier_premium_password_file = '{secret}'\nidentity_key_file = '{identity_key}'\n\
             tls_certificate_file = '{chain_file}'\ntls_key_file = '{key_file}'\n"
        ),
    );
    let variables = [("TIER_ADMIN_PASSWORD", "hidden too"), ("POOL_SIZE", "7"), ("IDLE_TIMEOUT_S", "60")];
    let usable = app_server(&["check-config", "--config", &config, "--idle-timeout-s", "90"], &variables, "");
    let shown = String::from_utf8(usable.stdout).unwrap();
    assert_eq!(usable.status.code(), Some(0), "{shown}");
    let line = |name: &str| {
        let line = shown.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap();
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("LISTEN"), "0.0.0.0:8080 file");
    assert_eq!(line("POOL_SIZE"), "7 environment");
    assert_eq!(line("IDLE_TIMEOUT_S"), "90 flag");
    assert_eq!(line("MESSAGE_MIB"), "16 default");
    assert_eq!(line("TIER_ADMIN_PASSWORD"), "(set) environment");
    assert_eq!(line("PROXY_FROM"), "(not set)");
    assert!(shown.ends_with("the configuration is usable\n"), "{shown}");
    for hidden in ["hidden", "a2tra2", "BEGIN"] {
        assert!(!shown.contains(hidden), "{shown}");
    }

    let (_, other_key) = certificate(&folder.path().join("other-ca.pem"));
    fs::write(&key_file, other_key).unwrap();
    let wrong = app_server(&["check-config", "--config", &config], &variables, "");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("do not fit together"), "{wrong:?}");
    let wrong = app_server(&["serve", "--config", &config, "--pool-size", "none"], &variables, "");
    assert_eq!(wrong.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&wrong.stderr);
    assert_eq!(stderr, "app-server: POOL_SIZE is not usable: expected a whole number above 0\n");
    // A secret has no flag: an argument is everybody's to read.
    assert_eq!(app_server(&["serve", "--tier-admin-password", "hidden"], &[], "").status.code(), Some(2));
    let help = String::from_utf8(app_server(&["serve", "--help"], &[], "").stdout).unwrap();
    assert!(
        help.contains("--tier-admin-password-file <FILE>") && help.contains("[default: 127.0.0.1:8080]"),
        "{help}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hashed_password_is_what_logs_in() {
    let (postgres, server) = world().await;
    let hashed = app_server(&["hash-password"], &[], "correct horse\n");
    let verifier = String::from_utf8(hashed.stdout).unwrap();
    assert!(verifier.starts_with("SCRAM-SHA-256$4096:") && !verifier.contains("horse"), "{verifier}");
    let owner = postgres.owner().await;
    owner.execute("select private.set_credential($1, $2)", &[&FREE, &verifier.trim()]).await.unwrap();
    assert!(server.config(FREE, "correct horse").connect(NoTls).await.is_ok());
    assert!(server.config(FREE, "correct horse ").connect(NoTls).await.is_err());
    assert_eq!(app_server(&["hash-password"], &[], "\n").status.code(), Some(2));
}

#[test]
fn words_that_cannot_be_written_are_an_error_and_no_crash() {
    let hashed = |redirection: &str| {
        Command::new("sh")
            .args(["-c", &format!("echo horse | \"$0\" hash-password {redirection}")])
            .arg(env!("CARGO_BIN_EXE_app-server"))
            .output()
            .unwrap()
    };
    let full = hashed(">/dev/full");
    assert_eq!(full.status.code(), Some(1));
    assert!(String::from_utf8(full.stderr).unwrap().contains("cannot write to stdout: No space left"));
    // No configuration at all, and nobody to tell.
    assert_eq!(app_server(&["serve"], &[], "").status.code(), Some(2));
    let mute = Command::new("sh")
        .args(["-c", "env -i \"$0\" serve 2>&-"])
        .arg(env!("CARGO_BIN_EXE_app-server"))
        .status()
        .unwrap();
    assert_eq!(mute.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_taken_up_without_a_restart() {
    let postgres = Postgres::start().await;
    postgres.migrate().await;
    postgres.fill().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let write = |ca: &str| {
        let (chain, key) = certificate(&path(ca));
        fs::write(path("chain.pem"), chain).unwrap();
        fs::write(path("key.pem"), key).unwrap();
    };
    write("first-ca.pem");
    let (chain, key) = (path("chain.pem"), path("key.pem"));
    let server = Server::start_with(
        &postgres,
        &[
            ("TLS_CERTIFICATE", ""),
            ("TLS_KEY", ""),
            ("TLS_CERTIFICATE_FILE", chain.to_str().unwrap()),
            ("TLS_KEY_FILE", key.to_str().unwrap()),
        ],
    );
    server.wait_until_ready();
    let login =
        |ca: &str| server.psql_with(PREMIUM, &path(ca), "require", &["-c", "select 1"]).status.success();
    assert!(login("first-ca.pem"));
    let open = server.connect(PREMIUM).await;
    write("second-ca.pem");
    assert!(login("first-ca.pem"), "nobody has said that it should be read again");
    signal(server.process_id(), "HUP");
    eventually("the new certificate is shown", || login("second-ca.pem"));
    assert!(!login("first-ca.pem"));
    // A half-written one is told and not taken.
    fs::write(path("chain.pem"), "-----BEGIN").unwrap();
    signal(server.process_id(), "HUP");
    eventually("the log says that the certificate is kept", || {
        server.lines().iter().any(|line| line["event"] == "certificate_kept")
    });
    assert!(login("second-ca.pem"));
    assert_eq!(value(&open, "select 'still here'").await, "still here");
    assert!(ask(&open, "select 1").await.is_ok());
}
