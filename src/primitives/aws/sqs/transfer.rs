//! Receiving and deleting in batches, again and again until it works: an outage is waited for with growing pauses, and said.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, MessageSystemAttributeName,
    QueueAttributeName,
};

use super::Queue;
use super::message::Message;
use crate::clients::aws::failure;
use crate::error::Error;
use crate::host::Host;
use crate::progress::{Line, seconds};

/// The most that one call carries (SQS API Reference, `ReceiveMessage`, `DeleteMessageBatch`).
pub(super) const BATCH: usize = 10;

/// The pauses of an outage grow from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The way between one queue and this run.
pub(super) struct Transfer {
    host: Arc<Host>,
    sqs: aws_sdk_sqs::Client,
    queue: Queue,
    url: String,
    wait_s: i32,
}

impl Transfer {
    pub(super) fn new(host: &Arc<Host>, queue: &Queue, wait_s: i32) -> Result<Self, Error> {
        Ok(Transfer {
            host: host.clone(),
            sqs: host.aws()?.sqs.clone(),
            url: queue.known_url()?.to_owned(),
            queue: queue.clone(),
            wait_s,
        })
    }

    /// One attempt for each call: [`Transfer::persist`] repeats it, and says so. For a loop: the client has connections of its own.
    pub(super) fn at_once(self) -> Self {
        let config = self.sqs.config().to_builder().retry_config(RetryConfig::disabled()).build();
        Transfer { sqs: aws_sdk_sqs::Client::from_conf(config), ..self }
    }

    pub(super) async fn visibility_timeout(&self) -> Result<Duration, Error> {
        let request = self.sqs.get_queue_attributes().queue_url(&self.url);
        let answer = request.attribute_names(QueueAttributeName::VisibilityTimeout).send().await;
        let answer = answer.map_err(|error| failure("sqs", "GetQueueAttributes", error))?;
        let hidden = answer.attributes().and_then(|all| all.get(&QueueAttributeName::VisibilityTimeout));
        // SQS Developer Guide: 30 s where a queue says nothing.
        Ok(Duration::from_secs(hidden.and_then(|text| text.parse().ok()).unwrap_or(30)))
    }

    /// The next messages, with the time from which on they are hidden; none where none came while it waited.
    pub(super) async fn receive(&self) -> Result<(Instant, Vec<Message>), Error> {
        self.persist(|| async {
            let asked = Instant::now();
            let answer = self
                .sqs
                .receive_message()
                .queue_url(&self.url)
                .max_number_of_messages(10)
                .wait_time_seconds(self.wait_s)
                .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
                .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
                .send()
                .await
                .map_err(|error| failure("sqs", "ReceiveMessage", error))?;
            let messages = answer.messages.unwrap_or_default();
            // A message that came in the middle of the wait is hidden from then on: later is on the safe side for none.
            let since = if messages.is_empty() { Instant::now() } else { asked };
            Ok((since, messages.into_iter().map(|message| Message::new(&self.queue, message)).collect()))
        })
        .await
    }

    /// Deletes messages; those that are gone already are fine.
    pub(super) async fn delete(&self, messages: &[Message]) -> Result<(), Error> {
        for batch in messages.chunks(BATCH) {
            let mut left: Vec<&Message> = batch.iter().collect();
            while !left.is_empty() {
                left = self.persist(|| self.delete_batch(&left)).await?;
            }
        }
        Ok(())
    }

    /// Sends one deletion; gives what the service could not delete just now.
    async fn delete_batch<'a>(&self, batch: &[&'a Message]) -> Result<Vec<&'a Message>, Error> {
        let entries = batch.iter().enumerate().map(|(number, message)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(number.to_string());
            entry.receipt_handle(&message.receipt).build()
        });
        let entries: Result<Vec<_>, _> = entries.collect();
        let answer = self
            .sqs
            .delete_message_batch()
            .queue_url(&self.url)
            .set_entries(Some(entries.map_err(|error| Error::internal(error.to_string()))?))
            .send()
            .await
            .map_err(|error| failure("sqs", "DeleteMessageBatch", error))?;
        let mut again = Vec::new();
        for failed in answer.failed() {
            let Some(message) = failed.id().parse().ok().and_then(|number: usize| batch.get(number)) else {
                continue;
            };
            if failed.sender_fault() {
                let reason = failed.message().unwrap_or(failed.code());
                self.warn(&format!("message {} cannot be deleted and comes again: {reason}", message.id));
            } else {
                again.push(*message);
            }
        }
        if again.len() == batch.len() && !again.is_empty() {
            let error =
                Error::new(crate::error::Kind::Unavailable, "the service deleted none of the messages");
            return Err(error.of("sqs", "DeleteMessageBatch").retryable(true));
        }
        Ok(again)
    }

    /// Lets others see messages again at once. It is a courtesy: what it does not reach is visible after a while.
    pub(super) async fn give_back(&self, messages: &[Message]) {
        for batch in messages.chunks(BATCH) {
            let entries = batch.iter().enumerate().filter_map(|(number, message)| {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(number.to_string());
                entry.receipt_handle(&message.receipt).visibility_timeout(0).build().ok()
            });
            let request = self.sqs.change_message_visibility_batch().queue_url(&self.url);
            if let Err(error) = request.set_entries(Some(entries.collect())).send().await {
                let error = failure("sqs", "ChangeMessageVisibilityBatch", error);
                self.warn(&format!("messages that were not shown stay hidden for a while: {error}"));
                return;
            }
        }
    }

    pub(super) fn warn(&self, text: &str) {
        self.host.progress.line(Line::Warning, &format!("queue {}: {text}", self.queue.name));
    }

    /// Repeats a call while its failure may pass. Others end it: credentials that have expired do not come back by waiting.
    async fn persist<T, F>(&self, call: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut since: Option<Instant> = None;
        let mut pause = FIRST_PAUSE;
        loop {
            match call().await {
                Ok(value) => {
                    if let Some(since) = since {
                        let took = seconds(since.elapsed());
                        let text = format!("queue {}: connected again after {took}", self.queue.name);
                        self.host.progress.line(Line::Info, &text);
                    }
                    return Ok(value);
                }
                Err(error) if error.retryable => {
                    since.get_or_insert_with(Instant::now);
                    self.warn(&format!("{error}; trying again in {}", seconds(pause)));
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }
}
