//! What a stack owns in instances, and how they go.

use std::sync::Arc;

use super::describe::{describe, not_gone, state};
use super::instance::START_LIMIT;
use super::{filter, name_tag, of_stack};
use crate::clients::aws::failure;
use crate::error::{Error, Kind};
use crate::host::{Change, Host};
use crate::primitives::owned::Owned;
use crate::progress::Verb;

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
