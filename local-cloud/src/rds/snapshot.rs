//! Snapshots: the data of a database as it was, with the settings that a restored one starts from.

use serde::{Deserialize, Serialize};

use super::instance::{Database, Status, not_found as database_not_found};
use super::{Tags, arn, identifier, tag_list, tags_of_request};
use crate::cloud::fresh_id;
use crate::query::{Access, Answer, AwsError, Call, Operation};
use crate::select::{Filters, RDS_PAGES};
use crate::time::Time;
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("CreateDBSnapshot", Access::Change, create_db_snapshot),
    ("DescribeDBSnapshots", Access::Read, describe_db_snapshots),
    ("DeleteDBSnapshot", Access::Change, delete_db_snapshot),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SnapshotStatus {
    Creating,
    Available,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    pub(super) id: String,
    /// Names the folder of the data.
    pub(crate) resource_id: String,
    pub(crate) database: Database,
    pub(crate) status: SnapshotStatus,
    pub(super) tags: Tags,
    created: Time,
}

impl Snapshot {
    pub(super) fn new(id: String, database: Database, tags: Tags) -> Snapshot {
        let (resource_id, status) = (fresh_id("snapshot"), SnapshotStatus::Creating);
        Snapshot { id, resource_id, database, status, tags, created: Time::now() }
    }
}

pub(super) fn not_found(id: &str) -> AwsError {
    AwsError::with_status(404, "DBSnapshotNotFound", format!("DBSnapshot {id} not found."))
}

pub(super) fn check_free(call: &Call<'_>, id: &str) -> Result<(), AwsError> {
    if call.region.rds.snapshots.contains_key(id) {
        return Err(AwsError::new(
            "DBSnapshotAlreadyExists",
            format!("Cannot create the snapshot because a snapshot with the identifier {id} already exists."),
        ));
    }
    Ok(())
}

fn create_db_snapshot(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let id = identifier("DBSnapshotIdentifier", form.required("DBSnapshotIdentifier")?, 255)?;
    let source = form.required("DBInstanceIdentifier")?.to_ascii_lowercase();
    let tags = tags_of_request(call)?;
    check_free(call, &id)?;
    let database = call.region.rds.instances.get_mut(&source).ok_or_else(|| database_not_found(&source))?;
    if database.status != Status::Available {
        return Err(AwsError::new(
            "InvalidDBInstanceState",
            format!(
                "Instance {source} is not currently in available state: it is {}",
                database.status.name()
            ),
        ));
    }
    let snapshot = Snapshot::new(id.clone(), database.clone(), tags);
    database.status = Status::BackingUp;
    let mut xml = Xml::new();
    xml.nest("DBSnapshot", |xml| snapshot_xml(xml, call.region_name, &snapshot));
    call.region.rds.snapshots.insert(id, snapshot);
    Ok(xml)
}

fn describe_db_snapshots(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let filters = Filters::parse(
        form,
        "Filters",
        "Values",
        &["db-instance-id", "db-snapshot-id", "dbi-resource-id", "snapshot-type", "engine"],
    )?;
    form.ignore(&["IncludeShared", "IncludePublic"]);
    let (id, database) = (form.get("DBSnapshotIdentifier"), form.get("DBInstanceIdentifier"));
    let kind = form.get("SnapshotType").unwrap_or("manual");
    let (id, database) = (id.map(str::to_ascii_lowercase), database.map(str::to_ascii_lowercase));
    let snapshots = &call.region.rds.snapshots;
    if let Some(id) = id.as_ref().filter(|id| !snapshots.contains_key(*id)) {
        return Err(not_found(id));
    }
    let selected = snapshots
        .values()
        .filter(|snapshot| kind == "manual" && id.as_ref().is_none_or(|id| *id == snapshot.id))
        .filter(|snapshot| database.as_ref().is_none_or(|database| *database == snapshot.database.id))
        .filter(|snapshot| {
            filters.matches(|name| {
                vec![match name {
                    "db-instance-id" => snapshot.database.id.clone(),
                    "db-snapshot-id" => snapshot.id.clone(),
                    "dbi-resource-id" => snapshot.database.resource_id.clone(),
                    "snapshot-type" => "manual".into(),
                    _ => "postgres".into(),
                }]
            })
        })
        .collect();
    let (page, next) = RDS_PAGES.page(form, selected)?;
    let mut xml = Xml::new();
    xml.optional("Marker", next);
    xml.list("DBSnapshots", "DBSnapshot", page, |xml, snapshot: &Snapshot| {
        snapshot_xml(xml, call.region_name, snapshot);
    });
    Ok(xml)
}

/// The data goes with the next sweep of the supervisor; the name is free at once.
fn delete_db_snapshot(call: &mut Call<'_>) -> Answer {
    let id = call.form.required("DBSnapshotIdentifier")?.to_ascii_lowercase();
    let snapshots = &mut call.region.rds.snapshots;
    let snapshot = snapshots.get(&id).ok_or_else(|| not_found(&id))?;
    let source_of = call.region.rds.instances.values().find(|database| {
        database.status == Status::Creating
            && database.source_snapshot.as_ref() == Some(&snapshot.resource_id)
    });
    if snapshot.status != SnapshotStatus::Available || source_of.is_some() {
        return Err(AwsError::new("InvalidDBSnapshotState", format!("DB snapshot {id} is in use")));
    }
    let mut xml = Xml::new();
    xml.nest("DBSnapshot", |xml| snapshot_xml(xml, call.region_name, snapshot));
    if let Some(snapshot) = snapshots.remove(&id) {
        call.region.rds.deleted_snapshots.insert(snapshot.resource_id);
    }
    Ok(xml)
}

fn snapshot_xml(xml: &mut Xml, region: &str, snapshot: &Snapshot) {
    let database = &snapshot.database;
    let available = snapshot.status == SnapshotStatus::Available;
    xml.text("DBSnapshotIdentifier", &snapshot.id)
        .text("DBSnapshotArn", arn(region, "snapshot", &snapshot.id))
        .text("DBInstanceIdentifier", &database.id)
        .text("DbiResourceId", &database.resource_id)
        .text("Status", if available { "available" } else { "creating" })
        .text("SnapshotType", "manual")
        .text("Engine", "postgres")
        .text("EngineVersion", &database.engine_version)
        .text("AllocatedStorage", database.settings.storage_gib)
        .text("Encrypted", database.settings.encrypted)
        .text("MasterUsername", &database.master_username)
        .text("Port", database.port)
        .text("PercentProgress", if available { 100 } else { 0 })
        .text("SnapshotCreateTime", snapshot.created);
    tag_list(xml, &snapshot.tags);
}
