//! The rollout playbook on a real OpenSSH server with a real Docker engine: images from archives, swapped and taken back.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::harness::{Ran, finish, until};
use crate::sshd::{Login, Server, may_be_root, user};
use crate::tree::files_ending_in;

/// A Docker engine of this test's own: no network of its own, no rules in the firewall, everything in a folder.
struct Docker {
    folder: tempfile::TempDir,
    engine: Child,
}

impl Docker {
    fn start() -> Self {
        for (program, package) in [("/usr/sbin/dockerd", "docker.io"), ("/bin/busybox", "busybox-static")] {
            assert!(
                Path::new(program).exists(),
                "{program} is missing: install the Debian package {package}"
            );
        }
        let folder = tempfile::Builder::new().prefix("ops-docker-").tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let log = std::fs::File::create(path("log")).expect("a log");
        let engine = Command::new("/usr/sbin/dockerd")
            .args(["--iptables=false", "--bridge=none", "--storage-driver=vfs"])
            .args(["--data-root", &path("data"), "--exec-root", &path("exec"), "--pidfile", &path("pid")])
            .args(["-H", &format!("unix://{}", path("socket"))])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("dockerd starts");
        let docker = Self { folder, engine };
        until("the Docker engine answers", || {
            let log = std::fs::read_to_string(path_of(&docker.folder, "log")).unwrap_or_default();
            assert!(!log.contains("failed to start daemon"), "the Docker engine cannot start here:\n{log}");
            docker.command(&["version"]).code == 0
        });
        docker
    }

    fn socket(&self) -> String {
        format!("unix://{}", path_of(&self.folder, "socket").display())
    }

    fn command(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new("docker");
        command.args(["-H", &self.socket()]).args(arguments).stdin(Stdio::null());
        finish(command)
    }

    /// An archive with an image whose server answers `/readyz` with its name, or never is ready.
    fn archive(&self, name: &str, port: u16, ready: bool) -> PathBuf {
        let folder = path_of(&self.folder, name);
        std::fs::create_dir_all(folder.join("www")).expect("a folder");
        std::fs::copy("/bin/busybox", folder.join("busybox")).expect("a program");
        std::fs::write(folder.join("www").join(if ready { "readyz" } else { "other" }), name)
            .expect("a page");
        let port = port.to_string();
        let dockerfile = format!(
            "FROM scratch\nCOPY busybox /busybox\nCOPY www /www\nSTOPSIGNAL SIGKILL\nENTRYPOINT [\"/busybox\", \"httpd\", \"-f\", \"-v\", \"-p\", \"127.0.0.1:{port}\", \"-h\", \"/www\"]\n"
        );
        std::fs::write(folder.join("Dockerfile"), dockerfile).expect("a Dockerfile");
        let tag = format!("test/{name}:latest");
        self.command(&["build", "-q", "-t", &tag, &folder.display().to_string()]).ended_with(0);
        let archive = folder.join("image.tar");
        self.command(&["save", "-o", &archive.display().to_string(), &tag]).ended_with(0);
        self.command(&["rmi", "-f", &tag]).ended_with(0);
        archive
    }
}

fn path_of(folder: &tempfile::TempDir, name: &str) -> PathBuf {
    folder.path().join(name)
}

impl Drop for Docker {
    fn drop(&mut self) {
        self.command(&["rm", "-f", "app-server"]);
        crate::harness::signal("-TERM", i32::try_from(self.engine.id()).expect("a process id"));
        _ = self.engine.wait();
    }
}

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
    let (first, second, broken) = (
        docker.archive("first", port, true),
        docker.archive("second", port, true),
        docker.archive("broken", port, false),
    );

    rollout(&first, &["--dry-run"]).ended_with(0);
    assert!(!folder.exists(), "a plan has changed the server");

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
