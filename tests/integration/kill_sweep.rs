//! A run that is killed at any changing call, before the service has it or after, is finished by running it again: nothing is missing
//! and nothing is there twice. Every call of the playbook is swept, through a proxy that kills the program.

use crate::harness::{Project, Ran};
use crate::proxy::{Fate, Proxy};

/// A bit of everything, but a database: each stack of the sweep would start one.
const PLAYBOOK: &str = r#"//! Makes one of each.
let name = required("stack", "Name");
stack(name);
let key = ec2::ensure_key_pair("key");
let app = ec2::ensure_security_group("app", #{ ingress: [tcp(8080, "10.0.0.0/8"), tcp(8081, "10.0.0.0/8")] });
let db = ec2::ensure_security_group("db", #{ ingress: [tcp(5432, app)] });
let topic = sns::ensure_topic("alerts");
sqs::ensure_queue("log", #{ retention_s: 3600, subscribe_to: topic });
secrets::ensure("password");
secrets::ensure_certificate("server", #{ hostname: "a.example.com" });
let server = ec2::ensure_instance("server", #{ key_pair: key, security_groups: [app] });
server.wait();
server.ensure_image("golden");
print(owned().keys);
"#;

const WHOLE: &str = r#"["ec2:image/golden", "ec2:server", "sns:alerts", "sqs:log", "ec2:security_group/app", "ec2:security_group/db", "ec2:key_pair/key", "secrets:all"]"#;

#[test]
fn a_run_killed_at_any_changing_call_is_finished_by_the_next() {
    let project = Project::empty();
    project.write("playbooks/each.rhai", PLAYBOOK);
    project.ops(&["local", "up"]).ended_with(0);
    for moment in [Fate::KilledBefore, Fate::KilledAfter] {
        let mut calls = 0;
        // Until a run ends by itself: then every call has been met.
        loop {
            let stack = format!("s{}-{calls}", if moment == Fate::KilledBefore { 'b' } else { 'a' });
            let killed = run_and_kill(&project, &stack, calls, moment);
            let ran = project.run_local("each", &["--yes", "--stack", &stack]).ended_with(0);
            assert_eq!(ran.stdout.trim(), WHOLE, "killed {moment:?} call {calls}");
            let before = project.changes_on_the_wire();
            project.run_local("each", &["--yes", "--stack", &stack]).ended_with(0).says("0 changes");
            assert_eq!(project.changes_on_the_wire(), before, "killed {moment:?} call {calls}");
            if !killed {
                break;
            }
            calls += 1;
        }
        assert!(calls >= 14, "only {calls} changing calls were met: does the proxy still know them?");
    }
}

/// Runs the playbook through a proxy, and kills it at the changing call of that number. Says whether it came so far.
fn run_and_kill(project: &Project, stack: &str, at: usize, moment: Fate) -> bool {
    let proxy = Proxy::start(&project.endpoint(), move |call| {
        if call.changes && call.change == at { moment } else { Fate::Passes }
    });
    let command = project.command(&["run", "each", "--yes", "--region", "us-east-1", "--stack", stack]);
    let Ran { code, stderr, .. } = project.through(&proxy, command);
    let killed = proxy.changes() > at;
    assert_eq!(code, if killed { -1 } else { 0 }, "call {at}, {moment:?}: {stderr}");
    killed
}
