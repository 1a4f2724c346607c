//! The first gate: how much of a tree there is. Runs before anything else recurses over it.

use cel::common::ast::{EntryExpr, Expr, IdedExpr, SourceInfo};

use crate::expr::{error::ExprError, limits};

/// Refuses what is too large, too deep, nests loops too far, or is of a kind that policies have no use for.
pub(super) fn check(expression: &IdedExpr, source: &SourceInfo) -> Result<(), ExprError> {
    Counter { source, nodes: 0 }.visit(expression, 0, 0)
}

struct Counter<'a> {
    source: &'a SourceInfo,
    nodes: usize,
}

impl Counter<'_> {
    fn visit(&mut self, node: &IdedExpr, depth: usize, loops: usize) -> Result<(), ExprError> {
        self.nodes += 1;
        if self.nodes > limits::NODES {
            return self.refuse(node, format!("more than {} parts: split the expression into several entries of `require`", limits::NODES));
        }
        if depth >= limits::DEPTH {
            return self.refuse(node, format!("nests or chains more than {} levels deep", limits::DEPTH));
        }
        let deeper = depth + 1;
        match &node.expr {
            Expr::Ident(_) | Expr::Literal(_) => Ok(()),
            Expr::Select(select) => self.visit(&select.operand, deeper, loops),
            Expr::Call(call) => {
                call.target.iter().map(AsRef::as_ref).chain(&call.args).try_for_each(|part| self.visit(part, deeper, loops))
            }
            Expr::List(list) => list.elements.iter().try_for_each(|part| self.visit(part, deeper, loops)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.visit(&entry.key, deeper, loops)?;
                    self.visit(&entry.value, deeper, loops)
                }
                EntryExpr::StructField(_) => self.refuse(node, "messages cannot be made here"),
            }),
            Expr::Comprehension(comprehension) => {
                self.visit(&comprehension.iter_range, deeper, loops)?;
                self.visit(&comprehension.accu_init, deeper, loops)?;
                // `optMap` binds its variable by a loop over nothing.
                let over_nothing = matches!(&comprehension.iter_range.expr, Expr::List(list) if list.elements.is_empty());
                let loops = loops + usize::from(!over_nothing);
                if loops > limits::NESTED_LOOPS {
                    return self
                        .refuse(node, format!("more than {} loops inside each other (all, exists, map, filter)", limits::NESTED_LOOPS));
                }
                [&comprehension.loop_cond, &comprehension.loop_step, &comprehension.result]
                    .into_iter()
                    .try_for_each(|part| self.visit(part, deeper, loops))
            }
            Expr::Struct(_) => self.refuse(node, "messages cannot be made here"),
            Expr::Unspecified => self.refuse(node, "this part could not be read"),
        }
    }

    fn refuse(&self, node: &IdedExpr, message: impl Into<String>) -> Result<(), ExprError> {
        Err(ExprError::at(node.id, self.source, message))
    }
}
