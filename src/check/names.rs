//! Names that nothing declares, and parameters that nothing uses.

use rhai::Expr;

use super::script::Kind;
use super::{Finding, Text};
use crate::report::nearest;

pub(super) fn judge(text: &Text, found: &mut Vec<Finding>) {
    undefined(text, found);
    qualified(text, found);
    unused_parameters(text, found);
}

fn undefined(text: &Text, found: &mut Vec<Finding>) {
    let facts = text.facts;
    for (name, position) in &facts.undefined {
        let finding = Finding::new("unknown-variable", *position, format!("there is no variable `{name}`"));
        let same = facts.declared.iter().filter(|declared| declared.name == *name);
        let earlier = |declared: &&super::script::Declared| {
            !declared.position.is_none()
                && (declared.position.line(), declared.position.position())
                    < (position.line(), position.position())
        };
        let line = |declared: &super::script::Declared| declared.position.line().unwrap_or_default();
        let finding = if let Some(constant) =
            same.clone().find(|declared| declared.at_top && declared.kind == Kind::Constant)
        {
            finding
                .note(format!("`{name}` is a constant of the file (line {})", line(constant)))
                .help(format!("inside a function it is `global::{name}`"))
        } else if let Some(outer) = same.clone().filter(|declared| declared.at_top).find(earlier) {
            finding
                .note(format!(
                    "`{name}` is a variable of the file (line {}); functions do not see these",
                    line(outer)
                ))
                .help(format!("pass it to the function as a parameter: `fn name({name})`"))
        } else if let Some(inner) = same.clone().find(earlier) {
            finding.note(format!("the `{name}` of line {} ends with its block or function", line(inner)))
        } else if let Some(later) = same.clone().find(|declared| !declared.position.is_none()) {
            finding.note(format!("`{name}` is declared only later, on line {}", line(later)))
        } else if text.reference.ways("", name).next().is_some() {
            finding.help(format!("`{name}` is a function: write `{name}(..)`"))
        } else {
            finding.suggest(nearest(name, facts.declared.iter().map(|declared| declared.name)))
        };
        found.push(finding);
    }
}

/// `global::NAME` and `module::NAME`.
fn qualified(text: &Text, found: &mut Vec<Finding>) {
    for (namespace, name, position) in &text.facts.qualified {
        if *namespace == "global" {
            let constants = || {
                text.facts
                    .declared
                    .iter()
                    .filter(|it| it.at_top && it.kind == Kind::Constant)
                    .map(|it| it.name)
            };
            if !constants().any(|constant| constant == *name) {
                let title = format!("the file has no constant `{name}`");
                let finding = Finding::new("unknown-variable", *position, title);
                found.push(match nearest(name, constants()) {
                    Some(near) => finding.help(format!("did you mean `global::{near}`?")),
                    None => finding.help(format!("declare it outside of functions: `const {name} = ..;`")),
                });
            }
        } else if text.reference.namespace(namespace).is_some() {
            let title = format!("`{namespace}::` has no `{name}` to read");
            let near = nearest(name, text.reference.names(namespace));
            found.push(Finding::new("unknown-variable", *position, title).suggest(near));
        } else if !text.imported.iter().any(|module| module.name == *namespace) {
            found.push(super::calls::unknown_namespace(text, namespace, *position));
        }
    }
}

fn unused_parameters(text: &Text, found: &mut Vec<Finding>) {
    for declared in &text.facts.declared {
        let Some(Expr::FnCall(call, _)) = declared.value else { continue };
        let word = call.name.as_str();
        let is_parameter =
            call.namespace.is_empty() && matches!(word, "flag" | "option" | "choice" | "required");
        if is_parameter && declared.at_top && declared.uses == 0 && !declared.exported {
            let title = format!("the parameter in `{}` is never used", declared.name);
            found.push(
                Finding::new("unused-parameter", declared.position, title)
                    .help("use it, or do not offer it: who gives it expects an effect"),
            );
        }
    }
}
