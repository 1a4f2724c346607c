//! CEL behind a fence: the only user of the `cel` crate.
//!
//! Owns compiling, checking and evaluating the expressions of policies. Must never reach the API server, see a key, read a clock
//! or decide anything: it gives a [`Tri`](crate::core::snapshot::Tri), and [`crate::core::decide()`] says what follows. Called by
//! `controller` and `cli`.
//!
//! The crate only parses: it has no types, no limits of cost or time, and a long chain overflows its stack, which ends the
//! process. So everything runs on threads with large stacks ([`pool`]), and an expression passes, in this order: its length, the
//! parser, the size of its tree (`check::structure`), types and cost ([`check`]), and one evaluation on sample objects. What
//! passes is bounded by [`limits`], whatever objects it meets, because [`inputs`] are bounded too.
//!
//! Semantics: `error || true` is `true` and `error && false` is `false`, as in CEL everywhere; any other error is an answer of its
//! own, and so is what is not a boolean. [`inputs`] says which names there are and how to read fields that may be absent.

mod cache;
mod check;
mod cutoff;
mod error;
mod expressions;
mod inputs;
mod limits;
mod parse;
mod pattern;
mod pool;
mod program;
mod schema;
mod shape;
mod shared;
mod value;

#[cfg(test)]
mod tests;

pub use error::ExprError;
pub use expressions::Expressions;
pub use inputs::Inputs;
pub use program::Program;
