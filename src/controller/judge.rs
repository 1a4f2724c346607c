//! Judges live grants again when what they rest on has changed. A queue of its own: an end that is due never waits behind a judgement.
//!
//! Shrinks what may live less long, moves a grant under the policy that permits it now, and leaves the ending to `lease`.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::{Operator, queue::Next};
use crate::{
    api::{CredentialLease, lease::LeasePolicy},
    cluster::{
        ApiError,
        cache::{Cached, Key},
        records::{prune_lease, prune_request},
    },
    core::{
        Reconsideration,
        decide::{DELETED_POLICY_GRACE, Gone},
        reconsider,
    },
};

/// Before a verdict that was not definite is asked for again.
const ASK_AGAIN: SignedDuration = SignedDuration::from_secs(5);

impl Operator {
    /// One judgement of one lease, if it is due.
    pub async fn reconcile_judgement(self: Arc<Self>, name: String) -> Next {
        let Some(lease) = self.world.leases.get(&Key::new(&self.settings.namespace, &name)) else { return Next::Done };
        if lease.state().is_some() || !self.notes.is_due(&name) {
            return Next::Done;
        }
        match self.judge_again(&lease).await {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(lease = name, %error, "cannot judge the lease again; trying again");
                self.metrics.api_error("judgement", &error);
                Next::after(&error)
            }
        }
    }

    async fn judge_again(&self, lease: &CredentialLease) -> Result<Next, ApiError> {
        let name = lease.name_any();
        let (now, epoch) = (self.clock.read().latest(), self.notes.epoch());
        let Some(synced) = self.world.synced_at() else { return Ok(Next::At(now + ASK_AGAIN)) };
        // No pod or no request: the lease's own triggers end it.
        let Some(observed) = self.observe_lease(lease).await? else { return Ok(Next::Done) };
        let gone = self.gone(lease, synced);
        match reconsider(&observed.snapshot, &lease.spec, gone) {
            Reconsideration::Undecided(why) => {
                tracing::debug!(lease = name, why, "not judged yet");
                let grace = [gone.policy, gone.class]
                    .into_iter()
                    .flatten()
                    .map(|since| since + DELETED_POLICY_GRACE)
                    .filter(|end| *end > now)
                    .min();
                Ok(Next::At(grace.map_or(now + ASK_AGAIN, |end| end.min(now + ASK_AGAIN) + SignedDuration::from_millis(20))))
            }
            Reconsideration::End { reason, message, detail } => {
                tracing::info!(lease = name, %reason, detail, "a live grant is not permitted any more");
                self.notes.found_against(&name, reason, message);
                self.leases.add(&lease.spec.request_namespace, &name);
                Ok(Next::Done)
            }
            Reconsideration::Keep { policy, policy_uid, policy_generation, policy_hash, expires_at } => {
                let policy = LeasePolicy { name: policy.to_string(), uid: policy_uid, generation: policy_generation, hash: policy_hash };
                let kept = self.keep(lease, policy, expires_at).await?;
                self.shrink_request(&kept).await?;
                self.notes.judged(&name, epoch);
                Ok(Next::Done)
            }
        }
    }

    /// Since when what the lease rests on is gone.
    fn gone(&self, lease: &CredentialLease, synced: Timestamp) -> Gone {
        let policies = self.world.policies_for(&lease.spec.request_namespace);
        let policy_here = policies.iter().any(|policy| policy.object_uid() == lease.spec.policy.uid);
        let class_here = self.world.classes.get(&Key::new("", &lease.spec.class_name)).is_some();
        Gone {
            policy: (!policy_here).then(|| self.policies.gone_since(&lease.spec.policy.uid, synced)),
            class: (!class_here).then(|| self.policies.class_gone_since(&lease.spec.class_name, synced)),
        }
    }

    /// Writes a shorter end, or another policy, into the lease; a new generation of the same policy is not worth a write.
    async fn keep(&self, lease: &CredentialLease, policy: LeasePolicy, expires_at: Timestamp) -> Result<CredentialLease, ApiError> {
        let moved = policy.name != lease.spec.policy.name || policy.uid != lease.spec.policy.uid;
        if !moved && expires_at >= lease.spec.expires_at {
            return Ok(lease.clone());
        }
        let mut next = lease.clone();
        next.spec.expires_at = expires_at.min(lease.spec.expires_at);
        if moved {
            next.spec.policy = policy;
        }
        let written = prune_lease(self.ending.put_lease(&next).await?);
        self.world.leases.own_write(written.clone());
        self.leases.add_at(&written.spec.request_namespace, &written.name_any(), written.spec.expires_at);
        Ok(written)
    }

    /// Tells the pod that its credential's grant ends earlier, until it has been told.
    async fn shrink_request(&self, lease: &CredentialLease) -> Result<(), ApiError> {
        let told = |request: &crate::api::AccessRequest| {
            let credential = request.status.as_ref().and_then(|s| s.credential.as_ref());
            credential.is_none_or(|credential| credential.expires_at <= lease.spec.expires_at)
        };
        if self.world.request(&lease.spec.request_uid).is_none_or(|request| told(&request)) {
            return Ok(());
        }
        let mut request = match self.ending.get_request(&lease.spec.request_namespace, &lease.spec.request_name).await {
            Ok(request) if request.object_uid() == lease.spec.request_uid && !told(&request) => request,
            Ok(_) | Err(ApiError::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        if let Some(credential) = request.status.as_mut().and_then(|s| s.credential.as_mut()) {
            credential.expires_at = lease.spec.expires_at;
        }
        let written = self.ending.put_request_status(&request).await?;
        self.world.requests.own_write(prune_request(written));
        Ok(())
    }

    /// Has this lease judged again soon.
    pub(super) fn judge_lease(&self, lease: &CredentialLease) {
        self.notes.judge_again(&lease.name_any());
        self.judging.add(&lease.spec.request_namespace, &lease.name_any());
    }

    /// Has every open lease judged again, and every grant that is under way.
    pub(super) fn judge_everything(&self) {
        self.notes.judge_all_again();
        for lease in self.world.open_leases() {
            self.judging.add(&lease.spec.request_namespace, &lease.name_any());
        }
    }
}
