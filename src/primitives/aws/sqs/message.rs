//! A message of a queue: what SNS wrapped into its envelope, or the body as it came.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_sqs::types::{Message as Received, MessageSystemAttributeName};
use rhai::{Dynamic, ImmutableString, Map};
use serde::Deserialize;

use super::Queue;

/// A message that was received. Cheap to copy.
#[derive(Clone)]
pub(super) struct Message(Arc<Details>);

/// What is known of a message.
pub(super) struct Details {
    pub(super) queue: Queue,
    pub(super) id: String,
    pub(super) receipt: String,
    pub(super) body: String,
    /// How often it was received so far.
    pub(super) received: i64,
    /// When it was published, as SNS wrote it; when it was sent where there is no envelope.
    pub(super) timestamp: String,
    envelope: Option<Envelope>,
    /// A script has said how long it stays hidden: it is not done with it.
    put_back: AtomicBool,
}

/// What SNS puts round a message for a queue (SNS Developer Guide, "Amazon SNS message and JSON formats").
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope {
    r#type: String,
    topic_arn: String,
    subject: Option<String>,
    message: String,
    timestamp: String,
}

impl Message {
    pub(super) fn new(queue: &Queue, message: Received) -> Self {
        let attribute = |name| message.attributes().and_then(|all| all.get(&name)).cloned();
        let received = attribute(MessageSystemAttributeName::ApproximateReceiveCount);
        let sent = attribute(MessageSystemAttributeName::SentTimestamp);
        let body = message.body.unwrap_or_default();
        let envelope = serde_json::from_str(&body).ok().filter(|it: &Envelope| it.r#type == "Notification");
        let timestamp = match &envelope {
            Some(envelope) => envelope.timestamp.clone(),
            None => sent.map(rfc_3339).unwrap_or_default(),
        };
        Message(Arc::new(Details {
            queue: queue.clone(),
            id: message.message_id.unwrap_or_default(),
            receipt: message.receipt_handle.unwrap_or_default(),
            received: received.and_then(|count| count.parse().ok()).unwrap_or(1),
            timestamp,
            envelope,
            body,
            put_back: AtomicBool::new(false),
        }))
    }

    /// It is to come again: a loop does not delete it.
    pub(super) fn put_back(&self) {
        self.put_back.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_put_back(&self) -> bool {
        self.put_back.load(Ordering::SeqCst)
    }

    /// Whether SNS sent it, in its envelope.
    pub(super) fn is_notification(&self) -> bool {
        self.envelope.is_some()
    }

    pub(super) fn subject(&self) -> &str {
        self.envelope.as_ref().and_then(|envelope| envelope.subject.as_deref()).unwrap_or_default()
    }

    /// What was published; the whole body where there is no envelope.
    pub(super) fn text(&self) -> &str {
        self.envelope.as_ref().map_or(&self.body, |envelope| &envelope.message)
    }

    /// All of it as one map.
    pub(super) fn fields(&self) -> Map {
        let text = |text: &str| Dynamic::from(ImmutableString::from(text));
        Map::from([
            ("id".into(), text(&self.id)),
            ("timestamp".into(), text(&self.timestamp)),
            ("subject".into(), text(self.subject())),
            ("message".into(), text(self.text())),
            ("topic".into(), text(self.topic())),
            ("notification".into(), self.is_notification().into()),
            ("received".into(), self.received.into()),
        ])
    }

    /// The topic's name: the last part of its ARN.
    pub(super) fn topic(&self) -> &str {
        let arn = self.envelope.as_ref().map(|envelope| envelope.topic_arn.as_str()).unwrap_or_default();
        arn.rsplit(':').next().unwrap_or_default()
    }
}

impl std::ops::Deref for Message {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.0
    }
}

/// SQS gives milliseconds since 1970.
fn rfc_3339(milliseconds: String) -> String {
    let moment = milliseconds.parse().ok().and_then(|it| jiff::Timestamp::from_millisecond(it).ok());
    moment.map_or(milliseconds, |moment| moment.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &str) -> Message {
        let queue = Queue { url: None, arn: String::new(), name: "log".to_owned() };
        let received = Received::builder()
            .message_id("m1")
            .body(body)
            .attributes(MessageSystemAttributeName::SentTimestamp, "1700000000123")
            .build();
        Message::new(&queue, received)
    }

    #[test]
    fn an_envelope_gives_subject_text_topic_and_time() {
        let it = message(
            r#"{"Type":"Notification","TopicArn":"arn:aws:sns:us-east-1:1:alerts","Subject":"Hi","Message":"è vero","Timestamp":"2026-01-02T03:04:05.678Z","More":1}"#,
        );
        assert_eq!((it.subject(), it.text(), it.topic()), ("Hi", "è vero", "alerts"));
        assert_eq!(it.timestamp, "2026-01-02T03:04:05.678Z");
        assert!(it.is_notification());
    }

    #[test]
    fn everything_else_is_shown_as_it_came() {
        let others = ["", "{", "null", "12", "not json", r#"{"Type":"Notification"}"#, r#"{"Message":"x"}"#];
        for body in others {
            let it = message(body);
            assert!(!it.is_notification(), "{body}");
            assert_eq!((it.text(), it.subject(), it.topic()), (body, "", ""));
            assert_eq!(it.timestamp, "2023-11-14T22:13:20.123Z");
        }
    }
}
