//! Instances: launched once for a name, encrypted, with IMDSv2, and found again by their tags.

mod addresses;
mod repair;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_ec2::types::{Instance as Description, InstanceStateName};

use super::describe::{alive_lately, alive_now, describe, named};
use super::image::Image;
use super::key_pair::KeyPair;
use super::launch::launch;
use super::security_group::SecurityGroup;
use super::service::Service;
use super::{filter, name_tag, of_stack};
use crate::clients::aws::Clients;
use crate::error::Error;
use crate::host::Host;
use crate::primitives::declaration::{Function, Holds, Options, optional};
use crate::primitives::namespace::{Call, Namespace};
use addresses::{Addresses, wait_ready};
use repair::{compare, repair, start, warn_of_other_service};

/// The SDKs' own waiters give up after 10 minutes (15 s x 40).
pub(super) const START_LIMIT: Duration = Duration::from_secs(10 * 60);

/// An instance of the stack.
#[derive(Clone)]
pub struct Instance(Arc<Inner>);

struct Inner {
    name: String,
    full_name: String,
    /// `None` in a plan that would launch it.
    id: Option<String>,
    /// `None` where it is not known yet.
    vpc: Option<String>,
    port: Option<u16>,
    health: Option<String>,
    /// Where it is waited for: the region or role that it was made in.
    scope: Option<Arc<Clients>>,
    running: Mutex<Option<Addresses>>,
}

const ENSURE: Function = Function {
    name: "ensure_instance",
    doc: "The stack's instance of that name. Launches one where there is none; returns when the launch is accepted.\n\
          Made with IMDSv2 required and an encrypted gp3 root volume, in the VPC of its security groups. A stopped one is started.\n\
          Throws `conflict` where a named key differs and EC2 cannot change it in place.\n\
          EC2 `DescribeInstances`, `DescribeInstanceTypes`, `DescribeImages`, `DescribeSubnets`, `DescribeInstanceTypeOfferings`, `RunInstances`, `StartInstances`, \
          `ModifyNetworkInterfaceAttribute`; SSM `GetParameter` for the image.",
    parameters: &["name: string"],
    returns: "Instance",
    permissions: &[
        "ec2:DescribeInstances",
        "ec2:DescribeImages",
        "ec2:DescribeInstanceTypes",
        "ec2:DescribeSecurityGroups",
        "ec2:DescribeVpcs",
        "ec2:DescribeSubnets",
        "ec2:DescribeInstanceTypeOfferings",
        "ec2:DescribeIamInstanceProfileAssociations",
        "ec2:RunInstances",
        "ec2:StartInstances",
        "ec2:ModifyInstanceAttribute",
        "ec2:ModifyInstanceMetadataOptions",
        "ec2:ModifyNetworkInterfaceAttribute",
        "ec2:CreateTags",
        "ssm:GetParameter",
        "iam:PassRole",
        "ec2:AssociateIamInstanceProfile",
        "ec2:ReplaceIamInstanceProfileAssociation",
    ],
    example: r#"
        let server = ec2::ensure_instance("server", #{ instance_type: "t3.micro", key_pair: ec2::ensure_key_pair("key") });
        print(server.public_ip);    // waits until there is one"#,
    keys: &[
        optional("instance_type", Holds::String, "Size; `t3.micro` if not given"),
        optional(
            "image",
            Holds::A("a string or a machine image", |value| value.is_string() || value.is::<Image>()),
            "Machine image: `al2023` (the newest Amazon Linux 2023), which is also the default, `ubuntu-24.04` or another release of \
             Ubuntu, an `ami-` id, or what `ensure_image` gives. A `service` needs Amazon Linux 2023",
        ),
        optional("key_pair", Holds::A("a key pair", |value| value.is::<KeyPair>()), "Who may log in by SSH"),
        optional("security_groups", Holds::List, "Its security groups"),
        optional(
            "instance_profile",
            Holds::String,
            "Name of the IAM instance profile that the instance acts as",
        ),
        optional(
            "public_ip",
            Holds::Bool,
            "Whether it gets a public address; its subnet decides if not given",
        ),
        optional("service", Holds::Map, "What runs on it: `#{ name, image, port, env, health }`"),
    ],
};

const WAIT: Function = Function {
    name: "wait",
    doc: "Waits until the instance runs. EC2 `DescribeInstances`.",
    parameters: &[],
    returns: "()",
    permissions: &["ec2:DescribeInstances"],
    example: r#"
        let server = ec2::ensure_instance("server");
        server.wait();"#,
    keys: &[],
};

const WAIT_READY: Function = Function {
    name: "wait_ready",
    doc: "Waits until the service on the instance answers 200 on its `health` path, `minutes` at most.\n\
          Throws `timeout` with the last answer.",
    parameters: &["minutes: int"],
    returns: "()",
    permissions: &["ec2:DescribeInstances"],
    example: r#"
        import "lib/defaults" as defaults;
        let server = ec2::ensure_instance("server", #{ service: defaults::server("app-server") });
        server.wait_ready(15);"#,
    keys: &[],
};

const FIND: Function = Function {
    name: "find_instance",
    doc: "The stack's instance of that name, or `()`. EC2 `DescribeInstances`.",
    parameters: &["name: string"],
    returns: "Instance",
    permissions: &["ec2:DescribeInstances"],
    example: "if ec2::find_instance(\"server\") == () { say(\"no server yet\"); }",
    keys: &[],
};

const LIST: Function = Function {
    name: "list_instances",
    doc: "The stack's instances, less those that are gone or on their way out, by name. Those that can be logged in to are `ssh::hosts()`. EC2 `DescribeInstances`.",
    parameters: &[],
    returns: "list",
    permissions: &["ec2:DescribeInstances"],
    example: "for server in ec2::list_instances() { say(server.name); }",
    keys: &[],
};

pub fn register(namespace: &mut Namespace) {
    namespace
        .handle::<Instance>("Instance")
        .function1(&FIND, |call, name: String| {
            Ok(match named(call, &name, &alive_now(call)?)? {
                Some(found) => rhai::Dynamic::from(Instance::found(call, &name, &found)?),
                None => rhai::Dynamic::UNIT,
            })
        })
        .function0(&LIST, list)
        .with_options(&ENSURE, ensure)
        .property("name", "The name in EC2.", |_, it: &Instance| Ok(it.0.full_name.clone()))
        .property("id", "The instance's id.", |_, it: &Instance| it.id().map(str::to_owned))
        .property("public_ip", "The public address. Waits until the instance runs.", |call, it: &Instance| {
            Ok(it.addresses(call, "public_ip")?.public_ip)
        })
        .property(
            "private_ip",
            "The private address. Waits until the instance runs.",
            |call, it: &Instance| Ok(it.addresses(call, "private_ip")?.private_ip),
        )
        .property(
            "address",
            "Where its service answers, host:port. Waits until the instance runs.",
            |call, it: &Instance| Ok(it.addresses(call, "address")?.address),
        )
        .property(
            "port",
            "The port at which its service answers. Waits until the instance runs.",
            |call, it: &Instance| it.addresses(call, "port").map(|addresses| i64::from(addresses.port)),
        )
        .method0(&WAIT, |call, it: &Instance| it.addresses(call, "wait").map(drop))
        .method1(&WAIT_READY, wait_ready)
        .identified(|it: &Instance| format!("instance {}", it.0.full_name));
}

fn ensure(call: &Call, name: String, options: &Options) -> Result<Instance, Error> {
    let full_name = call.full_name(&name)?;
    let service =
        options.map("service").map(|map| Service::read(call, "ec2::ensure_instance", map)).transpose()?;
    let found = named(call, &name, &alive_lately(call)?)?;
    let mut addresses_kept = true;
    let id = match &found {
        Some(found) => {
            compare(call, &full_name, found, options)?;
            let id = found.instance_id().unwrap_or_default().to_owned();
            addresses_kept = repair(call, &name, found, options)?;
            let state = found.state().and_then(|state| state.name());
            if matches!(state, Some(InstanceStateName::Stopped | InstanceStateName::Stopping)) {
                start(call, &name, &id)?;
            }
            warn_of_other_service(call, &full_name, found, service.as_ref())?;
            Some(id)
        }
        None => launch(call, &name, options, service.as_ref())?,
    };
    let vpc = match &found {
        Some(found) => found.vpc_id().map(str::to_owned),
        None => {
            let groups = options.handles::<SecurityGroup>("security_groups", "security groups")?;
            groups.into_iter().next().map(|group| group.vpc)
        }
    };
    let instance = Instance(Arc::new(Inner {
        name,
        full_name,
        id,
        vpc,
        port: service.as_ref().map(|service| service.port),
        health: service.and_then(|service| service.health),
        scope: call.scope(),
        running: Mutex::new(None),
    }));
    if let Some(found) = found.as_ref().filter(|_| addresses_kept) {
        instance.seen(found);
    }
    let pending = instance.clone();
    call.expect(move |host| pending.wait(host, "").map(drop));
    Ok(instance)
}

fn list(call: &Call) -> Result<rhai::Array, Error> {
    let mut instances = Vec::new();
    for found in alive_now(call)?.iter() {
        if let Some(name) = name_tag(found.tags()) {
            instances.push(Instance::found(call, name, found)?);
        }
    }
    instances.sort_by(|one, other| one.name().cmp(other.name()));
    Ok(instances.into_iter().map(rhai::Dynamic::from).collect())
}

/// The zones that the stack's instances stand in, each with the subnet of one of them.
pub fn zones(host: &Host) -> Result<BTreeMap<String, String>, Error> {
    let zone = |found: &Description| {
        let zone = found.placement()?.availability_zone()?.to_owned();
        Some((zone, found.subnet_id()?.to_owned()))
    };
    Ok(alive_lately(host)?.iter().filter_map(zone).collect())
}

impl Instance {
    /// Its name inside the stack.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    fn found(call: &Call, name: &str, found: &Description) -> Result<Self, Error> {
        let instance = Instance(Arc::new(Inner {
            name: name.to_owned(),
            full_name: call.full_name(name)?,
            id: found.instance_id().map(str::to_owned),
            vpc: found.vpc_id().map(str::to_owned),
            port: None,
            health: None,
            scope: call.scope(),
            running: Mutex::new(None),
        }));
        instance.seen(found);
        Ok(instance)
    }

    /// The VPC that it stands in, as far as that is known.
    pub fn vpc(&self) -> Option<&str> {
        self.0.vpc.as_deref()
    }

    /// The name in EC2.
    pub fn full_name(&self) -> &str {
        &self.0.full_name
    }

    /// The ids and names of its security groups.
    pub fn security_groups(&self, call: &Call) -> Result<Vec<(String, String)>, Error> {
        let id = self.id()?.to_owned();
        let found = call.within(self.0.scope.clone(), || describe(call, vec![filter("instance-id", &id)]))?;
        let groups = found.first().map(|instance| instance.security_groups()).unwrap_or_default();
        let name = |group: &aws_sdk_ec2::types::GroupIdentifier| {
            Some((group.group_id()?.to_owned(), group.group_name().unwrap_or_default().to_owned()))
        };
        Ok(groups.iter().filter_map(name).collect())
    }

    /// The running instances that carry the tags, or are of the stack, in the order of their names.
    pub fn running(host: &Host, tags: Option<&[(String, String)]>) -> Result<Vec<Self>, Error> {
        let mut filters = match tags {
            Some(tags) => tags.iter().map(|(name, value)| filter(&format!("tag:{name}"), value)).collect(),
            None => vec![of_stack(host)?],
        };
        filters.push(filter("instance-state-name", "running"));
        let mut instances: Vec<Self> = Vec::new();
        for found in describe(host, filters)? {
            let id = found.instance_id().unwrap_or_default().to_owned();
            let named = found.tags().iter().find(|tag| tag.key() == Some("Name")).and_then(|tag| tag.value());
            instances.push(Instance(Arc::new(Inner {
                name: name_tag(found.tags()).unwrap_or(&id).to_owned(),
                full_name: named.unwrap_or(&id).to_owned(),
                id: Some(id),
                vpc: found.vpc_id,
                scope: host.scope(),
                port: None,
                health: None,
                running: Mutex::new(None),
            })));
        }
        instances.sort_by(|one, other| one.0.full_name.cmp(&other.0.full_name));
        Ok(instances)
    }

    /// The instance's id; kind `planned` where a plan would launch it.
    pub fn id(&self) -> Result<&str, Error> {
        self.0
            .id
            .as_deref()
            .ok_or_else(|| Error::planned(format!("the id and addresses of instance {}", self.0.full_name)))
    }
}
