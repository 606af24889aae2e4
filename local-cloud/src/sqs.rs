//! SQS: standard queues whose messages survive a restart, with long polling, dead-letter queues and AWS's rule that a deleted queue's
//! name is blocked for 60 s. FIFO queues are refused.

mod attribute;
mod log;
mod message;
mod queue;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

pub(crate) use attribute::Attribute;
pub(crate) use log::{MessageLog, moved};
pub(crate) use message::Message;
pub(crate) use queue::Queue;

use crate::cloud::{ACCOUNT, Cloud};
use crate::json::{Call, Document, Service};
use crate::query::AwsError;
use crate::time::Time;

pub(crate) const SERVICE: Service = Service {
    name: "sqs",
    target: "AmazonSQS",
    content_type: "application/x-amz-json-1.0",
    operations: &[queue::OPERATIONS, message::OPERATIONS],
    invalid: "InvalidParameterValue",
    modelled: Some(|code| match code {
        "AWS.SimpleQueueService.NonExistentQueue" => "QueueDoesNotExist",
        "QueueAlreadyExists" => "QueueNameExists",
        other => other.rsplit('.').next().unwrap_or(other),
    }),
};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) queues: BTreeMap<String, Queue>,
    /// When a queue's name is free again.
    deleted: BTreeMap<String, Time>,
}

impl State {
    pub(crate) fn by_arn(&mut self, arn: &str) -> Option<&mut Queue> {
        self.queues.values_mut().find(|queue| queue.arn == arn)
    }
}

pub(crate) fn arn(region: &str, name: &str) -> String {
    format!("arn:aws:sqs:{region}:{ACCOUNT}:{name}")
}

fn url(cloud: &Cloud, name: &str) -> String {
    format!("{}/{ACCOUNT}/{name}", cloud.endpoint)
}

/// The name in a queue's URL. The host is not looked at: the port may have been another one before a restart.
fn queue_name(document: &Document) -> Result<&str, AwsError> {
    let url = document.required("QueueUrl")?;
    Ok(url.rsplit('/').next().unwrap_or(url))
}

fn queue<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Queue, AwsError> {
    let name = queue_name(call.document)?;
    call.region.sqs.queues.get_mut(name).ok_or_else(no_such_queue)
}

fn no_such_queue() -> AwsError {
    AwsError::new("AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.")
}

/// Waits, outside of the state's lock, until a receive would find a message or its time is over.
pub(crate) async fn long_poll(cloud: &Cloud, region: &str, document: &Document) {
    let Ok(name) = queue_name(document) else { return };
    let asked = document.number("WaitTimeSeconds").ok().flatten();
    let mut changed = cloud.changed();
    let started = Instant::now();
    loop {
        changed.mark_unchanged();
        let ready = cloud.read(region, |region| {
            let queue = region.sqs.queues.get(name)?;
            if queue.has_visible_message() {
                return None;
            }
            u64::try_from(asked.unwrap_or(queue.receive_wait_s())).ok()
        });
        // AWS's longest wait is 20 s; a longer one is refused by the operation itself.
        let Some(wait) = ready.await.map(|wait| Duration::from_secs(wait.min(20))) else { return };
        let Some(left) = wait.checked_sub(started.elapsed()) else { return };
        tokio::select! {
            _ = changed.changed() => {}
            // A message can also become visible by itself.
            () = sleep(left.min(Duration::from_millis(200))) => {}
            () = cloud.stopping() => return,
        }
    }
}
