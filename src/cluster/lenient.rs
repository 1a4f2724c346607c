//! An object that this version may not be able to read: one such object must not break the watch of all others.
//!
//! Unlike kube's `DeserializeGuard` it keeps what a policy's `effect` says, since a Forbid must not vanish because a later version added
//! something to it.

use std::{borrow::Cow, fmt::Debug};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

/// An object of kind `K`, or why it cannot be read.
#[derive(Clone, Debug)]
pub struct Lenient<K> {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// The object.
    pub object: Result<K, String>,
    /// `spec.effect` as it stands there, if it is a string.
    pub effect: Option<String>,
}

impl<K: Resource> From<K> for Lenient<K> {
    fn from(object: K) -> Self {
        Self { metadata: object.meta().clone(), object: Ok(object), effect: None }
    }
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Lenient<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let metadata = value.get("metadata").cloned().unwrap_or_default();
        Ok(Self {
            metadata: serde_json::from_value(metadata).map_err(serde::de::Error::custom)?,
            effect: value.pointer("/spec/effect").and_then(Value::as_str).map(ToOwned::to_owned),
            object: serde_json::from_value(value).map_err(|error| error.to_string()),
        })
    }
}

impl<K: Resource> Resource for Lenient<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }

    fn group(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }

    fn version(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }

    fn plural(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ClusterAccessPolicy;

    #[test]
    fn what_a_later_version_wrote_keeps_its_name_and_its_effect() {
        let text = r#"{"metadata": {"name": "no-nights", "uid": "u"}, "spec": {"effect": "Forbid", "subjects": "everybody"}}"#;
        let read: Lenient<ClusterAccessPolicy> = serde_json::from_str(text).unwrap();
        assert_eq!((read.metadata.name.as_deref(), read.effect.as_deref()), (Some("no-nights"), Some("Forbid")));
        assert!(read.object.is_err());
    }
}
