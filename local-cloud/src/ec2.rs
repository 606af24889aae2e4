//! EC2: one default network, images, key pairs, security groups, instances, volumes and tags. One file per subject; this one
//! has the table of operations and what the subjects share.

mod address;
mod attribute;
mod image;
mod image_catalogue;
mod image_creation;
mod instance;
mod instance_type;
mod key_pair;
mod metadata;
mod network_interface;
mod permission;
mod profile;
mod run;
mod security_group;
mod security_group_rule;
mod snapshot;
pub(crate) mod sshd;
mod tag;
mod transition;
mod volume;
mod volume_modification;
mod vpc;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) use image_catalogue::amazon_linux;
pub(crate) use instance::{Instance, InstanceState, StateReason};
pub(crate) use vpc::{subnets, vpc_id};

use crate::query::{AwsError, Call, Envelope, Form, Service};
use crate::xml::Xml;

pub(crate) type Tags = BTreeMap<String, String>;

pub(crate) const SERVICE: Service = Service {
    name: "ec2",
    namespace: "http://ec2.amazonaws.com/doc/2016-11-15/",
    envelope: Envelope::Ec2,
    operations: &[
        vpc::OPERATIONS,
        image::OPERATIONS,
        image_creation::OPERATIONS,
        key_pair::OPERATIONS,
        security_group::OPERATIONS,
        security_group_rule::OPERATIONS,
        run::OPERATIONS,
        instance::OPERATIONS,
        transition::OPERATIONS,
        attribute::OPERATIONS,
        network_interface::OPERATIONS,
        address::OPERATIONS,
        profile::OPERATIONS,
        instance_type::OPERATIONS,
        volume::OPERATIONS,
        volume_modification::OPERATIONS,
        snapshot::OPERATIONS,
        tag::OPERATIONS,
    ],
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) key_pairs: BTreeMap<String, key_pair::KeyPair>,
    pub(crate) security_groups: BTreeMap<String, security_group::SecurityGroup>,
    pub(crate) instances: BTreeMap<String, Instance>,
    pub(crate) tokens: BTreeMap<String, run::Launch>,
    #[serde(default)]
    volumes: BTreeMap<String, volume::Volume>,
    #[serde(default)]
    snapshots: BTreeMap<String, snapshot::Snapshot>,
    /// Those of this account.
    #[serde(default)]
    images: BTreeMap<String, image::Image>,
    #[serde(default)]
    pub(crate) addresses: BTreeMap<String, address::Address>,
}

impl State {
    pub(crate) fn new(region: &str) -> State {
        let group = security_group::SecurityGroup::default_of(region);
        State {
            key_pairs: BTreeMap::new(),
            security_groups: BTreeMap::from([(group.id.clone(), group)]),
            instances: BTreeMap::new(),
            tokens: BTreeMap::new(),
            volumes: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            images: BTreeMap::new(),
            addresses: BTreeMap::new(),
        }
    }

    /// Whether there is such an instance that has not been terminated.
    pub(crate) fn exists(&self, instance: &str) -> bool {
        self.instances.get(instance).is_some_and(|instance| instance.state != InstanceState::Terminated)
    }

    /// Moves an instance on; one that is terminated lets its volumes and its Elastic IP go.
    pub(crate) fn enter(&mut self, id: &str, state: InstanceState, reason: Option<StateReason>) {
        if let Some(instance) = self.instances.get_mut(id) {
            instance.enter(state, reason);
        }
        if state == InstanceState::Terminated {
            self.release_volumes(id);
            self.leave_addresses(id);
        }
    }

    /// The security groups exist, or the error that says which one does not.
    pub(crate) fn check_groups(&self, ids: &[String]) -> Result<(), AwsError> {
        match ids.iter().find(|id| !self.security_groups.contains_key(*id)) {
            None => Ok(()),
            Some(id) => Err(security_group::not_found(id)),
        }
    }

    pub(crate) fn default_group(&self) -> Option<&security_group::SecurityGroup> {
        self.security_groups.values().find(|group| group.name == "default")
    }

    pub(crate) fn group_name(&self, id: &str) -> &str {
        self.security_groups.get(id).map_or("", |group| &group.name)
    }
}

/// The tag that says where the service of an instance is reached.
const ADDRESS_TAG: &str = "ops-local:address";

/// With `DryRun` a call that would have passed answers this error; it changes nothing.
fn refuse_dry_run(form: &Form) -> Result<(), AwsError> {
    match form.flag("DryRun")? {
        Some(true) => Err(AwsError::with_status(
            412,
            "DryRunOperation",
            "Request would have succeeded, but DryRun flag is set.",
        )),
        _ => Ok(()),
    }
}

/// The tags that a creation gives to resources of this kind.
fn tag_specification(form: &Form, resource_type: &str, allowed: &[&str]) -> Result<Tags, AwsError> {
    let mut tags = Tags::new();
    for member in form.members("TagSpecification") {
        let kind = form.required(&format!("{member}.ResourceType"))?;
        if kind != resource_type && !allowed.contains(&kind) {
            return Err(AwsError::new(
                "InvalidParameterValue",
                format!("'{kind}' is not a valid taggable resource type for this operation"),
            ));
        }
        let pairs = form.pairs(&format!("{member}.Tag"), "Key", "Value")?;
        if kind == resource_type {
            tags.extend(pairs);
        }
    }
    tag::check(&tags)?;
    Ok(tags)
}

fn tag_set(xml: &mut Xml, tags: &Tags) {
    xml.list("tagSet", "item", tags, |xml, (key, value)| {
        xml.text("key", key).text("value", value);
    });
}

/// `<return>true</return>`, the whole answer of many operations.
fn done() -> Xml {
    let mut xml = Xml::new();
    xml.text("return", true);
    xml
}

fn arn(call: &Call<'_>, kind: &str, id: &str) -> String {
    format!("arn:aws:ec2:{}:{}:{kind}/{id}", call.region_name, crate::cloud::ACCOUNT)
}
