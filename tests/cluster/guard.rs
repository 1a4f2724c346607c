//! The admission guard on the real API server: every way to be somebody else that we know of, each a case with a name.
//!
//! No operator runs here. Service accounts may do everything by RBAC, the operator's too, so that each refusal is admission's. Cases are
//! tables that are played to the end; what went differently is told together. Tests keep apart by namespace on one control plane, and those
//! that take the guard itself apart have another ([`alone`]). What the operator makes of all this is in `continuity`.
//!
//! Whether every rule has a case that fails without it is found out by playing against a guard that lacks it:
//! `DAYPASS_TEST_WITHOUT=verify/validations/3 cargo test -p daypass --test cluster guard::` has to fail, and so for each rule and each condition.

mod alone;
mod asking;
pub mod calls;
mod confine;
mod draining;
mod hostile;
mod ledger;
mod locks;
mod matrix;
mod reserve;
mod touching;
mod webhook;
mod world;
