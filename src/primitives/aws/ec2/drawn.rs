//! Security groups, their rules and the instances in them, for the picture of a stack.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{SecurityGroup as Description, SecurityGroupRule};

use super::describe::{describe, not_gone, state};
use super::{address, filter_of_values, name_tag, of_stack, security_group, temporary};
use crate::error::Error;
use crate::host::Host;
use crate::picture::{Group, Health, Kind, Link, Meaning, Part, Thing};

pub fn drawn(host: &Host) -> Result<Vec<Part>, Error> {
    let mut parts = Vec::new();
    let groups = security_group::describe(host, vec![of_stack(host)?])?;
    let ids: BTreeSet<&str> = groups.iter().filter_map(Description::group_id).collect();
    for group in &groups {
        let (Some(id), Some(name)) = (group.group_id(), name_tag(group.tags())) else { continue };
        parts.push(Part::Group(Group::new(id, format!("ec2:security_group/{name}"), name)));
    }
    if !ids.is_empty() {
        let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        for rule in security_group::rules(host, filter_of_values("group-id", ids))? {
            parts.extend(arrow(&rule));
        }
    }
    for found in address::of_this_stack(host)? {
        if let (Some(instance), Some(public_ip)) = (found.instance_id(), found.public_ip()) {
            let text = format!("Elastic IP {public_ip}");
            parts.push(Part::Note { thing: instance.to_owned(), text, health: Health::Fine });
        }
    }
    for found in describe(host, vec![of_stack(host)?, not_gone()])? {
        let (Some(id), Some(name)) = (found.instance_id(), name_tag(found.tags())) else { continue };
        let status = state(Some(&found));
        let size = found.instance_type().map(|size| size.as_str().to_owned());
        let address = found.public_ip_address().or(found.private_ip_address()).map(str::to_owned);
        parts.push(Part::Thing(Thing {
            id: id.to_owned(),
            key: format!("ec2:{name}"),
            kind: Kind::Instance,
            name: name.to_owned(),
            health: Health::of(&status),
            status,
            lines: [size, address].into_iter().flatten().collect(),
        }));
        for group in found.security_groups().iter().filter_map(|group| group.group_id()) {
            parts.push(Part::Member { group: group.to_owned(), thing: id.to_owned() });
        }
    }
    Ok(parts)
}

/// The arrow of a rule, and where it comes from if that is outside.
fn arrow(rule: &SecurityGroupRule) -> Vec<Part> {
    let Some(group) = rule.group_id() else { return Vec::new() };
    let cidr = rule.cidr_ipv4().or(rule.cidr_ipv6());
    let referenced = rule.referenced_group_info().and_then(|group| group.group_id());
    let (from, line) = match (cidr, referenced, rule.prefix_list_id()) {
        (Some(range), ..) => (range, meaning_of_range(range)),
        // Of the stack itself or another one: then nothing else is known of it.
        (_, Some(id), _) => (id, "a security group outside of the stack"),
        (_, _, Some(list)) => (list, "a prefix list"),
        (None, None, None) => return Vec::new(),
    };
    let outside = Thing {
        id: from.to_owned(),
        key: String::new(),
        kind: Kind::Outside,
        name: from.to_owned(),
        status: String::new(),
        health: Health::Open,
        lines: vec![line.to_owned()],
    };
    let meaning = if temporary::is_temporary(rule) { Meaning::ForAWhile } else { Meaning::MayConnect };
    let link = Link { from: from.to_owned(), to: group.to_owned(), label: traffic(rule), meaning };
    vec![Part::Thing(outside), Part::Link(link)]
}

/// What a rule lets in: `tcp 8080`, `udp 6000-6010`, `all traffic`.
fn traffic(rule: &SecurityGroupRule) -> String {
    let protocol = match rule.ip_protocol() {
        None | Some("-1") => return "all traffic".to_owned(),
        Some(protocol) => protocol,
    };
    match (rule.from_port(), rule.to_port()) {
        (Some(from), Some(to)) if from == to && from >= 0 => format!("{protocol} {from}"),
        (Some(0), Some(65535)) | (None, _) | (_, None) => protocol.to_owned(),
        (Some(from), _) if from < 0 => protocol.to_owned(),
        (Some(from), Some(to)) => format!("{protocol} {from}-{to}"),
    }
}

fn meaning_of_range(range: &str) -> &'static str {
    match range {
        "0.0.0.0/0" | "::/0" => "the whole world",
        _ if range.starts_with("127.") => "this machine",
        _ if range.ends_with("/32") || range.ends_with("/128") => "one address",
        _ => "an address range",
    }
}
