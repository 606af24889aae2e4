//! Queues, and where they put messages aside, for the picture of a stack.

use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::Value;

use super::queues;
use crate::clients::aws::failure;
use crate::error::Error;
use crate::host::Host;
use crate::picture::{Health, Kind, Link, Meaning, Part, Thing};

pub fn drawn(host: &Host) -> Result<Vec<Part>, Error> {
    let mut parts = Vec::new();
    for (url, name) in queues(host)? {
        let found = host.block(async {
            let request = host.aws()?.sqs.get_queue_attributes().queue_url(&url);
            let request = request.attribute_names(QueueAttributeName::All);
            request.send().await.map_err(|error| failure("sqs", "GetQueueAttributes", error))
        })?;
        let attribute =
            |name: &QueueAttributeName| found.attributes().and_then(|all| all.get(name)).map(String::as_str);
        let arn = attribute(&QueueAttributeName::QueueArn).unwrap_or(&url).to_owned();
        if let Some(redrive) = attribute(&QueueAttributeName::RedrivePolicy) {
            parts.extend(put_aside(&arn, redrive));
        }
        let retention = attribute(&QueueAttributeName::MessageRetentionPeriod).and_then(kept);
        parts.push(Part::Thing(Thing {
            id: arn,
            key: format!("sqs:{name}"),
            kind: Kind::Queue,
            name,
            status: String::new(),
            health: Health::Open,
            lines: retention.into_iter().collect(),
        }));
    }
    Ok(parts)
}

/// The arrow to the dead-letter queue.
fn put_aside(from: &str, redrive: &str) -> Option<Part> {
    let policy: Value = serde_json::from_str(redrive).ok()?;
    let to = policy["deadLetterTargetArn"].as_str()?.to_owned();
    let times = match &policy["maxReceiveCount"] {
        Value::String(times) => times.clone(),
        other => other.to_string(),
    };
    let label = format!("after {times} receives");
    Some(Part::Link(Link { from: from.to_owned(), to, label, meaning: Meaning::SendsOn }))
}

/// `keeps 14 days`, from seconds.
fn kept(seconds: &str) -> Option<String> {
    let seconds: u64 = seconds.parse().ok()?;
    let (count, unit) = match seconds {
        _ if seconds.is_multiple_of(86_400) => (seconds / 86_400, "day"),
        _ if seconds.is_multiple_of(3600) => (seconds / 3600, "hour"),
        _ => (seconds, "second"),
    };
    Some(format!("keeps {count} {unit}{}", if count == 1 { "" } else { "s" }))
}
