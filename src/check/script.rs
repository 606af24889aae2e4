//! A script as its syntax tree tells it: what it declares, uses, calls and captures, each with its place.
//!
//! The engine's own strictness stops at the first unknown name. This walk keeps the scopes itself, so that one check tells all.

mod closure;
mod scopes;
mod walk;

use rhai::{AST, ASTNode, Expr, Position, Stmt};

use closure::{closure_of, is_closure};
use walk::Walk;

/// A parsed script. Bodies of functions are copied out of the tree: the engine gives no other way to hold on to them.
pub(super) struct Script {
    statements: Vec<Stmt>,
    pub(super) functions: Vec<Body>,
}

pub(super) struct Body {
    pub(super) name: String,
    pub(super) parameters: Vec<String>,
    statements: Vec<Stmt>,
}

/// How a name came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Variable,
    Constant,
    /// What a `for` loop goes through.
    Loop,
    /// A parameter of a function or a closure, or what `catch` names.
    Given,
}

pub(super) struct Declared<'s> {
    pub(super) name: &'s str,
    pub(super) position: Position,
    pub(super) kind: Kind,
    pub(super) value: Option<&'s Expr>,
    /// Outside of functions and blocks.
    pub(super) at_top: bool,
    pub(super) exported: bool,
    pub(super) uses: usize,
    pub(super) assigned: bool,
}

pub(super) struct Call<'s> {
    pub(super) namespace: &'s str,
    pub(super) name: &'s str,
    pub(super) position: Position,
    pub(super) arguments: &'s [Expr],
    pub(super) method: bool,
    /// The variable that a method is called on, if it is one.
    pub(super) receiver: Option<usize>,
}

impl Call<'_> {
    /// Whoever reads the parameters has judged these words.
    pub(super) fn declares_parameter(&self) -> bool {
        self.namespace.is_empty() && matches!(self.name, "flag" | "option" | "choice" | "required")
    }
}

pub(super) struct Closure<'s> {
    pub(super) position: Position,
    /// Indices of what it captures.
    pub(super) captures: Vec<usize>,
    /// The function that it is handed to, and the variable that this is called on.
    pub(super) handed_to: Option<(&'s str, Option<usize>)>,
}

/// A property that is read, and the variable that it is read of.
pub(super) struct Property<'s> {
    pub(super) of: Option<usize>,
    pub(super) name: &'s str,
    pub(super) position: Position,
}

/// A variable that becomes part of a text.
pub(super) struct Joined {
    pub(super) variable: usize,
    pub(super) position: Position,
}

pub(super) struct Import<'s> {
    pub(super) path: Option<&'s str>,
    pub(super) name: &'s str,
    pub(super) position: Position,
}

/// What the walk found.
#[derive(Default)]
pub(super) struct Facts<'s> {
    pub(super) declared: Vec<Declared<'s>>,
    /// Names that nothing declares.
    pub(super) undefined: Vec<(&'s str, Position)>,
    /// `global::NAME`, `module::NAME`.
    pub(super) qualified: Vec<(&'s str, &'s str, Position)>,
    pub(super) calls: Vec<Call<'s>>,
    pub(super) closures: Vec<Closure<'s>>,
    pub(super) properties: Vec<Property<'s>>,
    pub(super) joined: Vec<Joined>,
    pub(super) imports: Vec<Import<'s>>,
    pub(super) texts: Vec<(&'s str, Position)>,
    /// Names with the value that they are given: keys of maps, variables, properties that are assigned.
    pub(super) named: Vec<(&'s str, &'s Expr, Position)>,
    pub(super) empty_loops: Vec<Position>,
    /// `switch` on a property of what a call makes: the property, and the call.
    pub(super) switches: Vec<(&'s str, &'s str, Position)>,
}

impl Script {
    pub(super) fn of(ast: &AST) -> Self {
        let functions = ast.iter_functions().map(|function| {
            let mut only = ast.clone_functions_only();
            only.retain_functions(|_, _, name, parameters| {
                name == function.name && parameters == function.params.len()
            });
            Body {
                name: function.name.to_owned(),
                parameters: function.params.iter().map(|name| (*name).to_owned()).collect(),
                statements: statements(&only),
            }
        });
        Script { functions: functions.collect(), statements: ast.statements().to_vec() }
    }

    pub(super) fn facts(&self) -> Facts<'_> {
        let mut walk =
            Walk { script: self, facts: Facts::default(), scopes: vec![Vec::new()], open: Vec::new() };
        for statement in &self.statements {
            walk.statement(statement);
        }
        for function in self.functions.iter().filter(|function| !is_closure(&function.name)) {
            walk.scopes = vec![Vec::new(), Vec::new()];
            walk.parameters(&function.parameters);
            walk.statements(&function.statements);
        }
        walk.facts
    }

    /// The last expression of a closure, which is what it gives.
    pub(super) fn result_of<'s>(&'s self, closure: &Expr) -> Option<&'s Expr> {
        let (name, _) = closure_of(closure)?;
        let body = self.functions.iter().find(|function| function.name == name)?;
        match body.statements.last()? {
            Stmt::Expr(expression) => Some(expression),
            _ => None,
        }
    }
}

/// The outermost statements that a walk meets.
fn statements(ast: &AST) -> Vec<Stmt> {
    let mut found = Vec::new();
    ast.walk(&mut |path| {
        if let [ASTNode::Stmt(statement)] = path {
            found.push((*statement).clone());
        }
        true
    });
    found
}
