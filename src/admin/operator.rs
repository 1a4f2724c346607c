//! The operator's port.
//!
//! `/readyz` answers 503 until everything has been listed once; from then on 200, with what keeps it from issuing in the text: a missing
//! guard must not take the operator out of service, since ends go on.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;

use crate::{controller::Operator, core::snapshot::GuardFacts};

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, operator: Arc<Operator>) -> std::io::Result<()> {
    let routes = Router::new().route("/livez", get(|| async { "ok\n" })).route("/readyz", get(readyz)).route("/metrics", get(metrics));
    axum::serve(listener, routes.with_state(operator)).await
}

async fn readyz(State(operator): State<Arc<Operator>>) -> impl IntoResponse {
    let synced = operator.world.synced_at().is_some();
    let status = if synced { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let guard = match operator.guard.facts() {
        GuardFacts::InForce { since } => format!("guard: in force since {since}"),
        GuardFacts::NotInForce { reason } => format!("guard: NOT IN FORCE, nothing is issued: {reason}"),
        GuardFacts::Unknown { reason } => format!("guard: not proven, nothing is issued: {reason}"),
    };
    let issuing =
        operator.not_issuing().map_or_else(|| "issuing: nothing else stands against it".to_owned(), |why| format!("issuing: NO: {why}"));
    (status, format!("{}\n{guard}\n{issuing}\n", if synced { "ok" } else { "not listed yet" }))
}

async fn metrics(State(operator): State<Arc<Operator>>) -> impl IntoResponse {
    operator.publish_gauges();
    ([(header::CONTENT_TYPE, super::OPENMETRICS)], operator.metrics.render())
}
