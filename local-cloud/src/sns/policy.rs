//! Whether a queue's policy lets a topic send to it. Only what such policies are written with is understood; any other condition
//! counts as not met, so that what AWS would refuse is never let through.

use serde_json::Value;

const PRINCIPAL: &str = "sns.amazonaws.com";
const ACTION: &str = "sqs:sendmessage";

pub(super) fn lets_send(policy: Option<&str>, queue: &str, topic: &str) -> bool {
    let Some(policy) = policy.and_then(|text| serde_json::from_str::<Value>(text).ok()) else { return false };
    let applies = |statement: &&Value| {
        is_principal(&statement["Principal"])
            && texts(&statement["Action"]).iter().any(|action| like(&action.to_ascii_lowercase(), ACTION))
            && texts(&statement["Resource"]).iter().any(|resource| like(resource, queue))
            && is_met(&statement["Condition"], topic)
    };
    let statements = one_or_many(&policy["Statement"]);
    let has =
        |effect: &str| statements.iter().filter(|statement| statement["Effect"] == effect).any(&applies);
    has("Allow") && !has("Deny")
}

fn one_or_many(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(values) => values.iter().collect(),
        Value::Null => Vec::new(),
        one => vec![one],
    }
}

fn texts(value: &Value) -> Vec<&str> {
    one_or_many(value).into_iter().filter_map(Value::as_str).collect()
}

fn is_principal(principal: &Value) -> bool {
    principal == "*"
        || texts(&principal["AWS"]).contains(&"*")
        || texts(&principal["Service"]).iter().any(|service| *service == PRINCIPAL || *service == "*")
}

fn is_met(condition: &Value, topic: &str) -> bool {
    let Some(operators) = condition.as_object() else { return condition.is_null() };
    operators.iter().all(|(operator, keys)| {
        let compare: fn(&str, &str) -> bool = match operator.as_str() {
            "ArnEquals" | "ArnLike" | "StringLike" => like,
            "StringEquals" => |wanted, topic| wanted == topic,
            _ => return false,
        };
        keys.as_object().is_some_and(|keys| {
            keys.iter().all(|(key, values)| match key.to_ascii_lowercase().as_str() {
                "aws:sourcearn" => texts(values).iter().any(|wanted| compare(wanted, topic)),
                "aws:sourceaccount" => texts(values).contains(&crate::cloud::ACCOUNT),
                _ => false,
            })
        })
    })
}

fn like(pattern: &str, text: &str) -> bool {
    crate::select::glob(pattern, text)
}
