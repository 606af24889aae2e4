//! How the engine writes a closure: a function of its own, and a block that hands it what it captures.

use rhai::{Expr, FnPtr, Stmt};

pub(in crate::check) fn is_closure(name: &str) -> bool {
    name.starts_with("anon$")
}

/// The function behind a closure, and how many of its parameters are what it captures.
pub(in crate::check) fn closure_of(expression: &Expr) -> Option<(String, usize)> {
    match expression {
        Expr::DynamicConstant(value, _) => {
            let pointer = value.read_lock::<FnPtr>()?;
            is_closure(pointer.fn_name()).then(|| (pointer.fn_name().to_owned(), 0))
        }
        Expr::Stmt(block) => match block.statements() {
            [Stmt::Share(_), Stmt::Expr(curry)] => match &**curry {
                Expr::FnCall(call, _) => {
                    let (name, _) = closure_of(call.args.first()?)?;
                    Some((name, call.args.len() - 1))
                }
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}
