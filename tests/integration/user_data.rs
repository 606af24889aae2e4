//! What an instance executes at its launch: sound shell, small enough, without secrets, and a start that hands every value on as it is.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use aws_sdk_ec2::types::InstanceAttributeName;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ops::clients::aws::{Clients, Target};

use crate::harness::{Project, finish};

/// The user data of the service `app-server` with this environment, as the local cloud got it.
pub(crate) fn user_data(project: &Project, env: &str) -> String {
    project.write(
        "it.rhai",
        &r#"
        stack("boot");
        secrets::set("server/tls_key", "PEM-CANARY-1");
        let server = ec2::ensure_instance("server", #{ service: #{
            name: "app-server", image: "app-server", port: 8080, health: "/readyz",
            notice_topic: "arn:aws:sns:us-east-1:123456789012:boot-alerts",
            env: ENV,
        } });
        print(server.id);
        "#
        .replace("ENV", env),
    );
    let id = project.ops(&["run", "it.rhai", "--local", "--yes"]).ended_with(0).stdout;
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let encoded = runtime.block_on(async {
        let target = Target::Local { endpoint: project.endpoint() };
        let clients = Clients::connect(&target, None).await.expect("the clients connect");
        let asked = clients.ec2.describe_instance_attribute().instance_id(id.trim());
        let answer = asked.attribute(InstanceAttributeName::UserData).send().await.expect("the user data");
        answer.user_data().and_then(|data| data.value()).expect("a value").to_owned()
    });
    String::from_utf8(STANDARD.decode(encoded).expect("base64")).expect("the user data is text")
}

#[test]
fn user_data_is_sound_and_holds_no_secret_and_its_start_hands_values_on_as_they_are() {
    let project = Project::new();
    let env = r#"#{ GREETING: "it's $(touch x) `y` \"z\"", TLS_KEY: secrets::reference("server/tls_key") }"#;
    let text = user_data(&project, env);
    assert!(text.len() < 16 * 1024, "{} bytes", text.len());
    assert!(!text.contains("PEM-CANARY-1") && !text.contains("AKIA"), "{text}");
    project.write("user_data.sh", &text);
    let start = text
        .split("<<'START'\n")
        .nth(1)
        .and_then(|rest| rest.split("\nSTART\n").next())
        .expect("a start script");
    let start = start
        .replace("/run/", &format!("{}/", project.path("").display()))
        .replace("/etc/app-server/", &format!("{}/", project.path("").display()));
    project.write("start", &start);
    assert!(
        finish({
            let mut command = Command::new("shellcheck");
            command.arg("--version");
            command
        })
        .code
            == 0,
        "shellcheck is missing: install the Debian package shellcheck"
    );
    for file in ["user_data.sh", "start"] {
        let mut command = Command::new("shellcheck");
        command.arg(project.path(file));
        let ran = finish(command);
        assert_eq!(ran.code, 0, "{file}: {}", ran.stdout);
    }

    // Stands in for the AWS CLI and the engine: the one gives a certificate of many lines, the other writes down what it is given.
    project.write("bin/aws", "#!/bin/sh\nprintf -- '-----BEGIN-----\\na b\\n-----END-----\\n'\n");
    project.write("bin/docker", "#!/bin/bash\n[ \"$1\" = rm ] || printf '%s\\n' \"$@\" \"GREETING=$GREETING\" \"TLS_KEY=$TLS_KEY\" \"LISTEN=$LISTEN\"\n");
    project.write("image", "registry/app@sha256:1\n");
    for file in ["bin/aws", "bin/docker", "start"] {
        std::fs::set_permissions(project.path(file), std::fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    let path = format!("{}:{}", project.path("bin").display(), std::env::var("PATH").expect("a PATH"));
    let mut command = Command::new(project.path("start"));
    command.arg("--detach").env("PATH", path).stdin(Stdio::null());
    let ran = finish(command).ended_with(0);
    assert_eq!(
        ran.stdout,
        "run\n--detach\n--name\napp-server\n--publish\n8080:8080\n--env\nLISTEN\n--env\nGREETING\n--env\nTLS_KEY\nregistry/app@sha256:1\n\
         GREETING=it's $(touch x) `y` \"z\"\nTLS_KEY=-----BEGIN-----\na b\n-----END-----\nLISTEN=0.0.0.0:8080\n"
    );
    let environment = std::fs::metadata(project.path("app-server.env")).expect("an environment file");
    assert_eq!(environment.permissions().mode() & 0o777, 0o600);
    assert!(!project.path("x").exists());
}

#[test]
fn a_secret_in_the_environment_of_a_service_is_refused_before_anything_is_launched() {
    let project = Project::new();
    for value in [
        "\"AKIA\" + \"ABCDEFGHIJKLMNOP\"",
        "\"ghp\" + \"_0123456789abcdef0123\"",
        "\"postgres\" + \"://app:word@db.internal/music\"",
    ] {
        let text = format!(
            "stack(\"boot\");\nservice(#{{ name: \"app-server\", image: \"app-server\", port: 8080, health: \"/readyz\", env: #{{ KEY: {value} }} }});\n"
        );
        project.write("it.rhai", &text);
        let ran = project.ops(&["run", "it.rhai", "--local", "--yes"]).ended_with(1);
        assert!(ran.stderr.contains("the value of `KEY` is a secret"), "{value}: {}", ran.stderr);
    }
}
