//! Targets: registered, asked for their health, drained. Only a target of a group that a listener forwards to is probed.

use std::net::{Ipv4Addr, SocketAddrV4};

use serde::{Deserialize, Serialize};

use super::target_group::{self, TargetGroup};
use super::{invalid, port};
use crate::cloud::Region;
use crate::ec2::InstanceState;
use crate::query::{Access, Answer, AwsError, Call, Operation};
use crate::time::Time;
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("RegisterTargets", Access::Change, register_targets),
    ("DeregisterTargets", Access::Change, deregister_targets),
    ("DescribeTargetHealth", Access::Read, describe_target_health),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TargetState {
    Initial,
    Healthy,
    Unhealthy,
    Draining,
}

/// Why a target is not healthy, in AWS's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reason {
    pub(crate) code: String,
    pub(crate) description: String,
}

impl Reason {
    pub(crate) fn new(code: &str, description: impl Into<String>) -> Reason {
        Reason { code: code.into(), description: description.into() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) id: String,
    pub(crate) port: u16,
    pub(crate) state: TargetState,
    pub(crate) reason: Option<Reason>,
    pub(crate) changed_at: Time,
}

impl Target {
    pub(crate) fn enter(&mut self, state: TargetState, reason: Option<Reason>) {
        if self.state != state {
            self.state = state;
            self.changed_at = Time::now();
        }
        self.reason = reason;
    }
}

impl Region {
    /// Why nothing is sent to a registered target, if that is so.
    pub(crate) fn unused(&self, region_name: &str, group: &TargetGroup, target: &Target) -> Option<Reason> {
        let Some(balancer) = self.elbv2.balancer_of(&group.arn) else {
            return Some(Reason::new(
                "Target.NotInUse",
                "Target group is not configured to receive traffic from the load balancer",
            ));
        };
        if group.by_address {
            return None;
        }
        match self.ec2.instances.get(&target.id) {
            Some(instance) if instance.state != InstanceState::Running => Some(Reason::new(
                "Target.InvalidState",
                format!("Target is in the {} state", instance.state.name()),
            )),
            Some(instance) if !balancer.zones(region_name).contains(&instance.zone) => Some(Reason::new(
                "Target.NotInUse",
                "Target is in an Availability Zone that is not enabled for the load balancer",
            )),
            Some(_) => None,
            None => Some(Reason::new("Target.InvalidState", "Target is in the terminated state")),
        }
    }

    /// Where a target takes connections on this port.
    pub(crate) fn target_address(&self, group: &TargetGroup, id: &str, port: u16) -> Option<SocketAddrV4> {
        if group.by_address {
            return Some(SocketAddrV4::new(id.parse().ok()?, port));
        }
        let instance = self.ec2.instances.get(id)?;
        // Where instances share one address, each has a port of its own for its service.
        let port = if cfg!(target_os = "linux") { port } else { instance.address.port() };
        Some(SocketAddrV4::new(*instance.address.ip(), port))
    }
}

/// Targets of the request with their ports: their own, or the group's.
fn targets(call: &mut Call<'_>) -> Result<Vec<(String, u16)>, AwsError> {
    let form = call.form;
    let group_port = target_group::named(call)?.port;
    let mut targets = Vec::new();
    for member in form.members("Targets") {
        let id = form.required(&format!("{member}.Id"))?.to_string();
        let port = port(form, &format!("{member}.Port"))?.unwrap_or(group_port);
        form.ignore(&[&format!("{member}.AvailabilityZone")]);
        targets.push((id, port));
    }
    Ok(targets)
}

fn check_target(call: &Call<'_>, group: &TargetGroup, id: &str) -> Result<(), AwsError> {
    let refused = |message: String| Err(AwsError::new("InvalidTarget", message));
    if group.by_address {
        return match id.parse::<Ipv4Addr>() {
            Ok(address) if address.is_loopback() || address.is_private() => Ok(()),
            _ => refused(format!("The IP address '{id}' is not within a valid range of the VPC")),
        };
    }
    match call.region.ec2.instances.get(id).map(|instance| instance.state) {
        Some(InstanceState::Running) => Ok(()),
        Some(_) => refused(format!(
            "The following targets are not in a running state and cannot be registered: '{id}'"
        )),
        None => refused(format!("The following targets do not exist: '{id}'")),
    }
}

fn register_targets(call: &mut Call<'_>) -> Answer {
    let targets = targets(call)?;
    if targets.is_empty() {
        return Err(invalid("At least one target must be specified"));
    }
    let group = target_group::named(call)?.clone();
    targets.iter().try_for_each(|(id, _)| check_target(call, &group, id))?;
    let group = target_group::named(call)?;
    for (id, port) in targets {
        match group.targets.iter_mut().find(|known| known.id == id && known.port == port) {
            Some(known) if known.state == TargetState::Draining => known.enter(TargetState::Initial, None),
            Some(_) => {}
            None => group.targets.push(Target {
                id,
                port,
                state: TargetState::Initial,
                reason: None,
                changed_at: Time::now(),
            }),
        }
    }
    Ok(Xml::new())
}

/// A target that gets connections drains first. Taking away what is not registered succeeds.
fn deregister_targets(call: &mut Call<'_>) -> Answer {
    let named = targets(call)?;
    if named.is_empty() {
        return Err(invalid("At least one target must be specified"));
    }
    let mut group = target_group::named(call)?.clone();
    let is_named = |target: &Target| named.iter().any(|(id, port)| *id == target.id && *port == target.port);
    let unused = |target: &Target| call.region.unused(call.region_name, &group, target).is_some();
    let gone: Vec<Target> =
        group.targets.iter().filter(|target| is_named(target) && unused(target)).cloned().collect();
    group.targets.retain(|target| !gone.contains(target));
    for target in group.targets.iter_mut().filter(|target| is_named(target)) {
        target.enter(TargetState::Draining, None);
    }
    call.region.elbv2.target_groups.insert(group.arn.clone(), group);
    Ok(Xml::new())
}

fn describe_target_health(call: &mut Call<'_>) -> Answer {
    call.form.ignore(&["Include"]);
    let asked = targets(call)?;
    let group = target_group::named(call)?.clone();
    let shown: Vec<(String, u16)> = if asked.is_empty() {
        group.targets.iter().map(|target| (target.id.clone(), target.port)).collect()
    } else {
        asked
    };
    let mut xml = Xml::new();
    xml.list("TargetHealthDescriptions", "member", shown, |xml, (id, port)| {
        let (state, reason) = health(call, &group, &id, port);
        xml.nest("Target", |xml| {
            xml.text("Id", &id).text("Port", port);
        });
        xml.text("HealthCheckPort", group.health_check.port.unwrap_or(port));
        xml.nest("TargetHealth", |xml| {
            xml.text("State", state);
            if let Some(reason) = reason {
                xml.text("Reason", reason.code).text("Description", reason.description);
            }
        });
    });
    Ok(xml)
}

fn health(call: &Call<'_>, group: &TargetGroup, id: &str, port: u16) -> (&'static str, Option<Reason>) {
    let Some(target) = group.target(id, port) else {
        let reason = Reason::new("Target.NotRegistered", "Target is not registered to the target group");
        return ("unused", Some(reason));
    };
    if target.state == TargetState::Draining {
        let reason = Reason::new("Target.DeregistrationInProgress", "Target deregistration is in progress");
        return ("draining", Some(reason));
    }
    if let Some(reason) = call.region.unused(call.region_name, group, target) {
        return ("unused", Some(reason));
    }
    match target.state {
        TargetState::Healthy => ("healthy", None),
        TargetState::Unhealthy => ("unhealthy", target.reason.clone()),
        TargetState::Initial | TargetState::Draining => {
            ("initial", Some(Reason::new("Elb.InitialHealthChecking", "Initial health checks in progress")))
        }
    }
}
