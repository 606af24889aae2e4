//! Database instances: created, shown, changed, deleted with RDS's guards against losing data.

use serde::{Deserialize, Serialize};

use super::master_secret;
use super::settings::Settings;
use super::show::database_xml;
use super::snapshot::{self, Snapshot};
use super::{Tags, arn, check_groups, identifier, parameter_group};
use crate::query::{Access, Answer, AwsError, Call, Operation};
use crate::select::{Filters, RDS_PAGES};
use crate::time::Time;
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("DescribeDBInstances", Access::Read, describe_db_instances),
    ("ModifyDBInstance", Access::Change, modify_db_instance),
    ("RebootDBInstance", Access::Change, reboot_db_instance),
    ("DeleteDBInstance", Access::Change, delete_db_instance),
    ("StopDBInstance", Access::Change, stop_db_instance),
    ("StartDBInstance", Access::Change, start_db_instance),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Status {
    Creating,
    Available,
    Modifying,
    Rebooting,
    BackingUp,
    Deleting,
    Starting,
    Stopping,
    Stopped,
}

impl Database {
    pub(crate) fn parameter_group(&self) -> Option<&str> {
        self.settings.parameter_group.as_deref()
    }
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Available => "available",
            Status::Modifying => "modifying",
            Status::Rebooting => "rebooting",
            Status::BackingUp => "backing-up",
            Status::Deleting => "deleting",
            Status::Starting => "starting",
            Status::Stopping => "stopping",
            Status::Stopped => "stopped",
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Database {
    pub(crate) id: String,
    pub(crate) resource_id: String,
    pub(crate) status: Status,
    /// Why the last attempt to make the status real failed; the next one comes by itself.
    pub(crate) problem: Option<String>,
    /// The server's own port, kept for its life.
    pub(crate) port: u16,
    pub(crate) master_username: String,
    /// The SCRAM verifier that the master user is to get; a password is never stored.
    pub(crate) pending_verifier: Option<String>,
    /// The ARN of the secret that RDS keeps the master user's password in.
    #[serde(default)]
    pub(super) master_secret: Option<String>,
    /// The first database, `DBName`.
    pub(crate) name: Option<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) source_snapshot: Option<String>,
    pub(super) engine_version: String,
    pub(super) subnet_group: Option<String>,
    pub(super) settings: Settings,
    /// Changes that wait for `ApplyImmediately` (or, on AWS, for the maintenance window).
    pub(super) pending: Option<Settings>,
    pub(super) tags: Tags,
    pub(super) created: Time,
    pub(super) zone: String,
}

pub(super) fn not_found(id: &str) -> AwsError {
    AwsError::with_status(404, "DBInstanceNotFound", format!("DBInstance {id} not found."))
}

pub(super) fn unsupported(call: &Call<'_>) -> Result<(), AwsError> {
    let refused = ["DBClusterIdentifier", "OptionGroupName", "Domain", "DBSecurityGroups"];
    match refused.into_iter().find(|name| call.form.has(name) && call.form.get(name) != Some("false")) {
        None => Ok(()),
        Some(name) => Err(AwsError::new(
            "InvalidParameterCombination",
            format!("The local cloud does not have the parameter {name}"),
        )),
    }
}

pub(super) fn one(call: &Call<'_>, database: &Database) -> Xml {
    let mut xml = Xml::new();
    xml.nest("DBInstance", |xml| database_xml(xml, call, database));
    xml
}

fn describe_db_instances(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let filters = Filters::parse(
        form,
        "Filters",
        "Values",
        &["db-instance-id", "dbi-resource-id", "engine", "db-cluster-id"],
    )?;
    let wanted = form.get("DBInstanceIdentifier").map(|id| id.to_ascii_lowercase());
    let databases = &call.region.rds.instances;
    if let Some(id) = wanted.as_ref().filter(|id| !databases.contains_key(*id)) {
        return Err(not_found(id));
    }
    let selected = databases
        .values()
        .filter(|database| wanted.as_ref().is_none_or(|id| *id == database.id))
        .filter(|database| {
            filters.matches(|name| match name {
                "db-instance-id" => vec![database.id.clone(), arn(call.region_name, "db", &database.id)],
                "dbi-resource-id" => vec![database.resource_id.clone()],
                "engine" => vec!["postgres".into()],
                _ => vec![],
            })
        })
        .collect();
    let (page, next) = RDS_PAGES.page(form, selected)?;
    let mut xml = Xml::new();
    xml.optional("Marker", next);
    xml.list("DBInstances", "DBInstance", page, |xml, database: &Database| database_xml(xml, call, database));
    Ok(xml)
}

/// The database a request names, if it is in a state in which it can be changed.
fn changeable<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Database, AwsError> {
    let id = call.form.required("DBInstanceIdentifier")?.to_ascii_lowercase();
    let database = call.region.rds.instances.get_mut(&id).ok_or_else(|| not_found(&id))?;
    // A modification may follow another before the first is through.
    if matches!(database.status, Status::Available | Status::Modifying) {
        return Ok(database);
    }
    Err(AwsError::new(
        "InvalidDBInstanceState",
        format!("Instance {id} is not currently in available state: it is {}", database.status.name()),
    ))
}

fn modify_db_instance(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    unsupported(call)?;
    let groups = form.list("VpcSecurityGroupIds");
    check_groups(call.region, &groups)?;
    if let Some(name) = form.get("DBSubnetGroupName") {
        return Err(AwsError::new(
            "InvalidVPCNetworkStateFault",
            format!(
                "The DB instance is in the default VPC already and cannot be moved to subnet group {name}"
            ),
        ));
    }
    let now = form.flag("ApplyImmediately")?.unwrap_or(false);
    let rotate = form.flag("RotateMasterUserPassword")?.unwrap_or(false);
    let current = changeable(call)?.clone();
    let master = master_secret::of_request(call, current.master_secret.is_some())?;
    if rotate && !(now && current.master_secret.is_some()) {
        return Err(AwsError::new(
            "InvalidParameterCombination",
            "RotateMasterUserPassword needs ApplyImmediately and an instance that manages its master user password.",
        ));
    }
    let base = current.pending.clone().unwrap_or_else(|| current.settings.clone());
    let wanted = base.with(call)?;
    if let Some(group) = &wanted.parameter_group {
        parameter_group::check(call.region, group, &current.engine_version)?;
    }
    if let Some(version) = form.get("EngineVersion")
        && version != current.engine_version
        && Some(version) != current.engine_version.split('.').next()
    {
        return Err(AwsError::new(
            "InvalidParameterCombination",
            format!(
                "Cannot upgrade postgres from {} to {version} in the local cloud",
                current.engine_version
            ),
        ));
    }
    form.ignore(&["AllowMajorVersionUpgrade", "CertificateRotationRestart"]);
    if wanted.storage_gib < current.settings.storage_gib {
        return Err(AwsError::new("InvalidParameterCombination", "Allocated storage cannot be reduced"));
    }
    let mut database = current;
    // Only these wait for the maintenance window on AWS; the rest is applied at once in any case.
    let mut applied = wanted.clone();
    if !now {
        applied.class.clone_from(&database.settings.class);
        applied.storage_gib = database.settings.storage_gib;
        applied.storage_type.clone_from(&database.settings.storage_type);
        applied.multi_az = database.settings.multi_az;
        applied.iops = database.settings.iops;
    }
    database.pending = (applied != wanted).then_some(wanted);
    database.settings = applied;
    if !groups.is_empty() {
        database.groups = groups;
    }
    call.region.set_master_password(call.region_name, &mut database, master)?;
    database.status = Status::Modifying;
    let answer = Database { status: Status::Available, ..database.clone() };
    let secret = database.master_secret.clone().filter(|_| rotate);
    call.region.rds.instances.insert(database.id.clone(), database);
    if let Some(secret) = secret {
        call.region.rotate_master_password(&secret, None)?;
    }
    Ok(one(call, &answer))
}

fn reboot_db_instance(call: &mut Call<'_>) -> Answer {
    let failover = call.form.flag("ForceFailover")?.unwrap_or(false);
    let database = changeable(call)?;
    if database.status != Status::Available {
        return Err(AwsError::new(
            "InvalidDBInstanceState",
            format!(
                "Instance {} is not currently in available state: it is {}",
                database.id,
                database.status.name()
            ),
        ));
    }
    if failover && !database.settings.multi_az {
        return Err(AwsError::new(
            "InvalidParameterCombination",
            "The DB instance does not have a standby that it could fail over to: it is not Multi-AZ",
        ));
    }
    database.status = Status::Rebooting;
    let answer = database.clone();
    Ok(one(call, &answer))
}

/// The database that a request names, moved from one status to the next.
fn moved(call: &mut Call<'_>, from: Status, to: Status) -> Answer {
    let id = call.form.required("DBInstanceIdentifier")?.to_ascii_lowercase();
    let database = call.region.rds.instances.get_mut(&id).ok_or_else(|| not_found(&id))?;
    if database.status != from {
        return Err(AwsError::new(
            "InvalidDBInstanceState",
            format!(
                "Instance {id} is not currently in {} state: it is {}",
                from.name(),
                database.status.name()
            ),
        ));
    }
    database.status = to;
    let answer = database.clone();
    Ok(one(call, &answer))
}

/// What is in it stays. On AWS it is started again after seven days; here it stays stopped.
fn stop_db_instance(call: &mut Call<'_>) -> Answer {
    if call.form.has("DBSnapshotIdentifier") {
        return Err(AwsError::new(
            "InvalidParameterCombination",
            "The local cloud takes no snapshot when it stops a database: take one before",
        ));
    }
    moved(call, Status::Available, Status::Stopping)
}

fn start_db_instance(call: &mut Call<'_>) -> Answer {
    moved(call, Status::Stopped, Status::Starting)
}

fn delete_db_instance(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let skip = form.flag("SkipFinalSnapshot")?.unwrap_or(false);
    let final_snapshot = form.get("FinalDBSnapshotIdentifier");
    form.ignore(&["DeleteAutomatedBackups"]);
    let id = form.required("DBInstanceIdentifier")?.to_ascii_lowercase();
    let database = call.region.rds.instances.get(&id).ok_or_else(|| not_found(&id))?;
    if database.status == Status::Deleting {
        return Err(AwsError::new(
            "InvalidDBInstanceState",
            format!("Instance {id} is already being deleted."),
        ));
    }
    if database.settings.deletion_protection {
        return Err(AwsError::new(
            "InvalidParameterCombination",
            "Cannot delete protected DB Instance, please disable deletion protection and try again.",
        ));
    }
    let snapshot_id = match (skip, final_snapshot) {
        (true, None) => None,
        (false, Some(name)) => Some(identifier("FinalDBSnapshotIdentifier", name, 255)?),
        (true, Some(_)) => {
            return Err(AwsError::new(
                "InvalidParameterCombination",
                "FinalDBSnapshotIdentifier can not be specified when deleting an instance and SkipFinalSnapshot is true",
            ));
        }
        (false, None) => {
            return Err(AwsError::new(
                "InvalidParameterCombination",
                "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified.",
            ));
        }
    };
    // Without data there is nothing that a snapshot could keep.
    let deletable =
        matches!(database.status, Status::Available | Status::Modifying | Status::Starting | Status::Stopped)
            || (database.status == Status::Creating && snapshot_id.is_none() && database.problem.is_some());
    if !deletable {
        return Err(AwsError::new(
            "InvalidDBInstanceState",
            format!("Instance {id} is not currently in available state: it is {}", database.status.name()),
        ));
    }
    if let Some(snapshot_id) = snapshot_id {
        snapshot::check_free(call, &snapshot_id)?;
        let tags = if database.settings.copy_tags { database.tags.clone() } else { Tags::new() };
        let snapshot = Snapshot::new(snapshot_id, database.clone(), tags);
        call.region.rds.snapshots.insert(snapshot.id.clone(), snapshot);
    }
    let database = call.region.rds.instances.get_mut(&id).ok_or_else(|| not_found(&id))?;
    database.status = Status::Deleting;
    let answer = database.clone();
    let xml = one(call, &answer);
    if let Some(secret) = &answer.master_secret {
        call.region.secretsmanager.remove(secret);
    }
    Ok(xml)
}
