//! Machine images that others publish, under the names that people use for them: `al2023`, `ubuntu-24.04`. Always the newest one, for
//! the processor that an instance type has.

use aws_sdk_ec2::types::{ArchitectureType, Image, InstanceType};

use super::filter;
use crate::clients::aws::failure;
use crate::error::{Error, Kind};
use crate::primitives::namespace::Call;

/// Canonical's account (documentation.ubuntu.com/aws, "Find Ubuntu images on AWS").
const CANONICAL: &str = "099720109477";

/// What `image` takes besides an id, for messages.
pub(super) const NAMES: &str = "`al2023`, `ubuntu-24.04`, `ubuntu-22.04`";

/// Whose image, and which release of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Published {
    AmazonLinux2023,
    /// A release, such as `24.04`.
    Ubuntu(String),
}

impl Published {
    pub(super) fn named(name: &str) -> Option<Self> {
        if name == "al2023" {
            return Some(Published::AmazonLinux2023);
        }
        let (year, month) = name.strip_prefix("ubuntu-")?.split_once('.')?;
        let is_number = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        (is_number(year) && is_number(month)).then(|| Published::Ubuntu(format!("{year}.{month}")))
    }

    /// Whether that image is one of these, whenever it was published.
    pub(super) fn includes(&self, image: &Image) -> bool {
        let name = image.name().unwrap_or_default();
        match self {
            Published::AmazonLinux2023 => name.starts_with("al2023-ami-"),
            Published::Ubuntu(release) => is_ubuntu(image) && name.contains(&format!("-{release}-")),
        }
    }

    /// The newest one for an instance type (EC2 `DescribeInstanceTypes`, `DescribeImages`; SSM `GetParameter`).
    pub(super) fn find(&self, call: &Call, instance_type: &str) -> Result<Image, Error> {
        let processor = architecture(call, instance_type)?;
        match self {
            Published::AmazonLinux2023 => {
                let path =
                    format!("/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{processor}");
                let answer = call.block(async {
                    let request = call.aws()?.ssm.get_parameter().name(path);
                    request.send().await.map_err(|error| failure("ssm", "GetParameter", error))
                })?;
                let id = answer.parameter().and_then(|parameter| parameter.value()).unwrap_or_default();
                with_id(call, id)
            }
            Published::Ubuntu(release) => {
                // Canonical writes Debian's word for it.
                let word = if processor == ArchitectureType::X8664 { "amd64" } else { processor.as_str() };
                let name = format!("ubuntu/images/hvm-ssd*/ubuntu-*-{release}-{word}-server-*");
                let found = call.block(async {
                    let request = call.aws()?.ec2.describe_images().owners(CANONICAL);
                    let request =
                        request.filters(filter("name", &name)).filters(filter("state", "available"));
                    request.send().await.map_err(|error| failure("ec2", "DescribeImages", error))
                })?;
                // The moments are in the order of their text.
                let newest = found.images.unwrap_or_default().into_iter().max_by(|one, other| {
                    one.creation_date().unwrap_or_default().cmp(other.creation_date().unwrap_or_default())
                });
                newest.ok_or_else(|| {
                    let region = call.aws().map(|clients| clients.region.clone()).unwrap_or_default();
                    Error::new(
                        Kind::NotFound,
                        format!("Canonical ({CANONICAL}) publishes no image of Ubuntu {release} for {processor} in {region}"),
                    )
                    .of("ec2", "DescribeImages")
                    .key("image")
                    .help(format!("ask for another release, or name an image by its id; there are {NAMES}"))
                })
            }
        }
    }
}

/// Ubuntu as Canonical publishes it.
pub(super) fn is_ubuntu(image: &Image) -> bool {
    image.name().is_some_and(|name| name.starts_with("ubuntu/"))
}

/// The image of that id (EC2 `DescribeImages`).
pub(super) fn with_id(call: &Call, id: &str) -> Result<Image, Error> {
    let answer = call.block(async {
        let request = call.aws()?.ec2.describe_images().image_ids(id);
        request.send().await.map_err(|error| failure("ec2", "DescribeImages", error))
    })?;
    let region = &call.aws()?.region;
    answer.images.unwrap_or_default().pop().ok_or_else(|| {
        Error::new(Kind::NotFound, format!("there is no machine image {id} in {region}"))
            .of("ec2", "DescribeImages")
    })
}

/// The processor of an instance type, as an image names it.
fn architecture(call: &Call, instance_type: &str) -> Result<ArchitectureType, Error> {
    let answer = call.block(async {
        let request =
            call.aws()?.ec2.describe_instance_types().instance_types(InstanceType::from(instance_type));
        request.send().await.map_err(|error| match failure("ec2", "DescribeInstanceTypes", error) {
            error if error.code == "InvalidInstanceType" => error.key("instance_type"),
            error => error,
        })
    })?;
    let found = answer.instance_types().first().and_then(|found| found.processor_info());
    let supported = found.map(|processor| processor.supported_architectures()).unwrap_or_default();
    // Some old types also run 32 bits; what is for Apple's machines has no image here.
    let usable =
        supported.iter().find(|one| matches!(one, ArchitectureType::X8664 | ArchitectureType::Arm64));
    usable.cloned().ok_or_else(|| {
        Error::invalid(format!("EC2 names no processor of {instance_type} that such an image is made for"))
            .key("instance_type")
            .help("name an image by its id")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_a_year_and_a_month() {
        assert_eq!(Published::named("al2023"), Some(Published::AmazonLinux2023));
        assert_eq!(Published::named("ubuntu-22.04"), Some(Published::Ubuntu("22.04".to_owned())));
        for other in ["ubuntu", "ubuntu-24", "ubuntu-24.4", "ubuntu-*.04", "debian-12", "al2", ""] {
            assert_eq!(Published::named(other), None, "{other}");
        }
    }

    #[test]
    fn an_image_is_of_a_release_whenever_it_was_published() {
        let image = |name: &str| Image::builder().name(name).build();
        let noble = Published::Ubuntu("24.04".to_owned());
        assert!(noble.includes(&image("ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20250305")));
        assert!(!noble.includes(&image("ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20250305")));
        assert!(!noble.includes(&image("al2023-ami-2023.9.20251001.0-kernel-6.1-x86_64")));
        assert!(
            Published::AmazonLinux2023.includes(&image("al2023-ami-2023.9.20251001.0-kernel-6.1-x86_64"))
        );
    }
}
