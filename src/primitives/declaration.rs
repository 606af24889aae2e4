//! How a host function is written: once. Its [`Function`] beside its code gives the signature, the docs, the table of keys
//! and what a run checks before the code is reached.

use std::sync::Arc;

use rhai::{Dynamic, EvalAltResult, FnNamespace, FuncRegistration, Map, Module, NativeCallContext, Position};

use crate::error::{Error, Kind};
use crate::host::Host;

/// A host function or a method of a handle, as a playbook's author sees it.
#[derive(Debug)]
pub struct Function {
    pub name: &'static str,
    /// One sentence that says what comes back or what changes; then what may be thrown, and the API operations.
    pub doc: &'static str,
    /// `name: string`, in the author's words. The map of options is not among them.
    pub parameters: &'static [&'static str],
    pub returns: &'static str,
    /// The keys of the map of options; empty where the function takes none.
    pub keys: &'static [Key],
}

/// One key of a map of options.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub holds: Holds,
    pub required: bool,
    pub doc: &'static str,
}

/// What a key holds.
#[derive(Debug, Clone, Copy)]
pub enum Holds {
    String,
    Int,
    Bool,
    List,
    Map,
    /// A handle, a rule ..: its name and a test for it.
    A(&'static str, fn(&Dynamic) -> bool),
    Any,
}

impl Holds {
    fn word(self) -> &'static str {
        match self {
            Holds::String => "a string",
            Holds::Int => "a whole number",
            Holds::Bool => "true or false",
            Holds::List => "a list",
            Holds::Map => "a map #{..}",
            Holds::A(name, _) => name,
            Holds::Any => "a value",
        }
    }

    fn accepts(self, value: &Dynamic) -> bool {
        match self {
            Holds::String => value.is_string(),
            Holds::Int => value.is_int(),
            Holds::Bool => value.is_bool(),
            Holds::List => value.is_array(),
            Holds::Map => value.is_map(),
            Holds::A(_, test) => test(value),
            Holds::Any => true,
        }
    }
}

/// A key that may be left out.
pub const fn optional(name: &'static str, holds: Holds, doc: &'static str) -> Key {
    Key { name, holds, required: false, doc }
}

/// A key that has to be given.
pub const fn required(name: &'static str, holds: Holds, doc: &'static str) -> Key {
    Key { name, holds, required: true, doc }
}

/// The options of a call, after the check against the function's keys.
#[derive(Debug, Default)]
pub struct Options(Map);

impl Options {
    /// Checks a map against `keys`. The error carries the key, so that the report can point at it.
    pub fn check(function: &str, keys: &'static [Key], map: Map) -> Result<Self, Error> {
        for (name, value) in &map {
            let Some(key) = keys.iter().find(|key| key.name == name) else {
                let known = keys.iter().map(|key| key.name);
                let error = Error::invalid(format!("unknown key `{name}` for {function}")).key(name.as_str());
                return Err(match closest(name, known.clone()) {
                    Some(near) => error.help(format!("did you mean `{near}`?")),
                    None => error.help(format!("it takes {}", known.collect::<Vec<_>>().join(", "))),
                });
            };
            // `()` stands for "not given", so that a playbook can pass on what it may not have.
            if !value.is_unit() && !key.holds.accepts(value) {
                return Err(Error::invalid(format!(
                    "`{name}` of {function} is {}, and not {}",
                    key.holds.word(),
                    describe(value)
                ))
                .key(name.as_str()));
            }
        }
        for key in keys.iter().filter(|key| key.required) {
            if map.get(key.name).is_none_or(Dynamic::is_unit) {
                return Err(Error::invalid(format!("{function} needs the key `{}`", key.name))
                    .help(format!("{}: {}", key.name, key.doc)));
            }
        }
        Ok(Options(map))
    }

    pub fn get(&self, key: &str) -> Option<&Dynamic> {
        self.0.get(key).filter(|value| !value.is_unit())
    }

    pub fn string(&self, key: &str) -> Option<String> {
        self.get(key).and_then(|value| value.clone().into_string().ok())
    }

    pub fn int(&self, key: &str) -> Option<i64> {
        self.get(key).and_then(|value| value.as_int().ok())
    }

    /// A whole number that has to lie in `range`.
    pub fn int_in(
        &self,
        key: &'static str,
        range: std::ops::RangeInclusive<i32>,
    ) -> Result<Option<i32>, Error> {
        let Some(given) = self.int(key) else { return Ok(None) };
        match i32::try_from(given) {
            Ok(value) if range.contains(&value) => Ok(Some(value)),
            _ => Err(Error::invalid(format!(
                "`{key}` is {given}, and has to be from {} to {}",
                range.start(),
                range.end()
            ))
            .key(key)),
        }
    }

    pub fn bool(&self, key: &str) -> Option<bool> {
        self.get(key).and_then(|value| value.as_bool().ok())
    }

    pub fn list(&self, key: &str) -> Option<Vec<Dynamic>> {
        self.get(key).and_then(|value| value.clone().into_array().ok())
    }

    pub fn map(&self, key: &str) -> Option<Map> {
        self.get(key).and_then(|value| value.clone().try_cast::<Map>())
    }

    /// The handles of type `T` in a list, each named `what` in an error.
    pub fn handles<T: Clone + 'static>(&self, key: &'static str, what: &str) -> Result<Vec<T>, Error> {
        let list = self.list(key).unwrap_or_default();
        list.into_iter()
            .map(|value| {
                let found = describe(&value);
                value.try_cast::<T>().ok_or_else(|| {
                    Error::invalid(format!("`{key}` is a list of {what}, and holds {found}")).key(key)
                })
            })
            .collect()
    }
}

/// The candidate that `name` is most likely a misspelling of.
pub fn closest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

/// A value in the author's words, for an error.
fn describe(value: &Dynamic) -> String {
    if value.is_string() {
        format!("the string {value:?}")
    } else if value.is_int() || value.is_float() {
        format!("the number {value}")
    } else if value.is_bool() {
        format!("{value}")
    } else if value.is_array() {
        "a list".to_owned()
    } else if value.is_map() {
        "a map".to_owned()
    } else if value.is_unit() {
        "nothing, ()".to_owned()
    } else {
        value.type_name().rsplit("::").next().unwrap_or("another value").to_owned()
    }
}

/// One call of a host function: the host, and where in which file the call stands.
pub struct Call<'a> {
    pub host: &'a Arc<Host>,
    pub context: &'a NativeCallContext<'a>,
}

impl Call<'_> {
    /// `deploy.rhai:30`, for progress lines.
    pub fn place(&self) -> String {
        let file = self.context.call_source().unwrap_or_default();
        let file = file.rsplit('/').next().unwrap_or(file);
        match self.context.call_position().line() {
            Some(line) => format!("{file}:{line}"),
            None => file.to_owned(),
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

/// A value that can pass between a script and the host.
pub trait Value: rhai::Variant + Clone {}
impl<T: rhai::Variant + Clone> Value for T {}

/// The functions of one namespace, or the global words, while they are being registered.
pub struct Namespace {
    name: &'static str,
    module: Module,
    host: Arc<Host>,
    functions: Vec<&'static Function>,
    types: Vec<(String, String)>,
}

impl Namespace {
    pub fn new(name: &'static str, host: &Arc<Host>) -> Self {
        Namespace {
            name,
            module: Module::new(),
            host: host.clone(),
            functions: Vec::new(),
            types: Vec::new(),
        }
    }

    /// The namespace's name, empty for the global words, and its module.
    pub fn into_module(self) -> (&'static str, Module) {
        (self.name, self.module)
    }

    /// Rust's name and the author's word of each type of handle.
    pub fn types(&self) -> Vec<(String, String)> {
        self.types.clone()
    }

    /// Name and signature of each function.
    pub fn signatures(&self) -> Vec<(String, String)> {
        let signature = |function: &&'static Function| {
            let name = self.full_name(function);
            let mut parameters = function.parameters.join(", ");
            if !function.keys.is_empty() {
                parameters += if parameters.is_empty() { "options: map" } else { ", options: map" };
            }
            (name.clone(), format!("{name}({parameters}) -> {}", function.returns))
        };
        self.functions.iter().map(signature).collect()
    }

    fn full_name(&self, function: &Function) -> String {
        if self.name.is_empty() {
            function.name.to_owned()
        } else {
            format!("{}::{}", self.name, function.name)
        }
    }

    /// Names a type of handle.
    pub fn handle<T: Value>(&mut self, name: &'static str) -> &mut Self {
        self.module.set_custom_type::<T>(name);
        self.types.push((std::any::type_name::<T>().to_owned(), name.to_owned()));
        self
    }

    fn registration(&mut self, function: &'static Function, method: bool) -> FuncRegistration {
        if !self.functions.iter().any(|known| std::ptr::eq(*known, function)) {
            self.functions.push(function);
        }
        let namespace = if method { FnNamespace::Global } else { FnNamespace::Internal };
        FuncRegistration::new(function.name).with_namespace(namespace)
    }

    fn documented(
        &self,
        registration: FuncRegistration,
        function: &'static Function,
        options: bool,
    ) -> FuncRegistration {
        let mut parameters: Vec<&str> = function.parameters.to_vec();
        if options {
            parameters.push("options: map");
        }
        parameters.push(function.returns);
        let comments: Vec<String> = function.doc.lines().map(|line| format!("/// {}", line.trim())).collect();
        registration.with_params_info(parameters).with_comments(comments)
    }

    /// A function of no arguments.
    pub fn function0<T: Value>(
        &mut self,
        function: &'static Function,
        run: fn(&Call) -> Result<T, Error>,
    ) -> &mut Self {
        let host = self.host.clone();
        let registration = self.registration(function, false);
        self.documented(registration, function, false).set_into_module(
            &mut self.module,
            move |context: NativeCallContext| -> Thrown<T> {
                run(&Call { host: &host, context: &context })
                    .map_err(|error| thrown(error, context.call_position()))
            },
        );
        self
    }

    /// A function of one argument.
    pub fn function1<A: Value, T: Value>(
        &mut self,
        function: &'static Function,
        run: fn(&Call, A) -> Result<T, Error>,
    ) -> &mut Self {
        let host = self.host.clone();
        let registration = self.registration(function, false);
        self.documented(registration, function, false).set_into_module(
            &mut self.module,
            move |context: NativeCallContext, a: A| -> Thrown<T> {
                run(&Call { host: &host, context: &context }, a)
                    .map_err(|error| thrown(error, context.call_position()))
            },
        );
        self
    }

    /// A function of two arguments.
    pub fn function2<A: Value, B: Value, T: Value>(
        &mut self,
        function: &'static Function,
        run: fn(&Call, A, B) -> Result<T, Error>,
    ) -> &mut Self {
        let host = self.host.clone();
        let registration = self.registration(function, false);
        self.documented(registration, function, false).set_into_module(
            &mut self.module,
            move |context: NativeCallContext, a: A, b: B| -> Thrown<T> {
                run(&Call { host: &host, context: &context }, a, b)
                    .map_err(|error| thrown(error, context.call_position()))
            },
        );
        self
    }

    /// A function of one argument and a map of options, which may be left out unless a key is required.
    pub fn with_options<A: Value, T: Value>(
        &mut self,
        function: &'static Function,
        run: fn(&Call, A, &Options) -> Result<T, Error>,
    ) -> &mut Self {
        let full_name = self.full_name(function);
        let checked = {
            let host = self.host.clone();
            move |context: &NativeCallContext, a: A, map: Map| -> Thrown<T> {
                Options::check(&full_name, function.keys, map)
                    .and_then(|options| run(&Call { host: &host, context }, a, &options))
                    .map_err(|error| thrown(error, context.call_position()))
            }
        };
        let bare = checked.clone();
        let registration = self.registration(function, false);
        self.documented(registration, function, true).set_into_module(
            &mut self.module,
            move |context: NativeCallContext, a: A, map: Map| -> Thrown<T> { checked(&context, a, map) },
        );
        // Registered even where a key is required: its error names the key, where "function not found" would not.
        let registration = self.registration(function, false);
        self.documented(registration, function, false)
            .set_into_module(&mut self.module, move |context: NativeCallContext, a: A| -> Thrown<T> {
                bare(&context, a, Map::new())
            });
        self
    }

    /// A word that declares a parameter: its name, then what describes it.
    pub fn parameter2<A: Value>(
        &mut self,
        function: &'static Function,
        read: impl Fn(String, A) -> Result<Dynamic, Error> + Send + Sync + 'static,
    ) -> &mut Self {
        let registration = self.registration(function, false);
        self.documented(registration, function, false).set_into_module(
            &mut self.module,
            move |context: NativeCallContext, name: String, a: A| -> Thrown<Dynamic> {
                read(name, a).map_err(|error| thrown(error, context.call_position()))
            },
        );
        self
    }

    /// A word that declares a parameter with a default or a list of values.
    pub fn parameter3<A: Value, B: Value>(
        &mut self,
        function: &'static Function,
        read: impl Fn(String, A, B) -> Result<Dynamic, Error> + Send + Sync + 'static,
    ) -> &mut Self {
        let registration = self.registration(function, false);
        self.documented(registration, function, false).set_into_module(
            &mut self.module,
            move |context: NativeCallContext, name: String, a: A, b: B| -> Thrown<Dynamic> {
                read(name, a, b).map_err(|error| thrown(error, context.call_position()))
            },
        );
        self
    }

    /// A function that gives its own errors to the engine as they are.
    pub fn callback0<T: Value>(
        &mut self,
        function: &'static Function,
        run: fn(&Call) -> Thrown<T>,
    ) -> &mut Self {
        let host = self.host.clone();
        let registration = self.registration(function, false);
        self.documented(registration, function, false)
            .set_into_module(&mut self.module, move |context: NativeCallContext| {
                run(&Call { host: &host, context: &context })
            });
        self
    }

    /// A function that calls back into the script, whose errors it passes on as they are.
    pub fn callback1<A: Value, T: Value>(
        &mut self,
        function: &'static Function,
        run: fn(&Call, A) -> Thrown<T>,
    ) -> &mut Self {
        let host = self.host.clone();
        let registration = self.registration(function, false);
        self.documented(registration, function, false)
            .set_into_module(&mut self.module, move |context: NativeCallContext, a: A| {
                run(&Call { host: &host, context: &context }, a)
            });
        self
    }

    /// The same, of two arguments.
    pub fn callback2<A: Value, B: Value, T: Value>(
        &mut self,
        function: &'static Function,
        run: fn(&Call, A, B) -> Thrown<T>,
    ) -> &mut Self {
        let host = self.host.clone();
        let registration = self.registration(function, false);
        self.documented(registration, function, false)
            .set_into_module(&mut self.module, move |context: NativeCallContext, a: A, b: B| {
                run(&Call { host: &host, context: &context }, a, b)
            });
        self
    }

    /// A property of a handle.
    pub fn property<H: Value, T: Value>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        read: fn(&Call, &H) -> Result<T, Error>,
    ) -> &mut Self {
        let host = self.host.clone();
        FuncRegistration::new_getter(name)
            .with_namespace(FnNamespace::Global)
            .with_comments([format!("/// {doc}")])
            .set_into_module(
                &mut self.module,
                move |context: NativeCallContext, handle: &mut H| -> Thrown<T> {
                    read(&Call { host: &host, context: &context }, handle)
                        .map_err(|error| thrown(error, context.call_position()))
                },
            );
        self
    }

    /// A method without arguments.
    pub fn method0<H: Value, T: Value>(
        &mut self,
        function: &'static Function,
        run: fn(&Call, &H) -> Result<T, Error>,
    ) -> &mut Self {
        let host = self.host.clone();
        let registration = self.registration(function, true);
        self.documented(registration, function, false).set_into_module(
            &mut self.module,
            move |context: NativeCallContext, handle: &mut H| -> Thrown<T> {
                run(&Call { host: &host, context: &context }, handle)
                    .map_err(|error| thrown(error, context.call_position()))
            },
        );
        self
    }

    /// A method of one argument.
    pub fn method1<H: Value, A: Value, T: Value>(
        &mut self,
        function: &'static Function,
        run: fn(&Call, &H, A) -> Result<T, Error>,
    ) -> &mut Self {
        let host = self.host.clone();
        let registration = self.registration(function, true);
        self.documented(registration, function, false).set_into_module(
            &mut self.module,
            move |context: NativeCallContext, handle: &mut H, a: A| -> Thrown<T> {
                run(&Call { host: &host, context: &context }, handle, a)
                    .map_err(|error| thrown(error, context.call_position()))
            },
        );
        self
    }

    /// A method of two arguments.
    pub fn method2<H: Value, A: Value, B: Value, T: Value>(
        &mut self,
        function: &'static Function,
        run: fn(&Call, &H, A, B) -> Result<T, Error>,
    ) -> &mut Self {
        let host = self.host.clone();
        let registration = self.registration(function, true);
        self.documented(registration, function, false).set_into_module(
            &mut self.module,
            move |context: NativeCallContext, handle: &mut H, a: A, b: B| -> Thrown<T> {
                run(&Call { host: &host, context: &context }, handle, a, b)
                    .map_err(|error| thrown(error, context.call_position()))
            },
        );
        self
    }

    /// A method of a map of options.
    pub fn method_options<H: Value, T: Value>(
        &mut self,
        function: &'static Function,
        run: fn(&Call, &H, &Options) -> Result<T, Error>,
    ) -> &mut Self {
        let host = self.host.clone();
        let registration = self.registration(function, true);
        self.documented(registration, function, true).set_into_module(
            &mut self.module,
            move |context: NativeCallContext, handle: &mut H, map: Map| -> Thrown<T> {
                Options::check(function.name, function.keys, map)
                    .and_then(|options| run(&Call { host: &host, context: &context }, handle, &options))
                    .map_err(|error| thrown(error, context.call_position()))
            },
        );
        self
    }

    /// How a handle prints and what it equals: by its name, never by asking a service, and never by waiting.
    ///
    /// To compare it with anything else than another of its type or `()` is an error: the engine by itself would say `false`.
    pub fn identified<H: Value>(&mut self, name: fn(&H) -> String) -> &mut Self {
        self.compared::<H>(move |one, other| Ok(name(one) == name(other))).prints(name)
    }

    /// A value that must not be compared, such as a secret.
    pub fn incomparable<H: Value>(&mut self, text: fn(&H) -> String) -> &mut Self {
        let refused = |_: &H, _: &H| Err(Error::invalid("secrets cannot be compared"));
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
