//! `sns::` topics, their subscriptions, and messages to them.

mod drawn;

use std::sync::Arc;

use aws_sdk_sns::types::{Subscription, Tag};
use rhai::Dynamic;

use super::tags;
use crate::clients::aws::failure;
use crate::error::{Error, Kind};
use crate::host::{Change, Host, NAME_TAG, STACK_TAG, World};
use crate::primitives::declaration::{Function, Holds, Options, optional};
use crate::primitives::namespace::{Call, Namespace};
use crate::primitives::owned::{Owned, at_once};
use crate::progress::{Line, Verb};

pub use drawn::drawn;

/// A topic of the stack.
#[derive(Clone, PartialEq, Eq)]
pub struct Topic {
    pub arn: String,
    name: String,
}

const ENSURE_TOPIC: Function = Function {
    name: "ensure_topic",
    doc: "The stack's topic of that name. SNS `ListTagsForResource`, `CreateTopic`, `TagResource`.",
    parameters: &["name: string"],
    returns: "Topic",
    permissions: &["sns:ListTagsForResource", "sns:CreateTopic", "sns:TagResource"],
    example: r#"print(sns::ensure_topic("alerts").arn);"#,
    keys: &[],
};

const ENSURE_SUBSCRIPTION: Function = Function {
    name: "ensure_subscription",
    doc: "Subscribes an address to the topic, once: also one that has not been confirmed yet is left alone. How messages are delivered is \
          repaired where it is named and differs.\n\
          SNS `ListSubscriptionsByTopic`, `Subscribe`, `GetSubscriptionAttributes`, `SetSubscriptionAttributes`.",
    parameters: &["protocol: string", "endpoint: string"],
    returns: "()",
    permissions: &[
        "sns:ListSubscriptionsByTopic",
        "sns:Subscribe",
        "sns:GetSubscriptionAttributes",
        "sns:SetSubscriptionAttributes",
    ],
    example: r#"sns::ensure_topic("alerts").ensure_subscription("email", "you@example.com");"#,
    keys: &[optional(
        "raw_message_delivery",
        Holds::Bool,
        "Whether a queue gets messages as they were published, without SNS's envelope; left as it is if not given",
    )],
};

const PUBLISH: Function = Function {
    name: "publish",
    doc: "Sends a message to everybody who subscribed. An effect, not a change: it is done each time. SNS `Publish`.",
    parameters: &["subject: string", "message: string"],
    returns: "()",
    permissions: &["sns:Publish"],
    example: r#"sns::ensure_topic("alerts").publish("Hello", "The playbook got this far.");"#,
    keys: &[],
};

const FIND_TOPIC: Function = Function {
    name: "find_topic",
    doc: "The stack's topic of that name, or `()`. SNS `GetTopicAttributes`.",
    parameters: &["name: string"],
    returns: "Topic",
    permissions: &["sns:GetTopicAttributes"],
    example: r#"print(if sns::find_topic("alerts") == () { "nobody listens" } else { "alerts go out" });"#,
    keys: &[],
};

const GET_TOPIC: Function = Function {
    name: "get_topic",
    doc: "The stack's topic of that name. Throws `not_found` where there is none. SNS `GetTopicAttributes`.",
    parameters: &["name: string"],
    returns: "Topic",
    permissions: &["sns:GetTopicAttributes"],
    example: r#"
        sns::ensure_topic("alerts");
        sns::get_topic("alerts").publish("Hello", "The playbook got this far.");"#,
    keys: &[],
};

pub fn namespace(host: &Arc<Host>) -> Namespace {
    let mut namespace = Namespace::new("sns", host);
    namespace
        .handle::<Topic>("Topic")
        .with_options(&ENSURE_TOPIC, ensure_topic)
        .function1(&FIND_TOPIC, |call, name: String| {
            Ok(find_topic(call, &name)?.map_or(Dynamic::UNIT, Dynamic::from))
        })
        .function1(&GET_TOPIC, get_topic)
        .property("arn", "The topic's ARN.", |_, topic: &Topic| Ok(topic.arn.clone()))
        .method2_options(
            &ENSURE_SUBSCRIPTION,
            |call, topic: &Topic, protocol: String, endpoint: String, options| {
                ensure_subscription(call, topic, &protocol, &endpoint, options.bool("raw_message_delivery"))
            },
        )
        .method2(&PUBLISH, publish)
        .identified(|topic: &Topic| format!("topic {}", topic.name));
    namespace
}

/// The stack's topic of that name.
fn find_topic(call: &Call, name: &str) -> Result<Option<Topic>, Error> {
    // The ARN is known before the topic is: asking for it costs no change.
    let arn = call.arn("sns", &call.full_name(name)?)?;
    call.block(async {
        match call.aws()?.sns.get_topic_attributes().topic_arn(&arn).send().await {
            Ok(_) => Ok(Some(Topic { arn: arn.clone(), name: name.to_owned() })),
            Err(error) => match failure("sns", "GetTopicAttributes", error) {
                error if error.kind == Kind::NotFound => Ok(None),
                error => Err(error),
            },
        }
    })
}

fn get_topic(call: &Call, name: String) -> Result<Topic, Error> {
    find_topic(call, &name)?.ok_or_else(|| {
        let full_name = call.full_name(&name).unwrap_or(name);
        Error::new(Kind::NotFound, format!("there is no topic {full_name}"))
            .help("deploy the stack first, or name another one with `--stack`")
    })
}

fn ensure_topic(call: &Call, name: String, _: &Options) -> Result<Topic, Error> {
    let full_name = call.full_name(&name)?;
    let arn = call.arn("sns", &full_name)?;
    // Tells both whether it is there and whose it is.
    let tags = call.block(async {
        let answer = call.aws()?.sns.list_tags_for_resource().resource_arn(&arn).send().await;
        match answer.map_err(|error| failure("sns", "ListTagsForResource", error)) {
            Ok(answer) => Ok(Some(answer.tags.unwrap_or_default())),
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    })?;
    if let Some(tags) = &tags {
        let owner = tags.iter().find(|tag| tag.key() == STACK_TAG).map(|tag| tag.value());
        call.own(&format!("topic {full_name}"), owner)?;
        let is = |key: &str| tags.iter().find(|tag| tag.key() == key).map(Tag::value);
        tags::repair(call, ("sns", "TagResource"), &name, is, |pairs| async {
            let request = call.aws()?.sns.tag_resource().resource_arn(&arn).set_tags(Some(tags_of(pairs)?));
            request.send().await.map(drop).map_err(|error| failure("sns", "TagResource", error))
        })?;
    } else {
        let tags = tags_of(call.tags(&name)?)?;
        let request = call.aws()?.sns.create_topic().name(&full_name).set_tags(Some(tags));
        let change = Change {
            verb: Verb::Create,
            service: "sns",
            operation: "CreateTopic",
            name: &name,
            detail: "topic",
        };
        call.change(change, |_| async {
            let answer = request.clone().send().await;
            let answer = answer.map_err(|error| failure("sns", "CreateTopic", error))?;
            Ok(answer.topic_arn.unwrap_or_default())
        })?;
    }
    Ok(Topic { arn, name })
}

fn tags_of(pairs: Vec<(String, String)>) -> Result<Vec<Tag>, Error> {
    let tag = |(key, value)| Tag::builder().key(key).value(value).build();
    pairs.into_iter().map(tag).collect::<Result<_, _>>().map_err(|error| Error::internal(error.to_string()))
}

/// Subscribes `endpoint` unless it is subscribed or waits for its confirmation.
fn ensure_subscription(
    call: &Call,
    topic: &Topic,
    protocol: &str,
    endpoint: &str,
    raw: Option<bool>,
) -> Result<(), Error> {
    // Where the topic is only planned, or was just made and is not visible everywhere yet, it has none.
    let found = call.block(subscriptions(call, &topic.arn))?;
    subscribe(call, topic, protocol, endpoint, raw, &found)
}

/// The attribute that says whether SNS's envelope is left out.
const RAW: &str = "RawMessageDelivery";

/// The same where the topic's subscriptions are known. `raw` is how messages are to be delivered, where that is named.
pub fn subscribe(
    call: &Call,
    topic: &Topic,
    protocol: &str,
    endpoint: &str,
    raw: Option<bool>,
    found: &[Subscription],
) -> Result<(), Error> {
    let same =
        |known: &&Subscription| known.protocol() == Some(protocol) && known.endpoint() == Some(endpoint);
    if let Some(known) = found.iter().find(same) {
        return match (raw, known.subscription_arn().filter(|arn| arn.starts_with("arn:"))) {
            (Some(raw), Some(arn)) => repair_delivery(call, topic, arn, raw),
            // One that has to be confirmed has no ARN to ask by.
            _ => Ok(()),
        };
    }
    let detail = format!("{protocol} subscription");
    let change = Change {
        verb: Verb::Add,
        service: "sns",
        operation: "Subscribe",
        name: &topic.name,
        detail: &detail,
    };
    call.change(change, |_| async {
        let mut request =
            call.aws()?.sns.subscribe().topic_arn(&topic.arn).protocol(protocol).endpoint(endpoint);
        if let Some(raw) = raw {
            request = request.attributes(RAW, raw.to_string());
        }
        let answer = request.send().await.map_err(|error| failure("sns", "Subscribe", error))?;
        // One that has to be confirmed has no ARN yet.
        Ok(answer.subscription_arn.filter(|arn| arn.starts_with("arn:")).unwrap_or_default())
    })?;
    if protocol == "email" {
        let next = if matches!(call.world, World::Local { .. }) {
            "the local cloud sends no mail"
        } else {
            "see its inbox"
        };
        call.progress.line(Line::Info, &format!("    {endpoint} has to confirm the subscription: {next}"));
    }
    Ok(())
}

/// Sees to it that messages come with SNS's envelope, or without (SNS `GetSubscriptionAttributes`, `SetSubscriptionAttributes`).
fn repair_delivery(call: &Call, topic: &Topic, subscription: &str, raw: bool) -> Result<(), Error> {
    let is = call.block(async {
        let request = call.aws()?.sns.get_subscription_attributes().subscription_arn(subscription);
        let answer =
            request.send().await.map_err(|error| failure("sns", "GetSubscriptionAttributes", error))?;
        Ok(answer.attributes().and_then(|all| all.get(RAW)).is_some_and(|value| value == "true"))
    })?;
    if is == raw {
        return Ok(());
    }
    let detail = format!("messages {} SNS's envelope", if raw { "without" } else { "in" });
    let change = Change {
        verb: Verb::Update,
        service: "sns",
        operation: "SetSubscriptionAttributes",
        name: &topic.name,
        detail: &detail,
    };
    call.change(change, |_| async {
        let request = call.aws()?.sns.set_subscription_attributes().subscription_arn(subscription);
        let sent = request.attribute_name(RAW).attribute_value(raw.to_string()).send().await.map(drop);
        sent.map_err(|error| failure("sns", "SetSubscriptionAttributes", error))
    })?;
    Ok(())
}

/// The subscriptions of a topic; none where there is no such topic.
pub async fn subscriptions(host: &Host, topic: &str) -> Result<Vec<Subscription>, Error> {
    let mut subscriptions = Vec::new();
    let mut pages = host.aws()?.sns.list_subscriptions_by_topic().topic_arn(topic).into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = match page.map_err(|error| failure("sns", "ListSubscriptionsByTopic", error)) {
            Err(error) if error.kind == Kind::NotFound => return Ok(subscriptions),
            other => other?,
        };
        subscriptions.extend(page.subscriptions.unwrap_or_default());
    }
    Ok(subscriptions)
}

/// A subject is one line of an e-mail's header (SNS API Reference, `Publish`).
const LONGEST_SUBJECT: usize = 99;

fn publish(call: &Call, topic: &Topic, subject: String, message: String) -> Result<(), Error> {
    let usable = subject.bytes().all(|byte| (32..127).contains(&byte)) && !subject.starts_with(' ');
    if subject.is_empty() || subject.len() > LONGEST_SUBJECT || !usable {
        return Err(Error::invalid(format!("{subject:?} cannot be the subject of a message"))
            .help(format!("use one line of up to {LONGEST_SUBJECT} letters, digits and signs of ASCII; the text itself may have any")));
    }
    if message.is_empty() {
        return Err(Error::invalid("a message cannot be empty").help("say in its text what happened"));
    }
    call.effect(&format!("publish \"{subject}\" to topic {}", topic.name))?;
    call.until_known(&format!("sns {}", topic.name), || async {
        let request = call.aws()?.sns.publish().topic_arn(&topic.arn).subject(&subject).message(&message);
        request.send().await.map(drop).map_err(|error| failure("sns", "Publish", error))
    })
}

/// The stack's topics, as ARN and name.
fn topics(host: &Host) -> Result<Vec<(String, String)>, Error> {
    let stack = host.stack()?.to_owned();
    // Names of a stack begin with its own: the others need not be asked for their tags.
    let mine = host.arn("sns", &format!("{stack}-"))?;
    host.block(async {
        let mut topics = Vec::new();
        let mut pages = host.aws()?.sns.list_topics().into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failure("sns", "ListTopics", error))?;
            for arn in page
                .topics()
                .iter()
                .filter_map(|topic| topic.topic_arn())
                .filter(|arn| arn.starts_with(&mine))
            {
                let request = host.aws()?.sns.list_tags_for_resource().resource_arn(arn);
                let tags =
                    request.send().await.map_err(|error| failure("sns", "ListTagsForResource", error))?;
                let value =
                    |key| tags.tags().iter().find(|tag| tag.key() == key).map(|tag| tag.value().to_owned());
                if value(STACK_TAG).as_ref() == Some(&stack)
                    && let Some(name) = value(NAME_TAG)
                {
                    topics.push((arn.to_owned(), name));
                }
            }
        }
        Ok(topics)
    })
}

pub fn owned(host: &Host) -> Result<Vec<Owned>, Error> {
    let stack = host.stack()?;
    let owned = |(arn, name): (String, String)| Owned {
        key: format!("sns:{name}"),
        title: format!("topic {stack}-{name}"),
        status: String::new(),
        order: 20,
        protected: false,
        needs: Vec::new(),
        delete: Arc::new(move |host| delete(host, &name, &arn)),
        wait: at_once(),
    };
    Ok(topics(host)?.into_iter().map(owned).collect())
}

fn delete(host: &Host, name: &str, arn: &str) -> Result<(), Error> {
    let change = Change {
        verb: Verb::Delete,
        service: "sns",
        operation: "DeleteTopic",
        name,
        detail: "topic and its subscriptions",
    };
    host.change(change, |_| async {
        // Deleting a topic leaves its subscriptions listed for days (SNS Developer Guide): end them first.
        let known = subscriptions(host, arn).await?;
        let confirmed = known.iter().filter_map(Subscription::subscription_arn);
        for subscription in confirmed.filter(|known| known.starts_with("arn:")) {
            let request = host.aws()?.sns.unsubscribe().subscription_arn(subscription);
            request.send().await.map_err(|error| failure("sns", "Unsubscribe", error))?;
        }
        let request = host.aws()?.sns.delete_topic().topic_arn(arn);
        request.send().await.map(drop).map_err(|error| failure("sns", "DeleteTopic", error))
    })?;
    Ok(())
}
