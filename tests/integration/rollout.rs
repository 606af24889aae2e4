//! The rollout playbook on a real OpenSSH server with a real Docker engine: images from archives, swapped and taken back.

use std::path::Path;
use std::process::Command;

use crate::docker::Docker;
use crate::harness::finish;
use crate::sshd::{Login, Server, may_be_root, user};
use crate::tree::files_ending_in;

#[test]
fn an_image_is_sent_started_and_taken_back_where_it_is_not_ready() {
    if !may_be_root("a Docker engine is started") {
        return;
    }
    let docker = Docker::start();
    let login = Login::with_playbooks();
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let server = Server::with(&login, &format!("SetEnv DOCKER_HOST={}", docker.socket()), &[]);
    login.knows(&[&server]);
    let folder = login.project.path("service");
    let rollout = |archive: &Path, more: &[&str]| {
        let (address, port) = (server.address(), port.to_string());
        let (archive, folder) = (archive.display().to_string(), folder.display().to_string());
        let arguments = [
            "run",
            "rollout",
            "--archive",
            &archive,
            "--host",
            &address,
            "--key",
            "id",
            "--folder",
            &folder,
            "--port",
            &port,
            "--network",
            "host",
            "--wait",
            "5",
        ];
        let mut command = login.project.command(&[&arguments, more].concat());
        command.env_remove("SSH_AUTH_SOCK").env("USER", user());
        finish(command)
    };
    let answer = || {
        let mut command = Command::new("curl");
        command.args(["--silent", "--max-time", "5", &format!("http://127.0.0.1:{port}/readyz")]);
        finish(command).stdout
    };
    let (first, second, broken) =
        (docker.archive("first", true), docker.archive("second", true), docker.archive("broken", false));

    rollout(&first, &["--dry-run"]).ended_with(0);
    assert!(!folder.exists(), "a plan has changed the server");
    login.project.write("service/env", &format!("LISTEN=127.0.0.1:{port}\n"));

    let ran = rollout(&first, &[]).ended_with(0).says("runs nothing").says("interrupted");
    assert!(ran.stdout.contains("changed  1"), "{}", ran.stdout);
    assert_eq!(answer(), "first");

    // The second run leaves the container as it is.
    let started = || {
        docker.command(&["inspect", "--format", "{{.State.StartedAt}}", "app-server"]).ended_with(0).stdout
    };
    let before = started();
    let ran = rollout(&first, &[]).ended_with(0).says("runs this image already");
    assert!(ran.stdout.contains("changed  0"), "{}", ran.stdout);
    assert_eq!(started(), before);

    rollout(&second, &[]).ended_with(0);
    assert_eq!(answer(), "second");

    rollout(&broken, &[]).ended_with(1).says("is not ready").says("went back to the previous image");
    assert_eq!(answer(), "second");

    // What the container wrote is shown after the server's name.
    let mut command = login.project.command(&["run", "logs", "--hosts", &server.address(), "--key", "id"]);
    command.env_remove("SSH_AUTH_SOCK").env("USER", user());
    finish(command).ended_with(0).says("127.0.0.1 | ").says("response:200");
}

#[test]
fn which_image_is_asked_for_before_anything_is_touched() {
    let login = Login::with_playbooks();
    let run = |arguments: &[&str]| {
        login.project.ops(&[&["run", "rollout", "--host", "a@127.0.0.1:1"], arguments].concat())
    };
    run(&[]).ended_with(1).says("which image?");
    run(&["--image", "app:latest"]).ended_with(1).says("with its digest");
    run(&["--image", "app@sha256:1", "--archive", "x.tar"]).ended_with(1).says("which image?");
}

#[test]
fn every_action_of_the_workflows_is_pinned_to_a_full_version_or_a_commit() {
    let workflows = files_ending_in(&[".yml"]);
    let lines = workflows
        .iter()
        .filter(|file| file.path.starts_with(".github/workflows/"))
        .flat_map(|file| file.text.lines().map(move |line| (&file.path, line)));
    let mut actions = 0;
    for (path, line) in lines {
        let Some(action) = line.trim_start().trim_start_matches("- ").strip_prefix("uses: ") else {
            continue;
        };
        actions += 1;
        let pin =
            action.split_whitespace().next().and_then(|word| word.split_once('@')).map_or("", |(_, pin)| pin);
        let commit = pin.len() == 40 && pin.chars().all(|c| c.is_ascii_hexdigit());
        let version = pin.strip_prefix('v').is_some_and(|version| {
            version.split('.').filter(|part| part.parse::<u32>().is_ok()).count() == 3
        });
        assert!(commit || version, "{path}: {action} may become another one overnight");
    }
    assert!(actions > 0, "no workflow uses an action");
}
