//! `ops local`: starts and stops the cloud on this machine, and tells it which command stands for which image.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{IsTerminal, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Subcommand;

use crate::commands::project;
use crate::error::{Error, Kind, say};
use crate::host::private_folder;
use crate::progress::result;

/// What can be done with the local cloud.
#[derive(Debug, Subcommand)]
pub enum LocalCommand {
    /// Start it, if it does not run
    Up {
        /// Install what is missing on this machine, with its package manager
        #[arg(long)]
        install_missing: bool,
    },
    /// Stop it; what is in it stays
    Down,
    /// Show what is in it
    Status {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete everything in it, databases too
    Reset {
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Print the variables with which any AWS client reaches it: eval "$(ops local env)"
    Env,
    /// Be the local cloud
    #[command(hide = true)]
    Supervise { folder: PathBuf },
}

/// The supervisor answers well under a second; a busy machine may need longer.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Stopping waits for the services and databases in it.
const STOP_LIMIT: Duration = Duration::from_secs(120);

pub fn local(command: LocalCommand) -> Result<(), Error> {
    if let LocalCommand::Supervise { folder } = command {
        return supervise(&folder);
    }
    let (root, _) = project::find()?;
    let folder = root.join(".ops").join("local");
    match command {
        LocalCommand::Up { install_missing } => {
            let endpoint = ensure_up(&folder, install_missing)?;
            result(&format!("the local cloud is up at {endpoint}"));
            Ok(())
        }
        LocalCommand::Down => down(&folder),
        LocalCommand::Status { json } => status(&folder, json),
        LocalCommand::Reset { yes } => reset(&folder, yes),
        LocalCommand::Env => env(&folder),
        LocalCommand::Supervise { .. } => Ok(()),
    }
}

/// The endpoint of the local cloud of `folder`; starts it where it does not run.
///
/// Fails where PostgreSQL is missing, with the command that installs it; with `install_missing` that command is printed and run.
pub fn ensure_up(folder: &Path, install_missing: bool) -> Result<String, Error> {
    if let Some(running) = running(folder)? {
        return Ok(running.endpoint);
    }
    if let Err(missing) = local_cloud::postgres::find() {
        if !install_missing || missing.command.is_empty() {
            return Err(Error::new(Kind::NotFound, missing.to_string())
                .help("or run the same command again with `--install-missing`"));
        }
        install(&missing.command)?;
        local_cloud::postgres::find().map_err(|missing| Error::new(Kind::NotFound, missing.to_string()))?;
    }
    start(folder)
}

fn running(folder: &Path) -> Result<Option<local_cloud::Running>, Error> {
    local_cloud::running(folder).map_err(failed)
}

fn failed(error: local_cloud::Error) -> Error {
    Error::new(Kind::Unavailable, format!("local cloud: {error}"))
}

fn install(command: &[String]) -> Result<(), Error> {
    // A machine that was set up long ago, or is a container, does not know where the packages are.
    if command[0] == "apt-get" {
        run_installer(&["apt-get".to_owned(), "update".to_owned()])?;
    }
    run_installer(command)
}

fn run_installer(command: &[String]) -> Result<(), Error> {
    say(&format!("installing PostgreSQL: {}", command.join(" ")));
    let status = Command::new(&command[0])
        .args(&command[1..])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        // The playbook's result alone goes to stdout.
        .stdout(std::io::stderr())
        .status()
        .map_err(|source| Error::io(format_args!("run {}", command[0]), &source))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::new(Kind::Unavailable, format!("`{}` ended with {status}", command.join(" "))).help(
        "install PostgreSQL yourself, as an administrator of this machine, then run the same command again",
    ))
}

/// Starts the supervisor as a process of its own, which outlives this one and its terminal's Ctrl-C.
fn start(folder: &Path) -> Result<String, Error> {
    private_folder(folder)?;
    let log_path = folder.join("supervisor.log");
    let log_failed =
        |source: std::io::Error| Error::io(format_args!("write {}", log_path.display()), &source);
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&log_path).map_err(log_failed)?;
    let program = std::env::current_exe().map_err(|source| Error::io("find the program itself", &source))?;
    let mut supervisor = Command::new(program)
        .args(["local", "supervise"])
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(log_failed)?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .map_err(|source| Error::io("start the local cloud", &source))?;
    let started = Instant::now();
    loop {
        if let Some(running) = running(folder)? {
            return Ok(running.endpoint);
        }
        let ended =
            supervisor.try_wait().map_err(|source| Error::io("watch the local cloud start", &source))?;
        if ended.is_some() || started.elapsed() > START_LIMIT {
            // Somebody else may have started it at the same moment.
            if let Some(running) = running(folder)? {
                return Ok(running.endpoint);
            }
            let log = std::fs::read_to_string(&log_path).unwrap_or_default();
            let last = log.lines().last().unwrap_or("it said nothing").to_owned();
            return Err(Error::new(Kind::Unavailable, format!("the local cloud did not start: {last}"))
                .help(format!("its log is {}", log_path.display())));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Is the local cloud, until it is told to stop.
fn supervise(folder: &Path) -> Result<(), Error> {
    let program = std::env::current_exe().map_err(|source| Error::io("find the program itself", &source))?;
    // `ops` carries the query server, so one build is enough for a deployment on this machine.
    let images = BTreeMap::from([(
        "app-server".to_owned(),
        vec![program.into_os_string(), OsString::from("app-server")],
    )]);
    let runtime = tokio::runtime::Runtime::new().map_err(|source| Error::io("start the runtime", &source))?;
    let settings = local_cloud::Settings { folder: folder.to_owned(), images };
    runtime.block_on(local_cloud::serve(settings)).map_err(failed)
}

fn down(folder: &Path) -> Result<(), Error> {
    let was_up = stop(folder)?;
    result(if was_up {
        "the local cloud is down; what is in it stays"
    } else {
        "the local cloud does not run"
    });
    Ok(())
}

/// Stops the local cloud, and says whether it ran.
fn stop(folder: &Path) -> Result<bool, Error> {
    let Some(cloud) = running(folder)? else { return Ok(false) };
    request(&cloud.endpoint, "POST", "/_local/shutdown")?;
    let started = Instant::now();
    while running(folder)?.is_some() || !local_cloud::is_free(folder).map_err(failed)? {
        if started.elapsed() > STOP_LIMIT {
            return Err(Error::new(
                Kind::Timeout,
                format!("the local cloud (process {}) is still stopping", cloud.pid),
            ));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(true)
}

/// Stops the local cloud of `folder` and deletes all that is in it, without a word.
pub fn discard(folder: &Path) -> Result<(), Error> {
    stop(folder)?;
    local_cloud::reset(folder).map_err(failed)
}

fn status(folder: &Path, json: bool) -> Result<(), Error> {
    let Some(cloud) = running(folder)? else {
        result(if json { "null" } else { "the local cloud does not run; start it with `ops local up`" });
        return Ok(());
    };
    let text = request(&cloud.endpoint, "GET", "/_local/status")?;
    if json {
        result(&text);
        return Ok(());
    }
    let status: serde_json::Value = serde_json::from_str(&text)
        .map_err(|error| Error::internal(format!("the local cloud's status: {error}")))?;
    result(&format!("endpoint  {}  (process {})", cloud.endpoint, cloud.pid));
    for (kind, name) in [("databases", "database"), ("instances", "instance")] {
        for thing in status[kind].as_array().into_iter().flatten() {
            let field = |key: &str| match &thing[key] {
                serde_json::Value::String(text) => text.clone(),
                serde_json::Value::Null => String::new(),
                other => other.to_string(),
            };
            let state = if thing["state"].is_null() { field("status") } else { field("state") };
            let address = if thing["address"].is_null() { field("endpoint") } else { field("address") };
            result(&format!("{name}  {}  {state}  {address}  {}", field("id"), field("log")));
        }
    }
    Ok(())
}

fn reset(folder: &Path, yes: bool) -> Result<(), Error> {
    if !yes {
        if !std::io::stdin().is_terminal() {
            return Err(Error::refused(
                "nobody can be asked here whether everything in the local cloud may be deleted",
            )
            .help("add `--yes` to agree"));
        }
        eprint!("Delete everything in the local cloud, databases and their snapshots too? [y/N] ");
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).map_err(|source| Error::io("read the answer", &source))?;
        if !answer.trim().eq_ignore_ascii_case("y") {
            return Err(Error::refused("not agreed to: nothing was deleted"));
        }
    }
    discard(folder)?;
    result("the local cloud is empty");
    Ok(())
}

fn env(folder: &Path) -> Result<(), Error> {
    let Some(cloud) = running(folder)? else {
        return Err(Error::new(Kind::Unavailable, "the local cloud does not run")
            .help("start it with `ops local up`"));
    };
    result(&format!("export AWS_ENDPOINT_URL={}", cloud.endpoint));
    result(&format!("export AWS_REGION={0}\nexport AWS_DEFAULT_REGION={0}", cloud.region));
    result("export AWS_ACCESS_KEY_ID=local\nexport AWS_SECRET_ACCESS_KEY=local");
    result("unset AWS_PROFILE AWS_SESSION_TOKEN");
    Ok(())
}

/// One of the local cloud's own requests, which carry no signature.
fn request(endpoint: &str, method: &str, path: &str) -> Result<String, Error> {
    let address = endpoint.trim_start_matches("http://");
    let exchange = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = exchange()
        .map_err(|source| Error::io(format_args!("reach the local cloud at {address}"), &source))?;
    Ok(answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}
