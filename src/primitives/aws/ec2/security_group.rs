//! Security groups: found by their tags, made in the VPC of the stack.

mod ingress;
mod owned;
mod rule;

use std::sync::Arc;

use aws_sdk_ec2::types::{Filter, ResourceType, SecurityGroup as Description};

pub use ingress::{revoke, rule_id, rules, rules_of};
pub use owned::owned;
pub use rule::{REFUSED_TO_EVERYBODY, Rule};

use super::{filter, name_tag, network, of_stack, stack_tag, tag_specification, until_listed};
use crate::clients::aws::failure;
use crate::error::{Error, Kind};
use crate::host::{Change, Host};
use crate::primitives::declaration::{Function, Holds, Options, optional};
use crate::primitives::namespace::{Call, Namespace};
use crate::progress::Verb;

/// A security group of the stack.
#[derive(Clone, PartialEq, Eq)]
pub struct SecurityGroup {
    /// `None` in a plan that would make it.
    pub id: Option<String>,
    pub name: String,
    pub full_name: String,
    pub vpc: String,
}

impl SecurityGroup {
    /// The group's id; kind `planned` where a plan would make the group.
    pub fn known_id(&self) -> Result<&str, Error> {
        self.id
            .as_deref()
            .ok_or_else(|| Error::planned(format!("the id of security group {}", self.full_name)))
    }
}

const ENSURE: Function = Function {
    name: "ensure_security_group",
    doc: "The stack's security group of that name. With `ingress`, its rules are exactly those: missing ones are added, others revoked. \
          It is made in the VPC of the stack's other groups, the first one in the default VPC.\n\
          Throws `conflict` where it is in another `vpc` than asked for: EC2 cannot move it.\n\
          EC2 `DescribeSecurityGroups`, `CreateSecurityGroup`, `DescribeSecurityGroupRules`, `AuthorizeSecurityGroupIngress`, \
          `RevokeSecurityGroupIngress`.",
    parameters: &["name: string"],
    returns: "SecurityGroup",
    permissions: &[
        "ec2:DescribeVpcs",
        "ec2:DescribeSecurityGroups",
        "ec2:DescribeSecurityGroupRules",
        "ec2:CreateSecurityGroup",
        "ec2:CreateTags",
        "ec2:AuthorizeSecurityGroupIngress",
        "ec2:RevokeSecurityGroupIngress",
    ],
    example: r#"
        let app = ec2::ensure_security_group("app", #{ ingress: [tcp(8080, my_ip())] });
        let db = ec2::ensure_security_group("db", #{ ingress: [tcp(5432, app)] });"#,
    keys: &[
        optional("description", Holds::String, "What it is for; cannot be changed later"),
        optional("ingress", Holds::List, "The rules, such as `tcp(8080, my_ip())`"),
        optional(
            "vpc",
            Holds::String,
            "Id of the VPC to make it in; all that gets this group stands there too",
        ),
    ],
};

pub fn register(namespace: &mut Namespace) {
    namespace
        .handle::<SecurityGroup>("SecurityGroup")
        .with_options(&ENSURE, ensure)
        .property("id", "The group's id.", |_, group: &SecurityGroup| group.known_id().map(str::to_owned))
        .property("name", "The name in EC2.", |_, group: &SecurityGroup| Ok(group.full_name.clone()))
        .identified(|group: &SecurityGroup| format!("security group {}", group.full_name));
    ingress::register(namespace);
}

fn ensure(call: &Call, name: String, options: &Options) -> Result<SecurityGroup, Error> {
    let full_name = call.full_name(&name)?;
    let rules = match options.list("ingress") {
        Some(_) => Some(options.handles::<Rule>("ingress", "rules, such as tcp(8080, my_ip())")?),
        None => None,
    };
    let found = find(call, &name)?;
    let in_order = match (&found, &rules) {
        (Some(found), Some(rules)) => ingress::has_exactly(found, rules),
        _ => false,
    };
    let group = match found {
        Some(found) => {
            compare(&full_name, &found, options)?;
            super::repair_tags(call, &name, found.group_id().unwrap_or_default(), found.tags())?;
            SecurityGroup {
                id: found.group_id,
                name: name.clone(),
                full_name,
                vpc: found.vpc_id.unwrap_or_default(),
            }
        }
        None => create(call, &name, full_name, options)?,
    };
    if let Some(rules) = rules.filter(|_| !in_order) {
        ingress::converge(call, &name, &group, &rules)?;
    }
    Ok(group)
}

/// A group stays in the VPC that it was made in.
fn compare(full_name: &str, found: &Description, options: &Options) -> Result<(), Error> {
    let is = found.vpc_id().unwrap_or_default();
    match options.string("vpc") {
        Some(asked) if asked != is => Err(Error::new(
            Kind::Conflict,
            format!("the security group {full_name} is in the VPC `{is}`, and `{asked}` is asked for"),
        )
        .key("vpc")
        .help(
            "EC2 cannot move it, nor what stands in it: ask for the VPC that it is in, or take another stack",
        )),
        _ => Ok(()),
    }
}

fn create(call: &Call, name: &str, full_name: String, options: &Options) -> Result<SecurityGroup, Error> {
    let vpc = match options.string("vpc") {
        Some(id) => network::existing_vpc(call, &id)?,
        None => network::vpc(call)?,
    };
    let description = options
        .string("description")
        .unwrap_or_else(|| format!("{name} of {}", call.stack().unwrap_or_default()));
    let request = call
        .aws()?
        .ec2
        .create_security_group()
        .group_name(&full_name)
        .description(description)
        .vpc_id(&vpc)
        .tag_specifications(tag_specification(call, ResourceType::SecurityGroup, name)?);
    let change = Change {
        verb: Verb::Create,
        service: "ec2",
        operation: "CreateSecurityGroup",
        name,
        detail: "security group",
    };
    let made = call.change(change, |_| async {
        let answer =
            request.clone().send().await.map_err(|error| failure("ec2", "CreateSecurityGroup", error));
        answer.map(|made| made.group_id.unwrap_or_default())
    });
    let id = match made {
        // The answer to a first attempt was lost, or an earlier run has just made it.
        Err(error) if error.code == "InvalidGroup.Duplicate" => there_already(call, &full_name, &vpc)?,
        other => other?,
    };
    Ok(SecurityGroup { id, name: name.to_owned(), full_name, vpc })
}

/// The id of the group that has that name, if it is the stack's.
fn there_already(call: &Call, full_name: &str, vpc: &str) -> Result<Option<String>, Error> {
    let title = format!("security group {full_name}");
    let filters = vec![filter("group-name", full_name), filter("vpc-id", vpc)];
    let found = until_listed(call, &title, || async {
        let answer =
            call.aws()?.ec2.describe_security_groups().set_filters(Some(filters.clone())).send().await;
        let answer = answer.map_err(|error| failure("ec2", "DescribeSecurityGroups", error))?;
        Ok(answer.security_groups.unwrap_or_default().pop())
    })?;
    call.own(&title, stack_tag(found.tags()))?;
    Ok(found.group_id)
}

pub(super) fn describe(host: &Host, filters: Vec<Filter>) -> Result<Vec<Description>, Error> {
    host.block(async {
        let mut pages =
            host.aws()?.ec2.describe_security_groups().set_filters(Some(filters)).into_paginator().send();
        let mut groups = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failure("ec2", "DescribeSecurityGroups", error))?;
            groups.extend(page.security_groups.unwrap_or_default());
        }
        Ok(groups)
    })
}

/// The stack's groups, as they were read last.
pub(super) fn seen(host: &Host) -> Result<Arc<Vec<Description>>, Error> {
    host.seen(|clients| &clients.groups, || describe(host, vec![of_stack(host)?]))
}

fn find(host: &Host, name: &str) -> Result<Option<Description>, Error> {
    host.full_name(name)?;
    let groups = seen(host)?;
    Ok(groups.iter().find(|group| name_tag(group.tags()) == Some(name)).cloned())
}

/// The stack's groups, as id and name.
pub fn names(host: &Host) -> Result<Vec<(String, String)>, Error> {
    let groups = describe(host, vec![of_stack(host)?])?;
    let pair = |group: &Description| Some((group.group_id()?.to_owned(), name_tag(group.tags())?.to_owned()));
    Ok(groups.iter().filter_map(pair).collect())
}
