//! AccessLock: a ban with an end. Whatever fits it is given nothing, and what is live ends.

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Condition;

/// A ban with an end: nothing that fits it is given anything until then, and what is live of it is taken back at once.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "daypass.dev",
    version = "v1alpha1",
    kind = "AccessLock",
    plural = "accesslocks",
    shortname = "dplock",
    category = "daypass",
    derive = "PartialEq",
    doc = "A ban with an end: what fits it is given nothing until then, and what is live of it is taken back at once. Delete it to lift it.",
    status = "AccessLockStatus",
    printcolumn(name = "Match", type_ = "string", json_path = ".spec.match"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Revoked", type_ = "integer", json_path = ".status.revoked"),
    printcolumn(name = "Dead", type_ = "integer", json_path = ".status.provenDead"),
    printcolumn(name = "Waiting", type_ = "integer", json_path = ".status.waiting"),
    printcolumn(name = "Until", type_ = "string", json_path = ".spec.expiresAt"),
    printcolumn(name = "By", type_ = "string", json_path = ".spec.by"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = Rule::new("self.match == oldSelf.match && self.reason == oldSelf.reason && self.source == oldSelf.source && self.by == oldSelf.by").message("a lock is written once; only expiresAt may change: to lock something else, place another lock, then delete this one"))]
#[x_kube(validation = Rule::new("self.source == 'Person' || self.expiresAt == oldSelf.expiresAt").message("what the engine locked keeps its end: delete the lock to lift it, or place one of your own to prolong it"))]
#[serde(rename_all = "camelCase")]
pub struct AccessLockSpec {
    /// What is locked: everything that fits all that is given here.
    #[serde(rename = "match")]
    pub matches: LockMatch,
    /// Why. Whoever is refused or loses something because of this lock is told.
    #[schemars(length(min = 1, max = 256))]
    pub reason: String,
    /// From here on the lock locks nothing. A person may move this of a lock that a person has placed.
    pub expires_at: Timestamp,
    /// Who noticed: a person, or the operator by itself.
    #[serde(default)]
    pub source: LockSource,
    /// Who placed it; stamped by the API server.
    #[schemars(length(min = 1, max = 512))]
    pub by: String,
}

/// What a lock locks. Of the parts that are given each must fit; of the items of one part any.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.namespaces) || has(self.serviceAccountNames) || has(self.podUIDs) || has(self.nodes) || has(self.images) || has(self.classes) || (has(self.everything) && self.everything)").message("say what is locked: at least one of namespaces, serviceAccountNames, podUIDs, nodes, images and classes; or, aloud, everything: true"))]
#[x_kube(validation = Rule::new("!has(self.everything) || !self.everything || !(has(self.namespaces) || has(self.serviceAccountNames) || has(self.podUIDs) || has(self.nodes) || has(self.images) || has(self.classes))").message("everything stands alone: leave it out, or leave out all other parts"))]
#[serde(rename_all = "camelCase")]
pub struct LockMatch {
    /// Namespaces that ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")), extend("x-kubernetes-list-type" = "set"))]
    pub namespaces: Option<Vec<String>>,
    /// Names of service accounts that ask, in every namespace or in those that are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")), extend("x-kubernetes-list-type" = "set"))]
    pub service_account_names: Option<Vec<String>>,
    /// UIDs of pods that ask: a later pod of the same name is another.
    #[serde(default, rename = "podUIDs", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 128), regex(pattern = r"^[-A-Za-z0-9]+$")), extend("x-kubernetes-list-type" = "set"))]
    pub pod_uids: Option<Vec<String>>,
    /// Names of nodes whose pods ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")), extend("x-kubernetes-list-type" = "set"))]
    pub nodes: Option<Vec<String>>,
    /// Images of any container of the pod that asks, as its manifest or its kubelet says: `repository`, `repository:tag`,
    /// `repository@sha256:…` or `sha256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 512), regex(pattern = r"^[A-Za-z0-9][-A-Za-z0-9._:/@]*$")), extend("x-kubernetes-list-type" = "set"))]
    pub images: Option<Vec<String>>,
    /// Names of the classes that are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")), extend("x-kubernetes-list-type" = "set"))]
    pub classes: Option<Vec<String>>,
    /// `true`: every request and every grant of the cluster, said aloud. Nothing else may be given beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub everything: Option<bool>,
}

/// Who noticed that something has to be locked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum LockSource {
    /// A person.
    #[default]
    Person,
    /// The operator, because of how somebody asks. It places a lock and never lifts one.
    Engine,
}

/// Whether a lock locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum LockState {
    /// It does.
    Active,
    /// Its `expiresAt` has passed.
    Ended,
}

/// What came of the lock. Written by the operator only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessLockStatus {
    /// `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Whether it locks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<LockState>,
    /// Grants that it met alive: those that it ended, and those that it is about to end. Like the other counts of what is over it keeps
    /// those whose leases were forgotten since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub matched: Option<i64>,
    /// Grants that it ended, dead or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub revoked: Option<i64>,
    /// Of these: those whose credential is proven dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub proven_dead: Option<i64>,
    /// Grants that it met and that are not proven dead yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub waiting: Option<i64>,
    /// When the last of those that are waited for is dead of its own age, however little can be done about it. Absent when none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_by: Option<Timestamp>,
    /// `Ready` once everything that it ended is proven dead, `Reconciling` until then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl AccessLock {
    /// It locks at this moment.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        now < self.spec.expires_at
    }
}
