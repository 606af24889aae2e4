//! What the flags of the shipped playbooks do, and what they leave alone.

use std::collections::BTreeSet;

use aws_sdk_elasticloadbalancingv2::types::Tag;
use ops::clients::aws::{Clients, Target};
use serde_json::Value;

use crate::faults::{DEPLOY, open, through};
use crate::harness::Project;
use crate::interop::Moto;

/// Asks the account behind `endpoint` with another client than the one under test.
fn ask<T>(endpoint: &str, question: impl AsyncFnOnce(Clients) -> T) -> T {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let target = Target::Local { endpoint: endpoint.to_owned() };
        question(Clients::connect(&target, None).await.expect("the clients connect")).await
    })
}

fn keys(project: &Project) -> String {
    project.write("left.rhai", "stack(\"music-app\");\nprint(owned().keys);\n");
    project.run_local("left.rhai", &[]).ended_with(0).stdout
}

#[test]
fn the_balancer_goes_alone_and_everything_else_stays() {
    let project = Project::new();
    let deploy = ["--yes", "--skip-schema"];
    project.run_local("deploy", &[&deploy[..], &["--nlb"]].concat()).ended_with(0);
    assert_eq!(project.state()["nlb_enabled"], true);
    let servers = project.local("/_local/status")["instances"].clone();

    project.run_local("cleanup", &["--only", "nlb"]).ended_with(4).says("load balancer music-app-nlb");
    project.run_local("cleanup", &["--only", "nlb", "--yes"]).ended_with(0).says("4 deleted");
    let left = keys(&project);
    for gone in ["elbv2:", "security_group/nlb"] {
        assert!(!left.contains(gone), "{left}");
    }
    for kept in ["ec2:server", "rds:db", "sns:alerts", "sqs:log", "ec2:security_group/app", "secrets:all"] {
        assert!(left.contains(kept), "{kept}: {left}");
    }
    assert_eq!(project.local("/_local/status")["instances"], servers);
    let state = project.state();
    assert_eq!((&state["nlb_enabled"], &state["nlb_dns"]), (&Value::Bool(false), &Value::Null), "{state}");

    project.run_local("cleanup", &["--only", "nlb", "--yes"]).ended_with(0).says("==> 0 changes");
    project.run_local("deploy", &deploy).ended_with(0).says("==> 0 changes");
}

#[test]
fn fewer_servers_are_asked_about_drained_and_terminated() {
    let project = Project::new();
    let deploy = |more: &[&str]| project.run_local("deploy", &[&["--skip-schema", "--nlb"], more].concat());
    deploy(&["--yes", "--servers", "2"]).ended_with(0).says("+ elbv2 app  target server-2");
    let before = project.changes_on_the_wire();
    deploy(&["--servers", "1"]).ended_with(4).says("instance music-app-server-2");
    assert_eq!(project.changes_on_the_wire(), before);
    let plan = ["plan", "deploy", "--local", "--skip-schema", "--nlb", "--servers", "1", "--exit-code"];
    project.ops(&plan).ended_with(3).says("- elbv2 app  target server-2").says("- ec2 server-2  instance");
    assert_eq!(project.changes_on_the_wire(), before);

    let ran =
        deploy(&["--yes", "--servers", "1"]).ended_with(0).says("--servers asks for 1").says("2 deleted");
    let at = ["- elbv2 app  target server-2", "- ec2 server-2  instance"].map(|line| ran.stderr.find(line));
    assert!(at[0].is_some() && at[0] < at[1], "{}", ran.stderr);
    let left = keys(&project);
    assert!(left.contains("\"ec2:server\"") && !left.contains("ec2:server-2"), "{left}");
    for again in [&["--yes", "--servers", "1"][..], &["--yes"]] {
        deploy(again).ended_with(0).says("==> 0 changes");
    }
}

#[test]
fn a_protected_balancer_goes_only_with_the_name_of_the_stack() {
    let project = Project::empty();
    let playbook = "stack(\"s\");\nelbv2::ensure_load_balancer(\"nlb\", #{ deletion_protection: true });\nsns::ensure_topic(\"alerts\");\n";
    project.write("make.rhai", playbook);
    project.write("unmake.rhai", "stack(\"s\");\nowned().delete();\n");
    project.run_local("make.rhai", &["--yes"]).ended_with(0);
    let before = project.changes_on_the_wire();
    let refused = project.run_local("unmake.rhai", &["--yes"]).ended_with(4);
    let refused =
        refused.says("load balancer s-nlb is protected: nothing was deleted").says("--delete-protected s");
    assert!(!refused.stderr.contains("snapshot"), "{}", refused.stderr);
    assert_eq!(project.changes_on_the_wire(), before);
    let ran = project.run_local("unmake.rhai", &["--yes", "--delete-protected", "s"]).ended_with(0);
    ran.says("~ elbv2 nlb  deletion protection off").says("- elbv2 nlb  load balancer");
    project.run_local("unmake.rhai", &["--yes"]).ended_with(0).says("==> 0 changes");
}

#[test]
fn nords_keeps_the_database_as_keep_db_does() {
    let moto = Moto::start();
    let project = Project::new();
    through(&open(&moto), &project, &DEPLOY).ended_with(0);
    let proxy = open(&moto);
    let ran = through(&proxy, &project, &["run", "cleanup", "--nords", "--yes"]).ended_with(0);
    assert!(ran.stderr.contains("The database and its data stay"), "{}", ran.stderr);
    let deleted: BTreeSet<String> = proxy
        .calls()
        .into_iter()
        .map(|(call, _)| call.operation)
        .filter(|operation| operation.starts_with("Delete") || operation.starts_with("Terminate"))
        .collect();
    assert!(deleted.contains("TerminateInstances") && deleted.contains("DeleteLoadBalancer"), "{deleted:?}");
    for kept in ["DeleteDBInstance", "DeleteDBSubnetGroup"] {
        assert!(!deleted.contains(kept), "{deleted:?}");
    }
    // And nobody who reads the one flag has to fear the other.
    through(&open(&moto), &project, &["run", "cleanup", "--keep-db", "--yes"])
        .ended_with(0)
        .says("==> 0 changes");
}

#[test]
fn servers_act_as_the_profile_that_is_given_and_none_is_made() {
    let moto = Moto::start();
    let project = Project::new();
    project.write(
        "profile.rhai",
        "stack(\"company\");\nprint(iam::ensure_instance_profile(\"given\", #{ allow: [#{ actions: [\"sns:Publish\"], resources: [\"*\"] }] }).name);\n",
    );
    let ran = through(&open(&moto), &project, &["run", "profile.rhai", "--yes"]).ended_with(0);
    let given = ran.stdout.trim();

    let proxy = open(&moto);
    let deploy = [&DEPLOY[..], &["--instance-profile", given]].concat();
    through(&proxy, &project, &deploy).ended_with(0);
    let calls = proxy.calls();
    let launched = calls.iter().find(|(call, _)| call.operation == "RunInstances").expect("a launch");
    assert_eq!(launched.0.field("IamInstanceProfile.Name").as_deref(), Some(given));
    let made = calls.iter().find(|(call, _)| {
        call.changes && (call.operation.contains("Role") || call.operation.contains("InstanceProfile"))
    });
    assert!(made.is_none(), "{made:?}");
    through(&open(&moto), &project, &deploy).ended_with(0).says("==> 0 changes");

    // The clean-up of the stack is not the company's.
    through(&open(&moto), &project, &["run", "cleanup", "--yes", "--delete-protected", "music-app"])
        .ended_with(0);
    let profiles = ask(&moto.endpoint(), async |clients| {
        let found = clients.iam.list_instance_profiles().send().await.expect("the profiles");
        found
            .instance_profiles()
            .iter()
            .map(|profile| profile.instance_profile_name().to_owned())
            .collect::<Vec<_>>()
    });
    assert_eq!(profiles, [given]);
}

#[test]
fn servers_see_the_addresses_of_clients_where_that_is_asked_for() {
    let moto = Moto::start();
    let project = Project::new();
    let preserved = || {
        ask(&moto.endpoint(), async |clients| {
            let groups = clients.elbv2.describe_target_groups().names("music-app-app").send().await;
            let arn =
                groups.expect("the group").target_groups()[0].target_group_arn().expect("an ARN").to_owned();
            let found = clients.elbv2.describe_target_group_attributes().target_group_arn(arn).send().await;
            let found = found.expect("the attributes");
            let mut attributes = found.attributes().iter();
            let attribute =
                attributes.find(|attribute| attribute.key() == Some("preserve_client_ip.enabled"));
            attribute.and_then(|attribute| attribute.value()).unwrap_or_default().to_owned()
        })
    };
    let seeing = [&DEPLOY[..], &["--client-ip"]].concat();
    for (arguments, expected) in [(&DEPLOY[..], "false"), (&seeing[..], "true"), (&DEPLOY[..], "false")] {
        through(&open(&moto), &project, arguments).ended_with(0);
        assert_eq!(preserved(), expected, "{arguments:?}");
        through(&open(&moto), &project, arguments).ended_with(0).says("==> 0 changes");
    }
}

#[test]
fn a_balancer_gets_the_zone_of_an_instance_that_it_does_not_stand_in() {
    let project = Project::empty();
    project.write("server.rhai", "stack(\"s\");\nec2::ensure_instance(\"server\").wait();\n");
    project.write(
        "playbooks/balancer.rhai",
        "stack(\"s\");\nec2::ensure_instance(\"server\");\nelbv2::ensure_load_balancer(\"nlb\");\n",
    );
    project.run_local("server.rhai", &["--yes"]).ended_with(0);
    let own = ask(&project.endpoint(), async |clients| {
        let found = clients.ec2.describe_instances().send().await.expect("the instance");
        let own = found.reservations()[0].instances()[0].subnet_id().expect("a subnet").to_owned();
        let subnets = clients.ec2.describe_subnets().send().await.expect("the subnets");
        let other = subnets.subnets().iter().filter_map(|subnet| subnet.subnet_id()).find(|id| *id != own);
        let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
        let request =
            clients.elbv2.create_load_balancer().name("s-nlb").subnets(other.expect("another zone"));
        let request = request.r#type(aws_sdk_elasticloadbalancingv2::types::LoadBalancerTypeEnum::Network);
        request.tags(tag("ops:stack", "s")).tags(tag("ops:name", "nlb")).send().await.expect("it is made");
        own
    });
    let subnets = || {
        ask(&project.endpoint(), async |clients| {
            let found =
                clients.elbv2.describe_load_balancers().names("s-nlb").send().await.expect("the balancer");
            let zones = found.load_balancers()[0].availability_zones().to_vec();
            zones.iter().filter_map(|zone| zone.subnet_id().map(str::to_owned)).collect::<BTreeSet<_>>()
        })
    };
    assert!(!subnets().contains(&own));
    project.ops(&["plan", "balancer", "--local"]).ended_with(0).says("~ elbv2 nlb  zones us-east-1");
    project.run_local("balancer", &["--yes"]).ended_with(0).says("~ elbv2 nlb  zones us-east-1");
    assert!(subnets().len() == 2 && subnets().contains(&own), "{:?}", subnets());
    project.run_local("balancer", &["--yes"]).ended_with(0).says("==> 0 changes");
}

const TWO_IN_ONE_ZONE: &str = r#"stack("s");
let balancer = option("balancer", "nlb", "Which");
let vpc = aws::request("ec2", "DescribeVpcs", #{ "Filter.1.Name": "is-default", "Filter.1.Value.1": "true" }).vpcSet[0].vpcId;
let there = aws::request("ec2", "DescribeSubnets", #{ "Filter.1.Name": "cidr-block", "Filter.1.Value.1": "172.31.240.0/20" }).subnetSet;
if there == () || there.len() == 0 {
    there = [aws::request("ec2", "CreateSubnet", #{ VpcId: vpc, CidrBlock: "172.31.240.0/20", AvailabilityZone: "us-east-1a" }).subnet];
}
elbv2::ensure_load_balancer(balancer);
print(there[0].subnetId);
"#;

#[test]
fn of_two_subnets_in_one_zone_a_balancer_gets_one_wherever_the_instance_stands() {
    let moto = Moto::start();
    let project = Project::empty();
    project.write("playbooks/two.rhai", TWO_IN_ONE_ZONE);
    let zones = ask(&moto.endpoint(), async |clients| {
        let found = clients.ec2.describe_subnets().send().await.expect("the subnets");
        found
            .subnets()
            .iter()
            .filter_map(|subnet| subnet.availability_zone().map(str::to_owned))
            .collect::<BTreeSet<_>>()
    });
    let chosen = |balancer: &str| {
        let proxy = open(&moto);
        let ran = through(&proxy, &project, &["run", "two", "--yes", "--balancer", balancer]).ended_with(0);
        let calls = proxy.calls();
        let made = calls.iter().find(|(call, _)| call.operation == "CreateLoadBalancer").expect("a balancer");
        let subnets: Vec<String> =
            (1..).map_while(|number| made.0.field(&format!("Subnets.member.{number}"))).collect();
        (ran.stdout.trim().to_owned(), subnets)
    };
    let (added, subnets) = chosen("one");
    assert_eq!(subnets.len(), zones.len(), "{subnets:?}");
    assert!(!subnets.contains(&added), "a subnet that somebody added comes after the default one");

    ask(&moto.endpoint(), async |clients| {
        let image = clients.ec2.describe_images().owners("amazon").send().await.expect("the images");
        let image = image.images()[0].image_id().expect("an id").to_owned();
        let tags = aws_sdk_ec2::types::TagSpecification::builder()
            .resource_type(aws_sdk_ec2::types::ResourceType::Instance)
            .tags(aws_sdk_ec2::types::Tag::builder().key("ops:stack").value("s").build())
            .tags(aws_sdk_ec2::types::Tag::builder().key("ops:name").value("server").build());
        let request = clients.ec2.run_instances().image_id(image).min_count(1).max_count(1).subnet_id(&added);
        request.tag_specifications(tags.build()).send().await.expect("launched");
    });
    let (_, subnets) = chosen("other");
    assert_eq!(subnets.len(), zones.len(), "{subnets:?}");
    assert!(!subnets.contains(&added), "its zone is reached through the other one: {subnets:?}");
}
