//! Writes of what belongs to the operator itself: its certificate authorities, its records, and what it publishes.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret as KubeSecret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, ResourceExt,
    core::{ApiResource, DynamicObject, GroupVersionKind, TypeMeta},
};

use super::{Writer, post};
use crate::{
    api::LABEL_CA,
    cluster::{
        ApiError,
        client::call,
        lists::ListsRecord,
        roots::{self, ROOTS},
    },
    secret::Secret,
};

/// Signer name of our trust bundles.
pub const SIGNER: &str = "daypass.dev/x509";

impl Writer {
    /// Stores the material of a certificate authority under `daypass-ca-<name>`: created if `version` is `None`, else replaced if it still
    /// is at that version.
    pub async fn store_ca(&self, name: &str, data: BTreeMap<String, Secret<Vec<u8>>>, version: Option<String>) -> Result<(), ApiError> {
        let api = Api::<KubeSecret>::namespaced(self.client.clone(), &self.namespace);
        let secret = KubeSecret {
            metadata: ObjectMeta {
                name: Some(ca_secret_name(name)),
                namespace: Some(self.namespace.clone()),
                labels: Some(BTreeMap::from([(LABEL_CA.to_owned(), name.to_owned())])),
                resource_version: version.clone(),
                ..Default::default()
            },
            type_: Some("Opaque".into()),
            data: Some(data.into_iter().map(|(key, bytes)| (key, ByteString(bytes.expose().clone()))).collect()),
            ..Default::default()
        };
        match version {
            None => call(api.create(&post(), &secret)).await.map(drop),
            Some(_) => call(api.replace(&ca_secret_name(name), &post(), &secret)).await.map(drop),
        }
    }

    /// One of the operator's own ConfigMaps.
    pub async fn get_config_map(&self, name: &str) -> Result<Option<ConfigMap>, ApiError> {
        call(self.config_maps().get_opt(name)).await
    }

    /// Creates or replaces one of the operator's own ConfigMaps (`version`: the one that was read).
    pub async fn put_config_map(&self, name: &str, data: BTreeMap<String, String>, version: Option<String>) -> Result<ConfigMap, ApiError> {
        self.put_labelled(name, BTreeMap::new(), data, version).await
    }

    /// Publishes every root that verifiers should trust (`version`: of the ConfigMap that was read).
    pub async fn put_roots(&self, data: BTreeMap<String, String>, version: Option<String>) -> Result<ConfigMap, ApiError> {
        self.put_labelled(ROOTS, roots::label(), data, version).await
    }

    async fn put_labelled(
        &self,
        name: &str,
        labels: BTreeMap<String, String>,
        data: BTreeMap<String, String>,
        version: Option<String>,
    ) -> Result<ConfigMap, ApiError> {
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(self.namespace.clone()),
                labels: (!labels.is_empty()).then_some(labels),
                resource_version: version.clone(),
                ..Default::default()
            },
            data: Some(data),
            ..Default::default()
        };
        match version {
            None => call(self.config_maps().create(&post(), &map)).await,
            Some(_) => call(self.config_maps().replace(name, &post(), &map)).await,
        }
    }

    /// Publishes the revocation lists of an authority: created if the record has no version, else replaced if they still are at that version.
    pub async fn put_lists(&self, lists: &ListsRecord) -> Result<ConfigMap, ApiError> {
        let map = lists.to_config_map();
        match lists.resource_version {
            None => call(self.config_maps().create(&post(), &map)).await,
            Some(_) => call(self.config_maps().replace(&lists.key.name, &post(), &map)).await,
        }
    }

    /// Publishes roots as a ClusterTrustBundle. `Ok(false)`: this cluster does not serve that API.
    pub async fn publish_trust_bundle(&self, ca: &str, roots: &str) -> Result<bool, ApiError> {
        let kind = GroupVersionKind::gvk("certificates.k8s.io", "v1", "ClusterTrustBundle");
        let resource = ApiResource::from_gvk_with_plural(&kind, "clustertrustbundles");
        let api = Api::<DynamicObject>::all_with(self.client.clone(), &resource);
        let name = format!("daypass.dev:x509:{ca}");
        let held = match call(api.get_opt(&name)).await {
            Ok(held) => held,
            Err(ApiError::NotFound(_)) => return Ok(false),
            Err(error) => return Err(error),
        };
        let same = |held: &DynamicObject| held.data.pointer("/spec/trustBundle").and_then(|v| v.as_str()) == Some(roots);
        if held.as_ref().is_some_and(same) {
            return Ok(true);
        }
        let object = DynamicObject {
            types: Some(TypeMeta { api_version: "certificates.k8s.io/v1".into(), kind: "ClusterTrustBundle".into() }),
            metadata: ObjectMeta {
                name: Some(name.clone()),
                resource_version: held.as_ref().and_then(ResourceExt::resource_version),
                ..Default::default()
            },
            data: serde_json::json!({"spec": {"signerName": SIGNER, "trustBundle": roots}}),
        };
        let written = match held {
            None => call(api.create(&post(), &object)).await,
            Some(_) => call(api.replace(&name, &post(), &object)).await,
        };
        match written {
            Ok(_) => Ok(true),
            // A create under a path that is not served says 404.
            Err(ApiError::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn config_maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

/// Name of the Secret that holds a managed certificate authority.
pub fn ca_secret_name(ca: &str) -> String {
    format!("daypass-ca-{ca}")
}
