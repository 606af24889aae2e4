//! Database instances: created, shown, changed, deleted with RDS's guards against losing data.

use std::net::{Ipv4Addr, TcpListener};

use postgres_protocol::password::scram_sha_256;
use serde::{Deserialize, Serialize};

use super::snapshot::{self, Snapshot, SnapshotStatus};
use super::{Tags, arn, check_groups, identifier, subnet_group, tag_list, tags_of_request};
use crate::cloud::fresh_id;
use crate::ec2::{subnets, vpc_id};
use crate::postgres;
use crate::query::{Access, Answer, AwsError, Call, Operation, invalid};
use crate::select::{Filters, RDS_PAGES};
use crate::time::Time;
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("CreateDBInstance", Access::Change, create_db_instance),
    ("DescribeDBInstances", Access::Read, describe_db_instances),
    ("ModifyDBInstance", Access::Change, modify_db_instance),
    ("DeleteDBInstance", Access::Change, delete_db_instance),
    ("RestoreDBInstanceFromDBSnapshot", Access::Change, restore_db_instance_from_db_snapshot),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Status {
    Creating,
    Available,
    Modifying,
    BackingUp,
    Deleting,
    Starting,
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Available => "available",
            Status::Modifying => "modifying",
            Status::BackingUp => "backing-up",
            Status::Deleting => "deleting",
            Status::Starting => "starting",
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
    /// The first database, `DBName`.
    pub(crate) name: Option<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) source_snapshot: Option<String>,
    pub(super) engine_version: String,
    pub(super) subnet_group: Option<String>,
    pub(super) settings: Settings,
    /// Changes that wait for `ApplyImmediately` (or, on AWS, for the maintenance window).
    pending: Option<Settings>,
    pub(super) tags: Tags,
    created: Time,
    zone: String,
}

/// What `ModifyDBInstance` can change and `DescribeDBInstances` echoes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settings {
    class: String,
    pub(super) storage_gib: i64,
    storage_type: String,
    pub(super) encrypted: bool,
    key: Option<String>,
    multi_az: bool,
    public: bool,
    deletion_protection: bool,
    retention_days: i64,
    backup_window: String,
    maintenance_window: String,
    minor_upgrades: bool,
    copy_tags: bool,
    iam_authentication: bool,
    performance_insights: bool,
    monitoring_interval: i64,
    parameter_group: Option<String>,
    max_storage_gib: Option<i64>,
    iops: Option<i64>,
    log_exports: Vec<String>,
}

impl Settings {
    fn new() -> Settings {
        Settings {
            class: String::new(),
            storage_gib: 20,
            storage_type: "gp2".into(),
            encrypted: false,
            key: None,
            multi_az: false,
            public: true,
            deletion_protection: false,
            retention_days: 1,
            backup_window: "06:00-06:30".into(),
            maintenance_window: "sun:07:00-sun:07:30".into(),
            minor_upgrades: true,
            copy_tags: false,
            iam_authentication: false,
            performance_insights: false,
            monitoring_interval: 0,
            parameter_group: None,
            max_storage_gib: None,
            iops: None,
            log_exports: Vec::new(),
        }
    }

    /// The settings with what a request names.
    fn with(mut self, call: &Call<'_>) -> Result<Settings, AwsError> {
        let form = call.form;
        fn set<T>(target: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *target = value;
            }
        }
        let text = |name: &str| form.get(name).map(str::to_string);
        if let Some(class) = text("DBInstanceClass") {
            if !is_class(&class) {
                return Err(AwsError::new(
                    "InvalidParameterValue",
                    format!("Invalid DB Instance class: {class}"),
                ));
            }
            self.class = class;
        }
        if let Some(storage) = form.number("AllocatedStorage")? {
            if !(20..=65536).contains(&storage) {
                return Err(AwsError::new(
                    "InvalidParameterValue",
                    format!(
                        "Invalid storage size for engine name postgres and storage type gp2: {storage} (20 to 65536 GiB)"
                    ),
                ));
            }
            self.storage_gib = storage;
        }
        if let Some(storage_type) = text("StorageType") {
            if !matches!(storage_type.as_str(), "gp2" | "gp3" | "io1" | "io2" | "standard") {
                return Err(AwsError::new(
                    "InvalidParameterValue",
                    format!("Invalid storage type: {storage_type}"),
                ));
            }
            self.storage_type = storage_type;
        }
        if let Some(days) = form.number("BackupRetentionPeriod")? {
            if !(0..=35).contains(&days) {
                return Err(invalid("BackupRetentionPeriod", &days.to_string(), "0 to 35 days"));
            }
            self.retention_days = days;
        }
        set(&mut self.multi_az, form.flag("MultiAZ")?);
        set(&mut self.public, form.flag("PubliclyAccessible")?);
        set(&mut self.deletion_protection, form.flag("DeletionProtection")?);
        set(&mut self.minor_upgrades, form.flag("AutoMinorVersionUpgrade")?);
        set(&mut self.copy_tags, form.flag("CopyTagsToSnapshot")?);
        set(&mut self.iam_authentication, form.flag("EnableIAMDatabaseAuthentication")?);
        set(&mut self.performance_insights, form.flag("EnablePerformanceInsights")?);
        set(&mut self.monitoring_interval, form.number("MonitoringInterval")?);
        set(&mut self.backup_window, text("PreferredBackupWindow"));
        set(&mut self.maintenance_window, text("PreferredMaintenanceWindow"));
        self.parameter_group = text("DBParameterGroupName").or(self.parameter_group);
        self.max_storage_gib = form.number("MaxAllocatedStorage")?.or(self.max_storage_gib);
        self.iops = form.number("Iops")?.or(self.iops);
        let exports = form.list("EnableCloudwatchLogsExports");
        if !exports.is_empty() {
            self.log_exports = exports;
        }
        form.ignore(&[
            "CACertificateIdentifier",
            "NetworkType",
            "LicenseModel",
            "EngineLifecycleSupport",
            "MonitoringRoleArn",
            "PerformanceInsightsRetentionPeriod",
            "PerformanceInsightsKMSKeyId",
            "StorageThroughput",
            "DatabaseInsightsMode",
        ]);
        Ok(self)
    }
}

/// `db.<family>.<size>`
fn is_class(class: &str) -> bool {
    const FAMILIES: &[&str] = &[
        "t3", "t4g", "m5", "m5d", "m6g", "m6gd", "m6i", "m7g", "m7i", "m8g", "r5", "r6g", "r6i", "r7g",
        "r7i", "r8g", "x2g",
    ];
    const SIZES: &[&str] = &[
        "micro", "small", "medium", "large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge",
        "16xlarge",
    ];
    let mut parts = class.split('.');
    let (Some("db"), Some(family), Some(size), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    FAMILIES.contains(&family) && SIZES.contains(&size)
}

pub(super) fn not_found(id: &str) -> AwsError {
    AwsError::with_status(404, "DBInstanceNotFound", format!("DBInstance {id} not found."))
}

fn check_password(password: &str) -> Result<String, AwsError> {
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

fn unsupported(call: &Call<'_>) -> Result<(), AwsError> {
    let refused =
        ["ManageMasterUserPassword", "DBClusterIdentifier", "OptionGroupName", "Domain", "DBSecurityGroups"];
    match refused.into_iter().find(|name| call.form.has(name) && call.form.get(name) != Some("false")) {
        None => Ok(()),
        Some(name) => Err(AwsError::new(
            "InvalidParameterCombination",
            format!("The local cloud does not have the parameter {name}"),
        )),
    }
}

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
    let verifier = check_password(form.required("MasterUserPassword")?)?;
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
    let database = place(
        call,
        Database {
            id,
            resource_id: String::new(),
            status: Status::Creating,
            problem: None,
            port: free_port(call)?,
            master_username: master_username.to_string(),
            pending_verifier: Some(verifier),
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
    Ok(add(call, database))
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

fn add(call: &mut Call<'_>, database: Database) -> Xml {
    let xml = one(call, &database);
    call.region.rds.instances.insert(database.id.clone(), database);
    xml
}

fn one(call: &Call<'_>, database: &Database) -> Xml {
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
    let verifier = form.get("MasterUserPassword").map(check_password).transpose()?;
    let now = form.flag("ApplyImmediately")?.unwrap_or(false);
    let current = changeable(call)?.clone();
    let base = current.pending.clone().unwrap_or_else(|| current.settings.clone());
    let wanted = base.with(call)?;
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
    let database = changeable(call)?;
    // Only these wait for the maintenance window on AWS; the rest is applied at once in any case.
    let mut applied = wanted.clone();
    if !now {
        applied.class.clone_from(&current.settings.class);
        applied.storage_gib = current.settings.storage_gib;
        applied.storage_type.clone_from(&current.settings.storage_type);
        applied.multi_az = current.settings.multi_az;
        applied.iops = current.settings.iops;
    }
    database.pending = (applied != wanted).then_some(wanted);
    database.settings = applied;
    if !groups.is_empty() {
        database.groups = groups;
    }
    if let Some(verifier) = verifier {
        database.pending_verifier = Some(verifier);
    }
    database.status = Status::Modifying;
    let answer = Database { status: Status::Available, ..database.clone() };
    Ok(one(call, &answer))
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
    let deletable = matches!(database.status, Status::Available | Status::Modifying | Status::Starting)
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
    Ok(one(call, &answer))
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
    let mut settings = Settings { deletion_protection: false, ..source.settings.clone() }.with(call)?;
    settings.encrypted = source.settings.encrypted;
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
            source_snapshot,
            settings,
            pending: None,
            tags,
            created: Time::now(),
            ..source
        },
    )?;
    Ok(add(call, database))
}

fn database_xml(xml: &mut Xml, call: &Call<'_>, database: &Database) {
    let settings = &database.settings;
    let available_once = database.status != Status::Creating;
    let parameter_group = settings.parameter_group.clone().unwrap_or_else(|| {
        format!("default.postgres{}", database.engine_version.split('.').next().unwrap_or_default())
    });
    xml.text("DBInstanceIdentifier", &database.id)
        .text("DBInstanceArn", arn(call.region_name, "db", &database.id))
        .text("DbiResourceId", &database.resource_id)
        .text("DBInstanceClass", &settings.class)
        .text("Engine", "postgres")
        .text("EngineVersion", &database.engine_version)
        .text("DBInstanceStatus", database.status.name())
        .text("MasterUsername", &database.master_username)
        .optional("DBName", database.name.as_ref());
    if available_once {
        xml.nest("Endpoint", |xml| {
            xml.text("Address", Ipv4Addr::LOCALHOST)
                .text("Port", database.port)
                .text("HostedZoneId", "Z00000000LOCAL");
        });
        xml.text("InstanceCreateTime", database.created);
    }
    xml.text("AllocatedStorage", settings.storage_gib)
        .text("StorageType", &settings.storage_type)
        .text("StorageEncrypted", settings.encrypted)
        .optional("KmsKeyId", settings.key.as_ref())
        .optional("Iops", settings.iops)
        .optional("MaxAllocatedStorage", settings.max_storage_gib)
        .text("MultiAZ", settings.multi_az)
        .text("PubliclyAccessible", settings.public)
        .text("DeletionProtection", settings.deletion_protection)
        .text("BackupRetentionPeriod", settings.retention_days)
        .text("PreferredBackupWindow", &settings.backup_window)
        .text("PreferredMaintenanceWindow", &settings.maintenance_window)
        .text("AutoMinorVersionUpgrade", settings.minor_upgrades)
        .text("CopyTagsToSnapshot", settings.copy_tags)
        .text("IAMDatabaseAuthenticationEnabled", settings.iam_authentication)
        .text("PerformanceInsightsEnabled", settings.performance_insights)
        .text("MonitoringInterval", settings.monitoring_interval)
        .text("LicenseModel", "postgresql-license")
        .text("CACertificateIdentifier", "rds-ca-rsa2048-g1")
        .text("AvailabilityZone", &database.zone)
        .text("DbInstancePort", 0);
    xml.nest("EnabledCloudwatchLogsExports", |xml| {
        for kind in &settings.log_exports {
            xml.text("member", kind);
        }
    });
    xml.list("VpcSecurityGroups", "VpcSecurityGroupMembership", &database.groups, |xml, id| {
        xml.text("VpcSecurityGroupId", id).text("Status", "active");
    });
    xml.list("DBSecurityGroups", "DBSecurityGroup", [(); 0], |_, ()| {});
    xml.list("DBParameterGroups", "DBParameterGroup", [parameter_group], |xml, name| {
        xml.text("DBParameterGroupName", name).text("ParameterApplyStatus", "in-sync");
    });
    xml.nest("DBSubnetGroup", |xml| {
        let name = database.subnet_group.as_deref().unwrap_or("default");
        match call.region.rds.subnet_groups.get(name) {
            Some(group) => subnet_group::xml(xml, call.region_name, group),
            None => {
                xml.text("DBSubnetGroupName", "default")
                    .text("DBSubnetGroupDescription", "default")
                    .text("VpcId", vpc_id(call.region_name))
                    .text("SubnetGroupStatus", "Complete");
            }
        }
    });
    xml.nest("PendingModifiedValues", |xml| {
        if let Some(pending) = &database.pending {
            let differs = |changed: bool, value: String| changed.then_some(value);
            xml.optional("DBInstanceClass", differs(pending.class != settings.class, pending.class.clone()))
                .optional(
                    "AllocatedStorage",
                    differs(pending.storage_gib != settings.storage_gib, pending.storage_gib.to_string()),
                )
                .optional(
                    "StorageType",
                    differs(pending.storage_type != settings.storage_type, pending.storage_type.clone()),
                )
                .optional(
                    "MultiAZ",
                    differs(pending.multi_az != settings.multi_az, pending.multi_az.to_string()),
                );
        }
    });
    xml.list("StatusInfos", "DBInstanceStatusInfo", &database.problem, |xml, problem| {
        xml.text("StatusType", "local cloud").text("Normal", false).text("Message", problem);
    });
    tag_list(xml, &database.tags);
}
