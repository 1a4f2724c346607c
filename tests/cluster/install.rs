//! Chart and kustomize base on a real Helm, kubectl and API server, and the rights that the operator uses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail the test")]

mod applied;
mod play;
mod rendered;
pub mod rights;
mod samples;
pub mod tools;
mod values;
