//! An Elastic IP through its life: allocated once however often a run is killed, moved, shown, and released.

use std::process::{Command, Stdio};

use crate::faults::{open, through};
use crate::harness::{Project, wait};
use crate::interop::Moto;
use crate::proxy::{Fate, Proxy};

const PLAYBOOK: &str = r#"//! A server with an address that stays.
let name = option("stack", "s", "Name");
let server = option("server", "one", "Where the address leads");
stack(name);
let servers = #{ one: ec2::ensure_instance("one"), two: ec2::ensure_instance("two") };
let address = ec2::ensure_address("www", #{ instance: servers[server] });
output(#{ address: address.public_ip, id: address.id, server: servers[server].public_ip });
"#;

const CLEANUP: &str = r#"//! Deletes it all.
let name = option("stack", "s", "Name");
stack(name);
owned().delete();
print(owned().keys);
"#;

const WHOLE: &str = r#"["ec2:one", "ec2:two", "ec2:address/www"]"#;

fn project() -> Project {
    let project = Project::empty();
    project.write("playbooks/address.rhai", PLAYBOOK);
    project.write("playbooks/undo.rhai", CLEANUP);
    project.write(
        "playbooks/keys.rhai",
        "//! What there is.\nlet name = option(\"stack\", \"s\", \"Name\");\nstack(name);\nprint(owned().keys);\n",
    );
    project
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Runs a playbook of the project against its local cloud through a proxy that meets the changing call of that number so. Says whether
/// the playbook came so far.
fn met(project: &Project, arguments: &[&str], at: usize, fate: Fate) -> bool {
    let proxy = Proxy::start(&project.endpoint(), move |call| {
        if call.changes && call.change == at { fate } else { Fate::Passes }
    });
    let mut command: Command = project.command(&[&["run"], arguments, &["--region", "us-east-1"]].concat());
    command.env("AWS_ENDPOINT_URL", &proxy.endpoint);
    command.env("AWS_ACCESS_KEY_ID", "local").env("AWS_SECRET_ACCESS_KEY", "local");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ops starts");
    proxy.of(&child);
    let ran = wait(child);
    let came = proxy.changes() > at;
    let killed = came && fate != Fate::AnswerLost;
    assert_eq!(ran.code, if killed { -1 } else { 0 }, "call {at}, {fate:?}: {}", ran.stderr);
    came
}

#[test]
fn an_address_stays_moves_is_shown_and_is_released() {
    let project = project();
    project.ops(&["local", "up"]).ended_with(0);
    let plan = project.ops(&["plan", "address", "--local"]).ended_with(0).says("+ ec2 www  Elastic IP");
    assert!(plan.stderr.contains("~ ec2 www  leads to one"), "{}", plan.stderr);
    assert_eq!(project.changes_on_the_wire(), 0);

    let first = json(&project.run_local("address", &["--yes", "--json"]).ended_with(0).stdout);
    assert_eq!(first["address"], first["server"]);
    let again = project.run_local("address", &["--yes", "--json"]).ended_with(0).says("0 changes");
    assert_eq!(json(&again.stdout), first);

    let before = project.changes_on_the_wire();
    let moves = ["--server", "two"];
    project.ops(&[&["plan", "address", "--local"], &moves[..]].concat()).says("~ ec2 www  leads to two");
    assert_eq!(project.changes_on_the_wire(), before);
    let moved = project.run_local("address", &[&["--yes", "--json"], &moves[..]].concat()).ended_with(0);
    assert!(moved.stderr.contains(" 1 change: "), "{}", moved.stderr);
    assert_eq!(json(&moved.stdout), first);

    project.write("playbooks/graph.rhai", "//! A picture.\nstack(\"s\");\nowned().draw(\"it.mmd\");\nfor thing in owned().things { print(`${thing.key} ${thing.status}`); }\n");
    let shown = project.run_local("graph", &[]).ended_with(0).stdout;
    assert!(shown.contains("ec2:address/www associated\n"), "{shown}");
    let address = first["address"].as_str().expect("a text");
    assert!(project.read("it.mmd").contains(&format!("Elastic IP {address}")), "{}", project.read("it.mmd"));

    // Its instance goes first: the address stays, leads nowhere, and is still the stack's.
    project
        .write("playbooks/part.rhai", "//! A part.\nstack(\"s\");\nowned().only([\"ec2:two\"]).delete();\n");
    project.run_local("part", &["--yes"]).ended_with(0);
    let shown = project.run_local("graph", &[]).ended_with(0).stdout;
    assert!(shown.contains("ec2:address/www not associated\n"), "{shown}");
    let cleaned = project.run_local("undo", &["--yes"]).ended_with(0).says("- ec2 www  Elastic IP");
    assert_eq!(cleaned.stdout, "[]\n");
    project.run_local("undo", &["--yes"]).ended_with(0).says("0 changes");
}

#[test]
fn an_address_is_released_while_its_instance_stays() {
    let project = project();
    project.run_local("address", &["--yes"]).ended_with(0);
    project.write(
        "playbooks/part.rhai",
        "//! A part.\nstack(\"s\");\nowned().only([\"ec2:address/\"]).delete();\nprint(owned().keys);\n",
    );
    let part = project.run_local("part", &["--yes"]).ended_with(0).says("- ec2 www  from its instance");
    assert_eq!(part.stdout, "[\"ec2:one\", \"ec2:two\"]\n");
}

#[test]
fn a_run_killed_at_any_changing_call_allocates_one_address() {
    let project = project();
    project.ops(&["local", "up"]).ended_with(0);
    for fate in [Fate::KilledBefore, Fate::KilledAfter, Fate::AnswerLost] {
        let mut calls = 0;
        loop {
            let stack = format!(
                "{}-{calls}",
                if fate == Fate::KilledBefore {
                    "b"
                } else if fate == Fate::KilledAfter {
                    "a"
                } else {
                    "l"
                }
            );
            let stack = ["--yes", "--stack", &stack];
            let came = met(&project, &[&["address"], &stack[..]].concat(), calls, fate);
            project.run_local("address", &stack).ended_with(0);
            let keys = project.run_local("keys", &stack[1..]).ended_with(0).stdout;
            assert_eq!(keys.trim(), WHOLE, "{fate:?} call {calls}");
            project.run_local("address", &stack).ended_with(0).says("0 changes");
            let cleaned = project.run_local("undo", &stack).ended_with(0);
            assert_eq!(cleaned.stdout, "[]\n", "{fate:?} call {calls}");
            if !came {
                break;
            }
            calls += 1;
        }
        // Two launches, an allocation, an association, and the lease of the lock.
        assert!(calls >= 4, "only {calls} changing calls were met");
    }
}

#[test]
fn a_clean_up_killed_at_any_changing_call_releases_the_address() {
    let project = project();
    project.ops(&["local", "up"]).ended_with(0);
    for fate in [Fate::KilledBefore, Fate::KilledAfter] {
        let mut calls = 0;
        loop {
            project.run_local("address", &["--yes"]).ended_with(0);
            let came = met(&project, &["undo", "--yes"], calls, fate);
            let cleaned = project.run_local("undo", &["--yes"]).ended_with(0);
            assert_eq!(cleaned.stdout, "[]\n", "{fate:?} call {calls}");
            if !came {
                break;
            }
            calls += 1;
        }
        assert!(calls >= 3, "only {calls} changing calls were met");
    }
}

#[test]
fn an_emulator_of_others_keeps_one_address_and_has_none_in_the_end() {
    let moto = Moto::start();
    let project = project();
    let proxy = open(&moto);
    let first = json(&through(&proxy, &project, &["run", "address", "--yes", "--json"]).ended_with(0).stdout);
    assert_eq!(first["address"], first["server"]);
    let again =
        through(&proxy, &project, &["run", "address", "--yes", "--json"]).ended_with(0).says("0 changes");
    assert_eq!(json(&again.stdout), first);
    through(&proxy, &project, &["run", "address", "--yes", "--server", "two"])
        .ended_with(0)
        .says(" 1 change: ");
    let calls = proxy.calls();
    let allocation =
        calls.iter().find(|(call, _)| call.operation == "AllocateAddress").expect("an allocation");
    assert_eq!(allocation.0.field("TagSpecification.1.ResourceType").as_deref(), Some("elastic-ip"));
    let seen = moto.boto3(
        r#"
for address in ec2.describe_addresses()["Addresses"]:
    tags = {tag["Key"]: tag["Value"] for tag in address["Tags"]}
    server = ec2.describe_instances(InstanceIds=[address["InstanceId"]])["Reservations"][0]["Instances"][0]
    print(address["PublicIp"], tags["ops:stack"], tags["ops:name"], tags["Name"], [t["Value"] for t in server["Tags"] if t["Key"] == "ops:name"][0])
"#,
    );
    assert_eq!(seen, format!("{} s www s-www two\n", first["address"].as_str().expect("a text")));
    through(&proxy, &project, &["run", "undo", "--yes"]).ended_with(0);
    assert_eq!(moto.left(), "");
}
