//! The only writer. Each function is one API call (or says why it is more), bounded in time and never repeated by itself.
//!
//! `ledger` writes leases and requests, `secrets` what tenants receive, `tokens` mints, `publish` what everybody may read, `leaving` what a
//! drain does, `locks` what the operator locks by itself; `asks`, `revokes` and the other half of `locks` are not the operator's but what
//! pods and people write.
#![allow(clippy::disallowed_methods, reason = "this is the one home of API writes")]

mod asks;
mod leaving;
mod ledger;
mod locks;
pub mod publish;
mod revokes;
mod secrets;
mod tokens;

use std::fmt::Debug;

use kube::{Client, Resource};
use serde::de::DeserializeOwned;

use super::{ApiError, client::call};

pub use asks::{Asks, token_for_pod};
pub use locks::Locks;
pub use revokes::Revokes;
pub use secrets::{Form, Place, Reserved, SecretContent, expiry_hour};
pub use tokens::{Minted, Seen, review};

/// Writes with one client. The issuing and the ending side have one each, with connections of their own.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    /// The operator's own namespace.
    namespace: String,
}

impl Writer {
    /// A writer that keeps its ledger in `namespace`.
    pub fn new(client: Client, namespace: impl Into<String>) -> Self {
        Self { client, namespace: namespace.into() }
    }

    /// The operator's own namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The client, for reads.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Asks the API server whether the object with this name and UID is gone; `false` when there is no clear answer.
    pub async fn certainly_gone<K>(&self, namespace: Option<&str>, name: &str, uid: &str) -> bool
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        let client = self.client.clone();
        let path = match namespace {
            Some(namespace) => format!("/api/v1/namespaces/{namespace}/{}/{name}", K::plural(&())),
            None => format!("/api/v1/{}/{name}", K::plural(&())),
        };
        let Ok(request) = http::Request::get(path).body(vec![]) else { return false };
        match call(client.request::<K>(request)).await {
            Ok(found) => found.meta().uid.as_deref() != Some(uid),
            Err(ApiError::NotFound(_)) => true,
            Err(_) => false,
        }
    }
}

/// Field manager of every write.
pub const FIELD_MANAGER: &str = "daypass";

fn post() -> kube::api::PostParams {
    kube::api::PostParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() }
}

/// Delete exactly this object, at once: `Background` drops what a tenant's blocking dependent would hold for ever.
fn exactly(uid: &str) -> kube::api::DeleteParams {
    let preconditions = kube::api::Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    kube::api::DeleteParams::background().preconditions(preconditions)
}
