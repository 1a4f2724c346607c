//! The agent's port. `/readyz` is 200 exactly while every class has a live credential in place.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;

use crate::{cluster::Clock, pod::Standing, telemetry::AgentMetrics};

/// What is shown.
pub struct Shown {
    /// Every class.
    pub standings: Vec<Arc<Standing>>,
    /// The counters.
    pub metrics: Arc<AgentMetrics>,
    /// The clock that liveness is counted on.
    pub clock: Arc<Clock>,
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, shown: Arc<Shown>) -> std::io::Result<()> {
    let routes = Router::new().route("/livez", get(|| async { "ok\n" })).route("/readyz", get(readyz)).route("/metrics", get(metrics));
    axum::serve(listener, routes.with_state(shown)).await
}

async fn readyz(State(shown): State<Arc<Shown>>) -> impl IntoResponse {
    let now = shown.clock.monotonic();
    let ready = shown.standings.iter().all(|standing| standing.live(now).is_some());
    let lines: String = shown.standings.iter().map(|standing| standing.line(now) + "\n").collect();
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, lines)
}

async fn metrics(State(shown): State<Arc<Shown>>) -> impl IntoResponse {
    let now = shown.clock.monotonic();
    for standing in &shown.standings {
        shown.metrics.standing(standing.class(), standing.live(now).map(|live| live.expires_at.as_second()));
    }
    ([(header::CONTENT_TYPE, super::OPENMETRICS)], shown.metrics.render())
}
