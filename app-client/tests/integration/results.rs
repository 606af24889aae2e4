//! What a result looks like, and what it costs.

use std::io::{Read, Write};

use crate::harness::{Server, eventually};

const TRICKY: &str = r#"
    select * from (values
        (1, 'plain', true, 1.50::numeric, '{1,2}'::int[]),
        (2, 'comma, here', false, null, '{}'),
        (3, 'a "quote"', null, -0.001, null),
        (4, E'line\nbreak\r\n', true, 'NaN', '{NULL,3}'),
        (5, '', true, 0, null),
        (6, null, true, 0, null),
        (7, '\.', true, 0, null),
        (8, E'tab\there, è 日本 \U0001F3B5', true, 12345678901234567890.5, null),
        (9, ' spaces ', true, 0, null)
    ) as t(id, "the, text", flag, number, list)"#;

#[test]
fn csv_is_byte_for_byte_what_psql_writes() {
    let server = Server::start();
    let many = "select g, md5(g::text), repeat('x', g % 40), case when g % 7 = 0 then 'a,\"b' end, now()::date \
                from generate_series(1, 1000000) g";
    for statement in [TRICKY, many, "select", "select 1 where false", "select null"] {
        let ours = server.client(["--csv", "-c", statement]).output();
        assert!(ours.status.success() && ours.stderr.is_empty(), "{}", String::from_utf8_lossy(&ours.stderr));
        assert!(ours.stdout == server.psql(&["--csv", "-c", statement]), "{statement}");
    }
}

#[test]
fn a_small_result_looks_as_in_psql() {
    let server = Server::start();
    for statement in [
        TRICKY,
        "select",
        "select 1 as a",
        "select 1 where false",
        "select null",
        "select E'a\\nbb\\tc' x, 1 y, E'z\\nw' z, null n",
        "select E'one\\ntwo', E'\\n', repeat('w', 300)",
        "create temp table r (a int); insert into r values (1), (2) returning a; delete from r returning *",
        "explain (costs off) select 1; show server_version_num",
        "select 'x' as \"a longer name than the cell\", 7 as \"and a number\"",
        "select 1; create temp table t (a int); insert into t values (1), (2); table t; drop table t",
    ] {
        let ours = server.client(["-c", statement]).run().succeeds();
        assert_eq!(ours, String::from_utf8(server.psql(&["-c", statement])).expect("UTF-8"), "{statement}");
    }
}

#[test]
fn wide_and_unsafe_characters_keep_the_table_straight_and_the_terminal_safe() {
    let server = Server::start();
    let statement = "select * from (values ('日本', 1), ('è', 22), (E'\\x1b[31mred', 333), \
                     (U&'a\\202Eb', 4), (E'e\\u0301', 5)) t(name, n)";
    let shown = server.client(["-c", statement]).run().succeeds();
    let expected = "    name     |  n  \n-------------+-----\n 日本        |   1\n è           |  22\n \
                    \\x1B[31mred | 333\n a\\u202Eb    |   4\n e\u{301}           |   5\n(5 rows)\n\n";
    assert_eq!(shown, expected);
}

#[test]
fn a_wider_cell_after_the_sample_pushes_its_own_line_only() {
    let server = Server::start();
    let statement = "select case when g = 3000 then 'wider than all before' else 'x' end as c, g \
                     from generate_series(1, 4100) g";
    let shown = server.client(["-c", statement]).run().succeeds();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], " c |  g   ");
    assert_eq!(lines[2 + 2998], " x | 2999");
    assert_eq!(lines[2 + 2999], " wider than all before | 3000");
    assert_eq!(lines[2 + 3000], " x | 3001");
    // The next page has room for it.
    assert_eq!(lines[2 + 4000], " x                     | 4001");
}

#[test]
fn the_widths_do_not_depend_on_the_pace_of_the_server() {
    let server = Server::start();
    let rows = |pause: &str| {
        let statement = format!(
            "select g, repeat('x', g / 100) as wide, pg_sleep(case when g = 1200 then {pause} else 0 end) \
             from generate_series(1, 1600) g"
        );
        server.client(["-c", &statement]).run().succeeds()
    };
    let steady = rows("0");
    assert!(rows("2.5") == steady, "a pause of the server shows");
    // The last one is the widest, and the first one has room for it.
    let first = steady.lines().nth(2).expect("a row");
    assert!(first.starts_with(&format!("    1 | {:16} | ", "")), "{first:?}");
}

#[test]
fn the_first_rows_are_there_long_before_the_last() {
    let server = Server::start();
    // Each row is larger than the buffer in which PostgreSQL gathers output.
    let statement = "select repeat('x', 20000), pg_sleep(0.05) from generate_series(1, 10000)";
    let mut child = server.client(["-c", statement]).spawn();
    let mut start = [0; 100_000];
    child.stdout.take().expect("a pipe").read_exact(&mut start).expect("rows came");
    // The reader is gone: the client goes too, long before the 500 s are over.
    eventually("the client to end", || child.try_wait().expect("it is our child").is_some());
}

#[test]
fn a_reader_that_leaves_ends_the_client_quietly() {
    let server = Server::start();
    let mut child = server.client(["-c", "select * from generate_series(1, 1000000)"]).spawn();
    let mut start = [0; 100];
    child.stdout.take().expect("a pipe").read_exact(&mut start).expect("rows came");
    let ended = child.wait_with_output().expect("the client ends");
    assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
}

#[test]
fn a_reader_that_leaves_before_the_last_statement_is_an_error() {
    let server = Server::start();
    server.psql(&["-c", "create table t (a int)"]);
    let many = "select * from generate_series(1, 1000000)";
    let script = format!("{many}; insert into t values (1)");
    for client in
        [server.client(["-c", many, "-c", "insert into t values (1)"]), server.client([]).stdin(script)]
    {
        let mut child = client.spawn();
        let mut start = [0; 100];
        child.stdout.take().expect("a pipe").read_exact(&mut start).expect("rows came");
        let ended = child.wait_with_output().expect("the client ends");
        assert_eq!(ended.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&ended.stderr).contains("the rest was not run"), "{ended:?}");
    }
    assert_eq!(server.psql(&["-Atc", "select count(*) from t"]), b"0\n");
}

#[test]
fn copy_to_stdout_prints_its_data_and_nothing_else() {
    let server = Server::start();
    let copy = "copy (select g, 'a b' from generate_series(1, 50000) g) to stdout";
    assert!(server.client(["-c", copy]).output().stdout == server.psql(&["-c", copy]));
}

#[test]
#[cfg(target_os = "linux")]
fn memory_does_not_grow_with_the_result() {
    let server = Server::start();
    let statement = "select g, md5(g::text), md5((g * 2)::text) from generate_series(1, 1000000) g";
    for format in [None, Some("--csv")] {
        let mut client = server.client(["-c", statement]);
        if let Some(format) = format {
            client = client.argument(format);
        }
        let mut child = client.spawn();
        let mut output = child.stdout.take().expect("a pipe");
        let status = format!("/proc/{}/status", child.id());
        let mut peak_kib = 0;
        let mut bytes = 0;
        let mut buffer = vec![0; 1 << 20];
        loop {
            let read = output.read(&mut buffer).expect("a pipe");
            if read == 0 {
                break;
            }
            bytes += read;
            std::io::sink().write_all(&buffer[..read]).expect("a sink takes all");
            let status = std::fs::read_to_string(&status).unwrap_or_default();
            let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let peak = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse().ok());
            peak_kib = peak_kib.max(peak.unwrap_or(0));
        }
        assert!(child.wait().expect("it is our child").success());
        assert!(bytes > 70_000_000 && peak_kib > 0, "{bytes} bytes");
        // The rows alone are 70 MB.
        assert!(peak_kib < 20 * 1024, "{format:?}: {peak_kib} KiB");
    }
}
