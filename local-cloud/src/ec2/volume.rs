//! Volumes: the disks of instances, which grow and are tagged, but hold nothing here. One that does not go with its instance stays.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::image::{Image, ImageVolume};
use super::volume_modification::Modification;
use super::{State, Tags, done, tag_set};
use crate::cloud::fresh_id;
use crate::query::{Access, Answer, AwsError, Call, Form, Operation, invalid};
use crate::select::{EC2_PAGES, Filters, tag_values};
use crate::time::Time;
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("CreateVolume", Access::Change, create_volume),
    ("DescribeVolumes", Access::Read, describe_volumes),
    ("DeleteVolume", Access::Change, delete_volume),
];

/// What an image of Amazon Linux needs at least.
const SMALLEST_GIB: i64 = 8;
const LARGEST_GIB: i64 = 16_384;
/// `creating` stays visible for this long.
const CREATING: Duration = Duration::from_millis(500);

/// What can be ordered and changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Specification {
    pub(super) size_gib: i64,
    pub(super) kind: String,
    pub(super) iops: Option<i64>,
    pub(super) throughput: Option<i64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Attachment {
    instance: String,
    device: String,
    delete_on_termination: bool,
    since: Time,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Volume {
    pub(super) id: String,
    pub(super) specification: Specification,
    pub(super) encrypted: bool,
    zone: String,
    attachment: Option<Attachment>,
    pub(super) modification: Option<Modification>,
    pub(super) tags: Tags,
    created: Time,
    /// The client's token of the request that made it.
    #[serde(default)]
    token: Option<String>,
}

impl Specification {
    /// The root volume of an Amazon Linux 2023 image.
    pub(super) fn root() -> Specification {
        Specification { size_gib: SMALLEST_GIB, kind: "gp3".into(), iops: Some(3000), throughput: Some(125) }
    }

    pub(super) fn with(mut self, form: &Form, prefix: &str, size: &str) -> Result<Specification, AwsError> {
        let field = |name: &str| format!("{prefix}{name}");
        if let Some(gib) = form.number(&field(size))? {
            if !(1..=LARGEST_GIB).contains(&gib) {
                return Err(invalid(size, &gib.to_string(), "1 to 16384 GiB"));
            }
            self.size_gib = gib;
        }
        if let Some(kind) = form.get(&field("VolumeType")) {
            if !matches!(kind, "gp2" | "gp3" | "io1" | "io2" | "st1" | "sc1" | "standard") {
                return Err(invalid("volumeType", kind, "gp2, gp3, io1, io2, st1, sc1 or standard"));
            }
            if kind != self.kind {
                // What a new type starts from: only gp3 has a throughput of its own (EBS user guide, volume types).
                self.iops = (kind == "gp3").then_some(3000);
                self.throughput = (kind == "gp3").then_some(125);
            }
            self.kind = kind.to_string();
        }
        if let Some(iops) = form.number(&field("Iops"))? {
            if !matches!(self.kind.as_str(), "gp3" | "io1" | "io2") {
                return Err(AwsError::new(
                    "InvalidParameterCombination",
                    format!("The parameter iops is not supported for {} volumes.", self.kind),
                ));
            }
            self.iops = Some(iops);
        }
        if let Some(throughput) = form.number(&field("Throughput"))? {
            if self.kind != "gp3" {
                return Err(AwsError::new(
                    "InvalidParameterCombination",
                    format!("The parameter throughput is not supported for {} volumes.", self.kind),
                ));
            }
            self.throughput = Some(throughput);
        }
        if matches!(self.kind.as_str(), "io1" | "io2") && self.iops.is_none() {
            return Err(AwsError::new(
                "MissingParameter",
                "The parameter iops must be specified for io1 and io2 volumes.",
            ));
        }
        Ok(self)
    }
}

/// What a launch asks for: the root volume as the image has it, and what the request adds or changes.
pub(super) struct Plan {
    device: String,
    delete_on_termination: bool,
    specification: Specification,
    encrypted: bool,
}

pub(super) const ROOT_DEVICE: &str = "/dev/xvda";

pub(super) fn of_launch(form: &Form, image: &Image) -> Result<Vec<Plan>, AwsError> {
    let plan = |volume: &ImageVolume| Plan {
        device: volume.device.clone(),
        delete_on_termination: volume.delete_on_termination,
        specification: volume.specification.clone(),
        encrypted: volume.encrypted,
    };
    let mut plans: Vec<Plan> = image.volumes.iter().map(plan).collect();
    for member in form.members("BlockDeviceMapping") {
        let device = form.required(&format!("{member}.DeviceName"))?.to_string();
        let prefix = format!("{member}.Ebs.");
        let of_image = image.volumes.iter().find(|volume| volume.device == device);
        let new = || Specification { size_gib: 0, kind: "gp2".into(), iops: None, throughput: None };
        let base = of_image.map_or_else(new, |volume| volume.specification.clone());
        let specification = base.with(form, &prefix, "VolumeSize")?;
        let smallest = of_image.map_or(0, |volume| volume.specification.size_gib);
        if specification.size_gib < smallest {
            return Err(AwsError::new(
                "InvalidBlockDeviceMapping",
                format!(
                    "Volume of size {}GB is smaller than snapshot, expect size >= {smallest}GB",
                    specification.size_gib
                ),
            ));
        }
        if specification.size_gib == 0 {
            return Err(AwsError::new(
                "MissingParameter",
                format!("The volume for {device} needs a VolumeSize"),
            ));
        }
        let delete_on_termination = form
            .flag(&format!("{prefix}DeleteOnTermination"))?
            .unwrap_or(of_image.is_some_and(|volume| volume.delete_on_termination));
        // What an encrypted snapshot holds is never stored in the clear.
        let encrypted = form.flag(&format!("{prefix}Encrypted"))?.unwrap_or(false)
            || of_image.is_some_and(|volume| volume.encrypted);
        form.ignore(&[&format!("{prefix}KmsKeyId")]);
        plans.retain(|plan| plan.device != device);
        plans.push(Plan { device, delete_on_termination, specification, encrypted });
    }
    Ok(plans)
}

impl Plan {
    pub(super) fn volume(&self, instance: &str, zone: &str, tags: &Tags) -> Volume {
        let now = Time::now();
        Volume {
            id: fresh_id("vol"),
            specification: self.specification.clone(),
            encrypted: self.encrypted,
            zone: zone.to_string(),
            attachment: Some(Attachment {
                instance: instance.to_string(),
                device: self.device.clone(),
                delete_on_termination: self.delete_on_termination,
                since: now,
            }),
            modification: None,
            tags: tags.clone(),
            created: now,
            token: None,
        }
    }
}

impl State {
    /// A terminated instance takes its volumes with it, unless they were to stay.
    pub(super) fn release_volumes(&mut self, instance: &str) {
        let goes = |volume: &Volume| {
            let its = volume.attachment.as_ref().filter(|attachment| attachment.instance == instance);
            its.is_some_and(|attachment| attachment.delete_on_termination)
        };
        self.volumes.retain(|_, volume| !goes(volume));
        for volume in self.volumes.values_mut() {
            if volume.attachment.as_ref().is_some_and(|attachment| attachment.instance == instance) {
                volume.attachment = None;
            }
        }
    }

    /// Those of an instance: the device, whether it goes with the instance, the volume.
    pub(super) fn volumes_of(&self, instance: &str) -> Vec<(String, bool, Volume)> {
        let attached = self.volumes.values().filter_map(|volume| {
            let attachment = volume.attachment.as_ref().filter(|its| its.instance == instance)?;
            Some((attachment.device.clone(), attachment.delete_on_termination, volume.clone()))
        });
        attached.collect()
    }

    /// As `DescribeInstances` shows them.
    pub(super) fn block_devices_xml(&self, xml: &mut Xml, instance: &str) {
        let attached = self.volumes.values().filter_map(|volume| {
            let attachment = volume.attachment.as_ref()?;
            (attachment.instance == instance).then_some((volume, attachment))
        });
        xml.list("blockDeviceMapping", "item", attached, |xml, (volume, attachment)| {
            xml.text("deviceName", &attachment.device).nest("ebs", |xml| {
                xml.text("volumeId", &volume.id)
                    .text("status", "attached")
                    .text("attachTime", attachment.since)
                    .text("deleteOnTermination", attachment.delete_on_termination);
            });
        });
    }
}

pub(super) fn not_found(id: &str) -> AwsError {
    if !id.starts_with("vol-") {
        return AwsError::new(
            "InvalidParameterValue",
            format!("Value ({id}) for parameter volumeId is invalid"),
        );
    }
    AwsError::new("InvalidVolume.NotFound", format!("The volume '{id}' does not exist."))
}

pub(super) fn named<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Volume, AwsError> {
    let id = call.form.required("VolumeId")?;
    call.region.ec2.volumes.get_mut(id).ok_or_else(|| not_found(id))
}

/// The volumes that a request names by id, or all.
pub(super) fn selected<'a>(call: &'a Call<'_>, filters: &Filters) -> Result<Vec<&'a Volume>, AwsError> {
    let ids = call.form.list("VolumeId");
    let volumes = &call.region.ec2.volumes;
    if let Some(unknown) = ids.iter().find(|id| !volumes.contains_key(*id)) {
        return Err(not_found(unknown));
    }
    Ok(volumes
        .values()
        .filter(|volume| ids.is_empty() || ids.contains(&volume.id))
        .filter(|volume| {
            let attachment =
                |of: fn(&Attachment) -> &String| volume.attachment.iter().map(of).cloned().collect();
            filters.matches(|name| match name {
                "volume-id" => vec![volume.id.clone()],
                "attachment.instance-id" => attachment(|attachment| &attachment.instance),
                "attachment.device" => attachment(|attachment| &attachment.device),
                "status" => vec![volume.status().to_string()],
                "volume-type" => vec![volume.specification.kind.clone()],
                "size" => vec![volume.specification.size_gib.to_string()],
                "encrypted" => vec![volume.encrypted.to_string()],
                "availability-zone" => vec![volume.zone.clone()],
                "modification-state" => {
                    volume.modification.iter().map(|one| one.state().to_string()).collect()
                }
                tag => tag_values(tag, &volume.tags),
            })
        })
        .collect())
}

impl Volume {
    fn status(&self) -> &'static str {
        if self.attachment.is_some() {
            "in-use"
        } else if self.created.elapsed() < CREATING {
            "creating"
        } else {
            "available"
        }
    }

    fn xml(&self, xml: &mut Xml) {
        let specification = &self.specification;
        xml.text("volumeId", &self.id)
            .text("size", specification.size_gib)
            .text("volumeType", &specification.kind)
            .optional("iops", specification.iops)
            .optional("throughput", specification.throughput)
            .text("encrypted", self.encrypted)
            .text("availabilityZone", &self.zone)
            .text("status", self.status())
            .text("createTime", self.created);
        xml.list("attachmentSet", "item", &self.attachment, |xml, attachment| {
            xml.text("volumeId", &self.id)
                .text("instanceId", &attachment.instance)
                .text("device", &attachment.device)
                .text("status", "attached")
                .text("attachTime", attachment.since)
                .text("deleteOnTermination", attachment.delete_on_termination);
        });
        tag_set(xml, &self.tags);
    }
}

fn describe_volumes(call: &mut Call<'_>) -> Answer {
    let filters = Filters::ec2(
        call.form,
        &[
            "volume-id",
            "attachment.instance-id",
            "attachment.device",
            "status",
            "volume-type",
            "size",
            "encrypted",
            "availability-zone",
            "tag:",
            "tag-key",
        ],
    )?;
    let (page, next) = EC2_PAGES.page(call.form, selected(call, &filters)?)?;
    let mut xml = Xml::new();
    xml.list("volumeSet", "item", page, |xml, volume: &Volume| volume.xml(xml));
    xml.optional("nextToken", next);
    Ok(xml)
}

/// A volume of its own, empty or as large as a snapshot. A second request with the same token gets the first one's volume.
fn create_volume(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let token = form.get("ClientToken").filter(|token| !token.is_empty()).map(str::to_string);
    let zone = form.required("AvailabilityZone")?.to_string();
    if !super::subnets(call.region_name).iter().any(|subnet| subnet.zone == zone) {
        return Err(AwsError::new("InvalidZone.NotFound", format!("The zone '{zone}' does not exist.")));
    }
    let snapshot = form.get("SnapshotId").map(|id| {
        let found = call.region.ec2.snapshots.get(id);
        found.map(super::snapshot::Snapshot::size).ok_or_else(|| super::snapshot::not_found(id))
    });
    let snapshot = snapshot.transpose()?;
    let size_gib = snapshot.map_or(0, |(size_gib, _)| size_gib);
    let base = Specification { size_gib, kind: "gp2".into(), iops: None, throughput: None };
    let specification = base.with(form, "", "Size")?;
    if specification.size_gib == 0 {
        return Err(AwsError::new(
            "MissingParameter",
            "The request must contain the parameter size or snapshotId",
        ));
    }
    if specification.size_gib < size_gib {
        return Err(invalid(
            "size",
            &specification.size_gib.to_string(),
            &format!("at least the snapshot's {size_gib} GiB"),
        ));
    }
    let encrypted =
        form.flag("Encrypted")?.unwrap_or(false) || snapshot.is_some_and(|(_, encrypted)| encrypted);
    form.ignore(&["KmsKeyId"]);
    let tags = super::tag_specification(form, "volume", &[])?;
    super::refuse_dry_run(form)?;
    let known = call.region.ec2.volumes.values().find(|volume| token.is_some() && volume.token == token);
    if let Some(known) = known {
        if (&known.specification, &known.zone) != (&specification, &zone) {
            return Err(AwsError::new(
                "IdempotentParameterMismatch",
                "The client token was used with other parameters",
            ));
        }
        let mut xml = Xml::new();
        known.xml(&mut xml);
        return Ok(xml);
    }
    let volume = Volume {
        id: fresh_id("vol"),
        specification,
        encrypted,
        zone,
        attachment: None,
        modification: None,
        tags,
        created: Time::now(),
        token,
    };
    let mut xml = Xml::new();
    volume.xml(&mut xml);
    call.region.ec2.volumes.insert(volume.id.clone(), volume);
    Ok(xml)
}

fn delete_volume(call: &mut Call<'_>) -> Answer {
    let volume = named(call)?;
    let id = volume.id.clone();
    if let Some(attachment) = &volume.attachment {
        return Err(AwsError::new(
            "VolumeInUse",
            format!("Volume {id} is currently attached to {}", attachment.instance),
        ));
    }
    super::refuse_dry_run(call.form)?;
    call.region.ec2.volumes.remove(&id);
    Ok(done())
}
