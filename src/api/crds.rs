//! The CustomResourceDefinitions, from the types. The one source of `crds/`, of the chart and of the kustomize base.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSON, JSONSchemaProps};
use kube::CustomResourceExt;

use super::{AccessLock, AccessPolicy, AccessRequest, ClusterAccessPolicy, CredentialClass, CredentialLease};

/// Every CustomResourceDefinition of this version, ready to apply.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut request = AccessRequest::crd();
    default_status_to_pending(&mut request);
    vec![request, CredentialLease::crd(), CredentialClass::crd(), ClusterAccessPolicy::crd(), AccessPolicy::crd(), AccessLock::crd()]
}

/// `status: {state: Pending}` from birth costs no write and makes field selectors and columns work at once.
fn default_status_to_pending(crd: &mut CustomResourceDefinition) {
    for status in crd.spec.versions.iter_mut().filter_map(|version| {
        let schema = version.schema.as_mut()?.open_api_v3_schema.as_mut()?;
        schema.properties.as_mut()?.get_mut("status")
    }) {
        set_default(status);
    }
}

fn set_default(status: &mut JSONSchemaProps) {
    status.default = Some(JSON(serde_json::json!({"state": "Pending"})));
    status.nullable = None;
}
