//! Whose credentials a run uses: those of the environment, or of the profile that is named.

use std::process::{Command, Stdio};

use crate::faults::open;
use crate::harness::{Project, Ran, wait};
use crate::interop::Moto;
use crate::proxy::Proxy;

const CONFIG: &str = "[profile lab]
region = us-east-2
aws_access_key_id = PROFILEKEY
aws_secret_access_key = profile
";

fn project() -> Project {
    let project = Project::empty();
    project.write(
        "playbooks/topic.rhai",
        "stack(\"who\");\nprint(aws::identity().region);\nsns::ensure_topic(\"t\");\n",
    );
    project.write("aws-config", CONFIG);
    project
}

fn run(project: &Project, proxy: &Proxy, arguments: &[&str], environment: impl Fn(&mut Command)) -> Ran {
    let mut command = project.command(&[&["run", "topic", "--yes"], arguments].concat());
    command.env("AWS_ENDPOINT_URL", &proxy.endpoint).env("AWS_CONFIG_FILE", project.path("aws-config"));
    command.env("AWS_SHARED_CREDENTIALS_FILE", project.path("none"));
    environment(&mut command);
    wait(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ops starts"))
}

fn keys(command: &mut Command) {
    command.env("AWS_ACCESS_KEY_ID", "ENVIRONMENTKEY").env("AWS_SECRET_ACCESS_KEY", "environment");
}

fn signed_by(proxy: &Proxy) -> Vec<String> {
    let mut keys: Vec<String> = proxy.calls().into_iter().map(|(call, _)| call.access_key).collect();
    keys.dedup();
    keys
}

#[test]
fn a_profile_that_is_named_wins_over_keys_in_the_environment() {
    let moto = Moto::start();
    let proxy = open(&moto);
    let ran = run(&project(), &proxy, &["--profile", "lab"], keys).ended_with(0);
    assert_eq!(ran.stdout, "us-east-2\n");
    assert_eq!(signed_by(&proxy), ["PROFILEKEY"]);
}

#[test]
fn without_a_profile_by_name_the_environment_is_looked_at_first() {
    let moto = Moto::start();
    let proxy = open(&moto);
    let from_environment = |command: &mut Command| {
        keys(command);
        command.env("AWS_PROFILE", "lab");
    };
    run(&project(), &proxy, &["--region", "us-east-1"], from_environment).ended_with(0);
    assert_eq!(signed_by(&proxy), ["ENVIRONMENTKEY"]);
}

#[test]
fn a_profile_that_does_not_exist_is_named() {
    let moto = Moto::start();
    let proxy = open(&moto);
    let ran = run(&project(), &proxy, &["--profile", "nope"], |_| {}).ended_with(1);
    assert!(
        ran.stderr.contains("nope") && ran.stderr.contains("no usable AWS credentials"),
        "{}",
        ran.stderr
    );
    assert!(proxy.calls().is_empty());
}
