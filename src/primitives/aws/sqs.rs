//! `sqs::` queues: encrypted, with their policy from the first moment, and subscribed to a topic; and the messages in them.

mod drawn;
mod message;
mod messages;
mod receive;
mod transfer;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use rhai::Dynamic;
use serde_json::{Value, json};

use super::sns::{self, Topic};
use super::tags;
use crate::clients::aws::failure;
use crate::error::{Error, Kind};
use crate::host::{Change, Host, NAME_TAG, STACK_TAG};
use crate::primitives::declaration::{Function, Holds, Options, optional};
use crate::primitives::namespace::{Call, Namespace};
use crate::primitives::owned::{Owned, at_once};
use crate::progress::Verb;

pub use drawn::drawn;

/// A queue's name is blocked for 60 s after its deletion (SQS API Reference, `DeleteQueue`); a little more is waited.
const NAME_BLOCKED: Duration = Duration::from_secs(75);

/// A queue of the stack.
#[derive(Clone, PartialEq, Eq)]
pub struct Queue {
    /// `None` in a plan that would make it.
    url: Option<String>,
    arn: String,
    name: String,
}

const ENSURE_QUEUE: Function = Function {
    name: "ensure_queue",
    doc: "The stack's queue of that name, encrypted. Attributes that are named and differ are repaired.\n\
          With `subscribe_to` a topic, its policy lets that topic send, from the moment it is made, and it is subscribed to it.\n\
          A name that was just deleted is blocked for 60 s: waits for it.\n\
          SQS `ListQueues`, `GetQueueUrl`, `ListQueueTags`, `GetQueueAttributes`, `CreateQueue`, `TagQueue`, `SetQueueAttributes`; SNS `Subscribe`, `GetSubscriptionAttributes`, `SetSubscriptionAttributes`.",
    parameters: &["name: string"],
    returns: "Queue",
    permissions: &[
        "sqs:ListQueues",
        "sqs:GetQueueUrl",
        "sqs:GetQueueAttributes",
        "sqs:ListQueueTags",
        "sqs:CreateQueue",
        "sqs:TagQueue",
        "sqs:SetQueueAttributes",
        "sns:ListSubscriptionsByTopic",
        "sns:Subscribe",
        "sns:GetSubscriptionAttributes",
        "sns:SetSubscriptionAttributes",
    ],
    example: r#"
        let alerts = sns::ensure_topic("alerts");
        let log = sqs::ensure_queue("log", #{ retention_s: 14 * 24 * 3600, subscribe_to: alerts });"#,
    keys: &[
        optional("retention_s", Holds::Int, "How long a message is kept, in seconds: 60 to 1209600"),
        optional(
            "visibility_timeout_s",
            Holds::Int,
            "How long a received message is hidden from others, in seconds: 0 to 43200",
        ),
        optional("receive_wait_s", Holds::Int, "How long a receive waits for a message, in seconds: 0 to 20"),
        optional(
            "subscribe_to",
            Holds::A("a topic", |value| value.is::<Topic>()),
            "The topic whose messages it gets",
        ),
        optional(
            "raw_message_delivery",
            Holds::Bool,
            "Whether they come as they were published, without SNS's envelope; left as it is if not given",
        ),
        optional(
            "dead_letter_queue",
            Holds::A("a queue", |value| value.is::<Queue>()),
            "Where a message goes that was received `max_receives` times and never deleted",
        ),
        optional("max_receives", Holds::Int, "How often a message is tried, 1 to 1000; 5 if not given"),
    ],
};

const FIND_QUEUE: Function = Function {
    name: "find_queue",
    doc: "The stack's queue of that name, or `()`. SQS `GetQueueUrl`.",
    parameters: &["name: string"],
    returns: "Queue",
    permissions: &["sqs:GetQueueUrl"],
    example: r#"print(if sqs::find_queue("log") == () { "not deployed" } else { "deployed" });"#,
    keys: &[],
};

const GET_QUEUE: Function = Function {
    name: "get_queue",
    doc: "The stack's queue of that name. Throws `not_found` where there is none. SQS `GetQueueUrl`.",
    parameters: &["name: string"],
    returns: "Queue",
    permissions: &["sqs:GetQueueUrl"],
    example: r#"
        sqs::ensure_queue("log");
        print(sqs::get_queue("log").url);"#,
    keys: &[],
};

pub fn namespace(host: &Arc<Host>) -> Namespace {
    let mut namespace = Namespace::new("sqs", host);
    namespace
        .handle::<Queue>("Queue")
        .with_options(&ENSURE_QUEUE, ensure_queue)
        .function1(&FIND_QUEUE, |call, name: String| {
            Ok(find_queue(call, &name)?.map_or(Dynamic::UNIT, Dynamic::from))
        })
        .function1(&GET_QUEUE, get_queue)
        .property("url", "The queue's URL.", |_, queue: &Queue| queue.known_url().map(str::to_owned))
        .property("arn", "The queue's ARN.", |_, queue: &Queue| Ok(queue.arn.clone()))
        .property("name", "The queue's name in its stack.", |_, queue: &Queue| Ok(queue.name.clone()))
        .identified(|queue: &Queue| format!("queue {}", queue.name));
    receive::register(&mut namespace);
    namespace
}

impl Queue {
    /// The queue's URL; kind `planned` where a plan would make the queue.
    pub fn known_url(&self) -> Result<&str, Error> {
        self.url.as_deref().ok_or_else(|| Error::planned(format!("the URL of queue {}", self.name)))
    }
}

/// The stack's queue of that name.
fn find_queue(call: &Call, name: &str) -> Result<Option<Queue>, Error> {
    let full_name = call.full_name(name)?;
    let url = find_url(call, &full_name)?;
    let arn = call.arn("sqs", &full_name)?;
    Ok(url.map(|url| Queue { url: Some(url), arn, name: name.to_owned() }))
}

fn get_queue(call: &Call, name: String) -> Result<Queue, Error> {
    find_queue(call, &name)?.ok_or_else(|| {
        let full_name = call.full_name(&name).unwrap_or(name);
        Error::new(Kind::NotFound, format!("there is no queue {full_name}"))
            .help("deploy the stack first, or name another one with `--stack`")
    })
}

fn find_url(call: &Call, full_name: &str) -> Result<Option<String>, Error> {
    call.block(async {
        match call.aws()?.sqs.get_queue_url().queue_name(full_name).send().await {
            Ok(answer) => Ok(answer.queue_url),
            Err(error) => match failure("sqs", "GetQueueUrl", error) {
                error if error.kind == Kind::NotFound => Ok(None),
                error => Err(error),
            },
        }
    })
}

/// The URL of a queue that may be there. One list answers for all of the stack's queues; what was just made may not be in it.
fn likely_url(call: &Call, full_name: &str) -> Result<Option<String>, Error> {
    let urls = call.seen(|clients| &clients.queues, || call.block(list_urls(call)))?;
    match urls.iter().find(|url| url.rsplit('/').next() == Some(full_name)) {
        Some(url) => Ok(Some(url.clone())),
        None => find_url(call, full_name),
    }
}

/// The URLs of the queues whose names begin as the stack's do.
async fn list_urls(host: &Host) -> Result<Vec<String>, Error> {
    let request = host.aws()?.sqs.list_queues().queue_name_prefix(format!("{}-", host.stack()?));
    let mut pages = request.max_results(1000).into_paginator().send();
    let mut urls = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| failure("sqs", "ListQueues", error))?;
        urls.extend(page.queue_urls.unwrap_or_default());
    }
    Ok(urls)
}

/// What is known of a queue that is there.
struct Found {
    url: String,
    tags: HashMap<String, String>,
    attributes: HashMap<QueueAttributeName, String>,
}

/// `None`: there is no queue at that URL any more; a list may show it for a while.
async fn look_at(
    host: &Host,
    url: String,
    wanted: &[(QueueAttributeName, String)],
) -> Result<Option<Found>, Error> {
    let sqs = &host.aws()?.sqs;
    let tags = sqs.list_queue_tags().queue_url(&url).send();
    let attributes = async {
        if wanted.is_empty() {
            return Ok(HashMap::new());
        }
        let names = wanted.iter().map(|(attribute, _)| attribute.clone()).collect();
        let request = sqs.get_queue_attributes().queue_url(&url).set_attribute_names(Some(names));
        let answer = request.send().await.map_err(|error| failure("sqs", "GetQueueAttributes", error))?;
        Ok(answer.attributes.unwrap_or_default())
    };
    let (tags, attributes) = tokio::join!(tags, attributes);
    let answers =
        tags.map_err(|error| failure("sqs", "ListQueueTags", error)).and_then(|tags| Ok((tags, attributes?)));
    match answers {
        Ok((tags, attributes)) => Ok(Some(Found { url, tags: tags.tags.unwrap_or_default(), attributes })),
        Err(error) if error.kind == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn ensure_queue(call: &Call, name: String, options: &Options) -> Result<Queue, Error> {
    let full_name = call.full_name(&name)?;
    let arn = call.arn("sqs", &full_name)?;
    let topic = options.get("subscribe_to").and_then(|topic| topic.clone().try_cast::<Topic>());
    let mut wanted: Vec<(QueueAttributeName, String)> = Vec::new();
    let ranges = [
        ("retention_s", 60..=1_209_600, QueueAttributeName::MessageRetentionPeriod),
        ("visibility_timeout_s", 0..=43_200, QueueAttributeName::VisibilityTimeout),
        ("receive_wait_s", 0..=20, QueueAttributeName::ReceiveMessageWaitTimeSeconds),
    ];
    for (key, range, attribute) in ranges {
        if let Some(value) = options.int_in(key, range)? {
            wanted.push((attribute, value.to_string()));
        }
    }
    if let Some(topic) = &topic {
        wanted.push((
            QueueAttributeName::Policy,
            policy(&arn, &topic.arn, &call.aws()?.identity.account).to_string(),
        ));
    }
    let max_receives = options.int_in("max_receives", 1..=1000)?.unwrap_or(5);
    if let Some(dead) = options.get("dead_letter_queue").and_then(|queue| queue.clone().try_cast::<Queue>()) {
        let redrive = json!({ "deadLetterTargetArn": dead.arn, "maxReceiveCount": max_receives.to_string() });
        wanted.push((QueueAttributeName::RedrivePolicy, redrive.to_string()));
    }
    let url = likely_url(call, &full_name)?;
    let (found, subscriptions) = call.block(async {
        let found = async {
            match url {
                Some(url) => look_at(call, url, &wanted).await,
                None => Ok(None),
            }
        };
        let subscriptions = async {
            match &topic {
                Some(topic) => sns::subscriptions(call, &topic.arn).await,
                None => Ok(Vec::new()),
            }
        };
        tokio::try_join!(found, subscriptions)
    })?;
    let url = match found {
        Some(found) => {
            call.own(&format!("queue {full_name}"), found.tags.get(STACK_TAG).map(String::as_str))?;
            let is = |key: &str| found.tags.get(key).map(String::as_str);
            tags::repair(call, ("sqs", "TagQueue"), &name, is, |pairs| async {
                let tags = pairs.into_iter().collect();
                let request = call.aws()?.sqs.tag_queue().queue_url(&found.url).set_tags(Some(tags));
                request.send().await.map(drop).map_err(|error| failure("sqs", "TagQueue", error))
            })?;
            repair(call, &name, &found, &wanted)?;
            Some(found.url)
        }
        None => create(call, &name, &full_name, wanted)?,
    };
    if let Some(topic) = &topic {
        let raw = options.bool("raw_message_delivery");
        sns::subscribe(call, topic, "sqs", &arn, raw, &subscriptions)?;
    }
    Ok(Queue { url, arn, name })
}

/// Who may send: the topic, and nobody without TLS.
fn policy(queue: &str, topic: &str, account: &str) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "topic",
                "Effect": "Allow",
                "Principal": { "Service": "sns.amazonaws.com" },
                "Action": "sqs:SendMessage",
                "Resource": queue,
                "Condition": {
                    "ArnEquals": { "aws:SourceArn": topic },
                    "StringEquals": { "aws:SourceAccount": account },
                },
            },
            {
                "Sid": "tls",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "sqs:*",
                "Resource": queue,
                "Condition": { "Bool": { "aws:SecureTransport": "false" } },
            },
        ],
    })
}

fn create(
    call: &Call,
    name: &str,
    full_name: &str,
    wanted: Vec<(QueueAttributeName, String)>,
) -> Result<Option<String>, Error> {
    let mut attributes: HashMap<_, _> = wanted.into_iter().collect();
    attributes.insert(QueueAttributeName::SqsManagedSseEnabled, "true".to_owned());
    let request = call
        .aws()?
        .sqs
        .create_queue()
        .queue_name(full_name)
        .set_attributes(Some(attributes))
        .set_tags(Some(call.tags(name)?.into_iter().collect()));
    let change =
        Change { verb: Verb::Create, service: "sqs", operation: "CreateQueue", name, detail: "queue" };
    call.change(change, |_| async {
        let deadline = tokio::time::Instant::now() + NAME_BLOCKED;
        let mut line = None;
        loop {
            match request.clone().send().await.map_err(|error| failure("sqs", "CreateQueue", error)) {
                Err(error)
                    if error.code.ends_with("QueueDeletedRecently")
                        && tokio::time::Instant::now() < deadline =>
                {
                    let left = deadline.duration_since(tokio::time::Instant::now()).as_secs();
                    line.get_or_insert_with(|| call.progress.wait(&format!("queue {name}")))
                        .status(&format!("its name is blocked after a deletion, at most {left} s more"));
                    call.rest(Duration::from_secs(1)).await?;
                }
                other => {
                    let url = other?.queue_url;
                    return url.ok_or_else(|| Error::internal("SQS made a queue and gave no URL"));
                }
            }
        }
    })
}

/// Sets what is named and differs.
fn repair(
    call: &Call,
    name: &str,
    found: &Found,
    wanted: &[(QueueAttributeName, String)],
) -> Result<(), Error> {
    let is = |attribute: &QueueAttributeName| found.attributes.get(attribute);
    let differing: HashMap<_, _> = wanted
        .iter()
        .filter(|(attribute, value)| match attribute {
            // The service may give a policy back in another order.
            QueueAttributeName::Policy | QueueAttributeName::RedrivePolicy => {
                let meaning = |text: &String| serde_json::from_str(text).ok().map(numbers_as_text);
                is(attribute).and_then(meaning) != meaning(value)
            }
            _ => is(attribute) != Some(value),
        })
        .cloned()
        .collect();
    if differing.is_empty() {
        return Ok(());
    }
    let mut names: Vec<&str> = differing.keys().map(QueueAttributeName::as_str).collect();
    names.sort_unstable();
    let detail = names.join(", ");
    let change =
        Change { verb: Verb::Update, service: "sqs", operation: "SetQueueAttributes", name, detail: &detail };
    call.change(change, |_| async {
        let request = call
            .aws()?
            .sqs
            .set_queue_attributes()
            .queue_url(&found.url)
            .set_attributes(Some(differing.clone()));
        request.send().await.map(drop).map_err(|error| failure("sqs", "SetQueueAttributes", error))
    })?;
    Ok(())
}

/// A JSON document with its numbers as strings: `maxReceiveCount` is written either way.
fn numbers_as_text(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::String(number.to_string()),
        Value::Array(list) => list.into_iter().map(numbers_as_text).collect(),
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, numbers_as_text(value))).collect(),
        other => other,
    }
}

/// The stack's queues, as URL and name.
fn queues(host: &Host) -> Result<Vec<(String, String)>, Error> {
    let stack = host.stack()?.to_owned();
    host.block(async {
        let mut queues = Vec::new();
        for url in list_urls(host).await? {
            let tags = host.aws()?.sqs.list_queue_tags().queue_url(&url).send().await;
            let tags = tags.map_err(|error| failure("sqs", "ListQueueTags", error))?;
            let value = |key: &str| tags.tags().and_then(|tags| tags.get(key)).cloned();
            if value(STACK_TAG).as_ref() == Some(&stack)
                && let Some(name) = value(NAME_TAG)
            {
                queues.push((url, name));
            }
        }
        Ok(queues)
    })
}

pub fn owned(host: &Host) -> Result<Vec<Owned>, Error> {
    let stack = host.stack()?;
    let owned = |(url, name): (String, String)| Owned {
        key: format!("sqs:{name}"),
        title: format!("queue {stack}-{name}"),
        status: String::new(),
        order: 20,
        protected: false,
        needs: Vec::new(),
        delete: Arc::new(move |host| delete(host, &name, &url)),
        wait: at_once(),
    };
    Ok(queues(host)?.into_iter().map(owned).collect())
}

fn delete(host: &Host, name: &str, url: &str) -> Result<(), Error> {
    let change =
        Change { verb: Verb::Delete, service: "sqs", operation: "DeleteQueue", name, detail: "queue" };
    host.change(change, |_| async {
        match host
            .aws()?
            .sqs
            .delete_queue()
            .queue_url(url)
            .send()
            .await
            .map_err(|error| failure("sqs", "DeleteQueue", error))
        {
            Err(error) if error.kind == Kind::NotFound => Ok(()),
            other => other.map(drop),
        }
    })?;
    Ok(())
}
