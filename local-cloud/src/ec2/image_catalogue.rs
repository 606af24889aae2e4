//! The images that others publish: Amazon Linux 2023 and two releases of Ubuntu, for both processors. Each Ubuntu is there twice, as it
//! was published in two months, so that who looks for the newest one has something to choose from.

use super::image::{Image, ImageVolume};
use super::vpc::derived_id;
use crate::ec2::Tags;

/// Amazon's own account, and Canonical's.
const AMAZON: &str = "137112412989";
const CANONICAL: &str = "099720109477";

/// Before the architecture, behind it, when it was published.
type Published = (&'static str, &'static str, &'static str);

const AMAZON_LINUX: Published = ("al2023-ami-2023.9.20251001.0-kernel-6.1-", "", "2025-10-01T00:00:00.000Z");

const UBUNTU: &[Published] = &[
    ("ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-", "-server-20250712", "2025-07-12T04:30:00.000Z"),
    ("ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-", "-server-20250305", "2025-03-05T04:30:00.000Z"),
    ("ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-", "-server-20250305", "2025-03-05T06:30:00.000Z"),
    ("ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-", "-server-20250712", "2025-07-12T06:30:00.000Z"),
];

/// All of a region.
pub(super) fn images(region: &str) -> Vec<Image> {
    let image = |(before, behind, created): Published, word: &str, architecture: &str| {
        let name = format!("{before}{word}{behind}");
        let is_ubuntu = name.starts_with("ubuntu/");
        let device = if is_ubuntu { "/dev/sda1" } else { super::volume::ROOT_DEVICE };
        Image {
            id: derived_id("ami", &format!("{region}{name}")),
            architecture: architecture.to_string(),
            description: if is_ubuntu { "Canonical, Ubuntu" } else { "Amazon Linux 2023" }.to_string(),
            owner: if is_ubuntu { CANONICAL } else { AMAZON }.to_string(),
            root_device: device.to_string(),
            volumes: vec![ImageVolume::published(device)],
            creation_date: created.to_string(),
            made: None,
            tags: Tags::new(),
            name,
        }
    };
    let mut images = vec![image(AMAZON_LINUX, "x86_64", "x86_64"), image(AMAZON_LINUX, "arm64", "arm64")];
    for published in UBUNTU {
        images.push(image(*published, "amd64", "x86_64"));
        images.push(image(*published, "arm64", "arm64"));
    }
    images
}

/// The newest Amazon Linux of a region, for the public parameters that name it.
pub(crate) fn amazon_linux(region: &str) -> impl Iterator<Item = Image> {
    images(region).into_iter().filter(|image| image.owner == AMAZON)
}
