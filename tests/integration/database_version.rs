//! The version of a new database: a playbook names a major one, and RDS is asked which minor one that is.

use crate::faults::through;
use crate::harness::{Project, Ran};
use crate::proxy::{Fate, Proxy};

fn run(project: &Project, options: &str) -> Ran {
    let script = format!(
        "//! Tries.\nstack(\"s\");\nlet password = secrets::ensure(\"master\");\n\
         rds::ensure_instance(\"db\", #{{ master_password: password, {options} }});\n"
    );
    project.write("playbooks/try.rhai", &script);
    let proxy = Proxy::start(&project.endpoint(), |_| Fate::Passes);
    let ran = through(&proxy, project, &["run", "try", "--yes"]);
    let created = proxy.calls().into_iter().find(|(call, _)| call.operation == "CreateDBInstance");
    let version = created.and_then(|(call, _)| call.field("EngineVersion"));
    Ran { stdout: version.unwrap_or_default(), ..ran }
}

#[test]
fn a_major_version_is_resolved_and_another_one_is_refused_later() {
    let project = Project::empty();
    project.ops(&["local", "up"]).ended_with(0);
    let offered = project.ops(&["local", "status"]).ended_with(0);
    let refused = |options: &str, expected: &[&str]| {
        let ran = run(&project, options).ended_with(1);
        for text in expected {
            assert!(ran.stderr.contains(text), "{options} does not say {text:?}:\n{}", ran.stderr);
        }
        ran
    };
    let none = refused(
        "engine_version: \"9\"",
        &["RDS offers no version 9 of postgres", "it offers ", "engine_version"],
    );
    let version = none.stderr.split("it offers ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let version =
        version.unwrap_or_else(|| panic!("no version in {}\n{}", none.stderr, offered.stderr)).to_owned();
    let major = version.split('.').next().expect("a major version").to_owned();
    assert_ne!(major, version);
    let no_class = format!("engine_version: \"{major}\", instance_class: \"db.x1e.32xlarge\"");
    refused(&no_class, &["RDS has no db.x1e.32xlarge with postgres", "instance_class"]);
    let asked = format!("engine_version: \"{major}\"");
    assert_eq!(run(&project, &asked).ended_with(0).stdout, version);
    run(&project, &asked).ended_with(0).says("==> 0 changes");
    run(&project, &format!("engine_version: \"{version}\"")).ended_with(0).says("==> 0 changes");
    let said = format!("has engine_version `{version}`, and `99` is asked for");
    refused("engine_version: \"99\"", &[&said, "restore a snapshot into a new instance"]);
}

#[test]
fn deploy_asks_for_the_version_that_it_is_told() {
    let project = Project::new();
    let plan = ["plan", "deploy", "--local", "--skip-schema", "--engine-version", "99"];
    project.ops(&plan).ended_with(1).says("RDS offers no version 99 of postgres");
    assert_eq!(project.changes_on_the_wire(), 0);
}
