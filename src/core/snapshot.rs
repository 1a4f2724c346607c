//! Everything that a decision may look at, gathered before it. Time, CEL verdicts and counts enter as values.
//!
//! Filled by the shell (`cluster`, `controller`), by policy tests and by `daypass explain`; read by [`mod@super::decide`]. Holds no logic.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::images::Images;
use crate::api::{
    AccessRequestSpec, CredentialClassSpec,
    lock::{LockMatch, LockSource},
    policy::{Effect, Limits, PolicyTtl, Requirement},
    request::Revocation,
};

/// The world as one decision sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// The moment of the decision.
    pub now: Timestamp,
    /// The ask.
    pub request: RequestFacts,
    /// Namespace that the operator runs in: requests from it are denied.
    pub operator_namespace: String,
    /// Whether the API server provably stamps and verifies requesters.
    pub guard: GuardFacts,
    /// The class that is asked for.
    pub class: ClassFacts,
    /// The request's namespace, if it is known.
    pub namespace: Option<NamespaceFacts>,
    /// What a live read said of the pod that the requester names.
    pub pod: PodFacts,
    /// What of the requester is certainly gone beside its pod, for people: its service account, its node.
    pub requester_gone: Option<String>,
    /// Every lock that there is, over or not and in any order.
    pub locks: Vec<LockFacts>,
    /// Why the CSR cannot be used; `None` if it can, or if there is none.
    pub csr_problem: Option<String>,
    /// Why the credential cannot be sealed to the key of the request; `None` if it can, or if there is none.
    pub seal_problem: Option<String>,
    /// Every policy that exists, of both kinds and in any order.
    pub policies: Vec<PolicyFacts>,
}

/// The ask.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestFacts {
    /// Namespace of the request.
    pub namespace: String,
    /// Name of the request.
    pub name: String,
    /// UID of the request.
    pub uid: String,
    /// When the API server stored it.
    pub created: Timestamp,
    /// `metadata.generation`: anything but 1 means that its spec was edited behind the guard's back.
    pub generation: i64,
    /// Its immutable spec.
    pub spec: AccessRequestSpec,
}

/// Whether the admission guard is in force.
#[derive(Clone, Debug, PartialEq)]
pub enum GuardFacts {
    /// In force without a gap since this instant (of the API server's clock).
    InForce {
        /// Requests created less than 2 s after this are not trusted.
        since: Timestamp,
    },
    /// Known to be missing, weakened or changed.
    NotInForce {
        /// What is wrong, for people.
        reason: String,
    },
    /// Not known right now: wait, do not deny.
    Unknown {
        /// What is missing, for people.
        reason: String,
    },
}

/// The class that is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum ClassFacts {
    /// No such class in a synced cache.
    Absent,
    /// It exists, and nobody has judged it yet.
    Unjudged,
    /// It cannot issue.
    NotReady {
        /// One word.
        reason: String,
        /// A sentence for people.
        message: String,
    },
    /// It can issue.
    Ready {
        /// Its spec.
        spec: Box<CredentialClassSpec>,
        /// No credential of it may live past this instant: the end of its certificate authority; tokens have none.
        not_after: Timestamp,
        /// How its credentials can be taken back, as it is set up now.
        revocation: Revocation,
    },
}

/// A namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NamespaceFacts {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// It is being deleted.
    pub terminating: bool,
}

/// A pod, from a live read.
#[derive(Clone, Debug, PartialEq)]
pub enum PodFacts {
    /// There is no pod of that name.
    Absent,
    /// There is one.
    Present(Box<Pod>),
}

/// What a decision needs of a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pod {
    /// Its UID.
    pub uid: String,
    /// Its service account.
    pub service_account: String,
    /// Its node; empty if it has none.
    pub node_name: String,
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: String,
    /// When it is to be gone, if it is being deleted.
    pub deletion: Option<Timestamp>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Root owner as found, for instance Deployment/orders.
    pub workload: String,
    /// Everything that names an image in it.
    pub images: Images,
}

/// A lock.
#[derive(Clone, Debug, PartialEq)]
pub struct LockFacts {
    /// Its name.
    pub name: String,
    /// UID of the object.
    pub uid: String,
    /// Why it cannot be read by this version.
    pub broken: Option<String>,
    /// What it locks.
    pub matches: LockMatch,
    /// Why.
    pub reason: String,
    /// From here on it locks nothing.
    pub expires_at: Timestamp,
    /// Who noticed.
    pub source: LockSource,
    /// Who placed it.
    pub by: String,
}

/// Which policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId {
    /// The namespace of an AccessPolicy; `None` for a ClusterAccessPolicy.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl PolicyId {
    /// Reads what `Display` writes, as it stands in leases and status.
    pub fn read(text: &str) -> Option<Self> {
        match text.split('/').collect::<Vec<_>>()[..] {
            ["ClusterAccessPolicy", name] => Some(Self { namespace: None, name: name.to_owned() }),
            ["AccessPolicy", namespace, name] => Some(Self { namespace: Some(namespace.to_owned()), name: name.to_owned() }),
            _ => None,
        }
    }
}

impl std::fmt::Display for PolicyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "AccessPolicy/{namespace}/{}", self.name),
            None => write!(f, "ClusterAccessPolicy/{}", self.name),
        }
    }
}

/// One policy, both kinds in one shape, with the verdicts of its expressions about this request.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyFacts {
    /// Which.
    pub id: PolicyId,
    /// UID of the object.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// SHA-256 of its spec in lower-case hex.
    pub hash: String,
    /// Why it is broken: a spec or an expression that does not compile.
    pub broken: Option<String>,
    /// Permit or Forbid.
    pub effect: Effect,
    /// Whom it speaks of, any of these.
    pub subjects: Vec<SubjectFacts>,
    /// Class names, or `*`.
    pub classes: Vec<String>,
    /// Verdict of `when`; `None` if the policy has none, or if it was not asked because nothing else matched.
    pub when: Option<Tri>,
    /// Whether the policy has a `when` at all.
    pub has_when: bool,
    /// Each `require` with its verdict (`None`: not asked because nothing else matched).
    pub require: Vec<(Requirement, Option<Tri>)>,
    /// Its lifetimes.
    pub ttl: Option<PolicyTtl>,
    /// Its limits.
    pub limits: Option<Limits>,
    /// Seconds within which a credential must be taken back.
    pub revocation_at_most: Option<i64>,
    /// It applies to nothing from here on.
    pub expires_at: Option<Timestamp>,
    /// Live leases counted under this policy for the request's namespace and service-account name (in flight ones included).
    pub live: u64,
    /// Those of them that the request's own pod holds.
    pub live_of_pod: u64,
}

/// Whom a policy speaks of; parts that are `None` match everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SubjectFacts {
    /// Namespace names or `*`; an AccessPolicy has exactly its own here.
    pub namespaces: Option<Vec<String>>,
    /// Labels of the namespace.
    pub namespace_labels: Option<BTreeMap<String, String>>,
    /// Service account names or `*`.
    pub service_accounts: Vec<String>,
    /// Labels of the pod.
    pub pod_labels: Option<BTreeMap<String, String>>,
}

/// What a CEL expression said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tri {
    /// It is true.
    True,
    /// It is false.
    False,
    /// It failed, was no boolean, or came too late.
    Error(String),
}

/// How old facts may be at most when they decide.
pub const MAX_AGE_OF_FACTS: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_back_from_how_it_is_written() {
        for text in ["ClusterAccessPolicy/orders", "AccessPolicy/shop/orders"] {
            assert_eq!(PolicyId::read(text).map(|id| id.to_string()).as_deref(), Some(text));
        }
        for text in ["", "orders", "AccessPolicy/orders", "ClusterAccessPolicy/shop/orders", "AccessPolicy/a/b/c"] {
            assert_eq!(PolicyId::read(text), None, "{text}");
        }
    }
}
