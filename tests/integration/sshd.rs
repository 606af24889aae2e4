//! Real OpenSSH servers on loopback: each with its own host key, and each connection in a process of its own (`sshd -i`), so that a
//! test can cut it, freeze it, or put it behind a limit.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use crate::harness::{Project, Ran, finish};

/// A server, and what is connected to it.
pub(crate) struct Server {
    folder: TempDir,
    pub(crate) port: u16,
    connections: Arc<Mutex<Vec<(TcpStream, Child)>>>,
    ended: Arc<AtomicBool>,
}

impl Server {
    /// A server that lets in whoever has the key of [`Login`].
    pub(crate) fn start(login: &Login) -> Self {
        Self::with(login, "", &[])
    }

    /// The same with more lines in its configuration, and with words before the command that serves a connection.
    pub(crate) fn with(login: &Login, lines: &str, before: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("ops-sshd-").tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        make_key(Path::new(&path("host_key")), "");
        let public = std::fs::read(login.key().with_extension("pub")).expect("a public key");
        std::fs::write(path("authorized_keys"), public).expect("the authorized keys");
        let configuration = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin prohibit-password\nUseDNS no\nPidFile none\nLogLevel DEBUG2\n{lines}\n",
            path("host_key"),
            path("authorized_keys"),
        );
        std::fs::write(path("sshd_config"), configuration).expect("a configuration");
        // Where root starts it, it wants a folder to lock its first stage into.
        _ = std::fs::create_dir_all("/run/sshd");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (connections, ended) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let mut words: Vec<String> = before.iter().map(|word| (*word).to_owned()).collect();
        words.extend([sshd(), "-i".into(), "-f".into(), path("sshd_config"), "-E".into(), path("log")]);
        let (accepted, over) = (connections.clone(), ended.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let stream = stream.expect("a connection");
                let end = || Stdio::from(OwnedFd::from(stream.try_clone().expect("a socket")));
                let child = Command::new(&words[0])
                    .args(&words[1..])
                    .stdin(end())
                    .stdout(end())
                    .stderr(Stdio::null())
                    .spawn()
                    .expect("sshd starts");
                accepted.lock().expect("no test thread panicked").push((stream, child));
            }
        });
        Self { folder, port, connections, ended }
    }

    /// `user@127.0.0.1:port`
    pub(crate) fn address(&self) -> String {
        format!("{}@127.0.0.1:{}", user(), self.port)
    }

    /// The public host key, as in its file.
    pub(crate) fn host_key(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("host_key.pub"))
            .expect("a public key")
            .trim()
            .to_owned()
    }

    /// The line that a `known_hosts` file has of it.
    pub(crate) fn known(&self) -> String {
        format!("[127.0.0.1]:{} {}\n", self.port, self.host_key())
    }

    /// Lets in one more key.
    fn admit(&self, public: &str) {
        let path = self.folder.path().join("authorized_keys");
        let keys = std::fs::read_to_string(&path).expect("the authorized keys");
        std::fs::write(path, keys + public).expect("the authorized keys");
    }

    /// What it wrote about its connections.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Fails if a client has tried to log in.
    #[track_caller]
    pub(crate) fn was_offered_nothing(&self) {
        let log = self.log();
        assert!(log.contains("SSH2_MSG_KEX") || log.contains("kex"), "the server logs nothing:\n{log}");
        assert!(!log.contains("userauth"), "{log}");
    }

    /// Lets nobody in any more.
    pub(crate) fn refuse(&self) {
        self.ended.store(true, Ordering::SeqCst);
        _ = TcpStream::connect(("127.0.0.1", self.port));
    }

    /// Cuts every connection, as a broken line does.
    pub(crate) fn cut(&self) {
        for (stream, _) in self.connections.lock().expect("no test thread panicked").iter() {
            _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Stops every process that serves a connection, so that the server is there and says nothing.
    pub(crate) fn freeze(&self) {
        for (_, child) in self.connections.lock().expect("no test thread panicked").iter() {
            let id = i32::try_from(child.id()).expect("a process id");
            for process in std::iter::once(id).chain(children(id)) {
                crate::harness::signal("-STOP", process);
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.refuse();
        for (stream, child) in self.connections.lock().expect("no test thread panicked").iter_mut() {
            _ = stream.shutdown(Shutdown::Both);
            for process in children(i32::try_from(child.id()).expect("a process id")) {
                _ = Command::new("kill").args(["-KILL", &process.to_string()]).stderr(Stdio::null()).status();
            }
            _ = child.kill();
            _ = child.wait();
        }
    }
}

/// The processes that `parent` has started.
fn children(parent: i32) -> Vec<i32> {
    let text = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

/// A user with a key, who runs playbooks in a project.
pub(crate) struct Login {
    pub(crate) project: Project,
}

impl Login {
    pub(crate) fn new() -> Self {
        Self::of(Project::empty())
    }

    /// The same in a project with the shipped playbooks.
    pub(crate) fn with_playbooks() -> Self {
        Self::of(Project::new())
    }

    fn of(project: Project) -> Self {
        let login = Self { project };
        make_key(&login.key(), "");
        login
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.project.path("id")
    }

    /// Writes the user's `known_hosts`.
    pub(crate) fn knows(&self, servers: &[&Server]) {
        let lines: String = servers.iter().map(|server| server.known()).collect();
        self.project.write(".ssh/known_hosts", &lines);
    }

    /// A playbook with sessions `server`, `other` .. on the servers, whose host keys are known.
    pub(crate) fn script(&self, servers: &[&Server], text: &str) -> String {
        self.knows(servers);
        let names = ["server", "other", "third"];
        let mut script = String::new();
        for (name, server) in names.iter().zip(servers) {
            script += &format!("let {name} = ssh::connect(\"{}\", #{{ key: \"id\" }});\n", server.address());
        }
        script + text
    }

    /// Puts servers behind instances of a stack that are launched later: names them to the local cloud, each with the server that it is
    /// logged in to and the one whose host key its console shows, and lets the stack's key in.
    pub(crate) fn put_behind(&self, stack: &str, instances: &[(&str, &Server, &Server)]) {
        let text = format!("stack(\"{stack}\"); print(ec2::ensure_key_pair(\"key\").path);");
        let path = finish(self.command(&text, &["--local", "--yes"])).ended_with(0).stdout;
        let mut public = Command::new("ssh-keygen");
        public.arg("-y").arg("-f").arg(self.project.path(path.trim()));
        let public = finish(public).ended_with(0).stdout;
        let mut servers = serde_json::Map::new();
        for (name, server, shown) in instances {
            server.admit(&public);
            let entry = serde_json::json!({ "login": server.address(), "host_key": shown.host_key() });
            servers.insert(format!("{stack}-{name}"), entry);
        }
        self.project.write(".ops/local/sshd.json", &serde_json::Value::from(servers).to_string());
    }

    /// Runs a text as a playbook.
    pub(crate) fn run(&self, text: &str) -> Ran {
        finish(self.command(text, &[]))
    }

    pub(crate) fn command(&self, text: &str, arguments: &[&str]) -> Command {
        self.project.write("it.rhai", text);
        self.ops(&[&["run", "it.rhai"], arguments].concat())
    }

    /// The `ops` program as this user runs it.
    pub(crate) fn ops(&self, arguments: &[&str]) -> Command {
        let mut command = self.project.command(arguments);
        command.env_remove("SSH_AUTH_SOCK").env("USER", user());
        command
    }
}

/// Makes an Ed25519 key and its `.pub`.
pub(crate) fn make_key(path: &Path, passphrase: &str) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-C", "test", "-N", passphrase, "-f"])
        .arg(path)
        .status();
    let made = made.expect("ssh-keygen is missing: install the Debian package openssh-client");
    assert!(made.success(), "ssh-keygen -f {}", path.display());
}

/// Who runs the tests: the servers let nobody else in.
pub(crate) fn user() -> String {
    let output = Command::new("id").arg("-un").output().expect("id is installed");
    String::from_utf8(output.stdout).expect("a user's name").trim().to_owned()
}

/// Whether a test may do what only root can: where it may not, it says so aloud, and with `CI=true` it fails.
pub(crate) fn may_be_root(what: &str) -> bool {
    if user() == "root" {
        return true;
    }
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!ci, "only as root {what}, and with CI=true nothing is skipped: run the tests as root");
    eprintln!("SKIPPED: only as root {what}; run the tests as root to have this one");
    false
}

/// The server's program; it wants to be called by its whole path.
fn sshd() -> String {
    let found = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"]
        .into_iter()
        .find(|path| Path::new(path).exists());
    found.expect("sshd is missing: install the Debian package openssh-server").to_owned()
}
