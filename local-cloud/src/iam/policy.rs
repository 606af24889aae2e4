//! Policy documents: checked for what makes IAM refuse them, shown URL-encoded, and asked who may play a role.

use serde_json::Value;

use crate::query::AwsError;

fn malformed(reason: impl Into<String>) -> AwsError {
    AwsError::new("MalformedPolicyDocument", reason)
}

/// One value or a list of them.
fn each(value: &Value) -> Vec<&Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(values) => values.iter().collect(),
        one => vec![one],
    }
}

/// A document that says who may play a role has principals; one that says what a role may do has resources.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Trust,
    Permissions,
}

pub(super) fn check(text: &str, purpose: Purpose) -> Result<(), AwsError> {
    let policy: Value =
        serde_json::from_str(text).map_err(|_| malformed("This policy contains invalid Json"))?;
    let version = policy["Version"].as_str().unwrap_or("2008-10-17");
    if !matches!(version, "2012-10-17" | "2008-10-17") {
        return Err(malformed(format!("The policy version {version} is not 2012-10-17")));
    }
    let statements = each(&policy["Statement"]);
    if statements.is_empty() {
        return Err(malformed("Syntax errors in policy: it has no Statement"));
    }
    for statement in statements {
        let has = |one: &str, other: &str| !statement[one].is_null() || !statement[other].is_null();
        if !matches!(statement["Effect"].as_str(), Some("Allow" | "Deny")) {
            return Err(malformed("Syntax errors in policy: Effect must be Allow or Deny"));
        }
        if !has("Action", "NotAction") {
            return Err(malformed("Policy statement must contain actions."));
        }
        match purpose {
            Purpose::Trust if !has("Principal", "NotPrincipal") => {
                return Err(malformed("AssumeRole policy must contain principals"));
            }
            Purpose::Trust if has("Resource", "NotResource") => {
                return Err(malformed("Has prohibited field Resource"));
            }
            Purpose::Permissions if !has("Resource", "NotResource") => {
                return Err(malformed("Policy statement must contain resources."));
            }
            Purpose::Permissions if has("Principal", "NotPrincipal") => {
                return Err(malformed("Policy document should not specify a principal."));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether a trust policy lets one of these principals (ARNs of a user or session, and of its account) play the role. Of conditions
/// only the external id is known; one that is not known lets nobody.
pub(super) fn trusts(text: &str, principals: &[&str], external_id: Option<&str>) -> bool {
    let Ok(policy) = serde_json::from_str::<Value>(text) else { return false };
    let applies = |statement: &&Value| {
        let actions = each(&statement["Action"]);
        let assumes = |action: &&Value| matches!(action.as_str(), Some("sts:AssumeRole" | "sts:*" | "*"));
        let named = match &statement["Principal"] {
            Value::Object(kinds) => kinds.get("AWS").map(each).unwrap_or_default(),
            other => each(other),
        };
        let is_named =
            |name: &&Value| name.as_str().is_some_and(|name| name == "*" || principals.contains(&name));
        actions.iter().any(assumes)
            && named.iter().any(is_named)
            && meets(&statement["Condition"], external_id)
    };
    let statements = each(&policy["Statement"]);
    let of = |effect: &str| statements.iter().filter(|statement| statement["Effect"] == effect).any(&applies);
    of("Allow") && !of("Deny")
}

fn meets(condition: &Value, external_id: Option<&str>) -> bool {
    let Some(operators) = condition.as_object() else { return true };
    operators.iter().all(|(operator, keys)| {
        let Some(keys) = keys.as_object() else { return false };
        keys.iter().all(|(key, wanted)| {
            operator == "StringEquals"
                && key == "sts:ExternalId"
                && each(wanted).iter().any(|wanted| wanted.as_str() == external_id)
        })
    })
}

/// RFC 3986: what IAM's clients decode.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
