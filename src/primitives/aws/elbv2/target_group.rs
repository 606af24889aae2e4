//! Target groups: where a balancer sends its connections, and how it finds out what is healthy.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_sdk_elasticloadbalancingv2::types::{
    ProtocolEnum, Tag, TargetDescription, TargetGroup as Description, TargetGroupAttribute, TargetTypeEnum,
};

use super::target_health::{self, Target};
use super::{full_name, own, owned_names, tags, tags_of};
use crate::clients::aws::{Clients, failure};
use crate::error::{Error, Kind};
use crate::host::{Change, Host};
use crate::primitives::aws::ec2::instance::Instance;
use crate::primitives::aws::ec2::network;
use crate::primitives::declaration::{Function, Holds, Options, optional, required};
use crate::primitives::namespace::{Call, Namespace};
use crate::primitives::owned::{Owned, at_once};
use crate::progress::Verb;

/// A target group of the stack.
#[derive(Clone)]
pub(super) struct TargetGroup {
    pub name: String,
    pub full_name: String,
    /// `None` in a plan that would make it.
    pub arn: Option<String>,
    /// Where it is waited for: the region or role that it was made in.
    pub scope: Option<Arc<Clients>>,
}

const ENSURE: Function = Function {
    name: "ensure_target_group",
    doc: "The stack's target group of that name, for TCP to instances, in the VPC of its `targets`. What is named and differs is repaired; with \
          `targets` exactly those instances are registered.\n\
          Throws `conflict` where the port differs: ELBv2 cannot change it.\n\
          ELBv2 `DescribeTargetGroups`, `CreateTargetGroup`, `ModifyTargetGroup`, `DescribeTargetGroupAttributes`, \
          `ModifyTargetGroupAttributes`, `DescribeTargetHealth`, `RegisterTargets`, `DeregisterTargets`.",
    parameters: &["name: string"],
    returns: "TargetGroup",
    permissions: &[
        "elasticloadbalancing:DescribeTargetGroups",
        "elasticloadbalancing:CreateTargetGroup",
        "elasticloadbalancing:ModifyTargetGroup",
        "elasticloadbalancing:DescribeTargetGroupAttributes",
        "elasticloadbalancing:ModifyTargetGroupAttributes",
        "elasticloadbalancing:DescribeTargetHealth",
        "elasticloadbalancing:RegisterTargets",
        "elasticloadbalancing:DeregisterTargets",
        "elasticloadbalancing:DescribeTags",
        "elasticloadbalancing:AddTags",
        "ec2:DescribeVpcs",
    ],
    example: "elbv2::ensure_target_group(\"app\", #{ port: 8080, health_path: \"/readyz\" });",
    keys: &[
        required("port", Holds::Int, "The port of the service on its instances"),
        optional("targets", Holds::List, "The instances behind it"),
        optional(
            "health_path",
            Holds::String,
            "HTTP path that answers 200 when healthy; a TCP connection if not given",
        ),
        optional("health_interval_s", Holds::Int, "Seconds between two checks, 5 to 300; 30 if not given"),
        optional(
            "healthy_threshold",
            Holds::Int,
            "Good checks in a row until healthy, 2 to 10; 3 if not given",
        ),
        optional(
            "unhealthy_threshold",
            Holds::Int,
            "Bad checks in a row until unhealthy, 2 to 10; 3 if not given",
        ),
        optional(
            "preserve_client_ip",
            Holds::Bool,
            "Whether the service sees the client's own address; true if not given",
        ),
        optional(
            "proxy_protocol",
            Holds::Bool,
            "Whether each connection begins with a PROXY v2 header; false if not given",
        ),
        optional(
            "deregistration_delay_s",
            Holds::Int,
            "How long a target that leaves may finish, 0 to 3600; 300 if not given",
        ),
    ],
};

const FIND: Function = Function {
    name: "find_target_group",
    doc: "The stack's target group of that name, or `()`. ELBv2 `DescribeTargetGroups`.",
    parameters: &["name: string"],
    returns: "TargetGroup",
    permissions: &["elasticloadbalancing:DescribeTargetGroups"],
    example: "if elbv2::find_target_group(\"app\") == () { say(\"no balancer yet\"); }",
    keys: &[],
};

pub(super) fn register(namespace: &mut Namespace) {
    namespace
        .handle::<TargetGroup>("TargetGroup")
        .with_options(&ENSURE, ensure)
        .function1(&FIND, |call, name: String| {
            Ok(match find(call, &full_name(call, &name)?)? {
                Some(found) => rhai::Dynamic::from(handle(call, &name, found.target_group_arn)?),
                None => rhai::Dynamic::UNIT,
            })
        })
        .property("name", "The name in ELBv2.", |_, it: &TargetGroup| Ok(it.full_name.clone()))
        .property("arn", "The group's ARN.", |_, it: &TargetGroup| it.known_arn().map(str::to_owned))
        .identified(|it: &TargetGroup| format!("target group {}", it.full_name));
}

impl TargetGroup {
    /// The group's ARN; kind `planned` where a plan would make it.
    pub(super) fn known_arn(&self) -> Result<&str, Error> {
        self.arn
            .as_deref()
            .ok_or_else(|| Error::planned(format!("the ARN of target group {}", self.full_name)))
    }
}

fn handle(host: &Host, name: &str, arn: Option<String>) -> Result<TargetGroup, Error> {
    Ok(TargetGroup { name: name.to_owned(), full_name: full_name(host, name)?, arn, scope: host.scope() })
}

/// What a group is asked to be.
struct Wanted {
    port: i32,
    health_path: Option<String>,
    interval_s: Option<i32>,
    healthy: Option<i32>,
    unhealthy: Option<i32>,
    attributes: Vec<(&'static str, String)>,
}

impl Wanted {
    fn read(options: &Options) -> Result<Self, Error> {
        let mut attributes = Vec::new();
        if let Some(on) = options.bool("preserve_client_ip") {
            attributes.push(("preserve_client_ip.enabled", on.to_string()));
        }
        if let Some(on) = options.bool("proxy_protocol") {
            attributes.push(("proxy_protocol_v2.enabled", on.to_string()));
        }
        if let Some(seconds) = options.int_in("deregistration_delay_s", 0..=3600)? {
            attributes.push(("deregistration_delay.timeout_seconds", seconds.to_string()));
        }
        let health_path = options.string("health_path");
        if let Some(path) = health_path.as_ref().filter(|path| !path.starts_with('/')) {
            return Err(
                Error::invalid(format!("`{path}` is no path: it begins with a slash")).key("health_path")
            );
        }
        Ok(Wanted {
            port: options.int_in("port", 1..=65535)?.unwrap_or_default(),
            health_path,
            interval_s: options.int_in("health_interval_s", 5..=300)?,
            healthy: options.int_in("healthy_threshold", 2..=10)?,
            unhealthy: options.int_in("unhealthy_threshold", 2..=10)?,
            attributes,
        })
    }

    /// How long a check may take, where it is made more often than it may take by default (10 s for TCP, 6 s for HTTP).
    fn timeout_s(&self) -> Option<i32> {
        self.interval_s.filter(|interval| *interval < 10)
    }
}

fn ensure(call: &Call, name: String, options: &Options) -> Result<TargetGroup, Error> {
    let full = full_name(call, &name)?;
    let wanted = Wanted::read(options)?;
    let found = find(call, &full)?;
    let registers = options.get("targets").is_some();
    let (group, attributes, present) = match found {
        Some(found) => {
            let arn = found.target_group_arn().unwrap_or_default().to_owned();
            let there = look(call, &arn, &wanted, registers)?;
            own(call, &format!("target group {full}"), &name, &arn, &there.tags)?;
            if found.port() != Some(wanted.port) {
                let is = found.port().unwrap_or_default();
                return Err(Error::new(
                    Kind::Conflict,
                    format!("the target group {full} has port {is}, and {} is asked for", wanted.port),
                )
                .key("port")
                .help("ELBv2 cannot change the port of a target group: ask for the one it has, or name another group"));
            }
            repair(call, &name, &arn, &found, &wanted)?;
            (handle(call, &name, Some(arn))?, there.attributes, there.targets)
        }
        None => {
            let arn = create(call, &name, &full, &wanted, options)?;
            // It is not asked for what it has: it may not be visible everywhere yet.
            (handle(call, &name, arn)?, Vec::new(), Vec::new())
        }
    };
    repair_attributes(call, &group, &attributes, &wanted.attributes)?;
    if registers {
        let targets = options.handles::<Instance>("targets", "instances")?;
        register_exactly(call, &group, present, &targets)?;
    }
    Ok(group)
}

/// What is known of a group that is there, as far as it is needed.
struct There {
    tags: Vec<Tag>,
    attributes: Vec<TargetGroupAttribute>,
    targets: Vec<Target>,
}

fn look(call: &Call, arn: &str, wanted: &Wanted, registers: bool) -> Result<There, Error> {
    let attributes = async {
        if wanted.attributes.is_empty() {
            return Ok(Vec::new());
        }
        let answer = call.aws()?.elbv2.describe_target_group_attributes().target_group_arn(arn).send().await;
        let answer = answer.map_err(|error| failure("elbv2", "DescribeTargetGroupAttributes", error))?;
        Ok(answer.attributes.unwrap_or_default())
    };
    let targets = async { if registers { target_health::targets(call, arn).await } else { Ok(Vec::new()) } };
    call.block(async {
        let (tags, attributes, targets) = tokio::try_join!(tags_of(call, arn), attributes, targets)?;
        Ok(There { tags, attributes, targets })
    })
}

fn create(
    call: &Call,
    name: &str,
    full: &str,
    wanted: &Wanted,
    options: &Options,
) -> Result<Option<String>, Error> {
    let targets = options.handles::<Instance>("targets", "instances")?;
    let vpc = match targets.first().and_then(Instance::vpc) {
        Some(vpc) => vpc.to_owned(),
        None => network::vpc(call)?,
    };
    let request = call
        .aws()?
        .elbv2
        .create_target_group()
        .name(full)
        .protocol(ProtocolEnum::Tcp)
        .port(wanted.port)
        .vpc_id(vpc)
        .target_type(TargetTypeEnum::Instance)
        .health_check_enabled(true)
        .health_check_protocol(health_protocol(wanted))
        .set_health_check_path(wanted.health_path.clone())
        .health_check_port("traffic-port")
        .health_check_interval_seconds(wanted.interval_s.unwrap_or(30))
        .set_health_check_timeout_seconds(wanted.timeout_s())
        .healthy_threshold_count(wanted.healthy.unwrap_or(3))
        .unhealthy_threshold_count(wanted.unhealthy.unwrap_or(3))
        .set_tags(Some(tags(call, name)?));
    let detail = format!("target group, port {}", wanted.port);
    let change = Change {
        verb: Verb::Create,
        service: "elbv2",
        operation: "CreateTargetGroup",
        name,
        detail: &detail,
    };
    // A repeated request of the same name and settings gives the group that is there (API reference, `CreateTargetGroup`).
    let made = call.change(change, |_| async {
        let answer = request.clone().send().await;
        let answer = answer.map_err(|error| failure("elbv2", "CreateTargetGroup", error))?;
        let arn = answer.target_groups().first().and_then(Description::target_group_arn).map(str::to_owned);
        arn.ok_or_else(|| Error::internal("ELBv2 made a target group and gave no ARN"))
    });
    match made {
        // The answer to a first attempt was lost, or it was asked for with other settings: it is ours.
        Err(error) if error.kind == Kind::Exists => {
            let found = find(call, full)?.ok_or(error)?;
            let arn = found.target_group_arn.unwrap_or_default();
            let tags = call.block(tags_of(call, &arn))?;
            own(call, &format!("target group {full}"), name, &arn, &tags)?;
            Ok(Some(arn))
        }
        other => other,
    }
}

fn health_protocol(wanted: &Wanted) -> ProtocolEnum {
    if wanted.health_path.is_some() { ProtocolEnum::Http } else { ProtocolEnum::Tcp }
}

fn repair(call: &Call, name: &str, arn: &str, found: &Description, wanted: &Wanted) -> Result<(), Error> {
    let mut differing = Vec::new();
    let mut compare = |title: &'static str, is: Option<i32>, asked: Option<i32>| {
        let asked = asked.filter(|asked| is != Some(*asked));
        if asked.is_some() {
            differing.push(title);
        }
        asked
    };
    let interval = compare("health interval", found.health_check_interval_seconds(), wanted.interval_s);
    let healthy = compare("healthy threshold", found.healthy_threshold_count(), wanted.healthy);
    let unhealthy = compare("unhealthy threshold", found.unhealthy_threshold_count(), wanted.unhealthy);
    let path = wanted.health_path.clone().filter(|path| found.health_check_path() != Some(path));
    if path.is_some() {
        differing.push("health path");
    }
    if differing.is_empty() {
        return Ok(());
    }
    let detail = differing.join(", ");
    let change = Change {
        verb: Verb::Update,
        service: "elbv2",
        operation: "ModifyTargetGroup",
        name,
        detail: &detail,
    };
    call.change(change, |_| async {
        let request = call
            .aws()?
            .elbv2
            .modify_target_group()
            .target_group_arn(arn)
            .set_health_check_protocol(path.as_ref().map(|_| ProtocolEnum::Http))
            .set_health_check_path(path.clone())
            .set_health_check_interval_seconds(interval)
            .set_health_check_timeout_seconds(interval.and(wanted.timeout_s()))
            .set_healthy_threshold_count(healthy)
            .set_unhealthy_threshold_count(unhealthy);
        request.send().await.map(drop).map_err(|error| failure("elbv2", "ModifyTargetGroup", error))
    })?;
    Ok(())
}

/// Sets the attributes that differ from what was `found`.
fn repair_attributes(
    call: &Call,
    group: &TargetGroup,
    found: &[TargetGroupAttribute],
    wanted: &[(&str, String)],
) -> Result<(), Error> {
    let is =
        |key: &str| found.iter().find(|one| one.key() == Some(key)).and_then(TargetGroupAttribute::value);
    let differing: Vec<&(&str, String)> =
        wanted.iter().filter(|(key, value)| is(key) != Some(value)).collect();
    if differing.is_empty() {
        return Ok(());
    }
    let detail = differing.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ");
    let change = Change {
        verb: Verb::Update,
        service: "elbv2",
        operation: "ModifyTargetGroupAttributes",
        name: &group.name,
        detail: &detail,
    };
    let attributes: Vec<TargetGroupAttribute> = differing
        .iter()
        .map(|(key, value)| TargetGroupAttribute::builder().key(*key).value(value).build())
        .collect();
    call.change(change, |_| async {
        let request = call.aws()?.elbv2.modify_target_group_attributes();
        let request =
            request.set_target_group_arn(group.arn.clone()).set_attributes(Some(attributes.clone()));
        request.send().await.map(drop).map_err(|error| failure("elbv2", "ModifyTargetGroupAttributes", error))
    })?;
    Ok(())
}

/// Registers the instances that are missing, and deregisters the others.
fn register_exactly(
    call: &Call,
    group: &TargetGroup,
    present: Vec<Target>,
    targets: &[Instance],
) -> Result<(), Error> {
    let present: BTreeSet<String> =
        present.into_iter().filter(|target| target.state != "draining").map(|target| target.id).collect();
    for target in targets {
        match target.id() {
            Ok(id) if present.contains(id) => {}
            _ => target_health::register_target(call, group, target)?,
        }
    }
    let wanted: BTreeSet<&str> = targets.iter().filter_map(|target| target.id().ok()).collect();
    for id in present.iter().filter(|id| !wanted.contains(id.as_str())) {
        target_health::deregister_target(call, group, id, id)?;
    }
    Ok(())
}

/// The description of a target for requests.
pub(super) fn target(id: &str) -> TargetDescription {
    TargetDescription::builder().id(id).build()
}

fn find(host: &Host, full: &str) -> Result<Option<Description>, Error> {
    host.block(async {
        let answer = host.aws()?.elbv2.describe_target_groups().names(full).send().await;
        match answer.map_err(|error| failure("elbv2", "DescribeTargetGroups", error)) {
            Ok(answer) => Ok(answer.target_groups.unwrap_or_default().pop()),
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    })
}

pub(super) fn owned(host: &Host) -> Result<Vec<Owned>, Error> {
    let prefix = format!("{}-", host.stack()?);
    let found = host.block(async {
        let mut arns = Vec::new();
        let mut pages = host.aws()?.elbv2.describe_target_groups().into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failure("elbv2", "DescribeTargetGroups", error))?;
            let mine =
                |group: &Description| group.target_group_name().is_some_and(|name| name.starts_with(&prefix));
            arns.extend(
                page.target_groups()
                    .iter()
                    .filter(|group| mine(group))
                    .filter_map(|group| group.target_group_arn.clone()),
            );
        }
        owned_names(host, &arns).await
    })?;
    let owned = |(arn, name): (String, String)| Owned {
        key: format!("elbv2:target_group/{name}"),
        title: format!("target group {prefix}{name}"),
        status: String::new(),
        order: 8,
        protected: false,
        needs: Vec::new(),
        delete: Arc::new(move |host| delete(host, &name, &arn)),
        wait: at_once(),
    };
    Ok(found.into_iter().map(owned).collect())
}

fn delete(host: &Host, name: &str, arn: &str) -> Result<(), Error> {
    let change = Change {
        verb: Verb::Delete,
        service: "elbv2",
        operation: "DeleteTargetGroup",
        name,
        detail: "target group",
    };
    host.change(change, |_| async {
        // A balancer that was just deleted holds its target groups for a while.
        super::load_balancer::until_free(host, &format!("target group {name}"), || async {
            let answer = host.aws()?.elbv2.delete_target_group().target_group_arn(arn).send().await;
            answer.map(drop).map_err(|error| failure("elbv2", "DeleteTargetGroup", error))
        })
        .await
    })?;
    Ok(())
}
