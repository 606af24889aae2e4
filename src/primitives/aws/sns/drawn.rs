//! Topics and who is subscribed to them, for the picture of a stack.

use aws_sdk_sns::types::Subscription;

use super::{subscriptions, topics};
use crate::error::Error;
use crate::host::Host;
use crate::picture::{Health, Kind, Link, Meaning, Part, Thing};

pub fn drawn(host: &Host) -> Result<Vec<Part>, Error> {
    let mut parts = Vec::new();
    for (arn, name) in topics(host)? {
        for found in host.block(subscriptions(host, &arn))? {
            parts.extend(subscriber(&arn, &found));
        }
        parts.push(Part::Thing(Thing {
            id: arn,
            key: format!("sns:{name}"),
            kind: Kind::Topic,
            name,
            status: String::new(),
            health: Health::Open,
            lines: Vec::new(),
        }));
    }
    Ok(parts)
}

/// The arrow to a subscriber. A queue of the stack is known by its ARN; all others are outside.
fn subscriber(topic: &str, found: &Subscription) -> Vec<Part> {
    let (Some(protocol), Some(endpoint)) = (found.protocol(), found.endpoint()) else { return Vec::new() };
    // Until it is confirmed, a subscription has a word in place of an ARN.
    let confirmed = found.subscription_arn().is_some_and(|arn| arn.starts_with("arn:"));
    let link = |to: &str| {
        Part::Link(Link {
            from: topic.to_owned(),
            to: to.to_owned(),
            label: if confirmed { String::new() } else { "not confirmed yet".to_owned() },
            meaning: Meaning::SendsOn,
        })
    };
    if protocol == "sqs" {
        return vec![link(endpoint)];
    }
    let id = format!("{protocol} {endpoint}");
    let outside = Thing {
        key: String::new(),
        kind: Kind::Outside,
        name: shown(endpoint).to_owned(),
        status: String::new(),
        health: Health::Open,
        lines: vec![format!("told by {protocol}")],
        id: id.clone(),
    };
    vec![Part::Thing(outside), link(&id)]
}

/// What may be seen of an endpoint: of a URL the host alone, since its path or its query may be a password.
fn shown(endpoint: &str) -> &str {
    match endpoint.split_once("://") {
        Some((_, rest)) => {
            let host = rest.split(['/', '?', '#']).next().unwrap_or(rest);
            host.rsplit('@').next().unwrap_or(host)
        }
        None => endpoint,
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn of_a_url_the_host_alone_is_shown() {
        assert_eq!(shown("you@example.com"), "you@example.com");
        assert_eq!(shown("https://user:key@hooks.example.com/T0/B1?token=abc"), "hooks.example.com");
        assert_eq!(shown("arn:aws:lambda:us-east-1:1:function:f"), "arn:aws:lambda:us-east-1:1:function:f");
    }
}
