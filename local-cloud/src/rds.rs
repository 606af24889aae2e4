//! RDS for PostgreSQL: instances, snapshots, subnet and parameter groups, the engine's versions and tags. A request only says what a database shall
//! become (`creating`, `modifying`, `deleting`); `database` makes that real with a PostgreSQL of this machine.

mod create;
mod engine;
mod instance;
mod master_secret;
mod parameter_group;
mod settings;
mod show;
mod snapshot;
mod subnet_group;
mod tag;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use instance::not_found;
pub(crate) use instance::{Database, Status};
pub(crate) use parameter_group::FORCE_SSL;
pub(crate) use snapshot::{Snapshot, SnapshotStatus};

use crate::cloud::{ACCOUNT, Region};
use crate::query::{AwsError, Call, Envelope, Service};
use crate::xml::Xml;

pub(crate) type Tags = BTreeMap<String, String>;

pub(crate) const SERVICE: Service = Service {
    name: "rds",
    namespace: "http://rds.amazonaws.com/doc/2014-10-31/",
    envelope: Envelope::Query,
    operations: &[
        create::OPERATIONS,
        instance::OPERATIONS,
        snapshot::OPERATIONS,
        subnet_group::OPERATIONS,
        parameter_group::OPERATIONS,
        engine::OPERATIONS,
        tag::OPERATIONS,
    ],
};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) instances: BTreeMap<String, Database>,
    pub(crate) snapshots: BTreeMap<String, Snapshot>,
    /// Whose data is still to be removed.
    #[serde(default)]
    pub(crate) deleted_snapshots: BTreeSet<String>,
    pub(crate) subnet_groups: BTreeMap<String, subnet_group::SubnetGroup>,
    #[serde(default)]
    parameter_groups: BTreeMap<String, parameter_group::ParameterGroup>,
}

impl State {
    pub(crate) fn user_of_group(&self, group: &str) -> Option<&str> {
        let uses = |database: &&Database| database.groups.iter().any(|used| used == group);
        self.instances.values().find(uses).map(|database| database.id.as_str())
    }

    /// After a restart nothing is known to answer yet.
    pub(crate) fn restart(&mut self) {
        for database in self.instances.values_mut() {
            if database.status == Status::Available {
                database.status = Status::Starting;
            }
        }
    }
}

fn arn(region: &str, kind: &str, id: &str) -> String {
    format!("arn:aws:rds:{region}:{ACCOUNT}:{kind}:{id}")
}

/// RDS's rule for all its names: letters, digits and single hyphens, a letter first; stored in lower case.
fn identifier(parameter: &str, text: &str, limit: usize) -> Result<String, AwsError> {
    let name = text.to_ascii_lowercase();
    let fits = name.len() <= limit
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !name.ends_with('-')
        && !name.contains("--");
    if fits {
        return Ok(name);
    }
    Err(AwsError::new(
        "InvalidParameterValue",
        format!(
            "The parameter {parameter} is not a valid identifier: `{text}`. Identifiers must begin with a letter; must \
             contain only ASCII letters, digits, and hyphens; must not end with a hyphen or contain two consecutive \
             hyphens; and have at most {limit} characters."
        ),
    ))
}

fn tags_of_request(call: &Call<'_>) -> Result<Tags, AwsError> {
    let tags = call.form.pairs("Tags", "Key", "Value")?;
    if let Some(key) = tags.keys().find(|key| key.starts_with("aws:") || key.len() > 128) {
        return Err(AwsError::new("InvalidParameterValue", format!("Tag key {key} is reserved or too long")));
    }
    Ok(tags)
}

fn tag_list(xml: &mut Xml, tags: &Tags) {
    xml.list("TagList", "Tag", tags, |xml, (key, value)| {
        xml.text("Key", key).text("Value", value);
    });
}

fn check_groups(region: &Region, groups: &[String]) -> Result<(), AwsError> {
    region.ec2.check_groups(groups).map_err(|error| AwsError::new("InvalidParameterValue", error.message))
}
