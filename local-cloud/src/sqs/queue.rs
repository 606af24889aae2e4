//! Queues: their attributes, which are checked as AWS checks them, and their tags.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Message, arn, no_such_queue, queue, queue_name, url};
use crate::json::{Answer, Call, Operation};
use crate::query::{Access, AwsError};
use crate::time::Time;

pub(super) const OPERATIONS: &[Operation] = &[
    ("CreateQueue", Access::Change, create_queue),
    ("DeleteQueue", Access::Change, delete_queue),
    ("GetQueueUrl", Access::Read, get_queue_url),
    ("ListDeadLetterSourceQueues", Access::Read, list_dead_letter_source_queues),
    ("ListQueues", Access::Read, list_queues),
    ("GetQueueAttributes", Access::Read, get_queue_attributes),
    ("SetQueueAttributes", Access::Change, set_queue_attributes),
    ("TagQueue", Access::Change, tag_queue),
    ("UntagQueue", Access::Change, untag_queue),
    ("ListQueueTags", Access::Read, list_queue_tags),
];

/// A deleted queue's name cannot be used for 60 s (SQS API reference, CreateQueue).
const NAME_BLOCKED: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Queue {
    pub(crate) name: String,
    pub(crate) arn: String,
    attributes: BTreeMap<String, String>,
    tags: BTreeMap<String, String>,
    created: Time,
    modified: Time,
    pub(super) purged: Option<Time>,
    /// Kept in the log, not in the state; shared, so that a queue is copied without what it holds.
    #[serde(skip)]
    pub(super) messages: Arc<Vec<Arc<Message>>>,
}

/// The attributes that can be set: name, default, smallest and largest value.
const NUMBERS: &[(&str, i64, i64, i64)] = &[
    ("VisibilityTimeout", 30, 0, 43_200),
    ("DelaySeconds", 0, 0, 900),
    ("MaximumMessageSize", 1_048_576, 1024, 1_048_576),
    ("MessageRetentionPeriod", 345_600, 60, 1_209_600),
    ("ReceiveMessageWaitTimeSeconds", 0, 0, 20),
];
const TEXTS: &[&str] = &[
    "Policy",
    "RedrivePolicy",
    "RedriveAllowPolicy",
    "KmsMasterKeyId",
    "KmsDataKeyReusePeriodSeconds",
    "SqsManagedSseEnabled",
];
const COUNTED: &[&str] = &[
    "QueueArn",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
];

impl Queue {
    fn number(&self, name: &str) -> i64 {
        let default =
            NUMBERS.iter().find(|(known, ..)| *known == name).map_or(0, |(_, default, ..)| *default);
        self.attributes.get(name).and_then(|value| value.parse().ok()).unwrap_or(default)
    }

    pub(super) fn visibility_timeout_s(&self) -> i64 {
        self.number("VisibilityTimeout")
    }

    pub(super) fn delay_s(&self) -> i64 {
        self.number("DelaySeconds")
    }

    pub(super) fn maximum_message_bytes(&self) -> i64 {
        self.number("MaximumMessageSize")
    }

    pub(super) fn receive_wait_s(&self) -> i64 {
        self.number("ReceiveMessageWaitTimeSeconds")
    }

    pub(super) fn retention(&self) -> Duration {
        Duration::from_secs(u64::try_from(self.number("MessageRetentionPeriod")).unwrap_or(0))
    }

    pub(crate) fn policy(&self) -> Option<&str> {
        self.attributes.get("Policy").map(String::as_str)
    }

    /// The dead-letter queue's ARN and how often a message may be received before it goes there.
    pub(super) fn redrive(&self) -> Option<(String, i64)> {
        redrive(self.attributes.get("RedrivePolicy")?)
    }

    fn takes_dead_letters_of(&self, source: &str) -> bool {
        let policy = self.attributes.get("RedriveAllowPolicy").and_then(|policy| redrive_allowed(policy));
        match policy {
            None | Some(RedriveAllowed::All) => true,
            Some(RedriveAllowed::None) => false,
            Some(RedriveAllowed::By(arns)) => arns.iter().any(|arn| arn == source),
        }
    }

    fn all_attributes(&self) -> BTreeMap<String, String> {
        let mut all = self.attributes.clone();
        for (name, default, ..) in NUMBERS {
            all.entry(name.to_string()).or_insert_with(|| default.to_string());
        }
        all.entry("SqsManagedSseEnabled".into()).or_insert_with(|| "true".into());
        let [visible, in_flight, delayed] = self.counts();
        all.extend([
            ("QueueArn".to_string(), self.arn.clone()),
            ("CreatedTimestamp".to_string(), self.created.seconds().to_string()),
            ("LastModifiedTimestamp".to_string(), self.modified.seconds().to_string()),
            ("ApproximateNumberOfMessages".to_string(), visible.to_string()),
            ("ApproximateNumberOfMessagesNotVisible".to_string(), in_flight.to_string()),
            ("ApproximateNumberOfMessagesDelayed".to_string(), delayed.to_string()),
        ]);
        all
    }
}

fn redrive(policy: &str) -> Option<(String, i64)> {
    let policy: Value = serde_json::from_str(policy).ok()?;
    let count = &policy["maxReceiveCount"];
    let count = count.as_i64().or_else(|| count.as_str()?.parse().ok())?;
    Some((policy["deadLetterTargetArn"].as_str()?.to_string(), count))
}

/// Which queues may name this one as their dead-letter queue.
enum RedriveAllowed {
    All,
    None,
    By(Vec<String>),
}

fn redrive_allowed(policy: &str) -> Option<RedriveAllowed> {
    let policy: Value = serde_json::from_str(policy).ok()?;
    let arns: Option<Vec<String>> = match &policy["sourceQueueArns"] {
        Value::Null => None,
        arns => {
            Some(arns.as_array()?.iter().map(|arn| Some(arn.as_str()?.to_string())).collect::<Option<_>>()?)
        }
    };
    match (policy["redrivePermission"].as_str()?, arns) {
        ("allowAll", None) => Some(RedriveAllowed::All),
        ("denyAll", None) => Some(RedriveAllowed::None),
        ("byQueue", Some(arns)) if (1..=10).contains(&arns.len()) => Some(RedriveAllowed::By(arns)),
        _ => None,
    }
}

/// `source` is the ARN of the queue that is to have these attributes.
fn check_attributes(
    call: &Call<'_>,
    source: &str,
    attributes: &BTreeMap<String, String>,
) -> Result<(), AwsError> {
    let bad = |name: &str, value: &str| {
        AwsError::new("InvalidAttributeValue", format!("Invalid value for the parameter {name}: {value}"))
    };
    for (name, value) in attributes {
        if let Some((_, _, smallest, largest)) = NUMBERS.iter().find(|(known, ..)| known == name) {
            if !value.parse().is_ok_and(|value: i64| (*smallest..=*largest).contains(&value)) {
                return Err(bad(name, &format!("{value} (expected {smallest} to {largest})")));
            }
        } else if name == "Policy" {
            let is_policy =
                |text: &str| serde_json::from_str::<Value>(text).is_ok_and(|policy| policy.is_object());
            if !value.is_empty() && !is_policy(value) {
                return Err(bad(name, "it is not a JSON object"));
            }
        } else if name == "RedrivePolicy" {
            if value.is_empty() {
                continue;
            }
            let Some((target, 1..=1000)) = redrive(value) else {
                return Err(bad(name, "expected deadLetterTargetArn and maxReceiveCount (1 to 1000)"));
            };
            let Some(target) = call.region.sqs.queues.values().find(|queue| queue.arn == target) else {
                return Err(bad(name, &format!("the dead-letter queue {target} does not exist")));
            };
            if !target.takes_dead_letters_of(source) {
                return Err(AwsError::new(
                    "InvalidParameterValue",
                    format!("The RedriveAllowPolicy of {} does not allow {source}", target.arn),
                ));
            }
        } else if name == "RedriveAllowPolicy" {
            if !value.is_empty() && redrive_allowed(value).is_none() {
                return Err(bad(
                    name,
                    "expected redrivePermission allowAll, denyAll, or byQueue with 1 to 10 sourceQueueArns",
                ));
            }
        } else if matches!(name.as_str(), "FifoQueue" | "ContentBasedDeduplication") {
            return Err(AwsError::new(
                "InvalidAttributeName",
                format!("Unknown Attribute {name}: the local cloud has standard queues"),
            ));
        } else if !TEXTS.contains(&name.as_str()) {
            return Err(AwsError::new("InvalidAttributeName", format!("Unknown Attribute {name}.")));
        }
    }
    Ok(())
}

fn create_queue(call: &mut Call<'_>) -> Answer {
    let document = call.document;
    let name = document.required("QueueName")?.to_string();
    let attributes = document.map("Attributes")?;
    // The model calls them `tags` here and `Tags` elsewhere.
    let tags = document.map("tags")?;
    let fits = (1..=80).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if !fits {
        return Err(AwsError::new(
            "InvalidParameterValue",
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length (the local cloud has no FIFO queues)",
        ));
    }
    check_attributes(call, &arn(call.region_name, &name), &attributes)?;
    let answer = json!({ "QueueUrl": url(call.cloud, &name) });
    let sqs = &mut call.region.sqs;
    if let Some(existing) = sqs.queues.get(&name) {
        let current = existing.all_attributes();
        if let Some((other, _)) = attributes.iter().find(|(name, value)| current.get(*name) != Some(value)) {
            return Err(AwsError::new(
                "QueueAlreadyExists",
                format!(
                    "A queue already exists with the same name and a different value for attribute {other}"
                ),
            ));
        }
        return Ok(answer);
    }
    sqs.deleted.retain(|_, free| !free.is_past());
    if sqs.deleted.contains_key(&name) {
        return Err(AwsError::new(
            "AWS.SimpleQueueService.QueueDeletedRecently",
            "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
        ));
    }
    let now = Time::now();
    let arn = arn(call.region_name, &name);
    let queue = Queue {
        name: name.clone(),
        arn,
        attributes,
        tags,
        created: now,
        modified: now,
        purged: None,
        messages: Arc::default(),
    };
    sqs.queues.insert(name, queue);
    Ok(answer)
}

fn delete_queue(call: &mut Call<'_>) -> Answer {
    let name = queue_name(call.document)?;
    let sqs = &mut call.region.sqs;
    sqs.queues.remove(name).ok_or_else(no_such_queue)?;
    sqs.deleted.insert(name.to_string(), Time::now().after(NAME_BLOCKED));
    Ok(json!({}))
}

fn get_queue_url(call: &mut Call<'_>) -> Answer {
    let name = call.document.required("QueueName")?;
    let owner = call.document.text("QueueOwnerAWSAccountId")?;
    if owner.is_some_and(|owner| owner != crate::cloud::ACCOUNT) || !call.region.sqs.queues.contains_key(name)
    {
        return Err(no_such_queue());
    }
    Ok(json!({ "QueueUrl": url(call.cloud, name) }))
}

fn list_queues(call: &mut Call<'_>) -> Answer {
    let document = call.document;
    let prefix = document.text("QueueNamePrefix")?.unwrap_or_default();
    let size = document.number("MaxResults")?;
    if size.is_some_and(|size| !(1..=1000).contains(&size)) {
        return Err(AwsError::new("InvalidParameterValue", "MaxResults must be 1 to 1000"));
    }
    let after = document.text("NextToken")?;
    let names: Vec<&String> = call
        .region
        .sqs
        .queues
        .keys()
        .filter(|name| name.starts_with(prefix) && after.is_none_or(|after| name.as_str() > after))
        .collect();
    let size = usize::try_from(size.unwrap_or(1000)).unwrap_or(1000);
    let page: Vec<&&String> = names.iter().take(size).collect();
    let mut answer =
        json!({ "QueueUrls": page.iter().map(|name| url(call.cloud, name)).collect::<Vec<_>>() });
    if let Some(last) = page.last().filter(|_| names.len() > size) {
        answer["NextToken"] = json!(last);
    }
    Ok(answer)
}

fn list_dead_letter_source_queues(call: &mut Call<'_>) -> Answer {
    let target = queue(call)?.arn.clone();
    let queues = call.region.sqs.queues.values();
    let sources = queues.filter(|queue| queue.redrive().is_some_and(|(arn, _)| arn == target));
    let urls: Vec<String> = sources.map(|queue| url(call.cloud, &queue.name)).collect();
    // The model writes this member with a small letter, unlike ListQueues.
    Ok(json!({ "queueUrls": urls }))
}

fn get_queue_attributes(call: &mut Call<'_>) -> Answer {
    let names = call.document.list("AttributeNames")?;
    let all = queue(call)?.all_attributes();
    let known = |name: &str| {
        name == "All"
            || COUNTED.contains(&name)
            || TEXTS.contains(&name)
            || NUMBERS.iter().any(|(known, ..)| *known == name)
    };
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        return Err(AwsError::new("InvalidAttributeName", format!("Unknown Attribute {unknown}.")));
    }
    let wanted = |name: &String| names.iter().any(|asked| asked == "All" || asked == name);
    let attributes: Map<String, Value> =
        all.into_iter().filter(|(name, _)| wanted(name)).map(|(name, value)| (name, json!(value))).collect();
    Ok(if attributes.is_empty() { json!({}) } else { json!({ "Attributes": attributes }) })
}

fn set_queue_attributes(call: &mut Call<'_>) -> Answer {
    let attributes = call.document.map("Attributes")?;
    let source = queue(call)?.arn.clone();
    check_attributes(call, &source, &attributes)?;
    let queue = queue(call)?;
    for (name, value) in attributes {
        // An empty policy takes the policy away.
        if value.is_empty() {
            queue.attributes.remove(&name);
        } else {
            queue.attributes.insert(name, value);
        }
    }
    queue.modified = Time::now();
    Ok(json!({}))
}

fn tag_queue(call: &mut Call<'_>) -> Answer {
    let tags = call.document.map("Tags")?;
    let queue = queue(call)?;
    queue.tags.extend(tags);
    if queue.tags.len() > 50 {
        return Err(AwsError::new("InvalidParameterValue", "a queue can have at most 50 tags"));
    }
    Ok(json!({}))
}

fn untag_queue(call: &mut Call<'_>) -> Answer {
    let keys = call.document.list("TagKeys")?;
    queue(call)?.tags.retain(|key, _| !keys.contains(key));
    Ok(json!({}))
}

fn list_queue_tags(call: &mut Call<'_>) -> Answer {
    let tags = &queue(call)?.tags;
    Ok(if tags.is_empty() { json!({}) } else { json!({ "Tags": tags }) })
}
