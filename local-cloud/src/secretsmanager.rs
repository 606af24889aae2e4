//! Secrets Manager: secrets, the versions of their values, and the labels that say which version is current. One that is deleted can be
//! brought back until its recovery window ends. Values are kept in the state file like all else (mode 0600).
//!
//! A secret that RDS keeps for a database (`rds::master_secret`) is read and rotated here, and changed by RDS alone.

mod secret;
mod value;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::cloud::{ACCOUNT, uuid};
use crate::json::{Call, Service};
use crate::query::AwsError;
use crate::time::Time;

pub(crate) use value::Content;

pub(crate) const SERVICE: Service = Service {
    name: "secretsmanager",
    target: "secretsmanager",
    content_type: "application/x-amz-json-1.1",
    operations: &[secret::OPERATIONS, value::OPERATIONS],
    invalid: "InvalidParameterException",
    modelled: None,
};

const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    /// By name.
    secrets: BTreeMap<String, Secret>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Secret {
    name: String,
    arn: String,
    description: Option<String>,
    pub(crate) key: Option<String>,
    /// The service that keeps it, such as `rds`.
    owner: Option<String>,
    versions: BTreeMap<String, Version>,
    tags: BTreeMap<String, String>,
    created: Time,
    changed: Time,
    pub(crate) rotated: Option<Time>,
    /// When it is gone for good, once somebody has deleted it.
    deletion: Option<Deletion>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Deletion {
    asked: Time,
    due: Time,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Version {
    content: Content,
    labels: BTreeSet<String>,
    created: Time,
}

/// A secret as somebody asks for it: its value is not there yet.
pub(crate) struct Order {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) owner: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
}

impl State {
    /// What has outlived its recovery window is gone.
    fn bury(&mut self) {
        let gone = |secret: &Secret| secret.deletion.as_ref().is_some_and(|deletion| deletion.due.is_past());
        self.secrets.retain(|_, secret| !gone(secret));
    }

    pub(crate) fn add(&mut self, region: &str, order: Order) -> &mut Secret {
        // Six characters that nobody can foresee: a policy for one secret never fits another one of the same name.
        let suffix: String = uuid().chars().filter(char::is_ascii_alphanumeric).take(6).collect();
        let now = Time::now();
        let secret = Secret {
            arn: format!("arn:aws:secretsmanager:{region}:{ACCOUNT}:secret:{}-{suffix}", order.name),
            name: order.name.clone(),
            description: order.description,
            key: order.key,
            rotated: order.owner.as_ref().map(|_| now),
            owner: order.owner,
            versions: BTreeMap::new(),
            tags: order.tags,
            created: now,
            changed: now,
            deletion: None,
        };
        self.secrets.entry(order.name).insert_entry(secret).into_mut()
    }

    pub(crate) fn by_arn(&self, arn: &str) -> Option<&Secret> {
        self.secrets.values().find(|secret| secret.arn == arn)
    }

    pub(crate) fn by_arn_mut(&mut self, arn: &str) -> Option<&mut Secret> {
        self.secrets.values_mut().find(|secret| secret.arn == arn)
    }

    pub(crate) fn remove(&mut self, arn: &str) {
        self.secrets.retain(|_, secret| secret.arn != arn);
    }
}

impl Secret {
    pub(crate) fn arn(&self) -> &str {
        &self.arn
    }

    /// The secret that a request names: by its name, its ARN, or its ARN without the last seven characters.
    fn is_named(&self, id: &str) -> bool {
        self.name == id || self.arn == id || self.arn.rsplit_once('-').is_some_and(|(start, _)| start == id)
    }
}

fn not_found(what: &str) -> AwsError {
    AwsError::new("ResourceNotFoundException", format!("Secrets Manager can't find the specified {what}."))
}

fn invalid_request(message: impl Into<String>) -> AwsError {
    AwsError::new("InvalidRequestException", message)
}

fn invalid_parameter(message: impl Into<String>) -> AwsError {
    AwsError::new("InvalidParameterException", message)
}

/// The secret that `SecretId` names, deleted or not.
fn find<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Secret, AwsError> {
    let id = call.document.required("SecretId")?;
    let state = &mut call.region.secretsmanager;
    state.bury();
    state.secrets.values_mut().find(|secret| secret.is_named(id)).ok_or_else(|| not_found("secret"))
}

/// As [`find`], unless it is deleted.
fn find_live<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Secret, AwsError> {
    let secret = find(call)?;
    if secret.deletion.is_some() {
        return Err(invalid_request(
            "You can't perform this operation on the secret because it was marked for deletion.",
        ));
    }
    Ok(secret)
}

/// As [`find_live`], unless a service keeps it.
fn find_own<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Secret, AwsError> {
    let secret = find_live(call)?;
    if let Some(owner) = &secret.owner {
        return Err(invalid_request(format!(
            "You can't perform this operation on the secret {} because {owner} manages it",
            secret.name
        )));
    }
    Ok(secret)
}
