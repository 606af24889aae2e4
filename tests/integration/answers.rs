//! What services answer, as a playbook sees it: their codes, what is asked again and what is not, and things that are not as they should be.

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::faults::through;
use crate::harness::{Project, until};
use crate::interop::Moto;
use crate::proxy::{Fate, Proxy};

const PREPARE: &str = r#"
stack("s");
let group = ec2::ensure_security_group("app", #{ ingress: [tcp(80, "10.0.0.0/8")] });
aws::request("sqs", "CreateQueue", #{ QueueName: "own", Attributes: #{ VisibilityTimeout: "30" } });
ec2::ensure_instance("server", #{ security_groups: [group] }).wait();
print(group.id);
"#;

/// Each provokes the error whose code it is called by, and a playbook takes the branch for that.
const CODES: &str = r#"
let group = required("group", "The id of the group");
let code = option("code", "", "Which one");
stack("s");
let rule = |verb, port| aws::request("ec2", verb + "SecurityGroupIngress", #{ GroupId: group, "IpPermissions.1.IpProtocol": "tcp",
    "IpPermissions.1.FromPort": port, "IpPermissions.1.ToPort": port, "IpPermissions.1.IpRanges.1.CidrIp": "10.0.0.0/8" });
let made = |service, operation, parameters| aws::request(service, operation, parameters);
let elb = "elbv2";
let arn = |kind| `arn:aws:elasticloadbalancing:us-east-1:${aws::identity().account}:${kind}/0123456789abcdef`;
let provoke = #{
    "InvalidKeyPair.NotFound": || made.call("ec2", "DescribeKeyPairs", #{ KeyName: ["none"] }),
    "InvalidGroup.Duplicate": || made.call("ec2", "CreateSecurityGroup", #{ GroupName: "s-app", GroupDescription: "again" }),
    "InvalidGroup.NotFound": || made.call("ec2", "DescribeSecurityGroups", #{ GroupId: ["sg-00000000000000000"] }),
    "InvalidPermission.Duplicate": || rule.call("Authorize", 80),
    "InvalidPermission.NotFound": || rule.call("Revoke", 81),
    "DependencyViolation": || made.call("ec2", "DeleteSecurityGroup", #{ GroupId: group }),
    "DBInstanceNotFound": || made.call("rds", "DescribeDBInstances", #{ DBInstanceIdentifier: "none" }),
    "QueueNameExists": || made.call("sqs", "CreateQueue", #{ QueueName: "own", Attributes: #{ VisibilityTimeout: "31" } }),
    "QueueDoesNotExist": || made.call("sqs", "GetQueueUrl", #{ QueueName: "none" }),
    "TargetGroupNotFound": || made.call(elb, "DescribeTargetHealth", #{ TargetGroupArn: arn.call("targetgroup/none") }),
    "LoadBalancerNotFound": || made.call(elb, "DescribeListeners", #{ LoadBalancerArn: arn.call("loadbalancer/net/none") }),
};
if code == "" {
    for code in provoke.keys() { print(code); }
} else {
    try {
        provoke[code].call();
        print(`${code}: nothing was thrown`);
    } catch (e) {
        let branch = switch e.code {
            "InvalidKeyPair.NotFound" | "InvalidGroup.NotFound" | "InvalidPermission.NotFound" | "DBInstanceNotFound" | "QueueDoesNotExist" | "TargetGroupNotFound" | "LoadBalancerNotFound" => "not_found",
            "InvalidGroup.Duplicate" | "InvalidPermission.Duplicate" | "QueueNameExists" => "exists",
            "DependencyViolation" => "conflict",
            _ => "another branch",
        };
        print(`${e.code == code} ${branch == e.kind} ${e.service != "" && e.operation != "" && e.message != "" && e.request_id != ""} ${code} ${e.code} ${e.kind}`);
    }
}
"#;

#[test]
fn a_playbook_takes_the_branch_of_each_code() {
    let project = Project::empty();
    project.write("prepare.rhai", PREPARE);
    project.write("codes.rhai", CODES);
    let group = project.run_local("prepare.rhai", &["--yes"]).ended_with(0).stdout;
    let arguments = ["--yes", "--group", group.trim()];
    let codes = project.run_local("codes.rhai", &arguments).ended_with(0).stdout;
    assert_eq!(codes.lines().count(), 11, "{codes}");
    for code in codes.lines() {
        let ran =
            project.run_local("codes.rhai", &[&arguments[..], &["--code", code]].concat()).ended_with(0);
        assert!(ran.stdout.starts_with("true true true "), "{code}: {}", ran.stdout);
    }
}

#[test]
fn an_answer_of_a_busy_service_is_asked_for_again_and_a_refusal_is_not() {
    let moto = Moto::start();
    let project = Project::empty();
    project.write("topic.rhai", "stack(\"s\");\nsns::ensure_topic(\"alerts\");\n");
    let run = |status: u16, code: &'static str, times: usize| {
        let met = AtomicUsize::new(0);
        let proxy = Proxy::start(&moto.endpoint(), move |call| {
            let fails = call.operation == "CreateTopic" && met.fetch_add(1, Ordering::SeqCst) < times;
            if fails { Fate::Fails(status, code, "for a test") } else { Fate::Passes }
        });
        let ran = through(&proxy, &project, &["run", "topic.rhai", "--yes"]);
        let asked = proxy.calls().iter().filter(|(call, _)| call.operation == "CreateTopic").count();
        (ran, asked)
    };
    let (ran, asked) = run(400, "InvalidParameter", 1);
    assert_eq!(asked, 1, "a plain 4xx is final");
    ran.ended_with(1).says("InvalidParameter").says("for a test");
    let (ran, asked) = run(503, "ServiceUnavailable", 2);
    ran.ended_with(0).says("+ sns alerts");
    assert_eq!(asked, 3);
}

#[test]
fn a_queue_whose_name_is_blocked_is_waited_for() {
    let project = Project::empty();
    project.write("queue.rhai", "stack(\"s\");\nsqs::ensure_queue(\"log\");\n");
    project.ops(&["local", "up"]).ended_with(0);
    for _ in 0..2 {
        project.fault("sqs", "CreateQueue", "AWS.SimpleQueueService.QueueDeletedRecently");
    }
    let ran = project
        .run_local("queue.rhai", &["--yes"])
        .ended_with(0)
        .says("its name is blocked after a deletion");
    assert!(ran.stderr.contains("1 change: 1 created"), "{}", ran.stderr);
    project.run_local("queue.rhai", &["--yes"]).ended_with(0).says("==> 0 changes");
}

#[test]
fn a_key_pair_whose_private_key_is_elsewhere_is_an_error_with_two_ways_out() {
    let project = Project::empty();
    project.write("key.rhai", "stack(\"s\");\nprint(ec2::ensure_key_pair(\"key\").path);\n");
    let ran = project.run_local("key.rhai", &["--yes"]).ended_with(0);
    let file = project.path(ran.stdout.trim());
    let moved = project.path("elsewhere");
    std::fs::rename(&file, &moved).expect("the key is moved");
    let ran =
        project.run_local("key.rhai", &["--yes"]).ended_with(1).says("EC2 has the key pair s-key, but ");
    ran.says("is not on this machine").says("copy the file").says("aws ec2 delete-key-pair --key-name s-key");
    std::fs::rename(&moved, &file).expect("the key is back");
    project.run_local("key.rhai", &["--yes"]).ended_with(0).says("==> 0 changes");
}

#[test]
fn a_closure_acts_as_a_role_and_what_follows_does_not() {
    let project = Project::empty();
    project.write(
        "role.rhai",
        r#"stack("s");
let before = aws::identity();
let trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"AWS":"arn:aws:iam::${before.account}:root"}}]}`;
aws::request("iam", "CreateRole", #{ RoleName: "auditor", AssumeRolePolicyDocument: trust });
let made = aws::as_role(`arn:aws:iam::${before.account}:role/auditor`, || {
    print(aws::identity().caller);
    sns::ensure_topic("alerts").arn
});
print(aws::identity() == before);
print(sns::find_topic("alerts").arn == made);
let refused = attempt(|| aws::as_role(`arn:aws:iam::${before.account}:role/nobody`, || 1));
print(`${refused.error.kind} ${refused.error.code}`);
"#,
    );
    let ran = project.run_local("role.rhai", &["--yes"]).ended_with(0);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(lines[0].contains("assumed-role/auditor/"), "{lines:?}");
    assert_eq!(lines[1..], ["true", "true", "denied AccessDenied"]);
}

#[test]
fn the_status_shows_each_target_as_it_is() {
    let project = Project::new();
    project.write(
        "three.rhai",
        r#"stack("music-app");
let servers = ["server", "server-2", "server-3"].map(|name| ec2::ensure_instance(name));
elbv2::ensure_load_balancer("nlb").ensure_listener(8080, elbv2::ensure_target_group("app", #{ port: 8080, health_interval_s: 5, healthy_threshold: 2, unhealthy_threshold: 2, targets: servers }));
for server in servers { print(`${server.id} ${server.private_ip}`); }
"#,
    );
    let ran = project.run_local("three.rhai", &["--yes"]).ended_with(0);
    let servers: Vec<(&str, &str)> = ran.stdout.lines().filter_map(|line| line.split_once(' ')).collect();
    // What answers on the first is this; on the second nobody does; the third is stopped.
    let _service = TcpListener::bind((servers[0].1, 8080)).expect("the address of the instance");
    project.write(
        "stop.rhai",
        &format!(
            "stack(\"music-app\");\naws::request(\"ec2\", \"StopInstances\", #{{ InstanceId: [\"{}\"] }});\n",
            servers[2].0
        ),
    );
    project.run_local("stop.rhai", &["--yes"]).ended_with(0);
    let mut shown = String::new();
    until("each target is as it is", || {
        shown = project.run_local("status", &[]).ended_with(0).stderr;
        [(0, "healthy"), (1, "unhealthy"), (2, "unused")]
            .iter()
            .all(|(server, state)| shown.contains(&format!("  target {}  {state} ", servers[*server].0)))
    });
    for (server, state) in [(1, "unhealthy"), (2, "unused")] {
        assert!(shown.contains(&format!("problem: target {} is {state} ", servers[server].0)), "{shown}");
    }
    assert!(!shown.contains(&format!("problem: target {}", servers[0].0)), "{shown}");
    assert!(shown.contains("problem: instance music-app-server-3"), "{shown}");
}
