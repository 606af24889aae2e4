//! What a stack owns in instances, and how they go.

use std::sync::Arc;

use rhai::{Array, FnPtr};

use super::describe::{describe, not_gone, state};
use super::instance::{Instance, START_LIMIT};
use super::{filter, name_tag, of_stack};
use crate::clients::aws::failure;
use crate::error::{Error, Kind};
use crate::host::{Change, Host};
use crate::primitives::declaration::{Function, Holds, Options, optional};
use crate::primitives::namespace::{Call, Namespace};
use crate::primitives::owned::{Inventory, Owned};
use crate::progress::Verb;

const DELETE: Function = Function {
    name: "delete_instances",
    doc: "Terminates instances of the stack, after consent: a list is shown. Those that are gone already are fine.\n\
          Throws `refused` where consent is missing; nothing was done then. EC2 `DescribeInstances`, `TerminateInstances`.",
    parameters: &["instances: list"],
    returns: "()",
    permissions: &["ec2:DescribeInstances", "ec2:TerminateInstances"],
    example: r#"
        let spare = ec2::list_instances().filter(|one| one.name.ends_with("-spare"));
        ec2::delete_instances(spare, #{ announce: || say("the spare ones go") });"#,
    keys: &[optional(
        "announce",
        Holds::A("a closure", |value| value.is::<FnPtr>()),
        "Runs once consent is there, before anything is terminated",
    )],
};

pub fn register(namespace: &mut Namespace) {
    namespace.with_options(&DELETE, delete_instances);
}

fn delete_instances(call: &Call, instances: Array, options: &Options) -> Result<(), Error> {
    let mut keys = Vec::new();
    for instance in instances {
        let instance = instance.try_cast::<Instance>().ok_or_else(|| {
            Error::invalid("ec2::delete_instances takes a list of instances, such as ec2::list_instances()")
        })?;
        keys.push(format!("ec2:{}", instance.name()));
    }
    let announce = options.get("announce").and_then(|closure| closure.clone().try_cast::<FnPtr>());
    let doomed = Inventory { things: owned(call)? }.only(&keys);
    doomed.delete(call, "", || announce.map_or(Ok(()), |closure| call.back(&closure)))
}

pub fn owned(host: &Host) -> Result<Vec<Owned>, Error> {
    let mut things = Vec::new();
    for instance in describe(host, vec![of_stack(host)?, not_gone()])? {
        let (Some(id), Some(name)) = (instance.instance_id.clone(), name_tag(instance.tags())) else {
            continue;
        };
        let (name, waited) = (name.to_owned(), id.clone());
        things.push(Owned {
            key: format!("ec2:{name}"),
            title: format!("instance {} ({id})", host.full_name(&name)?),
            status: state(Some(&instance)),
            order: 10,
            protected: false,
            needs: Vec::new(),
            delete: Arc::new(move |host| terminate(host, &name, &id)),
            wait: Arc::new(move |host| wait_terminated(host, &waited)),
        });
    }
    Ok(things)
}

fn terminate(host: &Host, name: &str, id: &str) -> Result<(), Error> {
    let change = Change {
        verb: Verb::Delete,
        service: "ec2",
        operation: "TerminateInstances",
        name,
        detail: "instance",
    };
    host.change(change, |_| async {
        let request = host.aws()?.ec2.terminate_instances().instance_ids(id);
        match request.send().await.map_err(|error| failure("ec2", "TerminateInstances", error)) {
            Err(error) if error.kind == Kind::NotFound => Ok(()),
            other => other.map(drop),
        }
    })?;
    Ok(())
}

fn wait_terminated(host: &Host, id: &str) -> Result<(), Error> {
    host.wait(&format!("instance {id}"), START_LIMIT, || async {
        let found = host.aws()?.ec2.describe_instances().filters(filter("instance-id", id)).send().await;
        let found = found.map_err(|error| failure("ec2", "DescribeInstances", error))?;
        let state = found
            .reservations()
            .iter()
            .flat_map(|r| r.instances())
            .next()
            .map_or("terminated".to_owned(), |i| state(Some(i)));
        Ok(if state == "terminated" { Ok(()) } else { Err(state) })
    })
}
