//! The network that a stack stands on: the account's default VPC and its subnets, one for each zone.

use std::collections::BTreeMap;

use super::filter;
use crate::clients::aws::failure;
use crate::error::{Error, Kind};
use crate::host::Host;

/// The id of the region's default VPC (EC2 `DescribeVpcs`).
pub fn default_vpc(host: &Host) -> Result<String, Error> {
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
            .help("make one with `aws ec2 create-default-vpc`, or choose another region with `--region`")
    })
}

/// One subnet of `vpc` for each availability zone, as zone and subnet id, in the order of the zones (EC2 `DescribeSubnets`).
pub fn subnets(host: &Host, vpc: &str) -> Result<BTreeMap<String, String>, Error> {
    let mut zones = BTreeMap::new();
    let found = host.block(async {
        let mut pages =
            host.aws()?.ec2.describe_subnets().filters(filter("vpc-id", vpc)).into_paginator().send();
        let mut subnets = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failure("ec2", "DescribeSubnets", error))?;
            subnets.extend(page.subnets.unwrap_or_default());
        }
        Ok(subnets)
    })?;
    for subnet in found {
        if let (Some(zone), Some(id)) = (subnet.availability_zone, subnet.subnet_id) {
            // A default subnet of a zone comes before one that somebody added.
            if subnet.default_for_az == Some(true) || !zones.contains_key(&zone) {
                zones.insert(zone, id);
            }
        }
    }
    if zones.is_empty() {
        return Err(
            Error::new(Kind::NotFound, format!("the VPC {vpc} has no subnet")).of("ec2", "DescribeSubnets")
        );
    }
    Ok(zones)
}
