//! Feeds the caches from watches, and tells the loops what each change may concern.

use std::{fmt::Debug, sync::Arc, time::Duration};

use kube::{Api, Client, Resource, ResourceExt, runtime::watcher::Config};
use serde::de::DeserializeOwned;

use super::Operator;
use crate::{
    api::{AccessRequest, CredentialLease, RequestState, class::TokenSpec},
    cluster::{
        cache::{Cache, Cached, Change},
        lists::{self, ListsRecord},
        locks::LockRecord,
        records::{self, ClassRecord, ObjectRecord, PodRecord, PolicyRecord, SecretRecord},
        roots::{self, RootsRecord},
        watch::{self, Setting},
    },
};

/// Between two beats.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A longer gap between two beats is a time in which this process did not run.
const LONGEST_GAP: Duration = Duration::from_secs(5);

impl Operator {
    /// Runs every watch until the process ends.
    pub async fn watch_everything(self: Arc<Self>, client: Client) {
        let (world, home) = (&self.world, &self.settings.namespace);
        let class = |read| Some(ClassRecord::of(read));
        let cluster_policy = |read| Some(PolicyRecord::cluster(read));
        let policy = |read| Some(PolicyRecord::namespaced(read));
        let lock = |read| Some(LockRecord::of(read));
        let pod = |pod| Some(PodRecord::of(&pod));
        let node = |node| Some(ObjectRecord::node(node));
        let namespace = |namespace| Some(ObjectRecord::namespace(namespace));
        let account = |account| Some(ObjectRecord::service_account(account));
        let secret = |secret| Some(SecretRecord::of(secret));
        let with_lists = Config::default().labels(&lists::selector());
        let of_roots = Config::default().fields(&roots::selector());
        tokio::join!(
            self.heartbeat(),
            self.feed(Api::all(client.clone()), records::request, &world.requests, |c| self.request_changed(c)),
            self.feed(Api::namespaced(client.clone(), home), records::lease, &world.leases, |c| self.lease_changed(c)),
            self.feed(Api::all(client.clone()), class, &world.classes, |c| self.class_changed(c)),
            self.feed(Api::all(client.clone()), cluster_policy, &world.cluster_policies, |c| self.policy_changed(c)),
            self.feed(Api::all(client.clone()), policy, &world.policies, |c| self.policy_changed(c)),
            self.feed(Api::all(client.clone()), lock, &world.locks, |c| self.lock_changed(c)),
            self.feed(Api::all(client.clone()), pod, &world.pods, |c| self.pod_changed(c)),
            self.feed(Api::all(client.clone()), node, &world.nodes, |c| self.object_changed(c, is_on)),
            self.feed(Api::all(client.clone()), namespace, &world.namespaces, |c| self.object_changed(c, is_in)),
            self.feed(Api::all(client.clone()), account, &world.service_accounts, |c| self.account_changed(c)),
            self.feed(Api::namespaced(client.clone(), home), secret, &world.secrets, |c| self.secret_changed(c)),
            self.feed_selected(with_lists, Api::namespaced(client.clone(), home), ListsRecord::of, &world.lists, |c| {
                self.lists_record_changed(c)
            }),
            self.feed_selected(
                of_roots,
                Api::namespaced(client.clone(), home),
                |map| Some(RootsRecord::of(map)),
                &world.roots,
                |c| { self.roots_changed(c) }
            ),
        );
    }

    /// Runs one watch into its cache.
    async fn feed<K, R>(
        &self,
        api: Api<K>,
        convert: impl Fn(K) -> Option<R> + Send,
        cache: &Arc<Cache<R>>,
        on_change: impl Fn(&Change<R>) + Send,
    ) where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
        R: Cached,
    {
        self.feed_selected(Config::default(), api, convert, cache, on_change).await;
    }

    /// Runs the watch of what is selected into its cache.
    async fn feed_selected<K, R>(
        &self,
        selected: Config,
        api: Api<K>,
        convert: impl Fn(K) -> Option<R> + Send,
        cache: &Arc<Cache<R>>,
        on_change: impl Fn(&Change<R>) + Send,
    ) where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
        R: Cached,
    {
        let setting = Setting { clock: self.clock.clone(), again: self.watch_again.subscribe() };
        watch::run(api, selected, convert, cache.clone(), setting, on_change).await;
    }

    /// Notices when this process did not run for a while: what the caches hold is then as old as that, and every watch begins again.
    async fn heartbeat(&self) {
        let mut last = self.clock.monotonic();
        loop {
            tokio::time::sleep(HEARTBEAT).await;
            let now = self.clock.monotonic();
            if now.duration_since(last) > LONGEST_GAP {
                tracing::warn!(
                    seconds = now.duration_since(last).as_secs(),
                    "this process did not run for a while; every watch begins again"
                );
                self.world.mark_all_failing(last);
                self.watch_again.send_modify(|count| *count += 1);
            }
            last = now;
        }
    }

    fn secret_changed(&self, change: &Change<SecretRecord>) {
        match change {
            // A list that brings what was there is no news.
            Change::Applied { now, before } if before.as_ref().is_some_and(|before| before.version() == now.version()) => {}
            Change::Applied { .. } | Change::Deleted(_) => {
                self.classes_changed.notify_one();
                self.lists_changed.notify_one();
            }
            Change::Synced => self.all_synced(),
        }
    }

    /// Somebody may have deleted or edited what is published.
    fn roots_changed(&self, change: &Change<RootsRecord>) {
        match change {
            Change::Applied { now, before } if before.as_ref().is_some_and(|before| before.version() == now.version()) => {}
            Change::Applied { .. } | Change::Deleted(_) => self.classes_changed.notify_one(),
            Change::Synced => {}
        }
    }

    fn request_changed(&self, change: &Change<AccessRequest>) {
        self.world.index_request(change);
        match change {
            Change::Applied { now: request, .. } => {
                if request.state() == RequestState::Pending || request.state().is_terminal() {
                    self.requests.add(&request.namespace().unwrap_or_default(), request.object_uid());
                }
                if request.state().is_terminal() && request.state() != RequestState::Ended {
                    self.lease_of_request(request);
                }
                // What was found against a grant while it was on its way could not end it then.
                if request.state() == RequestState::Active && self.is_condemned(request) {
                    self.lease_of_request(request);
                }
            }
            // Its place, if it has one, is given back when its lease is visible, or by who works on it.
            Change::Deleted(request) => {
                self.notes.forget_request(request.object_uid());
                self.lease_of_request(request);
            }
            Change::Synced => self.all_synced(),
        }
    }

    fn lease_of_request(&self, request: &AccessRequest) {
        if let Some(lease) = self.world.lease_of(request.object_uid()) {
            self.leases.add(&lease.spec.request_namespace, &lease.name_any());
        }
    }

    fn is_condemned(&self, request: &AccessRequest) -> bool {
        self.world.lease_of(request.object_uid()).is_some_and(|lease| self.notes.verdict(&lease.name_any()).is_some())
    }

    fn lease_changed(&self, change: &Change<CredentialLease>) {
        self.world.index_lease(change);
        match change {
            Change::Applied { now: lease, .. } => {
                self.slots.release(&lease.spec.request_uid);
                // An unanswered request of an earlier process's lease is carried on, or ended, by the request loop.
                self.leases.add(&lease.spec.request_namespace, &lease.name_any());
                if lease.state().is_some() && lease.spec.crl().is_some() {
                    self.lists_changed.notify_one();
                }
                self.count_for_its_lock(lease);
                if lease.state().is_none() && self.notes.is_due(&lease.name_any()) {
                    self.judging.add(&lease.spec.request_namespace, &lease.name_any());
                }
            }
            Change::Deleted(lease) => {
                self.locks.forget(lease);
                self.forget(lease);
            }
            Change::Synced => self.all_synced(),
        }
    }

    fn class_changed(&self, change: &Change<ClassRecord>) {
        match change {
            Change::Applied { now: class, .. } => {
                if self.notes.is_news(class.object_uid(), class.metadata.generation.unwrap_or_default()) {
                    self.rules_changed();
                }
            }
            Change::Deleted(class) => {
                self.notes.went(class.object_uid());
                self.policies.class_went(&class.key().name, self.clock.now());
                self.rules_changed();
            }
            Change::Synced => self.all_synced(),
        }
    }

    fn policy_changed(&self, change: &Change<PolicyRecord>) {
        match change {
            Change::Applied { now: policy, .. } => {
                if self.notes.is_news(policy.object_uid(), policy.metadata.generation.unwrap_or_default()) {
                    self.rules_changed();
                }
            }
            Change::Deleted(policy) => {
                self.notes.went(policy.object_uid());
                self.policies.went(policy, self.clock.now());
                self.rules_changed();
            }
            Change::Synced => self.all_synced(),
        }
    }

    /// A policy or a class is another, or went.
    fn rules_changed(&self) {
        self.policies_changed.notify_one();
        self.classes_changed.notify_one();
        self.lists_changed.notify_one();
        // Before the first full list is in, everything is about to be judged anyway.
        if self.world.unsynced().is_empty() {
            self.judge_everything();
        }
    }

    fn pod_changed(&self, change: &Change<PodRecord>) {
        let pod = match change {
            Change::Applied { now, before } if before.as_ref().is_some_and(|before| **before == **now) => return,
            Change::Applied { now: pod, .. } | Change::Deleted(pod) => pod,
            Change::Synced => return self.all_synced(),
        };
        if self.slots.any_of_pod(pod.object_uid()) {
            self.notes.judge_all_again();
        }
        for key in self.world.open_leases_of_pod(pod.object_uid()) {
            self.leases.add(&pod.key.namespace, &key.name);
            self.notes.judge_again(&key.name);
            self.judging.add(&pod.key.namespace, &key.name);
        }
    }

    fn object_changed(&self, change: &Change<ObjectRecord>, concerns: impl Fn(&CredentialLease, &ObjectRecord) -> bool) {
        let object = match change {
            Change::Applied { now, before } if before.as_ref().is_some_and(|before| !now.changed_since(before)) => return,
            Change::Applied { now: object, .. } | Change::Deleted(object) => object,
            Change::Synced => return self.all_synced(),
        };
        if self.slots.any() {
            self.notes.judge_all_again();
        }
        for lease in self.world.open_leases().iter().filter(|lease| concerns(lease, object)) {
            self.leases.add(&lease.spec.request_namespace, &lease.name_any());
            self.judge_lease(lease);
        }
    }

    /// Classes may be waiting for an account that they lend.
    fn account_changed(&self, change: &Change<ObjectRecord>) {
        self.object_changed(change, is_of);
        let (Change::Applied { now: account, .. } | Change::Deleted(account)) = change else { return };
        let lends = |token: &TokenSpec| (&token.namespace, &token.name) == (&account.key.namespace, &account.key.name);
        let classes = self.world.classes.list();
        let mut specs = classes.iter().filter_map(|record| record.class.as_ref().ok()?.spec.service_account_token.as_ref());
        if specs.any(lends) {
            self.classes_changed.notify_one();
        }
    }

    /// Once the last cache is filled, everything that is known is looked at.
    pub(super) fn all_synced(&self) {
        if !self.world.unsynced().is_empty() {
            return;
        }
        if self.world.note_synced(self.clock.now()) {
            tracing::info!(requests = self.world.requests.len(), leases = self.world.leases.len(), "everything is listed");
        }
        self.judge_everything();
        self.lists_changed.notify_one();
        self.classes_changed.notify_one();
        self.policies_changed.notify_one();
        self.locks_changed.notify_one();
        // What has been due longest ends first.
        let mut leases = self.world.leases.list();
        leases.sort_by_key(|lease| lease.spec.expires_at);
        for lease in leases {
            self.leases.add(&lease.spec.request_namespace, &lease.name_any());
        }
        self.wake_pending();
    }
}

/// The pod of the lease is on this node.
fn is_on(lease: &CredentialLease, node: &ObjectRecord) -> bool {
    lease.spec.requester.node_name == node.key.name
}

/// The request of the lease is in this namespace.
fn is_in(lease: &CredentialLease, namespace: &ObjectRecord) -> bool {
    lease.spec.request_namespace == namespace.key.name
}

/// The lease is this account's, or its token is.
fn is_of(lease: &CredentialLease, account: &ObjectRecord) -> bool {
    let account = (account.key.namespace.as_str(), account.key.name.as_str());
    let assumed = lease.spec.token.as_ref().map(|token| (token.namespace.as_str(), token.service_account.as_str()));
    lease.spec.requester.service_account() == Some(account) || assumed == Some(account)
}
