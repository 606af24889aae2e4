//! One PostgreSQL server: created, started, stopped, copied, with the system's programs. It listens on 127.0.0.1 alone, asks for SCRAM
//! passwords and offers TLS. PostgreSQL refuses to run as root, so root runs it as `postgres`, else as `nobody`.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;
use tokio_postgres::{Client, Config, NoTls};

use super::authority::Identity;
use super::{Binaries, find_major};
use crate::Error;

/// RDS's own superuser, under its name there; nobody else gets its password.
pub(crate) const SUPERUSER: &str = "rdsadmin";

pub(crate) struct Cluster {
    pub(crate) name: String,
    /// Holds `data`, the certificate and the server's log.
    pub(crate) home: PathBuf,
    pub(crate) port: u16,
    pub(crate) password: String,
}

impl Cluster {
    pub(crate) fn exists(&self) -> bool {
        self.data().join("PG_VERSION").is_file()
    }

    fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// Makes a new, empty cluster. A kill in between leaves a draft, which the next attempt replaces.
    pub(crate) async fn create(&self, binaries: &Binaries) -> Result<(), Error> {
        let draft = self.draft()?;
        let password_file = self.home.join(".password");
        write_owned(&password_file, self.password.as_bytes())?;
        let mut initdb = owner_command(&binaries.program("initdb"), &self.home)?;
        initdb.arg("-D").arg(&draft).args([
            "-U",
            SUPERUSER,
            "-A",
            "scram-sha-256",
            "--locale=C",
            "-E",
            "UTF8",
        ]);
        initdb.arg("--pwfile").arg(&password_file);
        let result = run(initdb, "initdb").await;
        remove(&password_file)?;
        result?;
        self.adopt(&draft)
    }

    /// Makes a cluster that is a copy of one that is stopped.
    pub(crate) async fn create_from(&self, snapshot: &Path) -> Result<(), Error> {
        let draft = self.draft()?;
        let mut copy = owner_command(Path::new("cp"), &self.home)?;
        copy.arg("-Rp").arg(snapshot.join("data")).arg(&draft);
        run(copy, "cp").await?;
        self.adopt(&draft)
    }

    /// Writes a copy of the running server to the home of a snapshot.
    pub(crate) async fn copy_to(&self, snapshot: &Path) -> Result<(), Error> {
        let target = Cluster {
            name: self.name.clone(),
            home: snapshot.to_path_buf(),
            port: self.port,
            password: String::new(),
        };
        let draft = target.draft()?;
        let mut backup = owner_command(&self.binaries()?.program("pg_basebackup"), &target.home)?;
        backup.arg("-D").arg(&draft).args([
            "-h",
            "127.0.0.1",
            "-U",
            SUPERUSER,
            "-w",
            "-c",
            "fast",
            "-X",
            "stream",
        ]);
        backup.args(["-p", &self.port.to_string()]);
        backup.env("PGPASSWORD", &self.password);
        run(backup, "pg_basebackup").await?;
        target.adopt(&draft)
    }

    fn draft(&self) -> Result<PathBuf, Error> {
        create_home(&self.home)?;
        let draft = self.home.join("data.new");
        remove(&draft)?;
        Ok(draft)
    }

    fn adopt(&self, draft: &Path) -> Result<(), Error> {
        let data = self.data();
        fs::rename(draft, &data).map_err(|source| Error::File { action: "create", path: data, source })
    }

    fn binaries(&self) -> Result<Binaries, Error> {
        let path = self.data().join("PG_VERSION");
        let text = fs::read_to_string(&path).map_err(|source| Error::File {
            action: "read",
            path: path.clone(),
            source,
        })?;
        let major = text.trim().parse().unwrap_or(0);
        find_major(major).ok_or_else(|| Error::Program {
            program: "postgres".into(),
            output: format!(
                "the data in `{}` needs PostgreSQL {major}, which is not installed",
                self.data().display()
            ),
        })
    }

    /// Starts the server, or finds that it still runs since before this supervisor.
    pub(crate) async fn start(
        &self,
        identity: impl FnOnce() -> Result<Identity, Error>,
    ) -> Result<(), Error> {
        if self.answers().await.is_ok() {
            return Ok(());
        }
        let identity = identity()?;
        write_owned(&self.home.join("server.crt"), identity.certificate.as_bytes())?;
        write_owned(&self.home.join("server.key"), identity.key.as_bytes())?;
        let home = self.home.display();
        // fsync stays on (the default): the data of a laptop must outlive its battery, too.
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c ssl=on \
             -c ssl_cert_file='{home}/server.crt' -c ssl_key_file='{home}/server.key' -c password_encryption=scram-sha-256",
            self.port
        );
        let mut start = owner_command(&self.binaries()?.program("pg_ctl"), &self.home)?;
        start.arg("-D").arg(self.data()).arg("-l").arg(self.home.join("postgres.log"));
        start.args(["-w", "-t", "60", "-s", "-o", &options, "start"]);
        if let Err(error) = run(start, "pg_ctl").await {
            return Err(self.with_log(error));
        }
        self.answers().await
    }

    pub(crate) async fn stop(&self) -> Result<(), Error> {
        if !self.data().join("postmaster.pid").exists() {
            return Ok(());
        }
        let mut stop = owner_command(&self.binaries()?.program("pg_ctl"), &self.home)?;
        stop.arg("-D").arg(self.data()).args(["-w", "-t", "60", "-s", "-m", "fast", "stop"]);
        let Err(error) = run(stop, "pg_ctl").await else { return Ok(()) };
        // A server that died left its pid file and there is nothing to stop; but data must not be touched under one that lives.
        let mut status = owner_command(&self.binaries()?.program("pg_ctl"), &self.home)?;
        let output = status.arg("-D").arg(self.data()).arg("status").output().await;
        match output.map(|output| output.status.code()) {
            Ok(Some(3)) => Ok(()),
            _ => Err(error),
        }
    }

    pub(crate) fn destroy(&self) -> Result<(), Error> {
        remove(&self.home)
    }

    /// Turns the stopped cluster into a snapshot.
    pub(crate) fn become_snapshot(&self, snapshot: &Path) -> Result<(), Error> {
        create_home(snapshot)?;
        let data = snapshot.join("data");
        // A kill between the two steps leaves the data in the snapshot and nothing here.
        if self.data().exists() {
            fs::rename(self.data(), &data).map_err(|source| Error::File {
                action: "keep",
                path: data,
                source,
            })?;
        }
        self.destroy()
    }

    /// Says who may connect how, once the server reads its configuration again; we ourselves do without TLS.
    pub(crate) fn admit(&self, force_ssl: bool) -> Result<(), Error> {
        let others = if force_ssl { "hostssl" } else { "host" };
        let lines = format!(
            "host all {SUPERUSER} 127.0.0.1/32 scram-sha-256\n\
             host replication {SUPERUSER} 127.0.0.1/32 scram-sha-256\n\
             {others} all all 127.0.0.1/32 scram-sha-256\n"
        );
        let (draft, path) = (self.data().join("pg_hba.conf.new"), self.data().join("pg_hba.conf"));
        write_owned(&draft, lines.as_bytes())?;
        fs::rename(&draft, &path).map_err(|source| Error::File { action: "write", path, source })
    }

    pub(crate) async fn connect(&self, database: &str) -> Result<Client, Error> {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port).user(SUPERUSER).password(&self.password).dbname(database);
        config.connect_timeout(Duration::from_secs(5)).application_name("local-cloud");
        let (client, connection) = config
            .connect(NoTls)
            .await
            .map_err(|source| Error::Database { database: self.name.clone(), source })?;
        // It ends with the client; what goes wrong the client reports.
        tokio::spawn(connection);
        Ok(client)
    }

    /// The server answers on its port, and it is the one with this data: another may have taken the port.
    pub(crate) async fn answers(&self) -> Result<(), Error> {
        let unreachable = |reason: &str| Error::Unreachable {
            database: self.name.clone(),
            port: self.port,
            reason: reason.to_string(),
        };
        let ask = async {
            let client = self.connect("postgres").await?;
            let row = client.query_one("select current_setting('data_directory')", &[]).await;
            row.map_err(|source| Error::Database { database: self.name.clone(), source })
        };
        let row =
            timeout(Duration::from_secs(10), ask).await.map_err(|_| unreachable("no answer in 10 s"))??;
        let data: &str = row.get(0);
        if Path::new(data) == self.data() { Ok(()) } else { Err(unreachable("another server has the port")) }
    }

    /// `pg_ctl` says only that it failed; why is in the server's log.
    fn with_log(&self, error: Error) -> Error {
        let log = fs::read(self.home.join("postgres.log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().rev().take(5).collect();
        match error {
            Error::Program { program, .. } => {
                Error::Program { program, output: lines.into_iter().rev().collect::<Vec<_>>().join("; ") }
            }
            other => other,
        }
    }
}

/// Stops the servers that a killed supervisor left running, before their data is removed.
pub(crate) fn stop_all_below(databases: &Path) -> Result<(), Error> {
    let regions = fs::read_dir(databases.join("instances")).into_iter().flatten().flatten();
    for home in regions.flat_map(|region| fs::read_dir(region.path()).into_iter().flatten().flatten()) {
        let home = home.path();
        let cluster = Cluster { name: String::new(), home: home.clone(), port: 0, password: String::new() };
        if !cluster.data().join("postmaster.pid").exists() {
            continue;
        }
        let mut stop = owner_command(&cluster.binaries()?.program("pg_ctl"), &home)?.into_std();
        stop.arg("-D").arg(cluster.data()).args(["-w", "-s", "-m", "immediate", "stop"]);
        // It fails if the server is gone already; a server that stays keeps its files, and the removal says so.
        let _ = stop.output().map_err(|source| Error::Spawn { program: "pg_ctl".into(), source })?;
    }
    Ok(())
}

/// The user that PostgreSQL runs as if we are root: both exist on the usual systems, and PostgreSQL insists on a user that
/// has an entry in the password file.
fn owner() -> Result<Option<(u32, u32)>, Error> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let path = Path::new("/etc/passwd");
    let text = fs::read_to_string(path).map_err(|source| Error::File {
        action: "read",
        path: path.into(),
        source,
    })?;
    let ids = |name: &str| {
        let entry = text.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = entry.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    let found = ids("postgres").or_else(|| ids("nobody"));
    found.map(Some).ok_or_else(|| Error::Program {
        program: "postgres".into(),
        output: "it cannot run as root, and there is no user `postgres` or `nobody` to run it as".into(),
    })
}

fn owner_command(program: &Path, folder: &Path) -> Result<Command, Error> {
    let mut command = Command::new(program);
    command.current_dir(folder).stdin(Stdio::null()).env_remove("PGPASSWORD").env("LC_ALL", "C");
    if let Some((uid, gid)) = owner()? {
        command.uid(uid).gid(gid).env("HOME", folder);
    }
    Ok(command)
}

async fn run(mut command: Command, program: &str) -> Result<(), Error> {
    let output =
        command.output().await.map_err(|source| Error::Spawn { program: program.to_string(), source })?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(Error::Program { program: program.to_string(), output: text.trim().replace('\n', "; ") })
}

/// A folder for the server's user alone, below parents that it can pass through.
fn create_home(home: &Path) -> Result<(), Error> {
    let failed = |source| Error::File { action: "create", path: home.to_path_buf(), source };
    let owner = owner()?;
    let mut missing: Vec<&Path> = home.ancestors().take_while(|folder| !folder.exists()).collect();
    missing.reverse();
    for folder in missing {
        fs::create_dir(folder).map_err(failed)?;
        let mode = if owner.is_some() && folder != home { 0o711 } else { 0o700 };
        fs::set_permissions(folder, fs::Permissions::from_mode(mode)).map_err(failed)?;
    }
    if let Some((uid, gid)) = owner {
        chown(home, Some(uid), Some(gid)).map_err(failed)?;
    }
    Ok(())
}

fn write_owned(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    use std::io::Write as _;
    let failed = |source| Error::File { action: "write", path: path.to_path_buf(), source };
    remove(path)?;
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    if let Some((uid, gid)) = owner()? {
        chown(path, Some(uid), Some(gid)).map_err(failed)?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), Error> {
    let result = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::File { action: "remove", path: path.to_path_buf(), source: error })
        }
        _ => Ok(()),
    }
}
