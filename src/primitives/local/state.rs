//! `state::` the keys of `deploy_config.json`, which other tools read.

use std::sync::Arc;

use rhai::{Dynamic, Map};

use crate::error::Error;
use crate::host::Host;
use crate::plan::{self, Unknown};
use crate::primitives::declaration::Function;
use crate::primitives::namespace::{Call, Namespace};
use crate::secret::Secret;

const SET: Function = Function {
    name: "set",
    doc: "Sets keys of the state file and writes it; `()` removes a key. Others' keys stay as they are.",
    parameters: &["values: map"],
    returns: "()",
    permissions: &[],
    example: "state::set(#{ server_port: 8080 });",
    keys: &[],
};

const GET: Function = Function {
    name: "get",
    doc: "The value of a key, or `()`.",
    parameters: &["key: string"],
    returns: "?",
    permissions: &[],
    example: r#"
        state::set(#{ server_port: 8080 });
        print(state::get("server_port"));"#,
    keys: &[],
};

const REMOVE: Function = Function {
    name: "remove",
    doc: "Removes the state file: the stack is gone.",
    parameters: &[],
    returns: "()",
    permissions: &[],
    example: "state::remove();",
    keys: &[],
};

const PATH: Function = Function {
    name: "path",
    doc: "The name of the state file, as tools of the project are given it.",
    parameters: &[],
    returns: "string",
    permissions: &[],
    example: "say(`app-client --state ${state::path()} doctor`);",
    keys: &[],
};

pub fn namespace(host: &Arc<Host>) -> Namespace {
    let mut namespace = Namespace::new("state", host);
    namespace
        .function1(&SET, set)
        .function1(&GET, get)
        .function0(&PATH, |call| {
            let path = call.with_state(|state| Ok(state.path().to_owned()))?;
            Ok(path.strip_prefix(&call.project.root).unwrap_or(&path).display().to_string())
        })
        .function0(
            &REMOVE,
            |call| {
                if call.dry_run { Ok(()) } else { call.with_state(|state| state.remove()) }
            },
        );
    namespace
}

fn set(call: &Call, values: Map) -> Result<(), Error> {
    if call.dry_run {
        return Ok(());
    }
    let mut converted = Vec::new();
    for (key, value) in values {
        let json = json(&value).map_err(|what| {
            Error::invalid(format!("`{key}` holds {what}, which a state file cannot")).key(key.as_str())
        })?;
        converted.push((key.to_string(), json));
    }
    call.with_state(|state| state.set(converted))
}

fn get(call: &Call, key: String) -> Result<Dynamic, Error> {
    call.with_state(|state| {
        let value = state.get(&key).cloned().unwrap_or_default();
        rhai::serde::to_dynamic(value).map_err(|error| Error::internal(error.to_string()))
    })
}

/// A script's value as JSON. Handles and secrets have none: what stands in the way is named.
pub fn json(value: &Dynamic) -> Result<serde_json::Value, &'static str> {
    if value.is::<Secret>() || value.is::<super::secrets::StoredSecret>() {
        return Err("a secret");
    }
    if let Some(unknown) = value.read_lock::<Unknown>() {
        return Ok(plan::readable(&unknown.to_string()).into());
    }
    if let Some(list) = value.read_lock::<rhai::Array>() {
        return list.iter().map(json).collect::<Result<_, _>>().map(serde_json::Value::Array);
    }
    if let Some(map) = value.read_lock::<Map>() {
        let pairs = map.iter().map(|(key, value)| Ok((key.to_string(), json(value)?)));
        return pairs.collect::<Result<_, _>>().map(serde_json::Value::Object);
    }
    rhai::serde::from_dynamic(value).map_err(|_| "a handle")
}
