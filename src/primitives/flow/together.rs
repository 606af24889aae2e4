//! `together`: parts of a playbook that do not need each other look at the world side by side, and change it in the order in which
//! they are written.

use rhai::{EvalAltResult, FnPtr, Map, Position};

use super::parallel::{alone, failed, side_by_side};
use crate::error::Error;
use crate::primitives::declaration::{Function, describe};
use crate::primitives::namespace::{Call, Namespace, thrown};
use crate::progress::order::Order;

const TOGETHER: Function = Function {
    name: "together",
    doc: "Runs the closures of a map side by side, and gives a map of what each gives, under the same keys. For parts that do not need \
          each other: they look at the account at the same time. Changes, effects and lines come in the order in which the closures are \
          written, as if one had run after the other: a part waits with its first change until those before it have ended.\n\
          What a closure assigns to outer variables stays its own.\n\
          Throws what a part throws; the parts after it change nothing then. Where several fail, every failure is named.",
    parameters: &["parts: map"],
    returns: "map",
    permissions: &[],
    example: r#"
        let made = together(#{
            alerts: || sns::ensure_topic("alerts"),
            app: || ec2::ensure_security_group("app"),
        });
        say(`${made.alerts.arn} ${made.app.id}`);"#,
    keys: &[],
};

pub(super) fn register(namespace: &mut Namespace) {
    namespace.callback1(&TOGETHER, together);
}

fn together(call: &Call, parts: Map) -> Result<Map, Box<EvalAltResult>> {
    let position = call.context.call_position();
    let mut closures = Vec::new();
    for (name, part) in parts {
        let found = describe(&part);
        let wrong = || Error::invalid(format!("together takes a map of closures, and `{name}` is {found}"));
        let closure = part.flatten().try_cast::<FnPtr>().ok_or_else(|| thrown(wrong(), position))?;
        closures.push((name, closure));
    }
    closures.sort_by_key(|(_, closure)| written_at(call, closure));
    let order = Order::new(closures.len());
    let outcomes = side_by_side(call, closures.len(), closures.len(), |number| {
        order.run(number, &call.progress, || alone(call, &closures[number].1, ()))
    })?;
    let (mut values, mut failures) = (Map::new(), Vec::new());
    for ((name, _), outcome) in closures.into_iter().zip(outcomes) {
        match outcome {
            Ok(value) => _ = values.insert(name.as_str().into(), value),
            // Behind a failure: this part was held back by it.
            Err(error) if !error.is_catchable() && !failures.is_empty() => {}
            Err(error) if !error.is_catchable() => return Err(error),
            Err(error) => failures.push((name.to_string(), error)),
        }
    }
    match failures.len() {
        0 => Ok(values),
        // In its own words, with its own place.
        1 => Err(failures.remove(0).1),
        _ => Err(failed(failures, values.len(), position)),
    }
}

/// Where a closure is written: a map by itself is in the order of its keys.
fn written_at(call: &Call, closure: &FnPtr) -> Position {
    let mut files = call.context.iter_namespaces();
    let function = files.find_map(|file| file.get_script_fn(closure.fn_name(), closure.curry().len()));
    function.map_or(Position::NONE, |function| function.body.start_position())
}
