//! What a run did to each resource of the stack, and what it left as it was.

use serde::Serialize;

use super::Existing;
use crate::progress::{Verb, seconds};
use crate::record::Change;

/// A resource, and what became of it.
#[derive(Debug, Serialize)]
pub(super) struct Resource {
    title: String,
    key: String,
    /// `created`, `changed`, `deleted`, `unchanged` or `failed`.
    became: &'static str,
    /// The service's word for how it is now.
    status: String,
    /// How it was made, where there is no more to say of it.
    only: Option<String>,
    changes: Vec<Line>,
}

/// One change.
#[derive(Debug, Serialize)]
struct Line {
    sign: char,
    detail: String,
    operation: String,
    at: String,
    failure: Option<String>,
}

/// How many resources became something.
#[derive(Debug, Serialize)]
pub(super) struct Count {
    count: usize,
    became: &'static str,
}

/// The words, in the order in which they are counted.
const WORDS: [&str; 5] = ["created", "changed", "deleted", "failed", "unchanged"];

/// The resources: first what was changed, in the order of the first change of each, then what was found and left as it was.
pub(super) fn resources(changes: &[Change], things: &[Existing], planned: bool) -> Vec<Resource> {
    let mut rows: Vec<(String, String, String, Vec<&Change>)> = Vec::new();
    for change in changes {
        let (key, title, status) = match existing(change, things) {
            Some(thing) => (thing.key.clone(), thing.title.clone(), thing.status.clone()),
            None => absent(change),
        };
        match rows.iter_mut().find(|(known, ..)| *known == key) {
            Some((.., changes)) => changes.push(change),
            None => rows.push((key, title, status, vec![change])),
        }
    }
    let mut resources: Vec<Resource> = rows
        .into_iter()
        .map(|(key, title, status, changes)| {
            let mut lines: Vec<Line> = changes.iter().map(|change| line(change)).collect();
            let became = became(&changes);
            let only = match &changes[..] {
                [made] if became == "created" && !is_secret(made) => {
                    lines.pop().map(|line| format!("{} · {}, after {}", line.detail, line.operation, line.at))
                }
                _ => None,
            };
            let status = if planned { String::new() } else { status };
            Resource { title, key, became, status, only, changes: lines }
        })
        .collect();
    let told = |thing: &&Existing| resources.iter().any(|known| known.key == thing.key);
    let unchanged: Vec<Resource> = things
        .iter()
        .filter(|thing| !told(thing))
        .map(|thing| Resource {
            title: thing.title.clone(),
            key: thing.key.clone(),
            became: "unchanged",
            status: thing.status.clone(),
            only: None,
            changes: Vec::new(),
        })
        .collect();
    resources.extend(unchanged);
    resources
}

pub(super) fn counts(resources: &[Resource]) -> Vec<Count> {
    let count = |became| resources.iter().filter(|resource| resource.became == became).count();
    let counts = WORDS.map(|became| Count { count: count(became), became });
    counts.into_iter().filter(|count| count.count > 0).collect()
}

/// The stack's secrets are one thing in its inventory.
const SECRETS: &str = "secrets:all";

fn is_secret(change: &Change) -> bool {
    change.service == "ssm"
}

/// The thing of the stack that a change is about: of its service and name, and of the kind that its operation names, if any.
fn existing<'a>(change: &Change, things: &'a [Existing]) -> Option<&'a Existing> {
    if is_secret(change) {
        return things.iter().find(|thing| thing.key == SECRETS);
    }
    let same = |thing: &&Existing| {
        let (service, rest) = thing.key.split_once(':').unwrap_or_default();
        service == change.service && rest.rsplit('/').next() == Some(&change.name)
    };
    // `security_group/app` is of the kind `security`: the word that tells its operations from those of others.
    let kind = |thing: &Existing| -> String {
        let kind = thing.key.split_once(':').and_then(|(_, rest)| rest.split_once('/')).map(|(kind, _)| kind);
        kind.and_then(|kind| kind.split('_').next()).unwrap_or_default().to_owned()
    };
    let operation = change.operation.to_lowercase();
    let mut found: Vec<&Existing> = things.iter().filter(same).collect();
    // A thing that needs no kind in its key comes last.
    found.sort_by_key(|thing| std::cmp::Reverse(kind(thing).len()));
    found.into_iter().find(|thing| operation.contains(&kind(thing)))
}

/// What is known of a resource that is not there, or not yet: its key, title and status.
fn absent(change: &Change) -> (String, String, String) {
    if is_secret(change) {
        return (SECRETS.to_owned(), "secrets".to_owned(), String::new());
    }
    // `TerminateInstances` and `RunInstances` are about the same: what follows the verb.
    let kind = change.operation.trim_start_matches(|c: char| c.is_ascii_uppercase());
    let kind = kind.trim_start_matches(|c: char| c.is_ascii_lowercase()).to_lowercase();
    let kind = ["securitygroup", "keypair", "targetgroup", "dbsubnetgroup"]
        .into_iter()
        .find(|known| kind.starts_with(known))
        .unwrap_or_default();
    let title = match kind {
        "securitygroup" => "security group",
        "keypair" => "key pair",
        "targetgroup" => "target group",
        "dbsubnetgroup" => "subnet group",
        _ => change.service.as_str(),
    };
    (format!("{} {kind} {}", change.service, change.name), format!("{title} {}", change.name), String::new())
}

fn became(changes: &[&Change]) -> &'static str {
    let any = |verb: Verb| changes.iter().any(|change| change.verb == verb && change.failure.is_none());
    if changes.iter().any(|change| change.failure.is_some()) {
        "failed"
    } else if any(Verb::Delete) && !any(Verb::Create) {
        "deleted"
    } else if any(Verb::Create) {
        "created"
    } else if any(Verb::Update) || any(Verb::Add) || any(Verb::Remove) {
        "changed"
    } else {
        // What was opened was closed again.
        "unchanged"
    }
}

fn line(change: &Change) -> Line {
    Line {
        sign: change.verb.sign(),
        detail: if is_secret(change) && change.detail == "secret" {
            change.name.clone()
        } else {
            change.detail.clone()
        },
        operation: format!("{} {}", change.service, change.operation),
        at: seconds(change.at),
        failure: change.failure.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn change(verb: Verb, of: [&str; 3], failure: Option<&str>) -> Change {
        let [service, operation, name] = of.map(str::to_owned);
        Change {
            verb,
            service,
            operation,
            name,
            detail: String::new(),
            at: Duration::ZERO,
            failure: failure.map(str::to_owned),
        }
    }

    fn existing(key: &str) -> Existing {
        Existing { key: key.to_owned(), title: key.to_owned(), status: String::new() }
    }

    #[test]
    fn each_change_is_told_of_the_thing_that_it_was_made_to() {
        use Verb::{Add, Close, Create, Delete, Open, Update};
        let changes = [
            change(Create, ["ec2", "CreateSecurityGroup", "app"], None),
            change(Add, ["ec2", "AuthorizeSecurityGroupIngress", "app"], None),
            change(Add, ["ec2", "AuthorizeSecurityGroupIngress", "db"], None),
            change(Update, ["ec2", "StartInstances", "app"], None),
            change(Create, ["rds", "CreateDBInstance", "db"], Some("no room")),
            change(Create, ["rds", "CreateDBSubnetGroup", "db"], None),
            change(Delete, ["ec2", "DeleteKeyPair", "key"], None),
            change(Open, ["ec2", "AuthorizeSecurityGroupIngress", "ssh"], None),
            change(Close, ["ec2", "RevokeSecurityGroupIngress", "ssh"], None),
            change(Create, ["ssm", "PutParameter", "server/key"], None),
        ];
        let things = [
            "ec2:app",
            "ec2:security_group/app",
            "ec2:security_group/db",
            "ec2:security_group/ssh",
            "rds:subnet_group/db",
            "sns:alerts",
            "secrets:all",
        ]
        .map(existing);
        let told = resources(&changes, &things, false);
        let seen: Vec<_> = told.iter().map(|it| (it.title.as_str(), it.became, it.changes.len())).collect();
        assert_eq!(
            seen,
            [
                ("ec2:security_group/app", "created", 2),
                ("ec2:security_group/db", "changed", 1),
                ("ec2:app", "changed", 1),
                ("rds db", "failed", 1),
                ("rds:subnet_group/db", "created", 0),
                ("key pair key", "deleted", 1),
                ("ec2:security_group/ssh", "unchanged", 2),
                ("secrets:all", "created", 1),
                ("sns:alerts", "unchanged", 0),
            ]
        );
        let counts: Vec<_> = counts(&told).iter().map(|it| (it.count, it.became)).collect();
        assert_eq!(counts, [(3, "created"), (2, "changed"), (1, "deleted"), (1, "failed"), (2, "unchanged")]);
    }
}
