//! The Secrets that tenants receive, and those that tokens are bound to: reserved empty, filled once, deleted by UID. Never read, listed or
//! watched.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::core::v1::Secret as KubeSecret,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};

use super::{FIELD_MANAGER, Writer, exactly, post};
use crate::{
    api::{AccessRequest, LABEL_EXPIRY_HOUR, LABEL_REQUEST_UID},
    cluster::{ApiError, client::call},
    secret::Secret,
};

/// Where a Secret of a request lies, and what it is for.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The request that it belongs to.
    pub request: &'a AccessRequest,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// What it holds, or will.
    pub form: Form,
    /// In another namespace than the request's nothing owns it: the sweeper may delete it some time after this.
    pub over: Option<Timestamp>,
}

/// What a Secret of a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A certificate and its key.
    Tls,
    /// A token: holding it, or being what it is bound to.
    Token,
}

impl Form {
    fn type_of(self) -> &'static str {
        match self {
            Self::Tls => "kubernetes.io/tls",
            Self::Token => "Opaque",
        }
    }

    /// The key that is empty until the Secret is filled.
    fn secret_key(self) -> &'static str {
        match self {
            Self::Tls => "tls.key",
            Self::Token => "token",
        }
    }

    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Tls => &["tls.crt", "tls.key", "ca.crt"],
            Self::Token => &["token"],
        }
    }
}

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

/// What a Secret is filled with.
pub enum SecretContent {
    /// A `kubernetes.io/tls` Secret with its roots.
    Certificate {
        /// Chain in PEM, leaf first.
        certificate: String,
        /// Private key in PEM.
        key: Secret<String>,
        /// Roots in PEM.
        ca: String,
    },
    /// A bearer token.
    Token(Secret<String>),
}

impl SecretContent {
    fn data(&self) -> BTreeMap<String, ByteString> {
        let entry = |key: &str, bytes: &[u8]| (key.to_owned(), ByteString(bytes.to_vec()));
        match self {
            Self::Certificate { certificate, key, ca } => {
                [entry("tls.crt", certificate.as_bytes()), entry("tls.key", key.expose().as_bytes()), entry("ca.crt", ca.as_bytes())].into()
            }
            Self::Token(token) => [entry("token", token.expose().as_bytes())].into(),
        }
    }
}

impl Writer {
    /// Creates the empty Secret with its final name, type and label. Create-only: a foreign Secret is never adopted.
    pub async fn reserve(&self, place: Place<'_>) -> Result<Reserved, ApiError> {
        let empty = place.form.keys().iter().map(|key| ((*key).to_owned(), ByteString(vec![]))).collect();
        call(self.secrets(place.namespace).create(&post(), &body(place, None, empty))).await.map(|made| reserved(&made))
    }

    /// Whether the Secret of this name is the one reserved for this request: a JSON Patch of tests alone changes nothing and needs no right
    /// to read. `Invalid` = it is somebody else's (or, with `empty`, it has been filled).
    pub async fn test_reserve(&self, place: Place<'_>, empty: bool) -> Result<Reserved, ApiError> {
        let mut tests = vec![serde_json::json!({
            "op": "test", "path": format!("/metadata/labels/{}", LABEL_REQUEST_UID.replace('/', "~1")), "value": place.request.uid().unwrap_or_default(),
        })];
        if empty {
            tests.push(serde_json::json!({"op": "test", "path": format!("/data/{}", place.form.secret_key()), "value": ""}));
        }
        let patch: json_patch::Patch =
            serde_json::from_value(serde_json::Value::Array(tests)).map_err(|e| ApiError::Invalid(e.to_string()))?;
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
        let api = self.secrets(place.namespace);
        call(api.patch(place.name, &params, &Patch::Json::<()>(patch))).await.map(|secret| reserved(&secret))
    }

    /// Fills the reserved Secret by PUT with its UID and version: whatever happened to it in between makes this fail.
    pub async fn fill(&self, place: Place<'_>, reserved: &Reserved, content: &SecretContent) -> Result<(), ApiError> {
        let secret = body(place, Some(reserved), content.data());
        call(self.secrets(place.namespace).replace(place.name, &post(), &secret)).await.map(drop)
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

    /// Whether exactly this Secret is there: a DELETE that is said in its body to be a dry run. (Beside a body, one that is said in the URL
    /// alone would be carried out.)
    pub async fn is_there(&self, namespace: &str, name: &str, uid: &str) -> Result<bool, ApiError> {
        let rehearsal = DeleteParams { dry_run: true, ..exactly(uid) };
        // The answer may carry the Secret's data: it is never logged.
        match call(self.secrets(namespace).delete(name, &rehearsal)).await {
            Ok(_) => Ok(true),
            Err(ApiError::NotFound(_) | ApiError::Conflict(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes the reserve of a request that came to nothing, if there is one and it is ours.
    pub async fn drop_reserve(&self, place: Place<'_>) -> Result<(), ApiError> {
        match self.test_reserve(place, false).await {
            Ok(ours) => self.delete_secret(place.namespace, place.name, &ours.uid).await,
            Err(ApiError::NotFound(_) | ApiError::Invalid(_) | ApiError::Forbidden(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Deletes what tokens of this namespace were bound to and was over in one of these hours ([`expiry_hour`]): what no lease tells of any
    /// more. Needs no right to read or list.
    pub async fn sweep_bound(&self, namespace: &str, hours: &[String]) -> Result<(), ApiError> {
        let old = ListParams::default().labels(&format!("{LABEL_EXPIRY_HOUR} in ({})", hours.join(",")));
        // The answer lists what was deleted: it is never logged.
        call(self.secrets(namespace).delete_collection(&DeleteParams::background(), &old)).await.map(drop)
    }

    fn secrets(&self, namespace: &str) -> Api<KubeSecret> {
        Api::namespaced(self.client.clone(), namespace)
    }
}

/// The hour of a time as a label says it, in UTC: `2026-03-01T12`.
pub fn expiry_hour(time: Timestamp) -> String {
    time.to_string().chars().take("2026-03-01T12".len()).collect()
}

/// Whether the Secret of this name is the one with this UID; `Invalid` = it is another. Changes nothing and needs no right to read.
async fn test_uid(api: &Api<KubeSecret>, name: &str, uid: &str) -> Result<(), ApiError> {
    let test = serde_json::json!([{"op": "test", "path": "/metadata/uid", "value": uid}]);
    let patch: json_patch::Patch = serde_json::from_value(test).map_err(|error| ApiError::Invalid(error.to_string()))?;
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
    call(api.patch(name, &params, &Patch::Json::<()>(patch))).await.map(drop)
}

fn body(place: Place<'_>, version: Option<&Reserved>, data: BTreeMap<String, ByteString>) -> KubeSecret {
    let request = place.request;
    let owner = OwnerReference {
        api_version: "daypass.dev/v1alpha1".into(),
        kind: "AccessRequest".into(),
        name: request.name_any(),
        uid: request.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(false),
    };
    // An owner in another namespace would have it collected as garbage at once.
    let owned = request.namespace().as_deref() == Some(place.namespace);
    let mut labels = BTreeMap::from([(LABEL_REQUEST_UID.to_owned(), request.uid().unwrap_or_default())]);
    if let Some(over) = place.over {
        labels.insert(LABEL_EXPIRY_HOUR.to_owned(), expiry_hour(over));
    }
    KubeSecret {
        metadata: ObjectMeta {
            name: Some(place.name.to_owned()),
            namespace: Some(place.namespace.to_owned()),
            uid: version.map(|v| v.uid.clone()),
            resource_version: version.map(|v| v.resource_version.clone()),
            labels: Some(labels),
            owner_references: owned.then(|| vec![owner]),
            ..Default::default()
        },
        type_: Some(place.form.type_of().into()),
        data: Some(data),
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
