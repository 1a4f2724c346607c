//! Published revocation lists: the ConfigMap `daypass-crl-<authority>`, taken apart and put together.
//!
//! | key | holds |
//! |---|---|
//! | `signing` | id of the key that signs certificates now: its list is what verifiers are given under the authority's name |
//! | `<issuer>.crl` | the list of one key, in DER |
//! | `<issuer>.ends` | when each entry of it may be left out |
//! | `<issuer>.longer` | `<seconds> <RFC 3339>`: lists that were good for so long may be in use until then |
//!
//! Knows nothing of what a list says. Filled by its watch; written by `act::publish`; read by the controller, which believes nothing of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::ResourceExt;

use super::{
    cache::{Cached, Key},
    records::key_of,
};
use crate::{api::LABEL_CRL, core::revocation::Longer};

const SIGNING: &str = "signing";
const LIST: &str = ".crl";
const ENDS: &str = ".ends";
const LONGER: &str = ".longer";
/// Value of the label.
const PUBLISHED: &str = "published";

/// Name of the ConfigMap with the lists of an authority.
pub fn config_map_name(ca: &str) -> String {
    format!("daypass-crl-{ca}")
}

/// Selects ConfigMaps with lists.
pub fn selector() -> String {
    format!("{LABEL_CRL}={PUBLISHED}")
}

/// The lists of one authority, as they are published.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListsRecord {
    /// Where they are.
    pub key: Key,
    /// UID of the ConfigMap; empty before it exists.
    pub uid: String,
    /// The version that the next write must meet.
    pub resource_version: Option<String>,
    /// Id of the key that signs certificates now.
    pub signing: String,
    /// By the id of the key that signs them.
    pub lists: BTreeMap<String, RawList>,
    /// Something is in it that we would not write.
    pub untidy: bool,
}

/// One list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RawList {
    /// In DER.
    pub der: Vec<u8>,
    /// What lies beside it.
    pub ends: Vec<u8>,
    /// Lists that were good for longer.
    pub longer: Option<Longer>,
}

impl Cached for ListsRecord {
    fn key(&self) -> Key {
        self.key.clone()
    }
    fn object_uid(&self) -> &str {
        &self.uid
    }
    fn version(&self) -> u64 {
        self.resource_version.as_deref().and_then(|v| v.parse().ok()).unwrap_or_default()
    }
}

impl ListsRecord {
    /// Takes a ConfigMap apart. `None`: it is not ours.
    pub fn of(map: ConfigMap) -> Option<Self> {
        if map.labels().get(LABEL_CRL).map(String::as_str) != Some(PUBLISHED) {
            return None;
        }
        let mut record = Self {
            key: key_of(&map.metadata),
            uid: map.uid().unwrap_or_default(),
            resource_version: map.resource_version(),
            ..Self::default()
        };
        for (key, ByteString(bytes)) in map.binary_data.unwrap_or_default() {
            if let Some(issuer) = key.strip_suffix(LIST) {
                record.list(issuer).der = bytes;
            } else if let Some(issuer) = key.strip_suffix(ENDS) {
                record.list(issuer).ends = bytes;
            } else {
                record.untidy = true;
            }
        }
        for (key, text) in map.data.unwrap_or_default() {
            match (key.as_str(), key.strip_suffix(LONGER)) {
                (SIGNING, _) => record.signing = text,
                (_, Some(issuer)) => match longer(&text) {
                    Some(longer) => record.list(issuer).longer = Some(longer),
                    None => record.untidy = true,
                },
                _ => record.untidy = true,
            }
        }
        Some(record)
    }

    /// The ConfigMap that says this.
    pub fn to_config_map(&self) -> ConfigMap {
        let (mut data, mut binary) = (BTreeMap::from([(SIGNING.to_owned(), self.signing.clone())]), BTreeMap::new());
        for (issuer, list) in &self.lists {
            binary.insert(format!("{issuer}{LIST}"), ByteString(list.der.clone()));
            binary.insert(format!("{issuer}{ENDS}"), ByteString(list.ends.clone()));
            if let Some(longer) = list.longer {
                data.insert(format!("{issuer}{LONGER}"), format!("{} {}", longer.life, longer.until));
            }
        }
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(self.key.name.clone()),
                namespace: Some(self.key.namespace.clone()),
                resource_version: self.resource_version.clone(),
                labels: Some(BTreeMap::from([(LABEL_CRL.to_owned(), PUBLISHED.to_owned())])),
                ..Default::default()
            },
            data: Some(data),
            binary_data: Some(binary),
            ..Default::default()
        }
    }

    fn list(&mut self, issuer: &str) -> &mut RawList {
        self.lists.entry(issuer.to_owned()).or_default()
    }
}

fn longer(text: &str) -> Option<Longer> {
    let (life, until) = text.split_once(' ')?;
    Some(Longer { life: life.parse().ok()?, until: until.parse::<Timestamp>().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> ListsRecord {
        let longer = Some(Longer { life: 3600, until: "2026-11-24T12:00:00Z".parse().unwrap() });
        let lists = [("a1", None), ("b2", longer)];
        let list = |longer| RawList { der: vec![48, 0], ends: vec![0, 0, 0, 1], longer };
        ListsRecord {
            key: Key::new("daypass-system", config_map_name("default")),
            resource_version: Some("7".into()),
            signing: "a1".into(),
            lists: lists.into_iter().map(|(issuer, longer)| (issuer.to_owned(), list(longer))).collect(),
            ..ListsRecord::default()
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(ListsRecord::of(record().to_config_map()), Some(record()));
        assert_eq!((record().version(), record().key.name.as_str()), (7, "daypass-crl-default"));
    }

    #[test]
    fn what_is_not_ours_is_left_alone_and_what_was_added_is_noticed() {
        let mut foreign = record().to_config_map();
        foreign.metadata.labels = None;
        assert_eq!(ListsRecord::of(foreign), None);
        for (key, text) in [("note", "hello"), ("a1.longer", "soon")] {
            let mut edited = record().to_config_map();
            edited.data.as_mut().unwrap().insert(key.into(), text.into());
            assert!(ListsRecord::of(edited).unwrap().untidy, "{key}");
        }
        let mut edited = record().to_config_map();
        edited.binary_data.as_mut().unwrap().insert("x".into(), ByteString(vec![]));
        assert!(ListsRecord::of(edited).unwrap().untidy);
    }
}
