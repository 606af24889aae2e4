//! Runs the statements of a session: variables, functions and imports stay for those that follow, also after an error.
//!
//! All that was typed is one text with one numbering of lines, so that an error inside of a function points to where that was typed.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use rhai::{AST, Dynamic, EvalAltResult, Expr, ModuleResolver, ParseErrorType, Position, Scope, Stmt};

use super::completer::Completer;
use super::shown;
use crate::commands::run;
use crate::engine::{self, Prepared};
use crate::error::{Error, say};
use crate::host::Host;
use crate::playbook::Playbook;
use crate::primitives::Parameters;
use crate::progress::{Line, result};
use crate::report::Reporter;
use crate::sources::{self, Modules, Sources};

/// What errors call the text.
pub(super) const NAME: &str = "session";

/// What became of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ran {
    Done,
    Failed,
    /// The session is to end, with this exit code.
    Left(u8),
}

/// What was declared so far. The completer reads it while nothing runs.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) scope: Scope<'static>,
    /// Name and number of parameters.
    pub(super) functions: Vec<(String, usize)>,
}

pub(super) struct Session {
    host: Arc<Host>,
    prepared: Prepared,
    modules: Modules,
    sources: Sources,
    known: Arc<Mutex<Known>>,
    functions: AST,
    transcript: Transcript,
}

impl Session {
    pub(super) fn new(host: &Arc<Host>, playbook: &Playbook) -> Self {
        let sources = Sources::default();
        let modules = playbook.modules(&sources);
        let mut prepared = engine::prepare(host, Parameters::new(), playbook, &sources);
        prepared.engine.set_module_resolver(modules.clone());
        Session {
            host: host.clone(),
            prepared,
            modules,
            sources,
            known: Arc::default(),
            functions: AST::empty(),
            transcript: Transcript::default(),
        }
    }

    pub(super) fn completer(&self) -> Completer {
        Completer::new(&self.prepared, self.known.clone())
    }

    /// Counts the lines of what is no statement.
    pub(super) fn pass_over(&mut self, text: &str) {
        self.transcript.pass_over(text);
    }

    /// Runs statements, prints the value of the last one, or draws why it failed.
    pub(super) fn run(&mut self, text: &str) -> Ran {
        self.host.begin_statement();
        self.sources.insert(NAME, self.transcript.with(text).into());
        let known = self.known.clone();
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let ast = match self.prepared.engine.compile_with_scope(&known.scope, self.transcript.placed(text)) {
            Ok(ast) => ast,
            Err(error) => {
                say(&self.reporter().syntax(NAME, &error));
                self.transcript.pass_over(text);
                return Ran::Failed;
            }
        };
        let declared: Vec<(String, usize)> = ast
            .iter_functions()
            .filter(|function| !function.name.starts_with("anon$"))
            .map(|function| (function.name.to_owned(), function.params.len()))
            .collect();
        let imports = imports(&ast);
        let mut whole = self.functions.clone();
        whole += ast;
        whole.set_source(NAME);
        let ran = self.prepared.engine.eval_ast_with_scope::<Dynamic>(&mut known.scope, &whole);
        whole.clear_statements();
        self.functions = whole;
        for function in &declared {
            if !known.functions.contains(function) {
                known.functions.push(function.clone());
            }
        }
        drop(known);
        let ran = ran.and_then(|value| self.keep(imports).map(|()| value));
        let outcome = self.tell(ran);
        if outcome == Ran::Failed && declared.is_empty() {
            // A variable that it would have declared is not there: no error may say that it is.
            self.transcript.pass_over(text);
        } else {
            self.transcript.keep(text, declared);
        }
        if let Err(error) = self.host.end_statement() {
            let text = format!("the stack's lock was not given back, and ends in a minute: {error}");
            self.host.progress.line(Line::Warning, &text);
        }
        outcome
    }

    /// The engine knows an import to the end of the text that it stands in: it is made a namespace for those that follow.
    fn keep(&mut self, imports: Vec<(String, String, Position)>) -> Result<(), Box<EvalAltResult>> {
        for (path, name, position) in imports {
            let module = self.modules.resolve(&self.prepared.engine, None, &path, position)?;
            self.prepared.engine.register_static_module(name, module);
        }
        Ok(())
    }

    fn tell(&self, ran: Result<Dynamic, Box<EvalAltResult>>) -> Ran {
        if let Some(output) = self.host.take_output() {
            run::print_output(&output, false);
        }
        match ran {
            Ok(value) => {
                if !value.is_unit() {
                    result(&shown::text(&self.prepared.engine, &value));
                }
                Ran::Done
            }
            Err(error) => match engine::exit_code(&error) {
                Some(code) => Ran::Left(code),
                None if self.host.cancelled() => {
                    self.host.progress.line(Line::Warning, "interrupted");
                    Ran::Failed
                }
                None => {
                    say(&self.reporter().runtime(NAME, &error));
                    Ran::Failed
                }
            },
        }
    }

    /// Waits for what was started, and does what was deferred. `left` is how the session ended.
    pub(super) fn leave(&mut self, left: Result<u8, Error>) -> ExitCode {
        self.host.begin_statement();
        let mut code = left.unwrap_or_else(|error| {
            error.print();
            1
        });
        if code == 0
            && let Err(error) = self.host.settle()
        {
            error.print();
            code = 1;
        }
        for error in self.host.uninterrupted(|| run::run_deferred(&self.host, &self.prepared)) {
            say(&self.reporter().runtime(NAME, &error));
            code = code.max(1);
        }
        if let Err(error) = self.host.end_statement() {
            error.print();
        }
        if self.host.used() {
            self.host.progress.recap();
        }
        ExitCode::from(code)
    }

    fn reporter(&self) -> Reporter<'_> {
        Reporter {
            sources: &self.sources,
            functions: &self.prepared.functions,
            types: &self.prepared.types,
            describe: &engine::describe,
            colour: self.host.progress.colour(),
        }
    }
}

/// Path, name and place of what is imported for the rest of the session.
fn imports(ast: &AST) -> Vec<(String, String, Position)> {
    let import = |statement: &Stmt| match statement {
        Stmt::Import(parts, _) => match &**parts {
            (Expr::StringConstant(path, position), name) if !name.name.is_empty() => {
                Some((path.to_string(), name.name.to_string(), *position))
            }
            _ => None,
        },
        _ => None,
    };
    ast.statements().iter().filter_map(import).collect()
}

/// Whether a text can run; else more lines have to follow.
pub(super) fn is_whole(text: &str) -> bool {
    if text.trim_start().starts_with(':') {
        return true;
    }
    match sources::parse(text) {
        Ok(_) => true,
        Err(error) => match &*error.0 {
            ParseErrorType::BadInput(rhai::LexError::UnterminatedString) => {
                // Only a text in backticks goes on in the next line.
                !after(text, error.1).starts_with('`')
            }
            ParseErrorType::BadInput(_) => true,
            _ => !after(text, error.1).trim().is_empty(),
        },
    }
}

/// The text from a position on.
fn after(text: &str, position: Position) -> String {
    let (Some(line), Some(column)) = (position.line(), position.position()) else { return text.to_owned() };
    let lines: Vec<&str> = text.split('\n').skip(line - 1).collect();
    lines.join("\n").chars().skip(column.saturating_sub(1)).collect()
}

/// All that was typed, each text on lines of its own.
#[derive(Debug, Default)]
struct Transcript {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    text: String,
    /// The functions that it declares.
    functions: Vec<(String, usize)>,
}

impl Transcript {
    /// Everything, and `text` after it.
    fn with(&self, text: &str) -> String {
        let entries = self.entries.iter().map(|entry| entry.text.as_str());
        entries.chain([text]).collect()
    }

    /// `text` alone, at the place that it has in everything.
    fn placed(&self, text: &str) -> String {
        blank(&self.with("")) + text
    }

    /// Keeps the place of a text that is not to be read again.
    fn pass_over(&mut self, text: &str) {
        self.entries.push(Entry { text: blank(text) + "\n", functions: Vec::new() });
    }

    /// Keeps a text that has run. A function that it declares anew takes the place of the old one: two would be an error.
    fn keep(&mut self, text: &str, functions: Vec<(String, usize)>) {
        for entry in &mut self.entries {
            if entry.functions.iter().any(|function| functions.contains(function)) {
                entry.text = blank(&entry.text);
                entry.functions.clear();
            }
        }
        // What follows is another statement. Behind a comment the sign would be lost, and is not needed where nothing else follows.
        let end = if text.trim_end().ends_with(';') { "\n" } else { ";\n" };
        self.entries.push(Entry { text: format!("{}{end}", text.trim_end()), functions });
    }
}

/// As many lines, and nothing in them.
fn blank(text: &str) -> String {
    text.chars().filter(|character| *character == '\n').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_whole_waits_for_the_next_line() {
        let open = [
            "let x = [1,",
            "if x {",
            "foo(",
            "`abc",
            "`abc ${",
            "let x =",
            "x +",
            "fn f() {",
            "fn f()",
            "if x",
            "#{ a: 1",
            "x.",
            "ec2::",
            "try {",
            "foo(1,\n  2",
            "1 +\n",
            "x[",
        ];
        for text in open {
            assert!(!is_whole(text), "{text}");
        }
        let whole = [
            "",
            "x",
            "let x = 1",
            "\"abc",
            "x)",
            "let x = }",
            "foo(1 2",
            "if x { 1 }}",
            "let a = 1 let b",
            "// c",
            ":doc ec2::",
            "let x = #{ a: 1\n}",
            "try {} catch {}",
            "/// doc",
        ];
        for text in whole {
            assert!(is_whole(text), "{text}");
        }
    }

    #[test]
    fn every_text_keeps_its_lines() {
        let mut transcript = Transcript::default();
        transcript.keep("fn f() {\n  1\n}", vec![("f".to_owned(), 0)]);
        transcript.pass_over("wrong(");
        transcript.keep("let x = 1;", Vec::new());
        assert_eq!(transcript.with("x"), "fn f() {\n  1\n};\n\nlet x = 1;\nx");
        assert_eq!(transcript.placed("x"), "\n\n\n\n\nx");
        transcript.keep("fn f() { 2 }", vec![("f".to_owned(), 0)]);
        assert_eq!(transcript.with(""), "\n\n\n\nlet x = 1;\nfn f() { 2 };\n");
    }
}
