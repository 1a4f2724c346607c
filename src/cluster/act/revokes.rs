//! What a person writes into the ledger: the wish to end a credential. `daypass revoke` is the only caller; the operator never revokes.

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::post;
use crate::{
    api::CredentialLease,
    cluster::{ApiError, client::call},
};

/// The leases of the operator's namespace, to be ended by one person.
#[derive(Clone)]
pub struct Revokes {
    leases: Api<CredentialLease>,
    /// Who it is, as the API server sees it; `None` where it would not say.
    by: Option<String>,
}

impl Revokes {
    /// With this client, whose user is the person. Asks the API server once who that is.
    ///
    /// From Kubernetes 1.36 on it stamps `spec.revoke.by` by itself. Before, the truth has to be written there, and the person may not know
    /// how they are called: by a certificate, a token webhook, an identity provider with a prefix.
    pub async fn new(client: Client, namespace: &str) -> Self {
        let who = call(Api::<SelfSubjectReview>::all(client.clone()).create(&post(), &SelfSubjectReview::default())).await;
        let by = who.ok().and_then(|review| review.status?.user_info?.username);
        Self { leases: Api::namespaced(client, namespace), by }
    }

    /// Sets `spec.revoke` of exactly this lease. It is set once: `Invalid` where somebody else was faster.
    pub async fn revoke(&self, name: &str, uid: &str, reason: &str) -> Result<CredentialLease, ApiError> {
        let mut revoke = json!({"reason": reason});
        if let Some(by) = &self.by {
            revoke["by"] = json!(by);
        }
        let patch = json!({"metadata": {"uid": uid}, "spec": {"revoke": revoke}});
        call(self.leases.patch(name, &PatchParams::default(), &Patch::Merge(patch))).await
    }
}
