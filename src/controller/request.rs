//! Answers requests: observe, decide, act. Writes request status; hands an Allow to `grant`.

use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    Operator, log,
    observe::Observation,
    queue::Next,
    slots::{Counting, Slot},
};
use crate::{
    api::{AccessRequest, Delivery, FailureReason, RequestState},
    cluster::{
        ApiError,
        act::{Form, Place},
        cache::{Cached, Key},
        events,
    },
    core::{
        Decision, Denial, Verdict, decide, names,
        snapshot::{ClassFacts, GuardFacts, Snapshot},
        status::{self, Stamp},
    },
};

impl Operator {
    /// One look at one request.
    pub async fn reconcile_request(self: Arc<Self>, uid: String) -> Next {
        let Some(request) = self.world.request(&uid) else {
            return Next::Done;
        };
        if request.state() != RequestState::Pending {
            // The answer that made it terminal may have been lost on its way back to us, and with it what followed.
            if self.notes.reserved(&uid)
                && let Err(error) = self.drop_reserve(&request).await
            {
                return Next::after(&error);
            }
            self.notes.forget_request(&uid);
            return self.retain_request(&request).await;
        }
        match self.answer(&request).await {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(namespace = request.namespace(), request = request.name_any(), %error, "cannot answer yet; trying again");
                self.metrics.api_error("request", &error);
                self.notes.trouble(&uid, error.to_string());
                Next::after(&error)
            }
        }
    }

    async fn answer(&self, request: &AccessRequest) -> Result<Next, ApiError> {
        let now = self.clock.read().latest();
        let deadline = request.creation_timestamp().map(|t| t.0 + self.settings.answer_within);
        if deadline.is_some_and(|deadline| now >= deadline) {
            let trouble =
                || self.notes.last_trouble(request.object_uid()).unwrap_or_else(|| "what it needs could not be made ready".into());
            let why = self.not_issuing().unwrap_or_else(trouble);
            let message = format!("not answered within {} s: {why}. Make a new request", self.settings.answer_within.as_secs());
            self.fail(request, FailureReason::TimedOut, &message).await?;
            return Ok(Next::Done);
        }
        if request.metadata.deletion_timestamp.is_some() {
            return Ok(Next::Done);
        }
        let again = |seconds: i64| Next::At(deadline.unwrap_or(now).min(now + jiff::SignedDuration::from_secs(seconds)));
        // Everything that would only be waited for is asked of the caches, before the API server is asked for the pod.
        if let Some(why) = self.not_issuing().or_else(|| self.not_yet(request)) {
            tracing::debug!(request = request.name_any(), why, "waiting");
            self.notes.trouble(request.object_uid(), why);
            return Ok(again(1));
        }
        // The guard is looked at after the request was seen: only then is it known to have been in force when the request was made.
        let (looked, observed) = tokio::join!(self.guard.look(), self.observe_request(request));
        let mut observed = looked.and(observed)?;
        observed.snapshot.guard = self.guard.facts();
        let decision = self.decide_and_take(request, &mut observed.snapshot);
        match &decision.verdict {
            Verdict::Wait(why) => {
                tracing::debug!(request = request.name_any(), why, "waiting");
                self.notes.trouble(request.object_uid(), why.clone());
                Ok(again(1))
            }
            Verdict::Deny(denial) => {
                self.deny(request, &observed, &decision, denial).await?;
                Ok(Next::Done)
            }
            Verdict::Allow(grant) => self.grant(request, &observed, &decision, grant).await,
        }
    }

    /// What is certain to make the decision wait.
    fn not_yet(&self, request: &AccessRequest) -> Option<String> {
        if let GuardFacts::Unknown { reason } = self.guard.facts() {
            return Some(reason);
        }
        let class = &request.spec.class_name;
        let unjudged = matches!(self.classes.facts(&self.world, class), ClassFacts::Unjudged);
        unjudged.then(|| format!("CredentialClass {class} has not been judged yet"))
    }

    /// Counts, decides and takes the place under one lock: two decisions at once cannot both pass a limit.
    fn decide_and_take(&self, request: &AccessRequest, snapshot: &mut Snapshot) -> Decision {
        let now = self.clock.monotonic();
        let mut counting = self.slots.count(now);
        self.count(&counting, snapshot);
        let decision = decide(snapshot);
        if let Verdict::Allow(grant) = &decision.verdict {
            let requester = &request.spec.requester;
            let slot = Slot {
                policy: grant.policy.to_string(),
                username: requester.username.clone(),
                pod_uid: requester.pod_uid.clone(),
                taken: now,
            };
            counting.take(request.object_uid(), slot);
        }
        decision
    }

    fn count(&self, counting: &Counting<'_>, snapshot: &mut Snapshot) {
        let (requester, own) = (&snapshot.request.spec.requester, &snapshot.request.uid);
        let standing = self.world.standing();
        for policy in snapshot.policies.iter_mut().filter(|policy| policy.limits.is_some()) {
            let name = policy.id.to_string();
            let (mut live, mut of_pod) = standing.live(&requester.username, &name, &requester.pod_uid);
            // A lease that an earlier try has opened for this very request does not stand in its way.
            if let Some(place) = standing.of_request(own).filter(|place| place.policy == name) {
                live -= 1;
                of_pod -= u64::from(place.pod_uid == requester.pod_uid);
            }
            let unseen = counting
                .of(&requester.username)
                .filter(|(uid, slot)| slot.policy == name && *uid != own && standing.of_request(uid).is_none());
            for (_, slot) in unseen {
                live += 1;
                of_pod += u64::from(slot.pod_uid == requester.pod_uid);
            }
            (policy.live, policy.live_of_pod) = (live, of_pod);
        }
    }

    /// Says no, once and for all.
    pub(super) async fn deny(
        &self,
        request: &AccessRequest,
        observed: &Observation,
        decision: &Decision,
        denial: &Denial,
    ) -> Result<(), ApiError> {
        let stamp = self.stamp();
        let next = AccessRequest { status: Some(status::denied(request, &observed.workload, denial, &stamp)), ..request.clone() };
        // Before the write: an answer that is lost must not lose its reasons.
        log::decision(&stamp, &observed.snapshot, decision);
        if self.write_terminal(request, next).await? {
            self.metrics.decision("Deny", denial.reason.as_str());
            let regarding = events::regarding(request);
            self.events.warn(&regarding, &request.spec.requester.username, denial.reason.as_str(), &denial.message).await;
        }
        self.slots.release(request.object_uid());
        Ok(())
    }

    /// Gives up on a request that was never answered on its merits.
    pub(super) async fn fail(&self, request: &AccessRequest, reason: FailureReason, message: &str) -> Result<(), ApiError> {
        let next = AccessRequest { status: Some(status::failed(request, reason, message, self.clock.now())), ..request.clone() };
        if self.write_terminal(request, next).await? {
            tracing::info!(namespace = request.namespace(), request = request.name_any(), %reason, message, "request failed");
            self.metrics.decision("Fail", reason.as_str());
            self.events.warn(&events::regarding(request), &request.spec.requester.username, reason.as_str(), message).await;
        }
        self.slots.release(request.object_uid());
        Ok(())
    }

    /// Writes a terminal status over Pending, at the version that was read, and drops a reserve that may have been left. `false`: somebody
    /// has answered it, or it is gone.
    async fn write_terminal(&self, request: &AccessRequest, next: AccessRequest) -> Result<bool, ApiError> {
        let written = match self.ending.put_request_status(&next).await {
            Ok(written) => {
                self.world.requests.own_write(crate::cluster::records::prune_request(written));
                true
            }
            Err(ApiError::Conflict(_)) => {
                let fresh = self.ending.get_request(&request.namespace().unwrap_or_default(), &request.name_any()).await;
                match fresh {
                    Ok(fresh) if fresh.object_uid() == request.object_uid() && fresh.state() == RequestState::Pending => {
                        return Err(ApiError::Conflict("the request changed; looking again".into()));
                    }
                    Ok(_) | Err(ApiError::NotFound(_)) => false,
                    Err(error) => return Err(error),
                }
            }
            Err(ApiError::NotFound(_)) => false,
            Err(error) => return Err(error),
        };
        if let Some(lease) = self.world.lease_of(request.object_uid()) {
            self.leases.add(&lease.spec.request_namespace, &lease.name_any());
        } else if written && self.may_have_reserved(request) {
            // Where this fails the Secret is empty, and goes with its request.
            let answered = AccessRequest { status: next.status.clone(), ..request.clone() };
            match self.drop_reserve(&answered).await {
                Ok(()) => self.notes.forget_request(request.object_uid()),
                Err(error) => {
                    tracing::warn!(request = request.name_any(), %error, "cannot remove the empty Secret of an answered request yet")
                }
            }
        }
        Ok(written)
    }

    /// Deletes the reserve of a request that was refused or failed and has no lease.
    async fn drop_reserve(&self, request: &AccessRequest) -> Result<(), ApiError> {
        let came_to_nothing = matches!(request.state(), RequestState::Denied | RequestState::Failed);
        if !came_to_nothing || self.world.lease_of(request.object_uid()).is_some() {
            return Ok(());
        }
        for (namespace, name) in self.reserves_of(request) {
            let place = Place { request, namespace: &namespace, name: &name, form: Form::Token, over: None };
            self.ending.drop_reserve(place).await?;
        }
        Ok(())
    }

    /// Namespaces and names of the Secrets that serving a request reserves first.
    fn reserves_of(&self, request: &AccessRequest) -> Vec<(String, String)> {
        let own = request.namespace().unwrap_or_default();
        let delivered = (request.delivery() == Delivery::Secret).then(|| (own, request.wanted_secret_name()));
        let class = self.world.classes.get(&Key::new("", &request.spec.class_name));
        let lends = class.as_ref().and_then(|record| record.class.as_ref().ok()?.spec.service_account_token.as_ref());
        // Where the account is the pod's neighbour, the delivered Secret is what the token is bound to.
        let bound = lends
            .filter(|token| delivered.as_ref().is_none_or(|(namespace, _)| *namespace != token.namespace))
            .map(|token| (token.namespace.clone(), names::bound_secret_name(&self.settings.installation, request.object_uid(), 0)));
        delivered.into_iter().chain(bound).collect()
    }

    /// A reserve of an earlier process, or of this one, may be there. A request that this process has met as new and has not reserved for
    /// has none, and costs no call.
    fn may_have_reserved(&self, request: &AccessRequest) -> bool {
        self.notes.reserved(request.object_uid()) || request.creation_timestamp().is_none_or(|t| t.0 <= self.notes.started())
    }

    pub(super) fn stamp(&self) -> Stamp {
        Stamp { time: self.now_in_seconds(), id: super::intent::decision_id() }
    }

    fn now_in_seconds(&self) -> Timestamp {
        let now = self.clock.now();
        Timestamp::from_second(now.as_second()).unwrap_or(now)
    }

    /// Looks at every unanswered request again: what they waited for may have come.
    pub fn wake_pending(&self) {
        for request in self.world.requests.list() {
            if request.state() == RequestState::Pending {
                self.requests.add(&request.namespace().unwrap_or_default(), request.object_uid());
            }
        }
    }
}
