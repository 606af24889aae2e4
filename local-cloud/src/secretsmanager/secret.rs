//! Secrets as things: made, described, listed, tagged, deleted with a recovery window, and brought back within it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    Content, Deletion, Order, Secret, find, find_live, find_own, invalid_parameter, invalid_request,
};
use crate::json::{Answer, Call, Operation};
use crate::query::{Access, AwsError};
use crate::time::Time;

pub(super) const OPERATIONS: &[Operation] = &[
    ("CreateSecret", Access::Change, create_secret),
    ("DescribeSecret", Access::Read, describe_secret),
    ("ListSecrets", Access::Read, list_secrets),
    ("DeleteSecret", Access::Change, delete_secret),
    ("RestoreSecret", Access::Change, restore_secret),
    ("TagResource", Access::Change, tag_resource),
    ("UntagResource", Access::Change, untag_resource),
];

const DAY: Duration = Duration::from_secs(24 * 3600);
/// RDS User Guide, "Password management with Amazon RDS and AWS Secrets Manager".
pub(crate) const ROTATED_AFTER_DAYS: u32 = 7;

impl Secret {
    fn described(&self) -> Value {
        let mut answer = json!({
            "ARN": self.arn, "Name": self.name, "CreatedDate": self.created.seconds(),
            "LastChangedDate": self.changed.seconds(),
            "Tags": self.tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect::<Vec<_>>(),
        });
        let more = [
            ("Description", self.description.as_ref().map(|text| json!(text))),
            ("KmsKeyId", self.key.as_ref().map(|key| json!(key))),
            ("OwningService", self.owner.as_ref().map(|owner| json!(owner))),
            ("DeletedDate", self.deletion.as_ref().map(|deletion| json!(deletion.asked.seconds()))),
            ("RotationEnabled", self.rotated.map(|_| json!(true))),
            ("RotationRules", self.rotated.map(|_| json!({ "AutomaticallyAfterDays": ROTATED_AFTER_DAYS }))),
            ("LastRotatedDate", self.rotated.map(|time| json!(time.seconds()))),
            (
                "NextRotationDate",
                self.rotated.map(|time| json!(time.after(DAY * ROTATED_AFTER_DAYS).seconds())),
            ),
        ];
        for (name, value) in more {
            if let Some(value) = value {
                answer[name] = value;
            }
        }
        answer
    }

    pub(crate) fn is_due(&self) -> bool {
        self.rotated.is_some_and(|rotated| rotated.after(DAY * ROTATED_AFTER_DAYS).is_past())
    }
}

fn create_secret(call: &mut Call<'_>) -> Answer {
    let document = call.document;
    let name = document.required("Name")?.to_owned();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+=.@-!".contains(&byte);
    if !(1..=512).contains(&name.len()) || !name.bytes().all(allowed) {
        return Err(AwsError::new(
            "ValidationException",
            "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!",
        ));
    }
    if !document.documents("AddReplicaRegions")?.is_empty() {
        return Err(invalid_parameter("The local cloud does not replicate secrets to other regions"));
    }
    let content = Content::of_request(document)?;
    let token = document.text("ClientRequestToken")?;
    let text = |member: &str| document.text(member).map(|found| found.map(str::to_owned));
    let order = Order {
        name: name.clone(),
        description: text("Description")?,
        key: text("KmsKeyId")?,
        owner: None,
        tags: document.tags("Tags")?,
    };
    let state = &mut call.region.secretsmanager;
    state.bury();
    match state.secrets.get(&name) {
        Some(known) if known.deletion.is_some() => {
            return Err(invalid_request(
                "You can't create this secret because a secret with this name is already scheduled for deletion.",
            ));
        }
        // The answer to a first attempt was lost.
        Some(known)
            if token.is_some_and(|token| {
                known.versions.get(token).is_some_and(|version| Some(&version.content) == content.as_ref())
            }) =>
        {
            return Ok(json!({ "ARN": known.arn, "Name": known.name, "VersionId": token }));
        }
        Some(_) => {
            return Err(AwsError::new(
                "ResourceExistsException",
                format!("The operation failed because the secret {name} already exists."),
            ));
        }
        None => {}
    }
    let secret = state.add(call.region_name, order);
    let mut answer = json!({ "ARN": secret.arn, "Name": secret.name });
    if let Some(content) = content {
        answer["VersionId"] = json!(secret.put(token, content, &[])?);
    }
    Ok(answer)
}

fn describe_secret(call: &mut Call<'_>) -> Answer {
    let secret = find(call)?;
    let mut answer = secret.described();
    answer["VersionIdsToStages"] = secret.versions_to_labels();
    Ok(answer)
}

fn list_secrets(call: &mut Call<'_>) -> Answer {
    let document = call.document;
    let all = document.flag("IncludePlannedDeletion")?;
    let newest_first = match document.text("SortOrder")? {
        None | Some("desc") => true,
        Some("asc") => false,
        Some(other) => return Err(invalid_parameter(format!("SortOrder must be asc or desc, not {other}"))),
    };
    call.region.secretsmanager.bury();
    let mut found: Vec<&Secret> = call.region.secretsmanager.secrets.values().collect();
    found.retain(|secret| all || secret.deletion.is_none());
    for filter in document.documents("Filters")? {
        let key = filter.required("Key")?;
        if !matches!(key, "name" | "description" | "tag-key" | "tag-value" | "owning-service") {
            return Err(invalid_parameter(format!(
                "The local cloud does not have the filter {key}: it has name, description, tag-key, tag-value, owning-service"
            )));
        }
        let values = filter.list("Values")?;
        found.retain(|secret| {
            let of: Vec<&str> = match key {
                "name" => vec![&secret.name],
                "description" => secret.description.as_deref().into_iter().collect(),
                "tag-key" => secret.tags.keys().map(String::as_str).collect(),
                "tag-value" => secret.tags.values().map(String::as_str).collect(),
                _ => secret.owner.as_deref().into_iter().collect(),
            };
            // A value is the beginning of what it looks for; `!` before it means all others.
            values.iter().any(|value| match value.strip_prefix('!') {
                Some(unwanted) => !of.iter().any(|text| text.starts_with(unwanted)),
                None => of.iter().any(|text| text.starts_with(value.as_str())),
            })
        });
    }
    found.sort_by_key(|secret| (secret.created, &secret.name));
    if newest_first {
        found.reverse();
    }
    let (page, next) = document.page(found, 100)?;
    let described = page.into_iter().map(|secret| {
        let mut described = secret.described();
        described["SecretVersionsToStages"] = secret.versions_to_labels();
        described
    });
    let mut answer = json!({ "SecretList": described.collect::<Vec<_>>() });
    if let Some(next) = next {
        answer["NextToken"] = json!(next);
    }
    Ok(answer)
}

fn delete_secret(call: &mut Call<'_>) -> Answer {
    let document = call.document;
    let days = document.number("RecoveryWindowInDays")?;
    let at_once = document.flag("ForceDeleteWithoutRecovery")?;
    if at_once && days.is_some() {
        return Err(invalid_parameter(
            "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.",
        ));
    }
    let days =
        u32::try_from(days.unwrap_or(30)).ok().filter(|days| (7..=30).contains(days)).ok_or_else(|| {
            invalid_parameter("RecoveryWindowInDays value must be between 7 and 30 days (inclusive).")
        })?;
    let now = Time::now();
    if at_once {
        let id = document.required("SecretId")?;
        let secret = match find(call) {
            Ok(secret) => secret,
            // What is to be gone at once, and is not there, is gone.
            Err(error) if error.code == "ResourceNotFoundException" => {
                return Ok(json!({ "ARN": id, "Name": id, "DeletionDate": now.seconds() }));
            }
            Err(error) => return Err(error),
        };
        if secret.deletion.is_none() {
            find_own(call)?;
        }
        let secret = find(call)?;
        let (name, arn) = (secret.name.clone(), secret.arn.clone());
        call.region.secretsmanager.secrets.remove(&name);
        return Ok(json!({ "ARN": arn, "Name": name, "DeletionDate": now.seconds() }));
    }
    if find(call)?.deletion.is_some() {
        return Err(invalid_request(
            "You can't perform this operation on the secret because it was already scheduled for deletion.",
        ));
    }
    let secret = find_own(call)?;
    let due = now.after(DAY * days);
    secret.deletion = Some(Deletion { asked: now, due });
    Ok(json!({ "ARN": secret.arn, "Name": secret.name, "DeletionDate": due.seconds() }))
}

fn restore_secret(call: &mut Call<'_>) -> Answer {
    let secret = find(call)?;
    secret.deletion = None;
    Ok(json!({ "ARN": secret.arn, "Name": secret.name }))
}

fn tag_resource(call: &mut Call<'_>) -> Answer {
    let added = call.document.tags("Tags")?;
    find_live(call)?.tags.extend(added);
    Ok(json!({}))
}

fn untag_resource(call: &mut Call<'_>) -> Answer {
    let keys = call.document.list("TagKeys")?;
    find_live(call)?.tags.retain(|key, _| !keys.contains(key));
    Ok(json!({}))
}
