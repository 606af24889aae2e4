//! `ops doc`, `ops list`, `ops new`: the pages are those that the code writes, every example runs, a new playbook works.

use std::os::unix::fs::symlink;

use ops::reference::{Reference, pages};

use crate::harness::Project;
use crate::tree::root;

#[test]
fn the_reference_pages_and_the_definitions_are_not_stale() {
    let reference = Reference::gather().expect("a reference");
    let mut stale = Vec::new();
    for namespace in &reference.namespaces {
        let name = pages::file_name(namespace);
        let written = [
            (format!("docs/reference/{name}.md"), pages::page(namespace)),
            (format!("playbooks/.rhai/{name}.d.rhai"), pages::definition(namespace)),
        ];
        for (path, text) in written {
            if std::fs::read_to_string(root().join(&path)).unwrap_or_default() != text {
                stale.push(path);
            }
        }
    }
    assert!(
        stale.is_empty(),
        "stale: {}\nrefresh them by: cargo run -- doc --write docs/reference --definitions playbooks/.rhai",
        stale.join(", ")
    );
}

#[test]
fn every_function_has_an_example_and_every_example_runs() {
    let reference = Reference::gather().expect("a reference");
    let project = Project::new();
    // What an example imports lies below its own folder.
    symlink(root().join("playbooks/lib"), project.path("lib")).expect("a link");
    let mut wrong = Vec::new();
    let mut count = 0;
    for namespace in &reference.namespaces {
        let methods = namespace.handles.iter().flat_map(|handle| &handle.methods);
        for function in namespace.functions.iter().chain(methods) {
            let name = format!("{}::{}", namespace.name, function.name);
            let example = pages::dedented(function.example);
            if example.is_empty() {
                wrong.push(format!("{name} has no example"));
            }
            if example.is_empty() || NEEDS_A_SERVER.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            count += 1;
            let stack = if example.contains("stack(\"") {
                String::new()
            } else {
                format!("stack(\"example-{count}\");\n")
            };
            project.write("example.rhai", &format!("//! An example.\n{stack}{example}\n"));
            let arguments = if function.name == "required" { &["--team", "red"][..] } else { &[] };
            let under_test = if namespace.name == "cloud" { &["--under-test"][..] } else { &[] };
            let ran =
                project.ops(&[&["run", "example.rhai", "--local", "--yes"], under_test, arguments].concat());
            if ran.code != 0 {
                wrong.push(format!("{name}:\n{example}\n{}", ran.stderr));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Their examples speak to a server that the local cloud does not have; what they do is tested in `deploy` and `ssh`.
const NEEDS_A_SERVER: [&str; 2] = ["ec2::wait_ready", "ssh::"];

#[test]
fn the_policy_of_a_playbook_names_what_its_functions_ask_for() {
    let ran = Project::new().ops(&["doc", "--permissions", "deploy"]).ended_with(0);
    let policy: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let actions: Vec<&str> = policy["Statement"][0]["Action"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|it| it.as_str())
        .collect();
    for action in ["ec2:RunInstances", "rds:CreateDBInstance", "sns:CreateTopic", "ssm:PutParameter"] {
        assert!(actions.contains(&action), "{action} is not in {actions:?}");
    }
    assert!(!actions.contains(&"rds:DeleteDBInstance"), "{actions:?}");
}

#[test]
fn a_new_project_has_a_playbook_that_checks_runs_and_changes_nothing_twice() {
    let project = Project::empty();
    project.ops(&["new", "--project", "."]).ended_with(0);
    project.ops(&["new", "hello"]).ended_with(4).says("is there already");
    project.ops(&["check"]).ended_with(0);
    project.run_local("hello", &["--yes"]).ended_with(0);
    project.run_local("hello", &["--yes"]).ended_with(0).says("0 changes");
    project.ops(&["test"]).ended_with(0).says("1 passed, 0 failed");
    let ran = project.ops(&["list", "--json"]).ended_with(0);
    let line: serde_json::Value = serde_json::from_str(ran.stdout.trim()).expect("one line of JSON");
    assert_eq!(
        (line["name"].as_str(), line["parameters"][0]["name"].as_str()),
        (Some("hello"), Some("stack"))
    );
}

#[test]
fn a_function_is_found_by_its_name_and_by_what_it_is_about() {
    let project = Project::empty();
    let ran = project.ops(&["doc", "sqs::ensure_queue"]).ended_with(0);
    assert!(ran.stdout.contains("retention_s") && ran.stdout.contains("sqs:CreateQueue"), "{}", ran.stdout);
    assert!(project.ops(&["doc", "subscribes"]).ended_with(0).stdout.contains(".ensure_subscription("));
    project.ops(&["doc", "ensure_queeu"]).ended_with(2).says("did you mean `ensure_queue`?");
}
