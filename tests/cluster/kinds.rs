//! The custom resources on a real API server: each rule of their schemas both ways, and what people and their tools see.
//!
//! Rules are tried on a control plane without an operator ([`quiet`]): nobody answers there, so a test can put an object into any state.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail the test")]

mod bounds;
mod classes;
mod columns;
mod explained;
mod judged;
mod leases;
mod locks;
mod policies;
pub mod quiet;
mod requests;
pub mod samples;
mod selected;
mod trial;

pub use quiet::{Author, quiet};
