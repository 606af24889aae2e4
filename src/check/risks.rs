//! What works, and should not be done without a thought: each rule has a name, and `// ops:allow NAME` says that it was thought about.

use rhai::{Expr, Position};

use super::{Finding, Text};
use crate::primitives::aws::ec2::security_group::REFUSED_TO_EVERYBODY;
use crate::secret;

pub(super) fn judge(text: &Text, found: &mut Vec<Finding>) {
    for (words, position) in &text.facts.texts {
        found.extend(open_world(words, *position));
        found.extend(static_key(words, *position));
        found.extend(key_material(words, *position));
    }
    for (name, value, position) in &text.facts.named {
        found.extend(secret_literal(name, value, *position));
        found.extend(unprotected(name, value, *position));
    }
    kept_secret(text, found);
    no_stack(text, found);
    delete_outside_owned(text, found);
    outside_tests(text, found);
    planned_switch(text, found);
}

/// A plan does not know every property of what is not made yet, and the engine takes the `_` of a `switch` for what it does not know.
fn planned_switch(text: &Text, found: &mut Vec<Finding>) {
    found.extend(text.facts.switches.iter().map(|(property, call, position)| {
        let title = format!(
            "`switch` on `{}` of what `{call}` makes takes `_` in a plan, where it may not be known",
            property
        );
        Finding::new("planned-switch", *position, title)
            .help("decide by `if`: a plan ends there, and says so")
            .help("where it is known before: `// ops:allow planned-switch`")
    }));
}

/// What only a test may ask of its cloud.
fn outside_tests(text: &Text, found: &mut Vec<Finding>) {
    let calls = text.facts.calls.iter().filter(|call| call.namespace == "cloud" && !text.test);
    let known = calls.filter(|call| text.reference.function("cloud", call.name).is_some());
    found.extend(known.map(|call| {
        let title = format!("`cloud::{}` is for tests, and fails elsewhere", call.name);
        Finding::new("outside-tests", call.position, title)
            .help("put it into a function `test_..` of playbooks/tests, and run that by `ops test`")
    }));
}

fn open_world(words: &str, position: Position) -> Option<Finding> {
    matches!(words, "0.0.0.0/0" | "::/0").then(|| {
        let ports: Vec<String> = REFUSED_TO_EVERYBODY.iter().map(|(port, _)| port.to_string()).collect();
        Finding::new("open-world", position, format!("`{words}` is everybody on the internet"))
            .help("name who needs it, such as `my_ip()`, a range of your own or a security group")
            .help(format!(
                "where everybody is meant: `// ops:allow open-world`; port {} wants `--allow-open` at its run, too",
                ports.join(" or ")
            ))
    })
}

fn static_key(words: &str, position: Position) -> Option<Finding> {
    let named = matches!(words, "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY");
    (secret::holds_access_key(words) || named).then(|| {
        Finding::new("static-keys", position, "an access key of an account has no place in a playbook")
            .help(
                "who runs the playbook is logged in: `aws sso login`, a role, or a profile of ~/.aws/config",
            )
            .help("what runs on an instance acts as its `instance_profile`")
    })
}

fn key_material(words: &str, position: Position) -> Option<Finding> {
    secret::holds_key_material(words).then(|| literal(position, "this text holds a secret"))
}

fn secret_literal(name: &str, value: &Expr, position: Position) -> Option<Finding> {
    let Expr::StringConstant(words, _) = value else { return None };
    let name_of_secret = name.to_ascii_lowercase();
    let says_secret = ["password", "passwd", "secret", "token", "api_key", "private_key"]
        .iter()
        .any(|word| name_of_secret == *word || name_of_secret.ends_with(&format!("_{word}")));
    let is_reference = words.starts_with("ssm:") || words.is_empty();
    (says_secret && !is_reference)
        .then(|| literal(position, &format!("`{name}` is a secret that everybody can read here")))
}

fn literal(position: Position, title: &str) -> Finding {
    Finding::new("secret-literal", position, title)
        .help("let one be made and kept: `secrets::ensure(\"name\")`")
        .help("a secret of others comes from the environment of whoever runs the playbook")
}

/// `secrets::set("name", "the secret itself")`.
fn kept_secret(text: &Text, found: &mut Vec<Finding>) {
    for call in text.facts.calls.iter().filter(|call| call.namespace == "secrets" && call.name == "set") {
        if let Some(Expr::StringConstant(words, position)) = call.arguments.get(1)
            && key_material(words, *position).is_none()
            && !words.contains("://")
        {
            found.push(literal(*position, "the secret stands in the playbook"));
        }
    }
}

fn unprotected(name: &str, value: &Expr, position: Position) -> Option<Finding> {
    let literal = value.get_literal_value(None)?;
    let what = match name {
        "deletion_protection" if literal.as_bool() == Ok(false) => "can be deleted by anybody, at once",
        "backup_retention_days" if literal.as_int() == Ok(0) => "has no backups",
        "publicly_accessible" if literal.as_bool() == Ok(true) => "can be reached from the internet",
        "skip_final_snapshot" if literal.as_bool() == Ok(true) => "leaves nothing when it is deleted",
        "storage_encrypted" if literal.as_bool() == Ok(false) => "lies on its disk for everybody to read",
        _ => return None,
    };
    Some(
        Finding::new("unprotected-database", position, format!("with this the database {what}"))
            .help("leave the key out: what ops sets by itself protects the data"),
    )
}

/// Things are made, and nothing says whose they are.
fn no_stack(text: &Text, found: &mut Vec<Finding>) {
    let calls = &text.facts.calls;
    if text.library || calls.iter().any(|call| call.namespace.is_empty() && call.name == "stack") {
        return;
    }
    let makes = |name: &str, namespace: &str| {
        name.starts_with("ensure") && text.reference.function(namespace, name).is_some() || name == "owned"
    };
    if let Some(call) = calls.iter().find(|call| !call.method && makes(call.name, call.namespace)) {
        found.push(
            Finding::new(
                "no-stack",
                call.position,
                "the playbook makes things, and does not say of which stack",
            )
            .help("begin it with `stack(\"music-app\");`: what is made carries that name"),
        );
    }
}

/// Deleting past the list of what the stack owns.
fn delete_outside_owned(text: &Text, found: &mut Vec<Finding>) {
    const VERBS: [&str; 6] = ["Delete", "Terminate", "Remove", "Purge", "Deregister", "Release"];
    for call in &text.facts.calls {
        let deletes = match (call.namespace, call.name, call.arguments) {
            ("aws", "call", [_, Expr::StringConstant(operation, _), ..]) => {
                VERBS.iter().any(|verb| operation.starts_with(verb))
            }
            ("process", "run", [Expr::Array(words, _), ..]) => {
                let word = |index: usize| match words.get(index) {
                    Some(Expr::StringConstant(word, _)) => word.as_str(),
                    _ => "",
                };
                let deletes = |word: &str| word.starts_with("delete-") || word.starts_with("terminate-");
                word(0) == "aws" && (0..words.len()).any(|index| deletes(word(index)))
            }
            _ => false,
        };
        if deletes {
            found.push(
                Finding::new(
                    "delete-outside-owned",
                    call.position,
                    "this deletes without asking whose it is",
                )
                .help("`owned()` lists what the stack has made; `.delete()` takes that, after consent")
                .help("for a thing of no stack: `// ops:allow delete-outside-owned`"),
            );
        }
    }
}
