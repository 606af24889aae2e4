//! The text of every script that a run has read, and the resolver that reads the imported ones.
//!
//! A run keeps texts, not syntax trees: when an error is to be drawn, the text is parsed again without the optimizer,
//! whose folding loses the positions of map keys. An import reaches only files below the playbook's root folder.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, ThreadId};

use rhai::{
    AST, Dynamic, Engine, EvalAltResult, Module, ModuleResolver, OptimizationLevel, ParseError, Position,
    Scope,
};

use crate::{error, parameters};

/// The deepest nesting of expressions that a script may have. The running engine and the parser of this file set the
/// same limit, in debug and release builds alike, so that what runs can also be drawn.
/// rhai's own limit (64, inside functions 32) refuses a chain of 40 `+`.
pub const MAX_EXPRESSION_DEPTH: usize = 256;

/// Why the text of a script could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds bytes that are not text.
    #[error("`{}` is not UTF-8 text: line {line} holds a byte that is no character", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The first line that is not text.
        line: usize,
    },
}

/// The texts of a run by name. A name is what errors show, and the `source` of the script's syntax tree.
/// Clones share one store.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    texts: Arc<RwLock<BTreeMap<String, Arc<str>>>>,
}

impl Sources {
    /// Keeps the text of a script.
    pub fn insert(&self, name: &str, text: Arc<str>) {
        self.texts.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), text);
    }

    /// The text of a script, if the run has read it.
    pub fn get(&self, name: &str) -> Option<Arc<str>> {
        self.texts.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

/// Reads a script. A byte order mark is dropped and a `#!` line becomes a comment, so that line numbers hold.
pub fn read(path: &Path) -> Result<Arc<str>, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(valid).filter(|byte| **byte == b'\n').count() + 1;
        Error::NotUtf8 { path: path.to_owned(), line }
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    Ok(match text.strip_prefix("#!") {
        // The rest of the line goes too: `//` before `/usr/bin/env` would open a documentation comment.
        Some(rest) => format!("//{}", &rest[rest.find('\n').unwrap_or(rest.len())..]).into(),
        None => text.into(),
    })
}

/// Parses a script for reading, not for running: nothing is folded, and no host function need exist.
///
/// The deepest script that the limit admits takes between 2 and 4 MiB of stack in an unoptimized build: fine on a main
/// thread or on the script's own, too much for a default thread.
pub fn parse(text: &str) -> Result<AST, ParseError> {
    let mut engine = Engine::new_raw();
    engine.set_optimization_level(OptimizationLevel::None);
    engine.set_max_expr_depths(MAX_EXPRESSION_DEPTH, MAX_EXPRESSION_DEPTH);
    engine.compile(text)
}

/// Resolves `import "lib/defaults" as defaults;` to `lib/defaults.rhai` below one folder. Clones share what was loaded.
#[derive(Debug, Clone)]
pub struct Modules {
    root: PathBuf,
    shown: PathBuf,
    sources: Sources,
    loaded: Arc<RwLock<BTreeMap<String, Arc<Module>>>>,
    /// What each thread is in the middle of loading. A cycle would overflow the stack: rhai counts modules per file.
    loading: Arc<Mutex<HashSet<(ThreadId, String)>>>,
}

impl Modules {
    /// A resolver for the files below `root`, which errors call `shown`.
    pub fn new(root: PathBuf, shown: PathBuf, sources: Sources) -> Self {
        Self { root, shown, sources, loaded: Arc::default(), loading: Arc::default() }
    }

    fn load(&self, engine: &Engine, import: &str, name: &str) -> Result<Arc<Module>, Box<EvalAltResult>> {
        let file = self.root.join(format!("{import}.rhai"));
        if !file.exists() {
            return Err(Box::new(EvalAltResult::ErrorModuleNotFound(import.to_owned(), Position::NONE)));
        }
        let text = read(&file).map_err(|error| error.to_string())?;
        self.sources.insert(name, text.clone());
        let mut ast = engine
            .compile(&text)
            .map_err(|error| Box::new(EvalAltResult::ErrorParsing(*error.0, error.1)))?;
        if let Some((position, problem)) = parameters::misdeclared_in_module(&ast) {
            let error =
                problem.help.into_iter().fold(error::Error::invalid(problem.title), error::Error::help);
            return Err(Box::new(EvalAltResult::ErrorRuntime(Dynamic::from(error), position)));
        }
        ast.set_source(name);
        Module::eval_ast_as_new(Scope::new(), &ast, engine).map(Into::into)
    }
}

impl ModuleResolver for Modules {
    fn resolve(
        &self,
        engine: &Engine,
        _source: Option<&str>,
        path: &str,
        position: Position,
    ) -> Result<Arc<Module>, Box<EvalAltResult>> {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
        if let Some(module) = loaded {
            return Ok(module);
        }
        if let Some(reason) = refused(path) {
            return Err(Box::new(EvalAltResult::ErrorRuntime(reason.into(), position)));
        }
        let name = self.shown.join(format!("{path}.rhai")).display().to_string();
        let loading = (thread::current().id(), path.to_owned());
        if !self.loading.lock().unwrap_or_else(PoisonError::into_inner).insert(loading.clone()) {
            let reason = format!("`{path}` imports itself, directly or through what it imports");
            return Err(Box::new(EvalAltResult::ErrorRuntime(reason.into(), position)));
        }
        // No lock is held while the module runs: it may import others.
        let module = self.load(engine, path, &name);
        self.loading.lock().unwrap_or_else(PoisonError::into_inner).remove(&loading);
        let module = module.map_err(|error| match *error {
            EvalAltResult::ErrorModuleNotFound(import, Position::NONE) => {
                Box::new(EvalAltResult::ErrorModuleNotFound(import, position))
            }
            // A run that is being ended must look so from outside as well.
            EvalAltResult::ErrorTerminated(..) => error,
            // The name under which the text is kept: the position inside belongs to that text.
            _ => Box::new(EvalAltResult::ErrorInModule(name, error, position)),
        })?;
        self.loaded.write().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), module.clone());
        Ok(module)
    }
}

/// Why an import path is not one, if so. Symbolic links are followed: who can place one can edit the playbook.
pub fn refused(path: &str) -> Option<String> {
    let bad_part = path.split('/').any(|part| matches!(part, "" | "." | ".."));
    if bad_part || path.contains(['\\', '\0']) {
        return Some(format!(
            "cannot import `{path}`: an import is a path below the playbook folder, like `lib/defaults`, without `.` or `..`"
        ));
    }
    let stem = path.strip_suffix(".rhai")?;
    Some(format!("cannot import `{path}`: write `{stem}`, without `.rhai`"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rhai::{Engine, EvalAltResult, INT, Position};
    use tempfile::TempDir;

    use super::{Modules, Sources};

    fn engine(files: &[(&str, &str)]) -> (TempDir, Engine, Sources) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join("root")).expect("a folder");
        for (name, text) in files {
            fs::write(folder.path().join(name), text).expect("a file");
        }
        let sources = Sources::default();
        let mut engine = Engine::new();
        let root = folder.path().join("root");
        engine.set_module_resolver(Modules::new(root, "playbooks".into(), sources.clone()));
        (folder, engine, sources)
    }

    fn refusal(engine: &Engine, text: &str) -> String {
        engine.run(text).expect_err("a refusal").to_string()
    }

    #[test]
    fn a_module_is_read_once_and_its_text_is_kept() {
        let (folder, engine, sources) = engine(&[("root/a.rhai", "fn one() { 1 }")]);
        assert_eq!(engine.eval::<INT>("import \"a\" as a; a::one()").expect("a value"), 1);
        fs::remove_file(folder.path().join("root/a.rhai")).expect("removed");
        assert_eq!(engine.eval::<INT>("import \"a\" as a; a::one()").expect("a value"), 1);
        assert_eq!(sources.get("playbooks/a.rhai").as_deref(), Some("fn one() { 1 }"));
    }

    #[test]
    fn nothing_outside_of_the_root_is_imported() {
        let (_folder, engine, sources) = engine(&[("outside.rhai", "export const X = 1;")]);
        for path in ["../outside", "/outside", "a/../../outside", "./a", "", "a//b", "a\\\\b", "a/"] {
            let refusal = refusal(&engine, &format!("import \"{path}\" as a;"));
            assert!(refusal.contains("cannot import"), "{path}: {refusal}");
        }
        assert!(sources.get("playbooks/../outside.rhai").is_none());
    }

    #[test]
    fn an_extension_a_missing_file_and_a_cycle_are_told_apart() {
        let files = [("root/a.rhai", "import \"b\" as b;"), ("root/b.rhai", "import \"a\" as a;")];
        let (_folder, engine, _) = engine(&files);
        insta::assert_snapshot!(refusal(&engine, "import \"a.rhai\" as a;"), @"Runtime error: cannot import `a.rhai`: write `a`, without `.rhai` (line 1, position 8)");
        insta::assert_snapshot!(refusal(&engine, "import \"gone\" as a;"), @"Module not found: gone (line 1, position 8)");
        insta::assert_snapshot!(refusal(&engine, "import \"a\" as a;"), @r"
        Runtime error: `a` imports itself, directly or through what it imports (line 1, position 8)
        in module 'playbooks/b.rhai' (line 1, position 8)
        in module 'playbooks/a.rhai' (line 1, position 8)
        ");
        // The attempt leaves nothing behind that would make the next one look like a cycle.
        insta::assert_snapshot!(refusal(&engine, "import \"a\" as a;"), @r"
        Runtime error: `a` imports itself, directly or through what it imports (line 1, position 8)
        in module 'playbooks/b.rhai' (line 1, position 8)
        in module 'playbooks/a.rhai' (line 1, position 8)
        ");
    }

    #[test]
    fn what_ends_a_run_in_a_module_ends_the_run() {
        let (_folder, mut engine, _) = engine(&[("root/a.rhai", "stop();")]);
        engine.register_fn("stop", || -> Result<(), Box<EvalAltResult>> {
            Err(Box::new(EvalAltResult::ErrorTerminated(130.into(), Position::NONE)))
        });
        // The optimizer drops a `try` that holds nothing but imports, hence the `print`.
        let error =
            engine.run("try { import \"a\" as a; print(1); } catch {}").expect_err("the end of the run");
        assert!(matches!(*error, EvalAltResult::ErrorTerminated(..)), "{error}");
    }

    #[test]
    fn an_error_in_a_module_names_the_text_that_it_is_in() {
        let (_folder, engine, sources) = engine(&[("root/bad.rhai", "let x = ;")]);
        let error = engine.run("import \"bad\" as bad;").expect_err("an error");
        assert!(
            matches!(&*error, EvalAltResult::ErrorInModule(name, ..) if sources.get(name).is_some()),
            "{error}"
        );
    }
}
