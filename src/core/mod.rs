//! The pure core: what is decided, and what follows from what. No I/O, no clock, no randomness, no client, no logging.

pub mod decide;
pub mod decision;
pub mod explain;
#[cfg(test)]
pub(crate) mod fixture;
pub mod guard;
pub mod health;
pub mod images;
#[cfg(test)]
mod laws;
pub mod leaving;
pub mod lifecycle;
#[cfg(test)]
mod lifecycle_lock_tests;
#[cfg(test)]
mod lifecycle_tests;
#[cfg(test)]
mod lifecycle_token_tests;
pub mod locks;
pub mod matching;
pub mod names;
pub mod overdue;
pub mod renewal;
pub mod revocation;
pub mod shadow;
pub mod snapshot;
pub mod status;

pub use decide::{could_apply, decide, reconsider};
pub use decision::{Considered, Decision, Denial, Grant, Reconsideration, Verdict};
pub use snapshot::Snapshot;
