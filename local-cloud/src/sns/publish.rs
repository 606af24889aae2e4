//! Publishing: a message goes to every subscribed queue whose policy lets the topic send, in SNS's envelope or raw.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{invalid, policy, required, topic};
use crate::cloud::{DEFAULT_REGION, fresh_id};
use crate::query::{Access, Answer, AwsError, Call, Operation};
use crate::sqs::{Attribute, Message};
use crate::time::Time;
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[("Publish", Access::Effect, publish)];

/// SNS's limit for a message with its attributes.
const MESSAGE_LIMIT: usize = 256 * 1024;

fn publish(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    if form.has("PhoneNumber") || form.has("TargetArn") {
        return Err(invalid("the local cloud publishes to a TopicArn only"));
    }
    let topic = topic(call)?.arn.clone();
    let message = required(form, "Message")?;
    let subject = form.get("Subject");
    if let Some(subject) = subject
        && (subject.is_empty()
            || subject.len() > 99
            || !subject.bytes().all(|byte| (32..127).contains(&byte)))
    {
        return Err(invalid("Subject (expected one line of up to 99 ASCII characters)"));
    }
    let body = for_queues(message, form.get("MessageStructure"))?;
    let attributes = attributes(call)?;
    if message.len() > MESSAGE_LIMIT {
        return Err(invalid("Message too long"));
    }
    let message_id = fresh_id("m");
    let subscriptions: Vec<_> = call.region.sns.subscriptions.values().cloned().collect();
    for subscription in subscriptions.iter().filter(|one| one.topic == topic && one.protocol == "sqs") {
        let queue_arn = &subscription.endpoint;
        let Some(queue) = call.region.sqs.by_arn(queue_arn) else {
            eprintln!(
                "local cloud: message {message_id} of {topic} is not delivered: there is no queue {queue_arn}"
            );
            continue;
        };
        if !policy::lets_send(queue.policy(), queue_arn, &topic) {
            eprintln!(
                "local cloud: message {message_id} of {topic} is not delivered: the policy of {queue_arn} does not allow \
                 sns.amazonaws.com to send from this topic"
            );
            continue;
        }
        let delivered = if subscription.is_raw() {
            Message::new(body.clone(), attributes.clone(), 0)
        } else {
            let mut envelope = json!({
                "Type": "Notification",
                "MessageId": message_id,
                "TopicArn": topic,
                "Message": body,
                "Timestamp": Time::now().to_string(),
                "SignatureVersion": "1",
                // Nothing here could be verified: the local cloud has none of SNS's certificates.
                "Signature": "",
                "SigningCertURL": format!("https://sns.{DEFAULT_REGION}.amazonaws.com/local-cloud-does-not-sign.pem"),
                "UnsubscribeURL": format!("{}/?Action=Unsubscribe&SubscriptionArn={}", call.cloud.endpoint, subscription.arn),
            });
            if let Some(subject) = subject {
                envelope["Subject"] = json!(subject);
            }
            if !attributes.is_empty() {
                let shown: Map<String, Value> = attributes
                    .iter()
                    .map(|(name, one)| (name.clone(), json!({ "Type": one.data_type, "Value": one.value })))
                    .collect();
                envelope["MessageAttributes"] = Value::Object(shown);
            }
            Message::new(envelope.to_string(), BTreeMap::new(), 0)
        };
        queue.push(delivered);
    }
    let mut xml = Xml::new();
    xml.text("MessageId", message_id);
    Ok(xml)
}

/// With `MessageStructure` json a message has one text per protocol.
fn for_queues(message: &str, structure: Option<&str>) -> Result<String, AwsError> {
    match structure {
        None => Ok(message.to_string()),
        Some("json") => {
            let texts: Value = serde_json::from_str(message)
                .map_err(|_| invalid("Message Structure - JSON message body failed to parse"))?;
            let text = texts["sqs"].as_str().or_else(|| texts["default"].as_str());
            text.filter(|_| texts["default"].is_string())
                .map(str::to_string)
                .ok_or_else(|| invalid("Message Structure - No default entry in JSON message body"))
        }
        Some(other) => Err(invalid(format!("MessageStructure {other}"))),
    }
}

fn attributes(call: &Call<'_>) -> Result<BTreeMap<String, Attribute>, AwsError> {
    let form = call.form;
    let mut attributes = BTreeMap::new();
    for member in form.members("MessageAttributes") {
        let name = required(form, &format!("{member}.Name"))?.to_string();
        let data_type = required(form, &format!("{member}.Value.DataType"))?.to_string();
        let kind = if data_type.starts_with("Binary") { "BinaryValue" } else { "StringValue" };
        let value = required(form, &format!("{member}.Value.{kind}"))?.to_string();
        attributes.insert(name, Attribute { data_type, value });
    }
    Ok(attributes)
}
