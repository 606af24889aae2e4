//! Maps of options that are written out, and literal arguments, against the declaration of what takes them.

use rhai::{Dynamic, Expr, Map};

use super::script::Call;
use super::{Finding, Text};
use crate::primitives::declaration::{Function, closest, describe};

pub(super) fn judge(text: &Text, found: &mut Vec<Finding>) {
    for call in text.facts.calls.iter().filter(|call| !call.declares_parameter()) {
        if let Some(function) = declared(text, call) {
            options(call, function, found);
            arguments(call, function, found);
        }
    }
}

/// What a call calls, if there is no doubt.
fn declared(text: &Text, call: &Call) -> Option<&'static Function> {
    let is_own = || text.script.functions.iter().any(|function| function.name == call.name);
    if !call.method {
        return text
            .reference
            .function(call.namespace, call.name)
            .filter(|_| !call.namespace.is_empty() || !is_own());
    }
    if let Some(handle) = call.receiver.and_then(|variable| super::calls::handle(text, variable)) {
        return handle.methods.iter().copied().find(|method| method.name == call.name);
    }
    let mut methods = text.reference.methods(call.name);
    methods.next().filter(|_| methods.next().is_none() && !is_own())
}

fn options(call: &Call, function: &Function, found: &mut Vec<Finding>) {
    let name = full_name(call);
    if function.keys.is_empty() {
        return;
    }
    let map = call.arguments.iter().find_map(|argument| match argument {
        Expr::Map(map, _) => Some(map),
        _ => None,
    });
    let Some(map) = map else {
        // Nothing but what cannot be a map: what is required is not there.
        let may_be_map = call.arguments.len() > function.parameters.len();
        let takes_map = function.parameters.iter().any(|parameter| parameter.ends_with(": map"));
        if !may_be_map && !takes_map {
            found.extend(function.keys.iter().filter(|key| key.required).map(|key| {
                Finding::new("missing-key", call.position, format!("{name} needs the key `{}`", key.name))
                    .help(format!("{}: {}", key.name, key.doc))
            }));
        }
        return;
    };
    for (given, value) in &map.0 {
        let Some(key) = function.keys.iter().find(|key| key.name == given.name) else {
            let known = function.keys.iter().map(|key| key.name);
            let finding =
                Finding::new("unknown-key", given.pos, format!("unknown key `{}` for {name}", given.name));
            found.push(match closest(&given.name, known.clone()) {
                Some(near) => finding.help(format!("did you mean `{near}`?")),
                None => finding.help(format!("it takes {}", known.collect::<Vec<_>>().join(", "))),
            });
            continue;
        };
        if let Some(literal) = literal(value).filter(|literal| !key.holds.accepts(literal)) {
            let title =
                format!("`{}` of {name} is {}, and not {}", key.name, key.holds.word(), describe(&literal));
            found.push(Finding::new("key-type", given.pos, title).help(format!("{}: {}", key.name, key.doc)));
        }
    }
    for key in function.keys.iter().filter(|key| key.required) {
        if !map.0.iter().any(|(given, _)| given.name == key.name) {
            found.push(
                Finding::new("missing-key", call.position, format!("{name} needs the key `{}`", key.name))
                    .help(format!("{}: {}", key.name, key.doc)),
            );
        }
    }
}

/// Literal arguments of another type than the parameter's.
fn arguments(call: &Call, function: &Function, found: &mut Vec<Finding>) {
    if call.arguments.len() < function.parameters.len() {
        return;
    }
    for (argument, parameter) in call.arguments.iter().zip(function.parameters) {
        let (Some(literal), Some((name, wanted))) = (literal(argument), parameter.split_once(": ")) else {
            continue;
        };
        let fits = match wanted {
            "string" => literal.is_string(),
            "int" => literal.is_int(),
            "list" => literal.is_array(),
            "map" => literal.is_map(),
            "bool" => literal.is_bool(),
            "closure" => false,
            _ => true,
        };
        // A word may take its options before its other arguments.
        let options_first = literal.is_map() && !function.keys.is_empty();
        if !fits && !options_first {
            let title = format!(
                "`{name}` of {} is {}, and not {}",
                full_name(call),
                article(wanted),
                describe(&literal)
            );
            found.push(Finding::new("argument-type", argument.position(), title));
        }
    }
}

fn article(wanted: &str) -> String {
    match wanted {
        "int" => "a whole number".to_owned(),
        "bool" => "true or false".to_owned(),
        "map" => "a map #{..}".to_owned(),
        other => format!("a {other}"),
    }
}

/// A value that is written out; of lists and maps the kind alone.
fn literal(value: &Expr) -> Option<Dynamic> {
    match value {
        Expr::Array(..) => Some(Dynamic::from_array(Vec::new())),
        Expr::Map(..) => Some(Dynamic::from_map(Map::new())),
        Expr::InterpolatedString(..) => Some("..".into()),
        Expr::DynamicConstant(..) => None,
        other => other.get_literal_value(None).filter(|value| !value.is_fnptr()),
    }
}

fn full_name(call: &Call) -> String {
    match call.namespace {
        "" => call.name.to_owned(),
        namespace => format!("{namespace}::{}", call.name),
    }
}
