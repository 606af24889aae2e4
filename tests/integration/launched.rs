//! An instance that was launched: its user data is executed, in a file system of its own and with a real Docker engine, and a rollout
//! restarts the unit that it has left.
//!
//! What an instance has and this machine has not stands in for it: `dnf`, `aws`, and a `systemctl` that does with the unit what systemd does.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::docker::Answers;
use crate::harness::{Ran, finish, until};
use crate::rollout::Place;
use crate::sshd::may_be_root;
use crate::user_data::user_data;

/// What a session and the launch see in place of the machine's own folders.
const OWN: &str = "mount --bind etc /etc && mount --bind run /run && exec \"$@\"";

const SYSTEMCTL: &str = r#"#!/bin/bash
printf '%s\n' "$*" >> FOLDER/units
value() { sed -n "s/^$1=//p" /etc/systemd/system/app-server.service; }
start() { setsid $(value ExecStart) > /dev/null 2>> FOLDER/journal < /dev/null & }
case "$*" in
  "enable --now docker") [ ! -e FOLDER/no-docker ] ;;
  daemon-reload) ;;
  "enable --now app-server.service") start ;;
  "restart app-server") $(value ExecStop) > /dev/null 2>&1 || true; start ;;
  *) exit 1 ;;
esac
"#;

/// Engines of tests have no network to publish a port of.
const DOCKER: &str = r#"#!/bin/bash
words=()
for word; do
  case "$word" in --publish) word=--network ;; *:PORT) word=host ;; esac
  words+=("$word")
done
exec /usr/bin/docker "${words[@]}"
"#;

const AWS: &str = "#!/bin/sh\n[ \"$1 $2\" = 'sns publish' ] && printf '%s\\n' \"$*\" >> FOLDER/notices\n";

/// An instance before its launch.
struct Instance {
    place: Place,
    folder: PathBuf,
}

impl Instance {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("ops-instance-").tempdir().expect("a folder").keep();
        let text = folder.display().to_string();
        let before = ["unshare", "--mount", "sh", "-c", &format!("cd {text} && {OWN}"), "sh"];
        let path = format!("PATH={text}/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        let place = Place::start(&path, &before);
        let instance = Self { place, folder };
        let copied = Command::new("cp").args(["-a", "/etc"]).arg(instance.folder.join("etc")).status();
        assert!(copied.expect("cp is installed").success(), "/etc is copied");
        for folder in ["run/sshd", "bin", "launch"] {
            std::fs::create_dir_all(instance.folder.join(folder)).expect("a folder");
        }
        instance.program("bin/systemctl", SYSTEMCTL);
        instance.program("bin/docker", DOCKER);
        instance.program("bin/aws", AWS);
        instance.program("launch/dnf", "#!/bin/sh\n[ ! -e FOLDER/no-packages ]\n");
        // Nobody waits for a quarter of an hour.
        instance.program("launch/sleep", "#!/bin/sh\nexec /bin/sleep 0.01\n");
        let user_data = user_data(&instance.place.login.project, "#{}");
        instance.program("user_data", &user_data.replace("8080", &instance.place.port.to_string()));
        instance
    }

    fn program(&self, name: &str, text: &str) {
        let text = text.replace("FOLDER", &self.folder.display().to_string());
        let path = self.folder.join(name);
        std::fs::write(&path, text.replace("PORT", &self.place.port.to_string())).expect("a program");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    }

    /// Makes an image the one that the user data names.
    fn publish(&self, archive: &Path) {
        let docker = |arguments: &[&str]| self.place.docker.command(arguments).ended_with(0).stdout;
        let loaded = docker(&["load", "-q", "-i", &archive.display().to_string()]);
        docker(&["tag", loaded.trim().trim_start_matches("Loaded image: "), "app-server"]);
    }

    /// Executes the user data.
    fn launch(&self) -> Ran {
        let mut command = Command::new("unshare");
        let folder = self.folder.display();
        command.args(["--mount", "sh", "-c", OWN, "sh", "./user_data"]).current_dir(&self.folder);
        command.env("PATH", format!("{folder}/launch:{folder}/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
        command.env("DOCKER_HOST", self.place.docker.socket());
        finish(command)
    }

    fn rollout(&self, archive: &Path, wait_s: &str) -> Ran {
        let (archive, port) = (archive.display().to_string(), self.place.port.to_string());
        let address = self.place.server.address();
        let arguments = ["run", "rollout", "--host", &address, "--key", "id", "--archive", &archive];
        let more = ["--port", &port, "--wait", wait_s];
        finish(self.place.login.ops(&[&arguments[..], &more].concat()))
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("{}: {error}", self.folder.display());
        }
    }
}

#[test]
fn a_launched_instance_runs_its_service_says_so_and_a_rollout_restarts_its_unit() {
    if !may_be_root("a Docker engine is started, and folders mounted") {
        return;
    }
    let instance = Instance::new();
    let place = &instance.place;
    let archive = |name, answers| place.docker.archive(name, answers);
    instance.publish(&archive("first", Answers::Ready));

    instance.launch().ended_with(0);
    assert_eq!(place.answer(), "first");
    let notices = instance.lines("notices");
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(notices[0].contains("--subject app-server is ready "), "{notices:?}");

    let restarts = || instance.lines("units").iter().filter(|line| *line == "restart app-server").count();
    let second = archive("second", Answers::Ready);
    instance.rollout(&second, "60").ended_with(0);
    assert_eq!((place.answer().as_str(), restarts()), ("second", 1));
    instance.rollout(&second, "60").ended_with(0).says("runs this image already");
    assert_eq!(restarts(), 1);

    let broken = archive("broken", Answers::NotFound);
    instance.rollout(&broken, "15").ended_with(1).says("went back to the previous");
    assert_eq!((place.answer().as_str(), restarts()), ("second", 3));
}

#[test]
fn a_launch_that_fails_ends_there_and_only_a_failure_is_told() {
    if !may_be_root("a Docker engine is started, and folders mounted") {
        return;
    }
    let instance = Instance::new();
    let failed = || {
        let ran = instance.launch();
        assert_ne!(ran.code, 0, "{}", ran.stderr);
        let notices = instance.lines("notices");
        std::fs::write(instance.folder.join("notices"), "").expect("a file");
        assert_eq!(notices.len(), 1, "{notices:?}\n{}", ran.stderr);
        assert!(notices[0].contains("--subject app-server did not start "), "{notices:?}");
        ran
    };
    for missing in ["no-packages", "no-docker"] {
        std::fs::write(instance.folder.join(missing), "").expect("a file");
        failed();
        assert!(!instance.folder.join("etc/app-server").exists(), "it went on without: {missing}");
        std::fs::remove_file(instance.folder.join(missing)).expect("a file");
    }
    instance.publish(&instance.place.docker.archive("broken", Answers::NotFound));
    failed().says("is not ready after 15 minutes");
    until("the service is asked", || {
        instance.place.docker.command(&["logs", "app-server"]).stderr.contains("response:404")
    });
}
