//! The parser's errors in plain words.

use rhai::ParseErrorType;

use super::{At, Problem, Reporter, constant, count, lower_first, nearest, variable_not_found};

/// An error of the parser.
pub(super) fn problem(reporter: &Reporter<'_>, kind: &ParseErrorType, at: At<'_>) -> Problem {
    use ParseErrorType as P;
    match kind {
        P::VariableUndefined(name) => variable_not_found(name, at),
        P::ModuleUndefined(name) => {
            let namespaces = reporter.functions.iter().filter_map(|(name, _)| Some(name.split_once("::")?.0));
            Problem::new(format!("there is no `{name}::`"))
                .suggest(nearest(name, namespaces).map(|near| format!("{near}::")).as_deref())
                .help(format!("a module of your own is imported first: `import \"lib/{name}\" as {name};`"))
        }
        P::MissingToken(token, purpose) => Problem::new(format!("`{token}` is missing {purpose}")),
        P::MismatchedType(expected, actual) => Problem::new(format!("expected {expected}, got {actual}")),
        P::Reserved(symbol) if !symbol.starts_with(|first: char| first.is_alphabetic()) => {
            Problem::new(format!("`{symbol}` has no meaning here"))
        }
        P::Reserved(word) => Problem::new(format!("`{word}` is a word of the language and cannot be a name"))
            .help("choose another name; as the key of a map write it in quotes"),
        P::DuplicatedProperty(name) => Problem::new(format!("the map has the key `{name}` twice")),
        P::AssignmentToConstant(name) => constant(name),
        P::BadInput(rhai::LexError::ImproperSymbol(sign, _)) if sign == "=" => {
            Problem::new("`=` sets a value, and does not compare").help("compare with `==`")
        }
        P::LoopBreak => Problem::new("`break` and `continue` only work inside a loop")
            .help("a function is left by `return`"),
        P::WrongExport => Problem::new("`export` stands outside of functions and blocks"),
        P::WrongFnDefinition => Problem::new("a function is declared outside of other functions and blocks")
            .help("in the middle of a block, a closure does: `let f = |x| x + 1;`"),
        P::FnDuplicatedDefinition(name, arguments) => Problem::new(format!(
            "the function `{name}` of {} is there already",
            count(*arguments, "argument")
        ))
        .help("give one of the two another name"),
        P::FnDuplicatedParam(function, parameter) => {
            Problem::new(format!("`{function}` has two parameters that are called `{parameter}`"))
        }
        P::FnMissingName => {
            Problem::new("the function has no name").help("a function without one is a closure: `|a| a + 1`")
        }
        P::FnMissingParams(name) => Problem::new(format!("the function `{name}` has no list of parameters"))
            .help(format!("without parameters it is `fn {name}() {{ .. }}`")),
        P::FnMissingBody(name) => Problem::new(format!("the function `{name}` has no body"))
            .help(format!("a body stands in braces: `fn {name}() {{ .. }}`")),
        P::UnknownOperator(sign) => match sign.as_str() {
            "++" => Problem::new("there is no `++`").help("write `+= 1`"),
            "--" => Problem::new("there is no `--`").help("write `-= 1`"),
            "===" | "!==" => Problem::new(format!("there is no `{sign}`")).help("compare with `==` or `!=`"),
            other => Problem::new(format!("there is no operator `{other}`")),
        },
        P::BadInput(rhai::LexError::UnterminatedString) => {
            Problem::new("this text is not closed").help("it ends with the same quote that it begins with")
        }
        P::BadInput(rhai::LexError::MalformedChar(_)) => {
            Problem::new("text stands in double quotes; single ones hold one character").help("write \"..\"")
        }
        P::BadInput(rhai::LexError::MalformedEscapeSequence(sequence)) => {
            Problem::new(format!("`{sequence}` means nothing in a text"))
                .help("a backslash is written twice: `\\\\`")
        }
        P::BadInput(rhai::LexError::MalformedNumber(_)) => Problem::new("this is no number"),
        P::BadInput(rhai::LexError::UnexpectedInput(sign)) if sign == "try" => {
            Problem::new("`try` is a statement and gives no value")
                .help("`attempt(|| ..)` gives `#{ ok, value, error }`")
        }
        P::BadInput(rhai::LexError::UnexpectedInput(sign)) => {
            Problem::new(format!("`{sign}` cannot stand here"))
        }
        P::UnexpectedEOF => Problem::new("the playbook ends too early"),
        P::ExprTooDeep => {
            Problem::new("this expression is nested too deeply").help("give its parts names by `let`")
        }
        P::BadInput(error) => Problem::new(lower_first(&error.to_string())),
        _ => Problem::new(lower_first(&kind.to_string())),
    }
}
