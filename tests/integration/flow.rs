//! The global words that run parts of a playbook: side by side, again, at the end, while a port is open, elsewhere.

use crate::harness::{Project, signal, until};
use std::process::Stdio;

use ops::clients::aws::{Clients, Target};

fn project(playbook: &str) -> Project {
    let project = Project::empty();
    project.write("playbooks/p.rhai", playbook);
    project
}

#[test]
fn parallel_gives_results_in_the_order_of_the_list_and_copies_what_is_captured() {
    let project = project(
        r#"let factor = 10;
        let counter = 0;
        let out = parallel([1, 2, 3, 4], |n| { counter += 1; factor += n; factor * n });
        print(out); print(counter); print(factor);
        print(parallel(["a", "b"], #{ width: 1 }, |text| text + "!"));
        print(parallel([], |n| n));"#,
    );
    let ran = project.ops(&["run", "p"]).ended_with(0);
    assert_eq!(
        ran.stdout.lines().collect::<Vec<_>>(),
        ["[11, 24, 39, 56]", "0", "10", r#"["a!", "b!"]"#, "[]"]
    );
}

#[test]
fn parallel_tries_every_item_and_names_every_failure() {
    let project = project(
        r#"let it = attempt(|| parallel(["one", "two", "three"], |name| {
            if name != "two" { throw `${name} is down`; }
            name
        }));
        print(it.error.message);"#,
    );
    let ran = project.ops(&["run", "p"]).ended_with(0);
    assert_eq!(ran.stdout.trim(), "2 of 3 failed: one: one is down; three: three is down");
}

#[test]
fn parts_that_run_together_are_heard_in_the_order_in_which_they_are_written() {
    let project = project(
        r#"let greeting = "from";
        let out = together(#{
            zebra: || { sleep(1); say(`${greeting} zebra`); print("z"); 1 },
            apple: || { say(`${greeting} apple`); print("a"); together(#{ y: || { sleep(1); print("y"); 2 }, x: || { print("x"); 3 } }) },
            mango: || step("Mango", || { print("m"); 4 }),
        });
        print(out);
        print(together(#{}));"#,
    );
    let ran = project.ops(&["run", "p"]).ended_with(0);
    assert_eq!(ran.stderr, "from zebra\nfrom apple\n==> Mango\n");
    let values = r##"#{"apple": #{"x": 3, "y": 2}, "mango": 4, "zebra": 1}"##;
    assert_eq!(ran.stdout.lines().collect::<Vec<_>>(), ["z", "a", "y", "x", "m", values, "#{}"]);
}

#[test]
fn parts_that_run_together_change_things_in_turn_and_nothing_behind_a_failure() {
    let project = project(
        r#"let fails = option("fails", 0, "Which part");
        stack("s");
        together(#{
            one: || { sleep(1); if fails == 1 { throw "no first"; } sns::ensure_topic("one") },
            two: || { if fails == 2 { throw "no second"; } sns::ensure_topic("two") },
            three: || attempt(|| sns::ensure_topic("three")),
        });"#,
    );
    let made = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.strip_prefix("  + sns ")).map(str::to_owned).collect()
    };
    let ran = project.run_local("p", &["--yes", "--fails", "1"]).ended_with(1);
    assert!(ran.stderr.contains("error: no first") && ran.stderr.contains("p.rhai:4:"), "{}", ran.stderr);
    assert_eq!((made(&ran.stderr).len(), project.changes_on_the_wire()), (0, 0), "{}", ran.stderr);
    let ran = project.run_local("p", &["--yes", "--fails", "2"]).ended_with(1);
    assert_eq!(made(&ran.stderr), ["one  topic"], "{}", ran.stderr);
    let ran = project.run_local("p", &["--yes"]).ended_with(0);
    assert_eq!(made(&ran.stderr), ["two  topic", "three  topic"], "{}", ran.stderr);
}

#[test]
fn every_failure_of_parts_that_run_together_is_named() {
    let project = project(
        r#"let it = attempt(|| together(#{
            first: || { throw "no first"; },
            second: || 2,
            third: || ec2::ensure_key_pair("key"),
        }));
        print(`${it.error.kind}: ${it.error.message}`);
        print(attempt(|| together(#{ first: 1 })).error.message);"#,
    );
    let ran = project.ops(&["run", "p"]).ended_with(0);
    assert_eq!(
        ran.stdout.lines().collect::<Vec<_>>(),
        [
            "invalid: 2 of 3 failed: first: no first; third: the playbook has no stack yet",
            "together takes a map of closures, and `first` is the number 1"
        ]
    );
}

#[test]
fn handles_can_be_used_side_by_side() {
    let project = project(
        r#"stack("s");
        let group = ec2::ensure_security_group("app");
        let server = ec2::ensure_instance("server", #{ security_groups: [group] });
        print(parallel([1, 2, 3], |n| server.id == group.id || server.private_ip != "" ));
        wait_all([server]);
        print(attempt(|| wait_all([group])).error.message);"#,
    );
    let ran = project.run_local("p", &["--yes"]).ended_with(0);
    assert_eq!(ran.stdout.lines().next(), Some("[true, true, true]"));
    assert!(ran.stdout.contains("wait_all takes things with a `wait`"), "{}", ran.stdout);
}

#[test]
fn retry_goes_on_until_it_works_and_not_where_that_is_no_use() {
    let project = project(
        r#"let tries = 0;
        print(retry(#{ times: 4, pause_s: 0 }, || { tries += 1; if tries < 3 { throw "not yet"; } tries }));
        tries = 0;
        let it = attempt(|| retry(#{ times: 4, pause_s: 0 }, || { tries += 1; throw "never"; }));
        print(`${it.error} ${tries}`);
        tries = 0;
        let it = attempt(|| retry(#{ times: 4, pause_s: 0 }, || { tries += 1; sleep(-1) }));
        print(`${it.error.kind} ${tries}`);"#,
    );
    let ran = project.ops(&["run", "p"]).ended_with(0);
    assert_eq!(ran.stdout.lines().collect::<Vec<_>>(), ["3", "never 4", "invalid 1"]);
}

#[test]
fn deferred_closures_run_last_first_also_after_an_error_and_ctrl_c() {
    let project = project(
        r#"let how = option("how", "well", "How it ends");
        fn named(name) { print(name); }
        let captured = "first";
        defer(|| named(captured));
        defer(|| { sleep(0); print("second"); });
        if how == "badly" { throw "an error"; }
        if how == "never" { say("ready"); loop { sleep(1); } }"#,
    );
    let lines = ["second", "first"];
    let ran = project.ops(&["run", "p"]).ended_with(0);
    assert_eq!(ran.stdout.lines().collect::<Vec<_>>(), lines);
    let ran = project.ops(&["run", "p", "--how", "badly"]).ended_with(1);
    assert_eq!(ran.stdout.lines().collect::<Vec<_>>(), lines);

    let log = project.path("log");
    let file = std::fs::File::create(&log).expect("a file");
    let mut command = project.command(&["run", "p", "--how", "never"]);
    let child = command.stdout(Stdio::piped()).stderr(file).spawn().expect("ops starts");
    until("the loop runs", || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("ready")));
    signal("-INT", i32::try_from(child.id()).expect("a process id"));
    let ended = child.wait_with_output().expect("the run ends");
    let stdout = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert_eq!((ended.status.code(), stdout.lines().collect::<Vec<_>>()), (Some(130), lines.to_vec()));
}

#[test]
fn a_port_is_open_only_while_the_closure_runs() {
    let project = project(
        r#"let how = option("how", "well", "How it ends");
        stack("s");
        let group = ec2::ensure_security_group("app");
        let it = attempt(|| open_while(group, tcp(22, "203.0.113.7/32"), || {
            if how == "badly" { throw "an error"; }
            if how == "never" { say("ready"); loop { sleep(1); } }
            "done"
        }));
        print(it.ok);"#,
    );
    let open = || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let target = Target::Local { endpoint: project.endpoint() };
            let clients = Clients::connect(&target, None).await.expect("the clients connect");
            let rules = clients.ec2.describe_security_group_rules().send().await.expect("the rules");
            rules
                .security_group_rules()
                .iter()
                .filter(|rule| rule.cidr_ipv4() == Some("203.0.113.7/32"))
                .count()
        })
    };
    project.run_local("p", &["--yes"]).ended_with(0).says("1 change: 1 created").says("2 effects");
    assert_eq!(open(), 0);
    project.run_local("p", &["--yes", "--how", "badly"]).ended_with(0);
    assert_eq!(open(), 0);
    for (name, code) in [("-INT", Some(130)), ("-KILL", None)] {
        let log = project.path("log");
        let file = std::fs::File::create(&log).expect("a file");
        let mut command = project.command(&["run", "p", "--local", "--yes", "--how", "never"]);
        let child = command.stdout(Stdio::piped()).stderr(file).spawn().expect("ops starts");
        until("the loop runs", || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("ready")));
        assert_eq!(open(), 1);
        signal(name, i32::try_from(child.id()).expect("a process id"));
        let ended = child.wait_with_output().expect("the run ends");
        assert_eq!(ended.status.code(), code);
        assert_eq!(open(), usize::from(name == "-KILL"), "after {name}");
    }
    // The next run of anything in the stack closes what the killed one has left.
    project.write("playbooks/other.rhai", "stack(\"s\");");
    project.run_local("other", &["--yes"]).ended_with(0).says("has left");
    assert_eq!(open(), 0);
}

#[test]
fn another_region_is_another_world() {
    let project = project(
        r#"stack("s");
        let here = ec2::ensure_security_group("app");
        let there = aws::in_region("us-east-2", || {
            ec2::ensure_instance("server");
            [aws::identity().region, ec2::ensure_security_group("app").id]
        });
        print(there[0]); print(here.id == there[1]); print(aws::identity().region);"#,
    );
    let ran = project.run_local("p", &["--yes"]).ended_with(0);
    assert_eq!(ran.stdout.lines().collect::<Vec<_>>(), ["us-east-2", "false", "us-east-1"]);
    project.run_local("p", &["--yes"]).ended_with(0).says("0 changes");
}

#[test]
fn what_has_no_function_is_called_by_its_name() {
    let project = project(
        r#"stack("s");
        let me = aws::request("sts", "GetCallerIdentity", #{});
        print(me.Account == aws::identity().account);
        print(aws::request("ec2", "DescribeVpcs", #{ Filter: [#{ Name: "is-default", Value: ["true"] }] }).vpcSet.len());
        aws::request("sqs", "CreateQueue", #{ QueueName: "own" });
        print(aws::request("sqs", "ListQueues", #{}).QueueUrls.len());
        print(aws::request("iam", "ListRoles", #{}).IsTruncated);
        let it = attempt(|| aws::request("sqs", "GetQueueUrl", #{ QueueName: "other" }));
        print(`${it.error.kind} ${it.error.operation} ${it.error.code}`);
        print(attempt(|| aws::request("s3", "ListBuckets", #{})).error.message);"#,
    );
    let ran = project.run_local("p", &["--yes"]).ended_with(0).says("1 change");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[..5], ["true", "1", "1", "false", "not_found GetQueueUrl QueueDoesNotExist"]);
    assert!(lines[5].contains("`s3` is no service that speaks a JSON or query protocol"), "{}", lines[5]);
    let planned = project.ops(&["plan", "p", "--local"]).ended_with(0);
    assert!(
        planned.stderr.contains("aws CreateQueue") || planned.stderr.contains("sqs CreateQueue"),
        "{}",
        planned.stderr
    );
}
