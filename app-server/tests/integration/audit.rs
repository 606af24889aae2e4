//! The audit trail as an operator reads it: nothing that a client was told of is missing, whatever way it has asked.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::{BufMut as _, BytesMut};
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;
use serde_json::Value;
use sha2::Digest as _;

use crate::harness::{ADMIN, FREE, PREMIUM, Server, ask, eventually, signal, value, world, world_with};
use crate::raw::Raw;

/// Outcome and rows of each record whose statement holds a word.
fn told(lines: &[Value], word: &str) -> Vec<(String, Option<u64>)> {
    let is_asked = |line: &&Value| line["sql"].as_str().is_some_and(|sql| sql.contains(word));
    let told = |line: &Value| (line["outcome"].as_str().unwrap().to_owned(), line["rows"].as_u64());
    lines.iter().filter(is_asked).map(told).collect()
}

/// Waits for as many records of a statement as are expected.
fn expect_told(server: &Server, word: &str, expected: &[(&str, u64)]) {
    let expected: Vec<_> =
        expected.iter().map(|(outcome, rows)| ((*outcome).to_owned(), Some(*rows))).collect();
    eventually("the records are in the audit", || told(&server.lines(), word).len() >= expected.len());
    assert_eq!(told(&server.lines(), word), expected, "{word}");
}

fn records(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Parse and Bind of a statement without parameters.
fn bound(portal: &str, sql: &str) -> BytesMut {
    let mut out = BytesMut::new();
    frontend::parse("", sql, [], &mut out).unwrap();
    bind(portal, "", &mut out);
    out
}

fn bind(portal: &str, statement: &str, out: &mut BytesMut) {
    assert!(frontend::bind(portal, statement, [], [""; 0], |_, _| Ok(IsNull::No), [], out).is_ok());
}

fn flush(out: &mut BytesMut) {
    out.put_slice(b"H\0\0\0\x04");
}

#[tokio::test]
async fn a_portal_that_stops_is_recorded_when_it_stops_and_when_it_ends() {
    let (postgres, server) = world().await;
    let mut raw = Raw::connect(&server, PREMIUM);
    // All of it is stored although one row was read, and the portal ends with the batch.
    let mut out = bound(
        "",
        "insert into artist (name) select 'one of ' || i from generate_series(1, 3) as i returning name",
    );
    frontend::execute("", 1, &mut out).unwrap();
    frontend::sync(&mut out);
    raw.send(&out);
    assert_eq!(raw.until(b'Z').0, "12DsZ");
    let stored = "select count(*) from artist where name like 'one of %'";
    assert_eq!(value(&postgres.superuser().await, stored).await, "3");
    expect_told(&server, "'one of '", &[("suspended", 1), ("success", 1)]);

    // What was read in pieces is told as a whole.
    assert_eq!(raw.query("begin").0, "CZ");
    let mut out = bound("pieces", "select 'in pieces', i from generate_series(1, 10) as i");
    for rows in [3, 3, 0] {
        frontend::execute("pieces", rows, &mut out).unwrap();
    }
    frontend::sync(&mut out);
    raw.send(&out);
    assert_eq!(raw.until(b'Z').0, "12DDDsDDDsDDDDCZ");
    expect_told(&server, "'in pieces'", &[("suspended", 3), ("success", 10)]);
    let bytes: Vec<_> = server
        .lines()
        .iter()
        .filter(|line| line["sql"].as_str().is_some_and(|sql| sql.contains("'in pieces'")))
        .map(|line| line["bytes"].as_u64().unwrap())
        .collect();
    // A row is kind, length, number of columns, and each column's length and text; the last one has a digit more.
    let row = 1 + 4 + 2 + (4 + 9) + (4 + 1);
    assert_eq!(bytes, [3 * row, 10 * row + 1]);

    // Closed, replaced by another one, and ended by what ends the transaction or the session.
    let mut out = bound("closed", "select 'closed', i from generate_series(1, 10) as i");
    frontend::execute("closed", 9, &mut out).unwrap();
    frontend::close(b'P', "closed", &mut out).unwrap();
    out.extend_from_slice(&bound("", "select 'replaced', i from generate_series(1, 10) as i"));
    frontend::execute("", 4, &mut out).unwrap();
    frontend::execute("", 4, &mut out).unwrap();
    out.extend_from_slice(&bound("", "select 'rolled back', i from generate_series(1, 10) as i"));
    frontend::execute("", 5, &mut out).unwrap();
    frontend::sync(&mut out);
    raw.send(&out);
    assert_eq!(raw.until(b'Z').0, "12DDDDDDDDDs312DDDDsDDDDs12DDDDDsZ");
    expect_told(&server, "'closed'", &[("suspended", 9), ("success", 9)]);
    expect_told(&server, "'replaced'", &[("suspended", 4), ("success", 8)]);
    expect_told(&server, "'rolled back'", &[("suspended", 5)]);
    assert_eq!(raw.query("rollback").0, "CZ");
    expect_told(&server, "'rolled back'", &[("suspended", 5), ("success", 5)]);

    raw.query("begin");
    let mut out = bound("", "select 'left', i from generate_series(1, 10) as i");
    frontend::execute("", 6, &mut out).unwrap();
    flush(&mut out);
    raw.send(&out);
    assert_eq!(raw.until(b's').0, "12DDDDDDs");
    drop(raw);
    expect_told(&server, "'left'", &[("suspended", 6), ("success", 6)]);
}

#[tokio::test]
async fn a_free_play_is_recorded_however_many_rows_were_asked_for() {
    let (postgres, server) = world().await;
    let mut raw = Raw::connect(&server, FREE);
    let mut out = bound("", "select record_play(2)");
    frontend::execute("", 1, &mut out).unwrap();
    frontend::sync(&mut out);
    let superuser = postgres.superuser().await;
    let before: i64 = value(&superuser, "select count(*) from playback").await.parse().unwrap();
    raw.send(&out);
    let (kinds, bodies) = raw.until(b'Z');
    assert_eq!(kinds, "12DsZ", "{bodies}");
    assert_eq!(value(&superuser, "select count(*) from playback").await, (before + 1).to_string());
    expect_told(&server, "record_play(2)", &[("suspended", 1), ("success", 1)]);
}

#[tokio::test]
async fn a_portal_that_has_stopped_is_on_record_even_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.log");
    let (_postgres, mut server) = world_with(&[("AUDIT_FILE", file.to_str().unwrap())]).await;
    let mut raw = Raw::connect(&server, PREMIUM);
    let mut out = bound("", "select 'heard of' from generate_series(1, 3)");
    frontend::execute("", 1, &mut out).unwrap();
    flush(&mut out);
    raw.send(&out);
    assert_eq!(raw.until(b's').0, "12Ds");
    signal(server.process_id(), "KILL");
    assert!(!server.wait().success());
    assert_eq!(told(&records(&file), "'heard of'"), [("suspended".to_owned(), Some(1))]);
}

#[tokio::test]
async fn what_a_portal_answers_in_pieces_counts_as_one_statement() {
    let (_postgres, server) = world_with(&[("PREMIUM_ROW_LIMIT", "1000")]).await;
    let mut raw = Raw::connect(&server, PREMIUM);
    raw.query("begin");
    let mut out = bound("", "select i from generate_series(1, 1000000) as i");
    let mut said = String::new();
    let refused = loop {
        frontend::execute("", 300, &mut out).unwrap();
        frontend::sync(&mut out);
        raw.send(&out);
        out.clear();
        let (kinds, bodies) = raw.until(b'Z');
        said.push_str(&kinds);
        if kinds.ends_with("EZ") {
            break bodies;
        }
        assert!(said.len() < 2000, "{said}");
    };
    assert!(refused.contains("C54000") && refused.contains("1000 rows"), "{refused}");
    let rows = said.bytes().filter(|kind| *kind == b'D').count();
    assert!((1000..=1200).contains(&rows), "{rows}");
    // The others of the session go on.
    assert_eq!(raw.query("rollback").0, "CZ");
    assert_eq!(raw.query("select i from generate_series(1, 900) as i").0.len(), 903);
}

#[tokio::test]
async fn what_is_executed_is_known_by_its_text_however_it_was_sent() {
    let (_postgres, server) = world().await;
    let mut raw = Raw::connect(&server, ADMIN);
    // Bound before the batch ahead of it was answered, and executed after.
    let mut out = BytesMut::new();
    frontend::query("select 'ahead'", &mut out).unwrap();
    out.extend_from_slice(&bound("p", "select 'bound early'"));
    flush(&mut out);
    raw.send(&out);
    assert_eq!(raw.until(b'2').0, "TDCZ12");
    let mut out = BytesMut::new();
    frontend::execute("p", 0, &mut out).unwrap();
    frontend::sync(&mut out);
    raw.send(&out);
    assert_eq!(raw.until(b'Z').0, "DCZ");
    expect_told(&server, "'bound early'", &[("success", 1)]);

    // Prepared by a statement, executed by the protocol.
    raw.query("prepare spoken as select 'spoken'");
    let mut out = BytesMut::new();
    bind("", "spoken", &mut out);
    frontend::execute("", 0, &mut out).unwrap();
    frontend::sync(&mut out);
    raw.send(&out);
    assert_eq!(raw.until(b'Z').0, "2DCZ");
    expect_told(&server, "(prepared statement \"spoken\")", &[("success", 1)]);

    // More statements than are kept.
    let mut out = BytesMut::new();
    for number in 0..3 {
        let sql = format!("select '{}'", "x".repeat(1_300_000));
        frontend::parse(&number.to_string(), &sql, [], &mut out).unwrap();
    }
    let sql = format!("select 'too late', length('{}')", "x".repeat(400_000));
    frontend::parse("late", &sql, [], &mut out).unwrap();
    bind("", "late", &mut out);
    frontend::execute("", 0, &mut out).unwrap();
    frontend::sync(&mut out);
    raw.send(&out);
    assert_eq!(raw.until(b'Z').0, "11112DCZ");
    expect_told(&server, "(prepared statement \"late\")", &[("success", 1)]);
    let is_prepared =
        |line: &&Value| line["sql"].as_str().is_some_and(|sql| sql.starts_with("select 'too late'"));
    let prepared: Vec<_> =
        server.lines().iter().filter(is_prepared).map(|line| line["tag"].clone()).collect();
    assert_eq!(prepared, ["PREPARE"]);
}

#[tokio::test]
async fn many_statements_in_a_message_cost_their_text_once_and_count_as_many() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.log");
    let variables = [
        ("AUDIT_FILE", file.to_str().unwrap()),
        ("AUDIT_FILE_MIB", "1"),
        ("AUDIT_FILES", "50"),
        ("FREE_STATEMENTS_PER_S", "10"),
    ];
    let (_postgres, server) = world_with(&variables).await;
    let mut raw = Raw::connect(&server, ADMIN);
    let before = peak_memory_kib(&server);
    let script = "begin;commit;".repeat(9000);
    let (kinds, _) = raw.query(&script);
    assert_eq!(kinds.len(), 18_001);
    let grown = peak_memory_kib(&server) - before;
    assert!(grown < 16 * 1024, "{grown} KiB for a message of {} bytes", script.len());
    let files = audit_files(folder.path());
    // A record of 200 bytes for each, and files no longer than they may be.
    assert!((3..10).contains(&files.len()), "{files:?}");
    for file in &files {
        assert!(std::fs::metadata(file).unwrap().len() <= 1 << 20, "{}", file.display());
    }
    let told: Vec<_> = files.iter().flat_map(|file| records(file)).collect();
    let parts: Vec<_> = told.iter().filter_map(|line| line["part"].as_u64()).collect();
    assert_eq!(parts, (2..=18_000).collect::<Vec<_>>());
    assert_eq!(told.iter().filter(|line| line["sql"] == *script).count(), 1);

    // One that fails has the text again: it is what is looked for.
    let mut raw = Raw::connect(&server, PREMIUM);
    let stacked = "select 1; select 2; delete from content; select 4";
    assert_eq!(raw.query(stacked).0, "TDCTDCEZ");
    let told: Vec<_> = audit_files(folder.path()).iter().flat_map(|file| records(file)).collect();
    let told: Vec<_> =
        told.iter().filter(|line| line["user"] == PREMIUM && line["audit"] == "statement").collect();
    assert_eq!(told.len(), 3);
    assert!(told[1]["sql"].is_null() && told[1]["part"] == 2);
    assert!(told[2]["sql"] == stacked && told[2]["part"] == 3 && told[2]["outcome"] == "denied");

    // Ten seconds' worth is free.
    let mut raw = Raw::connect(&server, FREE);
    assert_eq!(raw.query(&"select 1;".repeat(120)).0.len(), 361);
    let began = Instant::now();
    raw.query("select 1");
    assert!(began.elapsed() > Duration::from_secs(1), "{:?}", began.elapsed());
}

/// An audit file and what was rotated out of it, the oldest first.
fn audit_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.reverse();
    files
}

/// The most memory that the server has ever had.
fn peak_memory_kib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process_id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn no_statement_is_so_long_that_it_hides_something() {
    let (_postgres, server) = world().await;
    let mut raw = Raw::connect(&server, PREMIUM);
    let padding = " ".repeat(20_000);
    let spoken = format!("{padding}select 'hidden_mark' as spoken{padding}");
    assert_eq!(raw.query(&spoken).0, "TDCZ");
    let prepared = format!("/* {padding} */ select 'hidden_mark' as prepared /* {padding} */");
    let mut out = BytesMut::new();
    frontend::parse("long", &prepared, [], &mut out).unwrap();
    for _ in 0..3 {
        bind("", "long", &mut out);
        frontend::execute("", 0, &mut out).unwrap();
    }
    frontend::sync(&mut out);
    raw.send(&out);
    assert_eq!(raw.until(b'Z').0, "12DC2DC2DCZ");
    expect_told(&server, "hidden_mark' as spoken", &[("success", 1)]);
    let text = |line: &Value| line["sql"].as_str().unwrap_or_default().to_owned();
    eventually("the executions are in the audit", || {
        server.lines().iter().filter(|line| text(line).ends_with(')')).count() == 3
    });
    let lines = server.lines();
    assert!(lines.iter().any(|line| text(line) == spoken));
    let whole: Vec<_> = lines.iter().filter(|line| text(line) == prepared).map(|line| &line["tag"]).collect();
    assert_eq!(whole, ["PREPARE"]);
    // What repeats it says which one it was.
    let digest: String = sha2::Sha256::digest(&prepared).iter().map(|byte| format!("{byte:02x}")).collect();
    let ending = format!(" .. ({} bytes, sha256 {digest})", prepared.len());
    let repeated: Vec<_> = lines.iter().map(text).filter(|sql| sql.ends_with(&ending)).collect();
    assert_eq!(repeated.len(), 3);
    assert!(repeated.iter().all(|sql| sql.len() < 5000 && sql.starts_with("/*   ")));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_stdout_slowly_holds_up_statements_and_nothing_else() {
    let (_postgres, mut server) = world_with(&[("DRAIN_TIMEOUT_S", "1")]).await;
    let client = server.connect(PREMIUM).await;
    let answered = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&answered);
    server.read_stdout(false);
    let asking = tokio::spawn(async move {
        let mut number = 0;
        let mut sql = || {
            number += 1;
            format!("select 'slow {number}', length('{}')", "x".repeat(10_000))
        };
        while ask(&client, &sql()).await.is_ok() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    // A pipe holds 64 KiB: it is full once nothing was answered between so many looks.
    let stands_still = || {
        let (mut seen, mut times) = (0, 0);
        eventually("the pipe is full", || {
            assert!(server.get("/healthz").0.contains("200"));
            let now = answered.load(Ordering::Relaxed);
            (times, seen) = (if now == seen { times + 1 } else { 0 }, now);
            times >= 20
        });
        seen
    };
    let held_up = stands_still();
    assert!(server.get("/readyz").0.contains("200"));
    server.read_stdout(true);
    eventually("it goes on", || answered.load(Ordering::Relaxed) > held_up + 50);
    let told = told(&server.lines(), "'slow ");
    assert!(told.len() >= held_up + 50 && told.iter().all(|(outcome, _)| outcome == "success"));

    server.read_stdout(false);
    stands_still();
    signal(server.process_id(), "TERM");
    // Once the drain has waited for long enough: the records will not come out.
    assert!(server.wait().success());
    asking.await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn a_trail_that_breaks_ends_sessions_and_logins_until_it_is_whole_again() {
    let postgres = crate::harness::Postgres::start().await;
    postgres.migrate().await;
    postgres.fill().await;
    let folder = tempfile::tempdir().unwrap();
    let trail = folder.path().join("trail");
    assert!(std::process::Command::new("mkfifo").arg(&trail).status().unwrap().success());
    // Opened for both, it does not wait for a writer. It holds more than is recorded here.
    let reader = || std::fs::OpenOptions::new().read(true).write(true).open(&trail).unwrap();
    let whole = reader();
    let server = crate::harness::Server::start_with(&postgres, &[("AUDIT_FILE", trail.to_str().unwrap())]);
    let premium = server.connect(PREMIUM).await;
    assert_eq!(value(&premium, "select 1").await, "1");

    drop(whole);
    let code = |refused: tokio_postgres::Error| refused.code().map(|code| code.code().to_owned()).unwrap();
    for password in [crate::harness::PASSWORD, "wrong"] {
        let refused = server.config(PREMIUM, password).connect(tokio_postgres::NoTls).await.err().unwrap();
        let refused = code(refused);
        // The first finds it out; from then on it is known.
        assert!(refused == "58030" || (password == "wrong" && refused == "57P03"), "{refused}");
    }
    assert_eq!(code(premium.simple_query("select 1").await.unwrap_err()), "58030");
    eventually("the readiness says why", || {
        let (status, body) = server.get("/readyz");
        status.contains("503") && body.contains("the audit trail cannot be written")
    });

    let _whole = reader();
    eventually("it is ready again", || server.get("/readyz").0.contains("200"));
    assert_eq!(value(&server.connect(PREMIUM).await, "select 1").await, "1");
}
