//! Listeners: which port of a balancer leads to which target group.

use aws_sdk_elasticloadbalancingv2::types::{Action, ActionTypeEnum, Listener as Description, ProtocolEnum};

use super::load_balancer::LoadBalancer;
use super::tags;
use super::target_group::TargetGroup;
use crate::clients::aws::failure;
use crate::error::{Error, Kind};
use crate::host::{Change, Host};
use crate::primitives::declaration::Function;
use crate::primitives::namespace::{Call, Namespace};
use crate::progress::Verb;

/// A port of a balancer that leads to a target group.
#[derive(Clone)]
pub(super) struct Listener {
    balancer: LoadBalancer,
    port: u16,
}

const ENSURE: Function = Function {
    name: "ensure_listener",
    doc: "A listener for TCP on a port of the balancer that leads to a target group; one that leads elsewhere is repaired.\n\
          ELBv2 `DescribeListeners`, `CreateListener`, `ModifyListener`.",
    parameters: &["port: int", "target_group: TargetGroup"],
    returns: "Listener",
    permissions: &[
        "elasticloadbalancing:DescribeListeners",
        "elasticloadbalancing:CreateListener",
        "elasticloadbalancing:ModifyListener",
        "elasticloadbalancing:AddTags",
    ],
    example: "let group = elbv2::ensure_target_group(\"app\", #{ port: 8080 });\nelbv2::ensure_load_balancer(\"nlb\").ensure_listener(8080, group);",
    keys: &[],
};

const DELETE: Function = Function {
    name: "delete_listener",
    doc: "Takes the listener on that port from the balancer; nothing where there is none. The target group stays.\n\
          ELBv2 `DescribeListeners`, `DeleteListener`.",
    parameters: &["port: int"],
    returns: "()",
    permissions: &["elasticloadbalancing:DescribeListeners", "elasticloadbalancing:DeleteListener"],
    example: "elbv2::ensure_load_balancer(\"nlb\").delete_listener(8081);",
    keys: &[],
};

pub(super) fn register(namespace: &mut Namespace) {
    namespace
        .handle::<Listener>("Listener")
        .method2(&ENSURE, ensure)
        .method1(&DELETE, delete)
        .property(
            "address",
            "Where it answers, host:port. Waits until the balancer is active.",
            |call, it: &Listener| it.balancer.address(call, it.port),
        )
        .property(
            "host",
            "The host of its address. Waits until the balancer is active.",
            |call, it: &Listener| {
                let address = it.balancer.address(call, it.port)?;
                Ok(address.rsplit_once(':').map_or(address.clone(), |(host, _)| host.to_owned()))
            },
        )
        .property(
            "port",
            "The port of its address. Waits until the balancer is active.",
            |call, it: &Listener| {
                let address = it.balancer.address(call, it.port)?;
                Ok(address
                    .rsplit_once(':')
                    .and_then(|(_, port)| port.parse().ok())
                    .unwrap_or(i64::from(it.port)))
            },
        )
        .identified(|it: &Listener| format!("listener {} of {}", it.port, it.balancer.name()));
}

fn tcp_port(port: i64) -> Result<u16, Error> {
    u16::try_from(port)
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| Error::invalid(format!("{port} is no TCP port: they go from 1 to 65535")))
}

fn delete(call: &Call, balancer: &LoadBalancer, port: i64) -> Result<(), Error> {
    let port = tcp_port(port)?;
    let found = balancer.arn().map(|arn| find(call, arn, port)).transpose()?.flatten();
    let Some(listener) = found.and_then(|found| found.listener_arn) else { return Ok(()) };
    let detail = format!("listener {port}");
    let change = Change {
        verb: Verb::Remove,
        service: "elbv2",
        operation: "DeleteListener",
        name: balancer.name(),
        detail: &detail,
    };
    call.change(change, |_| async {
        let request = call.aws()?.elbv2.delete_listener().listener_arn(&listener);
        match request.send().await.map_err(|error| failure("elbv2", "DeleteListener", error)) {
            // The answer to a first attempt was lost.
            Err(error) if error.kind == Kind::NotFound => Ok(()),
            other => other.map(drop),
        }
    })?;
    Ok(())
}

fn ensure(call: &Call, balancer: &LoadBalancer, port: i64, group: TargetGroup) -> Result<Listener, Error> {
    let port = tcp_port(port)?;
    let found = match balancer.arn() {
        Some(arn) => find(call, arn, port)?,
        None => None,
    };
    match found {
        Some(found) if forwards_to(&found, &group) => {}
        Some(found) => repair(call, balancer, port, found.listener_arn().unwrap_or_default(), &group)?,
        None => create(call, balancer, port, &group)?,
    }
    Ok(Listener { balancer: balancer.clone(), port })
}

fn forwards_to(found: &Description, group: &TargetGroup) -> bool {
    let arn = found.default_actions().first().and_then(|action| action.target_group_arn());
    arn.is_some() && arn == group.arn.as_deref()
}

fn forward(group: &TargetGroup) -> Action {
    Action::builder().r#type(ActionTypeEnum::Forward).set_target_group_arn(group.arn.clone()).build()
}

fn create(call: &Call, balancer: &LoadBalancer, port: u16, group: &TargetGroup) -> Result<(), Error> {
    let request = call
        .aws()?
        .elbv2
        .create_listener()
        .set_load_balancer_arn(balancer.arn().map(str::to_owned))
        .protocol(ProtocolEnum::Tcp)
        .port(i32::from(port))
        .default_actions(forward(group))
        .set_tags(Some(tags(call, balancer.name())?));
    let detail = format!("listener {port} to {}", group.full_name);
    let change = Change {
        verb: Verb::Add,
        service: "elbv2",
        operation: "CreateListener",
        name: balancer.name(),
        detail: &detail,
    };
    let made = call.change(change, |_| async {
        let answer = request.clone().send().await;
        let answer = answer.map_err(|error| failure("elbv2", "CreateListener", error))?;
        Ok(answer.listeners().first().and_then(Description::listener_arn).unwrap_or_default().to_owned())
    });
    match made {
        // The answer to a first attempt was lost.
        Err(error) if error.kind == Kind::Exists => Ok(()),
        other => other.map(drop),
    }
}

fn repair(
    call: &Call,
    balancer: &LoadBalancer,
    port: u16,
    listener: &str,
    group: &TargetGroup,
) -> Result<(), Error> {
    let detail = format!("listener {port} to {}", group.full_name);
    let change = Change {
        verb: Verb::Update,
        service: "elbv2",
        operation: "ModifyListener",
        name: balancer.name(),
        detail: &detail,
    };
    call.change(change, |_| async {
        let request =
            call.aws()?.elbv2.modify_listener().listener_arn(listener).default_actions(forward(group));
        request.send().await.map(drop).map_err(|error| failure("elbv2", "ModifyListener", error))
    })?;
    Ok(())
}

fn find(host: &Host, balancer: &str, port: u16) -> Result<Option<Description>, Error> {
    host.block(async {
        let mut pages =
            host.aws()?.elbv2.describe_listeners().load_balancer_arn(balancer).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = match page.map_err(|error| failure("elbv2", "DescribeListeners", error)) {
                // A balancer that was just made is not visible everywhere yet: it has no listener.
                Err(error) if error.code == "LoadBalancerNotFound" => return Ok(None),
                other => other?,
            };
            let same = |listener: &Description| listener.port() == Some(i32::from(port));
            if let Some(found) = page.listeners.unwrap_or_default().into_iter().find(same) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    })
}
