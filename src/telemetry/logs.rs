//! How log lines look, and what is never among them.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Human,
}

/// Whatever the filter says: decisions are on record, and kube's client, which logs the whole body of an answer that it cannot read, is silent.
const ALWAYS: [&str; 2] = ["decision=info", "kube_client::client=off"];

/// Sends log lines to standard error. `filter` has the syntax of tracing's `EnvFilter`, for instance `info,daypass=debug`.
pub fn init(format: LogFormat, filter: &str) -> Result<(), String> {
    let mut filter = EnvFilter::try_new(filter).map_err(|error| format!("log filter {filter:?}: {error}"))?;
    for always in ALWAYS {
        filter = filter.add_directive(always.parse().map_err(|error| format!("log filter {always:?}: {error}"))?);
    }
    let registry = tracing_subscriber::registry().with(filter);
    let writer = std::io::stderr;
    match format {
        LogFormat::Json => registry.with(fmt::layer().json().flatten_event(true).with_writer(writer)).try_init(),
        LogFormat::Human => registry.with(fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(writer)).try_init(),
    }
    .map_err(|error| error.to_string())
}
