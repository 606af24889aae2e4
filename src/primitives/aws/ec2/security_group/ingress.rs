//! What a group lets in: its rules as they are, and as they are asked for. A rule is one call, so that one that exists already does not
//! stop the others.

use std::collections::BTreeSet;

use aws_sdk_ec2::operation::authorize_security_group_ingress::AuthorizeSecurityGroupIngressOutput;
use aws_sdk_ec2::types::{Filter, IpPermission, SecurityGroup as Description, SecurityGroupRule};
use rhai::Dynamic;

use super::rule::{Rule, is_everybody, is_exposed};
use super::{SecurityGroup, describe};
use crate::clients::aws::failure;
use crate::error::Error;
use crate::host::{Change, Host};
use crate::primitives::aws::ec2::{filter, of_stack, temporary};
use crate::primitives::declaration::Function;
use crate::primitives::namespace::{Call, Namespace};
use crate::progress::Verb;

const LIST_INGRESS: Function = Function {
    name: "list_ingress",
    doc: "What the stack's groups let in: `#{ group, protocol, port, to_port, from, open_world, exposed, temporary }` for each rule. \
          `open_world` says that every address may connect, `exposed` that it may do so to a port that is not opened to everybody without \
          `--allow-open`, `temporary` that `open_while` has opened it.\n\
          EC2 `DescribeSecurityGroups`, `DescribeSecurityGroupRules`.",
    parameters: &[],
    returns: "list",
    permissions: &["ec2:DescribeSecurityGroups", "ec2:DescribeSecurityGroupRules"],
    example: "for rule in ec2::list_ingress() { say(`${rule.group} ${rule.port} from ${rule.from}`); }",
    keys: &[],
};

pub(super) fn register(namespace: &mut Namespace) {
    namespace.function0(&LIST_INGRESS, list_ingress);
}

/// Whether the group lets in what `rules` say, and nothing else. Then its rules need not be asked for one by one.
pub(super) fn has_exactly(found: &Description, rules: &[Rule]) -> bool {
    type Let = (Option<String>, Option<i32>, Option<i32>, Option<String>);
    let flat = |permission: &IpPermission| -> Vec<Let> {
        let v4 = permission.ip_ranges().iter().map(|range| range.cidr_ip.clone());
        let v6 = permission.ipv6_ranges().iter().map(|range| range.cidr_ipv6.clone());
        let groups = permission.user_id_group_pairs().iter().map(|pair| pair.group_id.clone());
        // A prefix list is nothing that a playbook can ask for: it counts as a rule that is not wanted.
        let lists = permission.prefix_list_ids().iter().map(|list| list.prefix_list_id.clone());
        let sources = v4.chain(v6).chain(groups).chain(lists);
        let (protocol, from, to) = (&permission.ip_protocol, permission.from_port, permission.to_port);
        sources.map(|source| (protocol.clone(), from, to, source)).collect()
    };
    let is: BTreeSet<Let> = found.ip_permissions().iter().flat_map(flat).collect();
    let wanted: BTreeSet<Let> = rules.iter().flat_map(|rule| flat(&rule.permission())).collect();
    is == wanted
}

/// Adds the rules that are missing, and takes those away that are not asked for.
pub(super) fn converge(call: &Call, name: &str, group: &SecurityGroup, rules: &[Rule]) -> Result<(), Error> {
    let present = match &group.id {
        Some(id) => rules_of(call, id)?,
        None => Vec::new(),
    };
    for rule in rules.iter().filter(|rule| !present.iter().any(|found| rule.is(found))) {
        let detail = rule.to_string();
        let change = Change {
            verb: Verb::Add,
            service: "ec2",
            operation: "AuthorizeSecurityGroupIngress",
            name,
            detail: &detail,
        };
        call.change(change, |_| async {
            let request = call
                .aws()?
                .ec2
                .authorize_security_group_ingress()
                .set_group_id(group.id.clone())
                .ip_permissions(rule.permission());
            match request.send().await.map_err(|error| failure("ec2", "AuthorizeSecurityGroupIngress", error))
            {
                Err(error) if error.code == "InvalidPermission.Duplicate" => Ok(String::new()),
                other => other.map(|answer| rule_id(&answer)),
            }
        })?;
    }
    for rule in present.iter().filter(|found| !rules.iter().any(|rule| rule.is(found))) {
        revoke(call, Verb::Remove, name, rule)?;
    }
    Ok(())
}

/// The id of the rule that was added.
pub fn rule_id(answer: &AuthorizeSecurityGroupIngressOutput) -> String {
    let rule = answer.security_group_rules().first();
    rule.and_then(SecurityGroupRule::security_group_rule_id).unwrap_or_default().to_owned()
}

/// Takes one inbound rule away.
pub fn revoke(host: &Host, verb: Verb, name: &str, rule: &SecurityGroupRule) -> Result<(), Error> {
    let (Some(group), Some(id)) = (rule.group_id(), rule.security_group_rule_id()) else { return Ok(()) };
    let source = rule
        .cidr_ipv4()
        .or(rule.cidr_ipv6())
        .or(rule.referenced_group_info().and_then(|group| group.group_id()))
        .unwrap_or("?");
    let detail = format!(
        "{} {} from {source}",
        rule.ip_protocol().unwrap_or("?"),
        rule.from_port().unwrap_or_default()
    );
    let change =
        Change { verb, service: "ec2", operation: "RevokeSecurityGroupIngress", name, detail: &detail };
    host.change(change, |_| async {
        let request =
            host.aws()?.ec2.revoke_security_group_ingress().group_id(group).security_group_rule_ids(id);
        match request.send().await.map_err(|error| failure("ec2", "RevokeSecurityGroupIngress", error)) {
            Err(error) if error.code == "InvalidSecurityGroupRuleId.NotFound" => Ok(()),
            other => other.map(drop),
        }
    })?;
    Ok(())
}

fn list_ingress(call: &Call) -> Result<rhai::Array, Error> {
    let groups = describe(call, vec![of_stack(call)?])?;
    let name_of = |id: &str| {
        let group = groups.iter().find(|group| group.group_id() == Some(id));
        group.and_then(|group| group.group_name()).unwrap_or(id).to_owned()
    };
    let mut list = rhai::Array::new();
    for group in &groups {
        for rule in rules_of(call, group.group_id().unwrap_or_default())? {
            let cidr = rule.cidr_ipv4().or(rule.cidr_ipv6());
            let referenced = rule.referenced_group_info().and_then(|group| group.group_id());
            let from = cidr.map_or_else(|| referenced.map(name_of).unwrap_or_default(), str::to_owned);
            let temporary = temporary::is_temporary(&rule);
            list.push(Dynamic::from_map(rhai::Map::from([
                ("group".into(), group.group_name().unwrap_or_default().to_owned().into()),
                ("protocol".into(), rule.ip_protocol().unwrap_or_default().to_owned().into()),
                ("port".into(), i64::from(rule.from_port().unwrap_or(-1)).into()),
                ("to_port".into(), i64::from(rule.to_port().unwrap_or(-1)).into()),
                ("open_world".into(), cidr.is_some_and(is_everybody).into()),
                ("exposed".into(), is_exposed(&rule).into()),
                ("from".into(), from.into()),
                ("temporary".into(), temporary.into()),
            ])));
        }
    }
    Ok(list)
}

/// The inbound rules of a group.
pub fn rules_of(host: &Host, group: &str) -> Result<Vec<SecurityGroupRule>, Error> {
    rules(host, filter("group-id", group))
}

/// The inbound rules that a filter lets through.
pub fn rules(host: &Host, only: Filter) -> Result<Vec<SecurityGroupRule>, Error> {
    host.block(async {
        let mut pages = host.aws()?.ec2.describe_security_group_rules().filters(only).into_paginator().send();
        let mut rules = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failure("ec2", "DescribeSecurityGroupRules", error))?;
            rules.extend(page.security_group_rules.unwrap_or_default());
        }
        rules.retain(|rule| rule.is_egress() == Some(false));
        Ok(rules)
    })
}
