//! Network load balancers: one subnet per zone, provisioning before they are active, protected if asked for.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::attribute::{self, Allowed, Attributes, Known};
use super::{
    PAGES, Tags, arn, check_name, fresh_suffix, invalid, misconfigured, tags_of_request, target_group,
};
use crate::ec2::{subnets, vpc_id};
use crate::machine::{Neighbourhood, choose_address};
use crate::query::{Access, Answer, AwsError, Call, Form, Operation};
use crate::time::Time;
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("CreateLoadBalancer", Access::Change, create_load_balancer),
    ("DescribeLoadBalancers", Access::Read, describe_load_balancers),
    ("DeleteLoadBalancer", Access::Change, delete_load_balancer),
    ("DescribeLoadBalancerAttributes", Access::Read, describe_load_balancer_attributes),
    ("ModifyLoadBalancerAttributes", Access::Change, modify_load_balancer_attributes),
    ("SetSubnets", Access::Change, set_subnets),
    ("SetSecurityGroups", Access::Change, set_security_groups),
];

const DELETION_PROTECTION: &str = "deletion_protection.enabled";
const ATTRIBUTES: &[Known] = &[
    Known { key: DELETION_PROTECTION, default: "false", allowed: Allowed::Flag },
    Known { key: "load_balancing.cross_zone.enabled", default: "false", allowed: Allowed::Flag },
    // There is no S3 to write them to.
    Known { key: "access_logs.s3.enabled", default: "false", allowed: Allowed::OneOf(&["false"]) },
    Known { key: "access_logs.s3.bucket", default: "", allowed: Allowed::OneOf(&[""]) },
    Known { key: "access_logs.s3.prefix", default: "", allowed: Allowed::OneOf(&[""]) },
    Known { key: "ipv6.deny_all_igw_traffic", default: "false", allowed: Allowed::Flag },
    Known { key: "zonal_shift.config.enabled", default: "false", allowed: Allowed::Flag },
    Known {
        key: "dns_record.client_routing_policy",
        default: "any_availability_zone",
        allowed: Allowed::OneOf(&[
            "any_availability_zone",
            "availability_zone_affinity",
            "partial_availability_zone_affinity",
        ]),
    },
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LoadBalancerState {
    Provisioning,
    Active,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LoadBalancer {
    pub(crate) arn: String,
    pub(crate) name: String,
    /// Where it listens, and its DNS name as well: AWS's names do not resolve here.
    pub(crate) address: Ipv4Addr,
    pub(crate) state: LoadBalancerState,
    subnets: Vec<String>,
    pub(super) groups: Vec<String>,
    scheme: String,
    attributes: Attributes,
    pub(super) tags: Tags,
    created: Time,
}

impl LoadBalancer {
    pub(super) fn zones(&self, region: &str) -> Vec<String> {
        let known = subnets(region).into_iter();
        known.filter(|subnet| self.subnets.contains(&subnet.id)).map(|subnet| subnet.zone).collect()
    }
}

pub(super) fn not_found(what: &str) -> AwsError {
    AwsError::new("LoadBalancerNotFound", format!("Load balancers '[{what}]' not found"))
}

/// The subnets that a request names: they exist, at most one in each zone.
fn subnets_of_request(call: &Call<'_>) -> Result<Vec<String>, AwsError> {
    let form = call.form;
    let mut ids = form.list("Subnets");
    for mapping in form.members("SubnetMappings") {
        ids.push(form.required(&format!("{mapping}.SubnetId"))?.to_string());
    }
    if ids.is_empty() {
        return Err(invalid("At least one subnet must be specified"));
    }
    let known = subnets(call.region_name);
    let mut zones: Vec<&str> = Vec::new();
    for id in &ids {
        let Some(subnet) = known.iter().find(|subnet| subnet.id == *id) else {
            return Err(AwsError::new("SubnetNotFound", format!("The subnet ID '{id}' does not exist")));
        };
        if zones.contains(&subnet.zone.as_str()) {
            return Err(misconfigured(
                "A load balancer cannot be attached to multiple subnets in the same Availability Zone",
            ));
        }
        zones.push(&subnet.zone);
    }
    Ok(ids)
}

fn groups_of_request(call: &Call<'_>) -> Result<Vec<String>, AwsError> {
    let groups = call.form.list("SecurityGroups");
    let checked = call.region.ec2.check_groups(&groups);
    checked.map_err(|error| AwsError::new("InvalidSecurityGroup", error.message))?;
    Ok(groups)
}

/// The same request again gives the same load balancer; another one under its name is refused.
fn create_load_balancer(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let name = form.required("Name")?.to_string();
    check_name("load balancer", &name)?;
    let kind = form.get("Type").unwrap_or("application");
    if kind != "network" {
        return Err(misconfigured(format!(
            "The load balancer type '{kind}' is not supported: the local cloud has network load balancers"
        )));
    }
    let scheme = form.get("Scheme").unwrap_or("internet-facing").to_string();
    if !matches!(scheme.as_str(), "internet-facing" | "internal") {
        return Err(invalid(format!("'{scheme}' is not a scheme: expected internet-facing or internal")));
    }
    if let Some(other) = form.get("IpAddressType").filter(|kind| *kind != "ipv4") {
        return Err(misconfigured(format!("The local cloud has no addresses of the type '{other}'")));
    }
    let subnets = subnets_of_request(call)?;
    let groups = groups_of_request(call)?;
    let tags = tags_of_request(form)?;
    if let Some(existing) = call.region.elbv2.load_balancers.values().find(|known| known.name == name) {
        let same = existing.subnets.iter().all(|id| subnets.contains(id))
            && existing.subnets.len() == subnets.len()
            && (&existing.groups, &existing.scheme, &existing.tags) == (&groups, &scheme, &tags);
        if same {
            return Ok(list(call, vec![existing], None));
        }
        return Err(AwsError::new(
            "DuplicateLoadBalancerName",
            format!("A load balancer with the same name '{name}' exists, but with different settings"),
        ));
    }
    let taken: Vec<_> = call.region.elbv2.listeners.values().map(|listener| listener.address).collect();
    let address = choose_address(Neighbourhood::LoadBalancers, None, &taken)
        .map_err(|error| AwsError::with_status(500, "InternalFailure", error.to_string()))?;
    let balancer = LoadBalancer {
        arn: arn(call.region_name, &format!("loadbalancer/net/{name}/{}", fresh_suffix())),
        name,
        address: *address.ip(),
        state: LoadBalancerState::Provisioning,
        subnets,
        groups,
        scheme,
        attributes: attribute::defaults(ATTRIBUTES),
        tags,
        created: Time::now(),
    };
    let answer = list(call, vec![&balancer], None);
    call.region.elbv2.load_balancers.insert(balancer.arn.clone(), balancer);
    Ok(answer)
}

fn list(call: &Call<'_>, balancers: Vec<&LoadBalancer>, next: Option<String>) -> Xml {
    let mut xml = Xml::new();
    xml.list("LoadBalancers", "member", balancers, |xml, balancer| {
        balancer_xml(xml, call.region_name, balancer);
    });
    xml.optional("NextMarker", next);
    xml
}

fn balancer_xml(xml: &mut Xml, region: &str, balancer: &LoadBalancer) {
    let state = match balancer.state {
        LoadBalancerState::Provisioning => "provisioning",
        LoadBalancerState::Active => "active",
    };
    xml.text("LoadBalancerArn", &balancer.arn)
        .text("LoadBalancerName", &balancer.name)
        .text("DNSName", balancer.address)
        .text("CanonicalHostedZoneId", "Z00000000LOCAL")
        .text("CreatedTime", balancer.created)
        .text("Scheme", &balancer.scheme)
        .text("VpcId", vpc_id(region))
        .text("Type", "network")
        .text("IpAddressType", "ipv4")
        .nest("State", |xml| {
            xml.text("Code", state);
        });
    zones_xml(xml, region, &balancer.subnets);
    if !balancer.groups.is_empty() {
        xml.nest("SecurityGroups", |xml| {
            for group in &balancer.groups {
                xml.text("member", group);
            }
        });
    }
}

fn zones_xml(xml: &mut Xml, region: &str, ids: &[String]) {
    let known = subnets(region).into_iter().filter(|subnet| ids.contains(&subnet.id));
    xml.list("AvailabilityZones", "member", known, |xml, subnet| {
        xml.text("ZoneName", subnet.zone).text("SubnetId", subnet.id);
        xml.list("LoadBalancerAddresses", "member", [(); 0], |_, ()| {});
    });
}

fn describe_load_balancers(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let (arns, names) = (form.list("LoadBalancerArns"), form.list("Names"));
    let all = &call.region.elbv2.load_balancers;
    if let Some(unknown) = arns.iter().find(|arn| !all.contains_key(*arn)) {
        return Err(not_found(unknown));
    }
    if let Some(unknown) = names.iter().find(|name| !all.values().any(|known| known.name == **name)) {
        return Err(not_found(unknown));
    }
    let wanted = |balancer: &&LoadBalancer| {
        (arns.is_empty() && names.is_empty())
            || arns.contains(&balancer.arn)
            || names.contains(&balancer.name)
    };
    let (page, next) = PAGES.page(form, all.values().filter(wanted).collect())?;
    Ok(list(call, page, next))
}

/// The load balancer that the request names.
fn named<'a>(call: &'a mut Call<'_>) -> Result<&'a mut LoadBalancer, AwsError> {
    let arn = call.form.required("LoadBalancerArn")?;
    find(arn, &mut call.region.elbv2)
}

pub(super) fn find<'a>(arn: &str, state: &'a mut super::State) -> Result<&'a mut LoadBalancer, AwsError> {
    if !arn.contains(":loadbalancer/") {
        return Err(invalid(format!("'{arn}' is not a valid load balancer ARN")));
    }
    state.load_balancers.get_mut(arn).ok_or_else(|| not_found(arn))
}

/// Deleting what is not there succeeds; the listeners go with the balancer, the target groups stay.
fn delete_load_balancer(call: &mut Call<'_>) -> Answer {
    let balancer = match named(call) {
        Ok(balancer) => balancer.clone(),
        Err(error) if error.code == "LoadBalancerNotFound" => return Ok(Xml::new()),
        Err(error) => return Err(error),
    };
    if balancer.attributes.get(DELETION_PROTECTION).is_some_and(|value| value == "true") {
        return Err(AwsError::new(
            "OperationNotPermitted",
            format!(
                "Load balancer '{}' cannot be deleted because deletion protection is enabled",
                balancer.arn
            ),
        ));
    }
    let elbv2 = &mut call.region.elbv2;
    elbv2.load_balancers.remove(&balancer.arn);
    elbv2.listeners.retain(|_, listener| listener.load_balancer != balancer.arn);
    target_group::settle(elbv2);
    Ok(Xml::new())
}

fn describe_load_balancer_attributes(call: &mut Call<'_>) -> Answer {
    Ok(attribute::xml(&named(call)?.attributes))
}

fn modify_load_balancer_attributes(call: &mut Call<'_>) -> Answer {
    let given = attribute::of_request(call.form, ATTRIBUTES)?;
    let balancer = named(call)?;
    balancer.attributes.extend(given);
    Ok(attribute::xml(&balancer.attributes))
}

/// A network load balancer can be given more subnets, and none is taken away from it while it has a listener.
fn set_subnets(call: &mut Call<'_>) -> Answer {
    ignore_address_type(call.form);
    let wanted = subnets_of_request(call)?;
    let balancer = named(call)?;
    balancer.subnets = wanted;
    let kept = balancer.subnets.clone();
    let mut xml = Xml::new();
    zones_xml(&mut xml, call.region_name, &kept);
    xml.text("IpAddressType", "ipv4");
    Ok(xml)
}

fn ignore_address_type(form: &Form) {
    form.ignore(&["IpAddressType", "EnablePrefixForIpv6SourceNat"]);
}

/// Whether a network load balancer has security groups at all is decided when it is created.
fn set_security_groups(call: &mut Call<'_>) -> Answer {
    let groups = groups_of_request(call)?;
    call.form.ignore(&["EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic"]);
    let balancer = named(call)?;
    if balancer.groups.is_empty() || groups.is_empty() {
        return Err(misconfigured(
            "Security groups cannot be added to, or all removed from, a network load balancer that exists",
        ));
    }
    balancer.groups = groups;
    let mut xml = Xml::new();
    xml.nest("SecurityGroupIds", |xml| {
        for group in &balancer.groups {
            xml.text("member", group);
        }
    });
    Ok(xml)
}
