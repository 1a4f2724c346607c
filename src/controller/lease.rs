//! Ends what has to end. Observes one lease, asks `core::lifecycle` for the next step, carries it out, and asks again.
//!
//! Gated on nothing: not on the guard, not on policies, not on the clocks being right. Tried again for ever.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::ResourceExt;

use super::{Operator, queue::Next};
use crate::{
    api::{
        AccessRequest, CredentialLease, EndReason, FailureReason, Proof, RequestState,
        lease::{CredentialLeaseStatus, LeaseState},
    },
    cluster::{
        ApiError,
        cache::{Cached, Change, Key, Presence},
        records::{prune_lease, prune_request},
    },
    core::{
        lifecycle::{self, Ending, Facts, PodFact, RequestFact, SecretFact, Step},
        status,
    },
};

/// Steps of one look: more would be a rule that goes in circles.
const MOST_STEPS: usize = 12;

/// So long after a certificate's end deleting its Secret is tried again although it is refused: an API server that has just started refuses
/// everybody until it has read its roles.
const REFUSALS_PASS_WITHIN: SignedDuration = SignedDuration::from_secs(60);

impl Operator {
    /// One look at one lease.
    pub async fn reconcile_lease(self: Arc<Self>, name: String) -> Next {
        match self.end_what_is_due(&name).await {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(lease = name, %error, "cannot move the lease on; trying again");
                self.metrics.api_error("lease", &error);
                Next::after(&error)
            }
        }
    }

    async fn end_what_is_due(&self, name: &str) -> Result<Next, ApiError> {
        // A Secret that cannot be deleted keeps nobody from being told, and the certificate's end from being proven.
        let mut stuck = None;
        for _ in 0..MOST_STEPS {
            let Some(lease) = self.world.leases.get(&Key::new(&self.settings.namespace, name)) else {
                return Ok(Next::Done);
            };
            let request = self.request_of(&lease).await;
            let facts = self.facts(&lease, &request, stuck.as_ref()).await;
            match (lifecycle::step(&facts), stuck.take()) {
                (Step::Wait(_), _) if lease.is_closed() => return self.retain_lease(&lease, &request).await,
                (Step::Wait(_), Some(error)) => return Err(error),
                (Step::Wait(until), None) => return Ok(until.map_or(Next::Done, Next::At)),
                (step, still_stuck) => {
                    stuck = still_stuck;
                    self.carry_out_step(step, &lease, &request, &mut stuck).await?;
                }
            }
        }
        Err(ApiError::Conflict(format!("lease {name} did not settle in {MOST_STEPS} steps")))
    }

    async fn carry_out_step(
        &self,
        step: Step,
        lease: &CredentialLease,
        request: &Presence<AccessRequest>,
        stuck: &mut Option<ApiError>,
    ) -> Result<(), ApiError> {
        match step {
            Step::Wait(_) => Ok(()),
            Step::Fence(ending) => self.fence(lease, request, &ending).await,
            Step::Mark(ending) => self.mark(lease, &ending).await,
            Step::DeleteSecret => {
                if let Err(error) = self.delete_secret(lease).await {
                    *stuck = Some(error);
                }
                Ok(())
            }
            Step::Close(ending, proof) => self.close(lease, &ending, proof).await,
            Step::Project => self.project(lease, request).await,
        }
    }

    async fn request_of(&self, lease: &CredentialLease) -> Presence<AccessRequest> {
        let spec = &lease.spec;
        // An ending does not wait for an answer that does not come: what is not known stays out of the causes.
        match self.request_presence(&spec.request_namespace, &spec.request_name, &spec.request_uid).await {
            Ok(known) => known,
            Err(error) => {
                tracing::warn!(lease = lease.name_any(), %error, "cannot read the lease's request; it ends without");
                Presence::Unknown
            }
        }
    }

    async fn facts<'l>(&self, lease: &'l CredentialLease, request: &Presence<AccessRequest>, stuck: Option<&ApiError>) -> Facts<'l> {
        let spec = &lease.spec;
        let clocks = self.clock.read();
        let open = lease.state().is_none();
        let request = match request {
            Presence::Present(request) => RequestFact::There(request.state()),
            Presence::Gone => RequestFact::Gone,
            Presence::Unseen | Presence::Unknown => RequestFact::Unknown,
        };
        let terminating = self.world.namespaces.get(&Key::new("", &spec.request_namespace)).is_some_and(|n| n.terminating);
        let mut facts = Facts {
            own: clocks.own,
            server: clocks.server,
            spec,
            state: lease.state(),
            marked: marked(lease),
            request,
            pod: PodFact::Unknown,
            namespace_terminating: terminating,
            account_gone: false,
            node_gone: false,
            verdict: None,
            secret: secret_fact(self.notes.secret_gone(&lease.name_any()), stuck, clocks.own.duration_since(spec.x509.not_after)),
        };
        if !open || lifecycle::cause(&facts).is_some() {
            return facts;
        }
        facts.pod = self.pod_fact(lease).await;
        facts.account_gone = self.account_gone(lease).await;
        facts.node_gone = self.node_gone(lease).await;
        // While the request is unanswered the request loop judges it; two judges of one moment could disagree.
        if facts.request != RequestFact::There(RequestState::Pending) {
            facts.verdict = self.notes.verdict(&lease.name_any());
        }
        facts
    }

    async fn pod_fact(&self, lease: &CredentialLease) -> PodFact {
        match self.pod_presence(&lease.spec.request_namespace, &lease.spec.requester).await {
            Ok(Presence::Present(pod)) => match (pod.phase.as_str(), pod.deletion) {
                ("Succeeded" | "Failed", _) => PodFact::Gone("has finished"),
                (_, Some(at)) => PodFact::Leaving(at),
                _ => PodFact::There,
            },
            Ok(Presence::Gone) => PodFact::Gone("is gone"),
            Ok(Presence::Unseen | Presence::Unknown) | Err(_) => PodFact::Unknown,
        }
    }

    async fn account_gone(&self, lease: &CredentialLease) -> bool {
        let requester = &lease.spec.requester;
        let Some((namespace, name)) = requester.service_account() else { return false };
        match self.world.service_accounts.presence(&Key::new(namespace, name), &requester.uid) {
            Presence::Present(_) | Presence::Unknown => false,
            Presence::Gone => true,
            Presence::Unseen => self.ending.certainly_gone::<ServiceAccount>(Some(namespace), name, &requester.uid).await,
        }
    }

    async fn node_gone(&self, lease: &CredentialLease) -> bool {
        let requester = &lease.spec.requester;
        if requester.node_uid.is_empty() {
            return false;
        }
        match self.world.nodes.presence(&Key::new("", &requester.node_name), &requester.node_uid) {
            Presence::Present(_) | Presence::Unknown => false,
            Presence::Gone => true,
            Presence::Unseen => self.ending.certainly_gone::<Node>(None, &requester.node_name, &requester.node_uid).await,
        }
    }

    /// The request's namespace is gone; one of that name that is younger than the lease is another.
    fn namespace_went(&self, lease: &CredentialLease) -> bool {
        let Some(namespace) = self.world.namespaces.get(&Key::new("", &lease.spec.request_namespace)) else {
            return self.world.namespaces.synced();
        };
        let made = namespace.json.pointer("/metadata/creationTimestamp").and_then(|t| t.as_str()?.parse::<Timestamp>().ok());
        made.zip(lease.creation_timestamp()).is_some_and(|(namespace, lease)| namespace > lease.0)
    }

    /// Makes the request terminal, so that whoever is about to release the credential meets that and stops.
    async fn fence(&self, lease: &CredentialLease, request: &Presence<AccessRequest>, ending: &Ending) -> Result<(), ApiError> {
        let Presence::Present(request) = request else { return Ok(()) };
        let message = format!("the attempt ended before its credential was released: {}. Make a new request", ending.message);
        let reason = if ending.reason == EndReason::Expired { FailureReason::TimedOut } else { FailureReason::Withdrawn };
        let next = AccessRequest { status: Some(status::failed(request, reason, &message, self.clock.now())), ..(**request).clone() };
        match self.ending.put_request_status(&next).await {
            Ok(written) => {
                self.world.requests.own_write(prune_request(written));
                self.slots.release(request.object_uid());
                self.metrics.decision("Fail", reason.as_str());
                Ok(())
            }
            Err(ApiError::Conflict(_) | ApiError::NotFound(_)) => self.read_again(lease).await,
            Err(error) => Err(error),
        }
    }

    async fn mark(&self, lease: &CredentialLease, ending: &Ending) -> Result<(), ApiError> {
        let status = CredentialLeaseStatus {
            state: Some(LeaseState::Revoking),
            reason: Some(ending.reason),
            ended_time: Some(ending.time),
            message: Some(crate::api::condition::truncate(&ending.message, 512)),
            ..Default::default()
        };
        self.put_lease_status(lease, status).await?;
        tracing::info!(lease = lease.name_any(), request = lease.spec.request_name, reason = %ending.reason, message = ending.message, "ending");
        Ok(())
    }

    async fn delete_secret(&self, lease: &CredentialLease) -> Result<(), ApiError> {
        if let Some(secret) = &lease.spec.secret {
            match self.ending.delete_secret(&lease.spec.request_namespace, &secret.name, &secret.uid).await {
                Ok(()) => {}
                // The right to delete it stood in the namespace and went with it, like everything else that was there.
                Err(ApiError::Forbidden(_)) if self.namespace_went(lease) => {}
                Err(error) => return Err(error),
            }
        }
        self.notes.secret_went(&lease.name_any());
        Ok(())
    }

    async fn close(&self, lease: &CredentialLease, ending: &Ending, proof: Proof) -> Result<(), ApiError> {
        let now = self.clock.now();
        let status = CredentialLeaseStatus {
            state: Some(LeaseState::Closed),
            reason: Some(ending.reason),
            ended_time: Some(ending.time),
            closed_time: Some(now.max(ending.time)),
            proof: Some(proof),
            message: Some(crate::api::condition::truncate(&ending.message, 512)),
        };
        self.put_lease_status(lease, status).await?;
        let lag = now.duration_since(ending.time);
        tracing::info!(
            target: "decision", event = "ended", lease = lease.name_any(), request = lease.spec.request_name, namespace = lease.spec.request_namespace,
            requester = lease.spec.requester.username, class = lease.spec.class_name, reason = %ending.reason, proof = %proof,
            seconds_to_dead = lag.as_secs_f64(), "ended"
        );
        self.metrics.ended(ending.reason.as_str(), proof.as_str(), lag);
        Ok(())
    }

    async fn put_lease_status(&self, lease: &CredentialLease, status: CredentialLeaseStatus) -> Result<(), ApiError> {
        let next = CredentialLease { status: Some(status), ..lease.clone() };
        match self.ending.put_lease_status(&next).await {
            Ok(written) => {
                let written = prune_lease(written);
                self.world.index_lease(&Change::Applied { now: Arc::new(written.clone()), before: None });
                self.world.leases.own_write(written);
                Ok(())
            }
            // Somebody was faster: look at what is there now.
            Err(ApiError::Conflict(_) | ApiError::NotFound(_)) => self.read_again(lease).await,
            Err(error) => Err(error),
        }
    }

    /// The caches may be behind: takes in what the API server has now.
    async fn read_again(&self, lease: &CredentialLease) -> Result<(), ApiError> {
        match self.ending.get_lease(&lease.name_any()).await {
            Ok(fresh) => self.world.leases.own_write(prune_lease(fresh)),
            Err(ApiError::NotFound(_)) => return Err(ApiError::NotFound("the lease is gone; the watch will say so".into())),
            Err(error) => return Err(error),
        }
        match self.ending.get_request(&lease.spec.request_namespace, &lease.spec.request_name).await {
            Ok(fresh) => self.world.requests.own_write(prune_request(fresh)),
            Err(ApiError::NotFound(_)) => return Err(ApiError::NotFound("the request is gone; the watch will say so".into())),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Writes into the request's status what the ledger says.
    async fn project(&self, lease: &CredentialLease, request: &Presence<AccessRequest>) -> Result<(), ApiError> {
        let Presence::Present(request) = request else { return Ok(()) };
        let Some(next) = status::of_lease(request, lease, self.clock.now()) else { return Ok(()) };
        match self.ending.put_request_status(&AccessRequest { status: Some(next), ..(**request).clone() }).await {
            Ok(written) => {
                self.world.requests.own_write(prune_request(written));
                Ok(())
            }
            Err(ApiError::Conflict(_) | ApiError::NotFound(_)) => self.read_again(lease).await,
            Err(error) => Err(error),
        }
    }

    pub(super) fn forget(&self, lease: &CredentialLease) {
        self.notes.forget_lease(&lease.name_any());
        self.notes.forget_request(&lease.spec.request_uid);
    }
}

/// What is known of a Secret whose deletion may just have failed, this long after its certificate's end.
fn secret_fact(gone: bool, stuck: Option<&ApiError>, after_end: SignedDuration) -> SecretFact {
    match stuck {
        _ if gone => SecretFact::Gone,
        None => SecretFact::There,
        Some(ApiError::Forbidden(_)) if after_end >= REFUSALS_PASS_WITHIN => SecretFact::Refused,
        Some(_) => SecretFact::Failed,
    }
}

fn marked(lease: &CredentialLease) -> Option<Ending> {
    let status = lease.status.as_ref()?;
    Some(Ending { reason: status.reason?, time: status.ended_time?, message: status.message.clone().unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_that_lasts_leaves_a_secret_behind() {
        let (refused, busy) = (ApiError::Forbidden("no".into()), ApiError::NoAnswer("none".into()));
        let fact = |error, seconds| secret_fact(false, Some(error), SignedDuration::from_secs(seconds));
        assert_eq!([fact(&refused, -5), fact(&refused, 0), fact(&refused, 59)], [SecretFact::Failed; 3]);
        assert_eq!(fact(&refused, 60), SecretFact::Refused);
        assert_eq!(fact(&busy, 3600), SecretFact::Failed);
        assert_eq!(secret_fact(true, Some(&refused), SignedDuration::ZERO), SecretFact::Gone);
        assert_eq!(secret_fact(false, None, SignedDuration::ZERO), SecretFact::There);
    }
}
