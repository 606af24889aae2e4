//! A project in a temporary folder, and the real programs run in it as a user would.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::canaries::{self, Watch};
use crate::proxy::{Fate, Proxy};

/// How long anything in a test may take before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(240);

/// A project with the shipped playbooks and SQL, and a local cloud of its own.
pub(crate) struct Project {
    folder: TempDir,
    watch: Arc<Watch>,
}

/// What a program printed and how it ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Fails with all that was printed unless the program ended with `code`.
    #[track_caller]
    pub(crate) fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Fails unless stderr says `text`.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "stderr does not say {text:?}:\n{}", self.stderr);
        self
    }
}

impl Project {
    pub(crate) fn new() -> Self {
        let project = Self::empty();
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        for folder in ["playbooks", "sql"] {
            symlink(source.join(folder), project.path(folder)).expect("a link in the temporary folder");
        }
        project
    }

    /// The same with copies, which a test may change.
    pub(crate) fn copied() -> Self {
        let project = Self::empty();
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        let copied = Command::new("cp")
            .arg("-r")
            .args(["playbooks", "sql"].map(|folder| source.join(folder)))
            .arg(project.folder.path())
            .status();
        assert!(copied.expect("cp is installed").success(), "the playbooks are copied");
        project
    }

    /// A project with a playbooks folder of its own, and nothing in it.
    pub(crate) fn empty() -> Self {
        let folder = tempfile::Builder::new().prefix("ops-test-").tempdir().expect("a temporary folder");
        let watch = Watch::start(folder.path());
        Self { folder, watch }
    }

    /// What looks for its secrets where they may not be.
    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file of the project.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let linked =
            name.split('/').next().is_some_and(|first| name != first && self.path(first).is_symlink());
        assert!(!linked, "{name} would be written into this repository");
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a file has a folder"))
            .expect("a folder of the project");
        std::fs::write(path, text).expect("a file of the project");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The `ops` program in this project, with nothing of the caller's account in its environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.program(Path::new(env!("CARGO_BIN_EXE_ops")), arguments)
    }

    /// Another program, as [`command`](Self::command).
    pub(crate) fn program(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if ["AWS_", "PG", "OPS_"].iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        // No credentials in the home folder, and none from an instance.
        command.env("HOME", self.folder.path()).env("AWS_EC2_METADATA_DISABLED", "true");
        command
    }

    pub(crate) fn ops(&self, arguments: &[&str]) -> Ran {
        finish(self.command(arguments))
    }

    /// Runs a program of this project with a proxy for an account.
    pub(crate) fn through(&self, proxy: &Proxy, mut command: Command) -> Ran {
        self.watch.wire(&proxy.wire());
        command.env("AWS_ENDPOINT_URL", &proxy.endpoint).env("AWS_REGION", "us-east-1");
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ops starts");
        proxy.of(&child);
        wait(child)
    }

    /// Runs a line as somebody types it to a shell that finds the programs.
    pub(crate) fn shell(&self, line: &str) -> Ran {
        let programs = Path::new(env!("CARGO_BIN_EXE_ops")).parent().expect("a folder");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = self.program(Path::new("/bin/sh"), &["-c", line]);
        command.env("PATH", format!("{}:{path}", programs.display()));
        finish(command)
    }

    /// Runs a playbook against this project's local cloud.
    pub(crate) fn run_local(&self, playbook: &str, arguments: &[&str]) -> Ran {
        self.ops(&[&["run", playbook, "--local"], arguments].concat())
    }

    /// The rows that `user` gets for `sql` from the deployed server, as CSV without a header.
    pub(crate) fn query(&self, user: &str, sql: &str) -> Ran {
        let client = Path::new(env!("CARGO_BIN_EXE_ops")).with_file_name("app-client");
        assert!(client.exists(), "{} is missing: run `cargo build -p app-client`", client.display());
        finish(self.program(&client, &["--user", user, "--csv", "--tuples-only", "-c", sql]))
    }

    pub(crate) fn state(&self) -> Value {
        serde_json::from_str(&self.read("deploy_config.local.json")).expect("the state is JSON")
    }

    fn cloud(&self) -> Value {
        serde_json::from_str(&self.read(".ops/local/cloud.json")).expect("cloud.json is JSON")
    }

    /// Where the local cloud answers.
    pub(crate) fn endpoint(&self) -> String {
        self.cloud()["endpoint"].as_str().expect("an endpoint").to_owned()
    }

    /// Starts the local cloud with a proxy before it, so that what runs send to it is searched for secrets.
    pub(crate) fn watch_the_local_cloud(&self) {
        self.ops(&["local", "up"]).ended_with(0);
        let proxy = Proxy::start(&self.endpoint(), |_| Fate::Passes);
        self.watch.wire(&proxy.wire());
        let cloud = self.read(".ops/local/cloud.json");
        self.write(".ops/local/cloud.json", &cloud.replace(&self.endpoint(), &proxy.endpoint));
    }

    pub(crate) fn supervisor(&self) -> i32 {
        self.cloud()["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("a process id")
    }

    /// One of the local cloud's own requests.
    pub(crate) fn local(&self, path: &str) -> Value {
        let address = self.endpoint().trim_start_matches("http://").to_owned();
        let mut stream = TcpStream::connect(&address).expect("the local cloud answers");
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")
            .expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let body = answer.split_once("\r\n\r\n").expect("an HTTP answer").1;
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }

    /// Makes the local cloud's next answer to an operation the error `code`.
    pub(crate) fn fault(&self, service: &str, operation: &str, code: &str) {
        let address = self.endpoint().replace("http://", "");
        let body = format!(r#"{{"service":"{service}","operation":"{operation}","code":"{code}"}}"#);
        let mut stream = TcpStream::connect(&address).expect("the local cloud answers");
        let request = format!(
            "POST /_local/faults HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("the fault is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the fault is answered");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// How many changing calls the local cloud has seen since it was started: counted on the wire.
    pub(crate) fn changes_on_the_wire(&self) -> u64 {
        self.local("/_local/calls")["mutating"].as_u64().expect("a number")
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let leaked = self.watch.leaks();
        // Its data may lie outside the folder, and its processes outlive the test.
        if self.path(".ops/local").exists() {
            let reset = self.ops(&["local", "reset", "--yes"]);
            if reset.code != 0 {
                eprintln!(
                    "the local cloud of {} was not reset: {}",
                    self.folder.path().display(),
                    reset.stderr
                );
            }
        }
        // Said last, so that nothing is left running, and only where it hides no other failure.
        assert!(leaked.is_empty() || std::thread::panicking(), "secrets leaked:\n{}", leaked.join("\n"));
    }
}

/// Runs a program to its end, or kills it when it hangs.
pub(crate) fn finish(mut command: Command) -> Ran {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    wait(child)
}

/// Waits for a program whose output is piped.
pub(crate) fn wait(mut child: std::process::Child) -> Ran {
    let read = |mut pipe: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            pipe.read_to_end(&mut text).expect("output can be read");
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let stdout = read(Box::new(child.stdout.take().expect("a pipe")));
    let stderr = read(Box::new(child.stderr.take().expect("a pipe")));
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("the program can be waited for") {
            break status;
        }
        if started.elapsed() > PATIENCE {
            child.kill().expect("the program can be killed");
        }
        canaries::processes();
        std::thread::sleep(Duration::from_millis(5));
    };
    let [stdout, stderr] = [stdout, stderr].map(|reader| reader.join().expect("output was read"));
    canaries::printed(&stdout);
    canaries::printed(&stderr);
    canaries::ended();
    Ran { code: status.code().unwrap_or(-1), stdout, stderr }
}

/// Polls until `done`, or fails with `what`.
#[track_caller]
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < PATIENCE, "{what}: not within {} s", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Sends a signal, as `kill` does.
pub(crate) fn signal(name: &str, process: i32) {
    let status = Command::new("kill").args([OsStr::new(name), OsStr::new(&process.to_string())]).status();
    assert!(status.expect("kill is installed").success(), "kill {name} {process}");
}
