//! The words that say what has to hold, in a test or in a playbook. One that does not hold is thrown, with both values.

use rhai::{Dynamic, EvalAltResult, FnPtr};

use crate::error::{Error, Kind};
use crate::primitives::declaration::{Function, describe};
use crate::primitives::local::state::json;
use crate::primitives::namespace::{Call, Namespace, thrown};

/// What `e.code` says of something that did not hold.
const CODE: &str = "AssertionFailed";

/// A longer value is cut in a message.
const LONGEST: usize = 2000;

const ASSERT: Function = Function {
    name: "assert",
    doc: "Throws `invalid` with the message unless the condition holds; the code is `AssertionFailed`.",
    parameters: &["condition: bool", "message: string"],
    returns: "()",
    permissions: &[],
    example: r#"
        let ports = [8080, 5432];
        assert(ports.contains(8080), "the service's port is open");"#,
    keys: &[],
};

const ASSERT_EQ: Function = Function {
    name: "assert_eq",
    doc: "Throws `invalid` with both values unless they are equal; the code is `AssertionFailed`. Lists and maps are compared by what is in \
          them, handles by their names.",
    parameters: &["actual: ?", "expected: ?"],
    returns: "()",
    permissions: &[],
    example: "assert_eq([1, 2].len(), 2);",
    keys: &[],
};

const ASSERT_CONTAINS: Function = Function {
    name: "assert_contains",
    doc: "Throws `invalid` unless a text has a part, a list an item or a map a key; the code is `AssertionFailed`.",
    parameters: &["whole: ?", "part: ?"],
    returns: "()",
    permissions: &[],
    example: r#"assert_contains("0 changes", "0 ch");"#,
    keys: &[],
};

const ASSERT_THROWS: Function = Function {
    name: "assert_throws",
    doc: "Runs something that has to fail, and gives its error, for a look at `.kind`, `.code` and `.message`. The first argument is the \
          error's kind, its code or a part of its message; `\"\"` accepts any. Throws `invalid` where nothing fails, or something else; \
          the code is `AssertionFailed`.",
    parameters: &["reason: string", "body: closure"],
    returns: "Error",
    permissions: &[],
    example: r#"
        let error = assert_throws("invalid", || tcp(99999, "10.0.0.0/8"));
        print(error.message);"#,
    keys: &[],
};

/// Adds the words to the global ones.
pub fn register(namespace: &mut Namespace) {
    namespace
        .function2(
            &ASSERT,
            |_, holds: bool, message: String| if holds { Ok(()) } else { Err(failed(message)) },
        )
        .function2(&ASSERT_EQ, equal)
        .function2(&ASSERT_CONTAINS, contains)
        .callback2(&ASSERT_THROWS, throws);
}

fn failed(message: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, message).code(CODE)
}

fn equal(call: &Call, actual: Dynamic, expected: Dynamic) -> Result<(), Error> {
    if same(call, &actual, &expected)? {
        return Ok(());
    }
    Err(failed(format!("expected {}\n  actual {}", shown(call, &expected), shown(call, &actual))))
}

/// Plain values are the same where their JSON is; what has none, such as a handle, knows itself what it equals.
fn same(call: &Call, one: &Dynamic, other: &Dynamic) -> Result<bool, Error> {
    match (json(one), json(other)) {
        (Ok(one), Ok(other)) => Ok(one == other),
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => Ok(false),
        (Err(_), Err(_)) => {
            let (mut one, mut other) = (one.clone(), other.clone());
            let equal = call.context.call_native_fn_raw("==", false, &mut [&mut one, &mut other]);
            let equal = equal.map_err(|error| match error.unwrap_inner() {
                EvalAltResult::ErrorRuntime(value, _) if value.is::<Error>() => value.clone().cast::<Error>(),
                _ => Error::invalid(format!("{} cannot be compared", describe(&one))),
            })?;
            Ok(equal.as_bool().unwrap_or(false))
        }
    }
}

fn contains(call: &Call, whole: Dynamic, part: Dynamic) -> Result<(), Error> {
    let found = match (whole.read_lock::<rhai::ImmutableString>(), part.read_lock::<rhai::ImmutableString>())
    {
        (Some(text), Some(part)) => text.contains(part.as_str()),
        _ if whole.is_array() => {
            let items = whole.clone().into_array().unwrap_or_default();
            let equal = items.iter().map(|item| same(call, item, &part));
            equal.collect::<Result<Vec<_>, _>>()?.contains(&true)
        }
        (None, Some(key)) if whole.is_map() => {
            whole.read_lock::<rhai::Map>().is_some_and(|map| map.contains_key(key.as_str()))
        }
        _ => {
            let (whole, part) = (describe(&whole), describe(&part));
            return Err(Error::invalid(format!("{whole} cannot contain {part}"))
                .help("a text contains a text, a list an item, a map a key"));
        }
    };
    if found {
        Ok(())
    } else {
        Err(failed(format!("{} is not in {}", shown(call, &part), shown(call, &whole))))
    }
}

fn throws(call: &Call, reason: String, body: FnPtr) -> Result<Dynamic, Box<EvalAltResult>> {
    let position = call.context.call_position();
    let wanted =
        if reason.is_empty() { "a failure".to_owned() } else { format!("a failure with `{reason}`") };
    let fail = |message: String| {
        let source = call.context.call_source().unwrap_or_default();
        Err(thrown(failed(message).raised(source, position), position))
    };
    let error = match body.call_within_context::<Dynamic>(call.context, ()) {
        Ok(value) => return fail(format!("expected {wanted}, and it gave {}", shown(call, &value))),
        Err(error) if !error.is_catchable() => return Err(error),
        Err(error) => error,
    };
    let value = match error.unwrap_inner() {
        EvalAltResult::ErrorRuntime(value, _) => value.clone(),
        other => Dynamic::from(Error::new(Kind::Invalid, other.to_string())),
    };
    let (matches, text) = match value.read_lock::<Error>() {
        Some(error) => (
            error.kind.word() == reason || error.code == reason || error.title().contains(&reason),
            error.title(),
        ),
        None => (value.to_string().contains(&reason), value.to_string()),
    };
    if matches { Ok(value) } else { fail(format!("expected {wanted}, and it failed otherwise: {text}")) }
}

/// A value as a message shows it; a handle by its name.
fn shown(call: &Call, value: &Dynamic) -> String {
    let text = match json(value) {
        Ok(json) => json.to_string(),
        Err(what @ "a secret") => what.to_owned(),
        Err(_) => {
            let named = call.context.call_native_fn_raw("to_string", true, &mut [&mut value.clone()]);
            named.ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| describe(value))
        }
    };
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text,
    }
}
