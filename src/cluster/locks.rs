//! What the cache keeps of a lock: what follows from it, and the object to write its status back into.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{
    cache::{Cached, Key},
    lenient::Lenient,
    records::{key_of, version_of},
};
use crate::{api::AccessLock, core::snapshot::LockFacts};

/// A lock, or why it cannot be read.
#[derive(Clone, Debug, PartialEq)]
pub struct LockRecord {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// What follows from it.
    pub facts: LockFacts,
    /// The object; `None` when this version of the operator cannot read it.
    pub lock: Option<AccessLock>,
}

impl Cached for LockRecord {
    fn key(&self) -> Key {
        key_of(&self.metadata)
    }
    fn object_uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }
    fn version(&self) -> u64 {
        version_of(&self.metadata)
    }
}

impl LockRecord {
    /// What is kept of a lock. One that cannot be read has no end that anybody knows of.
    pub fn of(read: Lenient<AccessLock>) -> Self {
        let mut metadata = read.metadata;
        metadata.managed_fields = None;
        let (name, uid) = (key_of(&metadata).name, metadata.uid.clone().unwrap_or_default());
        let mut facts = LockFacts {
            name,
            uid,
            broken: None,
            matches: Default::default(),
            reason: String::new(),
            expires_at: Timestamp::MAX,
            source: Default::default(),
            by: String::new(),
        };
        let lock = match read.object {
            Ok(lock) => {
                let spec = lock.spec.clone();
                (facts.matches, facts.reason, facts.by) = (spec.matches, spec.reason, spec.by);
                (facts.expires_at, facts.source) = (spec.expires_at, spec.source);
                Some(AccessLock { metadata: metadata.clone(), ..lock })
            }
            Err(problem) => {
                tracing::error!(lock = facts.name, problem, "this version cannot read the lock: nothing new is granted while it is there");
                facts.broken = Some(problem);
                None
            }
        };
        Self { metadata, facts, lock }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_of_a_later_version_is_kept_as_one_that_cannot_be_read() {
        let text = r#"{"metadata": {"name": "l", "uid": "u"}, "spec": {"match": "everybody", "expiresAt": "2026-03-01T12:00:00Z"}}"#;
        let record = LockRecord::of(serde_json::from_str(text).unwrap());
        assert!(record.facts.broken.is_some() && record.lock.is_none() && record.facts.expires_at == Timestamp::MAX);
    }
}
