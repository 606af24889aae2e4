//! What a statement or a stranger may cost: time and rows, counted outside the session that could change its own settings.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio_postgres::NoTls;

use crate::harness::{
    ADMIN, FREE, OTHER_PREMIUM, PASSWORD, PREMIUM, Postgres, Server, ask, eventually, signal, value, world,
};
use crate::raw::Raw;

#[tokio::test]
async fn a_tiers_limits_hold_whatever_the_session_sets() {
    let postgres = Postgres::start().await;
    postgres.migrate().await;
    postgres.fill().await;
    let server =
        Server::start_with(&postgres, &[("PREMIUM_STATEMENT_TIMEOUT_S", "1"), ("PREMIUM_ROW_LIMIT", "1000")]);
    server.wait_until_ready();
    let (premium, admin) = (server.connect(PREMIUM).await, server.connect(ADMIN).await);

    // PostgreSQL's own clock first.
    assert_eq!(ask(&premium, "select pg_sleep(20)").await, Err("57014".to_owned()));
    ask(&premium, "set statement_timeout = 0").await.unwrap();
    let error = premium.batch_execute("select pg_sleep(20)").await.unwrap_err();
    let answer = error.as_db_error().unwrap();
    assert_eq!(answer.code().code(), "57014");
    assert!(answer.message().contains("1 s, the limit of a `premium` account"), "{answer:?}");
    assert_eq!(value(&premium, "select 'usable'").await, "usable");

    assert_eq!(ask(&premium, "select * from generate_series(1, 1000)").await.unwrap().len(), 1000);
    let error = premium.query("select i from generate_series(1, 10000000) as i", &[]).await.unwrap_err();
    let answer = error.as_db_error().unwrap();
    assert_eq!(answer.code().code(), "54000");
    assert!(answer.message().contains("1000 rows"), "{answer:?}");
    assert_eq!(value(&premium, "select 'usable'").await, "usable");

    assert_eq!(
        ask(&admin, "select i from generate_series(1, 5000) as i, pg_sleep(1.5)").await.unwrap().len(),
        5000
    );
}

/// Who leaves a transaction alone keeps a database session from others, for so long and no longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_left_alone_ends_whatever_the_session_sets() {
    let postgres = Postgres::start().await;
    postgres.migrate().await;
    postgres.fill().await;
    let variables = [("POOL_SIZE", "1"), ("IDLE_TRANSACTION_TIMEOUT_S", "2")];
    let server = Server::start_with(&postgres, &variables);
    server.wait_until_ready();
    for messages in [
        &b"Q\0\0\0\x0abegin\0"[..],
        b"Q\0\0\0\x3dbegin; set local idle_in_transaction_session_timeout = 0\0",
        // A batch without its Sync.
        b"P\0\0\0\x10\0select 1\0\0\0",
    ] {
        let mut raw = Raw::connect(&server, PREMIUM);
        raw.send(messages);
        // Waits in line meanwhile.
        let other = server.config(OTHER_PREMIUM, PASSWORD);
        let served = tokio::spawn(async move {
            let (client, connection) = other.connect(NoTls).await.unwrap();
            tokio::spawn(connection);
            value(&client, "select 'served'").await
        });
        let (_, said) = raw.until(b'E');
        assert!(said.contains("25P03") && said.contains("idle in a transaction for 2 s"), "{said}");
        assert_eq!(served.await.unwrap(), "served");
    }
    // Work is not silence.
    let client = server.connect(PREMIUM).await;
    ask(&client, "begin").await.unwrap();
    for _ in 0..2 {
        assert_eq!(value(&client, "select 'done' from pg_sleep(1.5)").await, "done");
    }
    assert_eq!(value(&client, "select 'done' from pg_sleep(3)").await, "done");
    ask(&client, "commit").await.unwrap();
}

#[tokio::test]
async fn bytes_and_pace_are_limited_and_copy_counts() {
    let postgres = Postgres::start().await;
    postgres.migrate().await;
    postgres.fill().await;
    let limits = [
        ("PREMIUM_ANSWER_MIB", "1"),
        ("PREMIUM_ROW_LIMIT", "1000"),
        ("FREE_STATEMENTS_PER_S", "5"),
        ("ADDRESS_CONNECTIONS", "3"),
    ];
    let server = Server::start_with(&postgres, &limits);
    server.wait_until_ready();
    let premium = server.connect(PREMIUM).await;
    assert_eq!(ask(&premium, "select repeat('x', 1000000)").await.unwrap().len(), 1);
    let mut raw = Raw::connect(&server, PREMIUM);
    for (sql, what) in [
        ("select repeat('x', 1000000) from generate_series(1, 300)", "1048576 bytes"),
        ("copy (select repeat('x', 1000000) from generate_series(1, 300)) to stdout", "1048576 bytes"),
        ("copy (select i from generate_series(1, 10000000) as i) to stdout", "1000 rows"),
    ] {
        let (kinds, bodies) = raw.query(sql);
        assert!(kinds.ends_with("EZ"), "{sql}: {kinds}");
        assert!(bodies.contains("54000") && bodies.contains(what), "{sql}");
        // What was on its way when it was stopped fills the buffers of two sockets at most.
        assert!(bodies.len() < 32 << 20, "{sql}: {} bytes", bodies.len());
    }
    drop(raw);
    assert_eq!(value(&premium, "select 'usable'").await, "usable");

    // Ten seconds' worth are free, over all sessions of the account; then it is five a second.
    let (one, other) = (server.connect(FREE).await, server.connect(FREE).await);
    let began = Instant::now();
    for _ in 0..25 {
        assert_eq!(value(&one, "select 1").await, "1");
        assert_eq!(value(&other, "select 1").await, "1");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let began = Instant::now();
    for _ in 0..35 {
        value(&one, "select 1").await;
    }
    assert!(began.elapsed() > Duration::from_secs(1), "{:?}", began.elapsed());

    // Three connections are open.
    let refused = server.config(ADMIN, PASSWORD).connect(NoTls).await.err().unwrap();
    assert_eq!(refused.code().unwrap().code(), "53300");
    drop((one, other));
    let deadline = Instant::now() + Duration::from_secs(10);
    while server.config(ADMIN, PASSWORD).connect(NoTls).await.is_err() {
        assert!(Instant::now() < deadline, "a closed connection gives its place back");
    }
}

#[tokio::test]
async fn guessing_passwords_is_stopped_for_the_guesser_and_an_account_has_so_many_sessions() {
    let (_postgres, server) = world().await;
    let mut sessions = Vec::new();
    for _ in 0..10 {
        sessions.push(server.connect(PREMIUM).await);
    }
    let code = async |user: &str, password: &str| {
        let refused = server.config(user, password).connect(NoTls).await.err().unwrap();
        refused.code().unwrap().code().to_owned()
    };
    assert_eq!(code(PREMIUM, PASSWORD).await, "53300");
    drop(sessions.pop());
    let deadline = Instant::now() + Duration::from_secs(10);
    while server.config(PREMIUM, PASSWORD).connect(NoTls).await.is_err() {
        assert!(Instant::now() < deadline, "a closed session gives its place back");
    }
    for _ in 0..10 {
        assert_eq!(code(FREE, "guess").await, "28P01");
    }
    assert_eq!(code(FREE, PASSWORD).await, "28000");
    let metrics = server.get("/metrics").1;
    assert!(metrics.contains("app_server_open_sessions "), "{metrics}");
    assert!(metrics.contains("app_server_logins_total{result=\"refused\"} 1"), "{metrics}");
    assert_eq!(value(&server.connect(ADMIN).await, "select 1").await, "1");
}

/// The statements of an audit file that hold a word; the last line may be cut off.
fn recorded(file: &std::path::Path, word: &str) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let records = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let statements = records.filter_map(|record| record["sql"].as_str().map(str::to_owned));
    statements.filter(|sql| sql.contains(word)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answered_statement_is_in_the_audit_file_even_after_a_kill() {
    let postgres = Postgres::start().await;
    postgres.migrate().await;
    postgres.fill().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.log");
    let variables = [("AUDIT_FILE", file.to_str().unwrap()), ("PREMIUM_STATEMENTS_PER_S", "1000000")];
    let server = Server::start_with(&postgres, &variables);
    server.wait_until_ready();
    let answered = Arc::new(AtomicUsize::new(0));
    let mut clients = Vec::new();
    for number in 0..8 {
        let (client, answered) = (server.connect(PREMIUM).await, Arc::clone(&answered));
        clients.push(tokio::spawn(async move {
            let mut round = 0;
            while ask(&client, &format!("select {number} as answered, {round}")).await.is_ok() {
                round += 1;
                answered.fetch_add(1, Ordering::Relaxed);
            }
            (number, round)
        }));
    }
    eventually("all are at work", || answered.load(Ordering::Relaxed) > 2000);
    signal(server.process_id(), "KILL");
    let recorded: std::collections::HashSet<_> = recorded(&file, "as answered").into_iter().collect();
    for client in clients {
        let (number, rounds) = client.await.unwrap();
        for round in 0..rounds {
            let sql = format!("select {number} as answered, {round}");
            assert!(recorded.contains(&sql), "answered and not recorded: {sql}");
        }
    }
}

/// The process dies in the very write of a record: what its client had heard of by then was recorded.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn nothing_is_answered_before_it_is_recorded() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let postgres = Postgres::start().await;
    postgres.migrate().await;
    postgres.fill().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.log");
    let mut server = Server::start_with(&postgres, &[("AUDIT_FILE", file.to_str().unwrap())]);
    server.wait_until_ready();
    let client = server.connect(PREMIUM).await;
    ask(&client, "select 'before'").await.unwrap();
    let full = Some(std::fs::metadata(&file).unwrap().len() + 1000);
    let process = Pid::from_raw(i32::try_from(server.process_id()).unwrap());
    prlimit(process, Resource::Fsize, Rlimit { current: full, maximum: full }).unwrap();
    let mut answered = 0;
    while let Ok(rows) = ask(&client, &format!("select 'answered {answered}'")).await {
        assert_eq!(rows.len(), 1);
        answered += 1;
        assert!(answered < 100, "the file cannot hold so many");
    }
    assert!(!server.wait().success());
    assert_eq!(recorded(&file, "'answered ").len(), answered);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_can_leave_out_what_people_write_into_statements() {
    let postgres = Postgres::start().await;
    postgres.migrate().await;
    postgres.fill().await;
    let server = Server::start_with(&postgres, &[("AUDIT_LITERALS", "redact")]);
    server.wait_until_ready();
    let client = server.connect(PREMIUM).await;
    ask(&client, "select count(*) from content where title = 'secret-1' and duration_s > 271828 -- secret-2")
        .await
        .unwrap();
    assert!(ask(&client, "select 'secret-3").await.is_err());
    client.query("select 'secret-4' || $1::text", &[&"secret-5"]).await.unwrap();
    eventually("three statements are in the audit", || {
        server.lines().iter().filter(|line| line["audit"] == "statement").count() == 3
    });
    let text = format!("{:?}", server.lines());
    assert!(!text.contains("secret") && !text.contains("271828"), "{text}");
    assert!(text.contains("select count(*) from content where title = ? and duration_s > ?"), "{text}");
}
