//! The instance types that a small deployment picks from, with what is published about them (aws.amazon.com/ec2/instance-types), and the
//! zones that offer them: all, but for the newest generation, which the last zone does not have yet.

use crate::query::{Access, Answer, AwsError, Call, Operation, invalid};
use crate::select::{EC2_PAGES, Filters};
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("DescribeInstanceTypes", Access::Read, describe_instance_types),
    ("DescribeInstanceTypeOfferings", Access::Read, describe_instance_type_offerings),
];

pub(super) struct InstanceType {
    name: String,
    vcpus: u64,
    memory_mib: u64,
    pub(super) architecture: &'static str,
    current_generation: bool,
}

/// Families whose sizes begin at `nano`, with a fixed memory for each size.
const BURSTABLE: &[&str] = &["t2", "t3", "t3a", "t4g"];
/// Size, vCPUs of `t2`, of the others, MiB.
const BURSTABLE_SIZES: &[(&str, u64, u64, u64)] = &[
    ("nano", 1, 2, 512),
    ("micro", 1, 2, 1024),
    ("small", 1, 2, 2048),
    ("medium", 2, 2, 4096),
    ("large", 2, 2, 8192),
    ("xlarge", 4, 4, 16_384),
    ("2xlarge", 8, 8, 32_768),
];
/// Families with a fixed memory for each vCPU, in GiB. The last field says that there is a `medium` with one vCPU.
const PROPORTIONAL: &[(&str, u64, bool)] = &[
    ("m5", 4, false),
    ("m5a", 4, false),
    ("m6a", 4, false),
    ("m6i", 4, false),
    ("m6g", 4, true),
    ("m7a", 4, true),
    ("m7g", 4, true),
    ("m7i", 4, false),
    ("m8g", 4, true),
    ("c5", 2, false),
    ("c6a", 2, false),
    ("c6g", 2, true),
    ("c6i", 2, false),
    ("c7a", 2, true),
    ("c7g", 2, true),
    ("c7i", 2, false),
    ("c8g", 2, true),
    ("r5", 8, false),
    ("r6g", 8, true),
    ("r6i", 8, false),
    ("r7g", 8, true),
    ("r7i", 8, false),
    ("r8g", 8, true),
];
const PROPORTIONAL_SIZES: &[(&str, u64)] =
    &[("medium", 1), ("large", 2), ("xlarge", 4), ("2xlarge", 8), ("4xlarge", 16)];

fn catalogue() -> Vec<InstanceType> {
    // The letter behind the generation says that a family has AWS's own processors.
    let architecture = |family: &str| if family.ends_with('g') { "arm64" } else { "x86_64" };
    let mut types = vec![InstanceType {
        // What RunInstances takes where nothing is named; 1.7 GiB.
        name: "m1.small".into(),
        vcpus: 1,
        memory_mib: 1740,
        architecture: "x86_64",
        current_generation: false,
    }];
    for family in BURSTABLE {
        types.extend(BURSTABLE_SIZES.iter().map(|(size, first, later, memory_mib)| InstanceType {
            name: format!("{family}.{size}"),
            vcpus: if *family == "t2" { *first } else { *later },
            memory_mib: *memory_mib,
            architecture: architecture(family),
            current_generation: true,
        }));
    }
    for (family, gib_each, has_medium) in PROPORTIONAL {
        let sizes = PROPORTIONAL_SIZES.iter().filter(|(size, _)| *has_medium || *size != "medium");
        types.extend(sizes.map(|(size, vcpus)| InstanceType {
            name: format!("{family}.{size}"),
            vcpus: *vcpus,
            memory_mib: vcpus * gib_each * 1024,
            architecture: architecture(family),
            current_generation: true,
        }));
    }
    types
}

pub(super) fn find(name: &str) -> Result<InstanceType, AwsError> {
    catalogue().into_iter().find(|known| known.name == name).ok_or_else(|| {
        AwsError::new("InvalidParameterValue", format!("Invalid value '{name}' for InstanceType."))
    })
}

impl InstanceType {
    fn family(&self) -> &str {
        self.name.split('.').next().unwrap_or_default()
    }

    fn is_burstable(&self) -> bool {
        BURSTABLE.contains(&self.family())
    }

    /// A new generation comes to one zone after the other.
    fn is_offered(&self, zone: &str, last_zone: &str) -> bool {
        zone != last_zone || !self.family().contains('8')
    }

    /// An image runs on processors of its own architecture only.
    pub(super) fn check_runs(&self, architecture: &str) -> Result<(), AwsError> {
        if self.architecture == architecture {
            return Ok(());
        }
        Err(AwsError::new(
            "InvalidParameterValue",
            format!(
                "The architecture '{}' of the specified instance type does not match the architecture '{architecture}' of \
                 the specified AMI.",
                self.architecture
            ),
        ))
    }
}

fn describe_instance_types(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let filters = Filters::ec2(
        form,
        &[
            "instance-type",
            "processor-info.supported-architecture",
            "current-generation",
            "burstable-performance-supported",
        ],
    )?;
    let names = form.list("InstanceType");
    if let Some(unknown) = names.iter().find(|name| find(name).is_err()) {
        return Err(AwsError::new(
            "InvalidInstanceType",
            format!("The following supplied instance types do not exist: [{unknown}]"),
        ));
    }
    let selected = catalogue()
        .into_iter()
        .filter(|known| names.is_empty() || names.contains(&known.name))
        .filter(|known| {
            filters.matches(|name| {
                vec![match name {
                    "instance-type" => known.name.clone(),
                    "current-generation" => known.current_generation.to_string(),
                    "burstable-performance-supported" => known.is_burstable().to_string(),
                    _ => known.architecture.to_string(),
                }]
            })
        })
        .collect();
    let (page, next) = EC2_PAGES.page(form, selected)?;
    let mut xml = Xml::new();
    xml.list("instanceTypeSet", "item", page, |xml, known: InstanceType| {
        xml.text("instanceType", &known.name)
            .text("currentGeneration", known.current_generation)
            .text("burstablePerformanceSupported", known.is_burstable())
            .nest("vCpuInfo", |xml| {
                xml.text("defaultVCpus", known.vcpus);
            })
            .nest("memoryInfo", |xml| {
                xml.text("sizeInMiB", known.memory_mib);
            })
            .nest("processorInfo", |xml| {
                xml.nest("supportedArchitectures", |xml| {
                    xml.text("item", known.architecture);
                });
            });
    });
    xml.optional("nextToken", next);
    Ok(xml)
}

/// Which types the region or its zones offer; the region is asked for where nothing is said.
fn describe_instance_type_offerings(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let filters = Filters::ec2(form, &["location", "instance-type"])?;
    let zones = super::subnets(call.region_name);
    let last = zones.last().map(|subnet| subnet.zone.clone()).unwrap_or_default();
    let kind = form.get("LocationType").unwrap_or("region");
    let locations: Vec<(String, String)> = match kind {
        "region" => vec![(call.region_name.to_string(), String::new())],
        "availability-zone" => zones.into_iter().map(|subnet| (subnet.zone.clone(), subnet.zone)).collect(),
        "availability-zone-id" => zones.into_iter().map(|subnet| (subnet.zone_id, subnet.zone)).collect(),
        other => {
            return Err(invalid("LocationType", other, "region, availability-zone or availability-zone-id"));
        }
    };
    let mut offered = Vec::new();
    for (location, zone) in &locations {
        for known in catalogue().into_iter().filter(|known| known.is_offered(zone, &last)) {
            let matches = filters.matches(|name| match name {
                "location" => vec![location.clone()],
                _ => vec![known.name.clone()],
            });
            if matches {
                offered.push((known.name, location.clone()));
            }
        }
    }
    let (page, next) = EC2_PAGES.page(form, offered)?;
    let mut xml = Xml::new();
    xml.list("instanceTypeOfferingSet", "item", page, |xml, (name, location)| {
        xml.text("instanceType", name).text("locationType", kind).text("location", location);
    });
    xml.optional("nextToken", next);
    Ok(xml)
}
