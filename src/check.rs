//! `ops check`: every problem of a playbook that can be seen without running it, each with its place, its rule and a way out.
//!
//! `script` tells what a text declares and uses; each other file judges one side of it. A rule can be allowed for one line by a
//! comment on that line or alone above it: `// ops:allow open-world`.

mod calls;
mod closures;
mod keys;
mod names;
mod permissions;
mod risks;
mod script;
mod secrets;

use std::path::Path;

use rhai::{AST, Position};

use crate::parameters::{self, Declarations};
use crate::playbook::Playbook;
use crate::reference::Reference;
use crate::report::{Problem, Reporter};
use crate::sources::{self, Sources};

pub use permissions::permissions;
use script::{Facts, Script};

/// The rule of how a parameter is declared.
const PARAMETER: &str = "parameter";

/// One problem of a text.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The name of the rule, as `// ops:allow` takes it.
    pub rule: &'static str,
    pub position: Position,
    pub problem: Problem,
}

impl Finding {
    fn new(rule: &'static str, position: Position, title: impl Into<String>) -> Self {
        Finding { rule, position, problem: Problem { title: title.into(), ..Problem::default() } }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.problem.help.push(help.into());
        self
    }

    fn note(mut self, note: impl Into<String>) -> Self {
        self.problem.notes.push(note.into());
        self
    }

    fn suggest(self, name: Option<&str>) -> Self {
        match name {
            Some(name) => self.help(format!("did you mean `{name}`?")),
            None => self,
        }
    }
}

/// A module that the text imports.
struct Imported<'s> {
    name: &'s str,
    /// `None` where the file could not be read; that is said once, at the import.
    ast: Option<AST>,
}

/// What the rules look at.
struct Text<'s> {
    reference: &'s Reference,
    facts: &'s Facts<'s>,
    script: &'s Script,
    imported: Vec<Imported<'s>>,
    /// A file of `lib`, whose callers give it a stack.
    library: bool,
    /// A file of tests, which alone has a cloud to try things with.
    test: bool,
}

/// Checks a playbook, or a file of `lib`. `host_flags` are names that no parameter may have; `sources` keeps what is read.
pub fn check(
    playbook: &Playbook,
    reference: &Reference,
    host_flags: &[&str],
    sources: &Sources,
) -> Vec<Finding> {
    sources.insert(playbook.source(), playbook.text().clone());
    let reporter = Reporter {
        sources,
        functions: &reference.signatures,
        types: &reference.types,
        describe: &|_| None,
        colour: false,
    };
    let ast = match sources::parse(playbook.text()) {
        Ok(ast) => ast,
        Err(error) => {
            let (position, problem) = reporter.syntax_problem(playbook.source(), &error);
            return vec![Finding { rule: "syntax", position, problem }];
        }
    };
    let mut found = Vec::new();
    if playbook.is_library() {
        let misdeclared = parameters::misdeclared_in_module(&ast);
        found.extend(misdeclared.map(|(position, problem)| Finding { rule: PARAMETER, position, problem }));
    } else if let Err(parameters::Error::Declaration(wrong)) = Declarations::read(playbook, host_flags) {
        found.push(Finding { rule: PARAMETER, position: wrong.position, problem: wrong.problem });
    }
    let script = Script::of(&ast);
    let facts = script.facts();
    let imported = imports(playbook, &facts, &mut found);
    let (library, test) = (playbook.is_library(), playbook.is_test());
    let text = Text { reference, facts: &facts, script: &script, imported, library, test };
    names::judge(&text, &mut found);
    calls::judge(&text, &mut found);
    keys::judge(&text, &mut found);
    closures::judge(&text, &mut found);
    secrets::judge(&text, &mut found);
    risks::judge(&text, &mut found);
    // What the walk has no rule for, and the engine refuses.
    if found.is_empty()
        && let Err(error) = reference.engine.compile(&**playbook.text())
    {
        let (position, problem) = reporter.syntax_problem(playbook.source(), &error);
        found.push(Finding { rule: "syntax", position, problem });
    }
    found.retain(|finding| !allowed(playbook.text(), finding));
    found.sort_by_key(|finding| (finding.position.line(), finding.position.position()));
    found.dedup_by(|one, other| one.position == other.position && one.problem == other.problem);
    found
}

/// The modules that a text imports; one that is not there is a finding.
fn imports<'s>(playbook: &Playbook, facts: &Facts<'s>, found: &mut Vec<Finding>) -> Vec<Imported<'s>> {
    let mut imported = Vec::new();
    for import in &facts.imports {
        let ast = import.path.and_then(|path| match playbook.module(path) {
            Ok(file) => module(path, &file, import.position, found),
            Err(reason) => {
                found.push(Finding::new("import", import.position, reason));
                None
            }
        });
        imported.push(Imported { name: import.name, ast });
    }
    imported
}

fn module(path: &str, file: &Path, position: Position, found: &mut Vec<Finding>) -> Option<AST> {
    if !file.is_file() {
        let missing = Finding::new("import", position, format!("there is no module `{path}`"))
            .help("an import names a file below the playbook's folder, without `.rhai`, like `lib/defaults`");
        found.push(missing);
        return None;
    }
    match sources::read(file) {
        // What else is wrong inside of it is said where it is checked itself.
        Ok(text) => {
            let ast = sources::parse(&text).ok()?;
            if let Some((place, problem)) = parameters::misdeclared_in_module(&ast) {
                let line = place.line().unwrap_or_default();
                let title = format!("`{path}` cannot be imported: it declares a parameter on line {line}");
                let finding = Finding::new(PARAMETER, position, title);
                found.push(problem.help.into_iter().fold(finding, Finding::help));
            }
            Some(ast)
        }
        Err(error) => {
            found.push(Finding::new("import", position, error.to_string()));
            None
        }
    }
}

/// Whether the line of a finding, or a comment alone on the line above it, allows its rule.
fn allowed(text: &str, finding: &Finding) -> bool {
    let Some(line) = finding.position.line() else { return false };
    let allows = |line: &str| {
        let rules = line.split_once("// ops:allow ").map_or("", |(_, rules)| rules);
        rules.split([',', ' ']).any(|rule| rule == finding.rule)
    };
    let lines: Vec<&str> = text.lines().collect();
    let above = line.checked_sub(2).and_then(|above| lines.get(above));
    lines.get(line - 1).is_some_and(|line| allows(line))
        || above.is_some_and(|above| above.trim_start().starts_with("//") && allows(above))
}
