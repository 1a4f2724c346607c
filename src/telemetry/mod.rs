//! Logs and metrics: what is told to whoever watches, and steers nothing.

mod agent;
mod logs;
mod operator;

pub use agent::AgentMetrics;
pub use logs::{LogFormat, init};
pub use operator::Metrics;
