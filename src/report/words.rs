//! The engine's errors in plain words, with the nearest name and the real signature where they help.

mod syntax;

use rhai::{AST, ASTNode, Dynamic, EvalAltResult, Expr, Position, Stmt};

use super::{Problem, Reporter};
use crate::sources;

/// The text and the position of an error.
type At<'a> = Option<(&'a str, Position)>;

impl Problem {
    fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    fn suggest(self, name: Option<&str>) -> Self {
        match name {
            Some(name) => self.help(format!("did you mean `{name}`?")),
            None => self,
        }
    }
}

/// A value that the script threw.
pub(super) fn thrown(value: &Dynamic) -> Problem {
    if value.is_unit() {
        return Problem::new("the playbook stopped with `throw`");
    }
    let Some(map) = value.read_lock::<rhai::Map>() else {
        return Problem::new(value.to_string());
    };
    let Some(message) = map.get("message") else {
        return Problem::new(format!("the playbook threw {value}"));
    };
    let mut problem = Problem::new(message.to_string());
    for (key, value) in map.iter() {
        problem = match key.as_str() {
            "message" => problem,
            "help" | "hint" => problem.help(value.to_string()),
            _ => problem.note(format!("{key}: {value}")),
        };
    }
    problem
}

/// An error of the engine while it ran.
pub(super) fn runtime(reporter: &Reporter<'_>, error: &EvalAltResult, at: At<'_>) -> Problem {
    use EvalAltResult as E;
    match error {
        E::ErrorParsing(kind, _) => syntax::problem(reporter, kind, at),
        E::ErrorFunctionNotFound(call, _) => function_not_found(reporter, call, at),
        E::ErrorVariableNotFound(name, _) => variable_not_found(name, at),
        E::ErrorPropertyNotFound(name, _) => Problem::new(format!("there is no property `{name}`")),
        E::ErrorDotExpr(message, _) => property_refused(reporter, message),
        E::ErrorIndexNotFound(index, _) => Problem::new(format!("there is no element `{index}`")),
        E::ErrorModuleNotFound(name, _) => Problem::new(format!("there is no module `{name}`"))
            .help("an import names a file below the playbook's folder, without `.rhai`, like `lib/defaults`"),
        E::ErrorMismatchDataType(expected, actual, _) if expected == "bool" => {
            Problem::new(format!("a condition is true or false, and this is {}", reporter.word(actual)))
                .help("compare it, such as `value == 1` or `value != \"\"`")
        }
        E::ErrorMismatchDataType(expected, actual, _) | E::ErrorMismatchOutputType(expected, actual, _) => {
            Problem::new(format!("expected {}, got {}", reporter.word(expected), reporter.word(actual)))
        }
        E::ErrorIndexingType(kind, _) => {
            let (kind, index) = kind.split_once(" [").unwrap_or((kind, ""));
            let with = match index.trim_end_matches(']') {
                "" => String::new(),
                index => format!(" with {}", reporter.word(index)),
            };
            Problem::new(format!("{} cannot be indexed{with}", reporter.word(kind)))
        }
        E::ErrorArrayBounds(length, index, _) => out_of_range("list", *length, "element", *index),
        E::ErrorStringBounds(length, index, _) => out_of_range("text", *length, "character", *index),
        E::ErrorBitFieldBounds(length, index, _) => out_of_range("number", *length, "bit", *index),
        E::ErrorFor(_) => Problem::new("`for` cannot go through this value").help(
            "`for` takes a list, a range like `0..3`, a map's `keys()`, or what a `list_` function returns",
        ),
        E::ErrorDataRace(name, _) => {
            let title = match function_of_argument(name) {
                Some(function) => format!("`{function}` works on a value that its closure uses too"),
                None => format!("`{}` is in use while it is being changed", bare(name)),
            };
            Problem::new(title).help("copy what the closure needs into a variable before the call")
        }
        E::ErrorUnboundThis(_) => Problem::new("`this` has no value here")
            .help("a function that uses `this` is called as a method: `value.function()`"),
        E::ErrorNonPureMethodCallOnConstant(name, _) => {
            Problem::new(format!("`{}` changes its value, which is a constant", bare(name)))
                .help("declare the value by `let` instead of `const`")
        }
        E::ErrorAssignmentToConstant(name, _) => constant(name),
        E::ErrorVariableExists(name, _) => Problem::new(format!("`{name}` is defined already")),
        E::ErrorForbiddenVariable(name, _) => {
            Problem::new(format!("`{name}` cannot be the name of a variable"))
        }
        E::ErrorTooManyOperations(_) => Problem::new("the playbook takes too many steps"),
        E::ErrorTooManyVariables(_) => Problem::new("the playbook has too many variables"),
        E::ErrorTooManyModules(_) => Problem::new("the playbook imports too many modules"),
        E::ErrorStackOverflow(_) => Problem::new("functions call each other too deeply")
            .help("does a function call itself without an end?"),
        E::ErrorDataTooLarge(what, _) => {
            Problem::new(format!("a value grew too large: {}", lower_first(what)))
        }
        E::ErrorSystem(message, source) if message.is_empty() => Problem::new(source.to_string()),
        E::ErrorSystem(message, source) => Problem::new(format!("{}: {source}", lower_first(message))),
        E::ErrorArithmetic(message, _) => Problem::new(lower_first(message)),
        _ => Problem::new(lower_first(&error.to_string())),
    }
}

impl Reporter<'_> {
    /// The author's word for a type that the engine names.
    fn word(&self, kind: &str) -> String {
        let kind = kind.trim();
        if let Some((_, word)) = self.types.iter().find(|(path, _)| path == kind) {
            return word.clone();
        }
        match kind {
            "()" => "nothing, `()`".to_owned(),
            "i64" => "int".to_owned(),
            "f64" => "float".to_owned(),
            "Fn" => "closure".to_owned(),
            "array" => "list".to_owned(),
            _ if kind.contains("String") || kind == "&str" => "string".to_owned(),
            // A path with parameters cannot be shortened at its last `::`.
            _ if kind.contains('<') => kind.to_owned(),
            _ if kind.starts_with(|first: char| first.is_lowercase()) && kind.matches("::").count() < 2 => {
                kind.to_owned()
            }
            _ => kind.rsplit("::").next().unwrap_or(kind).to_owned(),
        }
    }
}

/// `call` is the name and the types of the arguments: `ec2::find_instance (i64, map)`.
fn function_not_found(reporter: &Reporter<'_>, call: &str, at: At<'_>) -> Problem {
    let (name, arguments) = call.split_once(" (").unwrap_or((call, ")"));
    let arguments = arguments.strip_suffix(')').unwrap_or(arguments);
    let mut words: Vec<String> = arguments
        .split(", ")
        .filter(|argument| !argument.is_empty())
        .map(|word| reporter.word(word))
        .collect();
    if name.starts_with("anon$") {
        return closure_not_found(name, words.len(), at);
    }
    if !name.starts_with(|first: char| first.is_alphabetic() || first == '_') {
        return Problem::new(format!("`{name}` cannot be applied to {}", words.join(" and ")));
    }
    let own = at
        .and_then(|(text, _)| sources::parse(text).ok())
        .map(|ast| script_functions(&ast))
        .unwrap_or_default();
    let known = || reporter.functions.iter().chain(&own);
    let signatures: Vec<&str> =
        known().filter(|(known, _)| known == name).map(|(_, signature)| signature.as_str()).collect();
    let is_method = at.is_some_and(|(text, position)| {
        let start = super::span::token(text, position).start;
        text[..start].ends_with('.')
    });
    let receiver = (is_method && !words.is_empty()).then(|| words.remove(0));
    if signatures.is_empty() {
        let title = match receiver {
            Some(receiver) => format!("{receiver} has no method `{name}`"),
            None => format!("there is no function `{name}`"),
        };
        return Problem::new(title).suggest(nearest(name, known().map(|(known, _)| known.as_str())));
    }
    let given = if words.is_empty() { "no arguments".to_owned() } else { format!("({})", words.join(", ")) };
    let on = receiver.map(|receiver| format!(" on {receiver}")).unwrap_or_default();
    let problem = Problem::new(format!("`{name}` cannot be called with {given}{on}"));
    signatures.into_iter().fold(problem, |problem, signature| problem.help(format!("it is `{signature}`")))
}

/// The engine looks for a closure in the text that calls it: one that another file has made is not found there.
fn closure_not_found(name: &str, given: usize, at: At<'_>) -> Problem {
    let ast = at.and_then(|(text, _)| sources::parse(text).ok());
    let here = ast.as_ref().is_none_or(|ast| ast.iter_functions().any(|function| function.name == name));
    if here {
        return Problem::new(format!("the closure does not take {}", count(given, "argument")));
    }
    Problem::new("this closure was made in another file, and cannot be called here")
        .note("a closure knows only the functions of its own file")
        .help("let the module give a value, or call the closure inside of it")
}

fn script_functions(ast: &AST) -> Vec<(String, String)> {
    ast.iter_functions()
        .filter(|function| !function.name.starts_with("anon$"))
        .map(|function| {
            (function.name.to_owned(), format!("{}({})", function.name, function.params.join(", ")))
        })
        .collect()
}

/// A variable that a text declares.
struct Declared {
    name: String,
    position: Position,
    at_top: bool,
}

fn variable_not_found(name: &str, at: At<'_>) -> Problem {
    let problem = Problem::new(format!("there is no variable `{name}`"));
    let Some((text, position)) = at else { return problem };
    let Ok(ast) = sources::parse(text) else { return problem };
    let declared = declared(&ast);
    let line = |declared: &Declared| declared.position.line().unwrap_or_default();
    let same = || declared.iter().filter(|declared| declared.name == name);
    let is_earlier = |declared: &&Declared| {
        (declared.position.line(), declared.position.position()) < (position.line(), position.position())
    };
    if let Some(file) = same().filter(|declared| declared.at_top).find(is_earlier) {
        return problem
            .note(format!(
                "`{name}` is a variable of the file (line {}); functions do not see these",
                line(file)
            ))
            .help(format!("pass it to the function as a parameter: `fn name({name})`"));
    }
    if let Some(inner) = same().find(is_earlier) {
        return problem.note(format!("the `{name}` of line {} ends with its block or function", line(inner)));
    }
    if let Some(later) = same().next() {
        return problem.note(format!("`{name}` is declared only later, on line {}", line(later)));
    }
    let parameters = ast.iter_functions().flat_map(|function| function.params).collect::<Vec<_>>();
    let names = declared.iter().map(|declared| declared.name.as_str()).chain(parameters);
    problem.suggest(nearest(name, names))
}

fn declared(ast: &AST) -> Vec<Declared> {
    let top: Vec<Position> = ast.statements().iter().map(Stmt::position).collect();
    let mut declared = Vec::new();
    ast.walk(&mut |path| {
        match path.last() {
            Some(ASTNode::Stmt(Stmt::Var(variable, _, position))) => declared.push(Declared {
                name: variable.0.name.to_string(),
                position: variable.0.pos,
                at_top: top.contains(position),
            }),
            Some(ASTNode::Stmt(Stmt::For(parts, _))) => {
                let idents = [Some(&parts.0), parts.1.as_ref()];
                declared.extend(idents.into_iter().flatten().map(|ident| Declared {
                    name: ident.name.to_string(),
                    position: ident.pos,
                    at_top: false,
                }));
            }
            Some(ASTNode::Stmt(Stmt::TryCatch(parts, _))) => {
                if let Expr::Variable(variable, _, position) = &parts.expr {
                    declared.push(Declared {
                        name: variable.1.to_string(),
                        position: *position,
                        at_top: false,
                    });
                }
            }
            _ => {}
        }
        true
    });
    declared
}

/// `message` is the engine's: `Unknown property 'foo' - a getter is not registered for type 'i64'`.
fn property_refused(reporter: &Reporter<'_>, message: &str) -> Problem {
    let quoted: Vec<&str> = message.split('\'').skip(1).step_by(2).collect();
    let [property, kind, ..] = quoted.as_slice() else { return Problem::new(lower_first(message)) };
    let word = reporter.word(kind);
    if *kind == "()" {
        return Problem::new(format!("there is nothing here to read `{property}` from: the value is `()`"))
            .help("a key that a map does not have reads as `()`: is the name before the dot right?");
    }
    if message.contains("writable") {
        return Problem::new(format!("`{property}` of {word} cannot be set"));
    }
    Problem::new(format!("{word} has no property `{property}`"))
}

fn constant(name: &str) -> Problem {
    if name.is_empty() {
        return Problem::new("a value cannot be assigned to a constant");
    }
    Problem::new(format!("`{name}` is a constant and cannot be changed"))
        .help("declare it by `let` instead of `const`")
}

fn out_of_range(whole: &str, length: usize, part: &str, index: i64) -> Problem {
    Problem::new(format!("index {index} is out of range: the {whole} has {}", count(length, part)))
        .help("the first index is 0, the last is -1")
}

fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// The name in what the engine calls a variable or function: `'x'`, `push (array, i64)`.
fn bare(name: &str) -> &str {
    name.split(" (").next().unwrap_or(name).trim_matches(|quote| matches!(quote, '\'' | '"'))
}

/// The function in `argument #1 of function 'map'`, which is how the engine names a value that is in use.
pub(super) fn function_of_argument(name: &str) -> Option<&str> {
    name.strip_prefix("argument #")?.split('\'').nth(1)
}

/// The engine starts its messages with a capital.
fn lower_first(message: &str) -> String {
    let mut rest = message.chars();
    let first = rest.next().into_iter().flat_map(char::to_lowercase);
    first.chain(rest).collect()
}

/// The candidate that was probably meant. Without a limit on the distance, `each_paralel` would suggest `chars`, and
/// every name of one letter any other.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    let limit = |candidate: &str| (length.max(candidate.chars().count()) / 3).min(3);
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= limit(candidate))
        .min()
        .map(|(_, candidate)| candidate)
}
