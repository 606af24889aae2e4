//! Starts a PostgreSQL cluster and a query server of the test's own, and stops them. Every test has both to itself: roles, which
//! some tests attack, belong to the whole cluster.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use postgres_protocol::password::scram_sha_256;
use tokio_postgres::{Client, NoTls};

pub(crate) const PASSWORD: &str = "music-demo";
pub(crate) const FREE: &str = "free@example.com";
pub(crate) const PREMIUM: &str = "premium@example.com";
pub(crate) const OTHER_PREMIUM: &str = "juno@example.com";
pub(crate) const ADMIN: &str = "admin@example.com";
/// base64 of 32 bytes.
const IDENTITY_KEY: &str = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=";
pub(crate) const SERVER_NAME: &str = "music-app.ops.internal";

/// Looks every 20 ms whether something is so, and fails the test when it is not within 20 s.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "still not so after 20 s: {what}");
        sleep(Duration::from_millis(20));
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The folder of PostgreSQL's server programs, newest first.
fn postgres_programs() -> PathBuf {
    let mut candidates: Vec<PathBuf> = ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"]
        .iter()
        .filter_map(|parent| fs::read_dir(parent).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path().join("bin")))
        .collect();
    candidates.sort();
    candidates.reverse();
    candidates.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    candidates
        .into_iter()
        .find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file())
        .expect("PostgreSQL 15 or later is needed: apt-get install postgresql, or brew install postgresql@17")
}

/// PostgreSQL refuses to run as root: then it runs as `postgres` or `nobody`.
fn unprivileged() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse::<u32>().ok()
    };
    (id(&["-u"]) == Some(0)).then(|| {
        ["postgres", "nobody"].iter().find_map(|user| Some((id(&["-u", user])?, id(&["-g", user])?))).unwrap()
    })
}

/// One of PostgreSQL's server programs.
fn postgres_command(program: &str) -> Command {
    let mut command = Command::new(postgres_programs().join(program));
    if let Some((uid, gid)) = unprivileged() {
        command.uid(uid).gid(gid);
    }
    command.current_dir("/").env("LC_ALL", "C").stdin(Stdio::null());
    command
}

fn serve(folder: &Path, port: u16) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap();
    let data = folder.join("data");
    postgres_command("postgres")
        .arg("-D")
        .arg(&data)
        .args(["-c", &format!("port={port}"), "-c", "listen_addresses=127.0.0.1"])
        .args(["-c", "fsync=off", "-c", "ssl=on", "-c", "max_connections=60"])
        .args(["-c", &format!("unix_socket_directories={}", data.display())])
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

pub(crate) fn signal(process: u32, name: &str) {
    assert!(Command::new("kill").args([format!("-{name}"), process.to_string()]).status().unwrap().success());
}

pub(crate) struct Postgres {
    process: Child,
    folder: tempfile::TempDir,
    pub(crate) port: u16,
}

impl Postgres {
    /// A cluster with an empty database `music`, whose owner is not a superuser.
    pub(crate) async fn start() -> Self {
        let user = unprivileged();
        let folder = tempfile::Builder::new().prefix("music").tempdir_in("/tmp").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        if let Some((uid, gid)) = user {
            chown(&data, Some(uid), Some(gid)).unwrap();
        }
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
        let made = postgres_command("initdb")
            .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync", "-D"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let (chain, key) = certificate(&folder.path().join("ca.pem"));
        fs::write(data.join("server.crt"), chain).unwrap();
        fs::write(data.join("server.key"), key).unwrap();
        if let Some((uid, gid)) = user {
            chown(data.join("server.key"), Some(uid), Some(gid)).unwrap();
        }
        fs::set_permissions(data.join("server.key"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(data.join("pg_hba.conf"), "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
            .unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let postgres = Self { process: serve(folder.path(), port), folder, port };
        let superuser = postgres.answering().await;
        superuser.batch_execute("create role music_owner login createrole createdb").await.unwrap();
        superuser.batch_execute("create database music owner music_owner").await.unwrap();
        postgres
    }

    /// The superuser's session, once there can be one.
    async fn answering(&self) -> Client {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match self.try_connect("postgres", "postgres").await {
                Ok(client) => break client,
                Err(error) => assert!(Instant::now() < deadline, "{error}: {}", self.log()),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops, whatever its sessions do, and starts again.
    pub(crate) async fn restart(&mut self) {
        signal(self.process.id(), "INT");
        assert!(self.process.wait().unwrap().success());
        self.process = serve(self.folder.path(), self.port);
        self.answering().await;
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The certificate that signed the database's own, which is for `localhost`.
    pub(crate) fn ca_pem(&self) -> String {
        fs::read_to_string(self.folder.path().join("ca.pem")).unwrap()
    }

    fn socket_folder(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) async fn try_connect(
        &self,
        user: &str,
        database: &str,
    ) -> Result<Client, tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config.host_path(self.socket_folder()).port(self.port).user(user).dbname(database);
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// The owner of the database, past the query server.
    pub(crate) async fn owner(&self) -> Client {
        self.try_connect("music_owner", "music").await.unwrap()
    }

    pub(crate) async fn superuser(&self) -> Client {
        self.try_connect("postgres", "music").await.unwrap()
    }

    pub(crate) async fn migrate(&self) {
        self.migrate_as(&mut self.owner().await).await;
    }

    pub(crate) async fn migrate_as(&self, owner: &mut Client) {
        let mut files: Vec<_> = fs::read_dir(repository().join("sql/migrations"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        for file in files {
            let transaction = owner.transaction().await.unwrap();
            let applied = transaction.batch_execute(&fs::read_to_string(&file).unwrap()).await;
            assert!(applied.is_ok(), "{}: {applied:?}", file.display());
            transaction.commit().await.unwrap();
        }
    }

    /// Sample data, and the secrets that belong to it.
    pub(crate) async fn fill(&self) {
        let owner = self.owner().await;
        let sample = fs::read_to_string(repository().join("sql/sample.sql")).unwrap();
        owner.batch_execute(&sample).await.unwrap();
        for role in ["tier_free", "tier_premium", "tier_admin", "app_auth"] {
            let verifier = scram_sha_256(format!("{role} password").as_bytes());
            owner
                .execute("select private.set_tier_login($1::text::name, $2)", &[&role, &verifier])
                .await
                .unwrap();
        }
        owner.execute("select private.set_identity_key($1)", &[&IDENTITY_KEY]).await.unwrap();
        let verifier = scram_sha_256(PASSWORD.as_bytes());
        for email in [FREE, PREMIUM, OTHER_PREMIUM, ADMIN] {
            owner.execute("select private.set_credential($1, $2)", &[&email, &verifier]).await.unwrap();
        }
    }

    /// Grants admins temporary tables, and declares it, as an operator may.
    pub(crate) async fn grant_temporary_tables(&self) {
        let grant = "insert into private.declared_grant values ('tier_admin', 'TEMPORARY', 'this database');
                     grant temp on database music to tier_admin";
        self.superuser().await.batch_execute(grant).await.expect("granted");
    }

    /// All that the cluster holds: roles and their settings, schema, rows, large objects.
    pub(crate) fn dump(&self) -> String {
        let output = Command::new(postgres_programs().join("pg_dumpall"))
            .args(["-U", "postgres", "-p", &self.port.to_string(), "-h"])
            .arg(self.socket_folder())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let dump = String::from_utf8(output.stdout).unwrap();
        // Newer pg_dump brackets its output with a random word.
        dump.lines()
            .filter(|line| !line.contains("restrict "))
            .fold(String::new(), |dump, line| dump + line + "\n")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Immediate shutdown: nothing of it is kept.
        let _ = Command::new("kill").args(["-QUIT", &self.process.id().to_string()]).status();
        let _ = self.process.wait();
    }
}

pub(crate) struct Server {
    process: Child,
    pub(crate) address: SocketAddr,
    lines: Arc<Mutex<Vec<serde_json::Value>>>,
    /// Whether somebody reads the server's stdout.
    is_read: Arc<AtomicBool>,
    folder: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start(postgres: &Postgres) -> Self {
        Self::start_with(postgres, &[])
    }

    pub(crate) fn start_with(postgres: &Postgres, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (chain, key) = certificate(&folder.path().join("ca.pem"));
        let mut process = Command::new(env!("CARGO_BIN_EXE_app-server"))
            .env_clear()
            .env("LISTEN", "127.0.0.1:0")
            .env("DATABASE_URL", format!("postgres://127.0.0.1:{}/music", postgres.port))
            .env("APP_AUTH_PASSWORD", "app_auth password")
            .env("TIER_FREE_PASSWORD", "tier_free password")
            .env("TIER_PREMIUM_PASSWORD", "tier_premium password")
            .env("TIER_ADMIN_PASSWORD", "tier_admin password")
            .env("IDENTITY_KEY", IDENTITY_KEY)
            // One with real newlines, one in the one-line form.
            .env("TLS_CERTIFICATE", chain)
            .env("TLS_KEY", key.replace('\n', "\\n"))
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let mut reader = BufReader::new(process.stdout.take().unwrap()).lines();
        let first: serde_json::Value =
            serde_json::from_str(&reader.next().expect("the server says where it listens").unwrap()).unwrap();
        let address = first["address"].as_str().unwrap().parse().unwrap();
        let is_read = Arc::new(AtomicBool::new(true));
        let (collected, may_read) = (Arc::clone(&lines), Arc::clone(&is_read));
        std::thread::spawn(move || {
            for line in reader.map_while(Result::ok) {
                let record =
                    serde_json::from_str(&line).unwrap_or_else(|_| panic!("not one JSON object: {line}"));
                collected.lock().unwrap().push(record);
                while !may_read.load(Ordering::Relaxed) {
                    sleep(Duration::from_millis(5));
                }
            }
        });
        Self { process, address, lines, is_read, folder }
    }

    /// From now on somebody reads what the server writes to stdout, or nobody does.
    pub(crate) fn read_stdout(&self, is_read: bool) {
        self.is_read.store(is_read, Ordering::Relaxed);
    }

    /// Log and audit lines so far.
    pub(crate) fn lines(&self) -> Vec<serde_json::Value> {
        self.lines.lock().unwrap().clone()
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.process.wait().unwrap()
    }

    /// Status line and body of a GET.
    pub(crate) fn get(&self, path: &str) -> (String, String) {
        use std::io::{Read as _, Write as _};
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    pub(crate) fn wait_until_ready(&self) {
        eventually("/readyz answers 200", || self.get("/readyz").0.contains("200"));
    }

    pub(crate) fn config(&self, user: &str, password: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.address.port()).user(user).password(password).dbname("music");
        config
    }

    pub(crate) async fn connect(&self, user: &str) -> Client {
        let (client, connection) = self.config(user, PASSWORD).connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// psql over TLS, checking the server's certificate against the authority that signed it.
    pub(crate) fn psql(&self, user: &str, password: &str, arguments: &[&str]) -> Output {
        self.run_psql(user, password, &self.ca_file(), "prefer", arguments)
    }

    /// The same with another authority, and with what is said about channel binding.
    pub(crate) fn psql_with(&self, user: &str, ca_file: &Path, binding: &str, arguments: &[&str]) -> Output {
        self.run_psql(user, PASSWORD, ca_file, binding, arguments)
    }

    fn run_psql(
        &self,
        user: &str,
        password: &str,
        ca_file: &Path,
        binding: &str,
        arguments: &[&str],
    ) -> Output {
        let connection = format!(
            "host=127.0.0.1 port={} user={user} dbname=music sslmode=verify-ca sslrootcert={} channel_binding={binding}",
            self.address.port(),
            ca_file.display()
        );
        Command::new("psql")
            .args(["-X", "-A", "-t", "-v", "VERBOSITY=verbose", "-d", &connection])
            .args(arguments)
            .env("PGPASSWORD", password)
            .output()
            .expect("psql is needed: apt-get install postgresql-client, or brew install libpq")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A stack's authority, written to `ca_file`, and a server certificate of its making.
pub(crate) fn certificate(ca_file: &Path) -> (String, String) {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name.push(rcgen::DnType::CommonName, "music-app test authority");
    fs::write(ca_file, ca.self_signed(&ca_key).unwrap().pem()).unwrap();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec![SERVER_NAME.to_owned(), "localhost".to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// Database, sample data and a server that is ready.
pub(crate) async fn world() -> (Postgres, Server) {
    world_with(&[]).await
}

/// The same with settings in the server's environment.
pub(crate) async fn world_with(variables: &[(&str, &str)]) -> (Postgres, Server) {
    let postgres = Postgres::start().await;
    postgres.migrate().await;
    postgres.fill().await;
    let server = Server::start_with(&postgres, variables);
    server.wait_until_ready();
    (postgres, server)
}

/// What a simple query answers: the texts of the rows, or the SQLSTATE.
pub(crate) async fn ask(client: &Client, sql: &str) -> Result<Vec<Vec<Option<String>>>, String> {
    let messages = client.simple_query(sql).await.map_err(|error| {
        error.code().map_or_else(|| format!("connection: {error}"), |code| code.code().to_owned())
    })?;
    Ok(messages
        .into_iter()
        .filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
            }
            _ => None,
        })
        .collect())
}

/// The single value of the single row.
pub(crate) async fn value(client: &Client, sql: &str) -> String {
    ask(client, sql).await.unwrap()[0][0].clone().unwrap_or_default()
}
