//! The Secrets that tenants receive: reserved empty, filled once, deleted by UID. Never read, listed or watched.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::Secret as KubeSecret,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};

use super::{FIELD_MANAGER, Writer, exactly, post};
use crate::{
    api::{AccessRequest, LABEL_REQUEST_UID},
    cluster::{ApiError, client::call},
    secret::Secret,
};

/// A Secret that is ours, at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The version that the next write must meet.
    pub resource_version: String,
}

/// What a `kubernetes.io/tls` Secret is filled with.
pub struct SecretContent {
    /// Chain in PEM, leaf first.
    pub certificate: String,
    /// Private key in PEM.
    pub key: Secret<String>,
    /// Roots in PEM.
    pub ca: String,
}

impl Writer {
    /// Creates the empty Secret with its final name, type and label. Create-only: a foreign Secret is never adopted.
    pub async fn reserve(&self, request: &AccessRequest, name: &str) -> Result<Reserved, ApiError> {
        let secret =
            body(request, name, None, &SecretContent { certificate: String::new(), key: Secret::new(String::new()), ca: String::new() });
        call(self.tenant_secrets(request).create(&post(), &secret)).await.map(|made| reserved(&made))
    }

    /// Whether the Secret of this name is the one reserved for this request: a JSON Patch of tests alone changes nothing and needs no right
    /// to read. `Invalid` = it is somebody else's (or, with `empty`, it has been filled).
    pub async fn test_reserve(&self, request: &AccessRequest, name: &str, empty: bool) -> Result<Reserved, ApiError> {
        let mut tests = vec![serde_json::json!({
            "op": "test", "path": format!("/metadata/labels/{}", LABEL_REQUEST_UID.replace('/', "~1")), "value": request.uid().unwrap_or_default(),
        })];
        if empty {
            tests.push(serde_json::json!({"op": "test", "path": "/data/tls.key", "value": ""}));
        }
        let patch: json_patch::Patch =
            serde_json::from_value(serde_json::Value::Array(tests)).map_err(|e| ApiError::Invalid(e.to_string()))?;
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
        let api = self.tenant_secrets(request);
        call(api.patch(name, &params, &Patch::Json::<()>(patch))).await.map(|secret| reserved(&secret))
    }

    /// Fills the reserved Secret by PUT with its UID and version: whatever happened to it in between makes this fail.
    pub async fn fill(&self, request: &AccessRequest, reserved: &Reserved, content: &SecretContent) -> Result<(), ApiError> {
        let secret = body(request, &reserved.name, Some(reserved), content);
        call(self.tenant_secrets(request).replace(&reserved.name, &post(), &secret)).await.map(drop)
    }

    /// Deletes exactly this Secret, in one call, or in two where a finalizer holds it: then it is blanked and the finalizers dropped.
    pub async fn delete_secret(&self, namespace: &str, name: &str, uid: &str) -> Result<(), ApiError> {
        let api = Api::<KubeSecret>::namespaced(self.client.clone(), namespace);
        // The answer may carry the Secret's data: it is never logged.
        let held = match call(api.delete(name, &exactly(uid))).await {
            Ok(answer) => answer.left(),
            Err(ApiError::NotFound(_)) => None,
            // Another object has the name, or somebody else, such as an admission webhook, calls it a conflict: asked, not guessed.
            Err(ApiError::Conflict(conflict)) => match test_uid(&api, name, uid).await {
                Ok(()) => return Err(ApiError::Conflict(conflict)),
                Err(ApiError::NotFound(_) | ApiError::Invalid(_)) => None,
                Err(error) => return Err(error),
            },
            Err(error) => return Err(error),
        };
        let Some(mut held) = held else { return Ok(()) };
        held.metadata.finalizers = None;
        held.metadata.managed_fields = None;
        held.data = held.data.map(|data| data.into_keys().map(|key| (key, ByteString(vec![]))).collect());
        match call(api.replace(name, &post(), &held)).await {
            Ok(_) | Err(ApiError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Deletes the reserve of a request that came to nothing, if there is one and it is ours.
    pub async fn drop_reserve(&self, request: &AccessRequest, name: &str) -> Result<(), ApiError> {
        match self.test_reserve(request, name, false).await {
            Ok(ours) => self.delete_secret(&request.namespace().unwrap_or_default(), name, &ours.uid).await,
            Err(ApiError::NotFound(_) | ApiError::Invalid(_) | ApiError::Forbidden(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn tenant_secrets(&self, request: &AccessRequest) -> Api<KubeSecret> {
        Api::namespaced(self.client.clone(), &request.namespace().unwrap_or_default())
    }
}

/// Whether the Secret of this name is the one with this UID; `Invalid` = it is another. Changes nothing and needs no right to read.
async fn test_uid(api: &Api<KubeSecret>, name: &str, uid: &str) -> Result<(), ApiError> {
    let test = serde_json::json!([{"op": "test", "path": "/metadata/uid", "value": uid}]);
    let patch: json_patch::Patch = serde_json::from_value(test).map_err(|error| ApiError::Invalid(error.to_string()))?;
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
    call(api.patch(name, &params, &Patch::Json::<()>(patch))).await.map(drop)
}

fn body(request: &AccessRequest, name: &str, version: Option<&Reserved>, content: &SecretContent) -> KubeSecret {
    let data =
        [("tls.crt", content.certificate.as_bytes()), ("tls.key", content.key.expose().as_bytes()), ("ca.crt", content.ca.as_bytes())];
    let owner = OwnerReference {
        api_version: "daypass.dev/v1alpha1".into(),
        kind: "AccessRequest".into(),
        name: request.name_any(),
        uid: request.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(false),
    };
    KubeSecret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: request.namespace(),
            uid: version.map(|v| v.uid.clone()),
            resource_version: version.map(|v| v.resource_version.clone()),
            labels: Some(BTreeMap::from([(LABEL_REQUEST_UID.to_owned(), request.uid().unwrap_or_default())])),
            owner_references: Some(vec![owner]),
            ..Default::default()
        },
        type_: Some("kubernetes.io/tls".into()),
        data: Some(data.into_iter().map(|(key, bytes)| (key.to_owned(), ByteString(bytes.to_vec()))).collect()),
        ..Default::default()
    }
}

fn reserved(secret: &KubeSecret) -> Reserved {
    Reserved {
        name: secret.name_any(),
        uid: secret.uid().unwrap_or_default(),
        resource_version: secret.resource_version().unwrap_or_default(),
    }
}
