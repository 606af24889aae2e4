//! SNS: topics, subscriptions of queues and of e-mail addresses (which stay unconfirmed: nothing here sends mail), and publishing.

mod policy;
mod publish;
mod subscription;
mod topic;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cloud::ACCOUNT;
use crate::query::{AwsError, Call, Envelope, Form, Service};

pub(crate) const SERVICE: Service = Service {
    name: "sns",
    namespace: "http://sns.amazonaws.com/doc/2010-03-31/",
    envelope: Envelope::Query,
    operations: &[topic::OPERATIONS, subscription::OPERATIONS, publish::OPERATIONS],
};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    /// By ARN, as are the subscriptions.
    topics: BTreeMap<String, topic::Topic>,
    subscriptions: BTreeMap<String, subscription::Subscription>,
}

fn topic_arn(region: &str, name: &str) -> String {
    format!("arn:aws:sns:{region}:{ACCOUNT}:{name}")
}

fn invalid(message: impl std::fmt::Display) -> AwsError {
    AwsError::new("InvalidParameter", format!("Invalid parameter: {message}"))
}

/// SNS calls a missing parameter invalid.
fn required<'a>(form: &'a Form, name: &str) -> Result<&'a str, AwsError> {
    form.get(name).filter(|value| !value.is_empty()).ok_or_else(|| invalid(format!("{name} is required")))
}

fn topic<'a>(call: &'a mut Call<'_>) -> Result<&'a mut topic::Topic, AwsError> {
    let arn = required(call.form, "TopicArn")?;
    call.region.sns.topics.get_mut(arn).ok_or_else(|| not_found("Topic"))
}

fn not_found(kind: &str) -> AwsError {
    AwsError::with_status(404, "NotFound", format!("{kind} does not exist"))
}
