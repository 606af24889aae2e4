//! Calls of functions that are not there, or with another number of arguments; properties that a handle does not have.

use rhai::{Expr, Position};

use super::script::{Call, Script};
use super::{Finding, Text};
use crate::primitives::namespace::Handle;
use crate::reference::Reference;
use crate::report::nearest;

/// Words of the language that are called, and are no functions of the engine's.
const WORDS: [&str; 9] =
    ["Fn", "call", "curry", "is_def_fn", "is_def_var", "is_shared", "print", "debug", "type_of"];

pub(super) fn judge(text: &Text, found: &mut Vec<Finding>) {
    for call in text.facts.calls.iter().filter(|call| !call.declares_parameter()) {
        found.extend(match call.namespace {
            "" => plain(text, call),
            namespace => qualified(text, call, namespace),
        });
    }
    for property in &text.facts.properties {
        let Some(handle) = property.of.and_then(|variable| handle(text, variable)) else { continue };
        if !handle.properties.iter().any(|(name, _)| *name == property.name) {
            let title = format!("{} has no property `{}`", handle.name, property.name);
            let names = || handle.properties.iter().map(|(name, _)| *name);
            let finding = Finding::new("unknown-property", property.position, title);
            found.push(match nearest(property.name, names()) {
                Some(near) => finding.help(format!("did you mean `{near}`?")),
                None if handle.methods.iter().any(|method| method.name == property.name) => {
                    finding.help(format!("it is called: `.{}()`", property.name))
                }
                None => finding.help(format!("it has {}", names().collect::<Vec<_>>().join(", "))),
            });
        }
    }
}

/// A call without a namespace: of the file, of the language, of a handle.
fn plain(text: &Text, call: &Call) -> Option<Finding> {
    let name = call.name;
    if name == "eval" {
        let finding = Finding::new("unknown-function", call.position, "there is no `eval`");
        return Some(finding.help("a playbook says what it does where everybody can read it"));
    }
    if WORDS.contains(&name) || name.starts_with("anon$") {
        return None;
    }
    let given = call.arguments.len();
    let own: Vec<&super::script::Body> =
        text.script.functions.iter().filter(|function| function.name == name).collect();
    let mut accepted: Vec<usize> = own.iter().map(|function| function.parameters.len()).collect();
    // The receiver of a method is the first argument of a host function.
    let receiver = usize::from(call.method);
    let ways = text.reference.ways("", name).map(|way| way.arguments);
    accepted.extend(ways.filter(|arguments| *arguments >= receiver).map(|arguments| arguments - receiver));
    // A closure in a map is called like a method.
    let is_closure_of_a_map = call.method && text.facts.named.iter().any(|(key, ..)| *key == name);
    if accepted.contains(&given) || is_closure_of_a_map {
        return None;
    }
    if accepted.is_empty() {
        return Some(unknown(text, call));
    }
    let signature = match own.first() {
        Some(function) => Some(format!("{name}({})", function.parameters.join(", "))),
        None => text.reference.signature("", name).map(str::to_owned),
    };
    Some(miscounted(call, name, &accepted, signature))
}

fn unknown(text: &Text, call: &Call) -> Finding {
    let name = call.name;
    let finding = |title: String| Finding::new("unknown-function", call.position, title);
    if call.method {
        if let Some(handle) = call.receiver.and_then(|variable| handle(text, variable)) {
            let near = nearest(name, handle.methods.iter().map(|method| method.name));
            return finding(format!("{} has no method `{name}`", handle.name)).suggest(near);
        }
        let near = nearest(name, text.reference.names("").filter(|name| is_word(name)));
        return finding(format!("nothing has a method `{name}`")).suggest(near);
    }
    if let Some(variable) = text.facts.declared.iter().find(|declared| declared.name == name) {
        let line = variable.position.line().unwrap_or_default();
        return finding(format!("there is no function `{name}`"))
            .note(format!("`{name}` is a variable (line {line})"))
            .help(format!("a closure in a variable is called by `{name}.call(..)`"));
    }
    // Who forgets the namespace is told which ones have such a function.
    let elsewhere = text.reference.namespaces.iter().filter(|namespace| !namespace.name.is_empty());
    let elsewhere =
        elsewhere.filter(|namespace| namespace.functions.iter().any(|function| function.name == name));
    let elsewhere: Vec<String> = elsewhere.map(|namespace| format!("`{}::{name}`", namespace.name)).collect();
    let finding = finding(format!("there is no function `{name}`"));
    if !elsewhere.is_empty() {
        return finding.help(format!("did you mean {}?", elsewhere.join(" or ")));
    }
    let own = text.script.functions.iter().map(|function| function.name.as_str());
    let names = text.reference.names("").chain(own).chain(WORDS).filter(|name| is_word(name));
    finding.suggest(nearest(name, names))
}

fn is_word(name: &str) -> bool {
    name.starts_with(|first: char| first.is_alphabetic()) && !name.contains('$')
}

/// `namespace::function(..)`, of the host or of an imported module.
fn qualified(text: &Text, call: &Call, namespace: &str) -> Option<Finding> {
    let full = format!("{namespace}::{}", call.name);
    if let Some(module) = text.imported.iter().find(|module| module.name == namespace) {
        let functions = || module.ast.iter().flat_map(|ast| ast.iter_functions());
        module.ast.as_ref()?;
        let same = || functions().filter(|function| function.name == call.name);
        let accepted: Vec<usize> = same().map(|function| function.params.len()).collect();
        if accepted.contains(&call.arguments.len()) {
            return None;
        }
        if accepted.is_empty() {
            let names = functions().map(|function| function.name).filter(|name| is_word(name));
            let near = nearest(call.name, names).map(|near| format!("{namespace}::{near}"));
            let title = format!("the module has no function `{}`", call.name);
            return Some(Finding::new("unknown-function", call.position, title).suggest(near.as_deref()));
        }
        let signature = same().next().map(|it| format!("{full}({})", it.params.join(", ")));
        return Some(miscounted(call, &full, &accepted, signature));
    }
    if text.reference.namespace(namespace).is_none() {
        return Some(unknown_namespace(text, namespace, call.position));
    }
    let accepted: Vec<usize> = text.reference.ways(namespace, call.name).map(|way| way.arguments).collect();
    if accepted.contains(&call.arguments.len()) {
        return None;
    }
    if accepted.is_empty() {
        let near = nearest(call.name, text.reference.names(namespace));
        let near = near.map(|near| format!("{namespace}::{near}"));
        let finding =
            Finding::new("unknown-function", call.position, format!("there is no function `{full}`"));
        if near.is_none() && text.reference.methods(call.name).next().is_some() {
            return Some(finding.help(format!("it is a method: `value.{}(..)`", call.name)));
        }
        return Some(finding.suggest(near.as_deref()));
    }
    let signature = text.reference.signature(namespace, call.name).map(str::to_owned);
    Some(miscounted(call, &full, &accepted, signature))
}

pub(super) fn unknown_namespace(text: &Text, namespace: &str, position: Position) -> Finding {
    let names = text.reference.namespaces.iter().map(|known| known.name);
    let names = names.chain(text.imported.iter().map(|module| module.name));
    let finding = Finding::new("unknown-namespace", position, format!("there is no `{namespace}::`"));
    match nearest(namespace, names) {
        Some(near) => finding.help(format!("did you mean `{near}::`?")),
        None => finding.help(format!(
            "a module of your own is imported first: `import \"lib/{namespace}\" as {namespace};`"
        )),
    }
}

fn miscounted(call: &Call, name: &str, accepted: &[usize], signature: Option<String>) -> Finding {
    let mut counts = accepted.to_vec();
    counts.sort_unstable();
    counts.dedup();
    let noun = if counts == [1] { "argument" } else { "arguments" };
    let counts: Vec<String> = counts.iter().map(ToString::to_string).collect();
    let given = call.arguments.len();
    let title = format!("`{name}` takes {} {noun}, and is given {given}", counts.join(" or "));
    let finding = Finding::new("arguments", call.position, title);
    match signature {
        Some(signature) => finding.help(format!("it is `{signature}`")),
        None => finding,
    }
}

/// The type of handle in a variable, where its one value says so.
pub(super) fn handle<'s>(text: &Text<'s>, variable: usize) -> Option<&'s Handle> {
    let declared = &text.facts.declared[variable];
    let value = declared.value.filter(|_| !declared.assigned)?;
    given_by(text.reference, text.script, value)
}

fn given_by<'s>(reference: &'s Reference, script: &'s Script, value: &Expr) -> Option<&'s Handle> {
    let Expr::FnCall(call, _) = value else { return None };
    if call.namespace.is_empty() && call.name == "step" {
        return given_by(reference, script, script.result_of(call.args.get(1)?)?);
    }
    let namespace = if call.namespace.is_empty() { "" } else { call.namespace.root() };
    let function = reference.function(namespace, &call.name)?;
    // `find_x` may give nothing: the script has to ask first.
    (!function.name.starts_with("find_")).then(|| reference.handle(namespace, function.returns))?
}
