//! The root volume of an instance: it can grow while the instance runs, and never shrink.

use std::time::Duration;

use aws_sdk_ec2::types::VolumeModificationState;

use super::instance::Instance;
use crate::clients::aws::failure;
use crate::error::{Error, Kind};
use crate::host::Change;
use crate::primitives::declaration::Function;
use crate::primitives::namespace::{Call, Namespace};
use crate::progress::Verb;

/// A modification takes effect within minutes; the optimization after it may take hours, and is not waited for
/// (EC2 User Guide, "Monitor the progress of volume modifications").
const GROWN_WITHIN: Duration = Duration::from_secs(30 * 60);

const GROW: Function = Function {
    name: "grow_root_volume",
    doc: "Makes the root volume of the instance at least so large, in GiB, and says whether it had to grow. The file system on it is grown on the \
          instance: see playbooks/disk.rhai.\n\
          Throws `invalid` where it is larger already: a volume cannot shrink; `conflict` (code VolumeModificationRateExceeded) where it was \
          changed less than six hours ago.\n\
          EC2 `DescribeInstances`, `DescribeVolumes`, `ModifyVolume`, `DescribeVolumesModifications`.",
    parameters: &["size_gib: int"],
    returns: "bool",
    permissions: &[
        "ec2:DescribeInstances",
        "ec2:DescribeVolumes",
        "ec2:ModifyVolume",
        "ec2:DescribeVolumesModifications",
    ],
    example: "ec2::ensure_instance(\"server\").grow_root_volume(30);",
    keys: &[],
};

pub(super) fn register(namespace: &mut Namespace) {
    namespace.method1(&GROW, grow);
}

fn grow(call: &Call, it: &Instance, size_gib: i64) -> Result<bool, Error> {
    let wanted = i32::try_from(size_gib)
        .ok()
        .filter(|size| (1..=16 * 1024).contains(size))
        .ok_or_else(|| Error::invalid(format!("{size_gib} is no size: a gp3 volume has 1 to 16384 GiB")))?;
    let name = it.full_name();
    let id = it.id()?;
    let (volume, size) = call.block(async {
        let request = call.aws()?.ec2.describe_instances().instance_ids(id);
        let answer = request.send().await.map_err(|error| failure("ec2", "DescribeInstances", error))?;
        let instance = answer.reservations().iter().flat_map(|reservation| reservation.instances()).next();
        let root = instance.and_then(|instance| instance.root_device_name()).unwrap_or_default();
        let volume = instance
            .and_then(|instance| {
                instance.block_device_mappings().iter().find(|device| device.device_name() == Some(root))
            })
            .and_then(|device| device.ebs()?.volume_id())
            .ok_or_else(|| {
                Error::new(Kind::NotFound, format!("{name} has no root volume"))
                    .of("ec2", "DescribeInstances")
            })?;
        let request = call.aws()?.ec2.describe_volumes().volume_ids(volume);
        let answer = request.send().await.map_err(|error| failure("ec2", "DescribeVolumes", error))?;
        let size = answer.volumes().first().and_then(|volume| volume.size());
        let size = size.ok_or_else(|| Error::internal(format!("EC2 gave no size of {volume}")))?;
        Ok((volume.to_owned(), size))
    })?;
    if wanted < size {
        return Err(Error::invalid(format!(
            "the root volume of {name} has {size} GiB, and {wanted} GiB are asked for"
        ))
        .help("a volume can grow and never shrink: ask for what it has, or make the instance anew"));
    }
    if wanted == size {
        return Ok(false);
    }
    let detail = format!("root volume, {size} to {wanted} GiB");
    let change =
        Change { verb: Verb::Update, service: "ec2", operation: "ModifyVolume", name, detail: &detail };
    let sent = call.change(change, |_| async {
        let request = call.aws()?.ec2.modify_volume().volume_id(&volume).size(wanted);
        request.send().await.map(drop).map_err(|error| failure("ec2", "ModifyVolume", error))
    })?;
    if sent.is_some() {
        call.wait(&format!("root volume of {name}"), GROWN_WITHIN, || async {
            let request = call.aws()?.ec2.describe_volumes_modifications().volume_ids(&volume);
            let answer = request
                .send()
                .await
                .map_err(|error| failure("ec2", "DescribeVolumesModifications", error))?;
            let Some(found) = answer.volumes_modifications().first() else {
                return Ok(Err("not visible yet".to_owned()));
            };
            match found.modification_state() {
                // The new size can be used from here on.
                Some(VolumeModificationState::Optimizing | VolumeModificationState::Completed) => Ok(Ok(())),
                Some(VolumeModificationState::Failed) => Err(Error::new(
                    Kind::Unavailable,
                    format!("{volume} did not grow: {}", found.status_message().unwrap_or("no reason given")),
                )
                .of("ec2", "ModifyVolume")),
                state => Ok(Err(state.map_or("unknown", VolumeModificationState::as_str).to_owned())),
            }
        })?;
    }
    Ok(true)
}
