//! The operator's port.
//!
//! `/crl/<authority>.crl` is the revocation list of the key that signs now, in DER, as it is published; `/crl/<authority>.pem` are the lists of
//! all its keys, for verifiers that read files; `/crl/<authority>/<issuer>.crl` is that of one key.
//!
//! `/readyz` answers 503 until everything has been listed once; from then on 200, with what keeps it from issuing in the text: a missing
//! guard must not take the operator out of service, since ends go on.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;

use crate::{controller::Operator, core::snapshot::GuardFacts};

/// Type of a list in DER (RFC 5280 §4.2.1.13).
const PKIX_CRL: &str = "application/pkix-crl";
/// Type of lists in PEM.
const PEM: &str = "application/x-pem-file";

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, operator: Arc<Operator>) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/crl/{file}", get(lists))
        .route("/crl/{authority}/{file}", get(list));
    axum::serve(listener, routes.with_state(operator)).await
}

async fn lists(State(operator): State<Arc<Operator>>, Path(file): Path<String>) -> Response {
    let (der, pem) = (file.strip_suffix(".crl"), file.strip_suffix(".pem"));
    match (der, pem) {
        (Some(ca), _) => answer(&operator, operator.served_list(ca, None).map(|list| (PKIX_CRL, list))),
        (_, Some(ca)) => answer(&operator, operator.served_lists(ca).map(|lists| (PEM, lists.into_bytes()))),
        _ => answer(&operator, None),
    }
}

async fn list(State(operator): State<Arc<Operator>>, Path((ca, file)): Path<(String, String)>) -> Response {
    let issuer = file.strip_suffix(".crl");
    answer(&operator, issuer.and_then(|issuer| operator.served_list(&ca, Some(issuer))).map(|list| (PKIX_CRL, list)))
}

/// A list, or why there is none: whoever asks too early asks again.
fn answer(operator: &Operator, found: Option<(&'static str, Vec<u8>)>) -> Response {
    match found {
        // A list says itself for how long it may be kept; a cache on the way must not make it older.
        Some((kind, bytes)) => ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], bytes).into_response(),
        None if !operator.world.lists.synced() => (StatusCode::SERVICE_UNAVAILABLE, "not listed yet\n").into_response(),
        None => (StatusCode::NOT_FOUND, "no revocation list of that name: /crl/<authority>.crl, .pem, or /crl/<authority>/<issuer>.crl\n")
            .into_response(),
    }
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
