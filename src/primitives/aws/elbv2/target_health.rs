//! The targets of a group: who is registered, and how each of them is.

use std::time::Duration;

use aws_sdk_elasticloadbalancingv2::types::TargetHealthDescription;
use rhai::{Array, Dynamic, Map};

use super::target_group::{TargetGroup, target};
use crate::clients::aws::failure;
use crate::error::Error;
use crate::host::{Change, Host};
use crate::primitives::aws::ec2::instance::Instance;
use crate::primitives::declaration::Function;
use crate::primitives::namespace::{Call, Namespace};
use crate::progress::{Line, Verb};

/// Deregistration takes an hour at the most (`deregistration_delay.timeout_seconds`), and a little.
const DRAINED_LIMIT: Duration = Duration::from_secs(3600 + 60);

/// One target, as ELBv2 sees it.
pub(super) struct Target {
    pub(super) id: String,
    /// `initial`, `healthy`, `unhealthy`, `unused`, `draining` ..
    pub(super) state: String,
    reason: String,
    description: String,
}

impl Target {
    /// Whether it should get connections, and does not.
    fn is_sick(&self) -> bool {
        !matches!(self.state.as_str(), "healthy" | "draining")
    }

    fn told(&self) -> String {
        format!("{} {} {}", self.id, self.state, self.description).trim_end().to_owned()
    }
}

const HEALTH: Function = Function {
    name: "health",
    doc: "How each target is: a list of `#{ id, state, reason, description }`. ELBv2 `DescribeTargetHealth`.",
    parameters: &[],
    returns: "list",
    permissions: &["elasticloadbalancing:DescribeTargetHealth"],
    example: "let group = elbv2::ensure_target_group(\"app\", #{ port: 8080 });\nfor target in group.health() { say(`${target.id} ${target.state}`); }",
    keys: &[],
};

const WAIT_HEALTHY: Function = Function {
    name: "wait_healthy",
    doc: "Waits until every target is healthy, `minutes` at most. Throws `timeout` with the state of each.",
    parameters: &["minutes: int"],
    returns: "()",
    permissions: &["elasticloadbalancing:DescribeTargetHealth"],
    example: "elbv2::ensure_target_group(\"app\", #{ port: 8080 }).wait_healthy(10);",
    keys: &[],
};

const WAIT_TARGET_HEALTHY: Function = Function {
    name: "wait_target_healthy",
    doc: "Waits until an instance is healthy in the group, `minutes` at most. Another target that is not healthy does not hold it up: it \
          is warned of.\n\
          Throws `timeout` with the state of the instance. ELBv2 `DescribeTargetHealth`.",
    parameters: &["instance: Instance", "minutes: int"],
    returns: "()",
    permissions: &["elasticloadbalancing:DescribeTargetHealth"],
    example: r#"
        let server = ec2::ensure_instance("server", #{ service: #{ name: "app-server", image: "app-server", port: 8080, health: "/readyz" } });
        let group = elbv2::ensure_target_group("app", #{ port: 8080 });
        if group.health() != [] { group.wait_target_healthy(server, 10); }"#,
    keys: &[],
};

const REGISTER: Function = Function {
    name: "register",
    doc: "Registers an instance, so that it gets connections once it is healthy. ELBv2 `RegisterTargets`.",
    parameters: &["instance: Instance"],
    returns: "()",
    permissions: &["elasticloadbalancing:RegisterTargets"],
    example: r#"
        let server = ec2::ensure_instance("server");
        let group = elbv2::ensure_target_group("app", #{ port: 8080 });
        group.register(server);"#,
    keys: &[],
};

const DEREGISTER: Function = Function {
    name: "deregister",
    doc: "Takes an instance out of the group, and waits until its last connections are drained.\n\
          ELBv2 `DeregisterTargets`, `DescribeTargetHealth`.",
    parameters: &["instance: Instance"],
    returns: "()",
    permissions: &["elasticloadbalancing:DeregisterTargets", "elasticloadbalancing:DescribeTargetHealth"],
    example: r#"
        let server = ec2::ensure_instance("server");
        let group = elbv2::ensure_target_group("app", #{ port: 8080 });
        group.deregister(server);"#,
    keys: &[],
};

pub(super) fn register(namespace: &mut Namespace) {
    namespace
        .method0(&HEALTH, |call, it: &TargetGroup| {
            let arn = it.known_arn()?;
            let targets = call.block(targets(call, arn))?;
            Ok(targets.into_iter().map(described).collect::<Array>())
        })
        .method1(&WAIT_HEALTHY, wait_healthy)
        .method2(&WAIT_TARGET_HEALTHY, wait_target_healthy)
        .method1(&REGISTER, |call, it: &TargetGroup, instance: Instance| register_target(call, it, &instance))
        .method1(&DEREGISTER, |call, it: &TargetGroup, instance: Instance| {
            let id = instance.id()?;
            deregister_target(call, it, instance.name(), id)?;
            wait_drained(call, it, id)
        });
}

fn described(target: Target) -> Dynamic {
    let Target { id, state, reason, description } = target;
    let pairs = [("id", id), ("state", state), ("reason", reason), ("description", description)];
    Dynamic::from_map(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect::<Map>())
}

/// The targets of the group `arn`.
pub(super) async fn targets(host: &Host, arn: &str) -> Result<Vec<Target>, Error> {
    let answer = host.aws()?.elbv2.describe_target_health().target_group_arn(arn).send().await;
    let answer = answer.map_err(|error| failure("elbv2", "DescribeTargetHealth", error))?;
    let target = |found: TargetHealthDescription| {
        let health = found.target_health;
        let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
        Target {
            id: found.target.and_then(|target| target.id).unwrap_or_default(),
            state: text(health.as_ref().and_then(|it| it.state()).map(|state| state.as_str())),
            reason: text(health.as_ref().and_then(|it| it.reason()).map(|reason| reason.as_str())),
            description: text(health.as_ref().and_then(|it| it.description())),
        }
    };
    Ok(answer.target_health_descriptions.unwrap_or_default().into_iter().map(target).collect())
}

fn wait_healthy(call: &Call, it: &TargetGroup, minutes: i64) -> Result<(), Error> {
    let what = format!("targets of {}", it.full_name);
    wait_until(call, it, &what, minutes, |targets| {
        let sick: Vec<String> = targets.iter().filter(|target| target.is_sick()).map(Target::told).collect();
        if sick.is_empty() { Ok(()) } else { Err(sick.join(", ")) }
    })
}

fn wait_target_healthy(call: &Call, it: &TargetGroup, instance: Instance, minutes: i64) -> Result<(), Error> {
    let id = instance.id()?;
    let what = format!("{} in {}", instance.full_name(), it.full_name);
    let others = wait_until(call, it, &what, minutes, |targets| {
        match targets.iter().find(|target| target.id == id) {
            Some(found) if found.state == "healthy" => Ok(targets
                .iter()
                .filter(|target| target.id != id && target.is_sick())
                .map(Target::told)
                .collect::<Vec<_>>()),
            Some(found) => Err(found.told()),
            None => Err(format!("{id} is not registered")),
        }
    })?;
    if !others.is_empty() {
        call.progress.line(
            Line::Warning,
            &format!("{} has targets that are not healthy: {}", it.full_name, others.join(", ")),
        );
    }
    Ok(())
}

/// Asks how the targets are until `judge` is content; it says what is still missing.
fn wait_until<T>(
    call: &Call,
    it: &TargetGroup,
    what: &str,
    minutes: i64,
    judge: impl Fn(&[Target]) -> Result<T, String>,
) -> Result<T, Error> {
    let arn = it.known_arn()?;
    let minutes = u64::try_from(minutes)
        .map_err(|_| Error::invalid(format!("{minutes} is no number of minutes to wait")))?;
    let limit = Duration::from_secs(minutes.saturating_mul(60));
    call.within(it.scope.clone(), || {
        call.wait(what, limit, || async { Ok(judge(&targets(call, arn).await?)) })
    })
}

pub(super) fn register_target(call: &Call, group: &TargetGroup, instance: &Instance) -> Result<(), Error> {
    // ELBv2 registers only what runs.
    let id = match instance.wait_running(call) {
        Err(error) if error.kind == crate::error::Kind::Planned => None,
        other => {
            other?;
            Some(instance.id()?.to_owned())
        }
    };
    let detail = format!("target {}", instance.name());
    let change = Change {
        verb: Verb::Add,
        service: "elbv2",
        operation: "RegisterTargets",
        name: &group.name,
        detail: &detail,
    };
    call.change(change, |_| async {
        let request = call.aws()?.elbv2.register_targets().set_target_group_arn(group.arn.clone());
        let request = request.targets(target(id.as_deref().unwrap_or_default()));
        request.send().await.map(drop).map_err(|error| failure("elbv2", "RegisterTargets", error))
    })?;
    Ok(())
}

pub(super) fn deregister_target(call: &Call, group: &TargetGroup, name: &str, id: &str) -> Result<(), Error> {
    let detail = format!("target {name}");
    let change = Change {
        verb: Verb::Remove,
        service: "elbv2",
        operation: "DeregisterTargets",
        name: &group.name,
        detail: &detail,
    };
    call.change(change, |_| async {
        let request = call.aws()?.elbv2.deregister_targets().set_target_group_arn(group.arn.clone());
        request
            .targets(target(id))
            .send()
            .await
            .map(drop)
            .map_err(|error| failure("elbv2", "DeregisterTargets", error))
    })?;
    Ok(())
}

fn wait_drained(call: &Call, group: &TargetGroup, id: &str) -> Result<(), Error> {
    if call.dry_run {
        return Ok(());
    }
    let arn = group.known_arn()?;
    call.wait(&format!("connections to {id}"), DRAINED_LIMIT, || async {
        let draining = targets(call, arn).await?.iter().any(|target| target.id == id);
        Ok(if draining { Err("draining".to_owned()) } else { Ok(()) })
    })?;
    call.progress.line(Line::Wait, &format!("{id} is out of {}", group.full_name));
    Ok(())
}
