//! What services and networks do to calls: throttling, answers that are lost, things that are not visible yet, credentials that end.
//! A deployment comes through, or stops where it can be taken up again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::harness::{Project, Ran};
use crate::interop::Moto;
use crate::proxy::{Call, Fate, Proxy};

/// An image that nothing of these tests starts.
const IMAGE: &str =
    "registry.example.com/app-server@sha256:0000000000000000000000000000000000000000000000000000000000000000";

pub(crate) const DEPLOY: [&str; 9] =
    ["run", "deploy", "--yes", "--skip-schema", "--nlb", "--client-cidr", "10.0.0.0/8", "--image", IMAGE];

/// What a script with boto3 asks where all is there, which makes the same groups, queue, database, server and balancer.
const CALLS_OF_A_SCRIPT: usize = 23;

/// The parts of the stack's secrets: passwords, and the lines of private keys.
const SECRETS: usize = 4;

/// Runs `ops` with a proxy for an account.
pub(crate) fn through(proxy: &Proxy, project: &Project, arguments: &[&str]) -> Ran {
    project.through(proxy, project.command(arguments))
}

pub(crate) fn open(moto: &Moto) -> Proxy {
    Proxy::start(&moto.endpoint(), |_| Fate::Passes)
}

/// What the stack has, as the clean-up sees it, and everything of each kind once.
pub(crate) fn assert_whole(proxy: &Proxy, project: &Project, what: &str) {
    project.write("left.rhai", "stack(\"music-app\");\nprint(owned().keys);\n");
    let keys = through(proxy, project, &["run", "left.rhai"]).ended_with(0).stdout;
    assert_eq!(
        keys.trim(),
        r#"["elbv2:nlb", "elbv2:target_group/app", "ec2:server", "rds:db", "rds:subnet_group/db", "sns:alerts", "sqs:log", "sqs:log-dead", "ec2:security_group/app", "ec2:security_group/db", "ec2:security_group/nlb", "iam:server", "ec2:key_pair/key", "secrets:all"]"#,
        "{what}"
    );
}

/// Deploys twice, the first time with whatever the proxy does: the first has to succeed, the second finds nothing to do.
pub(crate) fn deploys(
    moto: &Moto,
    decide: impl Fn(&Call) -> Fate + Send + Sync + 'static,
    what: &str,
) -> Proxy {
    let project = Project::new();
    let proxy = Proxy::start(&moto.endpoint(), decide);
    let ran = through(&proxy, &project, &DEPLOY);
    assert_eq!(ran.code, 0, "{what}: {}", ran.stderr);
    let open = open(moto);
    through(&open, &project, &DEPLOY).ended_with(0).says("==> 0 changes");
    let calls = open.calls().len();
    assert!(calls <= CALLS_OF_A_SCRIPT, "{what}: a run with nothing to do made {calls} calls");
    assert_whole(&open, &project, what);
    // They are looked for when the project goes.
    let secrets = project.watch().count();
    assert!(secrets >= SECRETS, "{what}: only {secrets} secrets came up: are the others still known?");
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
fn a_run_with_nothing_to_do_asks_side_by_side() {
    let moto = Moto::start();
    let project = Project::new();
    through(&open(&moto), &project, &DEPLOY).ended_with(0);
    let slow = Proxy::start(&moto.endpoint(), |_| Fate::Late(Duration::from_secs(2)));
    let ran = through(&slow, &project, &DEPLOY).ended_with(0).says("==> 0 changes");
    // The database, the secrets, the server's profile with the policy of its role, the instances: none of them needs another.
    assert!(slow.most_reads() >= 5, "at most {} reads were under way at once", slow.most_reads());
    let calls = slow.calls().len();
    assert!(calls <= CALLS_OF_A_SCRIPT, "a run with nothing to do made {calls} calls");
    let steps: Vec<&str> = ran.stderr.lines().filter_map(|line| line.strip_prefix("==> ")).collect();
    let expected = ["Key", "Firewall", "Alerts", "Database", "Certificate", "Server", "Balancer"];
    assert_eq!(steps[..steps.len() - 1], expected, "{}", ran.stderr);
}

#[test]
fn a_plan_reads_the_same_whichever_answer_comes_first() {
    let moto = Moto::start();
    let project = Project::new();
    let plan = |seed: u64| {
        let proxy = Proxy::start(&moto.endpoint(), move |call| {
            let mixed = call
                .operation
                .bytes()
                .fold(seed, |mixed, byte| (mixed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
            Fate::Late(Duration::from_millis(mixed % 100))
        });
        let ran = through(&proxy, &project, &[&["plan"], &DEPLOY[1..]].concat()).ended_with(0);
        let (lines, times) = ran.stderr.rsplit_once("==> ").expect("a recap");
        assert!(times.contains(" changes to make: "), "{}", ran.stderr);
        let steps: Vec<&str> =
            times.split(['(', ',']).filter_map(|it| it.split_whitespace().next()).collect();
        format!("{lines}{steps:?}")
    };
    let first = plan(1);
    assert!(first.contains("+ ec2 server"), "{first}");
    for seed in 2..5 {
        assert_eq!(plan(seed), first, "seed {seed}");
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
        ("DescribeInstances", "InvalidInstanceID.NotFound"),
        ("DescribeDBInstances", "DBInstanceNotFound"),
        ("Publish", "NotFound"),
    ];
    side_by_side(&unknown, |moto, (operation, code)| {
        let (operation, code) = (*operation, *code);
        let met = AtomicUsize::new(0);
        let decide = move |call: &Call| {
            let meant = call.operation == operation
                && match operation {
                    // They are looked for by name or tag first, and only then by what the service called them.
                    "DescribeLoadBalancers" => call.body.contains("LoadBalancerArns"),
                    "DescribeInstances" => call.body.contains("InstanceId"),
                    _ => true,
                };
            if meant && met.fetch_add(1, Ordering::SeqCst) < 5 {
                Fate::Fails(
                    400,
                    code,
                    "Value (server) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name",
                )
            } else {
                Fate::Passes
            }
        };
        let proxy = deploys(moto, decide, &format!("{operation} {code}"));
        let failed = proxy.calls().iter().filter(|(_, fate)| *fate != Fate::Passes).count();
        // A topic that is not visible yet has no subscriptions: that is asked for once.
        let expected = if operation == "ListSubscriptionsByTopic" { 1 } else { 5 };
        assert_eq!(failed, expected, "{operation} {code}");
    });
}

/// Runs `check` for each case, four at once, each with an emulator of its own that is emptied in between.
pub(crate) fn side_by_side<C: Sync>(cases: &[C], check: impl Fn(&Moto, &C) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let moto = Moto::start();
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::SeqCst)) {
                    check(&moto, case);
                    moto.reset();
                }
            });
        }
    });
}

/// How many changing calls a deployment and its clean-up make.
fn changing_calls(arguments: &[&str], after: Option<&[&str]>) -> usize {
    let moto = Moto::start();
    let project = Project::new();
    if let Some(before) = after {
        through(&open(&moto), &project, before).ended_with(0);
    }
    let proxy = open(&moto);
    through(&proxy, &project, arguments).ended_with(0);
    proxy.changes()
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
    let state = project.read("deploy_config.json");
    assert!(state.contains("key_pair_name"), "what was made before is forgotten: {state}");
    through(&open, &project, &DEPLOY).ended_with(0);
    through(&open, &project, &DEPLOY).ended_with(0).says("==> 0 changes");
    assert_whole(&open, &project, "after new credentials");
}

#[test]
fn an_answer_that_is_lost_makes_nothing_twice() {
    let count = changing_calls(&DEPLOY, None);
    assert!(count >= 30, "only {count} changing calls were met");
    side_by_side(&(0..count).collect::<Vec<_>>(), |moto, at| {
        let at = *at;
        let decide = move |call: &Call| {
            if call.changes && call.change == at { Fate::AnswerLost } else { Fate::Passes }
        };
        let project = Project::new();
        let proxy = Proxy::start(&moto.endpoint(), decide);
        let ran = through(&proxy, &project, &DEPLOY);
        let (call, _) = proxy
            .calls()
            .into_iter()
            .find(|(_, fate)| *fate == Fate::AnswerLost)
            .unwrap_or_else(|| panic!("the changing call {at} was not met"));
        // The SDK sends it again. moto makes a second instance for the same client token, and a second balancer of the same name; a real
        // account and the local cloud do not.
        if ["RunInstances", "CreateLoadBalancer"].contains(&call.operation.as_str()) {
            return;
        }
        let open = open(moto);
        if ran.code != 0 {
            through(&open, &project, &DEPLOY).ended_with(0);
        }
        through(&open, &project, &DEPLOY).ended_with(0).says("==> 0 changes");
        assert_whole(&open, &project, &format!("the answer to {} was lost", call.operation));
    });
}

const CLEANUP: [&str; 5] = ["run", "cleanup", "--yes", "--delete-protected", "music-app"];

#[test]
fn a_deployment_killed_at_any_changing_call_is_finished_by_the_next_run() {
    let count = changing_calls(&DEPLOY, None);
    assert!(count >= 30, "only {count} changing calls were met");
    sweep(count, |moto, project, killing| {
        assert_eq!(through(killing, project, &DEPLOY).code, -1);
        let open = open(moto);
        through(&open, project, &DEPLOY).ended_with(0);
        assert_whole(&open, project, "after a kill");
        through(&open, project, &DEPLOY).ended_with(0).says("==> 0 changes");
        through(&open, project, &CLEANUP).ended_with(0);
        assert_nothing_left(&open, project);
    });
}

#[test]
fn a_cleanup_killed_at_any_changing_call_is_finished_by_the_next_run() {
    let count = changing_calls(&CLEANUP, Some(&DEPLOY));
    assert!(count >= 12, "only {count} changing calls were met");
    sweep(count, |moto, project, killing| {
        let open = open(moto);
        through(&open, project, &DEPLOY).ended_with(0);
        assert_eq!(through(killing, project, &CLEANUP).code, -1);
        through(&open, project, &CLEANUP).ended_with(0);
        assert_nothing_left(&open, project);
    });
}

fn assert_nothing_left(proxy: &Proxy, project: &Project) {
    project.write("left.rhai", "stack(\"music-app\");\nprint(owned().keys);\nprint(ec2::list_ingress());\n");
    let left = through(proxy, project, &["run", "left.rhai"]).ended_with(0).stdout;
    assert_eq!(left, "[]\n[]\n");
}

/// For each changing call of `count`: `check` with a proxy that kills its caller there, before the service hears of it and after it
/// has carried it out.
fn sweep(count: usize, check: impl Fn(&Moto, &Project, &Proxy) + Sync) {
    let cases: Vec<(usize, Fate)> =
        (0..count).flat_map(|at| [(at, Fate::KilledBefore), (at, Fate::KilledAfter)]).collect();
    side_by_side(&cases, |moto, (at, moment)| {
        let (at, moment) = (*at, *moment);
        let killing = Proxy::start(&moto.endpoint(), move |call: &Call| {
            if call.changes && call.change == at { moment } else { Fate::Passes }
        });
        let project = Project::new();
        check(moto, &project, &killing);
        let calls = killing.calls();
        let (swept, _) = calls
            .iter()
            .find(|(_, fate)| *fate == moment)
            .unwrap_or_else(|| panic!("{moment:?} the changing call {at} was not swept"));
        println!("{moment:?} the changing call {} of {count}, {}", at + 1, swept.operation);
    });
}
