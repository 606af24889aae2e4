//! A PostgreSQL of its own for each test, with TLS, and the client run against it.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::terminal::Terminal;

pub(crate) const USER: &str = "owner";
pub(crate) const PASSWORD: &str = "music:demo\\ü";
/// The name in the server's certificate.
pub(crate) const SERVER_NAME: &str = "music-app.ops.internal";

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    pub(crate) port: u16,
    /// PEM of the authority that signed the server's certificate.
    pub(crate) ca: String,
    // Dropped in this order: the server stops before its folder goes.
    process: Postgres,
    account: Account,
    folder: TempDir,
}

struct Postgres(Child);

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGQUIT: the server takes its children with it, which a kill of this process would not.
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = Command::new("kill").args(["-QUIT", &self.0.id().to_string()]).status();
            let _ = self.0.wait();
        }
    }
}

impl Server {
    pub(crate) fn start() -> Self {
        let folder =
            tempfile::Builder::new().prefix("app-client-").tempdir_in("/tmp").expect("a folder in /tmp");
        let account = Account::for_server();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("the folder is ours");
        let home = folder.path().join("postgres");
        fs::create_dir(&home).expect("the folder is ours");
        account.own(&home);
        let (ca, certificate, key) = certificates(false);
        for (name, text) in
            [("server.crt", certificate), ("server.key", key), ("password", PASSWORD.to_owned())]
        {
            let path = home.join(name);
            write_private(&path, &text);
            account.own(&path);
        }

        let data = home.join("data");
        let mut initdb = account.command("initdb");
        initdb.args([
            "--no-sync",
            "--encoding=UTF8",
            "--no-locale",
            "--auth=scram-sha-256",
            "--username",
            USER,
        ]);
        initdb.arg("--pwfile").arg(home.join("password")).arg("--pgdata").arg(&data);
        let done = initdb.output().expect("initdb runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));

        // In the file, so that a test may override it with ALTER SYSTEM.
        let files = [("ssl_cert_file", "server.crt"), ("ssl_key_file", "server.key")];
        let mut settings = "fsync = off\nssl = on\nlisten_addresses = '127.0.0.1'\n".to_owned();
        for (setting, file) in files {
            settings.push_str(&format!("{setting} = '{}'\n", home.join(file).display()));
        }
        let mut configuration =
            fs::OpenOptions::new().append(true).open(data.join("postgresql.conf")).expect("initdb made it");
        configuration.write_all(settings.as_bytes()).expect("the file is ours");

        // PostgreSQL cannot be given port 0, and another process may take the one that was free.
        for _ in 0..5 {
            let port = free_port();
            if let Some(process) = launch(&account, folder.path(), port) {
                return Self { port, ca, process, account, folder };
            }
        }
        let log = fs::read_to_string(folder.path().join("postgres.log")).unwrap_or_default();
        panic!("PostgreSQL did not start in five attempts: {log}");
    }

    /// Stops the server and starts it again where it was.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.process = launch(&self.account, self.folder.path(), self.port).expect("the port is still free");
    }

    /// The client, pointed at this server as its owner.
    pub(crate) fn client<const N: usize>(&self, arguments: [&str; N]) -> Client {
        let client = Client::new(self.folder.path(), arguments);
        client
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", &self.port.to_string())
            .env("PGUSER", USER)
            .env("PGDATABASE", "postgres")
            .env("PGPASSWORD", PASSWORD)
    }

    /// The client on a terminal, as `client` has it.
    pub(crate) fn terminal<const N: usize>(&self, arguments: [&str; N]) -> Terminal {
        Terminal::open(self.client(arguments).env("TERM", "xterm-256color").env("NO_COLOR", "1"))
    }

    /// The client on a terminal, with nothing that would give it the password.
    pub(crate) fn terminal_without_password<const N: usize>(&self, arguments: [&str; N]) -> Terminal {
        Terminal::open(self.client(arguments).without("PGPASSWORD"))
    }

    /// The client on a terminal, which knows the server but nobody to log in as.
    pub(crate) fn terminal_without_account<const N: usize>(&self, arguments: [&str; N]) -> Terminal {
        Terminal::open(self.client(arguments).without("PGPASSWORD").without("PGUSER").env("NO_COLOR", "1"))
    }

    /// Where the client runs and has its home.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What psql prints for the same statement.
    pub(crate) fn psql(&self, arguments: &[&str]) -> Vec<u8> {
        let mut psql = Command::new(binary("psql"));
        psql.args(["-X", "-h", "127.0.0.1", "-U", USER, "-d", "postgres", "-p", &self.port.to_string()]);
        let done = psql.args(arguments).env("PGPASSWORD", PASSWORD).output().expect("psql runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    }

    /// A session of psql's that has run `sql` in a transaction and keeps what it locked until this is dropped.
    pub(crate) fn hold(&self, database: &str, sql: &str) -> Held {
        let mut psql = Command::new(binary("psql"));
        psql.args([
            "-X",
            "-Atq",
            "-h",
            "127.0.0.1",
            "-U",
            USER,
            "-d",
            database,
            "-p",
            &self.port.to_string(),
        ]);
        psql.env("PGPASSWORD", PASSWORD).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = psql.spawn().expect("psql runs");
        let input = process.stdin.as_mut().expect("stdin is a pipe");
        writeln!(input, "begin; {sql}; select 'held';").expect("psql reads");
        let said = BufReader::new(process.stdout.as_mut().expect("stdout is a pipe")).lines().next();
        assert_eq!(said.expect("psql says so").expect("UTF-8"), "held");
        Held(process)
    }

    /// The server and its sessions are gone from one moment to the next.
    pub(crate) fn kill(&mut self) {
        let _ = Command::new("kill").args(["-QUIT", &self.process.0.id().to_string()]).status();
        let _ = self.process.0.wait();
    }

    /// Gives the server a certificate that has expired; the authority that signed it, in PEM.
    pub(crate) fn expire_certificate(&self) -> String {
        let (ca, certificate, key) = certificates(true);
        let home = self.folder.path().join("postgres");
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            write_private(&home.join(name), &text);
        }
        self.psql(&["-c", "select pg_reload_conf()"]);
        ca
    }

    /// PEM of an authority that has signed nothing here.
    pub(crate) fn other_authority() -> String {
        let (authority, ..) = certificates(false);
        authority
    }

    /// A file in the client's folder.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        write_private(&path, text);
        path
    }
}

/// See `Server::hold`.
pub(crate) struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        // The end of its input is the end of its session.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// A run of the client, in a folder and an environment of its own.
pub(crate) struct Client {
    pub(crate) command: Command,
    stdin: Vec<u8>,
}

/// What a run left: everything as text, since the client prints UTF-8.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Client {
    pub(crate) fn new<const N: usize>(folder: &Path, arguments: [&str; N]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_app-client"));
        command.env_clear().env("HOME", folder).current_dir(folder).args(arguments);
        Self { command, stdin: Vec::new() }
    }

    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.command.arg(argument);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    pub(crate) fn within(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Run by a shell, which says how the client left, and how it left the terminal. The client's process
    /// is in the file `client.pid`.
    pub(crate) fn in_a_shell(self) -> Self {
        self.by_shell(
            "sh -c 'echo $$ >client.pid; exec \"$0\" \"$@\"' \"$0\" \"$@\"; echo \"left with $?\"; stty -a",
        )
    }

    /// `script` starts the client with `"$0" "$@"`.
    pub(crate) fn by_shell(self, script: &str) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).arg(self.command.get_program()).args(self.command.get_args()).env_clear();
        for (name, value) in self.command.get_envs() {
            if let Some(value) = value {
                shell.env(name, value);
            }
        }
        if let Some(folder) = self.command.get_current_dir() {
            shell.current_dir(folder);
        }
        Self { command: shell, stdin: self.stdin }
    }

    pub(crate) fn stdin(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.stdin = text.into();
        self
    }

    pub(crate) fn spawn(mut self) -> Child {
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the client starts");
        let mut input = child.stdin.take().expect("stdin is a pipe");
        std::thread::spawn(move || {
            // The client may leave before it has read everything.
            let _ = input.write_all(&self.stdin);
        });
        child
    }

    pub(crate) fn output(self) -> Output {
        self.spawn().wait_with_output().expect("the client ends")
    }

    pub(crate) fn run(self) -> Run {
        let output = self.output();
        Run {
            status: output.status,
            stdout: String::from_utf8(output.stdout).expect("the client prints UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("the client prints UTF-8"),
        }
    }
}

impl Run {
    /// The run must have left with `code` and have said each of `parts` on stderr.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.status.code(), Some(code), "{self:#?}");
        for part in parts {
            assert!(self.stderr.contains(part), "expected `{part}` in {self:#?}");
        }
        assert!(!self.stderr.contains(PASSWORD) && !self.stdout.contains(PASSWORD), "{self:#?}");
    }

    /// The run must have been content; gives what it printed.
    #[track_caller]
    pub(crate) fn succeeds(self) -> String {
        assert!(self.status.success() && self.stderr.is_empty(), "{self:#?}");
        self.stdout
    }
}

/// Polls `condition` until it holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}

/// `None` if the process ended instead of answering.
fn launch(account: &Account, folder: &Path, port: u16) -> Option<Postgres> {
    let home = folder.join("postgres");
    let mut postgres = account.command("postgres");
    postgres.arg("-D").arg(home.join("data")).arg("-k").arg(&home).args(["-p", &port.to_string()]);
    let log = fs::File::create(folder.join("postgres.log")).expect("the folder is ours");
    let child = postgres.stderr(log).stdout(Stdio::null()).spawn().expect("postgres starts");
    let mut process = Postgres(child);
    becomes_ready(&mut process.0, port).then_some(process)
}

/// False if the process ended instead.
fn becomes_ready(process: &mut Child, port: u16) -> bool {
    let mut ready = false;
    eventually("PostgreSQL to accept connections", || {
        let asked = Command::new(binary("pg_isready"))
            .args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()])
            .status();
        ready = asked.is_ok_and(|status| status.success());
        ready || !matches!(process.try_wait(), Ok(None))
    });
    ready
}

/// A program of PostgreSQL, from PATH or where distributions put it.
fn binary(name: &str) -> PathBuf {
    let in_path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&in_path).collect();
    for root in ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"] {
        let versions = fs::read_dir(root).into_iter().flatten().flatten();
        folders.extend(versions.map(|version| version.path().join("bin")));
    }
    folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file()).unwrap_or_else(|| {
        panic!(
            "`{name}` is missing; install PostgreSQL: `apt install postgresql` or `brew install postgresql`"
        )
    })
}

/// PostgreSQL refuses to run as root: then an account without rights runs it.
struct Account(Option<(u32, u32)>);

impl Account {
    fn for_server() -> Self {
        let id = Command::new("id").arg("-u").output().expect("`id` runs");
        if id.stdout != b"0\n" {
            return Self(None);
        }
        let accounts = fs::read_to_string("/etc/passwd").expect("root can read the accounts");
        let find = |name: &str| {
            let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
            let mut ids = line.split(':').skip(2).map(str::parse);
            Some((ids.next()?.ok()?, ids.next()?.ok()?))
        };
        Self(Some(find("postgres").or_else(|| find("nobody")).expect("an account `postgres` or `nobody`")))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(binary(program));
        // Another account could not enter the folder that the tests run in.
        command.current_dir("/tmp");
        if let Self(Some((user, group))) = self {
            command.uid(*user).gid(*group);
        }
        command
    }

    fn own(&self, path: &Path) {
        if let Self(Some((user, group))) = self {
            chown(path, Some(*user), Some(*group)).expect("root may give files away");
        }
    }
}

fn write_private(path: &Path, text: &str) {
    fs::write(path, text).expect("the folder is ours");
    fs::set_permissions(path, Permissions::from_mode(0o600)).expect("the file is ours");
}

/// An authority, and a certificate and key that it signed for `SERVER_NAME`, all in PEM.
pub(crate) fn certificates(expired: bool) -> (String, String, String) {
    let key = KeyPair::generate().expect("a key");
    let mut authority = CertificateParams::new(Vec::new()).expect("no names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&key).expect("it signs itself").pem();
    let issuer = Issuer::new(authority, key);
    let server_key = KeyPair::generate().expect("a key");
    let mut server = CertificateParams::new(vec![SERVER_NAME.to_owned()]).expect("a name");
    if expired {
        server.not_before = rcgen::date_time_ymd(2020, 1, 1);
        server.not_after = rcgen::date_time_ymd(2020, 2, 1);
    }
    let signed = server.signed_by(&server_key, &issuer).expect("the authority signs");
    (certificate, signed.pem(), server_key.serialize_pem())
}
