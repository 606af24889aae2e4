//! `ops plan`: every change is listed, none is made, and a script that decides on what is not known yet ends the plan.

use crate::harness::Project;

#[test]
fn a_plan_of_everything_lists_what_the_run_then_does_and_sends_nothing() {
    let project = Project::new();
    project.ops(&["local", "up"]).ended_with(0);
    let arguments = ["deploy", "--local", "--nlb", "--servers", "2"];
    let planned = project.ops(&[&["plan"], &arguments[..], &["--exit-code"]].concat()).ended_with(3);
    assert_eq!(project.changes_on_the_wire(), 0, "{}", planned.stderr);
    let signs = |text: &str| {
        let mut lines: Vec<String> = text
            .lines()
            .filter(|line| line.starts_with("  + ") || line.starts_with("  ~ ") || line.starts_with("  - "))
            // What SQL did is no change.
            .filter(|line| !line.contains("migrations applied"))
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines
    };
    let ran = project.ops(&[&["run"], &arguments[..], &["--yes"]].concat()).ended_with(0);
    assert_eq!(signs(&planned.stderr), signs(&ran.stderr));
    assert!(!planned.stderr.contains("the plan ends"), "{}", planned.stderr);
    assert!(planned.stdout.contains("(known after deploy: "), "{}", planned.stdout);

    let before = project.changes_on_the_wire();
    project
        .ops(&[&["plan"], &arguments[..], &["--exit-code"]].concat())
        .ended_with(0)
        .says("0 changes to make");
    let cleanup = ["plan", "cleanup", "--local", "--delete-protected", "music-app", "--exit-code"];
    project.ops(&cleanup).ended_with(3).says("- rds db  database; its data stays in the snapshot");
    project.ops(&["plan", "setup_nlb", "--local", "--clean"]).ended_with(0).says("- elbv2 nlb");
    assert_eq!(project.changes_on_the_wire(), before);
}

#[test]
fn a_decision_on_what_is_not_known_yet_ends_the_plan_and_says_where() {
    let project = Project::empty();
    for decision in [
        "if server.public_ip == \"\" { }",
        "if [server.public_ip] == [1] { }",
        "if server.public_ip in [\"a\"] { }",
        "if server.public_ip { say(\"yes\"); }",
        "while server.public_ip != () { sleep(0); }",
        "let n = server.port + 1;",
        "let n = -server.port;",
        "for part in server.public_ip { say(part); }",
        "for n in 0..server.port { sleep(0); }",
        "let parts = server.address.split(\":\");",
        "let n = parse_int(server.address);",
        "let text = \"a\"; text += server.address;",
        "let it = [1, 2][server.port];",
        "try { server.address.len() } catch { say(\"caught\"); }",
        "let rule = tcp(8080, server.public_ip); let n = aws::in_region(server.id, || 1);",
        "parallel([1], |n| server.port > n);",
        "attempt(|| aws::in_region(server.id, || 1)); say(\"caught\");",
        "retry(#{ times: 1000 }, || aws::in_region(server.id, || 1));",
    ] {
        project.write(
            "playbooks/p.rhai",
            &format!(
                "stack(\"s\");\nlet server = ec2::ensure_instance(\"server\");\nstep(\"One\", || {{\n    {decision}\n}});\nstep(\"Two\", || sns::ensure_topic(\"never\"));\n"
            ),
        );
        let ran = project.ops(&["plan", "p", "--local", "--exit-code"]).ended_with(3);
        assert!(ran.stderr.contains("the plan ends at p.rhai"), "{decision}: {}", ran.stderr);
        assert!(
            ran.stderr.contains("1 of 2 steps were planned, 1 was not reached"),
            "{decision}: {}",
            ran.stderr
        );
        assert!(
            !ran.stderr.contains("never") && !ran.stderr.contains("caught"),
            "{decision}: {}",
            ran.stderr
        );
    }
    assert_eq!(project.changes_on_the_wire(), 0);
}

#[test]
fn what_is_not_known_yet_may_be_kept_passed_on_and_printed() {
    let project = Project::empty();
    project.write(
        "playbooks/p.rhai",
        r#"stack("s");
        let server = ec2::ensure_instance("server");
        let kept = [server.address, #{ ip: server.public_ip }];
        print(`at ${server.address}`);
        print("at " + server.address);
        print(type_of(kept));
        state::set(#{ address: server.address });
        secrets::set("url", `http://${server.address}/`);
        sns::ensure_topic("last");
        output(#{ address: server.address });"#,
    );
    let ran = project.ops(&["plan", "p", "--local"]).ended_with(0);
    assert!(!ran.stderr.contains("the plan ends"), "{}", ran.stderr);
    assert!(ran.stderr.contains("+ sns last"), "{}", ran.stderr);
    let text = "(known after deploy: the id and addresses of instance s-server)";
    assert_eq!(ran.stdout.matches(text).count(), 2, "{}", ran.stdout);
    let joined = "(known after deploy: at <the id and addresses of instance s-server>)";
    assert!(ran.stdout.contains(joined), "{}", ran.stdout);
    assert!(!ran.stdout.contains('\u{f0f0}') && !project.path("deploy_config.local.json").exists());
    assert_eq!(project.changes_on_the_wire(), 0);
}
