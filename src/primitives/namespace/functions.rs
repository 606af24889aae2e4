//! How the functions of a namespace are registered: by their number of arguments, with options, as words that declare a parameter, and
//! with calls back into the script.

use rhai::{Dynamic, Map, NativeCallContext};

use super::call::finish;
use super::{Call, Namespace, Thrown, Value, thrown};
use crate::error::Error;
use crate::primitives::declaration::{Function, Options};

impl Namespace {
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
}
