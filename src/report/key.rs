//! Finds the map key that a call was refused for.
//!
//! The engine knows the position of the call, not of the key, so the text is parsed again and searched: the arguments,
//! then the variables in them. Where the answer is not certain, none is given: a wrong caret costs more than none.

use rhai::{AST, ASTNode, Expr, FnCallExpr, Position, Stmt};

use crate::sources;

/// Where a key is.
pub(super) enum Found {
    /// Here; `used` is the variable in the call that carried it.
    Key { position: Position, used: Option<Position> },
    /// The variable gets the key at more than one place.
    Several(Vec<Position>),
    /// The map is a parameter of the function around the call: its caller has to be looked at.
    PassedOn,
    /// Not in this text: the key is computed, or the map comes from somewhere else.
    Nowhere,
}

/// Searches the call at a position of a text for a key. `function` is the function around the call, if any.
pub(super) fn find(text: &str, call: Position, key: &str, function: Option<&str>) -> Found {
    let Ok(ast) = sources::parse(text) else { return Found::Nowhere };
    let Some(arguments) = arguments(&ast, call) else { return Found::Nowhere };
    if let Some(position) = arguments.iter().find_map(|argument| key_in(argument, key)) {
        return Found::Key { position, used: None };
    }
    let used: Vec<_> = arguments.iter().flat_map(variables).collect();
    for (name, position) in &used {
        let mut places = Vec::new();
        assigned(&ast, name, call, key, &mut places, &mut vec![name.clone()]);
        match places.as_slice() {
            [] => {}
            [place] => return Found::Key { position: *place, used: Some(*position) },
            _ => return Found::Several(places),
        }
    }
    let passed_on = function.is_some_and(|function| {
        // What a closure captures becomes its parameters; the enclosing function's are then its caller's affair.
        function.starts_with("anon$")
            || ast.iter_functions().any(|candidate| {
                candidate.name == function
                    && used.iter().any(|(name, _)| candidate.params.contains(&name.as_str()))
            })
    });
    if passed_on { Found::PassedOn } else { Found::Nowhere }
}

/// The place of the one call of a function in a text, if there is just one.
pub(super) fn only_call(text: &str, function: &str) -> Option<Position> {
    let ast = sources::parse(text).ok()?;
    let mut places = Vec::new();
    walk_calls(&ast, &mut |call, position| {
        if call.name == function {
            places.push(position);
        }
    });
    match places.as_slice() {
        [place] => Some(*place),
        _ => None,
    }
}

fn arguments(ast: &AST, place: Position) -> Option<Vec<Expr>> {
    let mut arguments = None;
    walk_calls(ast, &mut |call, position| {
        if position == place {
            arguments = Some(call.args.to_vec());
        }
    });
    arguments
}

fn walk_calls(ast: &AST, on_call: &mut impl FnMut(&FnCallExpr, Position)) {
    ast.walk(&mut |path| {
        match path.last() {
            Some(ASTNode::Expr(Expr::FnCall(call, position) | Expr::MethodCall(call, position))) => {
                on_call(call, *position);
            }
            // A call that is a whole statement is no expression.
            Some(ASTNode::Stmt(Stmt::FnCall(call, position))) => on_call(call, *position),
            _ => {}
        }
        true
    });
}

/// The position of a key in the maps of an expression. The outermost one wins: it is the one that was passed.
fn key_in(expression: &Expr, key: &str) -> Option<Position> {
    let mut found: Option<(usize, Position)> = None;
    expression.walk(&mut Vec::new(), &mut |path| {
        if let Some(ASTNode::Expr(Expr::Map(map, _))) = path.last()
            && let Some((ident, _)) = map.0.iter().find(|(ident, _)| ident.name == key)
            && found.is_none_or(|(depth, _)| path.len() < depth)
        {
            found = Some((path.len(), ident.pos));
        }
        true
    });
    found.map(|(_, position)| position)
}

fn variables(expression: &Expr) -> Vec<(String, Position)> {
    let mut names = Vec::new();
    expression.walk(&mut Vec::new(), &mut |path| {
        if let Some(ASTNode::Expr(Expr::Variable(variable, _, position))) = path.last()
            && variable.2.is_empty()
        {
            names.push((variable.1.to_string(), *position));
        }
        true
    });
    names
}

/// Collects the places before `limit` where a variable gets a key. Names are compared, not scopes.
fn assigned(
    ast: &AST,
    name: &str,
    limit: Position,
    key: &str,
    places: &mut Vec<Position>,
    seen: &mut Vec<String>,
) {
    let mut aliases = Vec::new();
    ast.walk(&mut |path| {
        let (value, position) = match path.last() {
            Some(ASTNode::Stmt(Stmt::Var(variable, _, position))) if variable.0.name == name => {
                (&variable.1, position)
            }
            Some(ASTNode::Stmt(statement @ Stmt::Assignment(assignment))) => match &assignment.1.lhs {
                Expr::Variable(variable, ..) if variable.1 == name => {
                    (&assignment.1.rhs, &statement.position())
                }
                target => {
                    let place = member(target, name, key).filter(|place| before(*place, limit));
                    places.extend(place);
                    return true;
                }
            },
            _ => return true,
        };
        if before(*position, limit) {
            match (key_in(value, key), value) {
                (Some(place), _) => places.push(place),
                (None, Expr::Variable(alias, ..)) => aliases.push(alias.1.to_string()),
                (None, _) => {}
            }
        }
        true
    });
    for alias in aliases {
        if !seen.contains(&alias) {
            seen.push(alias.clone());
            assigned(ast, &alias, limit, key, places, seen);
        }
    }
    places.sort_by_key(|place| (place.line(), place.position()));
    places.dedup();
}

/// The place of the key in `name.key` or `name["key"]`.
fn member(target: &Expr, name: &str, key: &str) -> Option<Position> {
    let (Expr::Dot(parts, ..) | Expr::Index(parts, ..)) = target else { return None };
    match (&parts.lhs, &parts.rhs) {
        (Expr::Variable(variable, ..), Expr::Property(property, position))
            if variable.1 == name && property.2 == key =>
        {
            Some(*position)
        }
        (Expr::Variable(variable, ..), Expr::StringConstant(index, position))
            if variable.1 == name && index == key =>
        {
            Some(*position)
        }
        _ => None,
    }
}

fn before(position: Position, limit: Position) -> bool {
    (position.line(), position.position()) < (limit.line(), limit.position())
}
