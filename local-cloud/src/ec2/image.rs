//! The images that an instance can start from: Amazon Linux 2023 for both processors. An instance here never boots them,
//! they exist so that what a playbook looks up is found and what it mistypes is not.

use crate::query::{Access, Answer, AwsError, Call, Operation};
use crate::select::{EC2_PAGES, Filters};
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[("DescribeImages", Access::Read, describe_images)];

pub(crate) struct Image {
    pub(crate) id: String,
    pub(crate) name: &'static str,
    pub(crate) architecture: &'static str,
}

const CREATION_DATE: &str = "2025-10-01T00:00:00.000Z";
const OWNER: &str = "137112412989";

pub(crate) fn images(region: &str) -> Vec<Image> {
    [
        ("al2023-ami-2023.9.20251001.0-kernel-6.1-x86_64", "x86_64"),
        ("al2023-ami-2023.9.20251001.0-kernel-6.1-arm64", "arm64"),
    ]
    .into_iter()
    .map(|(name, architecture)| Image {
        id: super::vpc::derived_id("ami", &format!("{region}{name}")),
        name,
        architecture,
    })
    .collect()
}

pub(super) fn find(region: &str, id: &str) -> Result<Image, AwsError> {
    if !well_formed(id) {
        return Err(AwsError::new(
            "InvalidAMIID.Malformed",
            format!("Invalid id: \"{id}\" (expecting \"ami-...\")"),
        ));
    }
    images(region).into_iter().find(|image| image.id == id).ok_or_else(|| {
        AwsError::new("InvalidAMIID.NotFound", format!("The image id '[{id}]' does not exist"))
    })
}

fn well_formed(id: &str) -> bool {
    id.strip_prefix("ami-").is_some_and(|digits| {
        matches!(digits.len(), 8 | 17) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
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
            "virtualization-type",
            "image-type",
            "is-public",
            "ena-support",
            "platform-details",
            "description",
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
        find(call.region_name, id)?;
    }
    let from_amazon =
        owners.is_empty() || owners.iter().any(|owner| matches!(owner.as_str(), "amazon" | OWNER));
    let selected = images(call.region_name)
        .into_iter()
        .filter(|image| from_amazon && (wanted.is_empty() || wanted.contains(&image.id)))
        .filter(|image| {
            filters.matches(|name| match name {
                "image-id" => vec![image.id.clone()],
                "name" => vec![image.name.into()],
                "architecture" => vec![image.architecture.into()],
                "state" => vec!["available".into()],
                "owner-alias" => vec!["amazon".into()],
                "owner-id" => vec![OWNER.into()],
                "root-device-type" => vec!["ebs".into()],
                "virtualization-type" => vec!["hvm".into()],
                "image-type" => vec!["machine".into()],
                "is-public" | "ena-support" => vec!["true".into()],
                "platform-details" => vec!["Linux/UNIX".into()],
                "description" => vec!["Amazon Linux 2023".into()],
                "block-device-mapping.volume-type" => vec!["gp3".into()],
                "hypervisor" => vec!["xen".into()],
                _ => vec![],
            })
        })
        .collect();
    let (page, next) = EC2_PAGES.page(call.form, selected)?;
    let mut xml = Xml::new();
    xml.list("imagesSet", "item", page, |xml, image: Image| {
        xml.text("imageId", &image.id)
            .text("imageLocation", format!("amazon/{}", image.name))
            .text("imageState", "available")
            .text("imageOwnerId", OWNER)
            .text("imageOwnerAlias", "amazon")
            .text("creationDate", CREATION_DATE)
            .text("isPublic", true)
            .text("architecture", image.architecture)
            .text("imageType", "machine")
            .text("name", image.name)
            .text("description", "Amazon Linux 2023")
            .text("rootDeviceType", "ebs")
            .text("rootDeviceName", "/dev/xvda")
            .list("blockDeviceMapping", "item", [()], |xml, ()| {
                xml.text("deviceName", "/dev/xvda").nest("ebs", |xml| {
                    xml.text("volumeSize", 8).text("deleteOnTermination", true).text("volumeType", "gp3");
                });
            })
            .text("virtualizationType", "hvm")
            .text("hypervisor", "xen")
            .text("enaSupport", true)
            .text("platformDetails", "Linux/UNIX");
    });
    xml.optional("nextToken", next);
    Ok(xml)
}
