//! Makes an RDS instance real: a PostgreSQL server of its own, with the roles that RDS gives, watched and restarted; snapshots that
//! are its data. One task per database, which moves its status on when that has happened.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::Error;
use crate::cloud::{Cloud, Region};
use crate::folder::Folder;
use crate::postgres::{authority, cluster::Cluster};
use crate::query::Access;
use crate::rds::{Database, FORCE_SSL, SnapshotStatus, Status};

const PASSWORD_FILE: &str = "rdsadmin.password";
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// How often a running server is looked after.
const WATCH: Duration = Duration::from_secs(2);
/// `deleting` stays visible for at least this long, so that whoever deletes has to wait as on AWS.
const DELETING: Duration = Duration::from_secs(1);

pub(crate) async fn run(cloud: Arc<Cloud>, region: String, id: String) {
    let keeper = Keeper { cloud: cloud.clone(), region, id };
    let mut changed = cloud.changed();
    let mut retry = FIRST_RETRY;
    'keep: while let Some(database) = keeper.database().await {
        changed.mark_unchanged();
        // A step is never cut off: it would leave programs behind that still write.
        let (wait, settled) = match keeper.step(&database).await {
            Ok(()) => {
                retry = FIRST_RETRY;
                let is_stopped = matches!(database.status, Status::Stopping | Status::Stopped);
                (WATCH, if is_stopped { Status::Stopped } else { Status::Available })
            }
            Err(error) => {
                eprintln!("local cloud: database {}: {}", database.id, with_causes(&error));
                keeper.set(|database| database.problem = Some(with_causes(&error))).await;
                let wait = retry;
                retry = (retry * 2).min(LAST_RETRY);
                (wait, database.status)
            }
        };
        let due = Instant::now() + wait;
        // Most changes are of other resources: looking after the server at each of them would be a login each time.
        while keeper.database().await.is_some_and(|database| database.status == settled) {
            tokio::select! {
                _ = changed.changed() => {}
                () = sleep_until(due) => break,
                () = cloud.stopping() => break 'keep,
            }
        }
        if cloud.is_stopping() {
            break;
        }
    }
    if let Some(database) = keeper.database().await
        && let Ok(cluster) = keeper.cluster(&database)
        && let Err(error) = cluster.stop().await
    {
        eprintln!("local cloud: database {}: {}", database.id, with_causes(&error));
    }
}

pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl Cloud {
    pub(crate) fn database_home(&self, region: &str, resource_id: &str) -> PathBuf {
        self.folder.databases().join("instances").join(region).join(resource_id)
    }

    pub(crate) fn snapshot_home(&self, region: &str, resource_id: &str) -> PathBuf {
        self.folder.databases().join("snapshots").join(region).join(resource_id)
    }
}

struct Keeper {
    cloud: Arc<Cloud>,
    region: String,
    id: String,
}

impl Keeper {
    async fn database(&self) -> Option<Database> {
        self.cloud.read(&self.region, |region| region.rds.instances.get(&self.id).cloned()).await
    }

    async fn set(&self, change: impl FnOnce(&mut Database)) {
        self.cloud
            .record(&self.region, |region| {
                if let Some(database) = region.rds.instances.get_mut(&self.id) {
                    change(database);
                }
            })
            .await;
    }

    fn snapshot_home(&self, id: &str) -> PathBuf {
        self.cloud.snapshot_home(&self.region, id)
    }

    fn cluster(&self, database: &Database) -> Result<Cluster, Error> {
        Ok(Cluster {
            name: database.id.clone(),
            home: self.cloud.database_home(&self.region, &database.resource_id),
            port: database.port,
            password: superuser_password(&self.cloud.folder)?,
        })
    }

    /// Brings the server one step closer to what the status asks for.
    async fn step(&self, database: &Database) -> Result<(), Error> {
        let cluster = self.cluster(database)?;
        match database.status {
            Status::Creating => {
                if !cluster.exists() {
                    match &database.source_snapshot {
                        Some(id) => cluster.create_from(&self.snapshot_home(id)).await?,
                        None => cluster.create(&crate::postgres::find()?).await?,
                    }
                }
                self.start(&cluster).await?;
                self.grant(&cluster, database).await?;
                self.configure(&cluster, database).await?;
                self.become_available().await;
            }
            Status::Starting => {
                self.start(&cluster).await?;
                self.become_available().await;
            }
            Status::Modifying => {
                self.start(&cluster).await?;
                self.grant(&cluster, database).await?;
                self.configure(&cluster, database).await?;
                self.become_available().await;
            }
            Status::Rebooting => {
                cluster.stop().await?;
                self.start(&cluster).await?;
                self.become_available().await;
            }
            Status::Available => {
                if cluster.answers().await.is_err() {
                    eprintln!("local cloud: database {} does not answer: starting it again", database.id);
                    self.start(&cluster).await?;
                }
                self.rotate().await;
            }
            Status::BackingUp => {
                self.start(&cluster).await?;
                for id in self.snapshots_to_take().await {
                    cluster.copy_to(&self.snapshot_home(&id)).await?;
                    self.snapshot_taken(&id).await;
                }
                self.become_available().await;
            }
            Status::Stopping => {
                cluster.stop().await?;
                self.set(|database| {
                    if database.status == Status::Stopping {
                        database.status = Status::Stopped;
                    }
                    database.problem = None;
                })
                .await;
            }
            Status::Stopped => {}
            Status::Deleting => {
                let visible = sleep(DELETING);
                cluster.stop().await?;
                let kept = self.snapshots_to_take().await;
                match kept.first() {
                    Some(id) => cluster.become_snapshot(&self.snapshot_home(id))?,
                    None => cluster.destroy()?,
                }
                visible.await;
                for id in &kept {
                    self.snapshot_taken(id).await;
                }
                self.cloud.record(&self.region, |region| drop(region.rds.instances.remove(&self.id))).await;
            }
        }
        Ok(())
    }

    async fn start(&self, cluster: &Cluster) -> Result<(), Error> {
        cluster.start(|| authority::issue(&self.cloud.folder)).await
    }

    /// The server does what the database's parameter group says.
    async fn configure(&self, cluster: &Cluster, database: &Database) -> Result<(), Error> {
        let group = database.parameter_group();
        let parameters = self.cloud.read(&self.region, |region| region.engine_parameters(group)).await;
        let force_ssl = parameters.get(FORCE_SSL).is_some_and(|value| value == "1");
        cluster.admit(force_ssl)?;
        let failed = |source| Error::Database { database: database.id.clone(), source };
        let client = cluster.connect("postgres").await?;
        for (name, value) in parameters.iter().filter(|(name, _)| *name != FORCE_SSL) {
            // Names and values are those of our own table, numbers and words.
            client.batch_execute(&format!("alter system set {name} = '{value}'")).await.map_err(failed)?;
        }
        client.batch_execute("select pg_reload_conf()").await.map_err(failed)
    }

    async fn become_available(&self) {
        self.set(|database| {
            // A request may have asked for something else meanwhile; that comes next.
            if matches!(
                database.status,
                Status::Creating
                    | Status::Starting
                    | Status::Modifying
                    | Status::Rebooting
                    | Status::BackingUp
            ) {
                database.status = Status::Available;
            }
            database.problem = None;
        })
        .await;
    }

    /// Gives the master user another password when the week of the last one is over.
    async fn rotate(&self) {
        let due = self.cloud.read(&self.region, |region| region.master_secret_due(&self.id)).await;
        let Some(secret) = due else { return };
        let rotate = |region: &mut Region, _: &mut _| region.rotate_master_password(&secret, None);
        if let Err(error) = self.cloud.run(&self.region, Access::Change, rotate).await {
            eprintln!("local cloud: the master password of {} is not rotated: {error}", self.id);
        }
    }

    async fn snapshots_to_take(&self) -> Vec<String> {
        let of_this = |region: &Region| {
            let snapshots = region.rds.snapshots.values();
            snapshots
                .filter(|snapshot| {
                    snapshot.status == SnapshotStatus::Creating && snapshot.database.id == self.id
                })
                .map(|snapshot| snapshot.resource_id.clone())
                .collect()
        };
        self.cloud.read(&self.region, of_this).await
    }

    async fn snapshot_taken(&self, resource_id: &str) {
        self.cloud
            .record(&self.region, |region| {
                let mut snapshots = region.rds.snapshots.values_mut();
                if let Some(snapshot) = snapshots.find(|snapshot| snapshot.resource_id == resource_id) {
                    snapshot.status = SnapshotStatus::Available;
                }
            })
            .await;
    }

    /// The roles as on RDS: the master user is no superuser; it owns the database that was asked for. May be run again.
    async fn grant(&self, cluster: &Cluster, database: &Database) -> Result<(), Error> {
        let failed = |source| Error::Database { database: database.id.clone(), source };
        let client = cluster.connect("postgres").await?;
        let exists = async |catalog: &str, column: &str, name: &str| {
            let found =
                client.query_opt(&format!("select 1 from {catalog} where {column} = $1"), &[&name]).await;
            found.map(|row| row.is_some()).map_err(failed)
        };
        let mut statements = Vec::new();
        if !exists("pg_roles", "rolname", "rds_superuser").await? {
            statements.push("create role rds_superuser nologin".to_string());
            statements
                .push("grant pg_monitor, pg_signal_backend to rds_superuser with admin option".to_string());
        }
        let master = quote_identifier(&database.master_username);
        if !exists("pg_roles", "rolname", &database.master_username).await? {
            statements.push(format!("create role {master} login createdb createrole"));
            statements.push(format!("grant rds_superuser to {master}"));
            statements.push(format!("alter database postgres owner to {master}"));
        }
        if let Some(verifier) = &database.pending_verifier {
            statements.push(format!("alter role {master} password '{verifier}'"));
        }
        for statement in statements {
            client.batch_execute(&statement).await.map_err(failed)?;
        }
        if let Some(name) = &database.name
            && !exists("pg_database", "datname", name).await?
        {
            let create = format!("create database {} owner {master}", quote_identifier(name));
            client.batch_execute(&create).await.map_err(failed)?;
        }
        let applied = database.pending_verifier.clone();
        self.set(|database| {
            if database.pending_verifier == applied {
                database.pending_verifier = None;
            }
        })
        .await;
        Ok(())
    }
}

fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// One password for the superuser of all databases of the folder, so that a snapshot can be restored as any of them.
pub(crate) fn superuser_password(folder: &Folder) -> Result<String, Error> {
    if let Some(password) = folder.read(PASSWORD_FILE)? {
        return Ok(password);
    }
    let password = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
    folder.write(PASSWORD_FILE, password.as_bytes())?;
    Ok(password)
}
