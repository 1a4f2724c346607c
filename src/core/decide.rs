//! From a snapshot to a decision.

use jiff::Timestamp;

use super::{
    decision::{Decision, Reconsideration, Verdict},
    snapshot::Snapshot,
};
use crate::api::CredentialLeaseSpec;

/// Decides about a new request.
pub fn decide(_snapshot: &Snapshot) -> Decision {
    Decision { verdict: Verdict::Wait(String::new()), considered: vec![] }
}

/// Judges a live grant again.
pub fn reconsider(_snapshot: &Snapshot, lease: &CredentialLeaseSpec, _policy_gone_since: Option<Timestamp>) -> Reconsideration {
    Reconsideration::Undecided(lease.request_name.clone())
}
