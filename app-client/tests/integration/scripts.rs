//! Files, pipes, variables; what a failed statement says and what happens after it.

use crate::harness::Server;

#[test]
fn a_script_with_copy_data_runs_as_in_psql() {
    let server = Server::start();
    let script = "-- a dump\ncreate table song (id int, title text);\ncopy song from stdin;\n1\ta;b\n2\t\\N\n\\.\n\
                  select count(*), count(title) from song; select $$;$$ as dollar";
    let file = server.file("dump.sql", script);
    let ours = server.client(["-f", file.to_str().expect("UTF-8")]).run().succeeds();
    server.psql(&["-c", "drop table song"]);
    let theirs = server.psql(&["-f", file.to_str().expect("UTF-8")]);
    assert_eq!(ours, String::from_utf8(theirs).expect("UTF-8"));
    server.psql(&["-c", "drop table song"]);
    assert_eq!(server.client([]).stdin(script).run().succeeds(), ours);
}

#[test]
fn copy_of_a_command_takes_stdin() {
    let server = Server::start();
    server.psql(&["-c", "create table t (a int, b text)"]);
    let rows: String = (1..=100_000).map(|row| format!("{row}\trow {row}\n")).collect();
    assert_eq!(server.client(["-c", "copy t from stdin"]).stdin(rows).run().succeeds(), "COPY 100000\n");
    server
        .client(["-c", "copy t from stdin"])
        .stdin("1\tx\ny\n")
        .run()
        .fails(1, &["22P02", "CONTEXT", "line 2"]);
}

#[test]
fn a_copy_that_raises_a_notice_for_each_row_does_not_lock_up() {
    let server = Server::start();
    let prepare = "create table t (a int); create function loud() returns trigger language plpgsql as \
                   $$begin raise notice '%', repeat('n', 2000); return new; end$$; \
                   create trigger loud before insert on t for each row execute function loud()";
    server.psql(&["-c", prepare]);
    let rows: String = (1..=20_000).map(|row| format!("{row}\n{row}\n")).collect();
    let run = server.client(["-c", "copy t from stdin"]).stdin(rows).run();
    assert_eq!(run.status.code(), Some(0));
    assert_eq!(run.stderr.lines().count(), 40_000);
}

#[test]
fn an_error_shows_its_place_in_the_file_and_stops_the_script() {
    let server = Server::start();
    let file = server.file("bad.sql", "select 1 as a;\n\nselect 2,\n  nope from\npg_class;\nselect 3;\n");
    let run = server.client(["--csv", "-f", file.to_str().expect("UTF-8")]).run();
    run.fails(
        1,
        &["bad.sql:3: ERROR: column \"nope\" does not exist (42703)\nLINE 4:   nope from\n          ^\n"],
    );
    assert_eq!(run.stdout, "a\n1\n");
    let run = server.client(["--csv", "--on-error", "continue", "-f", file.to_str().expect("UTF-8")]).run();
    run.fails(1, &["42703"]);
    assert_eq!(run.stdout, "a\n1\n?column?\n3\n");
}

#[test]
fn an_error_shows_its_detail_and_hint() {
    let server = Server::start();
    let run =
        server.client(["-c", "create table t (a int primary key); insert into t values (1), (1)"]).run();
    run.fails(1, &["ERROR: duplicate key", "(23505)", "\nDETAIL: Key (a)=(1) already exists."]);
    let run = server.client(["-c", "select relnam from pg_class"]).run();
    run.fails(1, &["LINE 1: select relnam from pg_class\n               ^\nHINT: Perhaps you meant"]);
}

#[test]
fn a_result_that_fails_halfway_shows_the_rows_so_far_and_no_footer() {
    let server = Server::start();
    let run = server.client(["-c", "select 10 / (3000 - g) as q from generate_series(1, 4000) g"]).run();
    run.fails(1, &["division by zero (22012)"]);
    assert!(run.stdout.lines().count() > 2000 && !run.stdout.contains("rows)"), "{}", run.stdout.len());
}

#[test]
fn notices_go_to_stderr_in_order() {
    let server = Server::start();
    let run =
        server.client(["--csv", "-c", "do $$ begin raise warning 'mind %', 1; end $$; select 1 as a"]).run();
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("a\n1\n", "WARNING: mind 1\n"));
}

#[test]
fn several_commands_and_files_run_in_the_order_given() {
    let server = Server::start();
    let file = server.file("two.sql", "select :two as b");
    let file = file.to_str().expect("UTF-8");
    let run = server
        .client(["--csv", "-v", "two=2", "-c", "select 1 as a", "-f", file, "-c", "select 3 as c"])
        .run();
    assert_eq!(run.succeeds(), "a\n1\nb\n2\nc\n3\n");
    let piped = server.client(["--csv", "-c", "select 1 as a", "-f", "-"]).stdin("select 2 as b").run();
    assert_eq!(piped.succeeds(), "a\n1\nb\n2\n");
}

#[test]
fn a_single_transaction_is_all_or_nothing() {
    let server = Server::start();
    let run =
        server.client(["--single-transaction", "-c", "create table t (a int)", "-c", "select nope"]).run();
    run.fails(1, &["42703"]);
    let gone = server.client(["-c", "table t"]).run();
    gone.fails(1, &["42P01"]);
    let deferred =
        "create table t (a int unique deferrable initially deferred); insert into t values (1), (1)";
    server.client(["-1", "-c", deferred]).run().fails(1, &["23505"]);
    gone.fails(1, &["42P01"]);
    let kept =
        server.client(["-1", "-c", "create table t (a int)", "-f", "-"]).stdin("insert into t values (1)");
    assert_eq!(kept.run().succeeds(), "CREATE TABLE\nINSERT 0 1\n");
    assert_eq!(server.client(["--csv", "-c", "table t"]).run().succeeds(), "a\n1\n");
    server
        .client(["-1", "--on-error", "continue", "-c", "select 1"])
        .run()
        .fails(2, &["cannot be used with"]);
}

#[test]
fn variables_are_quoted_as_asked() {
    let server = Server::start();
    let sql = "select :'name' as \"quoted\", :n + 1 as sum, :'path' as path, 1 as :\"column\"";
    let client = server.client([
        "--csv",
        "-v",
        "name=O'Hara; drop",
        "-v",
        "n=41",
        "-v",
        r"path=c:\x",
        "-v",
        "column=a b",
    ]);
    assert_eq!(client.stdin(sql).run().succeeds(), "quoted,sum,path,a b\nO'Hara; drop,42,c:\\x,1\n");
    server.client(["-v", "no name=1", "-c", "select 1"]).run().fails(2, &["NAME=VALUE"]);
}

#[test]
fn what_cannot_run_is_said_before_it_runs() {
    let server = Server::start();
    server.client([]).stdin("select 1;\nselect 'a\n").run().fails(1, &["stdin:2: ", "`'` is not closed"]);
    server.client([]).stdin("\\d song\n").run().fails(1, &["stdin:1: `\\d` is a command of the prompt"]);
    server.client([]).stdin(b"select '\xff';".as_slice()).run().fails(1, &["stdin:1: the text is not UTF-8"]);
    server.client(["-f", "absent.sql"]).run().fails(2, &["cannot read absent.sql"]);
    server.client(["--nonsense"]).run().fails(2, &["--nonsense"]);
}

#[test]
fn a_file_that_fails_in_a_single_transaction_leaves_nothing_and_says_so() {
    let server = Server::start();
    server.psql(&["-c", "create table t (a int unique deferrable initially deferred)"]);
    let file =
        server.file("fails.sql", "insert into t values (1);\nselect nope;\ninsert into t values (2);\n");
    let file = file.to_str().expect("UTF-8");
    let run = server.client(["-1", "-f", file]).run();
    run.fails(1, &["fails.sql:2: ERROR: column \"nope\" does not exist", "rolled back: nothing was kept"]);
    // What is only found out at the end counts as well.
    let run = server.client(["-1", "-c", "insert into t values (1), (1)"]).run();
    run.fails(1, &["(23505)", "rolled back: nothing was kept"]);
    assert_eq!(server.psql(&["-Atc", "select count(*) from t"]), b"0\n");

    let run = server.client(["-1"]).stdin("insert into t values (3);\ncommit;\nselect nope;\n").run();
    run.fails(1, &["stdin:2: this ended the transaction", "hint: take COMMIT and ROLLBACK out"]);
    assert!(!run.stderr.contains("nope"), "{run:?}");
}

#[test]
fn a_file_that_is_missing_is_found_out_before_anything_runs() {
    let server = Server::start();
    let run = server.client(["-c", "create table t (a int)", "-f", "missing.sql"]).run();
    run.fails(2, &["cannot read missing.sql"]);
    assert_eq!(run.stdout, "");
}

#[test]
fn variables_are_quoted_as_asked_and_one_that_is_not_set_is_named() {
    let server = Server::start();
    server.psql(&["-c", "create table \"Odd \"\"one\" (a text)"]);
    let script = "insert into :\"table\" values (:'value');\nselect a, :n + 1, ':n' from :\"table\";\n";
    let arguments = ["-t", "-v", "table=Odd \"one", "-v", "value=it's \\ \"so\"", "-v", "n=41"];
    let printed = server.client(arguments).argument("--csv").stdin(script).run().succeeds();
    assert_eq!(printed, "\"it's \\ \"\"so\"\"\",42,:n\n");
    for (text, name) in [("select :count", "count"), ("select :'name'", "name")] {
        let run = server.client([]).stdin(text).run();
        run.fails(1, &["(42601)", &format!("HINT: no variable `{name}` is set: `-v {name}=VALUE`")]);
    }
    let run = server.client(["-c", "select 1 :"]).run();
    assert!(!run.stderr.contains("variable"), "{run:?}");
}
