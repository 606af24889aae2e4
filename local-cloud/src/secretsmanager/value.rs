//! Values: each is a version of its secret, and a label stands at one version at most. What was current becomes the previous one.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    CURRENT, PREVIOUS, Secret, Version, find_live, find_own, invalid_parameter, invalid_request, not_found,
};
use crate::cloud::uuid;
use crate::json::{Answer, Call, Document, Operation};
use crate::query::{Access, AwsError};
use crate::time::Time;

pub(super) const OPERATIONS: &[Operation] = &[
    ("GetSecretValue", Access::Read, get_secret_value),
    ("PutSecretValue", Access::Change, put_secret_value),
    ("UpdateSecret", Access::Change, update_secret),
    ("RotateSecret", Access::Change, rotate_secret),
];

/// Secrets Manager User Guide, "Quotas": the largest value.
const LARGEST: usize = 65_536;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Content {
    #[serde(rename = "SecretString")]
    Text(String),
    /// In base64, as it comes and goes.
    #[serde(rename = "SecretBinary")]
    Binary(String),
}

impl Content {
    pub(super) fn of_request(document: &Document) -> Result<Option<Content>, AwsError> {
        let text = document.text("SecretString")?.map(|text| Content::Text(text.to_owned()));
        let binary = document.text("SecretBinary")?.map(|bytes| Content::Binary(bytes.to_owned()));
        if text.is_some() && binary.is_some() {
            return Err(invalid_parameter(
                "You can't specify both a binary secret value and a string secret value.",
            ));
        }
        let content = text.or(binary);
        match &content {
            Some(Content::Text(value) | Content::Binary(value)) if !(1..=LARGEST).contains(&value.len()) => {
                Err(invalid_parameter(format!("The secret value must have 1 to {LARGEST} bytes")))
            }
            _ => Ok(content),
        }
    }
}

impl Secret {
    /// Puts a value under the labels. The same token with the same value again has done it already.
    pub(crate) fn put(
        &mut self,
        token: Option<&str>,
        content: Content,
        labels: &[String],
    ) -> Result<String, AwsError> {
        let id = token.map_or_else(uuid, str::to_owned);
        if !(32..=64).contains(&id.len()) {
            return Err(invalid_parameter("ClientRequestToken must be 32-64 characters long."));
        }
        if let Some(known) = self.versions.get(&id) {
            if known.content == content {
                return Ok(id);
            }
            return Err(AwsError::new(
                "ResourceExistsException",
                format!(
                    "You can't use ClientRequestToken {id} because that value is already in use for a version of secret {}.",
                    self.arn
                ),
            ));
        }
        let mut placed: BTreeSet<String> = labels.iter().cloned().collect();
        if placed.is_empty() || self.versions.is_empty() {
            placed.insert(CURRENT.to_owned());
        }
        let replaces_current = placed.contains(CURRENT);
        for version in self.versions.values_mut() {
            let was_current = version.labels.contains(CURRENT);
            if replaces_current {
                version.labels.remove(PREVIOUS);
            }
            version.labels.retain(|label| !placed.contains(label));
            if replaces_current && was_current {
                version.labels.insert(PREVIOUS.to_owned());
            }
        }
        // A version without a label cannot be asked for by one, and the service removes it some day.
        self.versions.retain(|_, version| !version.labels.is_empty());
        self.changed = Time::now();
        self.versions.insert(id.clone(), Version { content, labels: placed, created: self.changed });
        Ok(id)
    }

    pub(super) fn versions_to_labels(&self) -> Value {
        let labels = self.versions.iter().map(|(id, version)| (id.clone(), json!(version.labels)));
        Value::Object(labels.collect())
    }
}

fn get_secret_value(call: &mut Call<'_>) -> Answer {
    let document = call.document;
    let (id, label) = (document.text("VersionId")?, document.text("VersionStage")?);
    let secret = find_live(call)?;
    let label = label.or(if id.is_none() { Some(CURRENT) } else { None });
    let found = secret.versions.iter().find(|(known, version)| {
        id.is_none_or(|id| id == *known) && label.is_none_or(|label| version.labels.contains(label))
    });
    let (id, version) = found.ok_or_else(|| match (id, label) {
        (None, Some(label)) => not_found(&format!("secret value for staging label: {label}")),
        (Some(id), _) => not_found(&format!("secret value for VersionId: {id}")),
        (None, None) => not_found("secret value"),
    })?;
    let mut answer = json!({
        "ARN": secret.arn, "Name": secret.name, "VersionId": id, "VersionStages": version.labels,
        "CreatedDate": version.created.seconds(),
    });
    match &version.content {
        Content::Text(text) => answer["SecretString"] = json!(text),
        Content::Binary(bytes) => answer["SecretBinary"] = json!(bytes),
    }
    Ok(answer)
}

fn put_secret_value(call: &mut Call<'_>) -> Answer {
    let document = call.document;
    let content = Content::of_request(document)?
        .ok_or_else(|| invalid_request("You must provide either SecretString or SecretBinary."))?;
    let (token, labels) = (document.text("ClientRequestToken")?, document.list("VersionStages")?);
    let secret = find_own(call)?;
    let id = secret.put(token, content, &labels)?;
    let labels = secret.versions.get(&id).map(|version| version.labels.clone()).unwrap_or_default();
    Ok(json!({ "ARN": secret.arn, "Name": secret.name, "VersionId": id, "VersionStages": labels }))
}

/// Another description or key, and a new value where one is given.
fn update_secret(call: &mut Call<'_>) -> Answer {
    let document = call.document;
    let content = Content::of_request(document)?;
    let token = document.text("ClientRequestToken")?;
    let (description, key) = (document.text("Description")?, document.text("KmsKeyId")?);
    let secret = find_own(call)?;
    if let Some(description) = description {
        secret.description = Some(description.to_owned());
    }
    if let Some(key) = key {
        secret.key = Some(key.to_owned());
    }
    secret.changed = Time::now();
    let mut answer = json!({ "ARN": secret.arn, "Name": secret.name });
    if let Some(content) = content {
        answer["VersionId"] = json!(secret.put(token, content, &[])?);
    }
    Ok(answer)
}

/// Only what RDS keeps is rotated: there are no functions here that could rotate anything else.
fn rotate_secret(call: &mut Call<'_>) -> Answer {
    let document = call.document;
    let at_once = document.typed("RotateImmediately", "true or false", Value::as_bool)?.unwrap_or(true);
    // A second request with the same token finds the version of the first one, as with every other value.
    let token = document.text("ClientRequestToken")?.map(str::to_owned);
    let secret = find_live(call)?;
    if secret.owner.is_none() {
        return Err(invalid_request(format!(
            "The local cloud has no function that could rotate {}: it rotates what RDS manages",
            secret.name
        )));
    }
    let arn = secret.arn.clone();
    if at_once && !token.as_ref().is_some_and(|token| secret.versions.contains_key(token)) {
        call.region.rotate_master_password(&arn, token.as_deref())?;
    }
    let secret = call.region.secretsmanager.by_arn(&arn).ok_or_else(|| not_found("secret"))?;
    let current = secret.versions.iter().find(|(_, version)| version.labels.contains(CURRENT));
    Ok(json!({ "ARN": secret.arn, "Name": secret.name, "VersionId": current.map(|(id, _)| id) }))
}
