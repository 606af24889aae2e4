//! The service of an instance: declared in the first lines of its user data, run as a child process with a clean environment, restarted
//! when it exits. Nothing else of user data is ever executed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddrV4;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::cloud::Cloud;
use crate::machine::Console;
use crate::process::Process;

/// A service may drain its sessions for 60 s before it ends.
const GRACE: Duration = Duration::from_secs(70);
/// A machine has booted when its service listens, and after this long in any case.
const BOOT: Duration = Duration::from_secs(2);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// The declaration stands at the top of user data, where nothing else can push it out of sight.
const DECLARATION_LINES: usize = 20;

/// `# ops-service: <base64 of this as JSON>` in the user data.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Declaration {
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) port: u16,
    /// A value that starts with `ssm:` is the name of a parameter, read at each start.
    #[serde(default)]
    env: BTreeMap<String, String>,
    ready_path: Option<String>,
}

impl Declaration {
    pub(crate) fn in_user_data(encoded: &str) -> Result<Option<Declaration>, String> {
        let user_data = STANDARD.decode(encoded).map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&user_data);
        let mut lines = text.lines().take(DECLARATION_LINES);
        let Some(json) = lines.find_map(|line| line.trim().strip_prefix("# ops-service:")) else {
            return Ok(None);
        };
        let json = STANDARD.decode(json.trim()).map_err(|error| format!("it is not base64: {error}"))?;
        serde_json::from_slice(&json).map(Some).map_err(|error| error.to_string())
    }

    /// The image's name without registry, tag and digest.
    pub(crate) fn image_name(&self) -> &str {
        let name = self.image.split('@').next().unwrap_or_default();
        let last = name.rsplit('/').next().unwrap_or_default();
        last.split(':').next().unwrap_or_default()
    }

    /// Whether the service answers now: with `ready_path` by HTTP 200, otherwise by accepting a connection.
    pub(crate) async fn is_ready(&self, address: SocketAddrV4) -> bool {
        let ask = async {
            let mut stream = TcpStream::connect(address).await?;
            let Some(path) = &self.ready_path else { return Ok(true) };
            let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut status = String::new();
            BufReader::new(stream.take(1024)).read_line(&mut status).await?;
            Ok::<bool, std::io::Error>(status.split(' ').nth(1) == Some("200"))
        };
        matches!(timeout(Duration::from_secs(1), ask).await, Ok(Ok(true)))
    }
}

/// A service that is being kept running until it is stopped.
pub(crate) struct Service {
    stop: watch::Sender<bool>,
    /// True once the machine has booted: the service listens, or a boot does not wait for it any longer.
    booted: watch::Receiver<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Service {
    pub(crate) fn start(plan: Plan) -> Service {
        let stop = watch::Sender::new(false);
        let (tell_booted, booted) = watch::channel(false);
        let task = tokio::spawn(keep_running(plan, tell_booted, stop.subscribe()));
        Service { stop, booted, task }
    }

    pub(crate) async fn booted(&mut self) {
        // A task that has ended booted as far as it ever will.
        let _ = self.booted.wait_for(|booted| *booted).await;
    }

    /// Returns when the process is gone.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            eprintln!("local cloud: a service ended badly: {error}");
        }
    }
}

pub(crate) struct Plan {
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) region: String,
    pub(crate) instance: String,
    pub(crate) declaration: Declaration,
    pub(crate) command: Vec<OsString>,
    pub(crate) address: SocketAddrV4,
    pub(crate) console: Console,
}

async fn keep_running(plan: Plan, booted: watch::Sender<bool>, mut stop: watch::Receiver<bool>) {
    let mut retry = FIRST_RETRY;
    let name = &plan.declaration.name;
    loop {
        let started = Instant::now();
        let problem = match plan.environment().await {
            Err(missing) => format!("waiting for {missing}"),
            Ok(environment) => match plan.spawn(environment) {
                Err(error) => format!("cannot start {name}: {error}"),
                Ok(child) => match plan.attend(child, &booted, &mut stop).await {
                    None => return,
                    Some(status) => format!("{name} ended: {status}"),
                },
            },
        };
        // A machine is up even if its service is not: whoever waits for it goes on and can put the cause right.
        booted.send_replace(true);
        if started.elapsed() > LAST_RETRY {
            retry = FIRST_RETRY;
        }
        plan.console.line(&format!("{problem}; next try in {} s", retry.as_secs()));
        tokio::select! {
            () = sleep(retry) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        retry = (retry * 2).min(LAST_RETRY);
    }
}

impl Plan {
    async fn environment(&self) -> Result<BTreeMap<String, String>, String> {
        let mut environment = BTreeMap::new();
        for (name, value) in &self.declaration.env {
            let value = match value.strip_prefix("ssm:") {
                None => value.clone(),
                Some(parameter) => {
                    self.cloud.parameter(&self.region, parameter).await.ok_or_else(|| {
                        format!("parameter {parameter} (for {name}), which does not exist yet")
                    })?
                }
            };
            environment.insert(name.clone(), value);
        }
        environment.insert("LISTEN".into(), self.address.to_string());
        Ok(environment)
    }

    fn spawn(&self, environment: BTreeMap<String, String>) -> std::io::Result<Child> {
        let (program, arguments) = self.command.split_first().ok_or_else(|| {
            std::io::Error::other(format!("image {} has no command", self.declaration.image))
        })?;
        // The environment of whoever started the local cloud (credentials, say) is none of the service's business.
        let kept = ["PATH", "TMPDIR", "LANG", "TZ"];
        Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(kept.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
    }

    /// Watches one process until it ends (its status) or the service is stopped (nothing).
    async fn attend(
        &self,
        mut child: Child,
        booted: &watch::Sender<bool>,
        stop: &mut watch::Receiver<bool>,
    ) -> Option<ExitStatus> {
        let process = child.id().and_then(Process::of);
        self.remember(process.clone()).await;
        let (output, errors) = (child.stdout.take().map(into_reader), child.stderr.take().map(into_reader));
        for stream in output.into_iter().chain(errors) {
            tokio::spawn(copy_lines(stream, self.console.clone()));
        }
        let answers = async {
            let listening = async {
                while TcpStream::connect(self.address).await.is_err() {
                    sleep(Duration::from_millis(10)).await;
                }
            };
            // A service may have to wait for something that its user sets up only once the machine runs.
            let _ = timeout(BOOT, listening).await;
            booted.send_replace(true);
            std::future::pending::<()>().await;
        };
        let ended = tokio::select! {
            ended = child.wait() => Some(ended),
            () = answers => None,
            _ = stop.wait_for(|stop| *stop) => None,
        };
        let result = match ended {
            Some(status) => status.map_err(|error| self.console.line(&error.to_string())).ok(),
            None => {
                self.console.line(&format!("stopping {}", self.declaration.name));
                if let Some(process) = &process {
                    process.signal(Signal::TERM);
                }
                if timeout(GRACE, child.wait()).await.is_err() {
                    self.console.line("it did not end in 70 s: killing it");
                    if let Some(process) = &process {
                        process.signal(Signal::KILL);
                    }
                    let _ = child.wait().await;
                }
                None
            }
        };
        self.remember(None).await;
        result
    }

    async fn remember(&self, process: Option<Process>) {
        self.cloud
            .record(&self.region, |region| {
                if let Some(instance) = region.ec2.instances.get_mut(&self.instance) {
                    instance.process = process;
                }
            })
            .await;
    }
}

type Reader = Box<dyn AsyncRead + Send + Unpin>;

fn into_reader(stream: impl AsyncRead + Send + Unpin + 'static) -> Reader {
    Box::new(stream)
}

async fn copy_lines(stream: Reader, console: Console) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        // A line without an end must not grow without bound.
        let read = (&mut reader).take(64 * 1024).read_until(b'\n', &mut line).await;
        match read {
            Ok(0) | Err(_) => return,
            Ok(_) => console.bytes(&line),
        }
    }
}
