//! What somebody changed by hand is said by a plan and repaired by the next run; what is not of the stack is left alone.

use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_ec2::types::Tag;
use aws_sdk_elasticloadbalancingv2::types::TargetDescription;
use aws_sdk_rds::types::{ApplyMethod, Parameter};
use aws_sdk_sqs::types::QueueAttributeName;
use ops::clients::aws::{Clients, Target};

use crate::harness::{Project, Ran};
use crate::proxy::{Fate, Proxy};

const PLAYBOOK: &str = r#"//! Makes one of each.
stack("s");
let app = ec2::ensure_security_group("app", #{ ingress: [tcp(8080, "10.0.0.0/8")] });
let topic = sns::ensure_topic("alerts");
let dead = sqs::ensure_queue("dead");
rds::ensure_instance("db", #{ master_password: secrets::ensure("master"), publicly_accessible: false, deletion_protection: true }).wait();
sqs::ensure_queue("log", #{ retention_s: 3600, subscribe_to: topic, dead_letter_queue: dead });
let role = iam::ensure_instance_profile("server", #{ allow: [#{ actions: ["sns:Publish"], resources: [topic.arn] }] });
let server = ec2::ensure_instance("server", #{ security_groups: [app], instance_profile: role.name });
let group = elbv2::ensure_target_group("app", #{ port: 8080, health_interval_s: 30, preserve_client_ip: false, targets: [server] });
let other = elbv2::ensure_target_group("other", #{ port: 8081 });
let nlb = elbv2::ensure_load_balancer("nlb", #{ cross_zone: true });
nlb.ensure_listener(8080, group);
"#;

async fn change_by_hand(clients: &Clients) {
    let groups = clients.ec2.describe_security_groups().group_names("s-app").send().await.expect("the group");
    let group = groups.security_groups()[0].group_id().expect("an id").to_owned();
    let opened = clients.ec2.authorize_security_group_ingress().group_id(&group).ip_protocol("tcp");
    opened.from_port(22).to_port(22).cidr_ip("0.0.0.0/0").send().await.expect("opened");

    let stack = aws_sdk_ec2::types::Filter::builder().name("tag:ops:stack").values("s").build();
    let found = clients.ec2.describe_instances().filters(stack).send().await.expect("the instance");
    let instance = found.reservations()[0].instances()[0].instance_id().expect("an id").to_owned();
    let name = Tag::builder().key("Application").value("other").build();
    clients.ec2.create_tags().resources(&instance).tags(name).send().await.expect("tagged");

    let optional = aws_sdk_ec2::types::HttpTokensState::Optional;
    let request = clients.ec2.modify_instance_metadata_options().instance_id(&instance);
    request.http_tokens(optional).send().await.expect("changed");

    let request = clients.rds.modify_db_instance().db_instance_identifier("s-db").apply_immediately(true);
    request.publicly_accessible(true).deletion_protection(false).send().await.expect("changed");
    let found = clients.rds.describe_db_instances().db_instance_identifier("s-db").send().await;
    let arn = found.expect("the database").db_instances()[0].db_instance_arn().expect("an ARN").to_owned();
    let request = clients.rds.remove_tags_from_resource().resource_name(arn);
    request.tag_keys("Application").send().await.expect("untagged");

    let topics = clients.sns.list_topics().send().await.expect("the topic");
    let request = clients.sns.untag_resource().resource_arn(topics.topics()[0].topic_arn().expect("an ARN"));
    request.tag_keys("Application").send().await.expect("untagged");

    let url = clients.sqs.get_queue_url().queue_name("s-log").send().await.expect("the queue");
    let url = url.queue_url().expect("a URL");
    for (attribute, value) in [
        (QueueAttributeName::MessageRetentionPeriod, "60"),
        (QueueAttributeName::Policy, ""),
        (QueueAttributeName::RedrivePolicy, ""),
    ] {
        let request = clients.sqs.set_queue_attributes().queue_url(url).attributes(attribute, value);
        request.send().await.expect("changed");
    }

    clients.sqs.untag_queue().queue_url(url).tag_keys("Application").send().await.expect("untagged");

    let role = format!("s-server-{}", clients.region);
    let nothing = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
    let request = clients.iam.put_role_policy().role_name(role).policy_name("ops").policy_document(nothing);
    request.send().await.expect("changed");

    let groups =
        clients.elbv2.describe_target_groups().names("s-app").names("s-other").send().await.expect("groups");
    let arn = |name: &str| {
        let found = groups.target_groups().iter().find(|group| group.target_group_name() == Some(name));
        found.and_then(|group| group.target_group_arn()).expect("an ARN").to_owned()
    };
    let target = TargetDescription::builder().id(&instance).build();
    let request = clients.elbv2.deregister_targets().target_group_arn(arn("s-app")).targets(target);
    request.send().await.expect("deregistered");
    let request = clients.elbv2.modify_target_group().target_group_arn(arn("s-app"));
    request.health_check_interval_seconds(60).send().await.expect("changed");
    let balancers =
        clients.elbv2.describe_load_balancers().names("s-nlb").send().await.expect("the balancer");
    let balancer = balancers.load_balancers()[0].load_balancer_arn().expect("an ARN").to_owned();
    let listeners =
        clients.elbv2.describe_listeners().load_balancer_arn(balancer).send().await.expect("listeners");
    let elsewhere = aws_sdk_elasticloadbalancingv2::types::Action::builder()
        .r#type(aws_sdk_elasticloadbalancingv2::types::ActionTypeEnum::Forward)
        .target_group_arn(arn("s-other"))
        .build();
    let request =
        clients.elbv2.modify_listener().set_listener_arn(listeners.listeners()[0].listener_arn.clone());
    request.default_actions(elsewhere).send().await.expect("changed");
    clients.ec2.stop_instances().instance_ids(&instance).send().await.expect("stopped");
}

#[test]
fn what_was_changed_by_hand_is_planned_and_repaired() {
    let project = Project::empty();
    project.write("playbooks/p.rhai", PLAYBOOK);
    project.run_local("p", &["--yes"]).ended_with(0);
    project.run_local("p", &["--yes"]).ended_with(0).says("0 changes");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let target = Target::Local { endpoint: project.endpoint() };
        change_by_hand(&Clients::connect(&target, None).await.expect("the clients connect")).await;
    });
    let repairs = [
        "- ec2 app  tcp 22 from 0.0.0.0/0",
        "~ ec2 server  tags Application",
        "~ ec2 server  IMDSv2 required",
        "~ ec2 server  started",
        "~ rds db  tags Application",
        "~ rds db  not public, deletion protection on",
        "~ sns alerts  tags Application",
        "~ sqs log  tags Application",
        "~ sqs log  MessageRetentionPeriod, Policy, RedrivePolicy",
        "~ iam server  policy of the role",
        "~ elbv2 app  health interval",
        "+ elbv2 app  target server",
        "~ elbv2 nlb  listener 8080 to s-app",
    ];
    let planned = project.ops(&["plan", "p", "--local", "--exit-code"]).ended_with(3);
    let ran = project.run_local("p", &["--yes"]).ended_with(0);
    for repair in repairs {
        assert!(planned.stderr.contains(repair), "{repair}: {}", planned.stderr);
        assert!(ran.stderr.contains(repair), "{repair}: {}", ran.stderr);
    }
    assert!(ran.stderr.contains(" 13 changes: "), "{}", ran.stderr);
    project.run_local("p", &["--yes"]).ended_with(0).says("0 changes");
}

#[test]
fn what_cannot_be_changed_in_place_is_refused_with_the_key_and_the_reason() {
    let project = Project::empty();
    project.write("playbooks/p.rhai", PLAYBOOK);
    project.run_local("p", &["--yes"]).ended_with(0);
    for (from, to, expected) in [
        (
            "\"server\", #{ security",
            "\"server\", #{ instance_type: \"t3.small\", security",
            "instance_type `t3.micro`",
        ),
        ("#{ port: 8081 }", "#{ port: 8082 }", "has port 8081, and 8082 is asked for"),
        ("#{ cross_zone: true }", "#{ internal: true }", "has internal `false`, and `true` is asked for"),
        (
            "#{ cross_zone: true }",
            "#{ security_groups: [app] }",
            "made without security groups, and can get none",
        ),
    ] {
        assert!(PLAYBOOK.contains(from), "{from}");
        project.write("playbooks/p.rhai", &PLAYBOOK.replace(from, to));
        let ran = project.run_local("p", &["--yes"]).ended_with(1);
        assert!(ran.stderr.contains(expected) && ran.stderr.contains("help:"), "{to}: {}", ran.stderr);
    }
}

#[test]
fn a_database_that_serves_clients_without_tls_is_warned_of() {
    let project = Project::empty();
    project.write(
        "db.rhai",
        "stack(\"s\");\nrds::ensure_instance(\"db\", #{ master_password: secrets::ensure(\"master\") }).wait();",
    );
    let is_warned = || {
        let ran = project.run_local("db.rhai", &["--yes"]).ended_with(0);
        ran.stderr.contains("the database s-db also serves clients without TLS")
    };
    assert!(!is_warned() && !is_warned(), "the default is TLS alone");

    let set = |value: &'static str| {
        let endpoint = project.endpoint();
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let clients = Clients::connect(&Target::Local { endpoint }, None).await.expect("the local cloud");
            let found = clients.rds.describe_db_instances().db_instance_identifier("s-db").send().await;
            let version =
                found.expect("the database").db_instances()[0].engine_version().expect("one").to_owned();
            let family = format!("postgres{}", version.split('.').next().expect("a major version"));
            let group = clients.rds.create_db_parameter_group().db_parameter_group_name("own");
            // The second time it is there.
            let _ = group.db_parameter_group_family(family).description("own").send().await;
            let parameter = Parameter::builder().parameter_name("rds.force_ssl").parameter_value(value);
            let parameter = parameter.apply_method(ApplyMethod::Immediate).build();
            let group = clients.rds.modify_db_parameter_group().db_parameter_group_name("own");
            group.parameters(parameter).send().await.expect("changed");
            let instance = clients.rds.modify_db_instance().db_instance_identifier("s-db");
            instance.db_parameter_group_name("own").apply_immediately(true).send().await.expect("changed");
        });
    };
    set("0");
    assert!(is_warned(), "its own group allows it");
    set("1");
    assert!(!is_warned(), "its own group forbids it");
}

#[test]
fn a_certificate_is_made_anew_for_another_name_and_by_the_same_authority() {
    let project = Project::empty();
    project.write(
        "certificate.rhai",
        r#"stack("s");
        let hostname = option("hostname", "a.example.com", "For whom");
        print(secrets::ensure_certificate("server", #{ hostname: hostname }).authority);"#,
    );
    let first = project.run_local("certificate.rhai", &["--yes"]).ended_with(0);
    let same = project.run_local("certificate.rhai", &["--yes"]).ended_with(0).says("==> 0 changes");
    let other = ["--yes", "--hostname", "b.example.com"];
    let made = project.run_local("certificate.rhai", &other).ended_with(0).says("==> 2 changes");
    project.run_local("certificate.rhai", &other).ended_with(0).says("==> 0 changes");
    assert!(
        first.stdout.contains("BEGIN CERTIFICATE")
            && first.stdout == same.stdout
            && same.stdout == made.stdout
    );

    // A run that is killed between the two halves leaves a new key beside the old certificate, which is still for its old name.
    let killed = run_killed_at(&project, 0, &["--yes", "--hostname", "a.example.com"]);
    assert_eq!(killed.code, -1, "{}", killed.stderr);
    project.run_local("certificate.rhai", &other).ended_with(0).says("==> 2 changes");
    project.run_local("certificate.rhai", &other).ended_with(0).says("==> 0 changes");

    // And one that is killed behind a new authority leaves a certificate that the old one has signed.
    forget(&project, "/ops/s/authority/key");
    let killed = run_killed_at(&project, 1, &other);
    assert_eq!(killed.code, -1, "{}", killed.stderr);
    let signed = project.run_local("certificate.rhai", &other).ended_with(0).says("==> 2 changes");
    assert_ne!(signed.stdout, first.stdout, "there is another authority");
    project.run_local("certificate.rhai", &other).ended_with(0).says("==> 0 changes");
}

/// Runs the playbook, and kills it when the service has put the secret of that number, but before it hears of that.
fn run_killed_at(project: &Project, at: usize, arguments: &[&str]) -> Ran {
    let secrets = AtomicUsize::new(0);
    let proxy = Proxy::start(&project.endpoint(), move |call| {
        let puts = call.operation == "PutParameter" && call.body.contains("SecureString");
        let killed = puts && secrets.fetch_add(1, Ordering::SeqCst) == at;
        if killed { Fate::KilledAfter } else { Fate::Passes }
    });
    let arguments = [&["run", "certificate.rhai", "--region", "us-east-1"], arguments].concat();
    project.through(&proxy, project.command(&arguments))
}

/// Deletes a parameter by hand.
fn forget(project: &Project, name: &str) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let target = Target::Local { endpoint: project.endpoint() };
        let clients = Clients::connect(&target, None).await.expect("the clients connect");
        clients.ssm.delete_parameter().name(name).send().await.expect("deleted");
    });
}
