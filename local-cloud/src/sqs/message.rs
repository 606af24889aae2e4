//! Messages: sent, received, hidden, deleted. A message is gone only when it was deleted, expired, or purged; one that was received too
//! often moves to the dead-letter queue.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::attribute::{Attribute, attributes_md5, attributes_of, hex_md5};
use super::{Queue, no_such_queue, queue, queue_name};
use crate::cloud::fresh_id;
use crate::json::{Answer, Call, Document, Operation};
use crate::query::{Access, AwsError};
use crate::time::Time;

pub(super) const OPERATIONS: &[Operation] = &[
    ("SendMessage", Access::Effect, send_message),
    ("SendMessageBatch", Access::Effect, |call| batch(call, send_one)),
    ("ReceiveMessage", Access::Effect, receive_message),
    ("DeleteMessage", Access::Effect, delete_message),
    ("DeleteMessageBatch", Access::Effect, |call| batch(call, delete_one)),
    ("ChangeMessageVisibility", Access::Effect, change_message_visibility),
    ("ChangeMessageVisibilityBatch", Access::Effect, |call| batch(call, hide_one)),
    ("PurgeQueue", Access::Change, purge_queue),
];

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(super) id: String,
    body: String,
    attributes: BTreeMap<String, Attribute>,
    sent: Time,
    visible_at: Time,
    received: u32,
    first_received: Option<Time>,
    /// The latest receipt; an older one of the same message still deletes it, as on AWS.
    receipts: Vec<String>,
}

impl Message {
    pub(crate) fn new(body: String, attributes: BTreeMap<String, Attribute>, delay_s: i64) -> Message {
        let now = Time::now();
        let visible_at = now.after(seconds(delay_s));
        let id = fresh_id("m");
        Message {
            id,
            body,
            attributes,
            sent: now,
            visible_at,
            received: 0,
            first_received: None,
            receipts: Vec::new(),
        }
    }
}

fn seconds(count: i64) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or(0))
}

impl Queue {
    pub(crate) fn push(&mut self, message: Message) {
        Arc::make_mut(&mut self.messages).push(Arc::new(message));
    }

    pub(super) fn has_visible_message(&self) -> bool {
        self.messages.iter().any(|message| message.visible_at.is_past() && !self.is_expired(message))
    }

    fn is_expired(&self, message: &Message) -> bool {
        message.sent.after(self.retention()).is_past()
    }

    /// Hides and shows up to `most` visible messages; those that were received too often are taken out and come back apart.
    fn receive(
        &mut self,
        most: usize,
        hidden_s: i64,
        limit: Option<i64>,
        show: impl Fn(&Message, &str) -> Value,
    ) -> (Vec<Value>, Vec<Message>) {
        let retention = self.retention();
        let messages = Arc::make_mut(&mut self.messages);
        messages.retain(|message| !message.sent.after(retention).is_past());
        let (mut received, mut dead) = (Vec::new(), Vec::new());
        for message in messages.iter_mut().filter(|message| message.visible_at.is_past()) {
            if limit.is_some_and(|limit| i64::from(message.received) >= limit) {
                dead.push(Message { received: 0, receipts: Vec::new(), ..message.as_ref().clone() });
                continue;
            }
            if received.len() == most {
                break;
            }
            let now = Time::now();
            let message = Arc::make_mut(message);
            message.received += 1;
            message.first_received.get_or_insert(now);
            message.visible_at = now.after(seconds(hidden_s));
            let receipt = format!("{}:{}", self.name, fresh_id("r"));
            message.receipts.push(receipt.clone());
            received.push(show(message, &receipt));
        }
        messages.retain(|message| !dead.iter().any(|gone: &Message| gone.id == message.id));
        (received, dead)
    }

    /// Visible, in flight, delayed.
    pub(super) fn counts(&self) -> [usize; 3] {
        let mut counts = [0; 3];
        for message in self.messages.iter().filter(|message| !self.is_expired(message)) {
            let kind = match (message.visible_at.is_past(), message.received) {
                (true, _) => 0,
                (false, 0) => 2,
                (false, _) => 1,
            };
            counts[kind] += 1;
        }
        counts
    }

    fn by_receipt(&self, receipt: &str) -> Result<Option<usize>, AwsError> {
        // A receipt names its queue, so that one of a message that is gone can be told from nonsense.
        if !receipt.starts_with(&format!("{}:", self.name)) {
            return Err(AwsError::new(
                "ReceiptHandleIsInvalid",
                format!("The input receipt handle \"{receipt}\" is not a valid receipt handle."),
            ));
        }
        Ok(self.messages.iter().position(|message| message.receipts.iter().any(|known| known == receipt)))
    }
}

fn send_message(call: &mut Call<'_>) -> Answer {
    let document = call.document;
    send_one(queue(call)?, document)
}

fn send_one(queue: &mut Queue, document: &Document) -> Answer {
    let body = document.required("MessageBody")?;
    let attributes = attributes_of(document)?;
    let delay_s = document.number("DelaySeconds")?.unwrap_or(queue.delay_s());
    if !(0..=900).contains(&delay_s) {
        return Err(AwsError::new(
            "InvalidParameterValue",
            format!(
                "Value {delay_s} for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900."
            ),
        ));
    }
    let size: usize = attributes
        .iter()
        .map(|(name, attribute)| name.len() + attribute.data_type.len() + attribute.value.len())
        .sum();
    let limit = queue.maximum_message_bytes();
    if i64::try_from(body.len() + size).unwrap_or(i64::MAX) > limit {
        return Err(AwsError::new(
            "InvalidParameterValue",
            format!(
                "One or more parameters are invalid. Reason: Message must be shorter than {limit} bytes."
            ),
        ));
    }
    // What XML 1.0 cannot carry (SQS API reference, SendMessage).
    let forbidden = |character: char| matches!(character, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}');
    if body.is_empty() || body.contains(forbidden) {
        return Err(AwsError::new(
            "InvalidMessageContents",
            "The message is empty or contains characters outside the allowed set.",
        ));
    }
    let message = Message::new(body.to_string(), attributes, delay_s);
    let mut answer = json!({ "MessageId": message.id, "MD5OfMessageBody": hex_md5(body.as_bytes()) });
    if !message.attributes.is_empty() {
        answer["MD5OfMessageAttributes"] = json!(attributes_md5(&message.attributes));
    }
    queue.push(message);
    Ok(answer)
}

fn receive_message(call: &mut Call<'_>) -> Answer {
    let document = call.document;
    let range = |name: &str, limits: std::ops::RangeInclusive<i64>, default: i64| {
        let value = document.number(name)?.unwrap_or(default);
        if limits.contains(&value) {
            return Ok(value);
        }
        Err(AwsError::new(
            "InvalidParameterValue",
            format!(
                "Value {value} for parameter {name} is invalid. Reason: Must be between {} and {}, if provided.",
                limits.start(),
                limits.end()
            ),
        ))
    };
    let mut wanted_system = document.list("AttributeNames")?;
    wanted_system.extend(document.list("MessageSystemAttributeNames")?);
    let wanted = document.list("MessageAttributeNames")?;
    document.get("ReceiveRequestAttemptId");
    range("WaitTimeSeconds", 0..=20, 0)?;
    let most = usize::try_from(range("MaxNumberOfMessages", 1..=10, 1)?).unwrap_or(1);
    let queue = queue(call)?;
    let hidden_s = range("VisibilityTimeout", 0..=43_200, queue.visibility_timeout_s())?;
    let redrive = queue.redrive();
    let (received, dead) =
        queue.receive(most, hidden_s, redrive.as_ref().map(|(_, limit)| *limit), |message, receipt| {
            received_json(message, receipt, &wanted_system, &wanted)
        });
    if let Some((target, _)) = redrive {
        let home = queue.name.clone();
        // Without its dead-letter queue a message stays where it is rather than being lost.
        let target = call.region.sqs.by_arn(&target).map_or(home, |queue| queue.name.clone());
        if let Some(queue) = call.region.sqs.queues.get_mut(&target) {
            dead.into_iter().for_each(|message| queue.push(message));
        }
    }
    Ok(if received.is_empty() { json!({}) } else { json!({ "Messages": received }) })
}

fn received_json(message: &Message, receipt: &str, system: &[String], wanted: &[String]) -> Value {
    let mut answer = json!({
        "MessageId": message.id,
        "ReceiptHandle": receipt,
        "MD5OfBody": hex_md5(message.body.as_bytes()),
        "Body": message.body,
    });
    let first = message.first_received.unwrap_or(message.sent);
    let attributes: Map<String, Value> = [
        ("SenderId", crate::cloud::ACCOUNT.to_string()),
        ("SentTimestamp", message.sent.milliseconds().to_string()),
        ("ApproximateReceiveCount", message.received.to_string()),
        ("ApproximateFirstReceiveTimestamp", first.milliseconds().to_string()),
    ]
    .into_iter()
    .filter(|(name, _)| system.iter().any(|asked| asked == "All" || asked == name))
    .map(|(name, value)| (name.to_string(), json!(value)))
    .collect();
    if !attributes.is_empty() {
        answer["Attributes"] = Value::Object(attributes);
    }
    let asked_for = |name: &str| {
        wanted.iter().any(|asked| match asked.strip_suffix(".*") {
            Some(prefix) => name.starts_with(prefix),
            None => asked == "All" || asked == name,
        })
    };
    let shown: BTreeMap<String, Attribute> = message
        .attributes
        .iter()
        .filter(|(name, _)| asked_for(name))
        .map(|(name, attribute)| (name.clone(), attribute.clone()))
        .collect();
    if !shown.is_empty() {
        answer["MD5OfMessageAttributes"] = json!(attributes_md5(&shown));
        let values: Map<String, Value> = shown
            .into_iter()
            .map(|(name, attribute)| {
                let kind =
                    if attribute.data_type.starts_with("Binary") { "BinaryValue" } else { "StringValue" };
                (name, json!({ "DataType": attribute.data_type, kind: attribute.value }))
            })
            .collect();
        answer["MessageAttributes"] = Value::Object(values);
    }
    answer
}

fn delete_message(call: &mut Call<'_>) -> Answer {
    let document = call.document;
    delete_one(queue(call)?, document)
}

/// Deleting twice is fine.
fn delete_one(queue: &mut Queue, document: &Document) -> Answer {
    if let Some(position) = queue.by_receipt(document.required("ReceiptHandle")?)? {
        Arc::make_mut(&mut queue.messages).remove(position);
    }
    Ok(json!({}))
}

fn change_message_visibility(call: &mut Call<'_>) -> Answer {
    let document = call.document;
    hide_one(queue(call)?, document)
}

fn hide_one(queue: &mut Queue, document: &Document) -> Answer {
    let receipt = document.required("ReceiptHandle")?;
    let hidden_s = document.number("VisibilityTimeout")?.unwrap_or(0);
    if !(0..=43_200).contains(&hidden_s) {
        return Err(AwsError::new("InvalidParameterValue", "VisibilityTimeout must be 0 to 43200"));
    }
    let position = queue.by_receipt(receipt)?;
    let message = position.and_then(|position| Arc::make_mut(&mut queue.messages).get_mut(position));
    match message.filter(|message| !message.visible_at.is_past()) {
        Some(message) => Arc::make_mut(message).visible_at = Time::now().after(seconds(hidden_s)),
        None => {
            return Err(AwsError::new(
                "AWS.SimpleQueueService.MessageNotInflight",
                format!(
                    "Value {receipt} for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility timeout change."
                ),
            ));
        }
    }
    Ok(json!({}))
}

/// Runs one operation for each entry; an entry that fails does not stop the others.
fn batch(call: &mut Call<'_>, run: fn(&mut Queue, &Document) -> Answer) -> Answer {
    let entries = call.document.documents("Entries")?;
    let queue = queue(call)?;
    if entries.is_empty() {
        return Err(AwsError::new(
            "AWS.SimpleQueueService.EmptyBatchRequest",
            "There should be at least one entry in the request.",
        ));
    }
    if entries.len() > 10 {
        return Err(AwsError::new(
            "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
            format!("Maximum number of entries per request are 10. You have sent {}.", entries.len()),
        ));
    }
    let (mut successful, mut failed, mut seen) = (Vec::new(), Vec::new(), Vec::new());
    for entry in &entries {
        let id = entry.required("Id")?;
        if seen.contains(&id) {
            return Err(AwsError::new(
                "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
                format!("Id {id} repeated."),
            ));
        }
        seen.push(id);
        match run(queue, entry) {
            Ok(mut value) => {
                value["Id"] = json!(id);
                successful.push(value);
            }
            Err(error) => {
                failed.push(
                    json!({ "Id": id, "SenderFault": true, "Code": error.code, "Message": error.message }),
                );
            }
        }
    }
    Ok(json!({ "Successful": successful, "Failed": failed }))
}

fn purge_queue(call: &mut Call<'_>) -> Answer {
    let name = queue_name(call.document)?;
    let queue = call.region.sqs.queues.get_mut(name).ok_or_else(no_such_queue)?;
    if queue.purged.is_some_and(|purged| !purged.after(Duration::from_secs(60)).is_past()) {
        return Err(AwsError::with_status(
            403,
            "AWS.SimpleQueueService.PurgeQueueInProgress",
            format!("Only one PurgeQueue operation on {name} is allowed every 60 seconds."),
        ));
    }
    queue.purged = Some(Time::now());
    queue.messages = Arc::default();
    Ok(json!({}))
}
