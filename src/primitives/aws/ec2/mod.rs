//! `ec2::` key pairs, security groups, instances, their addresses and machine images, and what they stand on.

pub mod address;
pub mod console;
mod describe;
mod drawn;
mod image;
pub mod instance;
mod instance_type;
pub mod key_pair;
pub mod launch;
pub mod network;
pub mod profile;
mod published;
pub mod security_group;
pub mod service;
mod status;
pub mod temporary;
pub mod terminate;
mod volume;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_ec2::types::{Filter, ResourceType, Tag, TagSpecification};

pub use drawn::drawn;
pub use image::Image;
pub use instance::Instance;
pub use key_pair::KeyPair;
pub use network::subnets;
pub use security_group::{Rule, SecurityGroup, names as security_group_names};

use crate::clients::aws::failure;
use crate::error::Error;
use crate::host::{Host, NAME_TAG, STACK_TAG};
use crate::primitives::aws::tags;
use crate::primitives::namespace::Namespace;
use crate::primitives::owned::Owned;

/// What EC2 says is there already may not be listed before this (EC2 API Reference, "Eventual consistency").
const LISTED_WITHIN: Duration = Duration::from_secs(60);

pub fn namespace(host: &Arc<Host>) -> Namespace {
    let mut namespace = Namespace::new("ec2", host);
    key_pair::register(&mut namespace);
    security_group::register(&mut namespace);
    instance::register(&mut namespace);
    terminate::register(&mut namespace);
    volume::register(&mut namespace);
    image::register(&mut namespace);
    instance_type::register(&mut namespace);
    status::register(&mut namespace);
    address::register(&mut namespace);
    namespace
}

pub fn owned(host: &Host) -> Result<Vec<Owned>, Error> {
    let mut things = terminate::owned(host)?;
    things.extend(image::owned(host)?);
    things.extend(address::owned(host)?);
    things.extend(security_group::owned(host)?);
    things.extend(key_pair::owned(host)?);
    Ok(things)
}

fn filter(name: &str, value: &str) -> Filter {
    filter_of_values(name, vec![value.to_owned()])
}

fn filter_of_values(name: &str, values: Vec<String>) -> Filter {
    Filter::builder().name(name).set_values(Some(values)).build()
}

/// The filter for everything of this stack.
fn of_stack(host: &Host) -> Result<Filter, Error> {
    Ok(filter(&format!("tag:{STACK_TAG}"), host.stack()?))
}

/// The filters for the thing of this stack with that name.
fn of_name(host: &Host, name: &str) -> Result<Vec<Filter>, Error> {
    host.full_name(name)?;
    Ok(vec![of_stack(host)?, filter(&format!("tag:{NAME_TAG}"), name)])
}

/// The tags that a new thing of this stack gets in the request that makes it, so that no moment is without them.
fn tag_specification(host: &Host, kind: ResourceType, name: &str) -> Result<TagSpecification, Error> {
    let tags = host.tags(name)?.into_iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
    Ok(TagSpecification::builder().resource_type(kind).set_tags(Some(tags.collect())).build())
}

/// The name inside the stack that a thing's tags give.
fn name_tag(tags: &[Tag]) -> Option<&str> {
    tags.iter().find(|tag| tag.key() == Some(NAME_TAG)).and_then(Tag::value)
}

/// The stack that a thing's tags give.
fn stack_tag(tags: &[Tag]) -> Option<&str> {
    tags.iter().find(|tag| tag.key() == Some(STACK_TAG)).and_then(Tag::value)
}

/// Asks for a thing that EC2 says is there already until it is listed.
fn until_listed<T, F>(host: &Host, title: &str, ask: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<Option<T>, Error>>,
{
    host.wait(title, LISTED_WITHIN, || async {
        Ok(ask().await?.ok_or_else(|| "there already, and not listed yet".to_owned()))
    })
}

/// Puts back the tags of the thing `id` that somebody changed or took away (EC2 `CreateTags`).
fn repair_tags(host: &Host, name: &str, id: &str, found: &[Tag]) -> Result<(), Error> {
    let is = |key: &str| found.iter().find(|tag| tag.key() == Some(key)).and_then(Tag::value);
    tags::repair(host, ("ec2", "CreateTags"), name, is, |pairs| async {
        let tags = pairs.into_iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
        let request = host.aws()?.ec2.create_tags().resources(id).set_tags(Some(tags.collect()));
        request.send().await.map(drop).map_err(|error| failure("ec2", "CreateTags", error))
    })
}
