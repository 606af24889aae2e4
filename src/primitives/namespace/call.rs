//! One call of a host function: where it stands, and how its outcome reaches the script.

use std::sync::Arc;

use rhai::{Dynamic, EvalAltResult, FnPtr, NativeCallContext, Position};

use super::Value;
use crate::error::{Error, Kind};
use crate::host::Host;
use crate::plan::Unknown;

/// One call of a host function: the host, and where in which file the call stands.
pub struct Call<'a> {
    pub host: &'a Arc<Host>,
    pub context: &'a NativeCallContext<'a>,
}

impl Call<'_> {
    /// `deploy.rhai:30`, for progress lines.
    pub fn place(&self) -> String {
        place(self.context)
    }

    /// Runs a closure inside a function that has errors of its own.
    pub fn back(&self, closure: &FnPtr) -> Result<(), Error> {
        match closure.call_within_context::<Dynamic>(self.context, ()) {
            Ok(_) => Ok(()),
            Err(error) => Err(match error.unwrap_inner() {
                EvalAltResult::ErrorRuntime(value, _) | EvalAltResult::ErrorTerminated(value, _)
                    if value.is::<Error>() =>
                {
                    value.clone().cast::<Error>()
                }
                other => Error::invalid(other.to_string()),
            }),
        }
    }
}

impl std::ops::Deref for Call<'_> {
    type Target = Host;

    fn deref(&self) -> &Host {
        self.host
    }
}

/// An error as a script meets it. An interruption cannot be caught.
pub fn thrown(error: Error, position: Position) -> Box<EvalAltResult> {
    Box::new(match error.kind {
        Kind::Interrupted => EvalAltResult::ErrorTerminated(Dynamic::from(error), position),
        _ => EvalAltResult::ErrorRuntime(Dynamic::from(error), position),
    })
}

/// What a native function gives to the engine.
pub type Thrown<T> = Result<T, Box<EvalAltResult>>;

/// What a call gives to the engine. What a plan cannot know yet is a value of its own, and no error.
pub(super) fn finish<T: Value>(context: &NativeCallContext, outcome: Result<T, Error>) -> Thrown<Dynamic> {
    match outcome {
        Ok(value) => Ok(Dynamic::from(value)),
        Err(error) if error.kind == Kind::Planned => {
            Ok(Dynamic::from(Unknown { what: error.message.clone(), place: place(context) }))
        }
        Err(error) => {
            let position = context.call_position();
            Err(thrown(error.raised(context.call_source().unwrap_or_default(), position), position))
        }
    }
}

/// `deploy.rhai:30`, where a call stands.
fn place(context: &NativeCallContext) -> String {
    let file = context.call_source().unwrap_or_default();
    let file = file.rsplit('/').next().unwrap_or(file);
    match context.call_position().line() {
        Some(line) => format!("{file}:{line}"),
        None => file.to_owned(),
    }
}
