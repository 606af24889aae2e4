//! The walk through statements and expressions, which finds the facts of a script.

use rhai::{ASTFlags, Expr, FnCallExpr, Position, Stmt};

use super::closure::closure_of;
use super::{Call, Closure, Facts, Import, Joined, Kind, Property, Script};

pub(super) struct Walk<'s> {
    pub(super) script: &'s Script,
    pub(super) facts: Facts<'s>,
    /// Indices of what is declared, from the outermost scope inwards.
    pub(super) scopes: Vec<Vec<usize>>,
    /// The closures that are being walked: which one, and the scope that it begins with.
    pub(super) open: Vec<(usize, usize)>,
}

impl<'s> Walk<'s> {
    pub(super) fn statements(&mut self, statements: &'s [Stmt]) {
        for statement in statements {
            self.statement(statement);
        }
    }

    pub(super) fn statement(&mut self, statement: &'s Stmt) {
        match statement {
            Stmt::If(parts, _) => {
                self.expression(&parts.expr);
                self.block(parts.body.statements());
                self.block(parts.branch.statements());
            }
            Stmt::Switch(parts, _) => {
                self.expression(&parts.0);
                if let Some((property, call)) = self.made(&parts.0, None, usize::MAX) {
                    self.facts.switches.push((property, call, parts.0.position()));
                }
                for case in &parts.1.expressions {
                    self.expression(&case.lhs);
                    self.expression(&case.rhs);
                }
            }
            Stmt::While(parts, _) | Stmt::Do(parts, ..) => {
                self.expression(&parts.expr);
                self.block(parts.body.statements());
            }
            Stmt::For(parts, position) => {
                let (item, counter, parts) = &**parts;
                self.expression(&parts.expr);
                if parts.body.statements().is_empty() {
                    self.facts.empty_loops.push(*position);
                }
                self.within(|walk| {
                    walk.declare(&item.name, item.pos, Kind::Loop, None);
                    if let Some(counter) = counter {
                        walk.declare(&counter.name, counter.pos, Kind::Loop, None);
                    }
                    walk.block(parts.body.statements());
                });
            }
            Stmt::Var(parts, flags, _) => {
                let (name, value, _) = &**parts;
                self.expression(value);
                self.facts.named.push((&name.name, value, name.pos));
                let kind = if flags.contains(ASTFlags::CONSTANT) { Kind::Constant } else { Kind::Variable };
                self.declare(&name.name, name.pos, kind, Some(value));
                if flags.contains(ASTFlags::EXPORTED)
                    && let Some(declared) = self.facts.declared.last_mut()
                {
                    declared.exported = true;
                }
            }
            Stmt::Assignment(parts) => {
                let (operation, sides) = &**parts;
                self.expression(&sides.rhs);
                if operation.is_op_assignment() {
                    self.join(&sides.rhs);
                }
                match &sides.lhs {
                    Expr::Variable(variable, _, position) if variable.2.is_empty() => {
                        self.facts.named.push((&variable.1, &sides.rhs, *position));
                        if let Some(index) = self.lookup(&variable.1) {
                            self.facts.declared[index].assigned = true;
                        } else {
                            self.facts.undefined.push((&variable.1, *position));
                        }
                    }
                    target => {
                        if let Some((name, position)) = last_property(target) {
                            self.facts.named.push((name, &sides.rhs, position));
                        }
                        self.expression(target);
                    }
                }
            }
            Stmt::FnCall(call, position) => self.call(call, *position, None),
            Stmt::Block(block) => self.block(block.statements()),
            Stmt::Expr(expression) => self.expression(expression),
            Stmt::TryCatch(parts, _) => {
                self.block(parts.body.statements());
                self.within(|walk| {
                    if let Expr::Variable(variable, _, position) = &parts.expr {
                        walk.declare(&variable.1, *position, Kind::Given, None);
                    }
                    walk.block(parts.branch.statements());
                });
            }
            Stmt::Return(Some(value), ..) | Stmt::BreakLoop(Some(value), ..) => self.expression(value),
            Stmt::Import(parts, position) => {
                let (path, name) = &**parts;
                self.expression(path);
                let path = match path {
                    Expr::StringConstant(path, _) => Some(path.as_str()),
                    _ => None,
                };
                let position = match &parts.0 {
                    Expr::StringConstant(_, position) => *position,
                    _ => *position,
                };
                self.facts.imports.push(Import { path, name: &name.name, position });
            }
            Stmt::Export(names, _) => {
                if let Some(index) = self.variable(&names.0.name, names.0.pos) {
                    self.facts.declared[index].exported = true;
                }
            }
            _ => {}
        }
    }

    fn expression(&mut self, expression: &'s Expr) {
        if let Some((name, captured)) = closure_of(expression) {
            self.closure(&name, captured, expression.position(), None);
            return;
        }
        match expression {
            Expr::StringConstant(text, position) => self.facts.texts.push((text, *position)),
            Expr::InterpolatedString(parts, _) => {
                for part in parts {
                    self.expression(part);
                    self.join(part);
                }
            }
            Expr::Array(items, _) => items.iter().for_each(|item| self.expression(item)),
            Expr::Map(map, _) => {
                for (key, value) in &map.0 {
                    self.facts.named.push((&key.name, value, key.pos));
                    self.expression(value);
                }
            }
            Expr::Variable(variable, _, position) => {
                if variable.2.is_empty() {
                    self.variable(&variable.1, *position);
                } else {
                    self.facts.qualified.push((variable.2.root(), &variable.1, *position));
                }
            }
            Expr::Stmt(block) => self.block(block.statements()),
            Expr::FnCall(call, position) => self.call(call, *position, None),
            Expr::And(parts, _) | Expr::Or(parts, _) | Expr::Coalesce(parts, _) => {
                parts.iter().for_each(|part| self.expression(part));
            }
            Expr::Dot(parts, ..) => {
                let receiver = self.receiver(&parts.lhs);
                self.chain(&parts.rhs, receiver);
            }
            Expr::Index(parts, flags, _) => {
                self.expression(&parts.lhs);
                self.index(&parts.rhs, *flags);
            }
            _ => {}
        }
    }

    /// The property, and the call `ensure_..` of a namespace that gives what it is read of, where the expression is one: by itself, or by
    /// way of variables that were declared before the one with the index `before`.
    fn made(&self, expression: &'s Expr, read: Option<&'s str>, before: usize) -> Option<(&'s str, &'s str)> {
        match expression {
            Expr::Dot(parts, ..) => match &parts.rhs {
                Expr::Property(property, _) => self.made(&parts.lhs, Some(&property.2), before),
                _ => None,
            },
            Expr::Variable(variable, _, _) if variable.2.is_empty() => {
                let mut visible = self.scopes.iter().rev().flat_map(|scope| scope.iter().rev()).copied();
                let index = visible
                    .find(|index| *index < before && self.facts.declared[*index].name == variable.1)?;
                self.made(self.facts.declared[index].value?, read, index)
            }
            Expr::FnCall(call, _) if !call.namespace.is_empty() && call.name.starts_with("ensure_") => {
                Some((read?, &call.name))
            }
            _ => None,
        }
    }

    /// Walks what a chain starts with, and gives the variable if it is one.
    fn receiver(&mut self, expression: &'s Expr) -> Option<usize> {
        match expression {
            Expr::Variable(variable, _, position) if variable.2.is_empty() => {
                self.variable(&variable.1, *position)
            }
            other => {
                self.expression(other);
                None
            }
        }
    }

    /// What stands between `[` and `]`; without the flag, the chain goes on inside of it.
    fn index(&mut self, expression: &'s Expr, flags: ASTFlags) {
        match expression {
            Expr::Dot(parts, ..) if !flags.contains(ASTFlags::BREAK) => {
                self.expression(&parts.lhs);
                self.chain(&parts.rhs, None);
            }
            Expr::Index(parts, inner, _) if !flags.contains(ASTFlags::BREAK) => {
                self.expression(&parts.lhs);
                self.index(&parts.rhs, *inner);
            }
            other => self.expression(other),
        }
    }

    /// What stands behind a dot.
    fn chain(&mut self, expression: &'s Expr, receiver: Option<usize>) {
        match expression {
            Expr::Property(property, position) => {
                self.facts.properties.push(Property { of: receiver, name: &property.2, position: *position });
            }
            Expr::MethodCall(call, position) => self.call(call, *position, Some(receiver)),
            Expr::Dot(parts, ..) => {
                self.chain(&parts.lhs, receiver);
                self.chain(&parts.rhs, None);
            }
            Expr::Index(parts, flags, _) => {
                self.chain(&parts.lhs, receiver);
                self.index(&parts.rhs, *flags);
            }
            other => self.expression(other),
        }
    }

    /// `method`: the receiver of a method call, if it is a variable.
    fn call(&mut self, call: &'s FnCallExpr, position: Position, method: Option<Option<usize>>) {
        let receiver = method.flatten();
        if call.op_token.is_none() {
            self.facts.calls.push(Call {
                namespace: if call.namespace.is_empty() { "" } else { call.namespace.root() },
                name: &call.name,
                position,
                arguments: &call.args,
                method: method.is_some(),
                receiver,
            });
        }
        for argument in &call.args {
            match closure_of(argument) {
                Some((name, captured)) => {
                    self.closure(&name, captured, argument.position(), Some((&call.name, receiver)));
                }
                None => self.expression(argument),
            }
        }
        if call.name == "+" {
            call.args.iter().for_each(|argument| self.join(argument));
        }
    }

    fn join(&mut self, expression: &'s Expr) {
        // `${name}` is a block of one expression.
        let expression = match expression {
            Expr::Stmt(block) => match block.statements() {
                [Stmt::Expr(inner)] => inner,
                _ => return,
            },
            other => other,
        };
        if let Expr::Variable(variable, _, position) = expression
            && variable.2.is_empty()
            && let Some(index) = self.lookup(&variable.1)
        {
            self.facts.joined.push(Joined { variable: index, position: *position });
        }
    }

    fn closure(
        &mut self,
        name: &str,
        captured: usize,
        position: Position,
        handed_to: Option<(&'s str, Option<usize>)>,
    ) {
        let Some(body) = self.script.functions.iter().find(|function| function.name == name) else { return };
        self.facts.closures.push(Closure { position, captures: Vec::new(), handed_to });
        self.open.push((self.facts.closures.len() - 1, self.scopes.len()));
        self.within(|walk| {
            walk.parameters(body.parameters.get(captured..).unwrap_or_default());
            walk.statements(&body.statements);
        });
        self.open.pop();
    }
}

/// The property that an assignment sets.
fn last_property(target: &Expr) -> Option<(&str, Position)> {
    match target {
        Expr::Dot(parts, ..) | Expr::Index(parts, ..) => last_property(&parts.rhs),
        Expr::Property(property, position) => Some((&property.2, *position)),
        Expr::StringConstant(key, position) => Some((key, *position)),
        _ => None,
    }
}
