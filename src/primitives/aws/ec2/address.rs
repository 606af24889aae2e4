//! Elastic IP addresses: allocated once for a name, found again by their tags, and leading to the instance that is named.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::types::{Address as Description, DomainType, Filter, ResourceType};

use super::{Instance, name_tag, of_name, of_stack, tag_specification};
use crate::clients::aws::failure;
use crate::error::{Error, Kind};
use crate::host::{Answer, Change, Host};
use crate::primitives::declaration::{Function, Holds, Options, optional};
use crate::primitives::namespace::{Call, Namespace};
use crate::primitives::owned::{Owned, at_once};
use crate::progress::Verb;

/// How often an allocation is tried, with pauses of 1, 2, 4, 8 and then 16 seconds between.
const ATTEMPTS: u32 = 10;
const LONGEST_PAUSE_S: u64 = 16;

/// An Elastic IP address of the stack.
#[derive(Clone)]
struct Address {
    name: String,
    full_name: String,
    /// `None` in a plan that would allocate it.
    allocated: Option<Allocated>,
}

/// What EC2 gives.
#[derive(Clone)]
struct Allocated {
    id: String,
    public_ip: String,
}

impl Answer for Allocated {
    fn id(&self) -> &str {
        &self.id
    }
}

impl From<&Description> for Allocated {
    fn from(found: &Description) -> Self {
        Allocated {
            id: found.allocation_id().unwrap_or_default().to_owned(),
            public_ip: found.public_ip().unwrap_or_default().to_owned(),
        }
    }
}

impl Address {
    fn known(&self) -> Result<&Allocated, Error> {
        let planned = || Error::planned(format!("the Elastic IP {}", self.full_name));
        self.allocated.as_ref().ok_or_else(planned)
    }
}

const ENSURE: Function = Function {
    name: "ensure_address",
    doc: "The stack's Elastic IP address of that name: it stays the same until the clean-up releases it. With `instance` it leads there, in place \
          of the instance's own public address; where it led elsewhere it moves, in one call. Waits until that instance runs.\n\
          Throws `conflict` where the stack has several addresses of that name.\n\
          EC2 `DescribeAddresses`, `AllocateAddress`, `AssociateAddress`, `DescribeInstances`.",
    parameters: &["name: string"],
    returns: "Address",
    permissions: &[
        "ec2:DescribeAddresses",
        "ec2:AllocateAddress",
        "ec2:AssociateAddress",
        "ec2:DescribeInstances",
        "ec2:CreateTags",
    ],
    example: r#"
        let server = ec2::ensure_instance("server");
        let address = ec2::ensure_address("www", #{ instance: server });
        say(`${server.public_ip} stays, whatever becomes of the server`);"#,
    keys: &[optional(
        "instance",
        Holds::A("an instance", |value| value.is::<Instance>()),
        "Where it leads; it stays as it is if not given",
    )],
};

pub fn register(namespace: &mut Namespace) {
    namespace
        .handle::<Address>("Address")
        .with_options(&ENSURE, ensure)
        .property("name", "The name in EC2.", |_, it: &Address| Ok(it.full_name.clone()))
        .property("id", "The allocation's id.", |_, it: &Address| Ok(it.known()?.id.clone()))
        .property("public_ip", "The address.", |_, it: &Address| Ok(it.known()?.public_ip.clone()))
        .identified(|it: &Address| format!("Elastic IP {}", it.full_name));
}

fn ensure(call: &Call, name: String, options: &Options) -> Result<Address, Error> {
    let full_name = call.full_name(&name)?;
    let found = find(call, &name)?;
    let allocated = match &found {
        Some(found) => {
            super::repair_tags(call, &name, found.allocation_id().unwrap_or_default(), found.tags())?;
            Some(Allocated::from(found))
        }
        None => allocate(call, &name)?,
    };
    let address = Address { name, full_name, allocated };
    if let Some(instance) = options.get("instance").and_then(|value| value.clone().try_cast::<Instance>()) {
        let leads_to = found.as_ref().and_then(Description::instance_id).filter(|id| !id.is_empty());
        if leads_to.is_none() || leads_to != instance.id().ok() {
            lead(call, &address, &instance)?;
        }
    }
    Ok(address)
}

/// Lets the address lead to an instance, which can have one as soon as it runs.
fn lead(call: &Call, address: &Address, instance: &Instance) -> Result<(), Error> {
    if !call.dry_run {
        instance.wait_running(call)?;
    }
    let detail = format!("leads to {}", instance.name());
    let change = Change {
        verb: Verb::Update,
        service: "ec2",
        operation: "AssociateAddress",
        name: &address.name,
        detail: &detail,
    };
    let sent = call.change(change, |_| async {
        let request = call.aws()?.ec2.associate_address().allocation_id(&address.known()?.id);
        let request = request.instance_id(instance.id()?).allow_reassociation(true);
        request.send().await.map(drop).map_err(|error| failure("ec2", "AssociateAddress", error))
    })?;
    match sent {
        Some(()) => instance.wait_for_public_ip(call, &address.known()?.public_ip),
        None => Ok(()),
    }
}

/// Allocates an address, `None` in a plan.
///
/// The request has no token: sent twice, it gives two addresses. So the SDK does not repeat one whose answer is lost; the address is
/// looked for by its tags first, which it has from the beginning.
fn allocate(call: &Call, name: &str) -> Result<Option<Allocated>, Error> {
    let tags = tag_specification(call, ResourceType::ElasticIp, name)?;
    let change = Change {
        verb: Verb::Create,
        service: "ec2",
        operation: "AllocateAddress",
        name,
        detail: "Elastic IP",
    };
    call.change(change, |_| async {
        let mut pause = Duration::from_secs(1);
        for attempt in 1.. {
            let request = call.aws()?.ec2.allocate_address().domain(DomainType::Vpc);
            let once = aws_sdk_ec2::config::Builder::new().retry_config(RetryConfig::disabled());
            let sent =
                request.tag_specifications(tags.clone()).customize().config_override(once).send().await;
            match sent.map_err(|error| failure("ec2", "AllocateAddress", error)) {
                Ok(made) => {
                    let id = made.allocation_id.unwrap_or_default();
                    return Ok(Allocated { id, public_ip: made.public_ip.unwrap_or_default() });
                }
                Err(error) if error.code == "AddressLimitExceeded" => {
                    return Err(error
                        .help("release one that nobody needs: `aws ec2 describe-addresses` lists them")
                        .help("or ask for more: Service Quotas, `EC2-VPC Elastic IPs`"));
                }
                Err(error) if !error.retryable || attempt == ATTEMPTS => return Err(error),
                Err(_) => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(Duration::from_secs(LONGEST_PAUSE_S));
            if let Some(found) = describe(call, of_name(call, name)?).await?.first() {
                return Ok(Allocated::from(found));
            }
        }
        Err(Error::internal("the allocation was given up"))
    })
}

fn find(call: &Call, name: &str) -> Result<Option<Description>, Error> {
    let filters = of_name(call, name)?;
    let mut found = call.block(describe(call, filters))?;
    if found.len() > 1 {
        let all: Vec<&str> = found.iter().filter_map(Description::public_ip).collect();
        return Err(Error::new(
            Kind::Conflict,
            format!("there are {} Elastic IPs `{name}` in this stack: {}", all.len(), all.join(", ")),
        )
        .help("release all but one of them, then run this again"));
    }
    Ok(found.pop())
}

/// The addresses that the filters let through; EC2 has no pages of them.
async fn describe(host: &Host, filters: Vec<Filter>) -> Result<Vec<Description>, Error> {
    let answer = host.aws()?.ec2.describe_addresses().set_filters(Some(filters)).send().await;
    let answer = answer.map_err(|error| failure("ec2", "DescribeAddresses", error))?;
    Ok(answer.addresses.unwrap_or_default())
}

/// The stack's addresses.
pub(super) fn of_this_stack(host: &Host) -> Result<Vec<Description>, Error> {
    let filters = vec![of_stack(host)?];
    host.block(describe(host, filters))
}

pub fn owned(host: &Host) -> Result<Vec<Owned>, Error> {
    let mut things = Vec::new();
    for found in of_this_stack(host)? {
        let Some(name) = name_tag(found.tags()).map(str::to_owned) else { continue };
        let Allocated { id, public_ip } = Allocated::from(&found);
        let leads = found.instance_id().is_some_and(|id| !id.is_empty());
        things.push(Owned {
            key: format!("ec2:address/{name}"),
            title: format!("Elastic IP {public_ip} ({})", host.full_name(&name)?),
            status: if leads { "associated" } else { "not associated" }.to_owned(),
            // With its instance it loses its association.
            order: 20,
            protected: false,
            needs: Vec::new(),
            delete: Arc::new(move |host| release(host, &name, &id)),
            wait: at_once(),
        });
    }
    Ok(things)
}

/// Releases the address, once it leads nowhere: outside of the default VPC EC2 refuses it before (API reference, `ReleaseAddress`).
fn release(host: &Host, name: &str, id: &str) -> Result<(), Error> {
    let found = host.block(async {
        match describe(host, vec![super::filter("allocation-id", id)]).await {
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            other => Ok(other?.pop()),
        }
    })?;
    let Some(found) = found else { return Ok(()) };
    if let Some(association) = found.association_id.filter(|id| !id.is_empty()) {
        let change = Change {
            verb: Verb::Remove,
            service: "ec2",
            operation: "DisassociateAddress",
            name,
            detail: "from its instance",
        };
        host.change(change, |_| async {
            let request = host.aws()?.ec2.disassociate_address().association_id(&association);
            let sent = request.send().await.map(drop);
            gone(sent.map_err(|error| failure("ec2", "DisassociateAddress", error)))
        })?;
    }
    let change = Change {
        verb: Verb::Delete,
        service: "ec2",
        operation: "ReleaseAddress",
        name,
        detail: "Elastic IP",
    };
    host.change(change, |_| async {
        let sent = host.aws()?.ec2.release_address().allocation_id(id).send().await.map(drop);
        gone(sent.map_err(|error| failure("ec2", "ReleaseAddress", error)))
    })?;
    Ok(())
}

/// What is gone already need not go.
fn gone(sent: Result<(), Error>) -> Result<(), Error> {
    match sent {
        Err(error) if error.kind == Kind::NotFound => Ok(()),
        other => other,
    }
}
