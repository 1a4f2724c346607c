//! What a decision says. Shapes only.

use std::time::Duration;

use jiff::Timestamp;

use super::snapshot::PolicyId;
use crate::api::{DenialReason, EndReason, class::CredentialClassSpec, request::Revocation};

/// The answer to a request, with everything that led to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The answer.
    pub verdict: Verdict,
    /// Every policy that was looked at, in the order of their ids, and what came of it.
    pub considered: Vec<Considered>,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Issue this.
    Allow(Grant),
    /// Refuse.
    Deny(Denial),
    /// Not answerable yet: ask again when something changes. Never written to status.
    Wait(String),
}

/// What may be issued.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    /// The policy that it is counted under.
    pub policy: PolicyId,
    /// UID of that policy.
    pub policy_uid: String,
    /// Its generation.
    pub policy_generation: i64,
    /// Hash of its spec.
    pub policy_hash: String,
    /// Granted lifetime, in whole seconds, at least one.
    pub ttl: Duration,
    /// What was asked for or the default, before anything cut it.
    pub asked: Duration,
    /// What cut it, for people; empty if nothing did.
    pub cut_by: Option<String>,
    /// The class as it stood.
    pub class: Box<CredentialClassSpec>,
    /// No credential may live past this.
    pub not_after: Timestamp,
    /// How it can be taken back.
    pub revocation: Revocation,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq)]
pub struct Denial {
    /// Why.
    pub reason: DenialReason,
    /// What the requester and its neighbours may read: why and what to do, no thresholds, nothing of other namespaces.
    pub message: String,
    /// Ask again after this; only for reasons that time may cure.
    pub retry_after: Option<Duration>,
    /// The policy that refused, if one did.
    pub policy: Option<PolicyId>,
    /// Name of the lock that refused, if one did.
    pub lock: Option<String>,
}

/// One policy and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Considered {
    /// Which.
    pub policy: PolicyId,
    /// Whether it applied, and which part decided.
    pub result: Consideration,
}

/// What came of looking at one policy.
#[derive(Clone, Debug, PartialEq)]
pub enum Consideration {
    /// It does not apply; the part that did not match, for instance `classes [orders-ro] do not include orders-db`.
    DoesNotApply(String),
    /// A Permit that applies and would grant this long.
    Permits {
        /// Lifetime that it would give.
        ttl: Duration,
    },
    /// A Permit that applies and refuses, or a Forbid that applies.
    Refuses {
        /// Why.
        reason: DenialReason,
        /// What in it refused.
        detail: String,
    },
}

/// What becomes of a live grant when it is judged again.
#[derive(Clone, Debug, PartialEq)]
pub enum Reconsideration {
    /// It goes on under this policy until this instant (never later than before).
    Keep {
        /// The policy that it is counted under from now on.
        policy: PolicyId,
        /// UID of that policy.
        policy_uid: String,
        /// Its generation.
        policy_generation: i64,
        /// Hash of its spec.
        policy_hash: String,
        /// When it ends.
        expires_at: Timestamp,
    },
    /// It ends.
    End {
        /// Why.
        reason: EndReason,
        /// A sentence that the requester may read.
        message: String,
        /// Which policy and which part of it, for the decision log; not for status.
        detail: String,
    },
    /// No definite result (an error, a late answer, a broken or vanished policy inside its grace): try again later, change nothing.
    Undecided(String),
}
