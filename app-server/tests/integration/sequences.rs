//! Messages in an order that no driver sends: whatever comes of it, each answer stays with its question, in the audit and between clients.

use std::io::Read as _;

use bytes::BytesMut;
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;

use crate::harness::{ADMIN, OTHER_PREMIUM, PREMIUM, Postgres, Server, eventually, value, world};
use crate::raw::Raw;

fn query(sql: &str, out: &mut BytesMut) {
    frontend::query(sql, out).unwrap();
}

/// Parse, Bind and Execute of a statement without parameters.
fn execute(sql: &str, out: &mut BytesMut) {
    frontend::parse("", sql, [], out).unwrap();
    assert!(frontend::bind("", "", [], [""; 0], |_, _| Ok(IsNull::No), [], out).is_ok());
    frontend::execute("", 0, out).unwrap();
}

fn data(line: &str, out: &mut BytesMut) {
    frontend::CopyData::new(line.as_bytes()).unwrap().write(out);
}

/// The outcomes of the statements whose text holds a word.
fn outcomes(server: &Server, word: &str) -> Vec<String> {
    let lines = server.lines();
    let told = lines.iter().filter(|line| line["sql"].as_str().is_some_and(|sql| sql.contains(word)));
    told.map(|line| line["outcome"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_simple_query_in_an_open_batch_ends_the_session_and_runs_nothing() {
    let (_postgres, server) = world().await;
    let mut out = BytesMut::new();
    // The database would skip two of them, and answer the third as if it were the second.
    frontend::parse("", "select nothing_of_the_kind", [], &mut out).unwrap();
    query("select 'pretended'", &mut out);
    query("select 'pretended'", &mut out);
    frontend::sync(&mut out);
    query("select 'meant'", &mut out);
    let mut raw = Raw::connect(&server, PREMIUM);
    raw.send(&out);
    let mut said = Vec::new();
    let _ = raw.stream.read_to_end(&mut said);
    assert!(String::from_utf8_lossy(&said).contains("08P01"));
    drop(raw);
    let other = server.connect(OTHER_PREMIUM).await;
    assert_eq!(value(&other, "select 'served'").await, "served");
    eventually("the next statement is recorded", || !outcomes(&server, "'served'").is_empty());
    assert!(!outcomes(&server, "pretended").contains(&"success".to_owned()));
    assert!(outcomes(&server, "meant").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_ahead_of_a_copys_answers_is_answered_and_recorded_in_its_turn() {
    let postgres = Postgres::start().await;
    postgres.migrate().await;
    postgres.fill().await;
    let server = Server::start_with(&postgres, &[("POOL_SIZE", "1"), ("POOL_MODE", "transaction")]);
    server.wait_until_ready();
    let other = server.connect(ADMIN).await;
    let mut raw = Raw::connect(&server, ADMIN);
    let copy = "copy genre (name) from stdin";
    type Sequence<'a> = (&'a str, &'a str, &'a dyn Fn(&mut BytesMut));
    let sequences: [Sequence<'_>; 7] = [
        ("at once", "12GCZ", &|out| {
            execute(copy, out);
            data("one\n", out);
            frontend::copy_done(out);
            frontend::sync(out);
        }),
        ("a Sync before the data, as libpq sends it", "12GCZ", &|out| {
            execute(copy, out);
            frontend::sync(out);
            data("two\n", out);
            frontend::copy_done(out);
            frontend::sync(out);
        }),
        ("data that does not fit", "12GEZ", &|out| {
            execute(copy, out);
            data("three\tcolumns\n", out);
            frontend::copy_done(out);
            frontend::sync(out);
        }),
        ("given up", "12GEZ", &|out| {
            execute(copy, out);
            frontend::copy_fail("given up", out).unwrap();
            frontend::sync(out);
        }),
        ("simple", "GCZ", &|out| {
            query(copy, out);
            data("four\n", out);
            frontend::copy_done(out);
        }),
        ("two in one", "GCGCZ", &|out| {
            query(&format!("{copy}; {copy}"), out);
            data("five\n", out);
            frontend::copy_done(out);
            data("six\n", out);
            frontend::copy_done(out);
        }),
        ("none at all", "12DCZ", &|out| {
            execute("select 'copy'", out);
            frontend::sync(out);
        }),
    ];
    for (number, (name, kinds, sequence)) in sequences.iter().enumerate() {
        let mut out = BytesMut::new();
        sequence(&mut out);
        query(&format!("select 'after {number}'"), &mut out);
        raw.send(&out);
        assert_eq!(raw.until(b'Z').0, *kinds, "{name}");
        let (kinds, bodies) = raw.until(b'Z');
        assert!(kinds == "TDCZ" && bodies.contains(&format!("after {number}")), "{name}: {kinds} {bodies}");
        assert_eq!(value(&other, "select 'mine'").await, "mine", "{name}");
        eventually(name, || outcomes(&server, &format!("after {number}")) == ["success"]);
    }
    // A Sync in the middle of the data, and a statement behind it: it is answered and recorded, or refused and not run. Which of the two
    // depends on whether the database has met the error by then.
    let mut out = BytesMut::new();
    execute(copy, &mut out);
    data("three\tcolumns\n", &mut out);
    frontend::sync(&mut out);
    query("select 'unrecorded'", &mut out);
    raw.send(&out);
    let mut said = Vec::new();
    let holds = |said: &[u8], text: &[u8]| said.windows(text.len()).any(|part| part == text);
    let is_answered = loop {
        let mut part = [0; 4096];
        let length = raw.stream.read(&mut part).unwrap();
        said.extend_from_slice(&part[..length]);
        if holds(&said, b"08P01") {
            break false;
        }
        if holds(&said, b"unrecorded") && said.ends_with(b"Z\0\0\0\x05I") {
            break true;
        }
        assert!(length > 0, "the session ended without a word: {}", String::from_utf8_lossy(&said));
    };
    assert_eq!(value(&other, "select 'mine'").await, "mine");
    let expected: &[&str] = if is_answered { &["success"] } else { &[] };
    eventually("the record", || outcomes(&server, "unrecorded") == expected);
}

#[tokio::test]
async fn what_the_database_skips_after_an_error_takes_no_memory() {
    let (_postgres, server) = world().await;
    let peak_kib = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.process_id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let mut raw = Raw::connect(&server, ADMIN);
    let before = peak_kib();
    let mut out = BytesMut::new();
    frontend::parse("", "select nothing_of_the_kind", [], &mut out).unwrap();
    raw.send(&out);
    out.clear();
    let long = format!("select '{}'", "x".repeat(8000));
    for _ in 0..100 {
        execute(&long, &mut out);
    }
    // Some 160 MB.
    for _ in 0..200 {
        raw.send(&out);
    }
    out.clear();
    frontend::sync(&mut out);
    query("select 'after'", &mut out);
    raw.send(&out);
    assert_eq!(raw.until(b'Z').0, "EZ");
    assert_eq!(raw.until(b'Z').0, "TDCZ");
    let more_mib = (peak_kib() - before) / 1024;
    assert!(more_mib < 64, "{more_mib} MiB more");
}
