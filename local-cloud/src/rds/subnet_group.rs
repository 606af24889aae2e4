//! DB subnet groups: subnets of at least two zones, not deletable while a database uses them.

use serde::{Deserialize, Serialize};

use super::{Tags, arn, identifier, tags_of_request};
use crate::ec2::{subnets, vpc_id};
use crate::query::{Access, Answer, AwsError, Call, Operation};
use crate::select::{Filters, RDS_PAGES};
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("CreateDBSubnetGroup", Access::Change, create_db_subnet_group),
    ("DescribeDBSubnetGroups", Access::Read, describe_db_subnet_groups),
    ("DeleteDBSubnetGroup", Access::Change, delete_db_subnet_group),
];

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SubnetGroup {
    name: String,
    description: String,
    subnets: Vec<String>,
    pub(super) tags: Tags,
}

pub(super) fn not_found(name: &str) -> AwsError {
    AwsError::with_status(
        404,
        "DBSubnetGroupNotFoundFault",
        format!("DB subnet group '{name}' does not exist."),
    )
}

fn create_db_subnet_group(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let name = identifier("DBSubnetGroupName", form.required("DBSubnetGroupName")?, 255)?;
    let description = form.required("DBSubnetGroupDescription")?.to_string();
    let ids = form.list("SubnetIds");
    let tags = tags_of_request(call)?;
    if name == "default" {
        return Err(AwsError::new("InvalidParameterValue", "DBSubnetGroupName default is reserved"));
    }
    if call.region.rds.subnet_groups.contains_key(&name) {
        return Err(AwsError::new(
            "DBSubnetGroupAlreadyExists",
            format!("The DB subnet group '{name}' already exists."),
        ));
    }
    let known = subnets(call.region_name);
    let mut zones = Vec::new();
    for id in &ids {
        let Some(subnet) = known.iter().find(|subnet| subnet.id == *id) else {
            return Err(AwsError::new("InvalidSubnet", format!("Subnet {id} does not exist")));
        };
        zones.push(&subnet.zone);
    }
    zones.sort();
    zones.dedup();
    if zones.len() < 2 {
        return Err(AwsError::new(
            "DBSubnetGroupDoesNotCoverEnoughAZs",
            "The DB subnet group doesn't meet Availability Zone (AZ) coverage requirement: at least 2 AZs",
        ));
    }
    let group = SubnetGroup { name: name.clone(), description, subnets: ids, tags };
    let mut answer = Xml::new();
    answer.nest("DBSubnetGroup", |target| xml(target, call.region_name, &group));
    call.region.rds.subnet_groups.insert(name, group);
    Ok(answer)
}

fn describe_db_subnet_groups(call: &mut Call<'_>) -> Answer {
    Filters::parse(call.form, "Filters", "Values", &[])?;
    let wanted = call.form.get("DBSubnetGroupName").map(str::to_ascii_lowercase);
    let groups = &call.region.rds.subnet_groups;
    if let Some(name) = wanted.as_ref().filter(|name| !groups.contains_key(*name)) {
        return Err(not_found(name));
    }
    let selected =
        groups.values().filter(|group| wanted.as_ref().is_none_or(|name| *name == group.name)).collect();
    let (page, next) = RDS_PAGES.page(call.form, selected)?;
    let mut answer = Xml::new();
    answer.optional("Marker", next);
    answer.list("DBSubnetGroups", "DBSubnetGroup", page, |target, group: &SubnetGroup| {
        xml(target, call.region_name, group);
    });
    Ok(answer)
}

fn delete_db_subnet_group(call: &mut Call<'_>) -> Answer {
    let name = call.form.required("DBSubnetGroupName")?.to_ascii_lowercase();
    if !call.region.rds.subnet_groups.contains_key(&name) {
        return Err(not_found(&name));
    }
    let mut databases = call.region.rds.instances.values();
    if let Some(database) = databases.find(|database| database.subnet_group.as_ref() == Some(&name)) {
        return Err(AwsError::new(
            "InvalidDBSubnetGroupStateFault",
            format!(
                "Cannot delete the subnet group '{name}' because at least one database instance: {} is still using it.",
                database.id
            ),
        ));
    }
    call.region.rds.subnet_groups.remove(&name);
    Ok(Xml::new())
}

pub(super) fn xml(target: &mut Xml, region: &str, group: &SubnetGroup) {
    let known = subnets(region);
    target
        .text("DBSubnetGroupName", &group.name)
        .text("DBSubnetGroupArn", arn(region, "subgrp", &group.name))
        .text("DBSubnetGroupDescription", &group.description)
        .text("VpcId", vpc_id(region))
        .text("SubnetGroupStatus", "Complete");
    target.list("Subnets", "Subnet", &group.subnets, |target, id| {
        target.text("SubnetIdentifier", id).text("SubnetStatus", "Active");
        if let Some(subnet) = known.iter().find(|subnet| subnet.id == *id) {
            target.nest("SubnetAvailabilityZone", |target| {
                target.text("Name", &subnet.zone);
            });
        }
    });
}
