//! Images of this account: made of an instance, with a snapshot of each of its volumes, and given up again. There is no data behind a
//! volume, so an instance of such an image starts like any other: with what its own user data says.

use super::image::{Image, ImageVolume, Made, find, not_found};
use super::instance::{self, InstanceState};
use super::snapshot::Snapshot;
use super::{done, tag_specification};
use crate::cloud::{ACCOUNT, fresh_id};
use crate::query::{Access, Answer, AwsError, Call, Operation};
use crate::time::Time;
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] =
    &[("CreateImage", Access::Change, create_image), ("DeregisterImage", Access::Change, deregister_image)];

/// An account has one image of a name in each region.
fn check_name(call: &Call<'_>, name: &str) -> Result<(), AwsError> {
    let allowed = |character: char| character.is_ascii_alphanumeric() || "()[] ./-'@_".contains(character);
    if !(3..=128).contains(&name.len()) || !name.chars().all(allowed) {
        return Err(AwsError::new(
            "InvalidAMIName.Malformed",
            format!(
                "AMI name '{name}' is invalid: it has 3 to 128 characters, and may contain letters, numbers, spaces and ()[]./-'@_"
            ),
        ));
    }
    match call.region.ec2.images.values().find(|image| image.name == name) {
        None => Ok(()),
        Some(image) => Err(AwsError::new(
            "InvalidAMIName.Duplicate",
            format!("AMI name {name} is already in use by AMI {}", image.id),
        )),
    }
}

/// A reboot before it, which is the default, is not seen from outside: there is nothing on a disk that it would settle.
fn create_image(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let of = form.required("InstanceId")?.to_string();
    let name = form.required("Name")?.to_string();
    let description = form.get("Description").unwrap_or_default().to_string();
    form.flag("NoReboot")?;
    let tags = tag_specification(form, "image", &["snapshot"])?;
    let snapshot_tags = tag_specification(form, "snapshot", &["image"])?;
    let instance = call.region.ec2.instances.get(&of).ok_or_else(|| instance::not_found(&of))?;
    if !matches!(instance.state, InstanceState::Running | InstanceState::Stopped) {
        return Err(AwsError::new(
            "IncorrectInstanceState",
            format!("The instance '{of}' is not 'running' or 'stopped': it is {}", instance.state.name()),
        ));
    }
    let (architecture, root_device) = (instance.architecture.clone(), instance.root_device.clone());
    check_name(call, &name)?;
    super::refuse_dry_run(form)?;
    let id = fresh_id("ami");
    let mut volumes = Vec::new();
    for (device, delete_on_termination, volume) in call.region.ec2.volumes_of(&of) {
        let snapshot =
            Snapshot::of(&volume, format!("Created by CreateImage({of}) for {id}"), snapshot_tags.clone());
        volumes.push(ImageVolume {
            device,
            specification: volume.specification,
            encrypted: volume.encrypted,
            delete_on_termination,
            snapshot: Some(snapshot.id.clone()),
        });
        call.region.ec2.snapshots.insert(snapshot.id.clone(), snapshot);
    }
    let at = Time::now();
    let image = Image {
        id: id.clone(),
        name,
        architecture,
        description,
        owner: ACCOUNT.to_string(),
        root_device,
        volumes,
        creation_date: at.to_string(),
        made: Some(Made { of, at }),
        tags,
    };
    call.region.ec2.images.insert(id.clone(), image);
    let mut xml = Xml::new();
    xml.text("imageId", id);
    Ok(xml)
}

/// Its snapshots stay.
fn deregister_image(call: &mut Call<'_>) -> Answer {
    let id = call.form.required("ImageId")?.to_string();
    let image = find(call, &id)?;
    if image.owner != ACCOUNT {
        return Err(AwsError::with_status(403, "AuthFailure", format!("Not authorized for image:{id}")));
    }
    super::refuse_dry_run(call.form)?;
    call.region.ec2.images.remove(&id).ok_or_else(|| not_found(&id))?;
    Ok(done())
}
