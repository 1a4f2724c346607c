//! Why an expression was refused, with the place in its source.

use cel::{ParseErrors, common::ast::SourceInfo};

use super::limits;

/// An expression was refused. The policy that holds it is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExprError {
    /// The source is longer than the fence allows.
    #[error("the expression has {bytes} bytes, and {} are allowed: split it into several entries of `require`", limits::SOURCE_BYTES)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Something in the source is wrong.
    #[error("{line}:{column}: {message}")]
    Refused {
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What is wrong and what to write instead.
        message: String,
    },
    /// The compiler gave up on this source; nothing is known but that it must not be used.
    #[error("the expression could not be compiled: write it in a simpler way")]
    Abandoned,
}

impl ExprError {
    /// Refuses the node with this id.
    pub(super) fn at(id: u64, source: &SourceInfo, message: impl Into<String>) -> Self {
        let offset = source.offset_for(id).map_or(0, |(start, _)| start as usize);
        let before = source.source.get(..offset).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        Self::Refused { line, column, message: message.into() }
    }

    /// The first complaint of the parser.
    pub(super) fn syntax(errors: &ParseErrors) -> Self {
        let Some(first) = errors.errors.first() else {
            return Self::Abandoned;
        };
        // The parser counts columns from 0 in some messages and from 1 in others; 1 is the least that is a column.
        let place = |n: isize| usize::try_from(n).unwrap_or_default().max(1);
        let message: String = first.msg.lines().next().unwrap_or_default().chars().take(200).collect();
        Self::Refused { line: place(first.pos.0), column: place(first.pos.1), message: format!("syntax: {message}") }
    }
}
