//! Starts a supervisor in a folder of its own, runs boto3 scripts against it, and stops it again.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub(crate) struct Cloud {
    folder: TempDir,
    process: Option<Child>,
}

impl Cloud {
    pub(crate) fn start() -> Cloud {
        let mut cloud = Cloud { folder: tempfile::tempdir().expect("a temporary folder"), process: None };
        cloud.restart();
        cloud
    }

    /// Starts the supervisor (again) and waits until it answers.
    pub(crate) fn restart(&mut self) {
        let service = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/service.py");
        let image = format!("web={} {}", python().display(), service.display());
        let log = std::fs::File::options().append(true).create(true).open(self.log()).expect("a log file");
        let process = Command::new(supervisor())
            .arg(self.path())
            .arg(image)
            .arg("broken=false")
            .arg("silent=sleep 1000")
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the supervisor starts");
        self.process = Some(process);
        wait_for("the supervisor to answer", || {
            local_cloud::running(&self.path()).expect("readable").is_some()
        });
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("local")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("supervisor.log")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().expect("a started supervisor").id()
    }

    pub(crate) fn endpoint(&self) -> String {
        local_cloud::running(&self.path()).expect("readable").expect("a running supervisor").endpoint
    }

    pub(crate) fn supervisor_log(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// `kill -9`: no chance to clean up.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("the supervisor can be killed");
            process.wait().expect("the supervisor is gone");
        }
    }

    /// The clean way out, as `ops local down` takes it.
    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let stopped = Command::new("kill").arg(process.id().to_string()).status().expect("kill runs");
            assert!(stopped.success());
            wait_for("the supervisor to stop", || process.try_wait().expect("a child").is_some());
        }
    }

    /// Runs a boto3 script behind `client.py`; what it prints comes back, what it raises fails the test.
    pub(crate) fn python(&self, script: &str) -> String {
        let client = include_str!("client.py");
        let output = Command::new(python())
            .arg("-c")
            .arg(format!("{client}\n{script}"))
            .env("ENDPOINT", self.endpoint())
            .env("FOLDER", self.path())
            .output()
            .expect("python runs");
        assert!(
            output.status.success(),
            "{}{}\n--- supervisor\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            self.supervisor_log()
        );
        String::from_utf8_lossy(&output.stdout).trim().to_string()
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        } else if let Some(mut process) = self.process.take() {
            let _ = Command::new("kill").arg(process.id().to_string()).status();
            let _ = process.wait();
        }
        let _ = local_cloud::reset(&self.path());
    }
}

pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "waited 60 s for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn target() -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    test.parent().and_then(Path::parent).expect("target/debug/deps").to_path_buf()
}

fn supervisor() -> PathBuf {
    let path = target().join("examples/serve");
    assert!(
        path.exists(),
        "{} is missing: build it with `cargo build -p local-cloud --examples`",
        path.display()
    );
    path
}

/// Python with boto3, in a virtual environment that the first test makes.
fn python() -> PathBuf {
    static MAKING: Mutex<()> = Mutex::new(());
    let _one = MAKING.lock();
    let folder = target().join("local-cloud-python");
    let python = folder.join("bin/python");
    let ready = folder.join("ready");
    // Tests may run in several processes: one makes it, the others wait for the mark.
    let lock = std::fs::File::create(target().join("local-cloud-python.lock")).expect("a lock file");
    lock.lock().expect("the lock");
    if !ready.exists() {
        let run = |program: &Path, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output();
            let succeeded = output.as_ref().is_ok_and(|output| output.status.success());
            assert!(
                succeeded,
                "the tests need Python with boto3: install it with `apt-get install -y python3-venv` (or your system's \
                 Python 3) and allow access to PyPI; {output:?}"
            );
        };
        run(Path::new("python3"), &["-m", "venv", &folder.to_string_lossy()]);
        run(&python, &["-m", "pip", "install", "--quiet", "boto3>=1.40,<2"]);
        std::fs::write(&ready, "").expect("the mark");
    }
    python
}
