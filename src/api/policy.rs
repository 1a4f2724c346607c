//! ClusterAccessPolicy and AccessPolicy: who may have which classes, and when.

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, Ttl, class::LabelSelector};

/// Who may have which classes in any namespace, or who must not.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "daypass.dev",
    version = "v1alpha1",
    kind = "ClusterAccessPolicy",
    plural = "clusteraccesspolicies",
    shortname = "dpcpol",
    category = "daypass",
    derive = "PartialEq",
    doc = "Who may have which classes, in any namespace; or, with effect Forbid, who must not.",
    status = "PolicyStatus",
    printcolumn(name = "Effect", type_ = "string", json_path = ".spec.effect"),
    printcolumn(name = "Classes", type_ = "string", json_path = ".spec.classes"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Live", type_ = "integer", json_path = ".status.live"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = Rule::new("self.effect == 'Permit' || !(has(self.require) || has(self.ttl) || has(self.limits) || has(self.revocation))").message("require, ttl, limits and revocation belong to effect Permit"))]
#[serde(rename_all = "camelCase")]
pub struct ClusterAccessPolicySpec {
    /// Permit hands out; Forbid refuses whatever any Permit says.
    #[serde(default)]
    pub effect: Effect,
    /// Whom this speaks of: any of these, and within one of them every part.
    #[schemars(length(min = 1, max = 16))]
    pub subjects: Vec<ClusterSubject>,
    /// Names of classes; `["*"]` says every one, aloud.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    pub classes: Vec<String>,
    /// CEL condition, part of whether the policy applies. Sees request, pod, node, namespace, serviceAccount, task and now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub when: Option<String>,
    /// Conditions that must all be true, or the request is denied with the message. Permit only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub require: Option<Vec<Requirement>>,
    /// Lifetimes; they can only reduce what the class allows. Permit only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<PolicyTtl>,
    /// How many credentials at once. Permit only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// How fast a credential must be taken back at the latest. Permit only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation: Option<RevocationDemand>,
    /// From here on the policy applies to nothing: exceptions end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// Who may have which classes in this policy's own namespace. Only for classes that are delegated to the namespace.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "daypass.dev",
    version = "v1alpha1",
    kind = "AccessPolicy",
    plural = "accesspolicies",
    shortname = "dppol",
    category = "daypass",
    namespaced,
    derive = "PartialEq",
    doc = "Who may have which classes in this namespace; only for classes whose delegateTo names the namespace.",
    status = "PolicyStatus",
    printcolumn(name = "Effect", type_ = "string", json_path = ".spec.effect"),
    printcolumn(name = "Classes", type_ = "string", json_path = ".spec.classes"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Live", type_ = "integer", json_path = ".status.live"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = Rule::new("self.effect == 'Permit' || !(has(self.require) || has(self.ttl) || has(self.limits) || has(self.revocation))").message("require, ttl, limits and revocation belong to effect Permit"))]
#[serde(rename_all = "camelCase")]
pub struct AccessPolicySpec {
    /// Permit hands out; Forbid refuses whatever any Permit says, in this namespace.
    #[serde(default)]
    pub effect: Effect,
    /// Whom this speaks of: any of these, and within one of them every part.
    #[schemars(length(min = 1, max = 16))]
    pub subjects: Vec<Subject>,
    /// Names of classes; `["*"]` says every one that is delegated to this namespace, aloud.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    pub classes: Vec<String>,
    /// CEL condition, part of whether the policy applies. Sees request, pod, node, namespace, serviceAccount, task and now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub when: Option<String>,
    /// Conditions that must all be true, or the request is denied with the message. Permit only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub require: Option<Vec<Requirement>>,
    /// Lifetimes; they can only reduce what the class allows. Permit only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<PolicyTtl>,
    /// How many credentials at once. Permit only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// How fast a credential must be taken back at the latest. Permit only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation: Option<RevocationDemand>,
    /// From here on the policy applies to nothing: exceptions end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// What a policy does where it applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Effect {
    /// Hands out.
    #[default]
    Permit,
    /// Refuses, whatever any Permit says.
    Forbid,
}

/// Workloads of any namespace: every part that is given must match.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.namespaces) != has(self.namespaceSelector)").message("give exactly one of namespaces and namespaceSelector"))]
#[serde(rename_all = "camelCase")]
pub struct ClusterSubject {
    /// Names of namespaces; `["*"]` says every one, aloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub namespaces: Option<Vec<String>>,
    /// Labels of namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Names of service accounts; `["*"]` says every one, aloud.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    pub service_account_names: Vec<String>,
    /// Labels of the pod. Whoever creates pods chooses them: they select, they do not protect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
}

/// Workloads of the policy's own namespace: every part that is given must match.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// Names of service accounts; `["*"]` says every one, aloud.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    pub service_account_names: Vec<String>,
    /// Labels of the pod. Whoever creates pods chooses them: they select, they do not protect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
}

/// A hard fact that must hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Requirement {
    /// Name of the gate, for messages.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?$"))]
    pub name: String,
    /// CEL condition; anything but true denies.
    #[schemars(length(min = 1, max = 1024))]
    pub expression: String,
    /// What the requester is told, best with the way to satisfy it.
    #[schemars(length(min = 1, max = 256))]
    pub message: String,
}

/// Lifetimes of a policy.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("!has(self.default) || !has(self.max) || duration(self.default) <= duration(self.max)").message("ttl.default must not be longer than ttl.max"))]
#[serde(rename_all = "camelCase")]
pub struct PolicyTtl {
    /// Lifetime when the request names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Ttl>,
    /// Longest lifetime under this policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Ttl>,
}

/// How many credentials at once, counted for each policy, namespace and service account name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Live credentials of one service account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100000))]
    pub live: Option<i64>,
    /// Live credentials of one pod of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub live_per_pod: Option<i64>,
}

/// How fast a credential must be taken back at the latest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevocationDemand {
    /// Only for classes whose `status.revocation.boundSeconds` is at most this. A class that is ExpiryOnly counts with its longest life.
    #[schemars(range(min = 1, max = 86400))]
    pub at_most_seconds: i64,
}

/// What the operator found out about the policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`; beside it `Reconciling` while something may still come, `Stalled` when only an edit helps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Leases counted under this policy that are not closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub live: Option<i64>,
    /// Broader policies that hand out without conditions what this one hands out with conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 540)))]
    pub shadowed_by: Vec<String>,
}
