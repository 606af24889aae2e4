//! The policy that `ops doc --permissions` prints for a playbook is enough for it: each operation that a run of it asks the local
//! cloud for is allowed.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::Project;

/// What an operation needs beside the action of its own name, where things are tagged in the call that makes them, a role is handed on, or
/// a service makes its own role with the account's first thing (Service Authorization Reference, "Dependent actions").
const NEEDS_TOO: &[(&str, &str)] = &[
    ("ec2:CreateSecurityGroup", "ec2:CreateTags"),
    ("ec2:ImportKeyPair", "ec2:CreateTags"),
    ("ec2:RunInstances", "ec2:CreateTags"),
    ("ec2:RunInstances", "iam:PassRole"),
    ("ec2:AssociateIamInstanceProfile", "iam:PassRole"),
    ("elasticloadbalancing:CreateListener", "elasticloadbalancing:AddTags"),
    ("elasticloadbalancing:CreateLoadBalancer", "elasticloadbalancing:AddTags"),
    ("elasticloadbalancing:CreateLoadBalancer", "iam:CreateServiceLinkedRole"),
    ("elasticloadbalancing:CreateTargetGroup", "elasticloadbalancing:AddTags"),
    ("iam:AddRoleToInstanceProfile", "iam:PassRole"),
    ("iam:CreateInstanceProfile", "iam:TagInstanceProfile"),
    ("iam:CreateRole", "iam:TagRole"),
    ("rds:CreateDBInstance", "iam:CreateServiceLinkedRole"),
    ("rds:CreateDBInstance", "rds:AddTagsToResource"),
    ("rds:CreateDBSubnetGroup", "rds:AddTagsToResource"),
    ("sns:CreateTopic", "sns:TagResource"),
    ("sqs:CreateQueue", "sqs:TagQueue"),
    ("ssm:PutParameter", "ssm:AddTagsToResource"),
];

#[test]
fn a_policy_allows_what_its_playbook_asks_for() {
    let project = Project::new();
    let mut missing = BTreeSet::new();
    for (playbook, arguments) in [
        ("deploy", &["--email", "you@example.com"][..]),
        ("deploy", &["--nlb", "--servers", "2"]),
        // Somebody else has changed things meanwhile.
        ("deploy", &["--managed-password", "--client-cidr", "192.0.2.0/24"]),
        ("status", &[]),
        ("setup_nlb", &["--clean"]),
        ("setup_nlb", &[]),
        ("update_config", &[]),
        ("notify", &["--message", "hello"]),
        ("monitor", &["--drain"]),
        ("cleanup", &["--keep-db"]),
        ("cleanup", &["--delete-protected", "music-app"]),
    ] {
        let allowed = allowed(&project, playbook);
        let before = asked(&project).len();
        project.run_local(playbook, &[&["--yes"], arguments].concat()).ended_with(0);
        for action in &asked(&project)[before..] {
            let too = NEEDS_TOO.iter().filter(|(cause, _)| cause == action).map(|(_, needed)| *needed);
            for needed in too.chain([action.as_str()]).filter(|needed| !allowed.contains(*needed)) {
                missing.insert(format!("{playbook}: {needed}"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", Vec::from_iter(missing).join("\n"));
}

fn allowed(project: &Project, playbook: &str) -> BTreeSet<String> {
    let printed = project.ops(&["doc", "--permissions", playbook]).ended_with(0).stdout;
    let policy: Value = serde_json::from_str(&printed).expect("a policy");
    let actions = policy["Statement"][0]["Action"].as_array().expect("a list");
    actions.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The actions that all calls so far have needed (Service Authorization Reference): but for the caller's identity, an operation is an
/// action of its service.
fn asked(project: &Project) -> Vec<String> {
    if !project.path(".ops/local").exists() {
        return Vec::new();
    }
    let report = project.local("/_local/calls");
    let calls = report["calls"].as_array().expect("a list");
    let total: u64 = ["mutating", "effects", "reads"].iter().filter_map(|key| report[key].as_u64()).sum();
    assert_eq!(calls.len() as u64, total, "the list has all calls");
    calls
        .iter()
        .map(|call| {
            (call["service"].as_str().unwrap_or_default(), call["operation"].as_str().unwrap_or_default())
        })
        .filter(|(service, _)| *service != "sts")
        .map(|(service, operation)| {
            match service {
                "elbv2" => format!("elasticloadbalancing:{operation}"),
                // A batch needs the action of one.
                "sqs" => format!("sqs:{}", operation.trim_end_matches("Batch")),
                _ => format!("{service}:{operation}"),
            }
        })
        .collect()
}
