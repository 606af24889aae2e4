//! Network Load Balancers: in one subnet of each zone, the zones of their targets among them.

mod owned;
mod repair;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_elasticloadbalancingv2::types::{
    LoadBalancer as Description, LoadBalancerSchemeEnum, LoadBalancerTypeEnum,
};

pub(super) use owned::{owned, until_free};

use super::{full_name, own, tags, tags_of};
use crate::clients::aws::{Clients, failure};
use crate::error::{Error, Kind};
use crate::host::{Change, Host};
use crate::primitives::aws::ec2::SecurityGroup;
use crate::primitives::aws::ec2::network::{self, Reach};
use crate::primitives::declaration::{Function, Holds, Options, optional};
use crate::primitives::namespace::{Call, Namespace};
use crate::progress::Verb;
use repair::{attributes_of, refuse, repair_attributes, repair_groups, repair_zones, wanted_attributes};

/// A balancer takes 3 to 5 minutes; the SDKs' own waiter gives up after 10 (15 s x 40).
const ACTIVE_LIMIT: Duration = Duration::from_secs(10 * 60);

/// The tag by which the local cloud says where a balancer really answers.
const LOCAL_ADDRESS_TAG: &str = "ops-local:address";

/// A load balancer of the stack.
#[derive(Clone)]
pub(super) struct LoadBalancer(Arc<Inner>);

struct Inner {
    name: String,
    full_name: String,
    /// `None` in a plan that would make it.
    arn: Option<String>,
    scope: Option<Arc<Clients>>,
    dns_name: Mutex<Option<String>>,
}

const ENSURE: Function = Function {
    name: "ensure_load_balancer",
    doc: "The stack's Network Load Balancer of that name, in one subnet of each zone of the VPC of its security groups. Returns when it is accepted. \
          Zones that are missing are added, attributes that are named and differ are repaired.\n\
          Throws `conflict` where it is internal and should not be, or has no security groups and should: ELBv2 cannot change that.\n\
          ELBv2 `DescribeLoadBalancers`, `CreateLoadBalancer`, `SetSubnets`, `SetSecurityGroups`, `DescribeLoadBalancerAttributes`, \
          `ModifyLoadBalancerAttributes`.",
    parameters: &["name: string"],
    returns: "LoadBalancer",
    permissions: &[
        "elasticloadbalancing:DescribeLoadBalancers",
        "elasticloadbalancing:CreateLoadBalancer",
        "elasticloadbalancing:SetSubnets",
        "elasticloadbalancing:SetSecurityGroups",
        "elasticloadbalancing:DescribeLoadBalancerAttributes",
        "elasticloadbalancing:ModifyLoadBalancerAttributes",
        "elasticloadbalancing:DescribeTags",
        "elasticloadbalancing:AddTags",
        "ec2:DescribeVpcs",
        "ec2:DescribeSubnets",
        "ec2:DescribeInstances",
        "iam:CreateServiceLinkedRole",
    ],
    example: "elbv2::ensure_load_balancer(\"nlb\");",
    keys: &[
        optional("internal", Holds::Bool, "Reached from the VPC alone; false if not given"),
        optional(
            "security_groups",
            Holds::List,
            "Its security groups; they have to be given when it is made",
        ),
        optional(
            "cross_zone",
            Holds::Bool,
            "Whether each zone's node reaches the targets of all; true when it is made",
        ),
        optional(
            "deletion_protection",
            Holds::Bool,
            "Whether it refuses to be deleted; false when it is made",
        ),
    ],
};

const FIND: Function = Function {
    name: "find_load_balancer",
    doc: "The stack's load balancer of that name, or `()`. ELBv2 `DescribeLoadBalancers`.",
    parameters: &["name: string"],
    returns: "LoadBalancer",
    permissions: &["elasticloadbalancing:DescribeLoadBalancers"],
    example: "let balanced = elbv2::find_load_balancer(\"nlb\") != ();",
    keys: &[],
};

const WAIT: Function = Function {
    name: "wait",
    doc: "Waits until the balancer is active. ELBv2 `DescribeLoadBalancers`.",
    parameters: &[],
    returns: "()",
    permissions: &["elasticloadbalancing:DescribeLoadBalancers"],
    example: "elbv2::ensure_load_balancer(\"nlb\").wait();",
    keys: &[],
};

pub(super) fn register(namespace: &mut Namespace) {
    namespace
        .handle::<LoadBalancer>("LoadBalancer")
        .with_options(&ENSURE, ensure)
        .function1(&FIND, |call, name: String| {
            let full = full_name(call, &name)?;
            Ok(match find(call, &full)? {
                Some(found) => {
                    let arn = found.load_balancer_arn;
                    rhai::Dynamic::from(LoadBalancer::of(call, name, full, arn))
                }
                None => rhai::Dynamic::UNIT,
            })
        })
        .property("name", "The name in ELBv2.", |_, it: &LoadBalancer| Ok(it.0.full_name.clone()))
        .property("arn", "The balancer's ARN.", |_, it: &LoadBalancer| it.known_arn().map(str::to_owned))
        .property("dns_name", "Its host name. Waits until it is active.", |call, it: &LoadBalancer| {
            it.dns_name(call, &format!(" ({} reads `dns_name`)", call.place()))
        })
        .method0(&WAIT, |call, it: &LoadBalancer| it.dns_name(call, "").map(drop))
        .identified(|it: &LoadBalancer| format!("load balancer {}", it.0.full_name));
}

impl LoadBalancer {
    fn of(host: &Host, name: String, full_name: String, arn: Option<String>) -> Self {
        LoadBalancer(Arc::new(Inner {
            name,
            full_name,
            arn,
            scope: host.scope(),
            dns_name: Mutex::new(None),
        }))
    }

    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    /// The balancer's ARN, `None` in a plan that would make it.
    pub(super) fn arn(&self) -> Option<&str> {
        self.0.arn.as_deref()
    }

    fn known_arn(&self) -> Result<&str, Error> {
        self.arn().ok_or_else(|| {
            Error::planned(format!("the ARN and address of load balancer {}", self.0.full_name))
        })
    }

    /// Its host name; waits until it is active.
    pub(super) fn dns_name(&self, host: &Host, why: &str) -> Result<String, Error> {
        let arn = self.known_arn()?;
        let known = || self.0.dns_name.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = &*known() {
            return Ok(name.clone());
        }
        let what = format!("load balancer {}{why}", self.0.name);
        let name = host.within(self.0.scope.clone(), || {
            host.wait(&what, ACTIVE_LIMIT, || async {
                let answer = host.aws()?.elbv2.describe_load_balancers().load_balancer_arns(arn).send().await;
                let answer = match answer.map_err(|error| failure("elbv2", "DescribeLoadBalancers", error)) {
                    Err(error) if error.kind == Kind::NotFound => {
                        return Ok(Err("not visible yet".to_owned()));
                    }
                    other => other?,
                };
                let found = answer.load_balancers().first();
                let state = found.and_then(|found| found.state()).and_then(|state| state.code());
                match (state.map(|state| state.as_str()), found.and_then(|found| found.dns_name())) {
                    (Some("active" | "active_impaired"), Some(name)) => Ok(Ok(name.to_owned())),
                    (Some("failed"), _) => {
                        let reason = found.and_then(|found| found.state()).and_then(|state| state.reason());
                        let reason = reason.unwrap_or("no reason given");
                        Err(Error::new(
                            Kind::Unavailable,
                            format!("the load balancer {} could not be set up: {reason}", self.0.full_name),
                        )
                        .of("elbv2", "DescribeLoadBalancers"))
                    }
                    (state, _) => Ok(Err(state.unwrap_or("not visible yet").to_owned())),
                }
            })
        })?;
        *known() = Some(name.clone());
        Ok(name)
    }

    /// Where its listener on `port` answers: its host name, in the local cloud the address that stands in for it.
    pub(super) fn address(&self, host: &Host, port: u16) -> Result<String, Error> {
        let name = self.dns_name(host, "")?;
        let arn = self.known_arn()?;
        if matches!(host.world, crate::host::World::Local { .. }) {
            let answer = host.block(async {
                let answer = host.aws()?.elbv2.describe_tags().resource_arns(arn).send().await;
                answer.map_err(|error| failure("elbv2", "DescribeTags", error))
            })?;
            let tags = answer.tag_descriptions().iter().flat_map(|found| found.tags());
            if let Some(address) =
                tags.filter(|tag| tag.key() == Some(LOCAL_ADDRESS_TAG)).find_map(|tag| tag.value())
            {
                return Ok(if address.contains(':') {
                    address.to_owned()
                } else {
                    format!("{address}:{port}")
                });
            }
        }
        Ok(format!("{name}:{port}"))
    }
}

fn ensure(call: &Call, name: String, options: &Options) -> Result<LoadBalancer, Error> {
    let full = full_name(call, &name)?;
    let groups = options.handles::<SecurityGroup>("security_groups", "security groups")?;
    let found = find(call, &full)?;
    let wanted = wanted_attributes(options);
    let (arn, attributes) = match &found {
        Some(found) => {
            let arn = found.load_balancer_arn().unwrap_or_default().to_owned();
            let attributes =
                async { if wanted.is_empty() { Ok(Vec::new()) } else { attributes_of(call, &arn).await } };
            let (tags, attributes) =
                call.block(async { tokio::try_join!(tags_of(call, &arn), attributes) })?;
            own(call, &format!("load balancer {full}"), &name, &arn, &tags)?;
            refuse(&full, found, options, &groups)?;
            repair_zones(call, &name, &arn, found)?;
            repair_groups(call, &name, &arn, found, &groups)?;
            (Some(arn), attributes)
        }
        // A fresh one is not asked for what it has: it may not be visible everywhere yet.
        None => (create(call, &name, &full, options, groups)?, Vec::new()),
    };
    repair_attributes(call, &name, arn.as_deref(), &attributes, wanted)?;
    let balancer = LoadBalancer::of(call, name, full, arn);
    let active = found.filter(|found| {
        let state = found.state().and_then(|state| state.code());
        matches!(state.map(|state| state.as_str()), Some("active" | "active_impaired"))
    });
    // Where it is known to be active, its name need not be asked for.
    *balancer.0.dns_name.lock().unwrap_or_else(PoisonError::into_inner) =
        active.and_then(|found| found.dns_name);
    let pending = balancer.clone();
    call.expect(move |host| pending.dns_name(host, "").map(drop));
    Ok(balancer)
}

fn create(
    call: &Call,
    name: &str,
    full: &str,
    options: &Options,
    groups: Vec<SecurityGroup>,
) -> Result<Option<String>, Error> {
    let vpc = match groups.first() {
        Some(group) => group.vpc.clone(),
        None => network::vpc(call)?,
    };
    let internal = options.bool("internal") == Some(true);
    let reach = if internal { Reach::VpcAlone } else { Reach::Internet };
    let subnets = network::subnets(call, &vpc, reach)?;
    if subnets.len() < 2 {
        call.progress.line(
            crate::progress::Line::Warning,
            &format!("{full} stands in one zone alone: the VPC {vpc} has a subnet in no other"),
        );
    }
    let scheme =
        if internal { LoadBalancerSchemeEnum::Internal } else { LoadBalancerSchemeEnum::InternetFacing };
    let request = call
        .aws()?
        .elbv2
        .create_load_balancer()
        .name(full)
        .r#type(LoadBalancerTypeEnum::Network)
        .scheme(scheme)
        .set_subnets(Some(subnets.into_values().collect()))
        .set_security_groups(
            Some(groups.into_iter().filter_map(|group| group.id).collect())
                .filter(|ids: &Vec<_>| !ids.is_empty()),
        )
        .set_tags(Some(tags(call, name)?));
    let change = Change {
        verb: Verb::Create,
        service: "elbv2",
        operation: "CreateLoadBalancer",
        name,
        detail: "network load balancer",
    };
    // A repeated request of the same name and settings gives the balancer that is there (API reference, `CreateLoadBalancer`).
    let made = call.change(change, |_| async {
        let answer = request.clone().send().await;
        let answer = answer.map_err(|error| failure("elbv2", "CreateLoadBalancer", error))?;
        let arn = answer.load_balancers().first().and_then(Description::load_balancer_arn).map(str::to_owned);
        arn.ok_or_else(|| Error::internal("ELBv2 made a load balancer and gave no ARN"))
    });
    match made {
        // The answer to a first attempt was lost, or it was asked for with other settings: it is ours.
        Err(error) if error.kind == Kind::Exists => {
            let arn = find(call, full)?.and_then(|found| found.load_balancer_arn).ok_or(error)?;
            let tags = call.block(tags_of(call, &arn))?;
            own(call, &format!("load balancer {full}"), name, &arn, &tags)?;
            Ok(Some(arn))
        }
        other => other,
    }
}

fn find(host: &Host, full: &str) -> Result<Option<Description>, Error> {
    host.block(async {
        let answer = host.aws()?.elbv2.describe_load_balancers().names(full).send().await;
        match answer.map_err(|error| failure("elbv2", "DescribeLoadBalancers", error)) {
            Ok(answer) => Ok(answer.load_balancers.unwrap_or_default().pop()),
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    })
}
