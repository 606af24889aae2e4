//! What services and networks do to calls: throttling, answers that are lost, things that are not visible yet, credentials that end.
//! A deployment comes through, or stops where it can be taken up again.

use std::process::Stdio;

use crate::harness::{Project, Ran, wait};
use crate::interop::Moto;
use crate::proxy::{Call, Fate, Proxy};

/// An image that nothing of these tests starts.
const IMAGE: &str =
    "registry.example.com/app-server@sha256:0000000000000000000000000000000000000000000000000000000000000000";

const DEPLOY: [&str; 9] =
    ["run", "deploy", "--yes", "--skip-schema", "--nlb", "--client-cidr", "10.0.0.0/8", "--image", IMAGE];

/// Runs `ops` with a proxy for an account.
fn through(proxy: &Proxy, project: &Project, arguments: &[&str]) -> Ran {
    let mut command = project.command(arguments);
    command.env("AWS_ENDPOINT_URL", &proxy.endpoint).env("AWS_REGION", "us-east-1");
    command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ops starts");
    proxy.of(&child);
    wait(child)
}

fn open(moto: &Moto) -> Proxy {
    Proxy::start(&moto.endpoint(), |_| Fate::Passes)
}

/// What the stack has, as the clean-up sees it, and everything of each kind once.
fn assert_whole(proxy: &Proxy, project: &Project, what: &str) {
    project.write("left.rhai", "stack(\"music-app\");\nprint(owned().keys);\n");
    let keys = through(proxy, project, &["run", "left.rhai"]).ended_with(0).stdout;
    assert_eq!(
        keys.trim(),
        r#"["elbv2:nlb", "elbv2:target_group/app", "ec2:server", "rds:db", "rds:subnet_group/db", "sns:alerts", "sqs:log", "sqs:log-dead", "ec2:security_group/app", "ec2:security_group/db", "ec2:security_group/nlb", "iam:server", "ec2:key_pair/key", "secrets:all"]"#,
        "{what}"
    );
}

/// Deploys twice, the first time with whatever the proxy does: the first has to succeed, the second finds nothing to do.
fn deploys(moto: &Moto, decide: impl Fn(&Call) -> Fate + Send + Sync + 'static, what: &str) -> Proxy {
    let project = Project::new();
    let proxy = Proxy::start(&moto.endpoint(), decide);
    let ran = through(&proxy, &project, &DEPLOY);
    assert_eq!(ran.code, 0, "{what}: {}", ran.stderr);
    let open = open(moto);
    through(&open, &project, &DEPLOY).ended_with(0).says("==> 0 changes");
    assert_whole(&open, &project, what);
    proxy
}

#[test]
fn a_third_of_all_calls_throttled_ten_seeds_all_complete() {
    let runs = (0..10_u64).map(|seed| {
        std::thread::spawn(move || {
            let moto = Moto::start();
            let decide = move |call: &Call| {
                // A cheap hash of seed and number: the same calls fail when the test is run again.
                let mut mixed = (seed << 32 | call.number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                mixed ^= mixed >> 29;
                let throttled = mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40;
                if throttled % 100 < 35 {
                    Fate::Fails(400, "ThrottlingException", "Rate exceeded")
                } else {
                    Fate::Passes
                }
            };
            let proxy = deploys(&moto, decide, &format!("seed {seed}"));
            let calls = proxy.calls();
            let failed = calls.iter().filter(|(_, fate)| *fate != Fate::Passes).count();
            assert!(failed * 4 > calls.len(), "seed {seed}: only {failed} of {} were throttled", calls.len());
        })
    });
    for run in runs.collect::<Vec<_>>() {
        run.join().expect("every seed completes");
    }
}

#[test]
fn what_was_just_made_may_be_unknown_to_the_next_four_calls() {
    // The first call that names the new thing, and what its service says while it does not know it.
    let unknown = [
        ("AuthorizeSecurityGroupIngress", "InvalidGroup.NotFound"),
        ("ListSubscriptionsByTopic", "NotFound"),
        ("Subscribe", "NotFound"),
        ("CreateDBInstance", "DBSubnetGroupNotFoundFault"),
        ("PutRolePolicy", "NoSuchEntity"),
        ("AddRoleToInstanceProfile", "NoSuchEntity"),
        ("RunInstances", "InvalidGroup.NotFound"),
        ("RunInstances", "InvalidKeyPair.NotFound"),
        ("RunInstances", "InvalidParameterValue"),
        ("ModifyTargetGroupAttributes", "TargetGroupNotFound"),
        ("RegisterTargets", "TargetGroupNotFound"),
        ("CreateListener", "LoadBalancerNotFound"),
        ("CreateListener", "TargetGroupNotFound"),
        ("DescribeLoadBalancers", "LoadBalancerNotFound"),
    ];
    let moto = Moto::start();
    for (operation, code) in unknown {
        let decide = move |call: &Call| {
            // A balancer is looked for by its name first, and only then by what the service called it.
            let meant = call.operation == operation
                && (operation != "DescribeLoadBalancers" || call.body.contains("LoadBalancerArns"));
            if meant && call.same < 5 {
                Fate::Fails(
                    400,
                    code,
                    "Value (server) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name",
                )
            } else {
                Fate::Passes
            }
        };
        let proxy = deploys(&moto, decide, &format!("{operation} {code}"));
        let failed = proxy.calls().iter().filter(|(_, fate)| *fate != Fate::Passes).count();
        // A topic that is not visible yet has no subscriptions: that is asked for once.
        let expected = if operation == "ListSubscriptionsByTopic" { 1 } else { 5 };
        assert_eq!(failed, expected, "{operation} {code}");
        moto.reset();
    }
}

#[test]
fn credentials_that_end_stop_the_run_at_once_and_the_next_goes_on() {
    let moto = Moto::start();
    let project = Project::new();
    let proxy = Proxy::start(&moto.endpoint(), |call| {
        if call.number >= 12 {
            Fate::Fails(403, "ExpiredToken", "The security token included in the request is expired")
        } else {
            Fate::Passes
        }
    });
    let ran = through(&proxy, &project, &DEPLOY).ended_with(1);
    assert!(ran.stderr.contains("ExpiredToken") && ran.stderr.contains("log in again"), "{}", ran.stderr);
    // The call that failed, and one for the lock.
    let after = proxy.calls().len() - 12;
    assert!(after <= 2, "{after} calls were made with credentials that had ended");
    let open = open(&moto);
    through(&open, &project, &DEPLOY).ended_with(0);
    through(&open, &project, &DEPLOY).ended_with(0).says("==> 0 changes");
    assert_whole(&open, &project, "after new credentials");
}

#[test]
fn an_answer_that_is_lost_makes_nothing_twice() {
    let moto = Moto::start();
    // Each changing call in turn is carried out, and its answer is lost.
    let mut at = 0;
    loop {
        let decide = move |call: &Call| {
            if call.changes && call.change == at { Fate::AnswerLost } else { Fate::Passes }
        };
        let project = Project::new();
        let proxy = Proxy::start(&moto.endpoint(), decide);
        let ran = through(&proxy, &project, &DEPLOY);
        let lost = proxy.calls().into_iter().find(|(_, fate)| *fate == Fate::AnswerLost);
        let Some((call, _)) = lost else {
            assert!(at >= 30, "only {at} changing calls were met");
            break;
        };
        // The SDK sends it again. moto makes a second instance for the same client token, and a second balancer of the same name; a real
        // account and the local cloud do not.
        if !["RunInstances", "CreateLoadBalancer"].contains(&call.operation.as_str()) {
            let open = open(&moto);
            if ran.code != 0 {
                through(&open, &project, &DEPLOY).ended_with(0);
            }
            through(&open, &project, &DEPLOY).ended_with(0).says("==> 0 changes");
            assert_whole(&open, &project, &format!("the answer to {} was lost", call.operation));
        }
        moto.reset();
        at += 1;
    }
}

#[test]
fn a_deployment_and_its_cleanup_killed_at_any_changing_call_are_finished_by_the_next_run() {
    let moto = Moto::start();
    let mut swept = [0, 0];
    for moment in [Fate::KilledBefore, Fate::KilledAfter] {
        let mut at = 0;
        loop {
            let decide =
                move |call: &Call| if call.changes && call.change == at { moment } else { Fate::Passes };
            let project = Project::new();
            let open = open(&moto);
            let proxy = Proxy::start(&moto.endpoint(), decide);
            let killed = through(&proxy, &project, &DEPLOY).code == -1;
            if killed {
                through(&open, &project, &DEPLOY).ended_with(0);
            }
            assert_whole(&open, &project, &format!("{moment:?} call {at} of the deployment"));

            let cleanup = ["run", "cleanup", "--yes", "--delete-protected", "music-app"];
            let proxy = Proxy::start(&moto.endpoint(), decide);
            let cleanup_killed = through(&proxy, &project, &cleanup).code == -1;
            if cleanup_killed {
                through(&open, &project, &cleanup).ended_with(0);
            }
            project.write(
                "left.rhai",
                "stack(\"music-app\");\nprint(owned().keys);\nprint(ec2::list_ingress());\n",
            );
            let left = through(&open, &project, &["run", "left.rhai"]).ended_with(0).stdout;
            assert_eq!(left, "[]\n[]\n", "{moment:?} call {at} of the clean-up");
            moto.reset();
            if !killed && !cleanup_killed {
                break;
            }
            at += 1;
            swept[usize::from(moment == Fate::KilledAfter)] = at;
        }
    }
    println!("{} changing calls were swept before, {} after they took effect", swept[0], swept[1]);
    assert!(swept[0] >= 30 && swept[0] == swept[1], "{swept:?}");
}
