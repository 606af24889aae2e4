//! What a handle is to a script: its properties, what a loop goes through, how it prints, and what it equals.

use rhai::{Dynamic, FnNamespace, FuncRegistration, NativeCallContext, Position};

use super::call::finish;
use super::{Call, Namespace, Thrown, Value, thrown};
use crate::error::Error;
use crate::primitives::declaration::describe;

impl Namespace {
    /// A property of a handle.
    pub fn property<H: Value, T: Value>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        read: fn(&Call, &H) -> Result<T, Error>,
    ) -> &mut Self {
        let host = self.host.clone();
        self.handle_of::<H>().properties.push((name, doc));
        FuncRegistration::new_getter(name)
            .with_namespace(FnNamespace::Global)
            .with_comments([format!("/// {doc}")])
            .set_into_module(
                &mut self.module,
                move |context: NativeCallContext, handle: &mut H| -> Thrown<Dynamic> {
                    finish(&context, read(&Call { host: &host, context: &context }, handle))
                },
            );
        self
    }

    /// What a `for` loop goes through. After an error it ends.
    pub fn iterable<H: Value, I, T: Value>(&mut self, start: fn(H) -> Result<I, Error>) -> &mut Self
    where
        I: Iterator<Item = Result<T, Error>> + 'static,
    {
        self.module.set_iter_result(std::any::TypeId::of::<H>(), move |handle| {
            // Without a position: the loop fills in its own.
            let failed = |error| thrown(error, Position::NONE);
            match start(handle.cast::<H>()) {
                Ok(values) => Box::new(values.map(move |value| value.map(Dynamic::from).map_err(failed))),
                Err(error) => Box::new(std::iter::once(Err(failed(error)))),
            }
        });
        self
    }

    /// How a handle prints and what it equals: by its name, never by asking a service, and never by waiting.
    ///
    /// To compare it with anything else than another of its type or `()` is an error: the engine by itself would say `false`.
    pub fn identified<H: Value>(&mut self, name: fn(&H) -> String) -> &mut Self {
        self.compared::<H>(move |one, other| Ok(name(one) == name(other))).prints(name)
    }

    /// A value that must not be compared, such as a secret, or has no name to be compared by.
    pub fn incomparable<H: Value>(&mut self, text: fn(&H) -> String) -> &mut Self {
        let refused = |_: &H, _: &H| Err(Error::invalid("these cannot be compared"));
        self.compared::<H>(refused).prints(text)
    }

    fn compared<H: Value>(
        &mut self,
        equal: impl Fn(&H, &H) -> Result<bool, Error> + Send + Sync + Clone + 'static,
    ) -> &mut Self {
        for (operator, wanted) in [("==", true), ("!=", false)] {
            let equal = equal.clone();
            FuncRegistration::new(operator).with_namespace(FnNamespace::Global).set_into_module(
                &mut self.module,
                move |context: NativeCallContext, one: H, other: H| -> Thrown<bool> {
                    let equal =
                        equal(&one, &other).map_err(|error| thrown(error, context.call_position()))?;
                    Ok(equal == wanted)
                },
            );
            let with = move |context: &NativeCallContext, other: &Dynamic| -> Thrown<bool> {
                if other.is_unit() {
                    return Ok(!wanted);
                }
                let other = describe(other);
                let error = Error::invalid(format!("a handle cannot be compared with {other}"))
                    .help("compare a property of it, such as its `name`");
                Err(thrown(error, context.call_position()))
            };
            FuncRegistration::new(operator).with_namespace(FnNamespace::Global).set_into_module(
                &mut self.module,
                move |context: NativeCallContext, _: H, other: Dynamic| with(&context, &other),
            );
            FuncRegistration::new(operator).with_namespace(FnNamespace::Global).set_into_module(
                &mut self.module,
                move |context: NativeCallContext, other: Dynamic, _: H| with(&context, &other),
            );
        }
        self
    }

    fn prints<H: Value>(&mut self, text: fn(&H) -> String) -> &mut Self {
        for name in ["to_string", "to_debug"] {
            FuncRegistration::new(name)
                .with_namespace(FnNamespace::Global)
                .set_into_module(&mut self.module, move |handle: &mut H| text(handle));
        }
        self
    }
}
