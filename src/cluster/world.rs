//! All caches together, and the indices over them that a decision or a trigger needs without walking everything.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    Cache,
    cache::{Cached, Change, Key},
    counts::{Counts, Place},
    lists::ListsRecord,
    locks::LockRecord,
    records::{ClassRecord, ObjectRecord, PodRecord, PolicyRecord, SecretRecord},
    roots::RootsRecord,
};
use crate::{
    api::{AccessRequest, CredentialLease},
    core::locks::{self, LockEnd, Subject},
};

/// What the operator knows of the cluster.
#[derive(Default)]
pub struct World {
    /// Requests of every namespace.
    pub requests: Arc<Cache<AccessRequest>>,
    /// The ledger.
    pub leases: Arc<Cache<CredentialLease>>,
    /// Classes.
    pub classes: Arc<Cache<ClassRecord>>,
    /// ClusterAccessPolicies.
    pub cluster_policies: Arc<Cache<PolicyRecord>>,
    /// AccessPolicies.
    pub policies: Arc<Cache<PolicyRecord>>,
    /// Locks.
    pub locks: Arc<Cache<LockRecord>>,
    /// Pods.
    pub pods: Arc<Cache<PodRecord>>,
    /// Nodes.
    pub nodes: Arc<Cache<ObjectRecord>>,
    /// Namespaces.
    pub namespaces: Arc<Cache<ObjectRecord>>,
    /// Service accounts.
    pub service_accounts: Arc<Cache<ObjectRecord>>,
    /// Secrets of the operator's own namespace.
    pub secrets: Arc<Cache<SecretRecord>>,
    /// Published revocation lists.
    pub lists: Arc<Cache<ListsRecord>>,
    /// Published roots. Nothing that is decided rests on them, so nothing waits for their watch.
    pub roots: Arc<Cache<RootsRecord>>,
    index: Mutex<Index>,
    synced_at: OnceLock<Timestamp>,
}

#[derive(Default)]
struct Index {
    /// UID → where the request lives.
    request_by_uid: HashMap<String, Key>,
    /// Requester's username → its requests that nothing follows.
    finished_by_user: HashMap<String, BTreeSet<Key>>,
    /// Request UID → its lease, the open one if there are several.
    lease_by_request: HashMap<String, Key>,
    /// Pod UID → its leases that are not closed.
    open_by_pod: HashMap<String, BTreeSet<Key>>,
    /// Leases that are not closed.
    counts: Counts,
}

/// Leases that are not closed, counted at one moment: while it is held nothing else is counted.
pub struct Standing<'a>(MutexGuard<'a, Index>);

impl Standing<'_> {
    /// Of one identity under one policy: all, and those of one pod.
    pub fn live(&self, username: &str, policy: &str, pod_uid: &str) -> (u64, u64) {
        self.0.counts.live(username, policy, pod_uid)
    }

    /// What the lease of a request counts under, if it is among them.
    pub fn of_request(&self, request_uid: &str) -> Option<&Place> {
        self.0.counts.place(self.0.lease_by_request.get(request_uid)?)
    }
}

impl World {
    /// Keeps the indices in step with a change of a request. Call it before anybody acts on the change.
    pub fn index_request(&self, change: &Change<AccessRequest>) {
        let (request, present) = match change {
            Change::Applied { now, .. } => (now, true),
            Change::Deleted(request) => (request, false),
            Change::Synced => return,
        };
        let key = request.key();
        let mut index = self.index();
        file(&mut index.finished_by_user, &request.spec.requester.username, &key, present && request.state().is_terminal());
        if present {
            index.request_by_uid.insert(request.object_uid().to_owned(), key);
        } else {
            index.request_by_uid.remove(request.object_uid());
        }
    }

    /// Keeps the indices in step with a change of a lease.
    pub fn index_lease(&self, change: &Change<CredentialLease>) {
        let (lease, present) = match change {
            Change::Applied { now, .. } => (now, true),
            Change::Deleted(lease) => (lease, false),
            Change::Synced => return,
        };
        let (key, open) = (lease.key(), present && !lease.is_closed());
        let mut index = self.index();
        // Of several attempts to serve one request the open one counts; there is at most one.
        let of_request = index.lease_by_request.get(&lease.spec.request_uid);
        if present && (open || of_request.is_none()) {
            index.lease_by_request.insert(lease.spec.request_uid.clone(), key.clone());
        } else if !present && of_request == Some(&key) {
            index.lease_by_request.remove(&lease.spec.request_uid);
        }
        file(&mut index.open_by_pod, &lease.spec.requester.pod_uid, &key, open);
        let requester = &lease.spec.requester;
        let place = open.then(|| Place {
            username: requester.username.clone(),
            policy: lease.spec.policy.name.clone(),
            pod_uid: requester.pod_uid.clone(),
        });
        index.counts.count(&key, place);
    }

    /// The request with this UID.
    pub fn request(&self, uid: &str) -> Option<Arc<AccessRequest>> {
        let key = self.index().request_by_uid.get(uid).cloned()?;
        self.requests.get(&key).filter(|request| request.object_uid() == uid)
    }

    /// Every request of one identity that nothing follows.
    pub fn finished_requests_of(&self, username: &str) -> Vec<Arc<AccessRequest>> {
        let keys = self.index().finished_by_user.get(username).cloned().unwrap_or_default();
        keys.iter().filter_map(|key| self.requests.get(key)).collect()
    }

    /// A lease that was just opened: it counts from this moment, whenever the watch brings it.
    pub fn opened(&self, lease: CredentialLease) {
        if let Some(change) = self.leases.own_create(lease) {
            self.index_lease(&change);
        }
    }

    /// How many they are.
    pub fn finished_requests_count(&self, username: &str) -> usize {
        self.index().finished_by_user.get(username).map(BTreeSet::len).unwrap_or_default()
    }

    /// Nothing that the caches hold is known to be current since this instant.
    pub fn mark_all_failing(&self, since: Instant) {
        self.requests.mark_failing(since);
        self.leases.mark_failing(since);
        self.classes.mark_failing(since);
        self.cluster_policies.mark_failing(since);
        self.policies.mark_failing(since);
        self.locks.mark_failing(since);
        self.pods.mark_failing(since);
        self.nodes.mark_failing(since);
        self.namespaces.mark_failing(since);
        self.service_accounts.mark_failing(since);
        self.secrets.mark_failing(since);
        self.lists.mark_failing(since);
    }

    /// The lease of a request.
    pub fn lease_of(&self, request_uid: &str) -> Option<Arc<CredentialLease>> {
        let key = self.index().lease_by_request.get(request_uid).cloned()?;
        self.leases.get(&key)
    }

    /// Leases that are not closed, to be counted.
    pub fn standing(&self) -> Standing<'_> {
        Standing(self.index())
    }

    /// Leases of one pod that are not closed.
    pub fn open_leases_of_pod(&self, pod_uid: &str) -> Vec<Key> {
        self.index().open_by_pod.get(pod_uid).into_iter().flatten().cloned().collect()
    }

    /// Every lease that is not closed.
    pub fn open_leases(&self) -> Vec<Arc<CredentialLease>> {
        let keys: Vec<Key> = self.index().counts.keys().cloned().collect();
        keys.iter().filter_map(|key| self.leases.get(key)).collect()
    }

    /// How many leases are not closed, for each policy and for each class.
    pub fn live(&self) -> (BTreeMap<String, i64>, BTreeMap<String, i64>) {
        let (mut by_policy, mut by_class) = (BTreeMap::new(), BTreeMap::new());
        for lease in self.open_leases() {
            *by_policy.entry(lease.spec.policy.name.clone()).or_default() += 1;
            *by_class.entry(lease.spec.class_name.clone()).or_default() += 1;
        }
        (by_policy, by_class)
    }

    /// A pod that runs as this service account, the first by name; finished ones run no more.
    pub fn pod_of_account(&self, namespace: &str, account: &str) -> Option<Arc<PodRecord>> {
        let runs_as_it = |pod: &Arc<PodRecord>| pod.key.namespace == namespace && pod.service_account == account && !pod.is_finished();
        self.pods.list().into_iter().filter(runs_as_it).min_by(|a, b| a.key.cmp(&b.key))
    }

    /// Every policy of both kinds that could concern a namespace.
    pub fn policies_for(&self, namespace: &str) -> Vec<Arc<PolicyRecord>> {
        let mut all = self.cluster_policies.list();
        all.extend(self.policies.list().into_iter().filter(|policy| policy.id.namespace.as_deref() == Some(namespace)));
        all
    }

    /// What the locks that are in force at this moment make of a live grant. Asks nobody: what is not known of its pod ends nothing.
    pub fn lock_on(&self, lease: &CredentialLease, now: Timestamp) -> Option<LockEnd> {
        if self.locks.is_empty() {
            return None;
        }
        let (spec, held) = (&lease.spec, self.locks.list());
        let pod = self.pods.get(&Key::new(&spec.request_namespace, &spec.requester.pod_name));
        let pod = pod.as_ref().filter(|pod| pod.uid == spec.requester.pod_uid);
        let subject = Subject::of_lease(spec, pod.map(|pod| (&pod.images, pod.node_name.as_str())));
        locks::ending(held.iter().map(|record| &record.facts), &subject, now).map(locks::end)
    }

    /// When the last cache was filled for the first time.
    pub fn synced_at(&self) -> Option<Timestamp> {
        self.synced_at.get().copied()
    }

    /// The last cache was filled. `true`: for the first time.
    pub fn note_synced(&self, now: Timestamp) -> bool {
        self.synced_at.set(now).is_ok()
    }

    /// Names of the caches that are not filled yet.
    pub fn unsynced(&self) -> Vec<&'static str> {
        self.health().into_iter().filter(|(_, synced, _)| !synced).map(|(name, ..)| name).collect()
    }

    /// Names of the caches whose watch has been failing for longer than `limit`.
    pub fn stale(&self, now: Instant, limit: Duration) -> Vec<&'static str> {
        let too_old = |since: Option<Instant>| since.is_some_and(|since| now.duration_since(since) > limit);
        self.health().into_iter().filter(|(.., failing)| too_old(*failing)).map(|(name, ..)| name).collect()
    }

    fn health(&self) -> [(&'static str, bool, Option<Instant>); 12] {
        fn of<R: Cached>(name: &'static str, cache: &Cache<R>) -> (&'static str, bool, Option<Instant>) {
            (name, cache.synced(), cache.failing_since())
        }
        [
            of("accessrequests", &self.requests),
            of("credentialleases", &self.leases),
            of("credentialclasses", &self.classes),
            of("clusteraccesspolicies", &self.cluster_policies),
            of("accesspolicies", &self.policies),
            of("accesslocks", &self.locks),
            of("pods", &self.pods),
            of("nodes", &self.nodes),
            of("namespaces", &self.namespaces),
            of("serviceaccounts", &self.service_accounts),
            of("secrets", &self.secrets),
            of("configmaps", &self.lists),
        ]
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn file(map: &mut HashMap<String, BTreeSet<Key>>, name: &str, key: &Key, present: bool) {
    if present {
        map.entry(name.to_owned()).or_default().insert(key.clone());
    } else if let Some(keys) = map.get_mut(name) {
        keys.remove(key);
        if keys.is_empty() {
            map.remove(name);
        }
    }
}
