//! Subscriptions. Subscribing the same endpoint twice gives the same subscription; an e-mail address stays pending, because a
//! person would have to confirm it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::topic::attributes_xml;
use super::{invalid, not_found, required, topic};
use crate::cloud::{ACCOUNT, fresh_id};
use crate::query::{Access, Answer, AwsError, Call, Operation};
use crate::select::SNS_PAGES;
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("Subscribe", Access::Change, subscribe),
    ("Unsubscribe", Access::Change, unsubscribe),
    ("ListSubscriptions", Access::Read, |call| list(call, None)),
    ("ListSubscriptionsByTopic", Access::Read, |call| {
        let arn = topic(call)?.arn.clone();
        list(call, Some(arn))
    }),
    ("GetSubscriptionAttributes", Access::Read, get_subscription_attributes),
    ("SetSubscriptionAttributes", Access::Change, set_subscription_attributes),
];

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Subscription {
    pub(super) arn: String,
    pub(super) topic: String,
    pub(super) protocol: String,
    pub(super) endpoint: String,
    pub(super) attributes: BTreeMap<String, String>,
}

impl Subscription {
    pub(super) fn confirmed(&self) -> bool {
        self.protocol == "sqs"
    }

    pub(super) fn is_raw(&self) -> bool {
        self.attributes.get("RawMessageDelivery").is_some_and(|value| value == "true")
    }
}

fn check_attribute(name: &str, value: &str) -> Result<(), AwsError> {
    match (name, value) {
        ("RawMessageDelivery", "true" | "false") => Ok(()),
        ("RawMessageDelivery", _) => Err(invalid(format!("{name} Reason: expected true or false"))),
        _ => Err(invalid(format!("AttributeName Reason: {name} is not one that the local cloud has"))),
    }
}

/// An e-mail is never without its envelope.
fn check_raw(protocol: &str, is_raw: bool) -> Result<(), AwsError> {
    if is_raw && protocol != "sqs" {
        return Err(invalid(format!(
            "Attributes Reason: Delivery protocol [{protocol}] does not support raw message delivery."
        )));
    }
    Ok(())
}

fn subscribe(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let topic = topic(call)?.arn.clone();
    let protocol = required(form, "Protocol")?;
    let endpoint = required(form, "Endpoint")?;
    let attributes = form.pairs("Attributes", "key", "value")?;
    attributes.iter().try_for_each(|(name, value)| check_attribute(name, value))?;
    match protocol {
        "sqs" if call.region.sqs.by_arn(endpoint).is_some() => {}
        "sqs" => return Err(invalid(format!("SQS endpoint ARN (there is no queue {endpoint})"))),
        "email" | "email-json" if endpoint.split('@').filter(|part| !part.is_empty()).count() == 2 => {}
        "email" | "email-json" => return Err(invalid("Email address")),
        other => return Err(invalid(format!("the local cloud does not deliver to protocol {other}"))),
    }
    let is_raw = attributes.get("RawMessageDelivery").is_some_and(|value| value == "true");
    check_raw(protocol, is_raw)?;
    let with_arn = form.flag("ReturnSubscriptionArn")?.unwrap_or(false);
    let subscriptions = &mut call.region.sns.subscriptions;
    let known = subscriptions
        .values()
        .find(|known| known.topic == topic && known.protocol == protocol && known.endpoint == endpoint);
    let subscription = match known {
        Some(known) if attributes.iter().any(|(name, value)| known.attributes.get(name) != Some(value)) => {
            return Err(invalid("Attributes Reason: Subscription already exists with different attributes"));
        }
        Some(known) => known.clone(),
        None => Subscription {
            arn: format!("{topic}:{}", fresh_id("s")),
            topic,
            protocol: protocol.to_string(),
            endpoint: endpoint.to_string(),
            attributes,
        },
    };
    let shown =
        if subscription.confirmed() || with_arn { subscription.arn.as_str() } else { "pending confirmation" };
    let mut xml = Xml::new();
    xml.text("SubscriptionArn", shown);
    subscriptions.insert(subscription.arn.clone(), subscription);
    Ok(xml)
}

fn find<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Subscription, AwsError> {
    let arn = required(call.form, "SubscriptionArn")?;
    if arn.split(':').count() != 7 {
        return Err(invalid(format!("SubscriptionArn Reason: {arn} is not the ARN of a subscription")));
    }
    call.region.sns.subscriptions.get_mut(arn).ok_or_else(|| not_found("Subscription"))
}

/// Unsubscribing twice succeeds.
fn unsubscribe(call: &mut Call<'_>) -> Answer {
    match find(call) {
        Ok(found) => {
            let arn = found.arn.clone();
            call.region.sns.subscriptions.remove(&arn);
        }
        Err(error) if error.code == "NotFound" => {}
        Err(error) => return Err(error),
    }
    Ok(Xml::new())
}

fn list(call: &mut Call<'_>, topic: Option<String>) -> Answer {
    let subscriptions = call.region.sns.subscriptions.values();
    let selected =
        subscriptions.filter(|one| topic.as_ref().is_none_or(|topic| *topic == one.topic)).collect();
    let (page, next) = SNS_PAGES.page(call.form, selected)?;
    let mut xml = Xml::new();
    xml.list("Subscriptions", "member", page, |xml, subscription: &Subscription| {
        let arn = if subscription.confirmed() { subscription.arn.as_str() } else { "PendingConfirmation" };
        xml.text("SubscriptionArn", arn)
            .text("Owner", ACCOUNT)
            .text("Protocol", &subscription.protocol)
            .text("Endpoint", &subscription.endpoint)
            .text("TopicArn", &subscription.topic);
    });
    xml.optional("NextToken", next);
    Ok(xml)
}

fn get_subscription_attributes(call: &mut Call<'_>) -> Answer {
    let subscription = find(call)?;
    let mut attributes = BTreeMap::from([
        ("SubscriptionArn", subscription.arn.clone()),
        ("TopicArn", subscription.topic.clone()),
        ("Protocol", subscription.protocol.clone()),
        ("Endpoint", subscription.endpoint.clone()),
        ("Owner", ACCOUNT.to_string()),
        ("PendingConfirmation", (!subscription.confirmed()).to_string()),
        ("ConfirmationWasAuthenticated", subscription.confirmed().to_string()),
        ("RawMessageDelivery", "false".to_string()),
    ])
    .into_iter()
    .map(|(name, value)| (name.to_string(), value))
    .collect::<BTreeMap<_, _>>();
    attributes.extend(subscription.attributes.clone());
    Ok(attributes_xml(&attributes))
}

fn set_subscription_attributes(call: &mut Call<'_>) -> Answer {
    let name = required(call.form, "AttributeName")?;
    let value = call.form.get("AttributeValue").unwrap_or_default();
    check_attribute(name, value)?;
    let subscription = find(call)?;
    check_raw(&subscription.protocol, value == "true")?;
    subscription.attributes.insert(name.to_string(), value.to_string());
    Ok(Xml::new())
}
