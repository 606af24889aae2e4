//! Secrets that become part of a text, where they turn into `[redacted]`.

use rhai::Expr;

use super::{Finding, Text};

pub(super) fn judge(text: &Text, found: &mut Vec<Finding>) {
    for joined in &text.facts.joined {
        let declared = &text.facts.declared[joined.variable];
        if declared.value.is_some_and(|value| is_secret(text, value)) {
            let title = format!("`{}` is a secret: as part of a text it is only `[redacted]`", declared.name);
            found.push(
                Finding::new("joined-secret", joined.position, title).help(
                    "pass the secret itself to what needs it, or a `secrets::reference(..)` to a service",
                ),
            );
        }
    }
}

fn is_secret(text: &Text, value: &Expr) -> bool {
    let Expr::FnCall(call, _) = value else { return false };
    let namespace = if call.namespace.is_empty() { "" } else { call.namespace.root() };
    text.reference.function(namespace, &call.name).is_some_and(|function| function.returns == "Secret")
}
