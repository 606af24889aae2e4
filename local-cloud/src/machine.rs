//! Makes an EC2 instance real: gives it a loopback address, boots and stops its service, keeps its console, and moves its state on when
//! that has happened. One task per instance that is not terminated.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::sleep;

use crate::Error;
use crate::cloud::{Cloud, State};
use crate::ec2::{Instance, InstanceState, StateReason, sshd};
use crate::folder::create_private;
use crate::process::Process;
use crate::service::{Declaration, Plan, Service};
use crate::time::Time;

/// A console is rotated at this size; one older file is kept.
const CONSOLE_LIMIT: u64 = 4 * 1024 * 1024;

/// `stopping` and `shutting-down` stay visible for at least this long, so that whoever asks has to wait as on AWS.
const ENDING: Duration = Duration::from_millis(500);
/// How long what a killed supervisor left running is asked to end before it is made to.
const STALE_GRACE: Duration = Duration::from_secs(5);

/// What has addresses of its own, and its part of 127.0.0.0/8.
#[derive(Clone, Copy)]
pub(crate) enum Neighbourhood {
    Instances = 20,
    LoadBalancers = 21,
    ElasticIps = 22,
}

/// Where the service of a new instance, a load balancer or an Elastic IP listens. On Linux all of 127.0.0.0/8 is this machine, so each has an address
/// of its own (chosen at random: other local clouds choose too); elsewhere only 127.0.0.1 is, so it has a port of its own.
pub(crate) fn choose_address(
    neighbourhood: Neighbourhood,
    port: Option<u16>,
    taken: &[SocketAddrV4],
) -> std::io::Result<SocketAddrV4> {
    if cfg!(target_os = "linux") {
        loop {
            let [x, y] = rand::random::<[u8; 2]>();
            let ip = Ipv4Addr::new(127, neighbourhood as u8, x, y.clamp(1, 254));
            if !taken.iter().any(|other| *other.ip() == ip) {
                return Ok(SocketAddrV4::new(ip, port.unwrap_or(0)));
            }
        }
    }
    loop {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        if !taken.iter().any(|other| other.port() == free) {
            return Ok(SocketAddrV4::new(Ipv4Addr::LOCALHOST, free));
        }
    }
}

pub(crate) async fn run(cloud: Arc<Cloud>, region: String, id: String) {
    let machine = Machine { cloud: cloud.clone(), region, id };
    let mut changed = cloud.changed();
    let mut service: Option<Service> = None;
    let mut booted = false;
    while let Some(instance) = machine.instance().await {
        changed.mark_unchanged();
        match instance.state {
            InstanceState::Pending | InstanceState::Running if !booted => match machine.boot(&instance).await
            {
                Ok(started) => {
                    booted = true;
                    service = started;
                    continue;
                }
                Err(reason) => {
                    machine.enter(instance.state, InstanceState::Terminated, Some(reason)).await;
                    return;
                }
            },
            InstanceState::Pending => {
                let up = async {
                    if let Some(service) = &mut service {
                        service.booted().await;
                    }
                };
                tokio::select! {
                    () = up => {
                        machine.enter(InstanceState::Pending, InstanceState::Running, None).await;
                        continue;
                    }
                    _ = changed.changed() => {}
                    () = cloud.stopping() => break,
                }
                continue;
            }
            InstanceState::Stopping | InstanceState::ShuttingDown => {
                booted = false;
                if let Some(service) = service.take() {
                    service.stop().await;
                }
                machine.end_stale(&instance).await;
                sleep(ENDING.saturating_sub(instance.changed_at.elapsed())).await;
                let after = if instance.state == InstanceState::Stopping {
                    InstanceState::Stopped
                } else {
                    InstanceState::Terminated
                };
                machine.enter(instance.state, after, instance.reason).await;
                continue;
            }
            InstanceState::Terminated => return,
            InstanceState::Running | InstanceState::Stopped => {}
        }
        tokio::select! {
            _ = changed.changed() => {}
            () = cloud.stopping() => break,
        }
    }
    if let Some(service) = service {
        service.stop().await;
    }
}

/// Ends the services that a killed supervisor left running.
pub(crate) fn end_all(state: &State) {
    let instances = state.regions.values().flat_map(|region| region.ec2.instances.values());
    let left: Vec<&Process> = instances.filter_map(|instance| instance.process.as_ref()).collect();
    left.iter().for_each(|process| process.signal(Signal::TERM));
    let asked = Instant::now();
    while left.iter().any(|process| process.is_alive()) && asked.elapsed() < STALE_GRACE {
        std::thread::sleep(Duration::from_millis(20));
    }
    left.iter().for_each(|process| process.signal(Signal::KILL));
}

struct Machine {
    cloud: Arc<Cloud>,
    region: String,
    id: String,
}

impl Machine {
    async fn instance(&self) -> Option<Instance> {
        self.cloud.read(&self.region, |region| region.ec2.instances.get(&self.id).cloned()).await
    }

    /// Moves the instance on unless a request has moved it elsewhere meanwhile.
    async fn enter(&self, from: InstanceState, to: InstanceState, reason: Option<StateReason>) {
        self.cloud
            .record(&self.region, |region| {
                if region.ec2.instances.get(&self.id).is_some_and(|instance| instance.state == from) {
                    region.ec2.enter(&self.id, to, reason);
                }
            })
            .await;
    }

    async fn boot(&self, instance: &Instance) -> Result<Option<Service>, StateReason> {
        let failed = |message: String| StateReason { code: "Server.InternalError".into(), message };
        self.end_stale(instance).await;
        let console = Console::open(&self.cloud, &self.id).map_err(|error| failed(error.to_string()))?;
        let keys = sshd::console_lines(&self.id, instance.sshd.as_ref(), *instance.address.ip());
        console.bytes(keys.as_bytes());
        let declared = Declaration::in_user_data(&instance.user_data).map_err(|error| {
            failed(format!("the ops-service line of the user data cannot be read: {error}"))
        })?;
        let Some(declaration) = declared else {
            console
                .line("up; the user data declares no service, and a local instance runs nothing else of it");
            return Ok(None);
        };
        let images = &self.cloud.settings.images;
        let Some(command) = images.get(declaration.image_name()) else {
            let known: Vec<&str> = images.keys().map(String::as_str).collect();
            return Err(failed(format!(
                "no command stands for image `{}`; known images: {}",
                declaration.image,
                known.join(", ")
            )));
        };
        if let Err(error) = TcpListener::bind(instance.address) {
            let (port, ip) = (instance.address.port(), instance.address.ip());
            return Err(failed(match error.kind() {
                std::io::ErrorKind::AddrInUse => format!("port {port} of {ip} is in use by another program"),
                _ => format!("cannot listen on port {port} of {ip}: {error}"),
            }));
        }
        console.line(&format!(
            "starting {} on {}; other commands of the user data are not run on a local instance",
            declaration.name, instance.address
        ));
        Ok(Some(Service::start(Plan {
            cloud: self.cloud.clone(),
            region: self.region.clone(),
            instance: self.id.clone(),
            command: command.clone(),
            declaration,
            address: instance.address,
            console,
        })))
    }

    /// What a killed supervisor left running must not hold the address.
    async fn end_stale(&self, instance: &Instance) {
        if let Some(process) = &instance.process {
            process.end(STALE_GRACE).await;
        }
    }
}

/// The console log of an instance: what its service writes, and what the machine has to say about it.
#[derive(Clone)]
pub(crate) struct Console {
    path: PathBuf,
    file: Arc<Mutex<(File, u64)>>,
}

impl Console {
    fn open(cloud: &Cloud, id: &str) -> Result<Console, Error> {
        let folder = cloud.folder.instance(id);
        create_private(&folder)?;
        let path = folder.join("console.log");
        let opened = Console::file(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        match opened {
            Ok((length, file)) => Ok(Console { path, file: Arc::new(Mutex::new((file, length))) }),
            Err(source) => Err(Error::File { action: "open", path, source }),
        }
    }

    fn file(path: &PathBuf) -> std::io::Result<File> {
        OpenOptions::new().append(true).create(true).mode(0o600).open(path)
    }

    pub(crate) fn line(&self, text: &str) {
        self.bytes(format!("{} local cloud: {text}\n", Time::now()).as_bytes());
    }

    pub(crate) fn bytes(&self, bytes: &[u8]) {
        let mut guard = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, length) = &mut *guard;
        let mut write = || {
            if *length > CONSOLE_LIMIT {
                std::fs::rename(&self.path, self.path.with_extension("log.1"))?;
                *file = Console::file(&self.path)?;
                *length = 0;
            }
            *length += bytes.len() as u64;
            file.write_all(bytes)
        };
        if let Err(error) = write() {
            eprintln!("local cloud: cannot write `{}`: {error}", self.path.display());
        }
    }
}
