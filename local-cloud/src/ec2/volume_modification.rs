//! Modifications of volumes: they grow or change their type while they are used, and not again for six hours.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::volume::{Specification, Volume, named, selected};
use crate::query::{Access, Answer, AwsError, Call, Operation};
use crate::select::{EC2_PAGES, Filters};
use crate::time::Time;
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("ModifyVolume", Access::Change, modify_volume),
    ("DescribeVolumesModifications", Access::Read, describe_volumes_modifications),
];

/// One modification of a volume in this time (EBS user guide, limitations of modifications).
const BETWEEN_MODIFICATIONS: Duration = Duration::from_secs(6 * 3600);
/// `modifying` and `optimizing` stay visible for this long; on AWS it takes minutes to hours.
const MODIFYING: Duration = Duration::from_millis(500);
const OPTIMIZING: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Modification {
    before: Specification,
    started: Time,
}

impl Modification {
    pub(super) fn state(&self) -> &'static str {
        let passed = self.started.elapsed();
        if passed < MODIFYING {
            "modifying"
        } else if passed < MODIFYING + OPTIMIZING {
            "optimizing"
        } else {
            "completed"
        }
    }
}

fn modify_volume(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let volume = named(call)?;
    let wanted = volume.specification.clone().with(form, "", "Size")?;
    if wanted.size_gib < volume.specification.size_gib {
        return Err(AwsError::new("InvalidParameterValue", "New size cannot be smaller than existing size"));
    }
    if wanted == volume.specification {
        return Err(AwsError::new(
            "InvalidParameterValue",
            "The volume has the size, type, iops and throughput that are asked for",
        ));
    }
    let earlier = volume.modification.as_ref();
    if earlier.is_some_and(|earlier| !earlier.started.after(BETWEEN_MODIFICATIONS).is_past()) {
        return Err(AwsError::new(
            "VolumeModificationRateExceeded",
            format!(
                "You've reached the maximum modification rate per volume limit. Wait at least 6 hours between modifications per EBS volume: {}",
                volume.id
            ),
        ));
    }
    super::refuse_dry_run(form)?;
    let modification = Modification { before: volume.specification.clone(), started: Time::now() };
    volume.specification = wanted;
    let mut xml = Xml::new();
    xml.nest("volumeModification", |xml| modification_xml(xml, volume, &modification));
    volume.modification = Some(modification);
    Ok(xml)
}

fn modification_xml(xml: &mut Xml, volume: &Volume, modification: &Modification) {
    let (before, after) = (&modification.before, &volume.specification);
    let state = modification.state();
    xml.text("volumeId", &volume.id)
        .text("modificationState", state)
        .text("originalSize", before.size_gib)
        .text("targetSize", after.size_gib)
        .text("originalVolumeType", &before.kind)
        .text("targetVolumeType", &after.kind)
        .optional("originalIops", before.iops)
        .optional("targetIops", after.iops)
        .optional("originalThroughput", before.throughput)
        .optional("targetThroughput", after.throughput)
        .text("progress", if state == "completed" { 100 } else { 0 })
        .text("startTime", modification.started);
    if state == "completed" {
        xml.text("endTime", modification.started.after(MODIFYING + OPTIMIZING));
    }
}

fn describe_volumes_modifications(call: &mut Call<'_>) -> Answer {
    let filters = Filters::ec2(call.form, &["volume-id", "modification-state"])?;
    let modified: Vec<(&Volume, &Modification)> = selected(call, &filters)?
        .into_iter()
        .filter_map(|volume| Some((volume, volume.modification.as_ref()?)))
        .collect();
    if modified.is_empty() && !call.form.list("VolumeId").is_empty() {
        return Err(AwsError::new("InvalidVolumeModification.NotFound", "The volume has not been modified"));
    }
    let (page, next) = EC2_PAGES.page(call.form, modified)?;
    let mut xml = Xml::new();
    xml.list("volumeModificationSet", "item", page, |xml, (volume, modification)| {
        modification_xml(xml, volume, modification);
    });
    xml.optional("nextToken", next);
    Ok(xml)
}
