//! Builds the Rhai engine of a run: its namespaces, its limits, its printing, and how it is stopped.

use std::sync::Arc;

use rhai::module_resolvers::DummyModuleResolver;
use rhai::{Dynamic, Engine, EvalAltResult, FnNamespace, FuncRegistration, Module};

use crate::error::{Error, say};
use crate::host::Host;
use crate::plan;
use crate::playbook::Playbook;
use crate::primitives::namespace::Declared;
use crate::primitives::{self, Exit, Parameters};
use crate::progress;
use crate::report::Problem;
use crate::sources::{MAX_EXPRESSION_DEPTH, Sources};

/// Deep enough for any script that a person writes; the script's thread has the stack for it in a debug build as well.
const MAX_CALL_LEVELS: usize = 128;

/// No text, list, blob or map of a script has more characters or parts: far more than a deployment needs, and no way to take
/// all memory by mistake.
const LARGEST: usize = 16 * 1024 * 1024;

/// The stack of the thread that runs a script: [`MAX_CALL_LEVELS`] frames of an unoptimised build.
pub const STACK_SIZE: usize = 64 * 1024 * 1024;

/// An engine, and what a report needs to know about its functions.
pub struct Prepared {
    pub engine: Engine,
    /// Name and signature of every host function.
    pub functions: Vec<(String, String)>,
    /// Rust's name and the author's word of every type of handle.
    pub types: Vec<(String, String)>,
    /// What each namespace declares.
    pub namespaces: Vec<Declared>,
}

/// Builds the engine for `playbook`. What it imports is kept in `sources`.
pub fn prepare(host: &Arc<Host>, parameters: Parameters, playbook: &Playbook, sources: &Sources) -> Prepared {
    let mut prepared = build(host, parameters);
    prepared.engine.set_module_resolver(playbook.modules(sources));
    prepared
}

/// Builds an engine that imports nothing.
pub fn build(host: &Arc<Host>, parameters: Parameters) -> Prepared {
    let mut engine = Engine::new();
    engine.set_strict_variables(true);
    engine.disable_symbol("eval");
    engine.set_max_expr_depths(MAX_EXPRESSION_DEPTH, MAX_EXPRESSION_DEPTH);
    engine.set_max_call_levels(MAX_CALL_LEVELS);
    engine.set_max_string_size(LARGEST);
    engine.set_max_array_size(LARGEST);
    engine.set_max_map_size(LARGEST);
    engine.set_module_resolver(DummyModuleResolver::new());
    engine.on_print(progress::result);
    engine.on_debug(|text, source, position| {
        let source = source.unwrap_or_default();
        say(&format!("{source}:{position:?}: {text}"));
    });
    let cancelled = host.clone();
    engine.on_progress(move |_| cancelled.cancelled().then(|| Dynamic::from(Error::interrupted())));

    if host.dry_run {
        plan::register(&mut engine);
    }

    let mut errors = Module::new();
    register_error(&mut errors);
    engine.register_global_module(errors.into());

    let mut functions = Vec::new();
    let mut types = Vec::new();
    let mut namespaces = Vec::new();
    for namespace in primitives::namespaces(host, parameters) {
        types.extend(namespace.types());
        functions.extend(namespace.signatures());
        namespaces.push(namespace.declared());
        let (name, module) = namespace.into_module();
        if name.is_empty() {
            engine.register_global_module(module.into());
        } else {
            engine.register_static_module(name, module.into());
        }
    }
    Prepared { engine, functions, types, namespaces }
}

/// What a script reads of an error that it caught.
fn register_error(module: &mut Module) {
    module.set_custom_type::<Error>("Error");
    let mut text = |name: &str, read: fn(&Error) -> String| {
        FuncRegistration::new_getter(name)
            .with_namespace(FnNamespace::Global)
            .set_into_module(module, move |error: &mut Error| read(error));
    };
    text("kind", |error| error.kind.word().to_owned());
    text("service", |error| error.service.clone());
    text("operation", |error| error.operation.clone());
    text("code", |error| error.code.clone());
    text("message", |error| error.message.clone());
    text("request_id", |error| error.request_id.clone());
    FuncRegistration::new_getter("retryable")
        .with_namespace(FnNamespace::Global)
        .set_into_module(module, |error: &mut Error| error.retryable);
    for name in ["to_string", "to_debug"] {
        FuncRegistration::new(name)
            .with_namespace(FnNamespace::Global)
            .set_into_module(module, |error: &mut Error| error.to_string());
    }
    for name in ["==", "!="] {
        // The engine by itself would say `false`, and the branch that handles the error would never be taken.
        let refused = |_: Error, _: Dynamic| -> Result<bool, Box<EvalAltResult>> {
            Err("an error cannot be compared: compare its `kind` or its `code`".into())
        };
        FuncRegistration::new(name).with_namespace(FnNamespace::Global).set_into_module(module, refused);
    }
}

/// The host's error inside an error of the engine, if it is one.
pub fn host_error(error: &EvalAltResult) -> Option<Error> {
    match error.unwrap_inner() {
        EvalAltResult::ErrorRuntime(value, _) | EvalAltResult::ErrorTerminated(value, _) => {
            value.clone().try_cast::<Error>()
        }
        _ => None,
    }
}

/// The exit code that the playbook chose with `exit(..)`, if that is how it ended.
pub fn exit_code(error: &EvalAltResult) -> Option<u8> {
    match error.unwrap_inner() {
        EvalAltResult::ErrorTerminated(value, _) => value.clone().try_cast::<Exit>().map(|Exit(code)| code),
        _ => None,
    }
}

/// The host's error as a report draws it.
pub fn describe(value: &Dynamic) -> Option<Problem> {
    let error = value.clone().try_cast::<Error>()?;
    let mut notes = Vec::new();
    if !error.request_id.is_empty() {
        notes.push(format!("request id {}", error.request_id));
    }
    Some(Problem {
        title: crate::secret::mask(&error.title()),
        key: error.key.clone(),
        notes,
        raised: error.raised.clone(),
        help: error.help.iter().map(|sentence| crate::secret::mask(sentence)).collect(),
    })
}
