//! The pure core: what is decided, and what follows from what. No I/O, no clock, no randomness, no client, no logging.

pub mod decide;
pub mod decision;
pub mod guard;
pub mod names;
pub mod snapshot;

pub use decide::{decide, reconsider};
pub use decision::{Considered, Decision, Denial, Grant, Reconsideration, Verdict};
pub use snapshot::Snapshot;
