//! Snapshots of volumes: what is there and when it is completed. There is no data behind a volume, so none is kept.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::image::Image;
use super::volume::{Volume, not_found as volume_not_found};
use super::{Tags, done, tag_set, tag_specification};
use crate::cloud::{ACCOUNT, fresh_id};
use crate::query::{Access, Answer, AwsError, Call, Operation};
use crate::select::{EC2_PAGES, Filters, tag_values};
use crate::time::Time;
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("CreateSnapshot", Access::Change, create_snapshot),
    ("DescribeSnapshots", Access::Read, describe_snapshots),
    ("DeleteSnapshot", Access::Change, delete_snapshot),
];

/// `pending` stays visible for this long.
const PENDING: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Snapshot {
    pub(super) id: String,
    volume: String,
    size_gib: i64,
    encrypted: bool,
    description: String,
    pub(super) tags: Tags,
    started: Time,
}

impl Snapshot {
    pub(super) fn of(volume: &Volume, description: String, tags: Tags) -> Snapshot {
        Snapshot {
            id: fresh_id("snap"),
            volume: volume.id.clone(),
            size_gib: volume.specification.size_gib,
            encrypted: volume.encrypted,
            description,
            tags,
            started: Time::now(),
        }
    }

    /// What a volume that is made of it has: its size in GiB, and whether it is encrypted.
    pub(super) fn size(&self) -> (i64, bool) {
        (self.size_gib, self.encrypted)
    }

    fn is_completed(&self) -> bool {
        self.started.after(PENDING).is_past()
    }

    fn status(&self) -> &'static str {
        if self.is_completed() { "completed" } else { "pending" }
    }

    fn xml(&self, xml: &mut Xml) {
        xml.text("snapshotId", &self.id)
            .text("volumeId", &self.volume)
            .text("status", self.status())
            .text("startTime", self.started)
            .text("progress", if self.is_completed() { "100%" } else { "0%" })
            .text("ownerId", ACCOUNT)
            .text("volumeSize", self.size_gib)
            .text("description", &self.description)
            .text("encrypted", self.encrypted);
        tag_set(xml, &self.tags);
    }
}

pub(super) fn not_found(id: &str) -> AwsError {
    if !id.starts_with("snap-") {
        return AwsError::new(
            "InvalidParameterValue",
            format!("Value ({id}) for parameter snapshotId is invalid. Expected: 'snap-...'."),
        );
    }
    AwsError::new("InvalidSnapshot.NotFound", format!("The snapshot '{id}' does not exist."))
}

fn create_snapshot(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let id = form.required("VolumeId")?;
    let tags = tag_specification(form, "snapshot", &[])?;
    let volume = call.region.ec2.volumes.get(id).ok_or_else(|| volume_not_found(id))?;
    let snapshot = Snapshot::of(volume, form.get("Description").unwrap_or_default().to_string(), tags);
    super::refuse_dry_run(form)?;
    let mut xml = Xml::new();
    snapshot.xml(&mut xml);
    call.region.ec2.snapshots.insert(snapshot.id.clone(), snapshot);
    Ok(xml)
}

fn describe_snapshots(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let filters = Filters::ec2(
        form,
        &["snapshot-id", "volume-id", "status", "description", "encrypted", "owner-id", "tag:", "tag-key"],
    )?;
    let (ids, owners) = (form.list("SnapshotId"), form.list("Owner"));
    form.ignore(&["RestorableBy"]);
    let snapshots = &call.region.ec2.snapshots;
    if let Some(unknown) = ids.iter().find(|id| !snapshots.contains_key(*id)) {
        return Err(not_found(unknown));
    }
    let mine = owners.is_empty() || owners.iter().any(|owner| owner == "self" || owner == ACCOUNT);
    let selected = snapshots
        .values()
        .filter(|snapshot| mine && (ids.is_empty() || ids.contains(&snapshot.id)))
        .filter(|snapshot| {
            filters.matches(|name| match name {
                "snapshot-id" => vec![snapshot.id.clone()],
                "volume-id" => vec![snapshot.volume.clone()],
                "status" => vec![snapshot.status().to_string()],
                "description" => vec![snapshot.description.clone()],
                "encrypted" => vec![snapshot.encrypted.to_string()],
                "owner-id" => vec![ACCOUNT.to_string()],
                tag => tag_values(tag, &snapshot.tags),
            })
        })
        .collect();
    let (page, next) = EC2_PAGES.page(form, selected)?;
    let mut xml = Xml::new();
    xml.list("snapshotSet", "item", page, |xml, snapshot: &Snapshot| snapshot.xml(xml));
    xml.optional("nextToken", next);
    Ok(xml)
}

fn delete_snapshot(call: &mut Call<'_>) -> Answer {
    let id = call.form.required("SnapshotId")?;
    let uses = |image: &&Image| image.volumes.iter().any(|volume| volume.snapshot.as_deref() == Some(id));
    if let Some(image) = call.region.ec2.images.values().find(uses) {
        return Err(AwsError::new(
            "InvalidSnapshot.InUse",
            format!("The snapshot {id} is currently in use by {}", image.id),
        ));
    }
    super::refuse_dry_run(call.form)?;
    call.region.ec2.snapshots.remove(id).ok_or_else(|| not_found(id))?;
    Ok(done())
}
