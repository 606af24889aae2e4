//! SNS: topics, subscriptions, and delivery to a queue only where the queue's policy allows it.

use aws_sdk_sns::Client;
use aws_sdk_sns::types::Tag;
use aws_sdk_sqs::types::QueueAttributeName;
use ops::error::Kind;
use serde_json::{Value, json};

use super::queue::{attribute, queue, receive};
use super::{Cloud, Failure, Outcome, refused};

async fn topic(sns: &Client, name: &str) -> Result<String, Failure> {
    Ok(sns.create_topic().name(name).send().await?.topic_arn.expect("a topic has an ARN"))
}

/// The policy that lets a topic send to a queue.
fn policy(topic: &str, queue: &str) -> String {
    let statement = json!({
        "Effect": "Allow",
        "Principal": { "Service": "sns.amazonaws.com" },
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Condition": { "ArnEquals": { "aws:SourceArn": topic } },
    });
    json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()
}

#[tokio::test]
async fn the_same_topic_is_created_once() -> Outcome {
    let cloud = Cloud::start().await;
    let sns = &cloud.clients.sns;
    let arn = topic(sns, "alerts").await?;
    assert_eq!(arn, "arn:aws:sns:us-east-1:000000000000:alerts");
    assert_eq!(topic(sns, "alerts").await?, arn);
    assert_eq!(sns.list_topics().send().await?.topics().len(), 1);
    refused(sns.create_topic().name("no good").send().await, "InvalidParameter", Kind::Invalid);
    Ok(())
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_not_found() -> Outcome {
    let cloud = Cloud::start().await;
    let sns = &cloud.clients.sns;
    let arn = topic(sns, "alerts").await?;
    sns.delete_topic().topic_arn(&arn).send().await?;
    // As on AWS, deleting what is not there succeeds.
    sns.delete_topic().topic_arn(&arn).send().await?;
    refused(sns.publish().topic_arn(&arn).message("a").send().await, "NotFound", Kind::NotFound);
    refused(sns.get_topic_attributes().topic_arn(&arn).send().await, "NotFound", Kind::NotFound);
    let subscribed = sns.subscribe().topic_arn(&arn).protocol("email").endpoint("a@example.org").send().await;
    refused(subscribed, "NotFound", Kind::NotFound);
    let listed = sns.list_tags_for_resource().resource_arn(&arn).send().await;
    refused(listed, "ResourceNotFound", Kind::NotFound);
    Ok(())
}

#[tokio::test]
async fn a_topic_keeps_its_tags() -> Outcome {
    let cloud = Cloud::start().await;
    let sns = &cloud.clients.sns;
    let arn = topic(sns, "alerts").await?;
    let tag = Tag::builder().key("ops:stack").value("a").build()?;
    sns.tag_resource().resource_arn(&arn).tags(tag.clone()).send().await?;
    assert_eq!(sns.list_tags_for_resource().resource_arn(&arn).send().await?.tags(), [tag]);
    sns.untag_resource().resource_arn(&arn).tag_keys("ops:stack").send().await?;
    assert!(sns.list_tags_for_resource().resource_arn(&arn).send().await?.tags().is_empty());
    Ok(())
}

#[tokio::test]
async fn subscribing_twice_gives_one_subscription() -> Outcome {
    let cloud = Cloud::start().await;
    let (sns, sqs) = (&cloud.clients.sns, &cloud.clients.sqs);
    let arn = topic(sns, "alerts").await?;
    let url = queue(sqs, "log").await?;
    let endpoint = attribute(sqs, &url, QueueAttributeName::QueueArn).await?;
    let subscribe =
        |endpoint: &str| sns.subscribe().topic_arn(&arn).protocol("sqs").endpoint(endpoint).send();
    let first = subscribe(&endpoint).await?;
    let id = first.subscription_arn().expect("a subscription has an ARN");
    assert!(id.starts_with(&arn), "{id}");
    assert_eq!(subscribe(&endpoint).await?.subscription_arn(), Some(id));
    refused(subscribe(&endpoint.replace("log", "none")).await, "InvalidParameter", Kind::Invalid);
    let listed = || sns.list_subscriptions_by_topic().topic_arn(&arn).send();
    assert_eq!(listed().await?.subscriptions().len(), 1);
    sns.unsubscribe().subscription_arn(id).send().await?;
    assert!(listed().await?.subscriptions().is_empty());
    Ok(())
}

#[tokio::test]
async fn a_subscription_by_email_stays_pending() -> Outcome {
    let cloud = Cloud::start().await;
    let sns = &cloud.clients.sns;
    let arn = topic(sns, "alerts").await?;
    let subscribe =
        |address: &str| sns.subscribe().topic_arn(&arn).protocol("email").endpoint(address).send();
    assert_eq!(subscribe("a@example.org").await?.subscription_arn(), Some("pending confirmation"));
    let listed = sns.list_subscriptions_by_topic().topic_arn(&arn).send().await?;
    assert_eq!(listed.subscriptions()[0].subscription_arn(), Some("PendingConfirmation"));
    refused(subscribe("nobody").await, "InvalidParameter", Kind::Invalid);
    Ok(())
}

#[tokio::test]
async fn a_message_reaches_a_queue_whose_policy_allows_it_and_no_other() -> Outcome {
    let cloud = Cloud::start().await;
    let (sns, sqs) = (&cloud.clients.sns, &cloud.clients.sqs);
    let arn = topic(sns, "alerts").await?;
    let url = queue(sqs, "log").await?;
    let endpoint = attribute(sqs, &url, QueueAttributeName::QueueArn).await?;
    let subscribed = sns.subscribe().topic_arn(&arn).protocol("sqs").endpoint(&endpoint).send().await?;
    let allow = |topic: &str| {
        let request = sqs.set_queue_attributes().queue_url(&url);
        request.attributes(QueueAttributeName::Policy, policy(topic, &endpoint)).send()
    };
    let publish = |message: &str| sns.publish().topic_arn(&arn).subject("Deploy").message(message).send();

    publish("lost: there is no policy").await?;
    allow(&format!("{arn}-other")).await?;
    publish("lost: the policy names another topic").await?;
    assert!(receive(sqs, &url).await?.is_empty());

    allow(&arn).await?;
    let published = publish("done").await?;
    let received = receive(sqs, &url).await?;
    let envelope: Value = serde_json::from_str(received[0].body().unwrap_or_default())?;
    assert_eq!(envelope["Type"], "Notification");
    assert_eq!(envelope["MessageId"].as_str(), published.message_id());
    assert_eq!(envelope["TopicArn"], arn.as_str());
    assert_eq!((&envelope["Subject"], &envelope["Message"]), (&json!("Deploy"), &json!("done")));

    let raw =
        sns.set_subscription_attributes().subscription_arn(subscribed.subscription_arn().unwrap_or_default());
    raw.attribute_name("RawMessageDelivery").attribute_value("true").send().await?;
    publish("raw").await?;
    assert_eq!(receive(sqs, &url).await?[0].body(), Some("raw"));
    Ok(())
}

#[tokio::test]
async fn topics_come_in_pages() -> Outcome {
    let cloud = Cloud::start().await;
    let sns = &cloud.clients.sns;
    // SNS takes no page size: a page has 100.
    for number in 0..101 {
        topic(sns, &format!("t{number}")).await?;
    }
    let mut pages = sns.list_topics().into_paginator().send();
    let mut sizes = Vec::new();
    while let Some(page) = pages.try_next().await? {
        sizes.push(page.topics().len());
    }
    assert_eq!(sizes, [100, 1]);
    Ok(())
}
