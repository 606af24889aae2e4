//! The application's own server between the client and PostgreSQL: its process, with the schema and the
//! accounts of the repository.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use postgres_protocol::password::scram_sha_256;

use crate::harness::{Client, SERVER_NAME, Server, certificates, eventually};
use crate::terminal::Terminal;

pub(crate) const FREE: &str = "free@example.com";
pub(crate) const PREMIUM: &str = "premium@example.com";
const PASSWORD: &str = "music-demo";
/// base64 of 32 bytes.
const IDENTITY_KEY: &str = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=";

pub(crate) struct QueryServer {
    process: Child,
    pub(crate) database: Server,
    address: String,
    settings: Vec<(&'static str, String)>,
    ca: PathBuf,
    lines: Arc<Mutex<Vec<String>>>,
}

impl QueryServer {
    /// With `settings` beside those that every server needs.
    pub(crate) fn start(settings: &[(&'static str, &str)]) -> Self {
        let database = Server::start();
        prepare(&database);
        let (authority, certificate, key) = certificates(false);
        let ca = database.file("query-server.pem", &authority);
        let mut all = vec![
            ("DATABASE_URL", format!("postgres://127.0.0.1:{}/music", database.port)),
            ("IDENTITY_KEY", IDENTITY_KEY.to_owned()),
            ("TLS_CERTIFICATE", certificate),
            ("TLS_KEY", key),
        ];
        for (variable, role) in [
            ("APP_AUTH_PASSWORD", "app_auth"),
            ("TIER_FREE_PASSWORD", "tier_free"),
            ("TIER_PREMIUM_PASSWORD", "tier_premium"),
            ("TIER_ADMIN_PASSWORD", "tier_admin"),
        ] {
            all.push((variable, password_of(role)));
        }
        all.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let lines = Arc::default();
        let (process, address) = launch(&all, "127.0.0.1:0", &lines);
        let server = Self { process, database, address, settings: all, ca, lines };
        server.becomes_ready();
        server
    }

    /// Asks it to stop, as a supervisor does; it is gone when this returns.
    pub(crate) fn drain(&mut self) {
        self.signal("-TERM");
        self.ends();
    }

    /// While a statement runs, which it lets finish.
    pub(crate) fn begin_to_drain(&self) {
        self.signal("-TERM");
        eventually("it to drain", || !self.get("/readyz").contains(" 200 "));
    }

    pub(crate) fn ends(&mut self) {
        assert!(self.process.wait().expect("it is our child").success());
    }

    /// It and its sessions are gone from one moment to the next.
    pub(crate) fn kill(&mut self) {
        self.signal("-KILL");
        self.process.wait().expect("it is our child");
    }

    /// Starts it again where it was.
    pub(crate) fn start_again(&mut self) {
        (self.process, self.address) = launch(&self.settings, &self.address, &self.lines);
        self.becomes_ready();
    }

    fn signal(&self, name: &str) {
        let done = Command::new("kill").args([name, &self.process.id().to_string()]).status();
        assert!(done.expect("kill runs").success());
    }

    fn becomes_ready(&self) {
        eventually("the query server to be ready", || self.get("/readyz").contains(" 200 "));
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }

    pub(crate) fn sessions_are_gone(&self) {
        eventually("the sessions to end", || self.get("/metrics").contains("app_server_open_sessions 0\n"));
    }

    /// Whether a line of the log or the audit, of all processes so far, has each of `parts`.
    pub(crate) fn has_said(&self, parts: &[&str]) -> bool {
        let lines = self.lines.lock().expect("no panic holds it");
        lines.iter().any(|line| parts.iter().all(|part| line.contains(part)))
    }

    /// How many audit lines have each of `parts`.
    pub(crate) fn count(&self, parts: &[&str]) -> usize {
        let lines = self.lines.lock().expect("no panic holds it");
        lines.iter().filter(|line| parts.iter().all(|part| line.contains(part))).count()
    }

    /// The client, pointed at this server with TLS.
    pub(crate) fn client<const N: usize>(&self, user: &str, arguments: [&str; N]) -> Client {
        let port = self.address.rsplit(':').next().expect("an address has a port");
        Client::new(self.database.folder(), arguments)
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", port)
            .env("PGUSER", user)
            .env("PGDATABASE", "music")
            .env("PGPASSWORD", PASSWORD)
            .env("PGSSLMODE", "verify-full")
            .env("PGSSLROOTCERT", self.ca.to_str().expect("UTF-8"))
            .argument("--server-name")
            .argument(SERVER_NAME)
    }

    pub(crate) fn terminal<const N: usize>(&self, user: &str, arguments: [&str; N]) -> Terminal {
        Terminal::open(self.client(user, arguments).env("TERM", "xterm-256color").env("NO_COLOR", "1"))
    }
}

impl Drop for QueryServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The schema, the sample data, and secrets made for this test.
pub(crate) fn prepare(database: &Server) {
    let sql = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sql");
    let mut files: Vec<PathBuf> = fs::read_dir(sql.join("migrations"))
        .expect("the migrations are in the repository")
        .map(|entry| entry.expect("the folder can be read").path())
        .collect();
    files.sort();
    files.push(sql.join("sample.sql"));
    database.psql(&["-qc", "create database music"]);
    for file in files {
        let file = file.to_str().expect("UTF-8");
        database.psql(&["-q1", "-v", "ON_ERROR_STOP=1", "-d", "music", "-f", file]);
    }
    let mut secrets = format!("select private.set_identity_key('{IDENTITY_KEY}');");
    for role in ["tier_free", "tier_premium", "tier_admin", "app_auth"] {
        let verifier = scram_sha_256(password_of(role).as_bytes());
        secrets.push_str(&format!("select private.set_tier_login('{role}', '{verifier}');"));
    }
    for account in [FREE, PREMIUM] {
        let verifier = scram_sha_256(PASSWORD.as_bytes());
        secrets.push_str(&format!("select private.set_credential('{account}', '{verifier}');"));
    }
    database.psql(&["-q", "-v", "ON_ERROR_STOP=1", "-d", "music", "-c", &secrets]);
}

fn password_of(role: &str) -> String {
    format!("{role} password")
}

/// The process, and the address that it says it listens on; what it says afterwards is added to `lines`.
fn launch(
    settings: &[(&'static str, String)],
    listen: &str,
    lines: &Arc<Mutex<Vec<String>>>,
) -> (Child, String) {
    let program = Path::new(env!("CARGO_BIN_EXE_app-client")).with_file_name("app-server");
    assert!(
        program.is_file(),
        "{} is missing: `cargo build -p app-server` with the same profile",
        program.display()
    );
    let mut command = Command::new(program);
    command.env_clear().env("LISTEN", listen).envs(settings.iter().map(|(name, value)| (name, value)));
    let mut process = command.stdout(Stdio::piped()).spawn().expect("the query server starts");
    let mut said = BufReader::new(process.stdout.take().expect("stdout is a pipe")).lines();
    let first = said.next().expect("the server says where it listens").expect("UTF-8");
    let first: serde_json::Value = serde_json::from_str(&first).expect("JSON");
    let address = first["address"].as_str().expect("the server says where it listens").to_owned();
    let lines = Arc::clone(lines);
    std::thread::spawn(move || {
        for line in said.map_while(Result::ok) {
            lines.lock().expect("no panic holds it").push(line);
        }
    });
    (process, address)
}
