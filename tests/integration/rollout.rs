//! The rollout playbook on a real OpenSSH server with a real Docker engine: images from archives, swapped and taken back.

use std::path::Path;
use std::process::Command;

use crate::docker::{Answers, Docker};
use crate::harness::{Ran, finish};
use crate::registry::Registry;
use crate::sshd::{Login, Server, may_be_root};

/// One server with an engine of its own, and a service on it.
pub(crate) struct Place {
    pub(crate) docker: Docker,
    pub(crate) login: Login,
    pub(crate) server: Server,
    pub(crate) port: u16,
}

impl Place {
    /// A server whose sessions begin with `before`, and have `lines` more in their configuration.
    pub(crate) fn start(lines: &str, before: &[&str]) -> Self {
        let docker = Docker::start();
        let login = Login::with_playbooks();
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let port = port.expect("a port").port();
        let lines = format!("SetEnv DOCKER_HOST={} {lines}", docker.socket());
        let server = Server::with(&login, &lines, before);
        login.knows(&[&server]);
        login.project.write("service/env", &format!("LISTEN=127.0.0.1:{port}\n"));
        Self { docker, login, server, port }
    }

    /// How the playbook is typed for this server.
    pub(crate) fn command(&self, image: &[&str], more: &[&str]) -> Command {
        let (address, port) = (self.server.address(), self.port.to_string());
        let folder = self.login.project.path("service").display().to_string();
        let arguments = [
            "run",
            "rollout",
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
        ];
        self.login.ops(&[&arguments, image, more].concat())
    }

    pub(crate) fn rollout(&self, archive: &Path, more: &[&str]) -> Ran {
        let archive = archive.display().to_string();
        let more = if more.contains(&"--wait") { more.to_vec() } else { [&["--wait", "60"], more].concat() };
        finish(self.command(&["--archive", &archive], &more))
    }

    /// What the service says now.
    pub(crate) fn answer(&self) -> String {
        let mut command = Command::new("curl");
        command.args(["--silent", "--max-time", "5", &format!("http://127.0.0.1:{}/readyz", self.port)]);
        finish(command).stdout
    }

    /// When the container was started, and of which image.
    pub(crate) fn started(&self) -> String {
        let about = ["inspect", "--format", "{{.State.StartedAt}} {{.Image}}", "app-server"];
        self.docker.command(&about).ended_with(0).stdout
    }
}

#[test]
fn an_image_is_sent_started_and_taken_back_where_it_is_not_ready() {
    if !may_be_root("a Docker engine is started") {
        return;
    }
    let place = Place::start("", &[]);
    let archive = |name, answers| place.docker.archive(name, answers);
    let (first, second) = (archive("first", Answers::Ready), archive("second", Answers::Ready));
    let broken = archive("broken", Answers::NotFound);

    place.rollout(&first, &["--dry-run"]).ended_with(0);
    assert!(!place.login.project.path("service/image.new").exists(), "a plan has changed the server");

    let ran = place.rollout(&first, &[]).ended_with(0).says("runs nothing");
    let ran = ran.says("One server: its clients are interrupted for 130 s at most").says("130 s more where");
    assert!(ran.stdout.contains("changed  1"), "{}", ran.stdout);
    assert_eq!(place.answer(), "first");

    // The second run leaves the container as it is.
    let before = place.started();
    let ran = place.rollout(&first, &[]).ended_with(0).says("runs this image already");
    assert!(ran.stdout.contains("changed  0"), "{}", ran.stdout);
    assert_eq!(place.started(), before);

    place.rollout(&second, &[]).ended_with(0);
    assert_eq!(place.answer(), "second");

    let ran = place.rollout(&broken, &["--wait", "15"]).ended_with(1).says("is not ready");
    ran.says("went back to the previous image");
    assert_eq!(place.answer(), "second");

    // What the container wrote is shown after the server's name.
    let command = place.login.ops(&["run", "logs", "--hosts", &place.server.address(), "--key", "id"]);
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
fn an_image_is_pulled_by_its_digest_and_nothing_else_under_that_name() {
    if !may_be_root("a Docker engine is started") {
        return;
    }
    let place = Place::start("", &[]);
    let registry = Registry::start();
    let image = |name| registry.push(&place.docker.archive(name, Answers::Ready));
    let (first, second) = (image("first"), image("second"));
    let pull = |image: &str| finish(place.command(&["--image", image], &["--wait", "60"]));

    let ran = pull(&first).ended_with(0);
    assert!(ran.stdout.contains("changed  1"), "{}", ran.stdout);
    assert_eq!(place.answer(), "first");
    assert_eq!(place.login.project.read("service/image").trim(), first);
    let before = place.started();
    pull(&first).ended_with(0).says("runs this image already");

    // What is not what its digest says is not taken, and what is not there is said to be so.
    registry.tamper(&second);
    pull(&second).ended_with(1);
    let missing = format!("{}{}", &first[..first.len() - 4], "0000");
    pull(&missing).ended_with(1).says("manifest unknown");
    assert_eq!((place.answer().as_str(), place.started()), ("first", before));
    assert_eq!(place.login.project.read("service/image").trim(), first);

    pull(&image("third")).ended_with(0);
    assert_eq!(place.answer(), "third");
}
