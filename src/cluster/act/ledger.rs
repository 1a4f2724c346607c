//! Writes of leases and of request status.

use kube::{Api, ResourceExt};

use super::{Writer, exactly, post};
use crate::{
    api::{AccessPolicy, AccessRequest, ClusterAccessPolicy, CredentialClass, CredentialLease},
    cluster::{ApiError, client::call},
};

impl Writer {
    /// Opens a lease: the intent, written down before any effect. Create-only.
    pub async fn open_lease(&self, lease: &CredentialLease) -> Result<CredentialLease, ApiError> {
        call(self.leases().create(&post(), lease)).await
    }

    /// Moves a lease on, if it still is at this resourceVersion.
    pub async fn put_lease_status(&self, lease: &CredentialLease) -> Result<CredentialLease, ApiError> {
        call(self.leases().replace_status(&lease.name_any(), &post(), lease)).await
    }

    /// Writes a shorter end or another policy into a lease, if it still is at this resourceVersion.
    pub async fn put_lease(&self, lease: &CredentialLease) -> Result<CredentialLease, ApiError> {
        call(self.leases().replace(&lease.name_any(), &post(), lease)).await
    }

    /// Reads a lease from the API server itself.
    pub async fn get_lease(&self, name: &str) -> Result<CredentialLease, ApiError> {
        call(self.leases().get(name)).await
    }

    /// Removes the tombstone of a closed lease (admission refuses it for any other).
    pub async fn delete_lease(&self, name: &str, uid: &str) -> Result<(), ApiError> {
        gone(call(self.leases().delete(name, &exactly(uid))).await.map(drop))
    }

    /// Writes a request's status, if it still is at this resourceVersion. For a CSR this is what releases the credential.
    pub async fn put_request_status(&self, request: &AccessRequest) -> Result<AccessRequest, ApiError> {
        call(self.requests(request).replace_status(&request.name_any(), &post(), request)).await
    }

    /// Reads a request from the API server itself.
    pub async fn get_request(&self, namespace: &str, name: &str) -> Result<AccessRequest, ApiError> {
        call(Api::<AccessRequest>::namespaced(self.client.clone(), namespace).get(name)).await
    }

    /// Removes a terminal request whose retention is over.
    pub async fn delete_request(&self, request: &AccessRequest) -> Result<(), ApiError> {
        gone(call(self.requests(request).delete(&request.name_any(), &exactly(&request.uid().unwrap_or_default()))).await.map(drop))
    }

    /// Writes the status of a class.
    pub async fn put_class_status(&self, class: &CredentialClass) -> Result<(), ApiError> {
        let api = Api::<CredentialClass>::all(self.client.clone());
        call(api.replace_status(&class.name_any(), &post(), class)).await.map(drop)
    }

    /// Writes the status of a ClusterAccessPolicy.
    pub async fn put_cluster_policy_status(&self, policy: &ClusterAccessPolicy) -> Result<(), ApiError> {
        let api = Api::<ClusterAccessPolicy>::all(self.client.clone());
        call(api.replace_status(&policy.name_any(), &post(), policy)).await.map(drop)
    }

    /// Writes the status of an AccessPolicy.
    pub async fn put_policy_status(&self, policy: &AccessPolicy) -> Result<(), ApiError> {
        let api = Api::<AccessPolicy>::namespaced(self.client.clone(), &policy.namespace().unwrap_or_default());
        call(api.replace_status(&policy.name_any(), &post(), policy)).await.map(drop)
    }

    fn leases(&self) -> Api<CredentialLease> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn requests(&self, request: &AccessRequest) -> Api<AccessRequest> {
        Api::namespaced(self.client.clone(), &request.namespace().unwrap_or_default())
    }
}

/// Deleting what is not there, or what another object has taken the name of, is done.
fn gone(result: Result<(), ApiError>) -> Result<(), ApiError> {
    match result {
        Err(ApiError::NotFound(_) | ApiError::Conflict(_)) => Ok(()),
        other => other,
    }
}
