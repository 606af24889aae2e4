//! `elbv2::` Network Load Balancers: target groups, balancers, their listeners, and what is healthy behind them.

mod drawn;
mod listener;
mod load_balancer;
mod target_group;
mod target_health;

use std::sync::Arc;

use aws_sdk_elasticloadbalancingv2::types::Tag;

pub use drawn::drawn;

use crate::clients::aws::failure;
use crate::error::Error;
use crate::host::{Host, NAME_TAG, STACK_TAG};
use crate::primitives::aws::tags;
use crate::primitives::namespace::Namespace;
use crate::primitives::owned::Owned;

pub fn namespace(host: &Arc<Host>) -> Namespace {
    let mut namespace = Namespace::new("elbv2", host);
    target_group::register(&mut namespace);
    target_health::register(&mut namespace);
    load_balancer::register(&mut namespace);
    listener::register(&mut namespace);
    namespace
}

pub fn owned(host: &Host) -> Result<Vec<Owned>, Error> {
    let mut things = load_balancer::owned(host)?;
    things.extend(target_group::owned(host)?);
    Ok(things)
}

/// The name of a balancer or a target group: ELBv2 takes 32 characters at most (API reference, `CreateLoadBalancer`).
fn full_name(host: &Host, name: &str) -> Result<String, Error> {
    let full = host.full_name(name)?;
    if full.len() > 32 {
        return Err(Error::invalid(format!("`{full}` has {} characters", full.len())).help(
            "names of load balancers and target groups have 32 at most: shorten the stack's name or this one",
        ));
    }
    Ok(full)
}

fn tags(host: &Host, name: &str) -> Result<Vec<Tag>, Error> {
    let tag = |(key, value): (String, String)| Tag::builder().key(key).value(value).build();
    Ok(host.tags(name)?.into_iter().map(tag).collect())
}

/// Those of `arns` that carry the stack's tag, with their names inside the stack (ELBv2 `DescribeTags`, 20 at a time).
async fn owned_names(host: &Host, arns: &[String]) -> Result<Vec<(String, String)>, Error> {
    let stack = host.stack()?;
    let mut names = Vec::new();
    for some in arns.chunks(20) {
        let request = host.aws()?.elbv2.describe_tags().set_resource_arns(Some(some.to_vec()));
        let answer = request.send().await.map_err(|error| failure("elbv2", "DescribeTags", error))?;
        for described in answer.tag_descriptions() {
            let value = |key: &str| {
                described.tags().iter().find(|tag| tag.key() == Some(key)).and_then(|tag| tag.value())
            };
            if let (Some(arn), true, Some(name)) =
                (described.resource_arn(), value(STACK_TAG) == Some(stack), value(NAME_TAG))
            {
                names.push((arn.to_owned(), name.to_owned()));
            }
        }
    }
    Ok(names)
}

/// The tags of the thing `arn`.
async fn tags_of(host: &Host, arn: &str) -> Result<Vec<Tag>, Error> {
    let request = host.aws()?.elbv2.describe_tags().resource_arns(arn);
    let answer = request.send().await.map_err(|error| failure("elbv2", "DescribeTags", error))?;
    Ok(answer.tag_descriptions.unwrap_or_default().pop().and_then(|found| found.tags).unwrap_or_default())
}

/// Fails unless the thing `arn`, which has the tags `found`, belongs to this stack; puts back those that are missing (ELBv2 `AddTags`).
fn own(host: &Host, title: &str, name: &str, arn: &str, found: &[Tag]) -> Result<(), Error> {
    let is = |key: &str| found.iter().find(|tag| tag.key() == Some(key)).and_then(Tag::value);
    host.own(title, is(STACK_TAG))?;
    tags::repair(host, ("elbv2", "AddTags"), name, is, |pairs| async {
        let tags = pairs.into_iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
        let request = host.aws()?.elbv2.add_tags().resource_arns(arn).set_tags(Some(tags.collect()));
        request.send().await.map(drop).map_err(|error| failure("elbv2", "AddTags", error))
    })
}
