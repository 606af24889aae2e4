//! Instances: launched once for a name, encrypted, with IMDSv2, and found again by their tags.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_ec2::types::{Instance as Description, InstanceStateName, InstanceType};

use super::key_pair::KeyPair;
use super::launch::{USER_DATA_TAG, fingerprint, launch};
use super::profile;
use super::security_group::SecurityGroup;
use super::service::Service;
use super::{filter, filter_of_values, name_tag, of_stack};
use crate::clients::aws::{Clients, failure};
use crate::clients::http;
use crate::error::{Error, Kind};
use crate::host::{Change, Host, World};
use crate::primitives::declaration::{Function, Holds, Options, optional};
use crate::primitives::namespace::{Call, Namespace};
use crate::progress::{Line, Verb};

/// The SDKs' own waiters give up after 10 minutes (15 s x 40).
pub(super) const START_LIMIT: Duration = Duration::from_secs(10 * 60);

/// The tag by which the local cloud says where an instance's service really answers.
const LOCAL_ADDRESS_TAG: &str = "ops-local:address";

/// Where the local cloud says that an instance is logged in to: `user@host:port`.
const LOCAL_SSH_TAG: &str = "ops-local:ssh";

/// An instance of the stack.
#[derive(Clone)]
pub struct Instance(Arc<Inner>);

struct Inner {
    name: String,
    full_name: String,
    /// `None` in a plan that would launch it.
    id: Option<String>,
    port: Option<u16>,
    health: Option<String>,
    /// Where it is waited for: the region or role that it was made in.
    scope: Option<Arc<Clients>>,
    running: Mutex<Option<Addresses>>,
}

/// What only a running instance has.
#[derive(Clone)]
struct Addresses {
    public_ip: String,
    private_ip: String,
    /// Where its service answers: `host:port`.
    address: String,
    /// The port in it, 0 where there is no service.
    port: u16,
    /// The local cloud's word on where to log in.
    local_ssh: Option<String>,
}

const ENSURE: Function = Function {
    name: "ensure_instance",
    doc: "The stack's instance of that name. Launches one where there is none; returns when the launch is accepted.\n\
          Made with IMDSv2 required and an encrypted gp3 root volume. A stopped one is started.\n\
          Throws `conflict` where a named key differs and EC2 cannot change it in place.\n\
          EC2 `DescribeInstances`, `DescribeImages`, `RunInstances`, `StartInstances`; SSM `GetParameter` for the image.",
    parameters: &["name: string"],
    returns: "Instance",
    permissions: &[
        "ec2:DescribeInstances",
        "ec2:DescribeImages",
        "ec2:DescribeSubnets",
        "ec2:DescribeIamInstanceProfileAssociations",
        "ec2:RunInstances",
        "ec2:StartInstances",
        "ec2:ModifyInstanceAttribute",
        "ec2:CreateTags",
        "ssm:GetParameter",
        "iam:PassRole",
    ],
    example: r#"
        let server = ec2::ensure_instance("server", #{ instance_type: "t3.micro", key_pair: ec2::ensure_key_pair("key") });
        print(server.public_ip);    // waits until there is one"#,
    keys: &[
        optional("instance_type", Holds::String, "Size; `t3.micro` if not given"),
        optional(
            "image",
            Holds::String,
            "Machine image: an `ami-` id, or `al2023` (the newest Amazon Linux 2023), which is also the default",
        ),
        optional("key_pair", Holds::A("a key pair", |value| value.is::<KeyPair>()), "Who may log in by SSH"),
        optional("security_groups", Holds::List, "Its security groups"),
        optional(
            "instance_profile",
            Holds::String,
            "Name of the IAM instance profile that the instance acts as",
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
    let id = match &found {
        Some(found) => {
            compare(&full_name, found, options)?;
            let id = found.instance_id().unwrap_or_default().to_owned();
            repair(call, &name, found, options)?;
            let state = found.state().and_then(|state| state.name());
            if matches!(state, Some(InstanceStateName::Stopped | InstanceStateName::Stopping)) {
                start(call, &name, &id)?;
            }
            warn_of_other_service(call, &full_name, found, service.as_ref())?;
            Some(id)
        }
        None => launch(call, &name, options, service.as_ref())?,
    };
    let instance = Instance(Arc::new(Inner {
        name,
        full_name,
        id,
        port: service.as_ref().map(|service| service.port),
        health: service.and_then(|service| service.health),
        scope: call.scope(),
        running: Mutex::new(None),
    }));
    if let Some(found) = &found {
        instance.seen(found);
    }
    let pending = instance.clone();
    call.expect(move |host| pending.wait(host, "").map(drop));
    Ok(instance)
}

/// The one of `instances` that has that name in the stack.
fn named(host: &Host, name: &str, instances: &[Description]) -> Result<Option<Description>, Error> {
    host.full_name(name)?;
    let mut found: Vec<_> =
        instances.iter().filter(|instance| name_tag(instance.tags()) == Some(name)).collect();
    if found.len() > 1 {
        return Err(Error::new(
            Kind::Conflict,
            format!("there are {} instances `{name}` in this stack", found.len()),
        )
        .help("terminate all but one of them, then run this again"));
    }
    Ok(found.pop().cloned())
}

/// The instances of the stack that are not gone or on their way out.
fn alive(host: &Host) -> Result<Vec<Description>, Error> {
    describe(host, vec![of_stack(host)?, in_states(&["pending", "running", "stopping", "stopped"])])
}

fn alive_now(host: &Host) -> Result<Arc<Vec<Description>>, Error> {
    host.read(|clients| &clients.instances, || alive(host))
}

fn alive_lately(host: &Host) -> Result<Arc<Vec<Description>>, Error> {
    host.seen(|clients| &clients.instances, || alive(host))
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

/// The filter for instances that are not gone, those on their way out included.
pub(super) fn not_gone() -> aws_sdk_ec2::types::Filter {
    in_states(&["pending", "running", "stopping", "stopped", "shutting-down"])
}

fn in_states(states: &[&str]) -> aws_sdk_ec2::types::Filter {
    filter_of_values("instance-state-name", states.iter().map(|state| (*state).to_owned()).collect())
}

pub(super) fn describe(
    host: &Host,
    filters: Vec<aws_sdk_ec2::types::Filter>,
) -> Result<Vec<Description>, Error> {
    host.block(async {
        let mut pages =
            host.aws()?.ec2.describe_instances().set_filters(Some(filters)).into_paginator().send();
        let mut instances = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failure("ec2", "DescribeInstances", error))?;
            instances.extend(
                page.reservations
                    .unwrap_or_default()
                    .into_iter()
                    .flat_map(|r| r.instances.unwrap_or_default()),
            );
        }
        Ok(instances)
    })
}

/// What is named and cannot be changed while the instance lives is refused, never silently ignored.
fn compare(full_name: &str, found: &Description, options: &Options) -> Result<(), Error> {
    let differs = |key: &str, is: &str, asked: &str| {
        Err(Error::new(Kind::Conflict, format!("the instance {full_name} has {key} `{is}`, and `{asked}` is asked for"))
            .key(key)
            .help("ops does not change it while the instance lives: ask for what it has, or terminate it and run this again"))
    };
    let instance_type = found.instance_type().map_or("", InstanceType::as_str);
    if let Some(asked) = options.string("instance_type").filter(|asked| asked != instance_type) {
        return differs("instance_type", instance_type, &asked);
    }
    let image = found.image_id().unwrap_or_default();
    if let Some(asked) = options.string("image").filter(|asked| asked.starts_with("ami-") && asked != image) {
        return differs("image", image, &asked);
    }
    if let Some(asked) = options.get("key_pair").and_then(|key| key.clone().try_cast::<KeyPair>())
        && found.key_name() != Some(&asked.full_name)
    {
        return differs("key_pair", found.key_name().unwrap_or_default(), &asked.full_name);
    }
    Ok(())
}

/// Mends what is named, differs, and can be changed while the instance runs: its security groups, its instance profile, its tags.
fn repair(call: &Call, name: &str, found: &Description, options: &Options) -> Result<(), Error> {
    let id = found.instance_id().unwrap_or_default();
    if options.get("security_groups").is_some() {
        let asked = options.handles::<SecurityGroup>("security_groups", "security groups")?;
        let asked: BTreeSet<Option<&str>> = asked.iter().map(|group| group.id.as_deref()).collect();
        let is: BTreeSet<Option<&str>> =
            found.security_groups().iter().map(|group| group.group_id()).collect();
        if asked != is {
            let change = Change {
                verb: Verb::Update,
                service: "ec2",
                operation: "ModifyInstanceAttribute",
                name,
                detail: "security groups",
            };
            let groups: Vec<String> = asked.iter().flatten().map(|id| (*id).to_owned()).collect();
            call.change(change, |_| async {
                let request = call
                    .aws()?
                    .ec2
                    .modify_instance_attribute()
                    .instance_id(id)
                    .set_groups(Some(groups.clone()));
                let sent = request.send().await.map(drop);
                sent.map_err(|error| failure("ec2", "ModifyInstanceAttribute", error))
            })?;
        }
    }
    let has =
        found.iam_instance_profile().and_then(|profile| profile.arn()).and_then(|arn| arn.rsplit('/').next());
    if let Some(asked) = options.string("instance_profile").filter(|asked| has != Some(asked)) {
        profile::associate(call, name, id, &asked)?;
    }
    super::repair_tags(call, name, id, found.tags())
}

/// An instance reads its user data once, at its launch: another service in the playbook does not reach it.
fn warn_of_other_service(
    call: &Call,
    full_name: &str,
    found: &Description,
    service: Option<&Service>,
) -> Result<(), Error> {
    let Some(service) = service else { return Ok(()) };
    let wanted = service.user_data(&call.aws()?.region)?;
    let tag = found.tags().iter().find(|tag| tag.key() == Some(USER_DATA_TAG)).and_then(|tag| tag.value());
    if tag.is_some_and(|tag| tag != fingerprint(&wanted)) {
        call.progress.line(
            Line::Warning,
            &format!("{full_name} was launched with another service: it keeps that one until it is terminated and made anew"),
        );
    }
    Ok(())
}

fn start(call: &Call, name: &str, id: &str) -> Result<(), Error> {
    // It can be started once it has stopped; a plan does not wait for that.
    let stopped = if call.dry_run { Ok(()) } else { wait_stopped(call, name, id) };
    stopped?;
    let change =
        Change { verb: Verb::Update, service: "ec2", operation: "StartInstances", name, detail: "started" };
    call.change(change, |_| async {
        let request = call.aws()?.ec2.start_instances().instance_ids(id);
        request.send().await.map(drop).map_err(|error| failure("ec2", "StartInstances", error))
    })?;
    Ok(())
}

fn wait_stopped(call: &Call, name: &str, id: &str) -> Result<(), Error> {
    call.wait(&format!("instance {name}"), START_LIMIT, || async {
        let request = call.aws()?.ec2.describe_instances().instance_ids(id);
        let answer = request.send().await.map_err(|error| failure("ec2", "DescribeInstances", error))?;
        let state = state(answer.reservations().iter().flat_map(|r| r.instances()).next());
        Ok(if state == "stopping" { Err(state) } else { Ok(()) })
    })
}

pub(super) fn state(instance: Option<&Description>) -> String {
    instance
        .and_then(|instance| instance.state())
        .and_then(|state| state.name())
        .map_or_else(|| "not visible yet".to_owned(), |name| name.as_str().to_owned())
}

impl Instance {
    /// Its name inside the stack.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Waits until it runs.
    pub fn wait_running(&self, call: &Call) -> Result<(), Error> {
        self.addresses(call, "wait").map(drop)
    }

    fn found(call: &Call, name: &str, found: &Description) -> Result<Self, Error> {
        let instance = Instance(Arc::new(Inner {
            name: name.to_owned(),
            full_name: call.full_name(name)?,
            id: found.instance_id().map(str::to_owned),
            port: None,
            health: None,
            scope: call.scope(),
            running: Mutex::new(None),
        }));
        instance.seen(found);
        Ok(instance)
    }

    /// Its addresses; waits for them where they are not there yet. `reading` is the property that the script reads.
    fn addresses(&self, call: &Call, reading: &str) -> Result<Addresses, Error> {
        let what =
            if reading == "wait" { String::new() } else { format!(" ({} reads `{reading}`)", call.place()) };
        self.wait(call, &what)
    }

    /// The name in EC2.
    pub fn full_name(&self) -> &str {
        &self.0.full_name
    }

    /// Where to log in by SSH as `user`, as `user@address`: the public address, else the private one. Waits until the instance runs.
    /// In the local cloud, the server that was named for it.
    pub fn login(&self, call: &Call, user: &str) -> Result<String, Error> {
        let addresses = self.addresses(call, "wait")?;
        if matches!(call.world, World::Local { .. }) {
            return addresses.local_ssh.ok_or_else(|| {
                Error::invalid(format!(
                    "{} is an instance of the local cloud, which has no shell: its service runs as a process of this machine",
                    self.0.full_name
                ))
                .help("do what needs ssh on a real server: name it like `user@host`")
                .help(format!(
                    "or name an ssh server of this machine for {} in .ops/local/sshd.json before it is launched (docs/operations.md)",
                    self.0.full_name
                ))
            });
        }
        let address = if addresses.public_ip.is_empty() { addresses.private_ip } else { addresses.public_ip };
        Ok(format!("{user}@{address}"))
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

    fn wait(&self, host: &Host, why: &str) -> Result<Addresses, Error> {
        let id = self.id()?;
        let known = || self.0.running.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(addresses) = known() {
            return Ok(addresses);
        }
        let what = format!("instance {}{why}", self.0.name);
        let addresses = host.within(self.0.scope.clone(), || {
            host.wait(&what, START_LIMIT, || async {
                let request = host.aws()?.ec2.describe_instances().instance_ids(id);
                let answer =
                    match request.send().await.map_err(|error| failure("ec2", "DescribeInstances", error)) {
                        // Right after the launch, EC2 may not know its own answer yet (EC2 API Reference, "Eventual consistency").
                        Err(error) if error.code == "InvalidInstanceID.NotFound" => {
                            return Ok(Err(state(None)));
                        }
                        other => other?,
                    };
                let found = answer.reservations().iter().flat_map(|r| r.instances()).next();
                let state = state(found);
                match (state.as_str(), found) {
                    ("running", Some(found)) => Ok(Ok(self.read(found))),
                    ("shutting-down" | "terminated", Some(found)) => {
                        let reason = found
                            .state_reason()
                            .and_then(|reason| reason.message())
                            .unwrap_or("no reason given");
                        Err(Error::new(
                            Kind::Unavailable,
                            format!("the instance {} was terminated: {reason}", self.0.full_name),
                        )
                        .of("ec2", "DescribeInstances"))
                    }
                    _ => Ok(Err(state)),
                }
            })
        })?;
        *self.0.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(addresses.clone());
        Ok(addresses)
    }

    /// Where it is known to run, its addresses need not be asked for.
    fn seen(&self, found: &Description) {
        if state(Some(found)) == "running" {
            *self.0.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.read(found));
        }
    }

    fn read(&self, found: &Description) -> Addresses {
        let private_ip = found.private_ip_address().unwrap_or_default().to_owned();
        let public_ip = found.public_ip_address().unwrap_or_default().to_owned();
        let tag =
            |name: &str| found.tags().iter().find(|tag| tag.key() == Some(name)).and_then(|tag| tag.value());
        let local = tag(LOCAL_ADDRESS_TAG);
        let address = match (local, self.0.port) {
            (Some(address), _) => address.to_owned(),
            (None, port) => {
                let host = if public_ip.is_empty() { &private_ip } else { &public_ip };
                port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
            }
        };
        let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(0);
        let local_ssh = tag(LOCAL_SSH_TAG).map(str::to_owned);
        Addresses { public_ip, private_ip, address, port, local_ssh }
    }
}

fn wait_ready(call: &Call, it: &Instance, minutes: i64) -> Result<(), Error> {
    let Some(path) = &it.0.health else {
        return Err(Error::invalid(format!("{} has no service with a `health` path", it.0.full_name)));
    };
    let minutes =
        u64::try_from(minutes).map_err(|_| Error::invalid("wait_ready takes a number of minutes"))?;
    let addresses = it.addresses(call, "wait")?;
    let url = format!("http://{}{path}", addresses.address);
    call.wait(&url, Duration::from_secs(minutes.saturating_mul(60)), || async {
        Ok(match http::get(&url).await {
            Ok(answer) if answer.status == 200 => Ok(()),
            Ok(answer) => {
                Err(format!("{} {}", answer.status, answer.text.lines().next().unwrap_or_default()))
            }
            // Nothing listens yet, or the start is still under way.
            Err(error) if error.retryable => Err("no answer".to_owned()),
            Err(error) => return Err(error),
        })
    })
}
