//! How declared functions reach the engine: registered with the host, their options checked, their errors given a place.

use std::sync::Arc;

use rhai::{Dynamic, EvalAltResult, FnNamespace, FuncRegistration, Map, Module, NativeCallContext, Position};

use super::declaration::{Function, Options, describe};
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
fn finish<T: Value>(context: &NativeCallContext, outcome: Result<T, Error>) -> Thrown<Dynamic> {
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

/// A value that can pass between a script and the host.
pub trait Value: rhai::Variant + Clone {}
impl<T: rhai::Variant + Clone> Value for T {}

/// Keeps a function once, however many ways there are to call it.
fn remember(functions: &mut Vec<&'static Function>, function: &'static Function) {
    if !functions.iter().any(|known| std::ptr::eq(*known, function)) {
        functions.push(function);
    }
}

/// The functions of one namespace, or the global words, while they are being registered.
pub struct Namespace {
    name: &'static str,
    module: Module,
    host: Arc<Host>,
    functions: Vec<&'static Function>,
    handles: Vec<Handle>,
}

/// A namespace as its reader knows it.
#[derive(Debug, Clone)]
pub struct Declared {
    /// Empty for the global words.
    pub name: &'static str,
    pub functions: Vec<&'static Function>,
    pub handles: Vec<Handle>,
}

/// A type of handle, and what can be read of it and done with it.
#[derive(Debug, Clone)]
pub struct Handle {
    /// Rust's name of the type.
    path: &'static str,
    pub name: &'static str,
    /// Name and description of each property.
    pub properties: Vec<(&'static str, &'static str)>,
    pub methods: Vec<&'static Function>,
}

impl Namespace {
    pub fn new(name: &'static str, host: &Arc<Host>) -> Self {
        Namespace {
            name,
            module: Module::new(),
            host: host.clone(),
            functions: Vec::new(),
            handles: Vec::new(),
        }
    }

    /// What was declared in it.
    pub fn declared(&self) -> Declared {
        Declared { name: self.name, functions: self.functions.clone(), handles: self.handles.clone() }
    }

    /// The namespace's name, empty for the global words, and its module.
    pub fn into_module(self) -> (&'static str, Module) {
        (self.name, self.module)
    }

    /// Rust's name and the author's word of each type of handle.
    pub fn types(&self) -> Vec<(String, String)> {
        self.handles.iter().map(|handle| (handle.path.to_owned(), handle.name.to_owned())).collect()
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
        let methods = self.handles.iter().flat_map(|handle| &handle.methods);
        self.functions.iter().chain(methods).map(signature).collect()
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
        self.handle_of::<T>().name = name;
        self
    }

    fn handle_of<T>(&mut self) -> &mut Handle {
        let path = std::any::type_name::<T>();
        let known = self.handles.iter().position(|handle| handle.path == path);
        let index = known.unwrap_or_else(|| {
            self.handles.push(Handle { path, name: "", properties: Vec::new(), methods: Vec::new() });
            self.handles.len() - 1
        });
        &mut self.handles[index]
    }

    fn registration(&mut self, function: &'static Function) -> FuncRegistration {
        remember(&mut self.functions, function);
        FuncRegistration::new(function.name).with_namespace(FnNamespace::Internal)
    }

    fn method<H>(&mut self, function: &'static Function) -> FuncRegistration {
        remember(&mut self.handle_of::<H>().methods, function);
        FuncRegistration::new(function.name).with_namespace(FnNamespace::Global)
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
        let registration = self.registration(function);
        self.documented(registration, function, false).set_into_module(
            &mut self.module,
            move |context: NativeCallContext| -> Thrown<Dynamic> {
                finish(&context, run(&Call { host: &host, context: &context }))
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
        let registration = self.registration(function);
        self.documented(registration, function, false).set_into_module(
            &mut self.module,
            move |context: NativeCallContext, a: A| -> Thrown<Dynamic> {
                finish(&context, run(&Call { host: &host, context: &context }, a))
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
        let registration = self.registration(function);
        self.documented(registration, function, false).set_into_module(
            &mut self.module,
            move |context: NativeCallContext, a: A, b: B| -> Thrown<Dynamic> {
                finish(&context, run(&Call { host: &host, context: &context }, a, b))
            },
        );
        self
    }

    /// A function of three arguments.
    pub fn function3<A: Value, B: Value, C: Value, T: Value>(
        &mut self,
        function: &'static Function,
        run: fn(&Call, A, B, C) -> Result<T, Error>,
    ) -> &mut Self {
        let host = self.host.clone();
        let registration = self.registration(function);
        self.documented(registration, function, false).set_into_module(
            &mut self.module,
            move |context: NativeCallContext, a: A, b: B, c: C| -> Thrown<Dynamic> {
                finish(&context, run(&Call { host: &host, context: &context }, a, b, c))
            },
        );
        self
    }

    /// A function of four arguments.
    pub fn function4<A: Value, B: Value, C: Value, D: Value, T: Value>(
        &mut self,
        function: &'static Function,
        run: fn(&Call, A, B, C, D) -> Result<T, Error>,
    ) -> &mut Self {
        let host = self.host.clone();
        let registration = self.registration(function);
        self.documented(registration, function, false).set_into_module(
            &mut self.module,
            move |context: NativeCallContext, a: A, b: B, c: C, d: D| -> Thrown<Dynamic> {
                finish(&context, run(&Call { host: &host, context: &context }, a, b, c, d))
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
            move |context: &NativeCallContext, a: A, map: Map| -> Thrown<Dynamic> {
                let checked = Options::check(&full_name, function.keys, map);
                finish(context, checked.and_then(|options| run(&Call { host: &host, context }, a, &options)))
            }
        };
        let bare = checked.clone();
        let registration = self.registration(function);
        self.documented(registration, function, true).set_into_module(
            &mut self.module,
            move |context: NativeCallContext, a: A, map: Map| -> Thrown<Dynamic> {
                checked(&context, a, map)
            },
        );
        // Registered even where a key is required: its error names the key, where "function not found" would not.
        let registration = self.registration(function);
        self.documented(registration, function, false)
            .set_into_module(&mut self.module, move |context: NativeCallContext, a: A| -> Thrown<Dynamic> {
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
        let registration = self.registration(function);
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
        let registration = self.registration(function);
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
        let registration = self.registration(function);
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
        let registration = self.registration(function);
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
        let registration = self.registration(function);
        self.documented(registration, function, false)
            .set_into_module(&mut self.module, move |context: NativeCallContext, a: A, b: B| {
                run(&Call { host: &host, context: &context }, a, b)
            });
        self
    }

    /// The same, of three arguments.
    pub fn callback3<A: Value, B: Value, C: Value, T: Value>(
        &mut self,
        function: &'static Function,
        run: fn(&Call, A, B, C) -> Thrown<T>,
    ) -> &mut Self {
        let host = self.host.clone();
        let registration = self.registration(function);
        self.documented(registration, function, false).set_into_module(
            &mut self.module,
            move |context: NativeCallContext, a: A, b: B, c: C| {
                run(&Call { host: &host, context: &context }, a, b, c)
            },
        );
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

    /// A method without arguments.
    pub fn method0<H: Value, T: Value>(
        &mut self,
        function: &'static Function,
        run: fn(&Call, &H) -> Result<T, Error>,
    ) -> &mut Self {
        let host = self.host.clone();
        let registration = self.method::<H>(function);
        self.documented(registration, function, false).set_into_module(
            &mut self.module,
            move |context: NativeCallContext, handle: &mut H| -> Thrown<Dynamic> {
                finish(&context, run(&Call { host: &host, context: &context }, handle))
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
        let registration = self.method::<H>(function);
        self.documented(registration, function, false).set_into_module(
            &mut self.module,
            move |context: NativeCallContext, handle: &mut H, a: A| -> Thrown<Dynamic> {
                finish(&context, run(&Call { host: &host, context: &context }, handle, a))
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
        let registration = self.method::<H>(function);
        self.documented(registration, function, false).set_into_module(
            &mut self.module,
            move |context: NativeCallContext, handle: &mut H, a: A, b: B| -> Thrown<Dynamic> {
                finish(&context, run(&Call { host: &host, context: &context }, handle, a, b))
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
        let registration = self.method::<H>(function);
        self.documented(registration, function, true).set_into_module(
            &mut self.module,
            move |context: NativeCallContext, handle: &mut H, map: Map| -> Thrown<Dynamic> {
                let checked = Options::check(function.name, function.keys, map);
                let call = Call { host: &host, context: &context };
                finish(&context, checked.and_then(|options| run(&call, handle, &options)))
            },
        );
        self
    }

    /// A method of one argument and a map of options, which may be left out.
    pub fn method1_options<H: Value, A: Value, T: Value>(
        &mut self,
        function: &'static Function,
        run: fn(&Call, &H, A, &Options) -> Result<T, Error>,
    ) -> &mut Self {
        let host = self.host.clone();
        let registration = self.method::<H>(function);
        self.documented(registration, function, true).set_into_module(
            &mut self.module,
            move |context: NativeCallContext, handle: &mut H, a: A, map: Map| -> Thrown<Dynamic> {
                let checked = Options::check(function.name, function.keys, map);
                let call = Call { host: &host, context: &context };
                finish(&context, checked.and_then(|options| run(&call, handle, a, &options)))
            },
        );
        let host = self.host.clone();
        let registration = self.method::<H>(function);
        self.documented(registration, function, false).set_into_module(
            &mut self.module,
            move |context: NativeCallContext, handle: &mut H, a: A| -> Thrown<Dynamic> {
                let checked = Options::check(function.name, function.keys, Map::new());
                let call = Call { host: &host, context: &context };
                finish(&context, checked.and_then(|options| run(&call, handle, a, &options)))
            },
        );
        self
    }

    /// A method of two arguments and a map of options, which may be left out.
    pub fn method2_options<H: Value, A: Value, B: Value, T: Value>(
        &mut self,
        function: &'static Function,
        run: fn(&Call, &H, A, B, &Options) -> Result<T, Error>,
    ) -> &mut Self {
        let host = self.host.clone();
        let checked =
            move |context: &NativeCallContext, handle: &H, a: A, b: B, map: Map| -> Thrown<Dynamic> {
                let checked = Options::check(function.name, function.keys, map);
                let call = Call { host: &host, context };
                finish(context, checked.and_then(|options| run(&call, handle, a, b, &options)))
            };
        let bare = checked.clone();
        let registration = self.method::<H>(function);
        self.documented(registration, function, true).set_into_module(
            &mut self.module,
            move |context: NativeCallContext, handle: &mut H, a: A, b: B, map: Map| -> Thrown<Dynamic> {
                checked(&context, handle, a, b, map)
            },
        );
        let registration = self.method::<H>(function);
        self.documented(registration, function, false).set_into_module(
            &mut self.module,
            move |context: NativeCallContext, handle: &mut H, a: A, b: B| -> Thrown<Dynamic> {
                bare(&context, handle, a, b, Map::new())
            },
        );
        self
    }

    /// A function of nothing but a map of options.
    pub fn only_options<T: Value>(
        &mut self,
        function: &'static Function,
        run: fn(&Call, &Options) -> Result<T, Error>,
    ) -> &mut Self {
        let host = self.host.clone();
        let full_name = self.full_name(function);
        let registration = self.registration(function);
        self.documented(registration, function, true).set_into_module(
            &mut self.module,
            move |context: NativeCallContext, map: Map| -> Thrown<Dynamic> {
                let checked = Options::check(&full_name, function.keys, map);
                let call = Call { host: &host, context: &context };
                finish(&context, checked.and_then(|options| run(&call, &options)))
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
