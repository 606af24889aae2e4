//! A balancer that is there and not as it is asked for: its zones, security groups and attributes are mended; what ELBv2 cannot change is
//! refused.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_elasticloadbalancingv2::types::{
    LoadBalancer as Description, LoadBalancerAttribute, LoadBalancerSchemeEnum,
};

use crate::clients::aws::failure;
use crate::error::{Error, Kind};
use crate::host::{Change, Host};
use crate::primitives::aws::ec2::{SecurityGroup, instance};
use crate::primitives::declaration::Options;
use crate::primitives::namespace::Call;
use crate::progress::Verb;

/// The attribute without which a balancer may be deleted.
pub(super) const DELETION_PROTECTION: &str = "deletion_protection.enabled";

/// What ELBv2 cannot change is refused, never silently ignored.
pub(super) fn refuse(
    full: &str,
    found: &Description,
    options: &Options,
    groups: &[SecurityGroup],
) -> Result<(), Error> {
    let internal = found.scheme() == Some(&LoadBalancerSchemeEnum::Internal);
    let conflict = |key: &str, text: String| {
        Err(Error::new(Kind::Conflict, text)
            .key(key)
            .help("ELBv2 cannot change it: name another balancer, or delete this one and run this again"))
    };
    if let Some(asked) = options.bool("internal").filter(|asked| *asked != internal) {
        return conflict(
            "internal",
            format!("the load balancer {full} has internal `{internal}`, and `{asked}` is asked for"),
        );
    }
    if !groups.is_empty() && found.security_groups().is_empty() {
        return conflict(
            "security_groups",
            format!("the load balancer {full} was made without security groups, and can get none"),
        );
    }
    Ok(())
}

/// A target in a zone that the balancer does not stand in stays `unused`.
pub(super) fn repair_zones(call: &Call, name: &str, arn: &str, found: &Description) -> Result<(), Error> {
    let mut subnets: BTreeMap<&str, &str> = found
        .availability_zones()
        .iter()
        .filter_map(|zone| Some((zone.zone_name()?, zone.subnet_id()?)))
        .collect();
    let wanted = instance::zones(call)?;
    let missing: Vec<(&str, &str)> = wanted
        .iter()
        .filter(|(zone, _)| !subnets.contains_key(zone.as_str()))
        .map(|(zone, subnet)| (zone.as_str(), subnet.as_str()))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let detail = format!("zones {}", missing.iter().map(|(zone, _)| *zone).collect::<Vec<_>>().join(", "));
    subnets.extend(missing);
    let subnets: Vec<String> = subnets.into_values().map(str::to_owned).collect();
    let change =
        Change { verb: Verb::Update, service: "elbv2", operation: "SetSubnets", name, detail: &detail };
    call.change(change, |_| async {
        let request =
            call.aws()?.elbv2.set_subnets().load_balancer_arn(arn).set_subnets(Some(subnets.clone()));
        request.send().await.map(drop).map_err(|error| failure("elbv2", "SetSubnets", error))
    })?;
    Ok(())
}

pub(super) fn repair_groups(
    call: &Call,
    name: &str,
    arn: &str,
    found: &Description,
    groups: &[SecurityGroup],
) -> Result<(), Error> {
    let wanted: BTreeSet<Option<&str>> = groups.iter().map(|group| group.id.as_deref()).collect();
    let is: BTreeSet<Option<&str>> = found.security_groups().iter().map(|id| Some(id.as_str())).collect();
    if groups.is_empty() || wanted == is {
        return Ok(());
    }
    let change = Change {
        verb: Verb::Update,
        service: "elbv2",
        operation: "SetSecurityGroups",
        name,
        detail: "security groups",
    };
    let ids: Vec<String> = wanted.iter().flatten().map(|id| (*id).to_owned()).collect();
    call.change(change, |_| async {
        let request = call.aws()?.elbv2.set_security_groups().load_balancer_arn(arn);
        let sent = request.set_security_groups(Some(ids.clone())).send().await.map(drop);
        sent.map_err(|error| failure("elbv2", "SetSecurityGroups", error))
    })?;
    Ok(())
}

/// The attributes that are named.
pub(super) fn wanted_attributes(options: &Options) -> Vec<(&'static str, String)> {
    let keys =
        [("cross_zone", "load_balancing.cross_zone.enabled"), ("deletion_protection", DELETION_PROTECTION)];
    keys.into_iter()
        .filter_map(|(key, attribute)| Some((attribute, options.bool(key)?.to_string())))
        .collect()
}

pub(super) async fn attributes_of(host: &Host, arn: &str) -> Result<Vec<LoadBalancerAttribute>, Error> {
    let answer = host.aws()?.elbv2.describe_load_balancer_attributes().load_balancer_arn(arn).send().await;
    let answer = answer.map_err(|error| failure("elbv2", "DescribeLoadBalancerAttributes", error))?;
    Ok(answer.attributes.unwrap_or_default())
}

/// Sets the attributes that differ from what was `found`.
pub(super) fn repair_attributes(
    call: &Call,
    name: &str,
    arn: Option<&str>,
    found: &[LoadBalancerAttribute],
    mut wanted: Vec<(&str, String)>,
) -> Result<(), Error> {
    let is =
        |key: &str| found.iter().find(|one| one.key() == Some(key)).and_then(LoadBalancerAttribute::value);
    wanted.retain(|(key, value)| is(key) != Some(value));
    if wanted.is_empty() {
        return Ok(());
    }
    let detail = wanted.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ");
    let change = Change {
        verb: Verb::Update,
        service: "elbv2",
        operation: "ModifyLoadBalancerAttributes",
        name,
        detail: &detail,
    };
    let attributes: Vec<LoadBalancerAttribute> = wanted
        .iter()
        .map(|(key, value)| LoadBalancerAttribute::builder().key(*key).value(value).build())
        .collect();
    call.change(change, |_| async {
        let request = call.aws()?.elbv2.modify_load_balancer_attributes();
        let request =
            request.set_load_balancer_arn(arn.map(str::to_owned)).set_attributes(Some(attributes.clone()));
        request
            .send()
            .await
            .map(drop)
            .map_err(|error| failure("elbv2", "ModifyLoadBalancerAttributes", error))
    })?;
    Ok(())
}
