//! How declared functions reach the engine: registered with the host, their options checked, their errors given a place.

mod call;
mod functions;
mod handle;
mod methods;

use std::sync::Arc;

use rhai::{FnNamespace, FuncRegistration, Module};

use super::declaration::Function;
use crate::host::Host;

pub use call::{Call, Thrown, thrown};

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
}
