//! Elastic Load Balancing v2: network load balancers, their TCP listeners, target groups and targets. A request only says what there shall
//! be; `balancer` carries the connections and `probe` asks the targets for their health.

mod attribute;
mod listener;
mod load_balancer;
mod tag;
mod target;
mod target_group;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) use listener::Listener;
pub(crate) use load_balancer::{LoadBalancer, LoadBalancerState};
pub(crate) use target::{Reason, Target, TargetState};
pub(crate) use target_group::{HealthCheck, TargetGroup};

use crate::cloud::ACCOUNT;
use crate::query::{AwsError, Envelope, Form, Service};
use crate::select::Paging;

pub(crate) type Tags = BTreeMap<String, String>;

pub(crate) const SERVICE: Service = Service {
    name: "elasticloadbalancing",
    namespace: "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/",
    envelope: Envelope::Query,
    operations: &[
        load_balancer::OPERATIONS,
        listener::OPERATIONS,
        target_group::OPERATIONS,
        target::OPERATIONS,
        tag::OPERATIONS,
    ],
};

const PAGES: Paging = Paging { size: "PageSize", token: "Marker", limits: 1..=400, default: 400 };

/// Everything by its ARN.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) load_balancers: BTreeMap<String, LoadBalancer>,
    pub(crate) listeners: BTreeMap<String, Listener>,
    pub(crate) target_groups: BTreeMap<String, TargetGroup>,
}

impl State {
    /// After a restart no target is known to answer, and a balancer listens again only once its task runs.
    pub(crate) fn restart(&mut self) {
        let targets = self.target_groups.values_mut().flat_map(|group| &mut group.targets);
        for target in targets.filter(|target| target.state != TargetState::Draining) {
            target.enter(TargetState::Initial, None);
        }
    }

    pub(crate) fn user_of_group(&self, group: &str) -> Option<&str> {
        let uses = |balancer: &&LoadBalancer| balancer.groups.iter().any(|used| used == group);
        self.load_balancers.values().find(uses).map(|balancer| balancer.name.as_str())
    }

    /// The load balancer whose listener forwards to this target group.
    pub(crate) fn balancer_of(&self, target_group: &str) -> Option<&LoadBalancer> {
        let listener = self.listeners.values().find(|listener| listener.target_group == target_group)?;
        self.load_balancers.get(&listener.load_balancer)
    }
}

fn arn(region: &str, resource: &str) -> String {
    format!("arn:aws:elasticloadbalancing:{region}:{ACCOUNT}:{resource}")
}

/// The last part of an ARN, 16 hexadecimal digits.
fn fresh_suffix() -> String {
    format!("{:016x}", rand::random::<u64>())
}

fn invalid(message: impl Into<String>) -> AwsError {
    AwsError::new("ValidationError", message)
}

fn misconfigured(message: impl Into<String>) -> AwsError {
    AwsError::new("InvalidConfigurationRequest", message)
}

/// The local cloud carries TCP and nothing else.
fn check_tcp(protocol: &str) -> Result<(), AwsError> {
    if protocol == "TCP" {
        return Ok(());
    }
    Err(AwsError::new(
        "UnsupportedProtocol",
        format!("Protocol '{protocol}' is not supported: the local cloud balances TCP"),
    ))
}

/// The rule for the names of load balancers and target groups.
fn check_name(kind: &str, name: &str) -> Result<(), AwsError> {
    let fits = (1..=32).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !(kind == "load balancer" && name.starts_with("internal-"));
    if fits {
        return Ok(());
    }
    Err(invalid(format!(
        "The {kind} name '{name}' is invalid: expected 1 to 32 letters, digits and hyphens, no hyphen first or last{}",
        if kind == "load balancer" { ", not beginning with 'internal-'" } else { "" }
    )))
}

fn port(form: &Form, name: &str) -> Result<Option<u16>, AwsError> {
    let Some(number) = form.number(name)? else { return Ok(None) };
    match u16::try_from(number) {
        Ok(port) if port > 0 => Ok(Some(port)),
        _ => Err(invalid(format!("'{number}' is not a port: {name} must be 1 to 65535"))),
    }
}

fn tags_of_request(form: &Form) -> Result<Tags, AwsError> {
    let tags = form.pairs("Tags", "Key", "Value")?;
    tag::check(&tags)?;
    Ok(tags)
}
