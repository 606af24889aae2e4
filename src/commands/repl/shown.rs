//! A value as it is shown: on one line where it fits, else a line for each part.

use rhai::{Dynamic, Engine, Scope};

/// What fits on a line of most terminals.
const WIDTH: usize = 100;

pub(super) fn text(engine: &Engine, value: &Dynamic) -> String {
    // Lines, such as what a command printed, are shown as lines.
    match value.read_lock::<rhai::ImmutableString>() {
        Some(text) if text.trim_end().contains('\n') => text.trim_end().to_owned(),
        _ => part(engine, value, 0),
    }
}

fn part(engine: &Engine, value: &Dynamic, indentation: usize) -> String {
    let line = line(engine, value);
    if line.chars().count() + indentation <= WIDTH {
        return line;
    }
    let inner = " ".repeat(indentation + 2);
    let outer = " ".repeat(indentation);
    if let Some(list) = value.read_lock::<rhai::Array>() {
        let parts: Vec<String> =
            list.iter().map(|value| format!("{inner}{}", part(engine, value, indentation + 2))).collect();
        return format!("[\n{}\n{outer}]", parts.join(",\n"));
    }
    if let Some(map) = value.read_lock::<rhai::Map>() {
        let parts: Vec<String> = map
            .iter()
            .map(|(key, value)| format!("{inner}{key}: {}", part(engine, value, indentation + 2)))
            .collect();
        return format!("#{{\n{}\n{outer}}}", parts.join(",\n"));
    }
    line
}

/// The handle's own words, which only the engine knows.
fn line(engine: &Engine, value: &Dynamic) -> String {
    let mut scope = Scope::new();
    scope.push_dynamic("value", value.clone());
    engine
        .eval_expression_with_scope::<String>(&mut scope, "value.to_debug()")
        .unwrap_or_else(|_| value.to_string())
}
