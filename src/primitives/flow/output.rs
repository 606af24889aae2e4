//! What a playbook says while it runs, and what it gives: `say`, `output`, `emit`, `changes`.

use rhai::Map;

use crate::error::Error;
use crate::primitives::declaration::Function;
use crate::primitives::local::state::json;
use crate::primitives::namespace::{Call, Namespace};
use crate::progress::{self, Line};

const SAY: Function = Function {
    name: "say",
    doc: "Prints a line for whoever watches the run, on stderr.",
    parameters: &["text: string"],
    returns: "()",
    permissions: &[],
    example: r#"say("almost there");"#,
    keys: &[],
};

const OUTPUT: Function = Function {
    name: "output",
    doc: "The playbook's result: printed on stdout at the end, as lines or with --json as JSON.",
    parameters: &["values: map"],
    returns: "()",
    permissions: &[],
    example: r#"output(#{ address: "127.0.0.1", port: 8080 });"#,
    keys: &[],
};

const EMIT: Function = Function {
    name: "emit",
    doc: "A part of the playbook's result, on stdout at once: the text, or with --json the values as one line of JSON.",
    parameters: &["values: map", "text: string"],
    returns: "()",
    permissions: &[],
    example: r#"emit(#{ title: "Night Train", duration_s: 180 }, "Night Train, 3 minutes");"#,
    keys: &[],
};

const CHANGES: Function = Function {
    name: "changes",
    doc: "How many resources the run has changed so far.",
    parameters: &[],
    returns: "int",
    permissions: &[],
    example: "print(changes());",
    keys: &[],
};

pub(super) fn register(namespace: &mut Namespace) {
    namespace
        .function1(&SAY, |call, text: String| {
            call.progress.line(Line::Info, &text);
            Ok(())
        })
        .function1(&OUTPUT, output)
        .function2(&EMIT, |call, values: Map, text: String| {
            // What nobody reads is not converted: a live view has many parts.
            if call.progress.is_json() {
                progress::result(&printable(values)?.to_string());
            } else {
                progress::result(&text);
            }
            Ok(())
        })
        .function0(&CHANGES, |call| Ok(i64::from(call.progress.changes())));
}

fn output(call: &Call, values: Map) -> Result<(), Error> {
    call.set_output(printable(values)?);
    Ok(())
}

fn printable(values: Map) -> Result<serde_json::Value, Error> {
    let mut converted = serde_json::Map::new();
    for (key, value) in values {
        let value = json(&value).map_err(|what| {
            Error::invalid(format!("`{key}` holds {what}, which cannot be printed")).key(key.as_str())
        })?;
        converted.insert(key.to_string(), value);
    }
    Ok(converted.into())
}
