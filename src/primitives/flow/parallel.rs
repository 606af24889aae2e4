//! `parallel` and `wait_all`: several things at once, each on a thread of its own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use rhai::{Array, Dynamic, EvalAltResult, FnPtr, FuncArgs, Map, Position};

use super::how_it_ended;
use crate::error::{Error, Kind};
use crate::primitives::declaration::{Function, Holds, Options, describe, optional};
use crate::primitives::namespace::{Call, Namespace, thrown};
use crate::progress::{Line, order, seconds};
use crate::record;

/// As many at once as nobody's machine or service minds.
const WIDTH: i32 = 10;

/// The stack of a thread that runs script code; the same as the script's own.
const STACK_SIZE: usize = 64 * 1024 * 1024;

const PARALLEL: Function = Function {
    name: "parallel",
    doc: "Calls a closure with each item of a list, several at once, and gives the results in the order of the list. All items are \
          tried; then every failure is named.\n\
          What the closure assigns to outer variables stays with that item: results come from what it returns. \
          `parallel(items, #{ width: 3 }, |item| ..)` runs at most three at once.\n\
          Throws the kind of the first failure.",
    parameters: &["items: list", "body: closure"],
    returns: "list",
    permissions: &[],
    example: "let doubled = parallel([1, 2, 3], |n| n * 2);",
    keys: &[optional("width", Holds::Int, "How many at once, 1 to 100; 10 if not given")],
};

const WAIT_ALL: Function = Function {
    name: "wait_all",
    doc: "Waits for each of a list of things that can be waited for, such as instances and databases.",
    parameters: &["things: list"],
    returns: "()",
    permissions: &[],
    example: "wait_all([]);",
    keys: &[],
};

pub(super) fn register(namespace: &mut Namespace) {
    namespace
        .callback2(&PARALLEL, |call, items: Array, body: FnPtr| parallel(call, items, WIDTH, &body))
        .callback3(&PARALLEL, |call, items: Array, options: Map, body: FnPtr| {
            let width = Options::check("parallel", PARALLEL.keys, options)
                .and_then(|options| options.int_in("width", 1..=100))
                .map_err(|error| thrown(error, call.context.call_position()))?;
            parallel(call, items, width.unwrap_or(WIDTH), &body)
        })
        .callback1(&WAIT_ALL, wait_all);
}

/// How a closure ended.
pub(super) type Outcome = Result<Dynamic, Box<EvalAltResult>>;

fn parallel(call: &Call, items: Array, width: i32, body: &FnPtr) -> Result<Array, Box<EvalAltResult>> {
    let position = call.context.call_position();
    let titles: Vec<String> = items.iter().map(ToString::to_string).collect();
    let width = usize::try_from(width).unwrap_or(1);
    let outcomes = side_by_side(call, items.len(), width, |index| {
        one(call, body, items[index].flatten_clone(), &titles[index], items.len() > 1)
    })?;
    let (mut values, mut failures) = (Array::new(), Vec::new());
    for (title, outcome) in titles.into_iter().zip(outcomes) {
        match outcome {
            Ok(value) => values.push(value),
            // An interruption, the end of a plan, an exhausted limit: no failure of an item.
            Err(error) if !error.is_catchable() => return Err(error),
            Err(error) => failures.push((title, error)),
        }
    }
    match failures.len() {
        0 => Ok(values),
        1 if values.is_empty() => Err(failures.remove(0).1),
        _ => Err(failed(failures, values.len(), position)),
    }
}

/// Does the jobs below `count`, `width` at once, each in the scope, the span and the part of the run that the caller is in.
pub(super) fn side_by_side(
    call: &Call,
    count: usize,
    width: usize,
    job: impl Fn(usize) -> Outcome + Sync,
) -> Result<Vec<Outcome>, Box<EvalAltResult>> {
    let next = AtomicUsize::new(0);
    let outcomes: Vec<Mutex<Option<Outcome>>> = (0..count).map(|_| Mutex::new(None)).collect();
    let (scope, span, place) = (call.host.scope(), record::current(), order::place());
    let jobs = || {
        loop {
            let index = next.fetch_add(1, Ordering::SeqCst);
            let Some(outcome) = outcomes.get(index) else { return };
            *outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(job(index));
        }
    };
    let work =
        || call.host.within(scope.clone(), || record::within(span, || order::within(place.clone(), jobs)));
    std::thread::scope(|threads| {
        for _ in 0..width.min(count) {
            let thread = std::thread::Builder::new().name("parallel".to_owned()).stack_size(STACK_SIZE);
            // Where the machine gives no more threads, those that run do the work of the others.
            if thread.spawn_scoped(threads, work).is_err() {
                work();
            }
        }
    });
    let missing =
        || thrown(Error::internal("a job of several at once was not done"), call.context.call_position());
    let outcomes = outcomes.into_iter().map(|it| it.into_inner().unwrap_or_else(PoisonError::into_inner));
    outcomes.map(|outcome| outcome.ok_or_else(missing)).collect()
}

/// One error that names several failures, and what may be done about each.
pub(super) fn failed(
    failures: Vec<(String, Box<EvalAltResult>)>,
    succeeded: usize,
    position: Position,
) -> Box<EvalAltResult> {
    let (tried, count) = (succeeded + failures.len(), failures.len());
    let mut kind = None;
    let mut texts = Vec::new();
    let mut help: Vec<String> = Vec::new();
    for (title, error) in failures {
        let (of, text) = match error.unwrap_inner() {
            EvalAltResult::ErrorRuntime(value, _) => match value.read_lock::<Error>() {
                Some(error) => {
                    help.extend(
                        error.help.iter().filter(|next| !help.contains(next)).cloned().collect::<Vec<_>>(),
                    );
                    (error.kind, error.to_string())
                }
                None => (Kind::Invalid, value.to_string()),
            },
            other => (Kind::Invalid, other.to_string()),
        };
        kind.get_or_insert(of);
        texts.push(format!("{title}: {text}"));
    }
    let text = format!("{count} of {tried} failed: {}", texts.join("; "));
    let error = Error::new(kind.unwrap_or(Kind::Invalid), text);
    thrown(help.into_iter().fold(error, Error::help), position)
}

/// Calls a closure with what it captured as its own: a captured variable is a cell that all threads would share, and that a method call
/// locks as a whole.
pub(super) fn alone(call: &Call, body: &FnPtr, arguments: impl FuncArgs) -> Outcome {
    let mut body = body.clone();
    let captured: Vec<Dynamic> = body.iter_curry().map(Dynamic::flatten_clone).collect();
    body.set_curry(captured);
    body.call_within_context::<Dynamic>(call.context, arguments)
}

fn one(call: &Call, body: &FnPtr, item: Dynamic, title: &str, said: bool) -> Outcome {
    let started = Instant::now();
    let span = call.progress.record().map(|record| record.span(record::Kind::Item, title));
    let outcome = alone(call, body, (item,));
    if let Some(span) = span {
        span.end(how_it_ended(&outcome));
    }
    if said {
        let how = if outcome.is_ok() { "done" } else { "failed" };
        call.progress.line(Line::Wait, &format!("{title}: {how} ({})", seconds(started.elapsed())));
    }
    outcome
}

fn wait_all(call: &Call, things: Array) -> Result<(), Box<EvalAltResult>> {
    for mut thing in things {
        let what = describe(&thing);
        if let Err(error) = call.context.call_native_fn_raw("wait", true, &mut [&mut thing]) {
            return Err(match *error {
                EvalAltResult::ErrorFunctionNotFound(..) => thrown(
                    Error::invalid(format!("wait_all takes things with a `wait`, and not {what}")),
                    call.context.call_position(),
                ),
                _ => error,
            });
        }
    }
    Ok(())
}
