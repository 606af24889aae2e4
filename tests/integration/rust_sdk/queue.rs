//! SQS: names, attributes, a message's life, long polls, pages.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName, QueueAttributeName};
use ops::error::Kind;

use super::{Cloud, Failure, Outcome, eventually, refused};

const NONE: &str = "AWS.SimpleQueueService.NonExistentQueue";

pub(super) async fn queue(sqs: &Client, name: &str) -> Result<String, Failure> {
    Ok(sqs.create_queue().queue_name(name).send().await?.queue_url.expect("a queue has a URL"))
}

pub(super) async fn attribute(sqs: &Client, url: &str, name: QueueAttributeName) -> Result<String, Failure> {
    let answer = sqs.get_queue_attributes().queue_url(url).attribute_names(name.clone()).send().await?;
    Ok(answer.attributes().and_then(|all| all.get(&name)).expect("the attribute").clone())
}

/// What is there at this moment.
pub(super) async fn receive(sqs: &Client, url: &str) -> Result<Vec<Message>, Failure> {
    let names = MessageSystemAttributeName::All;
    let request = sqs.receive_message().queue_url(url).wait_time_seconds(0).message_attribute_names("All");
    Ok(request.message_system_attribute_names(names).send().await?.messages.unwrap_or_default())
}

#[tokio::test]
async fn the_same_queue_is_created_once() -> Outcome {
    let cloud = Cloud::start().await;
    let create = |timeout: &str| {
        let request = cloud.clients.sqs.create_queue().queue_name("q");
        request.attributes(QueueAttributeName::VisibilityTimeout, timeout).send()
    };
    let made = create("10").await?;
    assert_eq!(create("10").await?.queue_url(), made.queue_url());
    // The name of this error in the service's model; its code is the older one, which boto3 and this SDK both give.
    let error = create("11").await.expect_err("the attributes differ");
    assert!(error.as_service_error().is_some_and(|error| error.is_queue_name_exists()), "{error:?}");
    refused(Err::<(), _>(error), "QueueAlreadyExists", Kind::Exists);
    Ok(())
}

#[tokio::test]
async fn the_name_of_a_deleted_queue_is_blocked() -> Outcome {
    let cloud = Cloud::start().await;
    let sqs = &cloud.clients.sqs;
    let url = queue(sqs, "q").await?;
    sqs.delete_queue().queue_url(&url).send().await?;
    let error = sqs.create_queue().queue_name("q").send().await.expect_err("the name is blocked");
    assert!(error.as_service_error().is_some_and(|error| error.is_queue_deleted_recently()), "{error:?}");
    refused(Err::<(), _>(error), "AWS.SimpleQueueService.QueueDeletedRecently", Kind::Conflict);
    Ok(())
}

#[tokio::test]
async fn a_queue_that_is_not_there_is_not_found() -> Outcome {
    let cloud = Cloud::start().await;
    let sqs = &cloud.clients.sqs;
    let url = queue(sqs, "q").await?;
    let error = sqs.get_queue_url().queue_name("none").send().await.expect_err("there is none");
    assert!(error.as_service_error().is_some_and(|error| error.is_queue_does_not_exist()), "{error:?}");
    refused(Err::<(), _>(error), NONE, Kind::NotFound);
    let other = url.replace("/q", "/none");
    refused(sqs.send_message().queue_url(&other).message_body("a").send().await, NONE, Kind::NotFound);
    refused(sqs.receive_message().queue_url(&other).send().await, NONE, Kind::NotFound);
    refused(sqs.delete_queue().queue_url(&other).send().await, NONE, Kind::NotFound);
    Ok(())
}

#[tokio::test]
async fn only_the_attributes_that_are_asked_for_come_back() -> Outcome {
    let cloud = Cloud::start().await;
    let sqs = &cloud.clients.sqs;
    let url = queue(sqs, "q").await?;
    let one = sqs.get_queue_attributes().queue_url(&url).attribute_names(QueueAttributeName::QueueArn);
    let one = one.send().await?.attributes.unwrap_or_default();
    assert_eq!(one.len(), 1, "{one:?}");
    assert_eq!(one[&QueueAttributeName::QueueArn], "arn:aws:sqs:us-east-1:000000000000:q");
    let none = sqs.get_queue_attributes().queue_url(&url).send().await?;
    assert!(none.attributes().is_none_or(|all| all.is_empty()), "{none:?}");
    let all = sqs.get_queue_attributes().queue_url(&url).attribute_names(QueueAttributeName::All);
    let all = all.send().await?.attributes.unwrap_or_default();
    // Those that nobody set have AWS's defaults.
    assert_eq!(all[&QueueAttributeName::VisibilityTimeout], "30");
    assert_eq!(all[&QueueAttributeName::MessageRetentionPeriod], "345600");
    Ok(())
}

#[tokio::test]
async fn an_attribute_is_checked() -> Outcome {
    let cloud = Cloud::start().await;
    let sqs = &cloud.clients.sqs;
    let url = queue(sqs, "q").await?;
    let set = |name, value: &str| sqs.set_queue_attributes().queue_url(&url).attributes(name, value).send();
    set(QueueAttributeName::VisibilityTimeout, "5").await?;
    assert_eq!(attribute(sqs, &url, QueueAttributeName::VisibilityTimeout).await?, "5");
    let wrong = set(QueueAttributeName::VisibilityTimeout, "43201").await;
    refused(wrong, "InvalidAttributeValue", Kind::Invalid);
    refused(set(QueueAttributeName::from("Nope"), "x").await, "InvalidAttributeName", Kind::Invalid);
    refused(sqs.create_queue().queue_name("q.fifo").send().await, "InvalidParameterValue", Kind::Invalid);
    Ok(())
}

#[tokio::test]
async fn a_message_is_hidden_while_it_is_worked_on() -> Outcome {
    let cloud = Cloud::start().await;
    let sqs = &cloud.clients.sqs;
    let url = queue(sqs, "q").await?;
    let value = MessageAttributeValue::builder().data_type("String").string_value("v").build()?;
    let send = sqs.send_message().queue_url(&url).message_body("a").message_attributes("k", value.clone());
    let sent = send.send().await?;
    let first = receive(sqs, &url).await?.remove(0);
    assert_eq!((first.message_id(), first.body()), (sent.message_id(), Some("a")));
    assert_eq!(first.message_attributes().and_then(|all| all.get("k")), Some(&value));
    assert!(receive(sqs, &url).await?.is_empty(), "it is not hidden");
    assert_eq!(attribute(sqs, &url, QueueAttributeName::ApproximateNumberOfMessagesNotVisible).await?, "1");

    // Given back by its reader, it comes again.
    let receipt = first.receipt_handle().expect("a receipt");
    sqs.change_message_visibility()
        .queue_url(&url)
        .receipt_handle(receipt)
        .visibility_timeout(0)
        .send()
        .await?;
    let second = receive(sqs, &url).await?.remove(0);
    let received =
        second.attributes().and_then(|all| all.get(&MessageSystemAttributeName::ApproximateReceiveCount));
    assert_eq!(received.map(String::as_str), Some("2"));
    Ok(())
}

#[tokio::test]
async fn a_message_is_deleted_by_its_receipt_and_nothing_else() -> Outcome {
    let cloud = Cloud::start().await;
    let sqs = &cloud.clients.sqs;
    let url = queue(sqs, "q").await?;
    sqs.send_message().queue_url(&url).message_body("a").send().await?;
    let delete = |receipt: &str| sqs.delete_message().queue_url(&url).receipt_handle(receipt).send();
    refused(delete("nonsense").await, "ReceiptHandleIsInvalid", Kind::Invalid);
    let message = receive(sqs, &url).await?.remove(0);
    let receipt = message.receipt_handle().expect("a receipt");
    delete(receipt).await?;
    // Again is fine.
    delete(receipt).await?;
    assert_eq!(attribute(sqs, &url, QueueAttributeName::ApproximateNumberOfMessagesNotVisible).await?, "0");
    Ok(())
}

#[tokio::test]
async fn a_long_poll_waits_for_a_message() -> Outcome {
    let cloud = Cloud::start().await;
    let sqs = &cloud.clients.sqs;
    let url = queue(sqs, "q").await?;
    assert!(receive(sqs, &url).await?.is_empty());
    let waiting = tokio::spawn(sqs.receive_message().queue_url(&url).wait_time_seconds(20).send());
    eventually("the long poll to arrive", async || Ok((cloud.calls_of("ReceiveMessage") == 2).then_some(())))
        .await?;
    assert!(!waiting.is_finished(), "it did not wait");
    sqs.send_message().queue_url(&url).message_body("late").send().await?;
    assert_eq!(waiting.await??.messages()[0].body(), Some("late"));
    Ok(())
}

#[tokio::test]
async fn a_message_received_too_often_goes_to_the_dead_letter_queue() -> Outcome {
    let cloud = Cloud::start().await;
    let sqs = &cloud.clients.sqs;
    let dead = queue(sqs, "dead").await?;
    let arn = attribute(sqs, &dead, QueueAttributeName::QueueArn).await?;
    let policy =
        |arn: &str| serde_json::json!({ "deadLetterTargetArn": arn, "maxReceiveCount": 1 }).to_string();
    let create = sqs.create_queue().queue_name("q").attributes(QueueAttributeName::VisibilityTimeout, "0");
    let made = create.attributes(QueueAttributeName::RedrivePolicy, policy(&arn)).send().await?;
    let url = made.queue_url().expect("a queue has a URL");
    sqs.send_message().queue_url(url).message_body("a").send().await?;
    assert_eq!(receive(sqs, url).await?.len(), 1);
    assert!(receive(sqs, url).await?.is_empty());
    assert_eq!(receive(sqs, &dead).await?[0].body(), Some("a"));
    let nowhere = sqs.set_queue_attributes().queue_url(url);
    let nowhere = nowhere.attributes(QueueAttributeName::RedrivePolicy, policy(&arn.replace("dead", "none")));
    refused(nowhere.send().await, "InvalidAttributeValue", Kind::Invalid);
    Ok(())
}

#[tokio::test]
async fn a_queue_is_purged_once_in_a_minute() -> Outcome {
    let cloud = Cloud::start().await;
    let sqs = &cloud.clients.sqs;
    let url = queue(sqs, "q").await?;
    sqs.send_message().queue_url(&url).message_body("a").send().await?;
    sqs.purge_queue().queue_url(&url).send().await?;
    assert!(receive(sqs, &url).await?.is_empty());
    let again = sqs.purge_queue().queue_url(&url).send().await;
    refused(again, "AWS.SimpleQueueService.PurgeQueueInProgress", Kind::Conflict);
    Ok(())
}

#[tokio::test]
async fn queues_come_in_pages() -> Outcome {
    let cloud = Cloud::start().await;
    let sqs = &cloud.clients.sqs;
    for number in 0..7 {
        queue(sqs, &format!("q{number}")).await?;
    }
    queue(sqs, "other").await?;
    let mut pages = sqs.list_queues().queue_name_prefix("q").into_paginator().page_size(5).send();
    let mut sizes = Vec::new();
    while let Some(page) = pages.try_next().await? {
        sizes.push(page.queue_urls().len());
    }
    assert_eq!(sizes, [5, 2]);
    Ok(())
}
