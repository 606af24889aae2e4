//! The health of a target: asked for with real connections or HTTP requests, as its group's health check says, ten times as often, so that
//! nobody waits for minutes on a laptop. One task per registered target, which lets it drain in the end, too.

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use crate::balancer::Route;
use crate::cloud::{Cloud, Region};
use crate::elbv2::{HealthCheck, Reason, Target, TargetGroup, TargetState};
use crate::time::Time;

/// How many times as often as on AWS.
const HASTE: u32 = 10;
/// `initial` and `draining` stay visible for at least this long.
const VISIBLE: Duration = Duration::from_millis(500);

pub(crate) async fn run(cloud: Arc<Cloud>, region: String, route: Route) {
    let probe = Probe { cloud: cloud.clone(), region, route };
    let mut changed = cloud.changed();
    let mut due = Instant::now() + VISIBLE;
    let (mut passed, mut failed) = (0, 0);
    loop {
        changed.mark_unchanged();
        let wait_until = match probe.task().await {
            Task::Over => return,
            Task::Drain { since, delay } => {
                if probe.has_drained(since, delay) {
                    probe.deregister().await;
                    return;
                }
                Instant::now() + Duration::from_millis(100)
            }
            Task::Rest => {
                (passed, failed) = (0, 0);
                probe.set(|target| target.enter(TargetState::Initial, None)).await;
                due = Instant::now() + VISIBLE;
                due + Duration::from_secs(3600)
            }
            Task::Probe { .. } if Instant::now() < due => due,
            Task::Probe { check, address } => {
                let answer = ask(&check, address).await;
                due = Instant::now() + check.interval() / HASTE;
                (passed, failed) = if answer.is_ok() { (passed + 1, 0) } else { (0, failed + 1) };
                probe.judge(&check, answer.err(), passed, failed).await;
                continue;
            }
        };
        tokio::select! {
            _ = changed.changed() => {}
            () = sleep_until(wait_until) => {}
            () = cloud.stopping() => return,
        }
    }
}

enum Task {
    Over,
    /// Nothing is sent to the target, so nobody asks for its health.
    Rest,
    Probe {
        check: HealthCheck,
        address: SocketAddrV4,
    },
    Drain {
        since: Time,
        delay: Duration,
    },
}

struct Probe {
    cloud: Arc<Cloud>,
    region: String,
    route: Route,
}

impl Probe {
    async fn task(&self) -> Task {
        self.cloud.read(&self.region, |region| self.task_in(region)).await
    }

    fn task_in(&self, region: &Region) -> Task {
        let Some((group, target)) = self.find(region) else { return Task::Over };
        if target.state == TargetState::Draining {
            return Task::Drain { since: target.changed_at, delay: group.drain() };
        }
        // AWS deregisters an instance that was terminated.
        if !group.by_address && !region.ec2.exists(&target.id) {
            return Task::Drain { since: target.changed_at, delay: Duration::ZERO };
        }
        let port = group.health_check.port.unwrap_or(target.port);
        match region.target_address(group, &target.id, port) {
            Some(address) if region.unused(&self.region, group, target).is_none() => {
                Task::Probe { check: group.health_check.clone(), address }
            }
            _ => Task::Rest,
        }
    }

    fn find<'a>(&self, region: &'a Region) -> Option<(&'a TargetGroup, &'a Target)> {
        let group = region.elbv2.target_groups.get(&self.route.group)?;
        Some((group, group.target(&self.route.target, self.route.port)?))
    }

    /// A target without connections has drained at once.
    fn has_drained(&self, since: Time, delay: Duration) -> bool {
        let drained = delay.is_zero() || !self.cloud.connections.are_open(&self.route);
        (drained && since.after(VISIBLE).is_past()) || since.after(delay.max(VISIBLE)).is_past()
    }

    /// The first answer makes a new target healthy; later it takes as many in a row as the group says.
    async fn judge(&self, check: &HealthCheck, reason: Option<Reason>, passed: i64, failed: i64) {
        self.set(|target| match (target.state, &reason) {
            (TargetState::Initial, None) => target.enter(TargetState::Healthy, None),
            (TargetState::Unhealthy, None) if passed >= check.healthy_threshold => {
                target.enter(TargetState::Healthy, None);
            }
            (TargetState::Initial | TargetState::Healthy, Some(_)) if failed >= check.unhealthy_threshold => {
                target.enter(TargetState::Unhealthy, reason.clone());
            }
            (TargetState::Unhealthy, Some(_)) => target.reason = reason.clone(),
            _ => {}
        })
        .await;
    }

    /// Changes the target, if that makes a difference: each change is written to disk.
    async fn set(&self, change: impl Fn(&mut Target)) {
        let differs = self.cloud.read(&self.region, |region| {
            self.find(region).is_some_and(|(_, target)| {
                let mut after = target.clone();
                change(&mut after);
                after != *target
            })
        });
        if !differs.await {
            return;
        }
        self.cloud
            .record(&self.region, |region| {
                let group = region.elbv2.target_groups.get_mut(&self.route.group);
                let mut targets = group.into_iter().flat_map(|group| &mut group.targets);
                let mine =
                    |target: &&mut Target| target.id == self.route.target && target.port == self.route.port;
                if let Some(target) = targets.find(mine) {
                    change(target);
                }
            })
            .await;
    }

    async fn deregister(&self) {
        self.cloud
            .record(&self.region, |region| {
                if let Some(group) = region.elbv2.target_groups.get_mut(&self.route.group) {
                    group
                        .targets
                        .retain(|target| target.id != self.route.target || target.port != self.route.port);
                }
            })
            .await;
    }
}

async fn ask(check: &HealthCheck, address: SocketAddrV4) -> Result<(), Reason> {
    let failed = || Reason::new("Target.FailedHealthChecks", "Health checks failed");
    let asking = async {
        let mut stream = TcpStream::connect(address).await.map_err(|_| failed())?;
        let Some(path) = &check.path else { return Ok(()) };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nUser-Agent: ELB-HealthChecker/2.0\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.map_err(|_| failed())?;
        let mut line = String::new();
        BufReader::new(stream.take(1024)).read_line(&mut line).await.map_err(|_| failed())?;
        match line.split(' ').nth(1).and_then(|code| code.parse().ok()) {
            Some(code) if check.accepts(code) => Ok(()),
            Some(code) => Err(Reason::new(
                "Target.ResponseCodeMismatch",
                format!("Health checks failed with these codes: [{code}]"),
            )),
            None => Err(failed()),
        }
    };
    match timeout(check.timeout(), asking).await {
        Ok(answer) => answer,
        Err(_) => Err(Reason::new("Target.Timeout", "Request timed out")),
    }
}
