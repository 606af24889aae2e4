//! Target groups: where a listener sends its connections, and how their health is asked for.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::attribute::{self, Allowed, Attributes, Known};
use super::target::{Target, TargetState};
use super::{
    PAGES, State, Tags, arn, check_name, check_tcp, fresh_suffix, invalid, load_balancer, port,
    tags_of_request,
};
use crate::ec2::vpc_id;
use crate::query::{Access, Answer, AwsError, Call, Form, Operation};
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("CreateTargetGroup", Access::Change, create_target_group),
    ("DescribeTargetGroups", Access::Read, describe_target_groups),
    ("ModifyTargetGroup", Access::Change, modify_target_group),
    ("DeleteTargetGroup", Access::Change, delete_target_group),
    ("DescribeTargetGroupAttributes", Access::Read, describe_target_group_attributes),
    ("ModifyTargetGroupAttributes", Access::Change, modify_target_group_attributes),
];

const DRAIN_S: &str = "deregistration_delay.timeout_seconds";
const END_DRAINED: &str = "deregistration_delay.connection_termination.enabled";
const END_UNHEALTHY: &str = "target_health_state.unhealthy.connection_termination.enabled";
const PRESERVE_CLIENT_IP: &str = "preserve_client_ip.enabled";
const PROXY_PROTOCOL: &str = "proxy_protocol_v2.enabled";
const STICKINESS: &str = "stickiness.enabled";
const ATTRIBUTES: &[Known] = &[
    Known { key: DRAIN_S, default: "300", allowed: Allowed::Number(0..=3600) },
    Known { key: END_DRAINED, default: "false", allowed: Allowed::Flag },
    Known { key: END_UNHEALTHY, default: "true", allowed: Allowed::Flag },
    Known { key: PRESERVE_CLIENT_IP, default: "true", allowed: Allowed::Flag },
    Known { key: PROXY_PROTOCOL, default: "false", allowed: Allowed::Flag },
    Known { key: STICKINESS, default: "false", allowed: Allowed::Flag },
    Known { key: "stickiness.type", default: "source_ip", allowed: Allowed::OneOf(&["source_ip"]) },
    Known {
        key: "load_balancing.cross_zone.enabled",
        default: "use_load_balancer_configuration",
        allowed: Allowed::OneOf(&["true", "false", "use_load_balancer_configuration"]),
    },
];

/// How a target is asked whether it is well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HealthCheck {
    /// With a path it is HTTP, otherwise a connection is enough.
    pub(crate) path: Option<String>,
    /// The target's own port if none.
    pub(crate) port: Option<u16>,
    interval_s: i64,
    timeout_s: i64,
    pub(crate) healthy_threshold: i64,
    pub(crate) unhealthy_threshold: i64,
    /// `200-399`, `200,204`
    codes: String,
}

fn seconds(count: i64) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or(0))
}

impl HealthCheck {
    /// AWS's defaults for a TCP target group.
    fn new(form: &Form) -> HealthCheck {
        let http = form.get("HealthCheckProtocol") == Some("HTTP");
        HealthCheck {
            path: http.then(|| "/".to_string()),
            port: None,
            interval_s: 30,
            timeout_s: if http { 6 } else { 10 },
            healthy_threshold: 5,
            unhealthy_threshold: 2,
            codes: "200-399".into(),
        }
    }

    fn with(mut self, form: &Form) -> Result<HealthCheck, AwsError> {
        match form.get("HealthCheckProtocol") {
            None => {}
            Some("TCP") => self.path = None,
            Some("HTTP") => self.path = self.path.or_else(|| Some("/".into())),
            Some(other) => {
                return Err(AwsError::new(
                    "UnsupportedProtocol",
                    format!(
                        "Health checks over '{other}' are not supported: the local cloud has TCP and HTTP"
                    ),
                ));
            }
        }
        if let Some(path) = form.get("HealthCheckPath") {
            if self.path.is_none() {
                return Err(invalid("A health check path cannot be specified for a TCP health check"));
            }
            if !path.starts_with('/') || path.len() > 1024 {
                return Err(invalid(format!("The health check path '{path}' must begin with '/'")));
            }
            self.path = Some(path.to_string());
        }
        if let Some(codes) = form.get("Matcher.HttpCode") {
            if self.path.is_none() || !is_matcher(codes) {
                return Err(invalid(format!(
                    "The matcher '{codes}' is not valid: expected codes such as 200,204 or 200-399, and an HTTP health check"
                )));
            }
            self.codes = codes.to_string();
        }
        self.port = match form.get("HealthCheckPort") {
            None => self.port,
            Some("traffic-port") => None,
            Some(_) => port(form, "HealthCheckPort")?,
        };
        let number = |name: &str, current: i64, from: i64, to: i64| match form.number(name)? {
            None => Ok(current),
            Some(given) if (from..=to).contains(&given) => Ok(given),
            Some(given) => Err(invalid(format!("{name} must be {from} to {to}, not {given}"))),
        };
        self.interval_s = number("HealthCheckIntervalSeconds", self.interval_s, 5, 300)?;
        self.timeout_s = number("HealthCheckTimeoutSeconds", self.timeout_s, 2, 120)?;
        self.healthy_threshold = number("HealthyThresholdCount", self.healthy_threshold, 2, 10)?;
        self.unhealthy_threshold = number("UnhealthyThresholdCount", self.unhealthy_threshold, 2, 10)?;
        if form.flag("HealthCheckEnabled")? == Some(false) {
            return Err(invalid(
                "Health checks must be enabled for target groups with the target type 'instance' or 'ip'",
            ));
        }
        if self.interval_s < self.timeout_s {
            return Err(invalid("The health check interval must not be less than the timeout"));
        }
        Ok(self)
    }

    pub(crate) fn interval(&self) -> Duration {
        seconds(self.interval_s)
    }

    pub(crate) fn timeout(&self) -> Duration {
        seconds(self.timeout_s)
    }

    pub(crate) fn accepts(&self, code: u16) -> bool {
        self.codes.split(',').any(|part| {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            from.parse().is_ok_and(|from: u16| from <= code) && to.parse().is_ok_and(|to: u16| code <= to)
        })
    }
}

fn is_matcher(codes: &str) -> bool {
    let is_code = |text: &str| text.parse().is_ok_and(|code: u16| (200..=599).contains(&code));
    codes.split(',').all(|part| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        is_code(from) && is_code(to)
    })
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TargetGroup {
    pub(crate) arn: String,
    pub(crate) name: String,
    pub(crate) port: u16,
    /// Targets are addresses rather than instances.
    pub(crate) by_address: bool,
    pub(crate) health_check: HealthCheck,
    attributes: Attributes,
    pub(super) tags: Tags,
    pub(crate) targets: Vec<Target>,
}

impl TargetGroup {
    fn flag(&self, key: &str) -> bool {
        self.attributes.get(key).is_some_and(|value| value == "true")
    }

    pub(crate) fn drain(&self) -> Duration {
        seconds(self.attributes.get(DRAIN_S).and_then(|value| value.parse().ok()).unwrap_or(0))
    }

    pub(crate) fn ends_drained_connections(&self) -> bool {
        self.flag(END_DRAINED)
    }

    pub(crate) fn ends_unhealthy_connections(&self) -> bool {
        self.flag(END_UNHEALTHY)
    }

    pub(crate) fn preserves_client_ip(&self) -> bool {
        self.flag(PRESERVE_CLIENT_IP)
    }

    pub(crate) fn sends_proxy_protocol(&self) -> bool {
        self.flag(PROXY_PROTOCOL)
    }

    pub(crate) fn is_sticky(&self) -> bool {
        self.flag(STICKINESS)
    }

    pub(crate) fn target(&self, id: &str, port: u16) -> Option<&Target> {
        self.targets.iter().find(|target| target.id == id && target.port == port)
    }
}

/// Where no listener forwards to a group any longer nothing drains.
pub(super) fn settle(state: &mut State) {
    let used: Vec<String> = state.listeners.values().map(|listener| listener.target_group.clone()).collect();
    for group in state.target_groups.values_mut().filter(|group| !used.contains(&group.arn)) {
        group.targets.retain(|target| target.state != TargetState::Draining);
        group.targets.iter_mut().for_each(|target| target.enter(TargetState::Initial, None));
    }
}

pub(super) fn not_found() -> AwsError {
    AwsError::new("TargetGroupNotFound", "One or more target groups not found")
}

pub(super) fn find<'a>(arn: &str, state: &'a mut State) -> Result<&'a mut TargetGroup, AwsError> {
    if !arn.contains(":targetgroup/") {
        return Err(invalid(format!("'{arn}' is not a valid target group ARN")));
    }
    state.target_groups.get_mut(arn).ok_or_else(not_found)
}

pub(super) fn named<'a>(call: &'a mut Call<'_>) -> Result<&'a mut TargetGroup, AwsError> {
    find(call.form.required("TargetGroupArn")?, &mut call.region.elbv2)
}

/// The same request again gives the same target group; another one under its name is refused.
fn create_target_group(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let name = form.required("Name")?.to_string();
    check_name("target group", &name)?;
    check_tcp(form.required("Protocol")?)?;
    let port = port(form, "Port")?.ok_or_else(|| invalid("A target group needs a Port"))?;
    let vpc = form.get("VpcId").ok_or_else(|| invalid("A target group needs a VpcId"))?;
    if vpc != vpc_id(call.region_name) {
        return Err(invalid(format!("The VPC ID '{vpc}' is not found")));
    }
    let by_address = match form.get("TargetType").unwrap_or("instance") {
        "instance" => false,
        "ip" => true,
        other => return Err(invalid(format!("The local cloud has no targets of the type '{other}'"))),
    };
    if let Some(other) = form.get("IpAddressType").filter(|kind| *kind != "ipv4") {
        return Err(invalid(format!("The local cloud has no addresses of the type '{other}'")));
    }
    let health_check = HealthCheck::new(form).with(form)?;
    let tags = tags_of_request(form)?;
    if let Some(existing) = call.region.elbv2.target_groups.values().find(|known| known.name == name) {
        let same = (existing.port, existing.by_address) == (port, by_address)
            && existing.health_check == health_check
            && existing.tags == tags;
        if same {
            return Ok(list(call, vec![existing], None));
        }
        return Err(AwsError::new(
            "DuplicateTargetGroupName",
            format!("A target group with the same name '{name}' exists, but with different settings"),
        ));
    }
    let mut attributes = attribute::defaults(ATTRIBUTES);
    if by_address {
        // The default for addresses behind TCP (Elastic Load Balancing user guide, client IP preservation).
        attributes.insert(PRESERVE_CLIENT_IP.into(), "false".into());
    }
    let group = TargetGroup {
        arn: arn(call.region_name, &format!("targetgroup/{name}/{}", fresh_suffix())),
        name,
        port,
        by_address,
        health_check,
        attributes,
        tags,
        targets: Vec::new(),
    };
    let answer = list(call, vec![&group], None);
    call.region.elbv2.target_groups.insert(group.arn.clone(), group);
    Ok(answer)
}

fn list(call: &Call<'_>, groups: Vec<&TargetGroup>, next: Option<String>) -> Xml {
    let mut xml = Xml::new();
    xml.list("TargetGroups", "member", groups, |xml, group| {
        let check = &group.health_check;
        xml.text("TargetGroupArn", &group.arn)
            .text("TargetGroupName", &group.name)
            .text("Protocol", "TCP")
            .text("Port", group.port)
            .text("VpcId", vpc_id(call.region_name))
            .text("TargetType", if group.by_address { "ip" } else { "instance" })
            .text("IpAddressType", "ipv4")
            .text("HealthCheckEnabled", true)
            .text("HealthCheckProtocol", if check.path.is_some() { "HTTP" } else { "TCP" })
            .text("HealthCheckPort", check.port.map_or("traffic-port".into(), |port| port.to_string()))
            .text("HealthCheckIntervalSeconds", check.interval_s)
            .text("HealthCheckTimeoutSeconds", check.timeout_s)
            .text("HealthyThresholdCount", check.healthy_threshold)
            .text("UnhealthyThresholdCount", check.unhealthy_threshold);
        if let Some(path) = &check.path {
            xml.text("HealthCheckPath", path).nest("Matcher", |xml| {
                xml.text("HttpCode", &check.codes);
            });
        }
        xml.nest("LoadBalancerArns", |xml| {
            if let Some(balancer) = call.region.elbv2.balancer_of(&group.arn) {
                xml.text("member", &balancer.arn);
            }
        });
    });
    xml.optional("NextMarker", next);
    xml
}

fn describe_target_groups(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let (arns, names) = (form.list("TargetGroupArns"), form.list("Names"));
    let balancer = form.get("LoadBalancerArn");
    if let Some(arn) = balancer {
        load_balancer::find(arn, &mut call.region.elbv2)?;
    }
    let elbv2 = &call.region.elbv2;
    let all = &elbv2.target_groups;
    let unknown_name = |name: &String| !all.values().any(|known| known.name == *name);
    if arns.iter().any(|arn| !all.contains_key(arn)) || names.iter().any(unknown_name) {
        return Err(not_found());
    }
    let wanted = |group: &&TargetGroup| {
        let user = || elbv2.balancer_of(&group.arn).map(|balancer| balancer.arn.as_str());
        ((arns.is_empty() && names.is_empty()) || arns.contains(&group.arn) || names.contains(&group.name))
            && balancer.is_none_or(|arn| user() == Some(arn))
    };
    let (page, next) = PAGES.page(form, all.values().filter(wanted).collect())?;
    Ok(list(call, page, next))
}

fn modify_target_group(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let group = named(call)?;
    group.health_check = group.health_check.clone().with(form)?;
    let group = group.clone();
    Ok(list(call, vec![&group], None))
}

/// Deleting what is not there succeeds.
fn delete_target_group(call: &mut Call<'_>) -> Answer {
    let arn = match named(call) {
        Ok(group) => group.arn.clone(),
        Err(error) if error.code == "TargetGroupNotFound" => return Ok(Xml::new()),
        Err(error) => return Err(error),
    };
    if call.region.elbv2.balancer_of(&arn).is_some() {
        return Err(AwsError::new(
            "ResourceInUse",
            format!("Target group '{arn}' is currently in use by a listener or a rule"),
        ));
    }
    call.region.elbv2.target_groups.remove(&arn);
    Ok(Xml::new())
}

fn describe_target_group_attributes(call: &mut Call<'_>) -> Answer {
    Ok(attribute::xml(&named(call)?.attributes))
}

fn modify_target_group_attributes(call: &mut Call<'_>) -> Answer {
    let given = attribute::of_request(call.form, ATTRIBUTES)?;
    let group = named(call)?;
    group.attributes.extend(given);
    Ok(attribute::xml(&group.attributes))
}
