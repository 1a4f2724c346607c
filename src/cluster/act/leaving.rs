//! What is written when an installation is taken down: the operator is stopped, and what held its ledger is marked. `daypass drain` is the
//! only caller; the rights for it are bound only while it runs.

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{Namespace, Pod},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use super::{FIELD_MANAGER, Writer};
use crate::{
    api::{ANNOTATION_DRAINED, CredentialLease},
    cluster::{ApiError, client::call},
};

/// How many leases are read at a time.
const PAGE: u32 = 500;

impl Writer {
    /// Every lease that is not closed, as the API server has it now.
    pub async fn list_open_leases(&self) -> Result<Vec<CredentialLease>, ApiError> {
        let api = Api::<CredentialLease>::namespaced(self.client.clone(), &self.namespace);
        let mut params = ListParams::default().fields("status.state!=Closed").limit(PAGE);
        let mut open = Vec::new();
        loop {
            let page = call(api.list(&params)).await?;
            open.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(open),
            }
        }
    }

    /// Pods of the operator's namespace that run, or may yet run, as this service account.
    pub async fn list_pods_of(&self, account: &str) -> Result<Vec<Pod>, ApiError> {
        let api = Api::<Pod>::namespaced(self.client.clone(), &self.namespace);
        let fields = format!("spec.serviceAccountName={account},status.phase!=Succeeded,status.phase!=Failed");
        call(api.list(&ListParams::default().fields(&fields))).await.map(|list| list.items)
    }

    /// Asks for no pods of this Deployment of the operator's namespace. `Ok(false)`: there is none of that name.
    pub async fn scale_to_zero(&self, deployment: &str) -> Result<bool, ApiError> {
        let api = Api::<Deployment>::namespaced(self.client.clone(), &self.namespace);
        let none = Patch::Merge(json!({"spec": {"replicas": 0}}));
        match call(api.patch_scale(deployment, &params(), &none)).await {
            Ok(_) => Ok(true),
            Err(ApiError::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Marks the operator's namespace as drained, or, with `None`, not so any more.
    pub async fn mark_namespace(&self, drained: Option<&str>) -> Result<(), ApiError> {
        call(Api::<Namespace>::all(self.client.clone()).patch(&self.namespace, &params(), &mark(drained))).await.map(drop)
    }

    /// The same for one of our CustomResourceDefinitions. One that is not there needs no mark.
    pub async fn mark_definition(&self, name: &str, drained: Option<&str>) -> Result<(), ApiError> {
        let api = Api::<CustomResourceDefinition>::all(self.client.clone());
        match call(api.patch(name, &params(), &mark(drained))).await {
            Ok(_) | Err(ApiError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn mark(drained: Option<&str>) -> Patch<serde_json::Value> {
    Patch::Merge(json!({"metadata": {"annotations": {ANNOTATION_DRAINED: drained}}}))
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() }
}
