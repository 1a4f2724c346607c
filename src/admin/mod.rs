//! /livez, /readyz and /metrics on a plain port, read-only: of the operator (with its revocation lists), and of the agent in a pod.

pub mod agent;
pub mod operator;

/// Type of what /metrics answers.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
