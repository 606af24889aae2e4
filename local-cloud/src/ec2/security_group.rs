//! Security groups. Names are unique in the VPC, and a group that is still used cannot be deleted.
//! The rules are data only: nothing filters loopback traffic.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::security_group_rule::{Rule, Source, permissions_xml};
use super::vpc::{derived_id, vpc_id};
use super::{InstanceState, Tags, tag_set, tag_specification};
use crate::cloud::{ACCOUNT, Region, fresh_id};
use crate::query::{Access, Answer, AwsError, Call, Operation};
use crate::select::{EC2_PAGES, Filters, tag_values};
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("CreateSecurityGroup", Access::Change, create_security_group),
    ("DescribeSecurityGroups", Access::Read, describe_security_groups),
    ("DeleteSecurityGroup", Access::Change, delete_security_group),
];

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SecurityGroup {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(super) description: String,
    pub(super) vpc_id: String,
    pub(super) rules: BTreeMap<String, Rule>,
    pub(super) tags: Tags,
}

impl SecurityGroup {
    /// The group that a VPC is born with: its members may talk to each other, and to anywhere.
    pub(super) fn default_of(region: &str) -> SecurityGroup {
        let id = derived_id("sg", region);
        let inside = Rule::new(false, "-1", -1, -1, Source::Group(id.clone()), None);
        SecurityGroup {
            id,
            name: "default".into(),
            description: "default VPC security group".into(),
            vpc_id: vpc_id(region),
            rules: [inside, Rule::to_anywhere()].into_iter().map(|rule| (rule.id.clone(), rule)).collect(),
            tags: Tags::new(),
        }
    }
}

pub(super) fn not_found(id: &str) -> AwsError {
    AwsError::new("InvalidGroup.NotFound", format!("The security group '{id}' does not exist"))
}

fn create_security_group(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let name = form.required("GroupName")?;
    let description = form.required("GroupDescription")?;
    let home = vpc_id(call.region_name);
    let vpc = form.get("VpcId").unwrap_or(&home);
    let tags = tag_specification(form, "security-group", &[])?;
    if vpc != home {
        return Err(AwsError::new("InvalidVpcID.NotFound", format!("The vpc ID '{vpc}' does not exist")));
    }
    for (parameter, text) in [("groupName", name), ("groupDescription", description)] {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b" ._-:/()#,@[]+=&;{}!$*".contains(&byte);
        if text.len() > 255 || !text.bytes().all(allowed) {
            return Err(AwsError::new(
                "InvalidParameterValue",
                format!(
                    "Value ({text}) for parameter {parameter} is invalid: expected up to 255 characters of a-zA-Z0-9 ._-:/()#,@[]+=&;{{}}!$*"
                ),
            ));
        }
    }
    if name.starts_with("sg-") || name == "default" {
        return Err(AwsError::new(
            "InvalidParameterValue",
            format!(
                "invalid value for parameter groupName: {name} (`default` and names that start with sg- are reserved)"
            ),
        ));
    }
    if call.region.ec2.security_groups.values().any(|group| group.name == name) {
        return Err(AwsError::new(
            "InvalidGroup.Duplicate",
            format!("The security group '{name}' already exists for VPC '{home}'"),
        ));
    }
    super::refuse_dry_run(form)?;
    let outward = Rule::to_anywhere();
    let group = SecurityGroup {
        id: fresh_id("sg"),
        name: name.to_string(),
        description: description.to_string(),
        vpc_id: home.clone(),
        rules: BTreeMap::from([(outward.id.clone(), outward)]),
        tags,
    };
    let mut xml = super::done();
    xml.text("groupId", &group.id).text("securityGroupArn", super::arn(call, "security-group", &group.id));
    tag_set(&mut xml, &group.tags);
    call.region.ec2.security_groups.insert(group.id.clone(), group);
    Ok(xml)
}

fn describe_security_groups(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let filters = Filters::ec2(
        form,
        &[
            "group-id",
            "group-name",
            "vpc-id",
            "description",
            "owner-id",
            "ip-permission.group-id",
            "ip-permission.cidr",
            "ip-permission.from-port",
            "ip-permission.to-port",
            "ip-permission.protocol",
            "tag:",
            "tag-key",
        ],
    )?;
    let (ids, names) = (form.list("GroupId"), form.list("GroupName"));
    let groups = &call.region.ec2.security_groups;
    call.region.ec2.check_groups(&ids)?;
    if let Some(name) = names.iter().find(|name| !groups.values().any(|group| group.name == **name)) {
        return Err(not_found(name));
    }
    let selected = groups
        .values()
        .filter(|group| ids.is_empty() || ids.contains(&group.id))
        .filter(|group| names.is_empty() || names.contains(&group.name))
        .filter(|group| {
            let of_rules = |value: fn(&Rule) -> Option<String>| {
                group.rules.values().filter(|rule| !rule.egress).filter_map(value).collect()
            };
            filters.matches(|name| match name {
                "group-id" => vec![group.id.clone()],
                "group-name" => vec![group.name.clone()],
                "vpc-id" => vec![group.vpc_id.clone()],
                "description" => vec![group.description.clone()],
                "owner-id" => vec![ACCOUNT.into()],
                "ip-permission.group-id" => of_rules(|rule| rule.source.group().map(str::to_string)),
                "ip-permission.cidr" => of_rules(|rule| rule.source.cidr().map(str::to_string)),
                "ip-permission.from-port" => of_rules(|rule| Some(rule.from_port.to_string())),
                "ip-permission.to-port" => of_rules(|rule| Some(rule.to_port.to_string())),
                "ip-permission.protocol" => of_rules(|rule| Some(rule.protocol.clone())),
                tag => tag_values(tag, &group.tags),
            })
        })
        .collect();
    let (page, next) = EC2_PAGES.page(form, selected)?;
    let mut xml = Xml::new();
    xml.list("securityGroupInfo", "item", page, |xml, group: &SecurityGroup| {
        xml.text("ownerId", ACCOUNT)
            .text("groupId", &group.id)
            .text("groupName", &group.name)
            .text("groupDescription", &group.description)
            .text("vpcId", &group.vpc_id)
            .text("securityGroupArn", super::arn(call, "security-group", &group.id));
        permissions_xml(xml, "ipPermissions", group.rules.values().filter(|rule| !rule.egress));
        permissions_xml(xml, "ipPermissionsEgress", group.rules.values().filter(|rule| rule.egress));
        tag_set(xml, &group.tags);
    });
    xml.optional("nextToken", next);
    Ok(xml)
}

fn delete_security_group(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let (id, name) = (form.get("GroupId"), form.get("GroupName"));
    let groups = &call.region.ec2.security_groups;
    let group = match (id, name) {
        (Some(id), _) => groups.get(id).ok_or_else(|| not_found(id))?,
        (None, Some(name)) => {
            groups.values().find(|group| group.name == name).ok_or_else(|| not_found(name))?
        }
        (None, None) => {
            return Err(AwsError::new(
                "MissingParameter",
                "The request must contain the parameter GroupId or GroupName",
            ));
        }
    };
    let id = group.id.clone();
    if group.name == "default" {
        return Err(AwsError::new(
            "CannotDelete",
            format!("the specified group: \"{id}\" name: \"default\" cannot be deleted by a user"),
        ));
    }
    if let Some(user) = user_of(call.region, &id) {
        return Err(AwsError::new(
            "DependencyViolation",
            format!("resource {id} has a dependent object ({user})"),
        ));
    }
    super::refuse_dry_run(form)?;
    call.region.ec2.security_groups.remove(&id);
    let mut xml = super::done();
    xml.text("groupId", id);
    Ok(xml)
}

/// Who still needs a group: another group's rule, an instance, a database or a load balancer.
fn user_of(region: &Region, id: &str) -> Option<String> {
    let by_rule = region
        .ec2
        .security_groups
        .values()
        .find(|other| other.id != id && other.rules.values().any(|rule| rule.source.group() == Some(id)));
    let by_instance = region.ec2.instances.values().find(|instance| {
        instance.state != InstanceState::Terminated && instance.groups.iter().any(|group| group == id)
    });
    by_rule
        .map(|group| format!("a rule of security group {}", group.id))
        .or_else(|| by_instance.map(|instance| format!("instance {}", instance.id)))
        .or_else(|| region.rds.user_of_group(id).map(|database| format!("database {database}")))
        .or_else(|| region.elbv2.user_of_group(id).map(|balancer| format!("load balancer {balancer}")))
}
