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

    pub(crate) fn socket(&self) -> String {
        format!("unix://{}", path_of(&self.folder, "socket").display())
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new("docker");
        command.args(["-H", &self.socket()]).args(arguments).stdin(Stdio::null());
        finish(command)
    }

    /// An archive with an image whose server answers `/readyz` with its name at `$LISTEN`, or never is ready.
    pub(crate) fn archive(&self, name: &str, ready: bool) -> PathBuf {
        let folder = path_of(&self.folder, name);
        std::fs::create_dir_all(folder.join("www")).expect("a folder");
        std::fs::copy("/bin/busybox", folder.join("busybox")).expect("a program");
        std::fs::write(folder.join("www").join(if ready { "readyz" } else { "other" }), name)
            .expect("a page");
        let dockerfile = "FROM scratch\nCOPY busybox /busybox\nCOPY www /www\nSTOPSIGNAL SIGKILL\n\
                          ENTRYPOINT [\"/busybox\", \"sh\", \"-c\", \"exec /busybox httpd -f -v -p $LISTEN -h /www\"]\n";
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
