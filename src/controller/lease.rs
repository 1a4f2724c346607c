//! Ends what has to end. Observes one lease, asks `core::lifecycle` for the next step, carries it out, and asks again.
//!
//! Gated on nothing: not on the guard, not on policies, not on the clocks being right. Tried again for ever.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::ResourceExt;

use super::{Operator, leaving, queue::Next};
use crate::{
    api::{
        AccessRequest, CredentialLease, EndReason, FailureReason, Proof, RequestState,
        lease::{CredentialLeaseStatus, LeaseSecret, LeaseState},
    },
    cluster::{
        ApiError,
        act::{Seen, review},
        cache::{Cached, Change, Key, Presence},
        records::{prune_lease, prune_request},
    },
    core::{
        lifecycle::{self, Ending, Facts, ListFact, PodFact, RequestFact, SecretFact, Step, TokenFact},
        status,
    },
};

/// Steps of one look: more would be a rule that goes in circles.
const MOST_STEPS: usize = 12;

/// Between two looks at whether a token is refused.
const REVIEW_AGAIN: SignedDuration = SignedDuration::from_secs(1);

/// So long after a certificate's end deleting its Secret is tried again although it is refused: an API server that has just started refuses
/// everybody until it has read its roles.
const REFUSALS_PASS_WITHIN: SignedDuration = SignedDuration::from_secs(60);

impl Operator {
    /// One look at one lease.
    pub async fn reconcile_lease(self: Arc<Self>, name: String) -> Next {
        match self.end_what_is_due(&name).await {
            Ok(next) => {
                self.notes.kept(&name, None);
                next
            }
            Err(error) => {
                tracing::warn!(lease = name, %error, "cannot move the lease on; trying again");
                self.notes.kept(&name, Some(error.to_string()));
                self.metrics.api_error("lease", &error);
                Next::after(&error)
            }
        }
    }

    async fn end_what_is_due(&self, name: &str) -> Result<Next, ApiError> {
        // A Secret that cannot be deleted keeps nobody from being told, and the credential's own end from being proven.
        let mut stuck = Stuck::default();
        for _ in 0..MOST_STEPS {
            let Some(lease) = self.world.leases.get(&Key::new(&self.settings.namespace, name)) else {
                return Ok(Next::Done);
            };
            let request = self.request_of(&lease).await;
            let facts = self.facts(&lease, &request, &stuck).await;
            match (lifecycle::step(&facts), stuck.any()) {
                (Step::Wait(_), _) if lease.is_closed() => return self.retain_lease(&lease, &request).await,
                (Step::Wait(_), Some(error)) => return Err(error.clone()),
                (Step::Wait(until), None) => return Ok(until.map_or(Next::Done, Next::At)),
                (step, _) => self.carry_out_step(step, &lease, &request, &mut stuck).await?,
            }
        }
        Err(ApiError::Conflict(format!("lease {name} did not settle in {MOST_STEPS} steps")))
    }

    async fn carry_out_step(
        &self,
        step: Step,
        lease: &CredentialLease,
        request: &Presence<AccessRequest>,
        stuck: &mut Stuck,
    ) -> Result<(), ApiError> {
        match step {
            Step::Wait(_) => Ok(()),
            Step::Fence(ending) => self.fence(lease, request, &ending).await,
            Step::Mark(ending) => self.mark(lease, &ending).await,
            Step::DeleteBound => {
                stuck.bound = self.delete_bound(lease).await.err();
                Ok(())
            }
            Step::DeleteSecret => {
                stuck.secret = self.delete_secret(lease).await.err();
                Ok(())
            }
            Step::Review => {
                self.review(lease).await;
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

    async fn facts<'l>(&self, lease: &'l CredentialLease, request: &Presence<AccessRequest>, stuck: &Stuck) -> Facts<'l> {
        let (spec, name) = (&lease.spec, lease.name_any());
        let clocks = self.clock.read();
        let open = lease.state().is_none();
        let request = match request {
            Presence::Present(request) if spec.token.is_some() && served_by_another(request, lease) => RequestFact::ServedByAnother,
            Presence::Present(request) => RequestFact::There(request.state()),
            Presence::Gone => RequestFact::Gone,
            Presence::Unseen | Presence::Unknown => RequestFact::Unknown,
        };
        let after_end = clocks.own.duration_since(spec.not_after());
        let terminating = self.world.namespaces.get(&Key::new("", &spec.request_namespace)).is_some_and(|n| n.terminating);
        let mut facts = Facts {
            own: clocks.own,
            server: clocks.server,
            spec,
            state: lease.state(),
            marked: marked(lease),
            lock: None,
            request,
            pod: PodFact::Unknown,
            namespace_terminating: terminating,
            account_gone: false,
            assumed_gone: false,
            node_gone: false,
            verdict: None,
            secret: secret_fact(self.notes.secret_gone(&name), stuck.secret.as_ref(), after_end),
            bound: secret_fact(self.tokens.bound_is_gone(&name), stuck.bound.as_ref(), after_end),
            token: self.tokens.fact(&name, clocks.own),
            list: ListFact::None,
            since: None,
        };
        if lease.state() == Some(LeaseState::Revoking) {
            facts.list = self.lists.verdict(lease, &self.world, &self.settings.namespace, clocks.own);
        }
        if open {
            // In force until both clocks say that it is over.
            let earliest = clocks.server.map_or(clocks.own, |server| server.min(clocks.own));
            facts.lock = self.world.lock_on(lease, earliest);
        }
        if !open || lifecycle::cause(&facts).is_some() {
            facts.since = open.then(|| self.notes.ends_since(&name, clocks.latest()));
            return facts;
        }
        facts.pod = self.pod_fact(lease).await;
        facts.account_gone = self.account_gone(lease).await;
        facts.assumed_gone = self.assumed_gone(lease).await;
        facts.node_gone = self.node_gone(lease).await;
        // While the request is unanswered the request loop judges it; two judges of one moment could disagree. An attempt is abandoned by it.
        let pending = facts.request == RequestFact::There(RequestState::Pending);
        facts.verdict = self.notes.verdict(&name).filter(|(reason, _)| !pending || *reason == EndReason::Abandoned);
        if self.settings.draining {
            facts.verdict = Some((EndReason::Drained, leaving::WHY.into()));
        }
        if lifecycle::cause(&facts).is_some() {
            facts.since = Some(self.notes.ends_since(&name, clocks.latest()));
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
        self.no_account(namespace, name, &requester.uid).await
    }

    /// The account that its token is of.
    async fn assumed_gone(&self, lease: &CredentialLease) -> bool {
        let Some(token) = &lease.spec.token else { return false };
        self.no_account(&token.namespace, &token.service_account, &token.service_account_uid).await
    }

    async fn no_account(&self, namespace: &str, name: &str, uid: &str) -> bool {
        match self.world.service_accounts.presence(&Key::new(namespace, name), uid) {
            Presence::Present(_) | Presence::Unknown => false,
            Presence::Gone => true,
            Presence::Unseen => self.ending.certainly_gone::<ServiceAccount>(Some(namespace), name, uid).await,
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

    /// This namespace is gone; one of that name that is younger than the lease is another.
    fn namespace_went(&self, name: &str, lease: &CredentialLease) -> bool {
        let Some(namespace) = self.world.namespaces.get(&Key::new("", name)) else {
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
            lock: ending.lock.clone(),
            ..Default::default()
        };
        self.put_lease_status(lease, status).await?;
        if lease.spec.crl().is_some() {
            self.lists_changed.notify_one();
        }
        if ending.lock.is_some() {
            self.locks_changed.notify_one();
        }
        tracing::info!(lease = lease.name_any(), request = lease.spec.request_name, reason = %ending.reason, message = ending.message, "ending");
        Ok(())
    }

    async fn delete_secret(&self, lease: &CredentialLease) -> Result<(), ApiError> {
        if let Some(secret) = &lease.spec.secret {
            self.delete_one(lease, &lease.spec.request_namespace, secret).await?;
        }
        self.notes.secret_went(&lease.name_any());
        Ok(())
    }

    /// Takes a token back: the API server refuses it once what it is bound to is gone.
    async fn delete_bound(&self, lease: &CredentialLease) -> Result<(), ApiError> {
        if let Some(token) = &lease.spec.token {
            self.delete_one(lease, &token.namespace, &token.bound_to).await?;
        }
        self.tokens.bound_went(&lease.name_any(), self.clock.now());
        if lease.spec.delivers_what_it_is_bound_to() {
            self.notes.secret_went(&lease.name_any());
        }
        Ok(())
    }

    async fn delete_one(&self, lease: &CredentialLease, namespace: &str, secret: &LeaseSecret) -> Result<(), ApiError> {
        match self.ending.delete_secret(namespace, &secret.name, &secret.uid).await {
            // The right to delete it stood in the namespace and went with it, like everything else that was there.
            Err(ApiError::Forbidden(_)) if self.namespace_went(namespace, lease) => Ok(()),
            other => other,
        }
    }

    /// Asks every API server whether it still accepts the token. One that does not answer leaves it to time.
    async fn review(&self, lease: &CredentialLease) {
        let (name, now) = (lease.name_any(), self.clock.now());
        let unseen = TokenFact::Unseen { gone_since: now };
        let (Some(held), Some(token)) = (self.tokens.accepted(&name), &lease.spec.token) else {
            return self.tokens.reviewed(&name, unseen);
        };
        let asked = self.reviewers.iter().map(|server| review(server, &held.token, &token.audiences));
        let answers = futures::future::join_all(asked).await;
        let fact = if answers.iter().any(|answer| matches!(answer, Ok(Seen::Accepted(_)))) {
            TokenFact::Accepted { again: self.clock.now() + REVIEW_AGAIN }
        } else if let Some(error) = answers.iter().find_map(|answer| answer.as_ref().err()) {
            tracing::warn!(lease = name, %error, "cannot ask whether the token is refused: its end is proven by time");
            unseen
        } else {
            TokenFact::Refused
        };
        self.tokens.reviewed(&name, fact);
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
            lock: ending.lock.clone(),
        };
        self.put_lease_status(lease, status).await?;
        let lag = now.duration_since(ending.time);
        tracing::info!(
            target: "decision", event = "ended", lease = lease.name_any(), request = lease.spec.request_name, namespace = lease.spec.request_namespace,
            requester = lease.spec.requester.username, class = lease.spec.class_name, reason = %ending.reason, proof = %proof,
            seconds_to_dead = lag.as_secs_f64(), "ended"
        );
        self.metrics.ended(ending.reason.as_str(), proof.as_str(), lag);
        self.tokens.forget(&lease.name_any());
        // The next attempt may begin.
        if ending.reason == EndReason::Abandoned {
            self.requests.add(&lease.spec.request_namespace, &lease.spec.request_uid);
        }
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
        self.tokens.forget(&lease.name_any());
        self.notes.forget_request(&lease.spec.request_uid);
    }
}

/// What could not be deleted in this look.
#[derive(Default)]
struct Stuck {
    bound: Option<ApiError>,
    secret: Option<ApiError>,
}

impl Stuck {
    fn any(&self) -> Option<&ApiError> {
        self.bound.as_ref().or(self.secret.as_ref())
    }
}

/// What the request holds, or held, came from another attempt.
fn served_by_another(request: &AccessRequest, lease: &CredentialLease) -> bool {
    matches!(request.state(), RequestState::Active | RequestState::Revoking | RequestState::Ended) && !status::serves(request, lease)
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
    let message = status.message.clone().unwrap_or_default();
    Some(Ending { reason: status.reason?, time: status.ended_time?, message, lock: status.lock.clone() })
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
