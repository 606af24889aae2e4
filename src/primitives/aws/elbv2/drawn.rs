//! Balancers, their listeners, target groups and targets, for the picture of a stack.

use std::collections::BTreeMap;

use aws_sdk_elasticloadbalancingv2::types::{
    Listener, LoadBalancer, LoadBalancerSchemeEnum, TargetGroup, TargetHealthDescription,
};

use super::owned_names;
use crate::clients::aws::failure;
use crate::error::Error;
use crate::host::Host;
use crate::picture::{Health, Kind, Link, Meaning, Part, Thing};

pub fn drawn(host: &Host) -> Result<Vec<Part>, Error> {
    let prefix = format!("{}-", host.stack()?);
    host.block(async {
        let mut parts = balancers(host, &prefix).await?;
        parts.extend(target_groups(host, &prefix).await?);
        Ok(parts)
    })
}

async fn balancers(host: &Host, prefix: &str) -> Result<Vec<Part>, Error> {
    let mut found = BTreeMap::new();
    let mut pages = host.aws()?.elbv2.describe_load_balancers().into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| failure("elbv2", "DescribeLoadBalancers", error))?;
        let all = page.load_balancers.unwrap_or_default().into_iter();
        let mine = all.filter(|one| one.load_balancer_name().is_some_and(|name| name.starts_with(prefix)));
        found.extend(mine.filter_map(|one| Some((one.load_balancer_arn()?.to_owned(), one))));
    }
    let arns: Vec<String> = found.keys().cloned().collect();
    let mut parts = Vec::new();
    for (arn, name) in owned_names(host, &arns).await? {
        let Some(balancer) = found.get(&arn) else { continue };
        parts.push(Part::Thing(balancer_of(&arn, &name, balancer)));
        for group in balancer.security_groups() {
            parts.push(Part::Member { group: group.clone(), thing: arn.clone() });
        }
        let mut pages =
            host.aws()?.elbv2.describe_listeners().load_balancer_arn(&arn).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failure("elbv2", "DescribeListeners", error))?;
            parts.extend(page.listeners().iter().flat_map(|listener| forwards(&arn, listener)));
        }
    }
    Ok(parts)
}

fn balancer_of(arn: &str, name: &str, balancer: &LoadBalancer) -> Thing {
    let status = balancer.state().and_then(|state| state.code()).map_or("", |code| code.as_str());
    let scheme = match balancer.scheme() {
        Some(LoadBalancerSchemeEnum::Internal) => "reached from the VPC alone",
        _ => "reached from the internet",
    };
    Thing {
        id: arn.to_owned(),
        key: format!("elbv2:{name}"),
        kind: Kind::Balancer,
        name: name.to_owned(),
        health: Health::of(status),
        status: status.to_owned(),
        lines: vec![scheme.to_owned()],
    }
}

/// Where a listener sends what it gets.
fn forwards(balancer: &str, listener: &Listener) -> Vec<Part> {
    let to = listener.default_actions().iter().filter_map(|action| action.target_group_arn());
    let protocol = listener.protocol().map_or("", |protocol| protocol.as_str()).to_lowercase();
    let label = format!("{protocol} {}", listener.port().unwrap_or_default());
    to.map(|group| sends(balancer, group, &label)).collect()
}

async fn target_groups(host: &Host, prefix: &str) -> Result<Vec<Part>, Error> {
    let mut found = BTreeMap::new();
    let mut pages = host.aws()?.elbv2.describe_target_groups().into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| failure("elbv2", "DescribeTargetGroups", error))?;
        let all = page.target_groups.unwrap_or_default().into_iter();
        let mine = all.filter(|one| one.target_group_name().is_some_and(|name| name.starts_with(prefix)));
        found.extend(mine.filter_map(|one| Some((one.target_group_arn()?.to_owned(), one))));
    }
    let arns: Vec<String> = found.keys().cloned().collect();
    let mut parts = Vec::new();
    for (arn, name) in owned_names(host, &arns).await? {
        let Some(group) = found.get(&arn) else { continue };
        let request = host.aws()?.elbv2.describe_target_health().target_group_arn(&arn);
        let answer = request.send().await.map_err(|error| failure("elbv2", "DescribeTargetHealth", error))?;
        let targets = answer.target_health_descriptions();
        parts.push(Part::Thing(group_of(&arn, &name, group, targets.len())));
        for target in targets {
            parts.extend(target_of(&arn, &name, target));
        }
    }
    Ok(parts)
}

fn group_of(arn: &str, name: &str, group: &TargetGroup, targets: usize) -> Thing {
    let check = group.health_check_path().map(|path| format!("asks {path}"));
    let count = match targets {
        0 => "no targets".to_owned(),
        1 => "1 target".to_owned(),
        more => format!("{more} targets"),
    };
    Thing {
        id: arn.to_owned(),
        key: format!("elbv2:target_group/{name}"),
        kind: Kind::TargetGroup,
        name: name.to_owned(),
        status: String::new(),
        health: Health::Open,
        lines: [Some(count), check].into_iter().flatten().collect(),
    }
}

/// The arrow to a target, and on the target how it is.
fn target_of(group: &str, name: &str, found: &TargetHealthDescription) -> Vec<Part> {
    let Some(id) = found.target().and_then(|target| target.id()) else { return Vec::new() };
    let port = found.target().and_then(|target| target.port());
    let label = port.map_or_else(String::new, |port| format!("tcp {port}"));
    let state =
        found.target_health().and_then(|health| health.state()).map_or("unknown", |state| state.as_str());
    let note = Part::Note {
        thing: id.to_owned(),
        text: format!("target of {name}: {state}"),
        // What is not healthy yet may be on its way.
        health: if state == "unhealthy" { Health::Wrong } else { Health::Fine },
    };
    vec![sends(group, id, &label), note]
}

fn sends(from: &str, to: &str, label: &str) -> Part {
    Part::Link(Link {
        from: from.to_owned(),
        to: to.to_owned(),
        label: label.trim().to_owned(),
        meaning: Meaning::SendsOn,
    })
}
