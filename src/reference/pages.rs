//! The reference as pages: Markdown for people, definitions for editors. Both are written from the declarations alone.

use std::fmt::Write;

use crate::primitives::declaration::Function;
use crate::primitives::namespace::Declared;

/// The file name of a namespace's page, without its ending.
pub fn file_name(namespace: &Declared) -> &'static str {
    if namespace.name.is_empty() { "global" } else { namespace.name }
}

/// The page of a namespace.
pub fn page(namespace: &Declared) -> String {
    let mut page = match namespace.name {
        "" => "# Global words\n".to_owned(),
        name => format!("# `{name}::`\n"),
    };
    page += "\nWritten from the code by `ops doc --write docs/reference`.\n";
    for function in &namespace.functions {
        page += &entry(namespace.name, function, false);
    }
    for handle in &namespace.handles {
        if handle.properties.is_empty() && handle.methods.is_empty() {
            continue;
        }
        _ = write!(page, "\n## Handle {}\n", handle.name);
        if !handle.properties.is_empty() {
            page += "\n| Property | Gives |\n|---|---|\n";
            for (name, doc) in &handle.properties {
                _ = writeln!(page, "| `.{name}` | {} |", cell(doc));
            }
        }
        for method in &handle.methods {
            page += &entry("", method, true);
        }
    }
    page
}

/// What the terminal shows of one function.
pub fn entry(namespace: &str, function: &Function, method: bool) -> String {
    let level = if method { "###" } else { "##" };
    let mut entry = format!("\n{level} `{}`\n\n", signature(namespace, function, method));
    for line in function.doc.lines() {
        entry += line.trim();
        entry.push('\n');
    }
    if !function.keys.is_empty() {
        entry += "\n| Option | Holds | |\n|---|---|---|\n";
        for key in function.keys {
            let required = if key.required { " Required." } else { "" };
            _ = writeln!(
                entry,
                "| `{}` | {} | {}.{required} |",
                key.name,
                cell(key.holds.word()),
                cell(key.doc)
            );
        }
    }
    if !function.permissions.is_empty() {
        let actions: Vec<String> = function.permissions.iter().map(|action| format!("`{action}`")).collect();
        _ = write!(entry, "\nPermissions: {}.\n", actions.join(", "));
    }
    let example = dedented(function.example);
    if !example.is_empty() {
        _ = write!(entry, "\n```rhai\n{example}\n```\n");
    }
    entry
}

/// The definitions of a namespace, as editors read them.
pub fn definition(namespace: &Declared) -> String {
    let mut text = format!(
        "//! Written from the code by `ops doc --definitions`.\n\nmodule {};\n",
        match namespace.name {
            "" => "static",
            name => name,
        }
    );
    let mut add = |function: &Function, receiver: Option<&str>| {
        text.push('\n');
        for line in function.doc.lines() {
            _ = writeln!(text, "/// {}", line.trim());
        }
        for key in function.keys {
            _ = writeln!(text, "/// `{}`: {}", key.name, key.doc);
        }
        let receiver = receiver.map(|name| format!("this: {name}"));
        let options = (!function.keys.is_empty()).then(|| "options: map".to_owned());
        let parameters = function.parameters.iter().map(|parameter| (*parameter).to_owned());
        let parameters: Vec<String> = receiver.into_iter().chain(parameters).chain(options).collect();
        _ = writeln!(text, "fn {}({}) -> {};", function.name, parameters.join(", "), function.returns);
    };
    for function in &namespace.functions {
        add(function, None);
    }
    for handle in &namespace.handles {
        for method in &handle.methods {
            add(method, Some(handle.name));
        }
    }
    for handle in &namespace.handles {
        for (name, doc) in &handle.properties {
            _ = write!(text, "\n/// {doc}\nfn get {name}(this: {}) -> ?;\n", handle.name);
        }
    }
    text
}

fn signature(namespace: &str, function: &Function, method: bool) -> String {
    let mut parameters = function.parameters.join(", ");
    if !function.keys.is_empty() {
        parameters += if parameters.is_empty() { "#{ .. }" } else { ", #{ .. }" };
    }
    let name = match (method, namespace) {
        (true, _) => format!(".{}", function.name),
        (false, "") => function.name.to_owned(),
        (false, namespace) => format!("{namespace}::{}", function.name),
    };
    let returns = if function.returns == "()" { String::new() } else { format!(" -> {}", function.returns) };
    format!("{name}({parameters}){returns}")
}

/// A sentence inside of a table, where a bar would end the cell.
fn cell(text: &str) -> String {
    text.trim_end_matches('.').replace('|', "\\|").replace('\n', " ")
}

/// A text without the indentation that it has in the source.
pub fn dedented(text: &str) -> String {
    let text = text.trim_matches('\n');
    let indentation = text.lines().filter(|line| !line.trim().is_empty());
    let indentation = indentation.map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    let lines: Vec<&str> = text.lines().map(|line| line.get(indentation..).unwrap_or_default()).collect();
    lines.join("\n").trim_end().to_owned()
}
