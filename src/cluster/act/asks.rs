//! What a pod does with its own requests: make one, look at it, give it back. The pod's side is the only caller; the operator never asks.

use futures::{Stream, StreamExt};
use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::{Pod, ServiceAccount},
};
use kube::{
    Api, Client, ResourceExt,
    api::{WatchEvent, WatchParams},
};

use super::{exactly, post};
use crate::{
    api::AccessRequest,
    cluster::{ApiError, client::call, error::describe},
    secret::Secret,
};

/// How long one watch stays open before it is begun again.
const WATCH_SECONDS: u32 = 240;

/// The requests of one namespace.
#[derive(Clone)]
pub struct Asks(Api<AccessRequest>);

impl Asks {
    /// With this client, whose identity is the pod's.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self(Api::namespaced(client, namespace))
    }

    /// Makes a request. Create-only, so that it may be tried again under the same name.
    pub async fn create(&self, request: &AccessRequest) -> Result<AccessRequest, ApiError> {
        call(self.0.create(&post(), request)).await
    }

    /// Reads one.
    pub async fn get(&self, name: &str) -> Result<AccessRequest, ApiError> {
        call(self.0.get(name)).await
    }

    /// Gives back what a request got, and the request with it. With a UID exactly that one; a name that nobody else makes does as well. What
    /// is gone already is given back.
    pub async fn give_back(&self, name: &str, uid: Option<&str>) -> Result<(), ApiError> {
        let params = uid.map(exactly).unwrap_or_else(kube::api::DeleteParams::background);
        match call(self.0.delete(name, &params)).await {
            Ok(_) | Err(ApiError::NotFound(_) | ApiError::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The next change of a request after this version of it; `None` when it was deleted. The watch may end or fail at any time: read the
    /// request again then.
    pub async fn next_change(&self, request: &AccessRequest) -> Result<Option<AccessRequest>, ApiError> {
        let params = WatchParams::default().fields(&format!("metadata.name={}", request.name_any())).timeout(WATCH_SECONDS);
        let version = request.resource_version().unwrap_or_default();
        let stream = call(self.0.watch(&params, &version)).await?;
        first_change(stream).await
    }
}

async fn first_change(stream: impl Stream<Item = kube::Result<WatchEvent<AccessRequest>>>) -> Result<Option<AccessRequest>, ApiError> {
    let mut stream = std::pin::pin!(stream);
    while let Some(event) = stream.next().await {
        match event {
            Ok(WatchEvent::Added(request) | WatchEvent::Modified(request)) => return Ok(Some(request)),
            Ok(WatchEvent::Deleted(_)) => return Ok(None),
            Ok(WatchEvent::Bookmark(_)) => {}
            Ok(WatchEvent::Error(status)) => return Err(ApiError::from(kube::Error::Api(status))),
            Err(error) => return Err(ApiError::NoAnswer(describe(&error))),
        }
    }
    Err(ApiError::NoAnswer("the watch has ended".into()))
}

/// A token bound to a pod, as its kubelet would ask for it: for people who try out what a pod would be answered. It lives for ten minutes.
pub async fn token_for_pod(client: Client, namespace: &str, pod: &str) -> Result<Secret<String>, ApiError> {
    let found = call(Api::<Pod>::namespaced(client.clone(), namespace).get(pod)).await?;
    let account = found.spec.as_ref().and_then(|spec| spec.service_account_name.clone()).unwrap_or_else(|| "default".into());
    let asked = TokenRequest {
        spec: TokenRequestSpec {
            expiration_seconds: Some(600),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Pod".into()),
                name: Some(pod.to_owned()),
                uid: found.uid(),
            }),
            ..Default::default()
        },
        ..Default::default()
    };
    let made = call(Api::<ServiceAccount>::namespaced(client, namespace).create_token_request(&account, &post(), &asked)).await?;
    Ok(Secret::new(made.status.map(|status| status.token).unwrap_or_default()))
}
