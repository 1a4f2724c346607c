//! Keeps the status of each lock: how many grants it met, how many of them are proven dead, and what the others wait for.
//!
//! Reads the ledger, in which every lease that a lock ended names it, so that another process counts the same. Ends nothing: that is `lease`,
//! which is told by `watches`. Refuses nothing: that is a gate of `core`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource, ResourceExt};

use super::Operator;
use crate::{
    api::{AccessLock, CredentialLease, EndReason, lock::LockSource},
    cluster::{
        ApiError,
        cache::{Cached, Change},
        locks::LockRecord,
    },
    core::locks::tally::{Tally, status},
};

/// Between two looks at least: hundreds of leases that end together are a few writes.
const AT_MOST_EVERY: Duration = Duration::from_millis(500);
/// Between two looks at most: a lock comes to its end without an event.
const AT_LEAST_EVERY: Duration = Duration::from_secs(5);

/// What this process knows of locks beside the caches.
#[derive(Default)]
pub struct Locks {
    /// By UID of a lock: how many leases that it ended are dead and no more in the ledger.
    forgotten: Mutex<HashMap<String, i64>>,
}

impl Locks {
    /// How many were forgotten. What an earlier process counted and the ledger does not hold any more is among them.
    fn forgotten(&self, uid: &str, counted: i64, held: i64) -> i64 {
        *self.lock().entry(uid.to_owned()).or_insert_with(|| (counted - held).max(0))
    }

    /// A lease is no more in the ledger.
    pub fn forget(&self, lease: &CredentialLease) {
        let Some(lock) = lease.status.as_ref().and_then(|status| status.lock.as_ref()) else { return };
        // Of a lock that was not looked at yet its status says enough.
        if let Some(count) = self.lock().get_mut(&lock.uid) {
            *count += 1;
        }
    }

    /// A lock is lifted.
    fn lifted(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, i64>> {
        self.forgotten.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Operator {
    /// A lock was placed or changed, or is gone: every live grant that it is about is looked at, on its way or not.
    pub(super) fn lock_changed(&self, change: &Change<LockRecord>) {
        match change {
            Change::Applied { now: lock, .. } => {
                if self.notes.is_news(lock.object_uid(), lock.metadata.generation.unwrap_or_default()) {
                    let facts = &lock.facts;
                    tracing::info!(
                        target: "decision", event = "lock", lock = facts.name, by = facts.by, source = ?facts.source, reason = facts.reason,
                        until = %facts.expires_at, "a lock stands"
                    );
                    self.end_what_is_locked();
                }
                self.locks_changed.notify_one();
            }
            Change::Deleted(lock) => {
                self.notes.went(lock.object_uid());
                self.locks.lifted(lock.object_uid());
                tracing::info!(target: "decision", event = "unlock", lock = lock.facts.name, "a lock is gone");
                self.locks_changed.notify_one();
            }
            Change::Synced => self.all_synced(),
        }
    }

    /// Hands every open lease that a lock is about to the loop that ends.
    fn end_what_is_locked(&self) {
        let now = self.clock.now();
        for lease in self.world.open_leases() {
            if lease.state().is_none() && self.world.lock_on(&lease, now).is_some() {
                self.leases.add(&lease.spec.request_namespace, &lease.name_any());
            }
        }
    }

    /// Counts whenever something changed, and now and then because time has passed.
    pub async fn judge_locks(self: Arc<Self>) {
        let mut known = HashMap::new();
        loop {
            let _ = tokio::time::timeout(AT_LEAST_EVERY, self.locks_changed.notified()).await;
            if self.world.locks.synced() && self.world.leases.synced() && self.world.pods.synced() {
                self.say_what_was_lifted(&mut known).await;
                self.report_locks().await;
            }
            tokio::time::sleep(AT_MOST_EVERY).await;
        }
    }

    async fn report_locks(&self) {
        let locks = self.world.locks.list();
        if locks.is_empty() {
            return;
        }
        let mut tallies = self.tallies();
        for record in locks {
            let Some(lock) = &record.lock else { continue };
            let tally = tallies.remove(record.object_uid()).unwrap_or_default();
            if let Err(error) = self.report_lock(lock, &tally).await
                && !matches!(error, ApiError::Conflict(_) | ApiError::NotFound(_))
            {
                tracing::warn!(lock = lock.name_any(), %error, "cannot write the lock's status; the next look tries again");
            }
        }
    }

    async fn report_lock(&self, lock: &AccessLock, tally: &Tally) -> Result<(), ApiError> {
        let counted = lock.status.as_ref().and_then(|status| status.proven_dead).unwrap_or_default();
        let forgotten = self.locks.forgotten(lock.metadata.uid.as_deref().unwrap_or_default(), counted, tally.dead());
        let next = status(lock, tally, forgotten, self.clock.now());
        if lock.status.as_ref() == Some(&next) {
            return Ok(());
        }
        let written = self.ending.put_lock_status(lock, next).await?;
        self.world.locks.own_write(LockRecord::of(written.into()));
        Ok(())
    }

    /// What became of the grants that each lock met, by UID of the lock.
    fn tallies(&self) -> HashMap<String, Tally> {
        let now = self.clock.now();
        let mut tallies = HashMap::<String, Tally>::new();
        for lease in self.world.leases.list() {
            let by = match &lease.status {
                Some(status) if status.state.is_some() => status.lock.clone(),
                _ => self.world.lock_on(&lease, now).map(|end| end.lock),
            };
            if let Some(lock) = by {
                tallies.entry(lock.uid).or_default().add(&lease);
            }
        }
        tallies
    }

    /// Tells people that a lock is gone before its end. Who lifted it is in the API server's audit log: nobody tells the operator.
    async fn say_what_was_lifted(&self, known: &mut HashMap<String, Arc<LockRecord>>) {
        let there: HashMap<String, Arc<LockRecord>> =
            self.world.locks.list().into_iter().map(|lock| (lock.object_uid().to_owned(), lock)).collect();
        let now = self.clock.now();
        let gone: Vec<Arc<LockRecord>> = known.values().filter(|lock| !there.contains_key(lock.object_uid())).cloned().collect();
        *known = there;
        for lock in gone.iter().filter(|lock| now < lock.facts.expires_at) {
            let facts = &lock.facts;
            let about = ObjectReference {
                api_version: Some(AccessLock::api_version(&()).into_owned()),
                kind: Some(AccessLock::kind(&()).into_owned()),
                name: Some(facts.name.clone()),
                uid: Some(facts.uid.clone()),
                ..Default::default()
            };
            let placed = match facts.source {
                LockSource::Person => facts.by.as_str(),
                LockSource::Engine => "Daypass itself",
            };
            let note = format!(
                "lifted before its end at {}; {placed} placed it: {}. Who lifted it stands in the API server's audit log",
                facts.expires_at, facts.reason
            );
            self.events.warn(&about, &facts.name, "Lifted", &note).await;
        }
    }

    /// The lease may change what a lock has to tell.
    pub(super) fn count_for_its_lock(&self, lease: &CredentialLease) {
        let ended_by_one =
            matches!(lease.status.as_ref().and_then(|status| status.reason), Some(EndReason::Locked | EndReason::AbnormalFrequency));
        if ended_by_one {
            self.locks_changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ended_by(uid: &str) -> CredentialLease {
        let mut lease = CredentialLease::new("l", crate::core::fixture::lease("orders"));
        lease.status = serde_json::from_value(json!({"state": "Closed", "lock": {"name": "l", "uid": uid}})).unwrap();
        lease
    }

    #[test]
    fn what_is_forgotten_stays_counted_also_after_a_restart() {
        let locks = Locks::default();
        locks.forget(&ended_by("u"));
        assert_eq!(locks.forgotten("u", 5, 3), 2, "an earlier process counted five, and three are still there");
        locks.forget(&ended_by("u"));
        locks.forget(&ended_by("another"));
        assert_eq!(locks.forgotten("u", 5, 2), 3);
        assert_eq!(locks.forgotten("new", 0, 4), 0, "what nobody has counted yet is not forgotten");
    }
}
