//! What there is to call: every namespace, function, handle and key, gathered without an account, a network or a run.
//!
//! Read by `check`, by the reference pages, and by whoever completes a command line.

pub mod pages;

use std::sync::Arc;

use rhai::{Engine, FnNamespace};

use crate::engine::{self, Prepared};
use crate::error::Error;
use crate::host::{Consent, Host, Project, World};
use crate::primitives::Parameters;
use crate::primitives::declaration::Function;
use crate::primitives::namespace::{Declared, Handle};
use crate::progress::{LogStyle, Progress};

/// All that a playbook can call.
pub struct Reference {
    pub namespaces: Vec<Declared>,
    /// An engine that knows every function; nothing may be run by it.
    pub engine: Engine,
    /// Name and signature of every host function.
    pub signatures: Vec<(String, String)>,
    /// Rust's name and the author's word of every type of handle.
    pub types: Vec<(String, String)>,
    callable: Vec<Callable>,
}

/// One way to call a function, the language's own included.
#[derive(Debug)]
pub struct Callable {
    /// Empty for what is called without one.
    pub namespace: String,
    pub name: String,
    pub arguments: usize,
}

impl Reference {
    pub fn gather() -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .map_err(|source| Error::io("start the runtime", &source))?;
        let nowhere = Project { root: ".".into(), folder: ".ops".into(), state: "deploy_config.json".into() };
        let host = Host::new(
            Box::new(|_| Err(Error::internal("what is only read about cannot be called"))),
            World::Aws,
            Progress::new(LogStyle::Plain),
            nowhere,
            Consent::default(),
            false,
            runtime.handle().clone(),
        );
        let Prepared { engine, functions, types, namespaces } =
            engine::build(&Arc::new(host), Parameters::new());
        let callable = engine.collect_fn_metadata(
            None,
            |function| {
                // A method of a handle lives in a namespace, and is called without it.
                let global = function.metadata.namespace == FnNamespace::Global;
                Some(Callable {
                    namespace: if global { String::new() } else { function.namespace.to_string() },
                    name: function.metadata.name.to_string(),
                    arguments: function.metadata.num_params,
                })
            },
            true,
        );
        Ok(Reference { namespaces, engine, signatures: functions, types, callable })
    }

    /// The ways to call a function; none where there is no such function.
    pub fn ways<'a>(&'a self, namespace: &'a str, name: &'a str) -> impl Iterator<Item = &'a Callable> {
        self.callable.iter().filter(move |it| it.namespace == namespace && it.name == name)
    }

    /// The names that can be called in a namespace; in the empty one those of methods and the language's own too.
    pub fn names<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a str> {
        self.callable.iter().filter(move |it| it.namespace == namespace).map(|it| it.name.as_str())
    }

    pub fn namespace(&self, name: &str) -> Option<&Declared> {
        self.namespaces.iter().find(|namespace| namespace.name == name)
    }

    /// A function that is no method.
    pub fn function(&self, namespace: &str, name: &str) -> Option<&'static Function> {
        self.namespace(namespace)?.functions.iter().copied().find(|function| function.name == name)
    }

    /// The type of handle of a namespace.
    pub fn handle(&self, namespace: &str, name: &str) -> Option<&Handle> {
        self.namespace(namespace)?.handles.iter().find(|handle| handle.name == name)
    }

    /// Every method of a name, of whatever handle.
    pub fn methods<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'static Function> {
        let handles = self.namespaces.iter().flat_map(|namespace| &namespace.handles);
        handles.flat_map(|handle| &handle.methods).copied().filter(move |method| method.name == name)
    }

    /// The signature of a function, for an error.
    pub fn signature(&self, namespace: &str, name: &str) -> Option<&str> {
        let full = if namespace.is_empty() { name.to_owned() } else { format!("{namespace}::{name}") };
        self.signatures.iter().find(|(known, _)| *known == full).map(|(_, signature)| signature.as_str())
    }
}
