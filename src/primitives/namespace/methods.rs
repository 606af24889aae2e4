//! How the methods of a handle are registered: by their number of arguments, and with options.

use rhai::{Dynamic, Map, NativeCallContext};

use super::call::finish;
use super::{Call, Namespace, Thrown, Value};
use crate::error::Error;
use crate::primitives::declaration::{Function, Options};

impl Namespace {
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
}
