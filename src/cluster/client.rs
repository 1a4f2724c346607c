//! Builds every client of the operator: no hidden retries, a bounded wait, and an ear for `Date` headers.

use std::{future::Future, sync::Arc, time::Duration};

use kube::{Client, Config, client::ClientBuilder};
use tower::util::MapResponseLayer;

use super::{ApiError, Clock};

/// No call to the API server is waited for longer than this.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// A client with connections of its own.
///
/// kube retries creates by default, which would make duplicates of what must exist once: off.
pub fn build(mut config: Config, clock: &Arc<Clock>) -> Result<Client, ApiError> {
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    let clock = clock.clone();
    let listen = move |response: http::Response<_>| {
        if let Some(date) = response.headers().get(http::header::DATE).and_then(|date| date.to_str().ok()) {
            clock.observe_date(date);
        }
        response
    };
    let builder = ClientBuilder::try_from(config).map_err(ApiError::from)?;
    Ok(builder.with_layer(&MapResponseLayer::new(listen)).build())
}

/// Waits for one call, at most [`CALL_TIMEOUT`].
pub async fn call<T>(future: impl Future<Output = kube::Result<T>>) -> Result<T, ApiError> {
    match tokio::time::timeout(CALL_TIMEOUT, future).await {
        Ok(result) => result.map_err(ApiError::from),
        Err(_) => Err(ApiError::NoAnswer(format!("no answer within {} s", CALL_TIMEOUT.as_secs()))),
    }
}
