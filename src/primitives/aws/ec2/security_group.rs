//! Security groups and their rules. A rule is one call, so that one that exists already does not stop the others.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_sdk_ec2::operation::authorize_security_group_ingress::AuthorizeSecurityGroupIngressOutput;
use aws_sdk_ec2::types::{
    Filter, IpPermission, IpRange, Ipv6Range, ResourceType, SecurityGroup as Description, SecurityGroupRule,
    UserIdGroupPair,
};
use rhai::Dynamic;

use super::{filter, name_tag, network, of_stack, tag_specification};
use crate::clients::aws::failure;
use crate::error::{Error, Kind};
use crate::host::{Change, Host};
use crate::plan::Unknown;
use crate::primitives::declaration::{Function, Holds, Options, optional};
use crate::primitives::namespace::{Call, Namespace};
use crate::primitives::owned::{Owned, at_once};
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

/// Traffic that is let in.
#[derive(Clone, PartialEq, Eq)]
pub struct Rule {
    pub port: u16,
    pub from: Source,
}

/// Where traffic comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    Cidr(String),
    Group(SecurityGroup),
}

impl SecurityGroup {
    /// The group's id; kind `planned` where a plan would make the group.
    pub fn known_id(&self) -> Result<&str, Error> {
        self.id
            .as_deref()
            .ok_or_else(|| Error::planned(format!("the id of security group {}", self.full_name)))
    }
}

impl Rule {
    /// TCP to `port` from an address range in CIDR form or from a security group.
    pub fn tcp(port: i64, from: &Dynamic) -> Result<Self, Error> {
        let port = u16::try_from(port)
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| Error::invalid(format!("{port} is no TCP port: they go from 1 to 65535")))?;
        if let Some(unknown) = from.read_lock::<Unknown>() {
            return Err(Error::planned(format!("a rule for {}", unknown.what)));
        }
        if let Some(group) = from.clone().try_cast::<SecurityGroup>() {
            return Ok(Rule { port, from: Source::Group(group) });
        }
        let Ok(text) = from.clone().into_string() else {
            return Err(Error::invalid(
                "tcp(port, from) takes an address range or a security group as `from`",
            ));
        };
        Ok(Rule { port, from: Source::Cidr(cidr(&text)?) })
    }

    pub fn permission(&self) -> IpPermission {
        let permission =
            IpPermission::builder().ip_protocol("tcp").from_port(self.port.into()).to_port(self.port.into());
        match &self.from {
            Source::Cidr(cidr) if cidr.contains(':') => {
                permission.ipv6_ranges(Ipv6Range::builder().cidr_ipv6(cidr).build())
            }
            Source::Cidr(cidr) => permission.ip_ranges(IpRange::builder().cidr_ip(cidr).build()),
            Source::Group(group) => permission
                .user_id_group_pairs(UserIdGroupPair::builder().set_group_id(group.id.clone()).build()),
        }
        .build()
    }

    pub fn is(&self, rule: &SecurityGroupRule) -> bool {
        let port = Some(i32::from(self.port));
        let source = match &self.from {
            Source::Cidr(cidr) => rule.cidr_ipv4() == Some(cidr) || rule.cidr_ipv6() == Some(cidr),
            Source::Group(group) => {
                group.id.is_some()
                    && rule.referenced_group_info().and_then(|found| found.group_id()) == group.id.as_deref()
            }
        };
        rule.ip_protocol() == Some("tcp") && rule.from_port() == port && rule.to_port() == port && source
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.from {
            Source::Cidr(from) => write!(f, "tcp {} from {from}", self.port),
            Source::Group(group) => write!(f, "tcp {} from {}", self.port, group.full_name),
        }
    }
}

/// Checks an address range and gives it the form in which EC2 keeps it: an address alone is a range of one.
fn cidr(text: &str) -> Result<String, Error> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let parsed = address.parse::<std::net::IpAddr>().ok();
    let widest = match parsed {
        Some(std::net::IpAddr::V4(_)) => 32,
        Some(std::net::IpAddr::V6(_)) => 128,
        None => 0,
    };
    let bits = bits.map_or(Some(widest), |bits| bits.parse::<u8>().ok());
    match (parsed, bits) {
        (Some(address), Some(bits)) if bits <= widest => {
            Ok(format!("{}/{bits}", network_address(address, bits)))
        }
        _ => {
            Err(Error::invalid(format!("`{text}` is no address range")).help("write it like 203.0.113.7/32"))
        }
    }
}

/// `address` with all but its first `bits` bits zero: EC2 stores `10.1.2.3/8` as `10.0.0.0/8`.
fn network_address(address: std::net::IpAddr, bits: u8) -> std::net::IpAddr {
    match address {
        std::net::IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            std::net::Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        std::net::IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            std::net::Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

const ENSURE: Function = Function {
    name: "ensure_security_group",
    doc: "The stack's security group of that name, in the default VPC. With `ingress`, its rules are exactly those: \
          missing ones are added, others revoked.\n\
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
    ],
};

const LIST_INGRESS: Function = Function {
    name: "list_ingress",
    doc: "What the stack's groups let in: `#{ group, protocol, port, to_port, from, open_world, temporary }` for each rule. `open_world` says \
          that every address may connect, `temporary` that `open_while` has opened it.\n\
          EC2 `DescribeSecurityGroups`, `DescribeSecurityGroupRules`.",
    parameters: &[],
    returns: "list",
    permissions: &["ec2:DescribeSecurityGroups", "ec2:DescribeSecurityGroupRules"],
    example: "for rule in ec2::list_ingress() { say(`${rule.group} ${rule.port} from ${rule.from}`); }",
    keys: &[],
};

pub fn register(namespace: &mut Namespace) {
    namespace
        .handle::<SecurityGroup>("SecurityGroup")
        .function0(&LIST_INGRESS, list_ingress)
        .with_options(&ENSURE, ensure)
        .property("id", "The group's id.", |_, group: &SecurityGroup| group.known_id().map(str::to_owned))
        .property("name", "The name in EC2.", |_, group: &SecurityGroup| Ok(group.full_name.clone()))
        .identified(|group: &SecurityGroup| format!("security group {}", group.full_name));
}

fn ensure(call: &Call, name: String, options: &Options) -> Result<SecurityGroup, Error> {
    let full_name = call.full_name(&name)?;
    let rules = match options.list("ingress") {
        Some(_) => Some(options.handles::<Rule>("ingress", "rules, such as tcp(8080, my_ip())")?),
        None => None,
    };
    let found = find(call, &name)?;
    let in_order = match (&found, &rules) {
        (Some(found), Some(rules)) => has_exactly(found, rules),
        _ => false,
    };
    let group = match found {
        Some(found) => {
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
        converge(call, &name, &group, &rules)?;
    }
    Ok(group)
}

fn create(call: &Call, name: &str, full_name: String, options: &Options) -> Result<SecurityGroup, Error> {
    let vpc = network::default_vpc(call)?;
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
        Err(error) if error.code == "InvalidGroup.Duplicate" => match find(call, name)? {
            // The answer to a first attempt was lost: it is ours.
            Some(found) => found.group_id,
            None => {
                return Err(error.help(
                    "a group of that name without the stack's tags is there: name the stack otherwise, or delete that group",
                ));
            }
        },
        other => other?,
    };
    Ok(SecurityGroup { id, name: name.to_owned(), full_name, vpc })
}

/// Whether the group lets in what `rules` say, and nothing else. Then its rules need not be asked for one by one.
fn has_exactly(found: &Description, rules: &[Rule]) -> bool {
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

fn converge(call: &Call, name: &str, group: &SecurityGroup, rules: &[Rule]) -> Result<(), Error> {
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
pub(super) fn rule_id(answer: &AuthorizeSecurityGroupIngressOutput) -> String {
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
            let temporary = super::temporary::is_temporary(&rule);
            list.push(Dynamic::from_map(rhai::Map::from([
                ("group".into(), group.group_name().unwrap_or_default().to_owned().into()),
                ("protocol".into(), rule.ip_protocol().unwrap_or_default().to_owned().into()),
                ("port".into(), i64::from(rule.from_port().unwrap_or(-1)).into()),
                ("to_port".into(), i64::from(rule.to_port().unwrap_or(-1)).into()),
                ("open_world".into(), matches!(cidr, Some("0.0.0.0/0" | "::/0")).into()),
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
pub(super) fn rules(host: &Host, only: Filter) -> Result<Vec<SecurityGroupRule>, Error> {
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

fn find(host: &Host, name: &str) -> Result<Option<Description>, Error> {
    host.full_name(name)?;
    let groups = host.seen(|clients| &clients.groups, || describe(host, vec![of_stack(host)?]))?;
    Ok(groups.iter().find(|group| name_tag(group.tags()) == Some(name)).cloned())
}

/// The stack's groups, as id and name.
pub fn names(host: &Host) -> Result<Vec<(String, String)>, Error> {
    let groups = describe(host, vec![of_stack(host)?])?;
    let pair = |group: &Description| Some((group.group_id()?.to_owned(), name_tag(group.tags())?.to_owned()));
    Ok(groups.iter().filter_map(pair).collect())
}

pub fn owned(host: &Host) -> Result<Vec<Owned>, Error> {
    let mut things = Vec::new();
    for group in describe(host, vec![of_stack(host)?])? {
        let (Some(id), Some(name)) = (group.group_id.clone(), name_tag(group.tags())) else { continue };
        let name = name.to_owned();
        things.push(Owned {
            key: format!("ec2:security_group/{name}"),
            title: format!("security group {}", group.group_name().unwrap_or(&id)),
            status: String::new(),
            order: 30,
            protected: false,
            needs: Vec::new(),
            delete: Arc::new(move |host| delete(host, &name, &id)),
            wait: at_once(),
        });
    }
    Ok(things)
}

/// Deletes a group, after the rules of the stack's other groups that name it: EC2 refuses to delete a group that is named.
fn delete(host: &Host, name: &str, id: &str) -> Result<(), Error> {
    for group in describe(host, vec![filter("ip-permission.group-id", id), of_stack(host)?])? {
        let other = name_tag(group.tags()).unwrap_or_default().to_owned();
        for rule in rules_of(host, group.group_id().unwrap_or_default())? {
            if rule.referenced_group_info().and_then(|group| group.group_id()) == Some(id) {
                revoke(host, Verb::Remove, &other, &rule)?;
            }
        }
    }
    let change = Change {
        verb: Verb::Delete,
        service: "ec2",
        operation: "DeleteSecurityGroup",
        name,
        detail: "security group",
    };
    host.change(change, |_| async {
        // The network interfaces of a terminated instance linger for a while (EC2 User Guide, "Delete a security group").
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(15 * 60);
        let mut line = None;
        loop {
            let answer = host.aws()?.ec2.delete_security_group().group_id(id).send().await;
            match answer.map_err(|error| failure("ec2", "DeleteSecurityGroup", error)) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind == Kind::NotFound => return Ok(()),
                Err(error)
                    if error.code == "DependencyViolation" && tokio::time::Instant::now() < deadline =>
                {
                    line.get_or_insert_with(|| host.progress.wait(&format!("security group {name}")))
                        .status("something still uses it");
                    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
                }
                Err(error) => return Err(error),
            }
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_range_takes_the_form_that_ec2_keeps() {
        assert_eq!(cidr("203.0.113.7").unwrap(), "203.0.113.7/32");
        assert_eq!(cidr("10.1.2.3/8").unwrap(), "10.0.0.0/8");
        assert_eq!(cidr("0.0.0.0/0").unwrap(), "0.0.0.0/0");
        assert_eq!(cidr("2001:db8::1/64").unwrap(), "2001:db8::/64");
        for bad in ["", "here", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "::/129", "10.0.0"] {
            assert!(cidr(bad).is_err(), "{bad}");
        }
    }
}
