//! Daypass issues just-in-time credentials to Kubernetes workloads and takes them back.
//!
//! Dependencies between the modules point one way (checked by `tests/architecture.rs`):
//! `main, cli → app → controller → cluster, issue, expr → core → api`.

pub mod api;
pub mod cluster;
pub mod core;
pub mod expr;
pub mod install;
pub mod issue;
pub mod secret;
