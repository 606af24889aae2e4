//! What a script may do with an unknown value, as the engine meets it: keep it, join it to a text, read a property of it.
//! Everything else decides on it and ends the plan.

use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString, NativeCallContext, Position};

use super::{Decided, Unknown};

/// How the engine names the type in its own errors.
pub(super) const TYPE_NAME: &str = "KnownAfterDeploy";

/// Comparisons and arithmetic. The engine's own answer to a comparison of different types would be a silent `false`.
const OPERATORS: &[&str] = &[
    "==", "!=", "<", "<=", ">", ">=", "-", "*", "/", "%", "**", "&", "|", "^", "<<", ">>", "-=", "*=", "/=",
    "%=", "**=", "&=", "|=", "^=", "<<=", ">>=", "contains",
];

type Stopped<T> = Result<T, Box<EvalAltResult>>;

/// Teaches the engine of a plan about unknown values.
pub fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Unknown>(TYPE_NAME);
    for operator in OPERATORS {
        let doing = if *operator == "contains" { "searches" } else { "decides on" };
        engine
            .register_fn(*operator, move |context: NativeCallContext, it: Unknown, _: Dynamic| {
                stop::<bool>(&context, doing, it)
            })
            .register_fn(*operator, move |context: NativeCallContext, _: Dynamic, it: Unknown| {
                stop::<bool>(&context, doing, it)
            })
            .register_fn(*operator, move |context: NativeCallContext, it: Unknown, _: Unknown| {
                stop::<bool>(&context, doing, it)
            });
    }
    for operator in ["-", "+", "!"] {
        engine.register_fn(operator, |context: NativeCallContext, it: Unknown| {
            stop::<bool>(&context, "decides on", it)
        });
    }
    register_texts(engine);
    // A property of what is not known is not known either.
    engine.register_indexer_get(|it: &mut Unknown, key: Dynamic| Unknown {
        what: format!("`{key}` of {}", it.what),
        place: it.place.clone(),
    });
    engine.register_indexer_set(
        |context: NativeCallContext, it: &mut Unknown, _: Dynamic, _: Dynamic| -> Stopped<()> {
            stop(&context, "changes", it.clone())
        },
    );
    let mut iterable = rhai::Module::new();
    iterable.set_iter_result(std::any::TypeId::of::<Unknown>(), |value| {
        let stopped = value.try_cast::<Unknown>().map(|it| decided("loops over", it, Position::NONE));
        Box::new(stopped.into_iter().map(Err))
    });
    engine.register_global_module(iterable.into());
    // The engine asks here after every call of a native function that failed.
    #[expect(deprecated, reason = "the only hook for a missing method; the version of rhai is pinned")]
    engine.on_missing_function(|name, arguments, _, _| {
        let unknown = arguments.iter().find_map(|value| value.read_lock::<Unknown>().map(|it| it.clone()));
        match unknown {
            Some(it) => Err(decided(&format!("calls `{name}` with"), it, Position::NONE)),
            None => Ok(None),
        }
    });
}

/// A text that an unknown value has become part of is not known either.
fn register_texts(engine: &mut Engine) {
    let joined = |one: &str, other: &str, place: String| Unknown { what: format!("{one}{other}"), place };
    let quoted = |it: &Unknown| format!("<{}>", it.what);
    engine.register_fn("+", move |text: ImmutableString, it: Unknown| joined(&text, &quoted(&it), it.place));
    engine.register_fn("+", move |it: Unknown, text: ImmutableString| joined(&quoted(&it), &text, it.place));
    engine
        .register_fn("+", move |it: Unknown, other: Unknown| joined(&quoted(&it), &quoted(&other), it.place));
    engine.register_fn("+", |context: NativeCallContext, it: Unknown, _: Dynamic| {
        stop::<Dynamic>(&context, "calculates with", it)
    });
    engine.register_fn("+", |context: NativeCallContext, _: Dynamic, it: Unknown| {
        stop::<Dynamic>(&context, "calculates with", it)
    });
    engine.register_fn(
        "+=",
        |context: NativeCallContext, _: &mut ImmutableString, it: Unknown| -> Stopped<()> {
            stop(&context, "appends, where `text = text + x` could be planned,", it)
        },
    );
    for name in ["to_string", "to_debug"] {
        engine.register_fn(name, |it: &mut Unknown| it.to_string());
    }
}

fn stop<T>(context: &NativeCallContext, doing: &str, on: Unknown) -> Stopped<T> {
    Err(decided(doing, on, context.call_position()))
}

fn decided(doing: &str, on: Unknown, position: Position) -> Box<EvalAltResult> {
    EvalAltResult::ErrorTerminated(Dynamic::from(Decided { doing: doing.to_owned(), on }), position).into()
}
