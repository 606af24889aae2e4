//! Which names a place of a script knows, and what a closure takes along.

use rhai::{Expr, Position, Stmt};

use super::walk::Walk;
use super::{Declared, Kind};

impl<'s> Walk<'s> {
    pub(super) fn declare(&mut self, name: &'s str, position: Position, kind: Kind, value: Option<&'s Expr>) {
        self.facts.declared.push(Declared {
            name,
            position,
            kind,
            value,
            at_top: self.scopes.len() == 1,
            exported: false,
            uses: 0,
            assigned: false,
        });
        let index = self.facts.declared.len() - 1;
        if let Some(scope) = self.scopes.last_mut() {
            scope.push(index);
        }
    }

    pub(super) fn parameters(&mut self, names: &'s [String]) {
        for name in names {
            self.declare(name, Position::NONE, Kind::Given, None);
        }
    }

    pub(super) fn lookup(&mut self, name: &str) -> Option<usize> {
        let found = self.scopes.iter().enumerate().rev().find_map(|(depth, scope)| {
            let index = scope.iter().rev().find(|index| self.facts.declared[**index].name == name)?;
            Some((depth, *index))
        });
        let (depth, index) = found?;
        for (closure, first_scope) in &self.open {
            let captures = &mut self.facts.closures[*closure].captures;
            if depth < *first_scope && !captures.contains(&index) {
                captures.push(index);
            }
        }
        Some(index)
    }

    pub(super) fn variable(&mut self, name: &'s str, position: Position) -> Option<usize> {
        match self.lookup(name) {
            Some(index) => {
                self.facts.declared[index].uses += 1;
                Some(index)
            }
            None => {
                self.facts.undefined.push((name, position));
                None
            }
        }
    }

    pub(super) fn within(&mut self, walk: impl FnOnce(&mut Self)) {
        self.scopes.push(Vec::new());
        walk(self);
        self.scopes.pop();
    }

    pub(super) fn block(&mut self, statements: &'s [Stmt]) {
        self.within(|walk| walk.statements(statements));
    }
}
