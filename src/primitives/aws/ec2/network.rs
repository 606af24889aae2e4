//! The network that a stack stands on: one VPC, the account's default one if no other is named, and its subnets, one for each zone.

use std::collections::BTreeMap;

use super::instance_type::zones_of;
use super::{filter, security_group};
use crate::clients::aws::failure;
use crate::error::{Error, Kind};
use crate::host::Host;

/// The VPC that the stack stands in: that of its security groups, else the region's default one.
pub fn vpc(host: &Host) -> Result<String, Error> {
    let groups = security_group::seen(host)?;
    match groups.iter().find_map(|group| group.vpc_id()) {
        Some(vpc) => Ok(vpc.to_owned()),
        None => default_vpc(host),
    }
}

/// The VPC of that id (EC2 `DescribeVpcs`); an error that names the key where there is none.
pub fn existing_vpc(host: &Host, id: &str) -> Result<String, Error> {
    let found = host.block(async {
        let answer = host.aws()?.ec2.describe_vpcs().vpc_ids(id).send().await;
        answer.map_err(|error| failure("ec2", "DescribeVpcs", error))
    });
    let region = &host.aws()?.region;
    match found {
        Ok(found) if !found.vpcs().is_empty() => Ok(id.to_owned()),
        Err(error) if error.kind != Kind::NotFound && !error.code.starts_with("InvalidVpc") => Err(error),
        Ok(_) | Err(_) => Err(Error::new(Kind::NotFound, format!("there is no VPC `{id}` in {region}"))
            .of("ec2", "DescribeVpcs")
            .code("InvalidVpcID.NotFound")
            .key("vpc")
            .help("`aws ec2 describe-vpcs` lists those that there are, `--region` says where")),
    }
}

/// The id of the region's default VPC (EC2 `DescribeVpcs`).
fn default_vpc(host: &Host) -> Result<String, Error> {
    let found = host.block(async {
        host.aws()?
            .ec2
            .describe_vpcs()
            .filters(filter("is-default", "true"))
            .send()
            .await
            .map_err(|error| failure("ec2", "DescribeVpcs", error))
    })?;
    let region = &host.aws()?.region;
    found.vpcs().first().and_then(|vpc| vpc.vpc_id()).map(str::to_owned).ok_or_else(|| {
        Error::new(Kind::NotFound, format!("{region} has no default VPC"))
            .of("ec2", "DescribeVpcs")
            .help("name one: `deploy` takes `--vpc-id vpc-..`, `ec2::ensure_security_group` the key `vpc`")
            .help("or make a default one with `aws ec2 create-default-vpc`, or choose another region with `--region`")
    })
}

fn is_default(host: &Host, vpc: &str) -> Result<bool, Error> {
    let found = host.block(async {
        let answer = host.aws()?.ec2.describe_vpcs().vpc_ids(vpc).send().await;
        answer.map_err(|error| failure("ec2", "DescribeVpcs", error))
    })?;
    Ok(found.vpcs().iter().any(|vpc| vpc.is_default() == Some(true)))
}

/// Who is to reach what stands in a subnet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    Internet,
    VpcAlone,
}

/// One subnet of `vpc` for each availability zone, as zone and subnet id, in the order of the zones (EC2 `DescribeSubnets`). Where a
/// zone has several, one that is meant for such a reach.
pub fn subnets(host: &Host, vpc: &str, reach: Reach) -> Result<BTreeMap<String, String>, Error> {
    let mut found = host.block(async {
        let mut pages =
            host.aws()?.ec2.describe_subnets().filters(filter("vpc-id", vpc)).into_paginator().send();
        let mut subnets = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failure("ec2", "DescribeSubnets", error))?;
            subnets.extend(page.subnets.unwrap_or_default());
        }
        Ok(subnets)
    })?;
    // A subnet that gives what is launched in it a public address is one that the internet reaches. Among equals a default one comes
    // before one that somebody added, and the last word is the id's: every run chooses the same.
    found.sort_by_cached_key(|subnet| {
        let other_reach = (subnet.map_public_ip_on_launch() == Some(true)) != (reach == Reach::Internet);
        (other_reach, subnet.default_for_az() != Some(true), subnet.subnet_id.clone())
    });
    let mut zones = BTreeMap::new();
    for subnet in found {
        if let (Some(zone), Some(id)) = (subnet.availability_zone, subnet.subnet_id) {
            zones.entry(zone).or_insert(id);
        }
    }
    if zones.is_empty() {
        return Err(
            Error::new(Kind::NotFound, format!("the VPC {vpc} has no subnet")).of("ec2", "DescribeSubnets")
        );
    }
    Ok(zones)
}

/// The subnet for an instance of that type in `vpc`, in the first zone that has the type. `None` in the default VPC, unless one is
/// `needed`: EC2 chooses a zone that has room.
pub fn subnet_for(
    host: &Host,
    vpc: &str,
    instance_type: &str,
    reach: Reach,
    needed: bool,
) -> Result<Option<String>, Error> {
    if !needed && is_default(host, vpc)? {
        return Ok(None);
    }
    let zones = subnets(host, vpc, reach)?;
    let offered = host.block(zones_of(host, filter("instance-type", instance_type)))?;
    let offered: Vec<&String> = offered.values().flatten().collect();
    let subnet = zones.iter().find(|(zone, _)| offered.contains(zone)).map(|(_, subnet)| subnet.clone());
    subnet.map(Some).ok_or_else(|| {
        let zones: Vec<&str> = zones.keys().map(String::as_str).collect();
        Error::new(
            Kind::NotFound,
            format!("{} of the VPC {vpc} do not have {instance_type}", zones.join(", ")),
        )
        .of("ec2", "DescribeInstanceTypeOfferings")
        .key("instance_type")
        .help("take another type, or give the VPC a subnet in a zone that has it")
    })
}
