//! Listeners that a playbook no longer wants, and instances that do not pass their status checks.

use crate::faults::through;
use crate::harness::{Project, Ran};
use crate::interop::Moto;
use crate::proxy::{Fate, Proxy};

fn run(project: &Project, script: &str) -> Ran {
    project.write("playbooks/try.rhai", &format!("//! Tries.\nstack(\"s\");\n{script}\n"));
    project.run_local("try", &["--yes"])
}

#[test]
fn a_listener_is_taken_away_once() {
    let project = Project::empty();
    let listeners = r#"
let nlb = elbv2::ensure_load_balancer("nlb");
fn ports(nlb) {
    let balancers = aws::request("elbv2", "DescribeLoadBalancers", #{ Names: ["s-nlb"] }).LoadBalancers;
    let found = aws::request("elbv2", "DescribeListeners", #{ LoadBalancerArn: balancers[0].LoadBalancerArn }).Listeners ?? [];
    found.map(|it| it.Port)
}
"#;
    let make = format!(
        "{listeners}let group = elbv2::ensure_target_group(\"app\", #{{ port: 8080 }});\n\
         for port in [8080, 8081] {{ nlb.ensure_listener(port, group); }}\nprint(ports(nlb).len());"
    );
    assert_eq!(run(&project, &make).ended_with(0).stdout, "2\n");
    let gone = format!("{listeners}nlb.delete_listener(8081);\nprint(ports(nlb));");
    let ran = run(&project, &gone).ended_with(0).says("- elbv2 nlb  listener 8081");
    assert_eq!(ran.stdout, "[\"8080\"]\n");
    run(&project, &gone).ended_with(0).says("==> 0 changes");
    run(&project, &format!("{listeners}nlb.delete_listener(0);")).ended_with(1).says("0 is no TCP port");
    // The group that it led to is no longer held.
    let rest = format!(
        "{listeners}nlb.delete_listener(8080);\nowned().only([\"elbv2:target_group/app\"]).delete();"
    );
    run(&project, &rest).ended_with(0).says("==> 2 changes");
}

#[test]
fn an_instance_that_does_not_pass_its_checks_is_a_problem_of_the_status() {
    let project = Project::copied();
    run(&project, "print(ec2::list_instance_status());\nfor name in [\"web\", \"other\"] { ec2::ensure_instance(name).wait(); }")
        .ended_with(0);
    let listed = "for it in ec2::list_instance_status() { print([it.name, it.state, it.system_status, it.instance_status]); }";
    let expected = "[\"other\", \"running\", \"ok\", \"ok\"]\n[\"web\", \"running\", \"ok\", \"ok\"]\n";
    assert_eq!(run(&project, listed).ended_with(0).stdout, expected);
    // As long as it was: the answer is changed on its way.
    let proxy = Proxy::start(&project.endpoint(), |call| {
        if call.operation == "DescribeInstanceStatus" {
            Fate::Says(
                "<systemStatus><status>ok</status><details><item><name>reachability</name>",
                "<systemStatus><status>impaired</status><details><item><name>reacha</name>",
            )
        } else {
            Fate::Passes
        }
    });
    let ran = through(&proxy, &project, &["run", "status", "--stack", "s"]).ended_with(0);
    let problem = "problem: EC2 does not reach the machine below web: stop it and start it";
    assert!(ran.stderr.contains(problem) || ran.stdout.contains(problem), "{}\n{}", ran.stdout, ran.stderr);
    assert!(!ran.stderr.contains("the system of web"), "{}", ran.stderr);
}

#[test]
fn an_emulator_of_others_takes_listeners_away_checks_instances_and_delivers_as_asked() {
    let moto = Moto::start();
    let project = Project::empty();
    let proxy = crate::faults::open(&moto);
    let run = |script: &str| {
        project.write("playbooks/try.rhai", &format!("//! Tries.\nstack(\"s\");\n{script}\n"));
        through(&proxy, &project, &["run", "try", "--yes"]).ended_with(0)
    };
    let wanted = r#"
let nlb = elbv2::ensure_load_balancer("nlb");
nlb.ensure_listener(8080, elbv2::ensure_target_group("app", #{ port: 8080 }));
ec2::ensure_instance("web").wait();
for it in ec2::list_instance_status() { print([it.name, it.state, it.system_status, it.instance_status]); }
let log = sqs::ensure_queue("log", #{ subscribe_to: sns::ensure_topic("alerts"), raw_message_delivery: RAW });
sns::ensure_topic("alerts").publish("subject", "plain");
let message = log.receive(#{ wait_s: 2 })[0];
message.hide_for(0);
print([message.is_notification, log.receive(#{ wait_s: 2 }).len()]);
nlb.delete_listener(8080);"#;
    let ran = run(&wanted.replace("RAW", "false")).says("- elbv2 nlb  listener 8080");
    assert_eq!(ran.stdout, "[\"web\", \"running\", \"ok\", \"ok\"]\n[true, 1]\n");
    let ran = run(&wanted.replace("RAW", "true")).says("~ sns alerts  messages without SNS's envelope");
    assert!(ran.stdout.contains("[false, "), "{}", ran.stdout);
}
