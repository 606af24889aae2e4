//! Topics, their attributes and tags.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{invalid, not_found, required, topic, topic_arn};
use crate::cloud::ACCOUNT;
use crate::query::{Access, Answer, AwsError, Call, Operation};
use crate::select::SNS_PAGES;
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("CreateTopic", Access::Change, create_topic),
    ("DeleteTopic", Access::Change, delete_topic),
    ("ListTopics", Access::Read, list_topics),
    ("GetTopicAttributes", Access::Read, get_topic_attributes),
    ("SetTopicAttributes", Access::Change, set_topic_attributes),
    ("TagResource", Access::Change, tag_resource),
    ("UntagResource", Access::Change, untag_resource),
    ("ListTagsForResource", Access::Read, list_tags_for_resource),
];

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Topic {
    pub(super) arn: String,
    attributes: BTreeMap<String, String>,
    tags: BTreeMap<String, String>,
}

const ATTRIBUTES: &[&str] =
    &["DisplayName", "Policy", "DeliveryPolicy", "KmsMasterKeyId", "SignatureVersion", "TracingConfig"];

fn check_attribute(name: &str) -> Result<(), AwsError> {
    if ATTRIBUTES.contains(&name) {
        return Ok(());
    }
    Err(invalid(format!("AttributeName Reason: {name} is not one that the local cloud has")))
}

/// The same name with the same attributes and tags is the same topic; with others it is refused.
fn create_topic(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let name = required(form, "Name")?;
    let fits =
        name.len() <= 256 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if !fits {
        return Err(invalid(
            "Topic Name (letters, digits, hyphens and underscores, at most 256; no FIFO topics)",
        ));
    }
    let attributes = form.pairs("Attributes", "key", "value")?;
    let tags = form.pairs("Tags", "Key", "Value")?;
    attributes.keys().try_for_each(|name| check_attribute(name))?;
    let arn = topic_arn(call.region_name, name);
    if let Some(existing) = call.region.sns.topics.get(&arn) {
        if attributes.iter().any(|(name, value)| existing.attributes.get(name) != Some(value)) {
            return Err(invalid("Attributes Reason: Topic already exists with different attributes"));
        }
        if !tags.is_empty() && tags != existing.tags {
            return Err(invalid("Tags Reason: Topic already exists with different tags"));
        }
    } else {
        call.region.sns.topics.insert(arn.clone(), Topic { arn: arn.clone(), attributes, tags });
    }
    let mut xml = Xml::new();
    xml.text("TopicArn", arn);
    Ok(xml)
}

/// Deleting a topic that is not there succeeds; its subscriptions go with it.
fn delete_topic(call: &mut Call<'_>) -> Answer {
    let arn = required(call.form, "TopicArn")?;
    call.region.sns.topics.remove(arn);
    call.region.sns.subscriptions.retain(|_, subscription| subscription.topic != arn);
    Ok(Xml::new())
}

fn list_topics(call: &mut Call<'_>) -> Answer {
    let arns = call.region.sns.topics.keys().collect();
    let (page, next) = SNS_PAGES.page(call.form, arns)?;
    let mut xml = Xml::new();
    xml.list("Topics", "member", page, |xml, arn: &String| {
        xml.text("TopicArn", arn);
    });
    xml.optional("NextToken", next);
    Ok(xml)
}

fn get_topic_attributes(call: &mut Call<'_>) -> Answer {
    let topic = topic(call)?.clone();
    let of_topic = |confirmed: bool| {
        let subscriptions = call.region.sns.subscriptions.values();
        subscriptions.filter(|one| one.topic == topic.arn && one.confirmed() == confirmed).count().to_string()
    };
    // The policy that a topic is born with: its owner may do everything.
    let policy = json!({
        "Version": "2008-10-17",
        "Id": "__default_policy_ID",
        "Statement": [{
            "Sid": "__default_statement_ID", "Effect": "Allow", "Principal": { "AWS": "*" },
            "Action": ["SNS:GetTopicAttributes", "SNS:SetTopicAttributes", "SNS:AddPermission", "SNS:RemovePermission",
                       "SNS:DeleteTopic", "SNS:Subscribe", "SNS:ListSubscriptionsByTopic", "SNS:Publish"],
            "Resource": topic.arn, "Condition": { "StringEquals": { "AWS:SourceOwner": ACCOUNT } },
        }],
    });
    let mut attributes = BTreeMap::from([
        ("TopicArn".to_string(), topic.arn.clone()),
        ("Owner".to_string(), ACCOUNT.to_string()),
        ("DisplayName".to_string(), String::new()),
        ("Policy".to_string(), policy.to_string()),
        ("SubscriptionsConfirmed".to_string(), of_topic(true)),
        ("SubscriptionsPending".to_string(), of_topic(false)),
        ("SubscriptionsDeleted".to_string(), "0".to_string()),
    ]);
    attributes.extend(topic.attributes);
    Ok(attributes_xml(&attributes))
}

pub(super) fn attributes_xml(attributes: &BTreeMap<String, String>) -> Xml {
    let mut xml = Xml::new();
    xml.list("Attributes", "entry", attributes, |xml, (key, value)| {
        xml.text("key", key).text("value", value);
    });
    xml
}

fn set_topic_attributes(call: &mut Call<'_>) -> Answer {
    let name = required(call.form, "AttributeName")?;
    let value = call.form.get("AttributeValue").unwrap_or_default();
    check_attribute(name)?;
    topic(call)?.attributes.insert(name.to_string(), value.to_string());
    Ok(Xml::new())
}

fn tags<'a>(call: &'a mut Call<'_>) -> Result<&'a mut BTreeMap<String, String>, AwsError> {
    let arn = required(call.form, "ResourceArn")?;
    let topic = call.region.sns.topics.get_mut(arn).map(|topic| &mut topic.tags);
    topic.ok_or_else(|| AwsError { code: "ResourceNotFound".into(), ..not_found("Resource") })
}

fn tag_resource(call: &mut Call<'_>) -> Answer {
    let added = call.form.pairs("Tags", "Key", "Value")?;
    tags(call)?.extend(added);
    Ok(Xml::new())
}

fn untag_resource(call: &mut Call<'_>) -> Answer {
    let keys = call.form.list("TagKeys");
    tags(call)?.retain(|key, _| !keys.contains(key));
    Ok(Xml::new())
}

fn list_tags_for_resource(call: &mut Call<'_>) -> Answer {
    let mut xml = Xml::new();
    xml.list("Tags", "member", tags(call)?.iter(), |xml, (key, value)| {
        xml.text("Key", key).text("Value", value);
    });
    Ok(xml)
}
