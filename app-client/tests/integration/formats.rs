//! Every format of a result.

use crate::harness::Server;

const ROWS: &str = r#"select * from (values
    (1, true, 1.50::numeric, 'NaN'::float8, '{"x": [1, "a"]}'::jsonb, E'q"\\ \n|*日', null),
    (2, false, -0.1, 1e300, 'null', '', '{1,NULL}'::int[])) as t(id, flag, number, float, json, text, id)"#;

#[test]
fn json_keeps_types_and_is_valid_with_duplicate_names_and_no_rows() {
    let server = Server::start();
    let shown = server.client(["--json", "-c", ROWS]).run().succeeds();
    let expected = "[\n {\"id\": 1, \"flag\": true, \"number\": 1.50, \"float\": \"NaN\", \
                    \"json\": {\"x\": [1, \"a\"]}, \"text\": \"q\\\"\\\\ \\n|*日\", \"id_2\": null},\n \
                    {\"id\": 2, \"flag\": false, \"number\": -0.1, \"float\": 1e+300, \"json\": null, \
                    \"text\": \"\", \"id_2\": [1, null]}\n]\n";
    assert_eq!(shown, expected);
    serde_json::from_str::<serde_json::Value>(&shown).expect("JSON");
    assert_eq!(server.client(["--json", "-c", "select 1 where false"]).run().succeeds(), "[]\n");

    let lines = server.client(["--ndjson", "-c", ROWS]).run().succeeds();
    let expected = "{\"id\": 1, \"flag\": true, \"number\": 1.50, \"float\": \"NaN\", \
                    \"json\": {\"x\": [1, \"a\"]}, \"text\": \"q\\\"\\\\ \\n|*日\", \"id_2\": null}\n\
                    {\"id\": 2, \"flag\": false, \"number\": -0.1, \"float\": 1e+300, \"json\": null, \
                    \"text\": \"\", \"id_2\": [1, null]}\n";
    assert_eq!(lines, expected);
    for line in lines.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("JSON");
    }
    assert_eq!(server.client(["--ndjson", "-c", "select 1 where false"]).run().succeeds(), "");
}

#[test]
fn json_has_arrays_as_arrays() {
    let server = Server::start();
    for (array, expected) in [
        ("'{}'::int[]", "[]"),
        ("'{{1,2},{3,NULL}}'::int8[]", "[[1,2],[3,null]]"),
        ("'[0:1]={1.50,NaN}'::numeric[]", "[1.50,\"NaN\"]"),
        ("array[true, false]", "[true,false]"),
        (r#"array['a,b', 'q"\{x}', '', 'NULL', null]"#, r#"["a,b","q\"\\{x}","","NULL",null]"#),
        (r#"array['{"a": [1, "b"]}']::jsonb[]"#, r#"[{"a":[1,"b"]}]"#),
        ("array['2026-01-01']::date[]", "[\"2026-01-01\"]"),
        ("null::text[]", "null"),
    ] {
        let shown = server.client(["--ndjson", "-c", &format!("select {array} as x")]).run().succeeds();
        let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
        let expected: serde_json::Value = serde_json::from_str(expected).expect("JSON");
        assert_eq!(shown["x"], expected, "{array}");
    }
}

#[test]
fn a_json_result_that_failed_halfway_is_not_valid_json() {
    let server = Server::start();
    let run = server.client(["--json", "-c", "select 1 / (3 - g) from generate_series(1, 5) g"]).run();
    run.fails(1, &["22012"]);
    assert!(run.stdout.starts_with('[') && !run.stdout.contains(']'), "{run:?}");
}

#[test]
fn markdown_escapes_what_markdown_would_read() {
    let server = Server::start();
    let shown =
        server.client(["--markdown", "-c", "select 1 as n, E'a|b\\n*c* <d>' as \"x_y\", null as e"]).run();
    let expected = "| n | x\\_y | e |\n| ---: | --- | --- |\n| 1 | a\\|b<br>\\*c\\* \\<d> |  |\n\n";
    assert_eq!(shown.succeeds(), expected);
    let wide = "select '日本 | è' as \"名前\", U&'e\\0301 \\+01F3B5' as s, '{1,NULL}'::int[] as list";
    let shown = server.client(["--markdown", "-c", wide]).run().succeeds();
    assert_eq!(
        shown,
        "| 名前 | s | list |\n| --- | --- | --- |\n| 日本 \\| è | e\u{301} \u{1f3b5} | {1,NULL} |\n\n"
    );
}

#[test]
fn expanded_and_tuples_only_look_as_in_psql() {
    let server = Server::start();
    for statement in [
        "select 1 as a, 'x' as longer",
        "select 1 as a, E'l1\\nl2' as b, 'z' as c from generate_series(1, 2)",
        "select 1 where false",
        "select",
        "select repeat('日', 40) as a, 'long name' as \"a very long column name\"",
    ] {
        for flags in [vec!["-x"], vec!["-t"], vec!["-t", "-x"], vec!["-t", "--csv"]] {
            let client =
                flags.iter().fold(server.client(["-c", statement]), |client, flag| client.argument(flag));
            let theirs = server.psql(&[&["-c", statement], flags.as_slice()].concat());
            let theirs = String::from_utf8(theirs).expect("UTF-8");
            assert_eq!(client.run().succeeds(), theirs, "{flags:?} {statement}");
        }
    }
}

#[test]
fn formats_for_programs_have_no_command_tags() {
    let server = Server::start();
    let statements = "create temp table t (a int); insert into t values (1); table t";
    assert_eq!(server.client(["--csv", "-c", statements]).run().succeeds(), "a\n1\n");
    assert_eq!(server.client(["-t", "-c", statements]).run().succeeds(), " 1\n\n");
    server.client(["--csv", "--json", "-c", "select 1"]).run().fails(2, &["cannot be used with"]);
}
