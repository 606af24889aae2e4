//! Real Docker engines, and images whose content is nothing but a small web server.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::harness::{Ran, finish, until};

/// A Docker engine of this test's own: no network of its own, no rules in the firewall, everything in a folder.
pub(crate) struct Docker {
    folder: tempfile::TempDir,
    engine: Child,
}

impl Docker {
    pub(crate) fn start() -> Self {
        let busybox = Path::new("/bin/busybox").exists();
        assert!(busybox, "/bin/busybox is missing: install the Debian package busybox-static");
        let folder = tempfile::Builder::new().prefix("ops-docker-").tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let log = std::fs::File::create(path("log")).expect("a log");
        // Beside an engine of the machine, whose containerd it may share.
        let space = folder.path().file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let engine = Command::new(dockerd())
            .args([
                "--containerd-namespace",
                &space,
                "--containerd-plugins-namespace",
                &format!("{space}-plugins"),
            ])
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

    pub(crate) fn socket(&self) -> String {
        format!("unix://{}", path_of(&self.folder, "socket").display())
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new("docker");
        command.args(["-H", &self.socket()]).args(arguments).stdin(Stdio::null());
        finish(command)
    }

    /// An archive with an image whose server listens at `$LISTEN`; one that is ready answers `/readyz` and `/<name>` with its name.
    pub(crate) fn archive(&self, name: &str, answers: Answers) -> PathBuf {
        let folder = path_of(&self.folder, name);
        std::fs::create_dir_all(folder.join("www")).expect("a folder");
        std::fs::copy("/bin/busybox", folder.join("busybox")).expect("a program");
        std::fs::write(folder.join("www").join(name), name).expect("a page");
        if answers == Answers::Ready {
            std::fs::write(folder.join("www/readyz"), name).expect("a page");
        }
        let program = match answers {
            Answers::Ready | Answers::NotFound => "httpd -f -v -p $LISTEN -h /www",
            // Its standard error is the connection: it says on the server's own that it was asked.
            Answers::Never => {
                "nc -ll -p ${LISTEN#*:} -e /busybox sh -c 'echo asked > /proc/1/fd/2; exec /busybox sleep 1000'"
            }
        };
        std::fs::write(folder.join("serve"), format!("exec /busybox {program}\n")).expect("a program");
        let dockerfile = "FROM scratch\nCOPY busybox /busybox\nCOPY serve /serve\nCOPY www /www\nSTOPSIGNAL SIGKILL\n\
                          ENTRYPOINT [\"/busybox\", \"sh\", \"/serve\"]\n";
        std::fs::write(folder.join("Dockerfile"), dockerfile).expect("a Dockerfile");
        let tag = format!("test/{name}:latest");
        self.command(&["build", "-q", "-t", &tag, &folder.display().to_string()]).ended_with(0);
        let archive = folder.join("image.tar");
        self.command(&["save", "-o", &archive.display().to_string(), &tag]).ended_with(0);
        self.command(&["rmi", "-f", &tag]).ended_with(0);
        archive
    }

    /// Waits until somebody has asked an image that is not ready whether it is.
    pub(crate) fn was_asked(&self) {
        until("the new image is asked", || {
            let said = self.command(&["logs", "app-server"]).stderr;
            said.contains("asked") || said.contains("response:404")
        });
    }
}

/// The engine's program: Debian's package has it in the one place, Docker's own in the other.
fn dockerd() -> &'static str {
    let found = ["/usr/sbin/dockerd", "/usr/bin/dockerd"].into_iter().find(|path| Path::new(path).exists());
    found.expect("dockerd is missing: install the Debian package docker.io")
}

/// What an image says when it is asked whether it is ready.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Answers {
    Ready,
    NotFound,
    /// It accepts the connection, and says nothing.
    Never,
}

fn path_of(folder: &tempfile::TempDir, name: &str) -> PathBuf {
    folder.path().join(name)
}

impl Drop for Docker {
    fn drop(&mut self) {
        self.command(&["rm", "-f", "app-server"]);
        crate::harness::signal("-TERM", i32::try_from(self.engine.id()).expect("a process id"));
        _ = self.engine.wait();
        // It leaves its network's name mounted, and with that the folder could not be deleted.
        let network = path_of(&self.folder, "exec/netns/default");
        _ = Command::new("umount").arg(network).stderr(Stdio::null()).status();
    }
}
