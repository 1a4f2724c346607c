//! Published roots: the ConfigMap `daypass-roots`, as its watch brings it.
//!
//! Knows nothing of what a root says. Written by `act::publish`; read by the controller, which puts back what somebody deleted or edited and
//! leaves alone what somebody else has put there.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;

use super::{
    cache::{Cached, Key},
    records::{key_of, version_of},
};
use crate::api::LABEL_ROOTS;

/// The ConfigMap with every root that verifiers should trust.
pub const ROOTS: &str = "daypass-roots";
/// Value of the label.
const PUBLISHED: &str = "published";

/// Selects the ConfigMap by its name: a foreign one of that name is to be noticed as well.
pub fn selector() -> String {
    format!("metadata.name={ROOTS}")
}

/// The label that makes the ConfigMap ours.
pub fn label() -> BTreeMap<String, String> {
    BTreeMap::from([(LABEL_ROOTS.to_owned(), PUBLISHED.to_owned())])
}

/// Whether it is ours.
pub fn is_ours(map: &ConfigMap) -> bool {
    map.labels().get(LABEL_ROOTS).map(String::as_str) == Some(PUBLISHED)
}

/// The ConfigMap of that name, whosever it is.
#[derive(Clone, Debug, PartialEq)]
pub struct RootsRecord {
    key: Key,
    uid: String,
    version: u64,
    /// It bears our label.
    pub ours: bool,
    /// What is in it.
    pub data: BTreeMap<String, String>,
}

impl Cached for RootsRecord {
    fn key(&self) -> Key {
        self.key.clone()
    }
    fn object_uid(&self) -> &str {
        &self.uid
    }
    fn version(&self) -> u64 {
        self.version
    }
}

impl RootsRecord {
    /// As it was read.
    pub fn of(map: ConfigMap) -> Self {
        Self {
            key: key_of(&map.metadata),
            uid: map.uid().unwrap_or_default(),
            version: version_of(&map.metadata),
            ours: is_ours(&map),
            data: map.data.unwrap_or_default(),
        }
    }
}
