//! Makes a network load balancer real: it becomes active after a moment, and each listener carries TCP connections to healthy targets.
//! As on AWS, with no healthy target all of them are tried. What AWS drops after an idle time stays open here.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::cloud::{Cloud, Region};
use crate::elbv2::{Listener, LoadBalancerState, TargetState};

/// `provisioning` stays visible for this long; on AWS it takes minutes.
const PROVISIONING: Duration = Duration::from_millis(500);
/// A target that does not even take a connection is given up for the next one.
const CONNECT: Duration = Duration::from_secs(3);
const RETRY: Duration = Duration::from_secs(1);

/// Lets a new load balancer become active.
pub(crate) async fn provision(cloud: Arc<Cloud>, region: String, arn: String) {
    tokio::select! {
        () = sleep(PROVISIONING) => {}
        () = cloud.stopping() => return,
    }
    cloud
        .record(&region, |region| {
            if let Some(balancer) = region.elbv2.load_balancers.get_mut(&arn) {
                balancer.state = LoadBalancerState::Active;
            }
        })
        .await;
}

/// How many connections each target has: a target has drained when it has none.
#[derive(Default)]
pub(crate) struct Connections {
    open: Mutex<BTreeMap<Route, usize>>,
}

impl Connections {
    fn open(&self) -> MutexGuard<'_, BTreeMap<Route, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn are_open(&self, route: &Route) -> bool {
        self.open().contains_key(route)
    }
}

/// A target as a connection knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Route {
    pub(crate) group: String,
    pub(crate) target: String,
    pub(crate) port: u16,
}

/// Counts a connection for as long as it lives.
struct Counted {
    cloud: Arc<Cloud>,
    route: Route,
}

impl Counted {
    fn new(cloud: &Arc<Cloud>, route: &Route) -> Counted {
        *cloud.connections.open().entry(route.clone()).or_default() += 1;
        Counted { cloud: cloud.clone(), route: route.clone() }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.cloud.connections.open();
        if let Some(count) = open.get_mut(&self.route) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.route);
            }
        }
    }
}

/// Serves one listener until it is deleted or moved; its connections end with it.
pub(crate) async fn listen(cloud: Arc<Cloud>, region: String, arn: String) {
    let balancer = Balancer { cloud: cloud.clone(), region, arn };
    let mut changed = cloud.changed();
    let mut connections = JoinSet::new();
    let mut turn = 0;
    while let Some(listener) = balancer.listener().await {
        let socket = match TcpListener::bind(listener.address).await {
            Ok(socket) => socket,
            Err(error) => {
                eprintln!("local cloud: a load balancer cannot listen on {}: {error}", listener.address);
                tokio::select! {
                    () = sleep(RETRY) => continue,
                    () = cloud.stopping() => return,
                }
            }
        };
        loop {
            changed.mark_unchanged();
            // Only where a listener moves it needs a new socket; it may forward elsewhere at any time.
            if balancer.listener().await.is_none_or(|now| now.address != listener.address) {
                break;
            }
            tokio::select! {
                accepted = socket.accept() => match accepted {
                    Ok((client, from)) => {
                        turn += 1;
                        connections.spawn(balancer.clone().carry(client, from, turn));
                    }
                    Err(error) => {
                        // Out of file descriptors, usually: wait for connections to end.
                        eprintln!("local cloud: a load balancer cannot accept a connection: {error}");
                        sleep(Duration::from_millis(100)).await;
                    }
                },
                _ = changed.changed() => {}
                Some(_) = connections.join_next() => {}
                () = cloud.stopping() => return,
            }
        }
    }
}

#[derive(Clone)]
struct Balancer {
    cloud: Arc<Cloud>,
    region: String,
    arn: String,
}

/// Where a connection may go, and how.
struct Plan {
    routes: VecDeque<(Route, SocketAddrV4)>,
    sticky: bool,
    preserves_client_ip: bool,
    sends_proxy_protocol: bool,
}

impl Balancer {
    async fn listener(&self) -> Option<Listener> {
        self.cloud.read(&self.region, |region| region.elbv2.listeners.get(&self.arn).cloned()).await
    }

    async fn plan(&self) -> Option<Plan> {
        self.cloud.read(&self.region, |region| plan(region, &self.region, &self.arn)).await
    }

    async fn carry(self, mut client: TcpStream, from: SocketAddr, turn: u64) {
        let Some(plan) = self.plan().await else { return };
        let Ok(here) = client.local_addr() else { return };
        let Some((route, mut target)) = connect(&plan, from, turn).await else { return };
        let _counted = Counted::new(&self.cloud, &route);
        // What small messages would wait for is a delay that the client never asked for.
        let _ = (client.set_nodelay(true), target.set_nodelay(true));
        if plan.sends_proxy_protocol && target.write_all(&proxy_header(from, here)).await.is_err() {
            return;
        }
        tokio::select! {
            // That either side ends is all there is to a connection.
            _ = copy_bidirectional(&mut client, &mut target) => {}
            () = self.cut(&route) => {}
        }
    }

    /// Returns when the target group's attributes say that a connection to this target ends.
    async fn cut(&self, route: &Route) {
        let mut changed = self.cloud.changed();
        loop {
            changed.mark_unchanged();
            let ends = self.cloud.read(&self.region, |region| {
                let Some(group) = region.elbv2.target_groups.get(&route.group) else { return true };
                match group.target(&route.target, route.port) {
                    None => group.ends_drained_connections(),
                    // Where all are unhealthy they are all tried, and kept.
                    Some(target) => {
                        target.state == TargetState::Unhealthy
                            && group.ends_unhealthy_connections()
                            && group.targets.iter().any(|other| other.state == TargetState::Healthy)
                    }
                }
            });
            // The sender lives as long as the cloud, so waiting fails only when all is over.
            if ends.await || changed.changed().await.is_err() {
                return;
            }
        }
    }
}

fn plan(region: &Region, region_name: &str, listener: &str) -> Option<Plan> {
    let listener = region.elbv2.listeners.get(listener)?;
    let group = region.elbv2.target_groups.get(&listener.target_group)?;
    let used: Vec<_> = group
        .targets
        .iter()
        .filter(|target| {
            target.state != TargetState::Draining && region.unused(region_name, group, target).is_none()
        })
        .collect();
    let healthy = used.iter().any(|target| target.state == TargetState::Healthy);
    let routes = used
        .into_iter()
        .filter(|target| !healthy || target.state == TargetState::Healthy)
        .filter_map(|target| {
            let address = region.target_address(group, &target.id, target.port)?;
            let route = Route { group: group.arn.clone(), target: target.id.clone(), port: target.port };
            Some((route, address))
        })
        .collect();
    Some(Plan {
        routes,
        sticky: group.is_sticky(),
        preserves_client_ip: group.preserves_client_ip(),
        sends_proxy_protocol: group.sends_proxy_protocol(),
    })
}

/// The targets take turns, or are chosen by the client's address; one that takes no connection is passed over.
async fn connect(plan: &Plan, from: SocketAddr, turn: u64) -> Option<(Route, TcpStream)> {
    let count = u64::try_from(plan.routes.len()).ok().filter(|count| *count > 0)?;
    let chosen = if plan.sticky {
        let mut hasher = DefaultHasher::new();
        from.ip().hash(&mut hasher);
        hasher.finish()
    } else {
        turn
    };
    let mut routes = plan.routes.clone();
    routes.rotate_left(usize::try_from(chosen % count).unwrap_or(0));
    for (route, address) in routes {
        let connecting = async {
            let socket = TcpSocket::new_v4()?;
            // All of 127.0.0.0/8 is this machine on Linux, so that a client's address there can be kept.
            if plan.preserves_client_ip && cfg!(target_os = "linux") && from.ip().is_loopback() {
                socket.bind(SocketAddr::new(from.ip(), 0))?;
            }
            socket.connect(SocketAddr::V4(address)).await
        };
        if let Ok(Ok(stream)) = timeout(CONNECT, connecting).await {
            return Some((route, stream));
        }
    }
    None
}

/// The PROXY protocol's header, version 2, for TCP over IPv4 (haproxy.org, proxy-protocol.txt, section 2.2).
fn proxy_header(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (from.ip(), to.ip()) else {
        // LOCAL: nothing is known about the client.
        header.extend([0x20, 0x00, 0, 0]);
        return header;
    };
    header.extend([0x21, 0x11, 0, 12]);
    header.extend(source.octets());
    header.extend(destination.octets());
    header.extend(from.port().to_be_bytes());
    header.extend(to.port().to_be_bytes());
    header
}
