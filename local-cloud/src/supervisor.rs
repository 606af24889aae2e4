//! The process that is the local cloud: takes the folder's lock, restores the state, opens the endpoint, keeps one task per
//! instance and database, and on SIGTERM, SIGINT or `POST /_local/shutdown` stops them all cleanly.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::balancer::Route;
use crate::cloud::{ACCOUNT, Cloud, DEFAULT_REGION, State};
use crate::ec2::InstanceState;
use crate::elbv2::LoadBalancerState;
use crate::folder::Folder;
use crate::postgres::authority;
use crate::{Error, Running, Settings, balancer, database, elastic_ip, endpoint, machine, probe};

/// How often what has had its time is forgotten.
const SWEEP: Duration = Duration::from_secs(30);

/// Serves the local cloud of this folder until it is told to stop. Needs a multi-threaded runtime, because the state is written to disk
/// in between requests.
pub async fn serve(settings: Settings) -> Result<(), Error> {
    let folder = Folder::open(&settings.folder)?;
    let _lock = folder.lock()?;
    let mut state = Cloud::load(&folder)?;
    for region in state.regions.values_mut() {
        region.rds.restart();
        region.elbv2.restart();
    }
    // Made before the databases' tasks could race to make them.
    authority::authority(&folder)?;
    database::superuser_password(&folder)?;
    let listener = listen(&mut state).await?;
    let address =
        listener.local_addr().map_err(|source| Error::Listen { address: "127.0.0.1".into(), source })?;
    let endpoint = format!("http://{address}");
    let cloud = Cloud::new(settings, folder.clone(), endpoint.clone(), state)?;
    cloud.save_now().await?;

    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let serving = tokio::spawn(endpoint::serve(cloud.clone(), listener));
    let data_plane = tokio::spawn(keep_real(cloud.clone()));
    let running =
        Running { endpoint, pid: std::process::id(), account: ACCOUNT.into(), region: DEFAULT_REGION.into() };
    let text = serde_json::to_vec_pretty(&running)
        .map_err(|error| Error::State { path: folder.join("cloud.json"), reason: error.to_string() })?;
    folder.write("cloud.json", &text)?;

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = cloud.stopping() => {}
    }
    cloud.stop();
    folder.remove("cloud.json")?;
    if let Err(error) = data_plane.await {
        eprintln!("local cloud: the data plane ended badly: {error}");
    }
    serving.abort();
    cloud.save_now().await
}

/// The port of last time, or another one if a different program has it by now.
async fn listen(state: &mut State) -> Result<TcpListener, Error> {
    if let Some(port) = state.port
        && let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
    {
        return Ok(listener);
    }
    let failed = |source| Error::Listen { address: "127.0.0.1:0".into(), source };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
    state.port = Some(listener.local_addr().map_err(failed)?.port());
    Ok(listener)
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Resource {
    Instance(String, String),
    Database(String, String),
    /// While it leads somewhere.
    ElasticIp(String, String),
    /// Until it is active.
    LoadBalancer(String, String),
    Listener(String, String),
    Target(String, Route),
}

/// Keeps a task for every resource that has something real behind it.
async fn keep_real(cloud: Arc<Cloud>) {
    let mut changed = cloud.changed();
    let mut live: HashSet<Resource> = HashSet::new();
    let mut tasks: JoinSet<Resource> = JoinSet::new();
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        changed.mark_unchanged();
        for resource in cloud.read_all(resources).await {
            if live.insert(resource.clone()) {
                let cloud = cloud.clone();
                tasks.spawn(async move {
                    match &resource {
                        Resource::Instance(region, id) => {
                            machine::run(cloud, region.clone(), id.clone()).await
                        }
                        Resource::Database(region, id) => {
                            database::run(cloud, region.clone(), id.clone()).await
                        }
                        Resource::ElasticIp(region, id) => {
                            elastic_ip::run(cloud, region.clone(), id.clone()).await
                        }
                        Resource::LoadBalancer(region, arn) => {
                            balancer::provision(cloud, region.clone(), arn.clone()).await
                        }
                        Resource::Listener(region, arn) => {
                            balancer::listen(cloud, region.clone(), arn.clone()).await
                        }
                        Resource::Target(region, route) => {
                            probe::run(cloud, region.clone(), route.clone()).await
                        }
                    }
                    resource
                });
            }
        }
        tokio::select! {
            _ = changed.changed() => {}
            Some(ended) = tasks.join_next() => match ended {
                Ok(resource) => { live.remove(&resource); }
                Err(error) => eprintln!("local cloud: a task of the data plane ended badly: {error}"),
            },
            _ = sweep.tick() => forget(&cloud).await,
            () = cloud.stopping() => break,
        }
    }
    while tasks.join_next().await.is_some() {}
}

fn resources(state: &State) -> Vec<Resource> {
    let mut resources = Vec::new();
    for (name, region) in &state.regions {
        let instances =
            region.ec2.instances.values().filter(|instance| instance.state != InstanceState::Terminated);
        resources.extend(instances.map(|instance| Resource::Instance(name.clone(), instance.id.clone())));
        let addresses = region.ec2.addresses.keys().filter(|id| region.ec2.route(id).is_some());
        resources.extend(addresses.map(|id| Resource::ElasticIp(name.clone(), id.clone())));
        let databases = region.rds.instances.keys();
        resources.extend(databases.map(|id| Resource::Database(name.clone(), id.clone())));
        for balancer in region.elbv2.load_balancers.values() {
            if balancer.state == LoadBalancerState::Provisioning {
                resources.push(Resource::LoadBalancer(name.clone(), balancer.arn.clone()));
                continue;
            }
            let listeners = region.elbv2.listeners.values();
            let its = listeners.filter(|listener| listener.load_balancer == balancer.arn);
            resources.extend(its.map(|listener| Resource::Listener(name.clone(), listener.arn.clone())));
        }
        for group in region.elbv2.target_groups.values() {
            resources.extend(group.targets.iter().map(|target| {
                let route = Route { group: group.arn.clone(), target: target.id.clone(), port: target.port };
                Resource::Target(name.clone(), route)
            }));
        }
    }
    resources
}

/// Forgets instances that were terminated long ago, and removes the data of deleted snapshots.
async fn forget(cloud: &Cloud) {
    let (instances, snapshots) = cloud
        .read_all(|state| {
            let (mut instances, mut snapshots) = (Vec::new(), Vec::new());
            for (name, region) in &state.regions {
                let old = region.ec2.instances.values().filter(|instance| instance.is_forgotten());
                instances.extend(old.map(|instance| (name.clone(), instance.id.clone())));
                snapshots.extend(region.rds.deleted_snapshots.iter().map(|id| (name.clone(), id.clone())));
            }
            (instances, snapshots)
        })
        .await;
    for (region, id) in instances {
        cloud.record(&region, |region| drop(region.ec2.instances.remove(&id))).await;
        remove_folder(&cloud.folder.instance(&id));
    }
    for (region, id) in snapshots {
        remove_folder(&cloud.snapshot_home(&region, &id));
        cloud.record(&region, |region| region.rds.deleted_snapshots.retain(|kept| *kept != id)).await;
    }
}

fn remove_folder(path: &Path) {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            eprintln!("local cloud: cannot remove `{}`: {error}", path.display());
        }
        _ => {}
    }
}
