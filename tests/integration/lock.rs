//! Two people, two machines, one stack: the account alone is shared. One run goes on, the other is told who has the stack.

use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_ssm::types::ParameterType;
use ops::clients::aws::{Clients, Target};

use crate::harness::{Project, signal, until, wait};

const PLAYBOOK: &str = r#"//! Makes some things.
stack("shared");
let app = ec2::ensure_security_group("app", #{ ingress: [tcp(8080, "10.0.0.0/8")] });
let topic = sns::ensure_topic("alerts");
sqs::ensure_queue("log", #{ subscribe_to: topic });
ec2::ensure_instance("server", #{ security_groups: [app] });
secrets::ensure("password");
"#;

/// A project on another machine, as far as `ops` can tell: only the services are the same.
fn elsewhere(cloud: &Project, name: &str) -> Project {
    let project = Project::empty();
    project.write("playbooks/make.rhai", PLAYBOOK);
    project.write(
        "playbooks/hold.rhai",
        "stack(\"shared\");\nsns::ensure_topic(\"held\");\nloop { sleep(1); }\n",
    );
    project.write("endpoint", &cloud.endpoint());
    project.write("name", name);
    project
}

fn command(project: &Project, arguments: &[&str]) -> std::process::Command {
    let mut command = project.command(arguments);
    command.args(["--region", "us-east-1", "--yes"]);
    command.env("AWS_ENDPOINT_URL", project.read("endpoint")).env("USER", project.read("name"));
    command.env("AWS_ACCESS_KEY_ID", "local").env("AWS_SECRET_ACCESS_KEY", "local");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(project: &Project, arguments: &[&str]) -> crate::harness::Ran {
    wait(command(project, arguments).spawn().expect("ops starts"))
}

fn cloud() -> Project {
    let project = Project::empty();
    project.ops(&["local", "up"]).ended_with(0);
    project
}

async fn clients(cloud: &Project) -> Clients {
    let target = Target::Local { endpoint: cloud.endpoint() };
    Clients::connect(&target, None).await.expect("the clients connect")
}

fn with_clients<T>(cloud: &Project, ask: impl AsyncFnOnce(Clients) -> T) -> T {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async { ask(clients(cloud).await).await })
}

/// Puts a lease there, as a run of another machine would have, that ends in so many seconds.
fn leave_lease(cloud: &Project, number: u32, seconds: i64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let until = i64::try_from(now).expect("a time") + seconds;
    let holder = format!(
        r#"{{"who":"maria@elsewhere, process 1","place":"elsewhere:/file","id":"1","since_s":{now},"until_s":{until}}}"#
    );
    with_clients(cloud, async |clients| {
        let name = format!("/ops/shared/lock/{number}");
        clients
            .ssm
            .put_parameter()
            .name(name)
            .value(holder)
            .r#type(ParameterType::String)
            .send()
            .await
            .expect("put");
    });
}

fn leases(cloud: &Project) -> usize {
    with_clients(cloud, async |clients| {
        let found =
            clients.ssm.get_parameters_by_path().path("/ops/shared/lock").send().await.expect("a list");
        found.parameters().len()
    })
}

#[test]
fn fifty_pairs_of_runs_from_two_machines_make_nothing_twice() {
    let cloud = cloud();
    let (one, other) = (elsewhere(&cloud, "one"), elsewhere(&cloud, "other"));
    let mut refused = 0;
    for round in 0..50 {
        let playbook = PLAYBOOK.replace("\"shared\"", &format!("\"shared-{round}\""));
        for project in [&one, &other] {
            project.write("playbooks/make.rhai", &playbook);
            // Another stack each time: the state file of the last one is not this one's.
            _ = std::fs::remove_file(project.path("deploy_config.json"));
        }
        let ran = [&one, &other]
            .map(|project| command(project, &["run", "make"]).spawn().expect("ops starts"))
            .map(wait);
        let holders = ["other", "one"];
        let codes = [0, 1].map(|run| {
            let ran = &ran[run];
            assert!(ran.code == 0 || ran.code == 5, "round {round}: {}", ran.stderr);
            if ran.code == 5 {
                let holder = format!("is locked by {}", holders[run]);
                assert!(ran.stderr.contains(&holder), "round {round}: {}", ran.stderr);
                refused += 1;
            }
            ran.code
        });
        assert!(codes.contains(&0), "round {round}: nobody went on");
        let (instances, groups) = with_clients(&cloud, async |clients| {
            let filter = || {
                let filter = aws_sdk_ec2::types::Filter::builder().name("tag:ops:stack");
                filter.values(format!("shared-{round}")).build()
            };
            let instances =
                clients.ec2.describe_instances().filters(filter()).send().await.expect("instances");
            let groups =
                clients.ec2.describe_security_groups().filters(filter()).send().await.expect("groups");
            (instances.reservations().len(), groups.security_groups().len())
        });
        assert_eq!((instances, groups), (1, 1), "round {round}");
    }
    assert!(refused > 0, "the runs never met: this test has shown nothing");
}

#[test]
fn a_lease_of_another_machine_is_respected_until_it_ends() {
    let cloud = cloud();
    let project = elsewhere(&cloud, "me");
    leave_lease(&cloud, 3, 3600);
    let refused = run(&project, &["run", "make"]).ended_with(5);
    assert!(refused.stderr.contains("locked by maria@elsewhere, process 1 since"), "{}", refused.stderr);
    assert_eq!(leases(&cloud), 1);
}

#[test]
fn a_lease_that_has_ended_is_taken_over_and_nothing_of_it_stays() {
    let cloud = cloud();
    let project = elsewhere(&cloud, "me");
    leave_lease(&cloud, 3, -1);
    run(&project, &["run", "make"]).ended_with(0);
    assert_eq!(leases(&cloud), 0);
}

#[test]
fn a_run_waits_for_the_lock_as_long_as_it_is_told_to() {
    let cloud = cloud();
    let project = elsewhere(&cloud, "me");
    // It ends after the run has met it, also where that takes a while to start.
    leave_lease(&cloud, 1, 20);
    run(&project, &["run", "make", "--lock-wait", "2m"]).ended_with(0).says("locked by maria@elsewhere");
    run(&project, &["run", "make", "--lock-wait", "soon"]).ended_with(2).says("write it like 30s, 5m or 1h");
}

#[test]
fn a_killed_run_does_not_lock_its_own_machine_out() {
    let cloud = cloud();
    let (project, other) = (elsewhere(&cloud, "me"), elsewhere(&cloud, "another"));
    let mut holder = command(&project, &["run", "hold"]).spawn().expect("ops starts");
    until("the run has the lock", || leases(&cloud) == 1);
    until("the run has made its topic", || cloud.changes_on_the_wire() > 1);
    run(&other, &["run", "make"]).ended_with(5).says("locked by me@");
    signal("-KILL", i32::try_from(holder.id()).expect("a process id"));
    holder.wait().expect("it ends");
    run(&other, &["run", "make"]).ended_with(5).says("locked by me@");
    run(&project, &["run", "make"]).ended_with(0);
    assert_eq!(leases(&cloud), 0);
    _ = std::fs::remove_file(other.path("deploy_config.json"));
    run(&other, &["run", "make"]).ended_with(0).says("0 changes");
}

/// The journal of one machine does not know what another one has deleted; the service still knows the tokens.
#[test]
fn what_another_machine_deleted_is_made_anew() {
    let cloud = cloud();
    let (one, other) = (elsewhere(&cloud, "one"), elsewhere(&cloud, "other"));
    // The name of a queue could not be used again for a minute.
    let playbook = PLAYBOOK.replace("sqs::ensure_queue(\"log\", #{ subscribe_to: topic });\n", "");
    for project in [&one, &other] {
        project.write("playbooks/make.rhai", &playbook);
    }
    run(&one, &["run", "make"]).ended_with(0);
    one.write("playbooks/unmake.rhai", "stack(\"shared\");\nowned().delete();\n");
    run(&one, &["run", "unmake", "--delete-protected", "shared"]).ended_with(0);

    // Its groups have other ids now, so the same token asks for something else.
    run(&other, &["run", "make"]).ended_with(0).says("+ ec2 server");
    let again = run(&other, &["run", "make"]).ended_with(0);
    assert!(!again.stderr.contains("+ "), "{}", again.stderr);
    assert_eq!(running(&cloud), 1);
}

#[test]
fn a_server_that_was_terminated_by_hand_is_made_anew_with_other_values() {
    let cloud = cloud();
    let project = elsewhere(&cloud, "one");
    run(&project, &["run", "make"]).ended_with(0);
    with_clients(&cloud, async |clients| {
        let found = clients.ec2.describe_instances().send().await.expect("instances");
        let ids = found.reservations().iter().flat_map(|reservation| reservation.instances());
        let ids = ids.filter_map(|instance| instance.instance_id().map(str::to_owned)).collect();
        clients.ec2.terminate_instances().set_instance_ids(Some(ids)).send().await.expect("terminate");
    });
    let playbook =
        PLAYBOOK.replace("security_groups: [app]", "security_groups: [app], instance_type: \"t3.small\"");
    project.write("playbooks/make.rhai", &playbook);
    run(&project, &["run", "make"]).ended_with(0).says("+ ec2 server  t3.small");
    assert_eq!(running(&cloud), 1);
}

fn running(cloud: &Project) -> usize {
    with_clients(cloud, async |clients| {
        let states = ["pending", "running"].map(str::to_owned).to_vec();
        let alive =
            aws_sdk_ec2::types::Filter::builder().name("instance-state-name").set_values(Some(states));
        let found = clients.ec2.describe_instances().filters(alive.build()).send().await.expect("instances");
        found.reservations().iter().map(|reservation| reservation.instances().len()).sum()
    })
}
