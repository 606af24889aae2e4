//! What EC2 says of instances, the stack's above all.

use std::sync::Arc;

use aws_sdk_ec2::types::{Filter, Instance};

use super::{filter_of_values, name_tag, of_stack};
use crate::clients::aws::failure;
use crate::error::{Error, Kind};
use crate::host::Host;

/// The one of `instances` that has that name in the stack.
pub(super) fn named(host: &Host, name: &str, instances: &[Instance]) -> Result<Option<Instance>, Error> {
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
fn alive(host: &Host) -> Result<Vec<Instance>, Error> {
    describe(host, vec![of_stack(host)?, in_states(&["pending", "running", "stopping", "stopped"])])
}

pub(super) fn alive_now(host: &Host) -> Result<Arc<Vec<Instance>>, Error> {
    host.read(|clients| &clients.instances, || alive(host))
}

pub(super) fn alive_lately(host: &Host) -> Result<Arc<Vec<Instance>>, Error> {
    host.seen(|clients| &clients.instances, || alive(host))
}

/// The filter for instances that are not gone, those on their way out included.
pub(super) fn not_gone() -> Filter {
    in_states(&["pending", "running", "stopping", "stopped", "shutting-down"])
}

fn in_states(states: &[&str]) -> Filter {
    filter_of_values("instance-state-name", states.iter().map(|state| (*state).to_owned()).collect())
}

pub(super) fn describe(host: &Host, filters: Vec<Filter>) -> Result<Vec<Instance>, Error> {
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

pub(super) fn state(instance: Option<&Instance>) -> String {
    instance
        .and_then(|instance| instance.state())
        .and_then(|state| state.name())
        .map_or_else(|| "not visible yet".to_owned(), |name| name.as_str().to_owned())
}
