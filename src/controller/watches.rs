//! Feeds the caches from watches, and tells the loops what each change may concern.

use std::sync::Arc;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Secret, ServiceAccount};
use kube::{Api, Client, ResourceExt, runtime::watcher::Config};

use super::Operator;
use crate::{
    api::{AccessPolicy, AccessRequest, ClusterAccessPolicy, CredentialClass, CredentialLease, RequestState},
    cluster::{
        cache::{Cached, Change},
        lenient::Lenient,
        records::{ClassRecord, ObjectRecord, PodRecord, PolicyRecord, SecretRecord, prune_lease, prune_request},
        watch,
    },
    core::decide::DELETED_POLICY_GRACE,
};

impl Operator {
    /// Runs every watch until the process ends.
    pub async fn watch_everything(self: Arc<Self>, client: Client) {
        let (world, clock, config) = (&self.world, || self.clock.clone(), Config::default);
        let home = &self.settings.namespace;
        tokio::join!(
            watch::run(Api::all(client.clone()), config(), prune_request, world.requests.clone(), clock(), |c| self.request_changed(c)),
            watch::run(Api::namespaced(client.clone(), home), config(), prune_lease, world.leases.clone(), clock(), |c| self
                .lease_changed(c)),
            watch::run(
                Api::<Lenient<CredentialClass>>::all(client.clone()),
                config(),
                ClassRecord::of,
                world.classes.clone(),
                clock(),
                |c| {
                    self.class_changed(c);
                }
            ),
            watch::run(
                Api::<Lenient<ClusterAccessPolicy>>::all(client.clone()),
                config(),
                PolicyRecord::cluster,
                world.cluster_policies.clone(),
                clock(),
                |c| self.policy_changed(c)
            ),
            watch::run(
                Api::<Lenient<AccessPolicy>>::all(client.clone()),
                config(),
                PolicyRecord::namespaced,
                world.policies.clone(),
                clock(),
                |c| {
                    self.policy_changed(c);
                }
            ),
            watch::run(
                Api::<Pod>::all(client.clone()),
                config(),
                |pod| PodRecord::of(&pod),
                world.pods.clone(),
                clock(),
                |c| self.pod_changed(c)
            ),
            watch::run(Api::<Node>::all(client.clone()), config(), ObjectRecord::node, world.nodes.clone(), clock(), |c| self
                .node_changed(c)),
            watch::run(Api::<Namespace>::all(client.clone()), config(), ObjectRecord::namespace, world.namespaces.clone(), clock(), |c| {
                self.namespace_changed(c);
            }),
            watch::run(
                Api::<ServiceAccount>::all(client.clone()),
                config(),
                ObjectRecord::service_account,
                world.service_accounts.clone(),
                clock(),
                |c| {
                    self.account_changed(c);
                }
            ),
            watch::run(Api::<Secret>::namespaced(client.clone(), home), config(), SecretRecord::of, world.secrets.clone(), clock(), |_| {
                self.classes_changed.notify_one();
            }),
        );
    }

    fn request_changed(&self, change: &Change<AccessRequest>) {
        self.world.index_request(change);
        match change {
            Change::Applied(request) => {
                if request.state() == RequestState::Pending || request.state().is_terminal() {
                    self.requests.add(&request.namespace().unwrap_or_default(), request.object_uid());
                } else {
                    self.slots.release(request.object_uid());
                }
                if request.state().is_terminal() && request.state() != RequestState::Ended {
                    self.lease_of_request(request);
                }
            }
            Change::Deleted(request) => {
                self.slots.release(request.object_uid());
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

    fn lease_changed(&self, change: &Change<CredentialLease>) {
        self.world.index_lease(change);
        match change {
            Change::Applied(lease) => {
                self.slots.release(&lease.spec.request_uid);
                // An unanswered request of an earlier process's lease is carried on, or ended, by the request loop.
                self.leases.add(&lease.spec.request_namespace, &lease.name_any());
            }
            Change::Deleted(lease) => self.forget(lease),
            Change::Synced => self.all_synced(),
        }
    }

    fn class_changed(&self, change: &Change<ClassRecord>) {
        self.classes_changed.notify_one();
        match change {
            Change::Applied(class) => {
                if self.notes.is_news(class.object_uid(), class.metadata.generation.unwrap_or_default()) {
                    self.policies_changed.notify_one();
                    self.judge_leases_again(false);
                }
            }
            Change::Deleted(class) => {
                self.notes.went(class.object_uid());
                self.policies.class_went(&class.key().name, self.clock.now());
                self.policies_changed.notify_one();
                self.judge_leases_again(true);
            }
            Change::Synced => self.all_synced(),
        }
    }

    fn policy_changed(&self, change: &Change<PolicyRecord>) {
        match change {
            Change::Applied(policy) => {
                if self.notes.is_news(policy.object_uid(), policy.metadata.generation.unwrap_or_default()) {
                    self.policies_changed.notify_one();
                    self.judge_leases_again(false);
                }
            }
            Change::Deleted(policy) => {
                self.notes.went(policy.object_uid());
                self.policies.went(policy, self.clock.now());
                self.policies_changed.notify_one();
                self.judge_leases_again(true);
            }
            Change::Synced => self.all_synced(),
        }
    }

    /// Judges every open lease again, now and, after a deletion, once its grace is over.
    fn judge_leases_again(&self, after_grace_too: bool) {
        // Before the first full list is in, everything is about to be judged anyway.
        if !self.world.unsynced().is_empty() {
            return;
        }
        self.notes.judge_all_again();
        let after_grace = self.clock.now() + DELETED_POLICY_GRACE + SignedDuration::from_millis(100);
        for lease in self.world.open_leases() {
            let (lane, name) = (&lease.spec.request_namespace, lease.name_any());
            self.leases.add(lane, &name);
            if after_grace_too {
                self.leases.add_at(lane, &name, after_grace);
            }
        }
    }

    fn pod_changed(&self, change: &Change<PodRecord>) {
        match change {
            Change::Applied(pod) | Change::Deleted(pod) => {
                for key in self.world.open_leases_of_pod(pod.object_uid()) {
                    self.notes.judge_again(&key.name);
                    self.leases.add(&pod.key.namespace, &key.name);
                }
            }
            Change::Synced => self.all_synced(),
        }
    }

    fn node_changed(&self, change: &Change<ObjectRecord>) {
        self.object_changed(change, |lease, node| lease.spec.requester.node_name == node.key.name);
    }

    fn namespace_changed(&self, change: &Change<ObjectRecord>) {
        self.object_changed(change, |lease, namespace| lease.spec.request_namespace == namespace.key.name);
    }

    fn account_changed(&self, change: &Change<ObjectRecord>) {
        self.object_changed(change, |lease, account| {
            lease.spec.requester.service_account() == Some((account.key.namespace.as_str(), account.key.name.as_str()))
        });
    }

    fn object_changed(&self, change: &Change<ObjectRecord>, concerns: impl Fn(&CredentialLease, &ObjectRecord) -> bool) {
        let object = match change {
            Change::Applied(object) | Change::Deleted(object) => object,
            Change::Synced => return self.all_synced(),
        };
        for lease in self.world.open_leases() {
            if concerns(&lease, object) {
                self.notes.judge_again(&lease.name_any());
                self.leases.add(&lease.spec.request_namespace, &lease.name_any());
            }
        }
    }

    /// Once the last cache is filled, everything that is known is looked at.
    fn all_synced(&self) {
        if !self.world.unsynced().is_empty() {
            return;
        }
        if self.world.note_synced(self.clock.now()) {
            tracing::info!(requests = self.world.requests.len(), leases = self.world.leases.len(), "everything is listed");
        }
        self.notes.judge_all_again();
        self.classes_changed.notify_one();
        self.policies_changed.notify_one();
        for lease in self.world.leases.list() {
            self.leases.add(&lease.spec.request_namespace, &lease.name_any());
        }
        self.wake_pending();
    }
}
