//! Listeners: a port of a load balancer that forwards to one target group.

use std::net::{SocketAddrV4, TcpListener};

use serde::{Deserialize, Serialize};

use super::{
    PAGES, Tags, check_tcp, fresh_suffix, invalid, load_balancer, misconfigured, port, tags_of_request,
    target_group,
};
use crate::machine::{Neighbourhood, choose_address};
use crate::query::{Access, Answer, AwsError, Call, Form, Operation};
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("CreateListener", Access::Change, create_listener),
    ("DescribeListeners", Access::Read, describe_listeners),
    ("ModifyListener", Access::Change, modify_listener),
    ("DeleteListener", Access::Change, delete_listener),
];

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Listener {
    pub(crate) arn: String,
    pub(crate) load_balancer: String,
    pub(crate) port: u16,
    pub(crate) target_group: String,
    /// Where it really listens: on Linux its own port at the balancer's address, elsewhere a port that was free.
    pub(crate) address: SocketAddrV4,
    pub(super) tags: Tags,
}

pub(super) fn not_found(arn: &str) -> AwsError {
    AwsError::new("ListenerNotFound", format!("Listener '{arn}' not found"))
}

/// The target group that the only action forwards to, said in either of AWS's two ways.
fn action(form: &Form) -> Result<Option<&str>, AwsError> {
    let actions = form.members("DefaultActions");
    let action = match actions.as_slice() {
        [] => return Ok(None),
        [action] => action,
        _ => return Err(invalid("A TCP listener has one default action")),
    };
    let kind = form.required(&format!("{action}.Type"))?;
    if kind != "forward" {
        return Err(AwsError::new(
            "InvalidLoadBalancerAction",
            format!("The action type '{kind}' is not valid with a TCP listener: expected forward"),
        ));
    }
    form.ignore(&[&format!("{action}.Order")]);
    let groups = form.members(&format!("{action}.ForwardConfig.TargetGroups"));
    if let [group] = groups.as_slice() {
        form.ignore(&[
            &format!("{group}.Weight"),
            &format!("{action}.ForwardConfig.TargetGroupStickinessConfig"),
        ]);
    }
    let direct = form.get(&format!("{action}.TargetGroupArn"));
    let configured = match groups.as_slice() {
        [] => None,
        [group] => form.get(&format!("{group}.TargetGroupArn")),
        _ => return Err(invalid("The local cloud forwards to one target group")),
    };
    direct.or(configured).map(Some).ok_or_else(|| invalid("The action has no TargetGroupArn"))
}

/// A target group serves one network load balancer.
fn check_association(call: &Call<'_>, group: &str, balancer: &str) -> Result<(), AwsError> {
    let other = call.region.elbv2.balancer_of(group).filter(|other| other.arn != balancer);
    match other {
        None => Ok(()),
        Some(_) => Err(AwsError::new(
            "TargetGroupAssociationLimit",
            format!(
                "The following target groups cannot be associated with more than one load balancer: {group}"
            ),
        )),
    }
}

/// An address that can be listened on now, or why not: better said here than in a log.
fn listening_address(call: &Call<'_>, balancer: &str, port: u16) -> Result<SocketAddrV4, AwsError> {
    let elbv2 = &call.region.elbv2;
    let home = elbv2.load_balancers.get(balancer).map(|balancer| balancer.address);
    let address = match home {
        Some(home) if !home.is_loopback() || cfg!(target_os = "linux") => SocketAddrV4::new(home, port),
        _ => {
            let taken: Vec<_> = elbv2.listeners.values().map(|listener| listener.address).collect();
            choose_address(Neighbourhood::LoadBalancers, None, &taken)
                .map_err(|error| AwsError::with_status(500, "InternalFailure", error.to_string()))?
        }
    };
    TcpListener::bind(address).map(|_| address).map_err(|error| {
        misconfigured(format!("The local cloud cannot listen on port {port} of {}: {error}", address.ip()))
    })
}

fn create_listener(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let balancer = form.required("LoadBalancerArn")?;
    let balancer = load_balancer::find(balancer, &mut call.region.elbv2)?.arn.clone();
    check_tcp(form.required("Protocol")?)?;
    let port = port(form, "Port")?.ok_or_else(|| invalid("A listener needs a Port"))?;
    let group = action(form)?.ok_or_else(|| invalid("A listener needs a default action"))?;
    let group = target_group::find(group, &mut call.region.elbv2)?.arn.clone();
    let tags = tags_of_request(form)?;
    let mut known = call.region.elbv2.listeners.values();
    if let Some(existing) = known.find(|known| known.load_balancer == balancer && known.port == port) {
        if existing.target_group == group && existing.tags == tags {
            return Ok(list(vec![existing], None));
        }
        return Err(AwsError::new(
            "DuplicateListener",
            format!("A listener already exists on this port for this load balancer '{balancer}'"),
        ));
    }
    check_association(call, &group, &balancer)?;
    let listener = Listener {
        arn: format!("{}/{}", balancer.replacen(":loadbalancer/", ":listener/", 1), fresh_suffix()),
        address: listening_address(call, &balancer, port)?,
        load_balancer: balancer,
        port,
        target_group: group,
        tags,
    };
    let answer = list(vec![&listener], None);
    call.region.elbv2.listeners.insert(listener.arn.clone(), listener);
    Ok(answer)
}

fn list(listeners: Vec<&Listener>, next: Option<String>) -> Xml {
    let mut xml = Xml::new();
    xml.list("Listeners", "member", listeners, |xml, listener| {
        xml.text("ListenerArn", &listener.arn)
            .text("LoadBalancerArn", &listener.load_balancer)
            .text("Port", listener.port)
            .text("Protocol", "TCP");
        xml.list("DefaultActions", "member", [()], |xml, ()| {
            xml.text("Type", "forward").text("TargetGroupArn", &listener.target_group).text("Order", 1);
            xml.nest("ForwardConfig", |xml| {
                xml.list("TargetGroups", "member", [()], |xml, ()| {
                    xml.text("TargetGroupArn", &listener.target_group);
                });
            });
        });
    });
    xml.optional("NextMarker", next);
    xml
}

fn describe_listeners(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let arns = form.list("ListenerArns");
    let balancer = form.get("LoadBalancerArn");
    if let Some(arn) = balancer {
        load_balancer::find(arn, &mut call.region.elbv2)?;
    }
    if balancer.is_none() && arns.is_empty() {
        return Err(invalid("You must specify either listener ARNs or a load balancer ARN"));
    }
    let all = &call.region.elbv2.listeners;
    if let Some(unknown) = arns.iter().find(|arn| !all.contains_key(*arn)) {
        return Err(not_found(unknown));
    }
    let wanted = |listener: &&Listener| {
        balancer.is_none_or(|arn| arn == listener.load_balancer)
            && (arns.is_empty() || arns.contains(&listener.arn))
    };
    let (page, next) = PAGES.page(form, all.values().filter(wanted).collect())?;
    Ok(list(page, next))
}

fn named<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Listener, AwsError> {
    let arn = call.form.required("ListenerArn")?;
    call.region.elbv2.listeners.get_mut(arn).ok_or_else(|| not_found(arn))
}

fn modify_listener(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let current = named(call)?.clone();
    if let Some(protocol) = form.get("Protocol") {
        check_tcp(protocol)?;
    }
    let port = port(form, "Port")?.unwrap_or(current.port);
    let group = match action(form)? {
        None => current.target_group.clone(),
        Some(arn) => target_group::find(arn, &mut call.region.elbv2)?.arn.clone(),
    };
    check_association(call, &group, &current.load_balancer)?;
    let address = if port == current.port {
        current.address
    } else {
        let mut others = call.region.elbv2.listeners.values();
        if others.any(|other| other.load_balancer == current.load_balancer && other.port == port) {
            return Err(AwsError::new(
                "DuplicateListener",
                format!(
                    "A listener already exists on this port for this load balancer '{}'",
                    current.load_balancer
                ),
            ));
        }
        listening_address(call, &current.load_balancer, port)?
    };
    let listener = named(call)?;
    *listener = Listener { port, target_group: group, address, ..current };
    let answer = list(vec![listener], None);
    target_group::settle(&mut call.region.elbv2);
    Ok(answer)
}

fn delete_listener(call: &mut Call<'_>) -> Answer {
    let arn = named(call)?.arn.clone();
    call.region.elbv2.listeners.remove(&arn);
    target_group::settle(&mut call.region.elbv2);
    Ok(Xml::new())
}
