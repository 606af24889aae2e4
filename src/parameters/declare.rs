//! Reads the declarations of parameters from a syntax tree: nothing runs, so every argument has to be a literal.

use std::collections::{HashMap, HashSet};

use rhai::{AST, ASTNode, Dynamic, Expr, FnCallExpr, Position, Stmt};

use super::{Declaration, Kind};
use crate::report::Problem;

/// A wrong declaration, and the place of what is wrong with it.
type Misplaced = Box<(Position, Problem)>;

pub(super) fn declarations(ast: &AST, host_flags: &[&str]) -> Result<Vec<Declaration>, Misplaced> {
    let mut declared = Vec::new();
    let mut first_line = HashMap::new();
    let mut in_place = HashSet::new();
    for statement in ast.statements() {
        if let Stmt::Var(variable, ..) = statement
            && let Expr::FnCall(call, position) = &variable.1
            && is_declaration(call)
        {
            in_place.insert(*position);
            let declaration = declaration(call, *position, host_flags)?;
            let line = position.line().unwrap_or_default();
            if let Some(line) = first_line.insert(declaration.name.clone(), line) {
                let title = format!("parameter `{}` is declared twice", declaration.name);
                let notes = vec![format!("the first declaration is on line {line}")];
                let problem = Problem { title, notes, ..Problem::default() };
                return Err(Box::new((call.args[0].position(), problem)));
            }
            declared.push(declaration);
        }
    }
    match first_call(ast, &in_place) {
        Some((name, position)) => Err(wrong(
            position,
            format!("`{name}` declares a parameter, so it must stand alone at the top level"),
            format!("write `let value = {};` outside of functions and blocks", example(&name)),
        )),
        None => Ok(declared),
    }
}

/// What is wrong with a file that is imported, if it declares a parameter: nobody would look for it there, and its value would always
/// be the default.
pub fn misdeclared_in_module(ast: &AST) -> Option<(Position, Problem)> {
    let (name, position) = first_call(ast, &HashSet::new())?;
    let title = format!("`{name}` declares a parameter, and only the playbook itself can");
    Some(*wrong(
        position,
        title,
        "declare it in the playbook, and pass its value to a function of the module".to_owned(),
    ))
}

/// Name and place of the first declaration that stands at none of these places.
fn first_call(ast: &AST, in_place: &HashSet<Position>) -> Option<(String, Position)> {
    let mut found = None;
    ast.walk(&mut |path| {
        let (call, position) = match path.last() {
            Some(ASTNode::Expr(Expr::FnCall(call, position))) => (call, position),
            Some(ASTNode::Stmt(Stmt::FnCall(call, position))) => (call, position),
            _ => return true,
        };
        if is_declaration(call) && !in_place.contains(position) {
            found = Some((call.name.to_string(), *position));
        }
        found.is_none()
    });
    found
}

fn wrong(position: Position, title: String, help: String) -> Misplaced {
    Box::new((position, Problem { title, help: vec![help], ..Problem::default() }))
}

fn is_declaration(call: &FnCallExpr) -> bool {
    call.namespace.is_empty() && matches!(call.name.as_str(), "flag" | "option" | "choice" | "required")
}

fn example(function: &str) -> &'static str {
    match function {
        "flag" => r#"flag("keep-db", "Keep the database")"#,
        "option" => r#"option("servers", 2, "How many servers")"#,
        "choice" => r#"choice("size", ["t3.micro", "t3.small"], "Server size")"#,
        _ => r#"required("image", "What to run")"#,
    }
}

fn declaration(call: &FnCallExpr, position: Position, host_flags: &[&str]) -> Result<Declaration, Misplaced> {
    let function = call.name.as_str();
    let fail = |position: Position, title: String| {
        Err(wrong(position, title, format!("for example `{}`", example(function))))
    };
    let expected = if matches!(function, "flag" | "required") { 2 } else { 3 };
    if call.args.len() != expected {
        return fail(position, format!("`{function}` takes {expected} arguments, not {}", call.args.len()));
    }
    let mut literals = Vec::new();
    for argument in &call.args {
        match argument.get_literal_value(None) {
            Some(value) => literals.push(value),
            None => {
                let title = format!(
                    "the arguments of `{function}` must be literals: they are read before the playbook runs"
                );
                return fail(argument.position(), title);
            }
        }
    }
    let text = |index: usize| literals[index].clone().into_string().ok();
    let last = expected - 1;
    let Some(name) = text(0) else {
        return fail(call.args[0].position(), "the name of a parameter must be text".to_owned());
    };
    let Some(help) = text(last) else {
        return fail(call.args[last].position(), format!("the help of parameter `{name}` must be text"));
    };
    check_name(&name, call.args[0].position(), host_flags)?;
    let (kind, default) = match function {
        "flag" => (Kind::Flag, Some(false.into())),
        "required" => (Kind::Text, None),
        "option" => match kind_of(&literals[1]) {
            Some(kind) => (kind, Some(literals[1].clone())),
            None => {
                let title =
                    format!("the default of parameter `{name}` must be text, a number, true or false");
                return fail(call.args[1].position(), title);
            }
        },
        _ => match allowed(&literals[1]) {
            Ok(allowed) => {
                let first = allowed.first().cloned();
                (Kind::Choice(allowed), first)
            }
            Err(reason) => {
                return fail(call.args[1].position(), format!("the values of parameter `{name}` {reason}"));
            }
        },
    };
    Ok(Declaration { name, help, kind, default })
}

fn kind_of(value: &Dynamic) -> Option<Kind> {
    if value.is_string() {
        Some(Kind::Text)
    } else if value.is_int() {
        Some(Kind::Integer)
    } else if value.is_float() {
        Some(Kind::Float)
    } else if value.is_bool() {
        Some(Kind::Boolean)
    } else {
        None
    }
}

fn allowed(values: &Dynamic) -> Result<Vec<Dynamic>, &'static str> {
    let values = values.clone().into_array().map_err(|_| "must be a list")?;
    let mut seen = HashSet::new();
    match values.as_slice() {
        [] => Err("must not be an empty list"),
        _ if !values.iter().all(|value| value.is_string() || value.is_int() || value.is_float()) => {
            Err("must be texts or numbers")
        }
        _ if !values.iter().all(|value| seen.insert(value.to_string())) => Err("must differ from each other"),
        _ => Ok(values),
    }
}

fn check_name(name: &str, position: Position, host_flags: &[&str]) -> Result<(), Misplaced> {
    let starts_well = |name: &str| name.starts_with(|first: char| first.is_ascii_lowercase());
    let is_word = |part: &str| {
        !part.is_empty() && part.chars().all(|next| next.is_ascii_lowercase() || next.is_ascii_digit())
    };
    if !starts_well(name) || !name.split('-').all(is_word) {
        let words = name.split(|next: char| !next.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        let better = words.collect::<Vec<_>>().join("-").to_lowercase();
        let better = if starts_well(&better) { &better } else { "keep-db" };
        return Err(wrong(
            position,
            format!("`{name}` cannot be the name of a parameter"),
            format!("use lower-case letters, digits and single dashes, like `{better}`"),
        ));
    }
    if name == "help" || host_flags.contains(&name) {
        return Err(wrong(
            position,
            format!("`--{name}` belongs to ops itself"),
            "choose another name for this parameter".to_owned(),
        ));
    }
    Ok(())
}
