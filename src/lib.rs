//! Daypass issues just-in-time credentials to Kubernetes workloads and takes them back.
//!
//! Dependencies between the modules point one way (checked by `tests/architecture.rs`):
//! `main, cli → app → controller → cluster, issue, expr → core → api`.

pub mod admin;
pub mod api;
pub mod app;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod controller;
pub mod core;
pub mod expr;
pub mod install;
pub mod issue;
pub mod pod;
pub mod secret;
pub mod telemetry;
