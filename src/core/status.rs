//! The status of a request as a projection of what was decided and of what the ledger says. Pure: dates and ids come in as values.
//!
//! Every function keeps what is already there and moves the state only forwards; `controller` writes the result.

use jiff::{SignedDuration, Timestamp};

use super::{
    decide::BACKDATE,
    decision::{Denial, Grant},
    revocation,
};
use crate::api::{
    AccessRequest, Condition, CredentialLease, Delivery, EndReason, FailureReason, Proof, RequestState, Ttl,
    condition::{self, ConditionStatus, truncate},
    lease::LeaseState,
    request::{AccessRequestStatus, CredentialStatus, DecisionStatus, EndedStatus, Outcome},
    sealed::SealedCredential,
};

/// The moment and the id of what is being written down.
#[derive(Clone, Debug)]
pub struct Stamp {
    /// When.
    pub time: Timestamp,
    /// Id in the decision log.
    pub id: String,
}

/// What of a credential its status shows, beside what the lease says of it.
#[derive(Clone, Debug, Default)]
pub struct Handed {
    /// Certificate chain, for delivery CSR.
    pub certificate: Option<String>,
    /// Roots that verifiers trust, for a certificate.
    pub ca_bundle: String,
    /// The sealed token, for delivery Sealed.
    pub sealed: Option<SealedCredential>,
    /// Id of the token, `JTI=` and a UUID.
    pub token_id: Option<String>,
}

/// Refused.
pub fn denied(request: &AccessRequest, workload: &str, denial: &Denial, stamp: &Stamp) -> AccessRequestStatus {
    let mut status = start(request, workload);
    status.state = RequestState::Denied;
    status.reason = Some(denial.reason.to_string());
    status.decision = Some(DecisionStatus {
        outcome: Outcome::Deny,
        reason: denial.reason.to_string(),
        message: truncate(&denial.message, 1024),
        retry_after: denial.retry_after.map(|d| Ttl::from_secs(d.as_secs().max(1))),
        policy: denial.policy.as_ref().map(ToString::to_string),
        id: stamp.id.clone(),
        time: stamp.time,
    });
    set(request, &mut status, "Decided", ConditionStatus::True, denial.reason.as_str(), &denial.message, stamp.time);
    set(request, &mut status, "Ready", ConditionStatus::False, denial.reason.as_str(), &denial.message, stamp.time);
    status
}

/// Not answered on its merits, and never will be.
pub fn failed(request: &AccessRequest, reason: FailureReason, message: &str, time: Timestamp) -> AccessRequestStatus {
    let mut status = start(request, "");
    status.state = RequestState::Failed;
    status.reason = Some(reason.to_string());
    set(request, &mut status, "Decided", ConditionStatus::True, reason.as_str(), message, time);
    set(request, &mut status, "Ready", ConditionStatus::False, reason.as_str(), message, time);
    status
}

/// Granted: the credential is released by writing this.
pub fn active(request: &AccessRequest, lease: &CredentialLease, grant: &Grant, handed: Handed, stamp: &Stamp) -> AccessRequestStatus {
    let spec = &lease.spec;
    let mut status = start(request, &spec.workload);
    let granted = spec.expires_at.duration_since(spec.not_before + BACKDATE).as_secs();
    let message = match &grant.cut_by {
        Some(by) => format!("granted for {granted}s of the {}s asked: cut by {by}", grant.asked.as_secs()),
        None => format!("granted for {granted}s"),
    };
    status.state = RequestState::Active;
    status.reason = Some("Permitted".into());
    status.decision = Some(DecisionStatus {
        outcome: Outcome::Allow,
        reason: "Permitted".into(),
        message: message.clone(),
        retry_after: None,
        policy: Some(spec.policy.name.clone()),
        id: spec.decision_id.clone(),
        time: stamp.time,
    });
    status.credential = Some(CredentialStatus {
        delivery: spec.delivery,
        secret_name: spec.secret.as_ref().map(|s| s.name.clone()),
        certificate: handed.certificate,
        sealed: handed.sealed,
        ca_bundle: handed.ca_bundle,
        not_before: spec.not_before,
        expires_at: spec.expires_at,
        serial: spec.serial().map(str::to_owned),
        token_id: handed.token_id,
        revocation: revocation::of_lease(spec),
    });
    let place = match (&spec.secret, spec.delivery) {
        (Some(secret), Delivery::Secret) => format!("the credential is in Secret {}", secret.name),
        (_, Delivery::Sealed) => "the credential is sealed in status.credential.sealed".to_owned(),
        _ => "the certificate is in status.credential.certificate".to_owned(),
    };
    set(request, &mut status, "Decided", ConditionStatus::True, "Permitted", &message, stamp.time);
    set(request, &mut status, "Ready", ConditionStatus::True, "Issued", &format!("{place}, valid until {}", spec.expires_at), stamp.time);
    status
}

/// What the request holds, or held, came from this lease: attempts differ in the id of their decision.
pub fn serves(request: &AccessRequest, lease: &CredentialLease) -> bool {
    let decision = request.status.as_ref().and_then(|status| status.decision.as_ref());
    decision.is_some_and(|decision| decision.outcome == Outcome::Allow && decision.id == lease.spec.decision_id)
}

/// What the ledger says of a request that was granted; `None` when its status says so already.
pub fn of_lease(request: &AccessRequest, lease: &CredentialLease, now: Timestamp) -> Option<AccessRequestStatus> {
    let held = request.state();
    let lease_status = lease.status.clone().unwrap_or_default();
    let reason = lease_status.reason.unwrap_or(EndReason::Expired);
    let ended_time = lease_status.ended_time.unwrap_or(now);
    let cause = lease_status.message.unwrap_or_default();
    match (lease_status.state?, held) {
        (LeaseState::Revoking, RequestState::Active) => {
            let message = match &lease.spec.token {
                Some(token) if token.revocable => {
                    format!("{cause}; the token is taken back, and API servers may accept it a few seconds longer")
                }
                Some(_) => format!(
                    "{cause}; the token cannot be taken back: who checks its signature alone accepts it until {}",
                    lease.spec.not_after()
                ),
                None if lease.spec.crl().is_some() => format!(
                    "{cause}; not on the published revocation list yet: verifiers that do not find it there accept it until {}",
                    lease.spec.not_after()
                ),
                None => format!("{cause}; the certificate cannot be taken back: verifiers accept it until {}", lease.spec.not_after()),
            };
            let mut status = start(request, "");
            status.state = RequestState::Revoking;
            status.reason = Some(reason.to_string());
            status.ended = Some(EndedStatus {
                reason,
                time: ended_time,
                verified_time: None,
                seconds_to_dead: None,
                proof: None,
                message: truncate(&message, 512),
            });
            set(request, &mut status, "Ready", ConditionStatus::False, reason.as_str(), &message, now);
            Some(status)
        }
        (LeaseState::Closed, RequestState::Active | RequestState::Revoking) => {
            let closed = lease_status.closed_time.unwrap_or(now);
            let mut status = start(request, "");
            status.state = RequestState::Ended;
            status.reason = Some(reason.to_string());
            let to_dead = seconds_rounded_up(closed.duration_since(ended_time));
            let proof = lease_status.proof.map(|p| p.to_string()).unwrap_or_default();
            let message = match (lease.spec.crl(), lease_status.proof) {
                (Some(crl), Some(Proof::CRLPublished)) => format!(
                    "{cause}; on the published revocation list since {closed} ({proof}); verifiers that check it refuse it within {}s of its end",
                    crl.bound_seconds
                ),
                _ => format!("{cause}; refused since {closed} ({proof})"),
            };
            status.ended = Some(EndedStatus {
                reason,
                time: ended_time,
                verified_time: Some(closed),
                seconds_to_dead: Some(to_dead),
                proof: lease_status.proof,
                message: truncate(&message, 512),
            });
            status.conditions.retain(|c| c.type_ != "Ready");
            set(request, &mut status, "Ended", ConditionStatus::True, reason.as_str(), &message, now);
            Some(status)
        }
        _ => None,
    }
}

fn seconds_rounded_up(duration: SignedDuration) -> i64 {
    let whole = duration.as_secs();
    let up = if duration.subsec_nanos() > 0 { whole + 1 } else { whole };
    up.clamp(0, 31_536_000)
}

fn start(request: &AccessRequest, workload: &str) -> AccessRequestStatus {
    let mut status = request.status.clone().unwrap_or_default();
    if !workload.is_empty() {
        status.workload = Some(truncate(workload, 320));
    }
    status
}

fn set(
    request: &AccessRequest,
    status: &mut AccessRequestStatus,
    type_: &str,
    value: ConditionStatus,
    reason: &str,
    message: &str,
    time: Timestamp,
) {
    let next = Condition {
        type_: type_.into(),
        status: value,
        reason: reason.into(),
        message: message.into(),
        observed_generation: request.metadata.generation,
        last_transition_time: time,
    };
    condition::set(&mut status.conditions, next);
}
