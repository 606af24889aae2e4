//! Where databases come from: `CreateDBInstance`, and a snapshot that is restored. Everything that they name must exist.

use std::net::{Ipv4Addr, TcpListener};

use postgres_protocol::password::scram_sha_256;

use super::instance::{Database, Status, one, unsupported};
use super::master_secret::{self, Wanted};
use super::settings::Settings;
use super::snapshot::{self, SnapshotStatus};
use super::{check_groups, identifier, parameter_group, subnet_group, tags_of_request};
use crate::cloud::fresh_id;
use crate::ec2::subnets;
use crate::postgres;
use crate::query::{Access, Answer, AwsError, Call, Operation, invalid};
use crate::time::Time;

pub(super) const OPERATIONS: &[Operation] = &[
    ("CreateDBInstance", Access::Change, create_db_instance),
    ("RestoreDBInstanceFromDBSnapshot", Access::Change, restore_db_instance_from_db_snapshot),
];

fn free_port(call: &Call<'_>) -> Result<u16, AwsError> {
    let taken = |port| call.region.rds.instances.values().any(|database| database.port == port);
    loop {
        let found = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let port = found
            .map_err(|error| {
                AwsError::with_status(500, "InternalFailure", format!("no port is free: {error}"))
            })?
            .port();
        if !taken(port) {
            return Ok(port);
        }
    }
}

fn installed() -> Result<postgres::Binaries, AwsError> {
    postgres::find().map_err(|missing| AwsError::new("InsufficientDBInstanceCapacity", missing.to_string()))
}

fn create_db_instance(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let id = identifier("DBInstanceIdentifier", form.required("DBInstanceIdentifier")?, 63)?;
    let engine = form.required("Engine")?;
    if engine != "postgres" {
        return Err(AwsError::new(
            "InvalidParameterValue",
            format!("Invalid DB engine: {engine} (the local cloud has postgres)"),
        ));
    }
    form.required("DBInstanceClass")?;
    let binaries = installed()?;
    let engine_version = super::engine::resolve(&binaries, form.get("EngineVersion"))?;
    form.required("AllocatedStorage")?;
    let mut settings = Settings::new().with(call)?;
    settings.encrypted = form.flag("StorageEncrypted")?.unwrap_or(false);
    settings.key = form.get("KmsKeyId").map(str::to_string);
    unsupported(call)?;
    let master_username = form.required("MasterUsername")?;
    check_name("MasterUsername", master_username, &["admin", "rdsadmin", "rds_superuser", "public", "user"])?;
    let master = master_secret::of_request(call, false)?;
    if matches!(master, Wanted::Unnamed) {
        form.required("MasterUserPassword")?;
    }
    let name = form.get("DBName").map(str::to_string);
    if let Some(name) = &name {
        check_name("DBName", name, &["rdsadmin", "template0", "template1", "db"])?;
    }
    if let Some(port) = form.number("Port")?
        && !(1150..=65535).contains(&port)
    {
        return Err(invalid("Port", &port.to_string(), "1150 to 65535"));
    }
    let tags = tags_of_request(call)?;
    if call.region.rds.instances.contains_key(&id) {
        return Err(AwsError::new("DBInstanceAlreadyExists", format!("DB instance {id} already exists")));
    }
    if let Some(group) = &settings.parameter_group {
        parameter_group::check(call.region, group, &engine_version)?;
    }
    let database = place(
        call,
        Database {
            id,
            resource_id: String::new(),
            status: Status::Creating,
            problem: None,
            port: free_port(call)?,
            master_username: master_username.to_string(),
            pending_verifier: None,
            master_secret: None,
            name,
            groups: Vec::new(),
            source_snapshot: None,
            engine_version,
            subnet_group: None,
            settings,
            pending: None,
            tags,
            created: Time::now(),
            zone: String::new(),
        },
    )?;
    add(call, database, master)
}

/// Puts a new database into the network that the request names.
fn place(call: &Call<'_>, mut database: Database) -> Result<Database, AwsError> {
    let form = call.form;
    database.resource_id = fresh_id("db").to_ascii_uppercase().replace("DB-", "db-");
    database.groups = form.list("VpcSecurityGroupIds");
    check_groups(call.region, &database.groups)?;
    if database.groups.is_empty() {
        database.groups.extend(call.region.ec2.default_group().map(|group| group.id.clone()));
    }
    database.subnet_group = form.get("DBSubnetGroupName").map(str::to_ascii_lowercase);
    if let Some(name) = database.subnet_group.as_ref().filter(|name| *name != "default")
        && !call.region.rds.subnet_groups.contains_key(name)
    {
        return Err(subnet_group::not_found(name));
    }
    let zones: Vec<String> = subnets(call.region_name).into_iter().map(|subnet| subnet.zone).collect();
    let zone = form.get("AvailabilityZone").map(str::to_string);
    if let Some(zone) = zone.as_ref().filter(|zone| !zones.contains(zone)) {
        return Err(AwsError::new(
            "InvalidParameterValue",
            format!("Availability zone [{zone}] does not exist"),
        ));
    }
    database.zone = zone.or_else(|| zones.into_iter().next()).unwrap_or_default();
    Ok(database)
}

fn add(call: &mut Call<'_>, mut database: Database, master: Wanted) -> Answer {
    call.region.set_master_password(call.region_name, &mut database, master)?;
    let xml = one(call, &database);
    call.region.rds.instances.insert(database.id.clone(), database);
    Ok(xml)
}

fn restore_db_instance_from_db_snapshot(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let id = identifier("DBInstanceIdentifier", form.required("DBInstanceIdentifier")?, 63)?;
    let snapshot_id = form.required("DBSnapshotIdentifier")?.to_ascii_lowercase();
    let snapshot =
        call.region.rds.snapshots.get(&snapshot_id).ok_or_else(|| snapshot::not_found(&snapshot_id))?;
    if snapshot.status != SnapshotStatus::Available {
        return Err(AwsError::new(
            "InvalidDBSnapshotState",
            format!("DB snapshot {snapshot_id} is not available yet"),
        ));
    }
    if call.region.rds.instances.contains_key(&id) {
        return Err(AwsError::new("DBInstanceAlreadyExists", format!("DB instance {id} already exists")));
    }
    if let Some(engine) = form.get("Engine").filter(|engine| *engine != "postgres") {
        return Err(AwsError::new("InvalidParameterValue", format!("Invalid DB engine: {engine}")));
    }
    let source = snapshot.database.clone();
    let source_snapshot = Some(snapshot.resource_id.clone());
    unsupported(call)?;
    let master = master_secret::of_request(call, false)?;
    let mut settings = Settings { deletion_protection: false, ..source.settings.clone() }.with(call)?;
    settings.encrypted = source.settings.encrypted;
    if let Some(group) = &settings.parameter_group {
        parameter_group::check(call.region, group, &source.engine_version)?;
    }
    form.ignore(&["Port"]);
    let tags = tags_of_request(call)?;
    let database = place(
        call,
        Database {
            id,
            status: Status::Creating,
            problem: None,
            port: free_port(call)?,
            pending_verifier: None,
            // The source's secret stays the source's.
            master_secret: None,
            source_snapshot,
            settings,
            pending: None,
            tags,
            created: Time::now(),
            ..source
        },
    )?;
    add(call, database, master)
}

pub(super) fn check_password(password: &str) -> Result<String, AwsError> {
    let allowed = |character: char| (' '..='~').contains(&character) && !"/@\" ".contains(character);
    if !(8..=128).contains(&password.len()) || !password.chars().all(allowed) {
        return Err(AwsError::new(
            "InvalidParameterValue",
            "The parameter MasterUserPassword is not a valid password: 8 to 128 printable ASCII characters besides '/', '@', '\"', ' ' may be used.",
        ));
    }
    Ok(scram_sha_256(password.as_bytes()))
}

/// A name that PostgreSQL and RDS both take: for the master user and the first database.
fn check_name(parameter: &str, name: &str, reserved: &[&str]) -> Result<(), AwsError> {
    let fits = (1..=63).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !fits || name.starts_with("pg_") {
        return Err(AwsError::new(
            "InvalidParameterValue",
            format!(
                "{parameter} `{name}` must begin with a letter and contain only alphanumeric characters and underscores, at most 63"
            ),
        ));
    }
    if reserved.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(AwsError::new(
            "InvalidParameterValue",
            format!("{parameter} {name} cannot be used as it is a reserved word used by the engine"),
        ));
    }
    Ok(())
}
