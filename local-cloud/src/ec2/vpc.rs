//! The network that every account starts with: one default VPC with a subnet in each of three zones. It is the same for ever,
//! so its identifiers are derived from the region's name and nothing is stored.

use sha2::{Digest as _, Sha256};

use crate::cloud::ACCOUNT;
use crate::query::{Access, Answer, AwsError, Call, Operation};
use crate::select::{EC2_PAGES, Filters};
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("DescribeVpcs", Access::Read, describe_vpcs),
    ("DescribeSubnets", Access::Read, describe_subnets),
    ("DescribeAvailabilityZones", Access::Read, describe_availability_zones),
];

const VPC_CIDR: &str = "172.31.0.0/16";

pub(crate) struct Subnet {
    pub(crate) id: String,
    pub(crate) zone: String,
    pub(super) zone_id: String,
    cidr: String,
}

pub(super) fn derived_id(prefix: &str, seed: &str) -> String {
    let digest = Sha256::digest(seed.as_bytes());
    let digits: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{prefix}-0{digits}")
}

pub(crate) fn vpc_id(region: &str) -> String {
    derived_id("vpc", region)
}

pub(crate) fn subnets(region: &str) -> Vec<Subnet> {
    ["a", "b", "c"]
        .iter()
        .enumerate()
        .map(|(index, letter)| Subnet {
            id: derived_id("subnet", &format!("{region}{letter}")),
            zone: format!("{region}{letter}"),
            zone_id: format!("{}-az{}", zone_prefix(region), index + 1),
            cidr: format!("172.31.{}.0/20", index * 16),
        })
        .collect()
}

/// `us-east-1` is `use1` in a zone's id.
fn zone_prefix(region: &str) -> String {
    let mut parts = region.split('-');
    let area = parts.next().unwrap_or_default();
    let rest: String = parts.filter_map(|part| part.chars().next()).collect();
    format!("{area}{rest}")
}

fn describe_vpcs(call: &mut Call<'_>) -> Answer {
    let filters = Filters::ec2(
        call.form,
        &["vpc-id", "is-default", "isDefault", "cidr", "cidr-block", "state", "owner-id", "tag:", "tag-key"],
    )?;
    let id = vpc_id(call.region_name);
    let wanted = call.form.list("VpcId");
    if let Some(unknown) = wanted.iter().find(|wanted| **wanted != id) {
        return Err(AwsError::new("InvalidVpcID.NotFound", format!("The vpc ID '{unknown}' does not exist")));
    }
    let matches = filters.matches(|name| match name {
        "vpc-id" => vec![id.clone()],
        "is-default" | "isDefault" => vec!["true".into()],
        "cidr" | "cidr-block" => vec![VPC_CIDR.into()],
        "state" => vec!["available".into()],
        "owner-id" => vec![ACCOUNT.into()],
        _ => vec![],
    });
    let (vpcs, next) = EC2_PAGES.page(call.form, if matches { vec![id] } else { vec![] })?;
    let mut xml = Xml::new();
    xml.list("vpcSet", "item", vpcs, |xml, id| {
        xml.text("vpcId", id)
            .text("ownerId", ACCOUNT)
            .text("state", "available")
            .text("cidrBlock", VPC_CIDR)
            .text("dhcpOptionsId", "default")
            .text("instanceTenancy", "default")
            .text("isDefault", true);
    });
    xml.optional("nextToken", next);
    Ok(xml)
}

fn describe_subnets(call: &mut Call<'_>) -> Answer {
    let filters = Filters::ec2(
        call.form,
        &[
            "subnet-id",
            "vpc-id",
            "availability-zone",
            "availabilityZone",
            "availability-zone-id",
            "default-for-az",
            "defaultForAz",
            "map-public-ip-on-launch",
            "cidr-block",
            "state",
            "owner-id",
            "tag:",
            "tag-key",
        ],
    )?;
    let vpc = vpc_id(call.region_name);
    let all = subnets(call.region_name);
    let wanted = call.form.list("SubnetId");
    if let Some(unknown) = wanted.iter().find(|wanted| !all.iter().any(|subnet| subnet.id == **wanted)) {
        return Err(subnet_not_found(unknown));
    }
    let selected = all
        .into_iter()
        .filter(|subnet| wanted.is_empty() || wanted.contains(&subnet.id))
        .filter(|subnet| {
            filters.matches(|name| match name {
                "subnet-id" => vec![subnet.id.clone()],
                "vpc-id" => vec![vpc.clone()],
                "availability-zone" | "availabilityZone" => vec![subnet.zone.clone()],
                "availability-zone-id" => vec![subnet.zone_id.clone()],
                "default-for-az" | "defaultForAz" | "map-public-ip-on-launch" => vec!["true".into()],
                "cidr-block" => vec![subnet.cidr.clone()],
                "state" => vec!["available".into()],
                "owner-id" => vec![ACCOUNT.into()],
                _ => vec![],
            })
        })
        .collect();
    let (page, next) = EC2_PAGES.page(call.form, selected)?;
    let mut xml = Xml::new();
    xml.list("subnetSet", "item", page, |xml, subnet: Subnet| {
        let arn = super::arn(call, "subnet", &subnet.id);
        xml.text("subnetId", &subnet.id)
            .text("subnetArn", arn)
            .text("state", "available")
            .text("ownerId", ACCOUNT)
            .text("vpcId", &vpc)
            .text("cidrBlock", &subnet.cidr)
            .text("availableIpAddressCount", 4091)
            .text("availabilityZone", &subnet.zone)
            .text("availabilityZoneId", &subnet.zone_id)
            .text("defaultForAz", true)
            .text("mapPublicIpOnLaunch", true);
    });
    xml.optional("nextToken", next);
    Ok(xml)
}

pub(super) fn subnet_not_found(id: &str) -> AwsError {
    AwsError::new("InvalidSubnetID.NotFound", format!("The subnet ID '{id}' does not exist"))
}

fn describe_availability_zones(call: &mut Call<'_>) -> Answer {
    let filters = Filters::ec2(
        call.form,
        &["zone-name", "zone-id", "region-name", "state", "zone-type", "opt-in-status", "group-name"],
    )?;
    call.form.ignore(&["AllAvailabilityZones"]);
    let (names, ids) = (call.form.list("ZoneName"), call.form.list("ZoneId"));
    let region = call.region_name;
    let zones = subnets(region)
        .into_iter()
        .filter(|subnet| names.is_empty() || names.contains(&subnet.zone))
        .filter(|subnet| ids.is_empty() || ids.contains(&subnet.zone_id))
        .filter(|subnet| {
            filters.matches(|name| {
                vec![match name {
                    "zone-name" => subnet.zone.clone(),
                    "zone-id" => subnet.zone_id.clone(),
                    "region-name" | "group-name" => region.to_string(),
                    "state" => "available".into(),
                    "zone-type" => "availability-zone".into(),
                    _ => "opt-in-not-required".into(),
                }]
            })
        });
    let mut xml = Xml::new();
    xml.list("availabilityZoneInfo", "item", zones, |xml, subnet| {
        xml.text("zoneName", &subnet.zone)
            .text("zoneState", "available")
            .text("regionName", region)
            .text("zoneId", &subnet.zone_id)
            .text("groupName", region)
            .text("networkBorderGroup", region)
            .text("optInStatus", "opt-in-not-required")
            .text("zoneType", "availability-zone");
    });
    Ok(xml)
}
