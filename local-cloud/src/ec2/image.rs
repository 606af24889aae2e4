//! The images that an instance can start from: those that others publish, and those that were made of an instance. An instance here
//! never boots them, they exist so that what a playbook looks up is found and what it mistypes is not.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::volume::Specification;
use super::{Tags, image_catalogue, tag_set};
use crate::cloud::ACCOUNT;
use crate::query::{Access, Answer, AwsError, Call, Operation};
use crate::select::{EC2_PAGES, Filters, tag_values};
use crate::time::Time;
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[("DescribeImages", Access::Read, describe_images)];

/// `pending` stays visible for this long.
const PENDING: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Image {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) architecture: String,
    pub(super) description: String,
    pub(super) owner: String,
    pub(super) root_device: String,
    pub(super) volumes: Vec<ImageVolume>,
    /// As AWS writes it.
    pub(super) creation_date: String,
    /// Of one that was made here.
    pub(super) made: Option<Made>,
    pub(super) tags: Tags,
}

/// What is known of the making of an image of this account.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Made {
    pub(super) of: String,
    pub(super) at: Time,
}

/// A volume that an instance of the image starts with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ImageVolume {
    pub(super) device: String,
    pub(super) specification: Specification,
    pub(super) encrypted: bool,
    pub(super) delete_on_termination: bool,
    pub(super) snapshot: Option<String>,
}

impl ImageVolume {
    pub(super) fn published(device: &str) -> ImageVolume {
        ImageVolume {
            device: device.to_string(),
            specification: Specification::root(),
            encrypted: false,
            delete_on_termination: true,
            snapshot: None,
        }
    }
}

impl Image {
    fn is_pending(&self) -> bool {
        self.made.as_ref().is_some_and(|made| !made.at.after(PENDING).is_past())
    }

    fn state(&self) -> &'static str {
        if self.is_pending() { "pending" } else { "available" }
    }

    fn is_mine(&self) -> bool {
        self.owner == ACCOUNT
    }

    /// `self`, an account, or `amazon`, which stands for AWS and for publishers that it has verified.
    fn is_of(&self, owner: &str) -> bool {
        match owner {
            "self" => self.is_mine(),
            "amazon" => !self.is_mine(),
            account => self.owner == account,
        }
    }

    /// An instance can be launched from it.
    pub(super) fn check_available(&self) -> Result<(), AwsError> {
        if self.is_pending() {
            return Err(AwsError::new(
                "InvalidAMIID.Unavailable",
                format!("The image ID '{}' is not available: it is pending", self.id),
            ));
        }
        Ok(())
    }

    fn xml(&self, xml: &mut Xml) {
        xml.text("imageId", &self.id)
            .text(
                "imageLocation",
                format!("{}/{}", if self.is_mine() { ACCOUNT } else { "amazon" }, self.name),
            )
            .text("imageState", self.state())
            .text("imageOwnerId", &self.owner);
        if !self.is_mine() {
            xml.text("imageOwnerAlias", "amazon");
        }
        xml.text("creationDate", &self.creation_date)
            .text("isPublic", !self.is_mine())
            .text("architecture", &self.architecture)
            .text("imageType", "machine")
            .text("name", &self.name)
            .text("description", &self.description)
            .text("rootDeviceType", "ebs")
            .text("rootDeviceName", &self.root_device)
            .list("blockDeviceMapping", "item", &self.volumes, |xml, volume| {
                xml.text("deviceName", &volume.device).nest("ebs", |xml| {
                    xml.optional("snapshotId", volume.snapshot.as_ref())
                        .text("volumeSize", volume.specification.size_gib)
                        .text("deleteOnTermination", volume.delete_on_termination)
                        .text("volumeType", &volume.specification.kind)
                        .text("encrypted", volume.encrypted);
                });
            })
            .text("virtualizationType", "hvm")
            .text("hypervisor", "xen")
            .text("enaSupport", true)
            .text("platformDetails", "Linux/UNIX")
            .optional("sourceInstanceId", self.made.as_ref().map(|made| &made.of));
        tag_set(xml, &self.tags);
    }
}

pub(super) fn not_found(id: &str) -> AwsError {
    let well_formed = id.strip_prefix("ami-").is_some_and(|digits| {
        matches!(digits.len(), 8 | 17) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    });
    if !well_formed {
        return AwsError::new(
            "InvalidAMIID.Malformed",
            format!("Invalid id: \"{id}\" (expecting \"ami-...\")"),
        );
    }
    AwsError::new("InvalidAMIID.NotFound", format!("The image id '[{id}]' does not exist"))
}

/// Every image that this account sees.
fn all(call: &Call<'_>) -> Vec<Image> {
    let mut images = image_catalogue::images(call.region_name);
    images.extend(call.region.ec2.images.values().cloned());
    images
}

pub(super) fn find(call: &Call<'_>, id: &str) -> Result<Image, AwsError> {
    all(call).into_iter().find(|image| image.id == id).ok_or_else(|| not_found(id))
}

fn describe_images(call: &mut Call<'_>) -> Answer {
    let filters = Filters::ec2(
        call.form,
        &[
            "image-id",
            "name",
            "architecture",
            "state",
            "owner-alias",
            "owner-id",
            "root-device-type",
            "root-device-name",
            "virtualization-type",
            "image-type",
            "is-public",
            "ena-support",
            "platform-details",
            "description",
            "creation-date",
            "source-instance-id",
            "block-device-mapping.snapshot-id",
            "block-device-mapping.volume-type",
            "hypervisor",
            "tag:",
            "tag-key",
        ],
    )?;
    call.form.ignore(&["IncludeDeprecated", "IncludeDisabled", "ExecutableBy"]);
    let owners = call.form.list("Owner");
    let wanted = call.form.list("ImageId");
    for id in &wanted {
        find(call, id)?;
    }
    let selected = all(call)
        .into_iter()
        .filter(|image| owners.is_empty() || owners.iter().any(|owner| image.is_of(owner)))
        .filter(|image| wanted.is_empty() || wanted.contains(&image.id))
        .filter(|image| {
            filters.matches(|name| match name {
                "image-id" => vec![image.id.clone()],
                "name" => vec![image.name.clone()],
                "architecture" => vec![image.architecture.clone()],
                "state" => vec![image.state().into()],
                "owner-alias" if !image.is_mine() => vec!["amazon".into()],
                "owner-id" => vec![image.owner.clone()],
                "root-device-type" => vec!["ebs".into()],
                "root-device-name" => vec![image.root_device.clone()],
                "virtualization-type" => vec!["hvm".into()],
                "image-type" => vec!["machine".into()],
                "is-public" => vec![(!image.is_mine()).to_string()],
                "ena-support" => vec!["true".into()],
                "platform-details" => vec!["Linux/UNIX".into()],
                "description" => vec![image.description.clone()],
                "creation-date" => vec![image.creation_date.clone()],
                "source-instance-id" => image.made.iter().map(|made| made.of.clone()).collect(),
                "block-device-mapping.snapshot-id" => {
                    image.volumes.iter().filter_map(|volume| volume.snapshot.clone()).collect()
                }
                "block-device-mapping.volume-type" => {
                    image.volumes.iter().map(|volume| volume.specification.kind.clone()).collect()
                }
                "hypervisor" => vec!["xen".into()],
                tag => tag_values(tag, &image.tags),
            })
        })
        .collect();
    let (page, next) = EC2_PAGES.page(call.form, selected)?;
    let mut xml = Xml::new();
    xml.list("imagesSet", "item", page, |xml, image: Image| image.xml(xml));
    xml.optional("nextToken", next);
    Ok(xml)
}
