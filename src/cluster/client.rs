//! Builds every client of the operator: no hidden retries, a bounded wait, and an ear for `Date` headers.

use std::{future::Future, sync::Arc, time::Duration};

use kube::{
    Client, Config,
    client::ClientBuilder,
    config::{InferConfigError, KubeconfigError},
};
use tower::util::MapResponseLayer;

use super::{ApiError, Clock};

/// No call to the API server is waited for longer than this.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the API server is and who asks, as KUBECONFIG, ~/.kube/config or the service account of this pod says.
pub async fn infer() -> Result<Config, String> {
    Config::infer().await.map_err(|error: InferConfigError| {
        match std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<KubeconfigError>()) {
            Some(broken @ KubeconfigError::Parse(_)) => kubeconfig_problem(broken),
            _ => error.to_string(),
        }
    })
}

/// What is wrong with a kubeconfig. A parser quotes the lines around what it does not understand, and here those are tokens and keys: only
/// the place is told.
pub fn kubeconfig_problem(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::Parse(problem) => match problem.location() {
            Some(at) => format!("the kubeconfig is not one: see line {}, column {}", at.line(), at.column()),
            None => "the kubeconfig is not one".into(),
        },
        other => other.to_string(),
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_kubeconfig_is_not_quoted() {
        let token = "eyJhbGciOiJSUzI1NiIsImtpZCI6IkNBTkFSWSJ9";
        for broken in [
            format!("users:\n- name: me\n  user: {{token: \"{token}\n"),
            format!("users:\n- name: me\n  user:\n    token: {token}\n   exec: [\n"),
            format!("users:\n  {token}: [1]\n"),
        ] {
            let error = kube::config::Kubeconfig::from_yaml(&broken).unwrap_err();
            let told = kubeconfig_problem(&error);
            assert!(told.starts_with("the kubeconfig is not one: see line ") && !told.contains("eyJ"), "{told}");
            assert!(error.to_string().contains("eyJ"), "nothing to hide any more: {error}");
        }
    }
}
