//! Removes what is over: finished requests after their time, then the tombstones of their leases. Never the other way round.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::{Operator, queue::Next};
use crate::{
    api::{AccessRequest, CredentialLease, EndReason, RequestState, request::AccessRequestStatus},
    cluster::{
        ApiError,
        cache::{Cached, Presence},
    },
};

/// A tombstone stays until the certificate is over by this much: for clocks that are behind.
const SKEW: SignedDuration = SignedDuration::from_secs(60);

impl Operator {
    /// A request that has been answered: nothing until it is finished and its time is over.
    pub(super) async fn retain_request(&self, request: &Arc<AccessRequest>) -> Next {
        if !request.state().is_terminal() {
            return Next::Done;
        }
        let due = self.removal_of(request);
        if self.clock.read().latest() < due && !self.crowds_out(request) {
            return Next::At(due);
        }
        match self.issuing.delete_request(request).await {
            Ok(()) => Next::Done,
            Err(error) => {
                tracing::warn!(request = request.name_any(), %error, "cannot remove a finished request; trying again");
                Next::after(&error)
            }
        }
    }

    fn removal_of(&self, request: &AccessRequest) -> Timestamp {
        let keep = self.settings.retention;
        let clean = request
            .status
            .as_ref()
            .and_then(|s| s.ended.as_ref())
            .is_some_and(|e| matches!(e.reason, EndReason::Expired | EndReason::Completed));
        finished_at(request) + if request.state() == RequestState::Ended && clean { keep.clean } else { keep.other }
    }

    /// Has the oldest finished requests of the identity removed, if there are too many; `true`: this is one of them.
    fn crowds_out(&self, request: &AccessRequest) -> bool {
        let (user, most) = (&request.spec.requester.username, self.settings.retention.per_identity);
        if self.world.finished_requests_count(user) <= most {
            return false;
        }
        let mut finished = self.world.finished_requests_of(user);
        // Within one second the API server's order counts: the answer that was written last is the one that nobody has read yet.
        finished.sort_by_cached_key(|r| (finished_at(r).as_second(), r.version(), r.object_uid().to_owned()));
        let over = finished.len().saturating_sub(most);
        for old in finished.iter().take(over).filter(|old| old.object_uid() != request.object_uid()) {
            self.requests.add(&old.namespace().unwrap_or_default(), old.object_uid());
        }
        finished.iter().take(over).any(|old| old.object_uid() == request.object_uid())
    }

    /// A closed lease: removed once its request is gone, and long enough after both its closing and the certificate's end.
    pub(super) async fn retain_lease(&self, lease: &CredentialLease, request: &Presence<AccessRequest>) -> Result<Next, ApiError> {
        let status = lease.status.clone().unwrap_or_default();
        let keep = self.settings.retention;
        let clean = matches!(status.reason, Some(EndReason::Expired | EndReason::Completed));
        let closed = status.closed_time.unwrap_or(lease.spec.expires_at);
        let due = (closed + if clean { keep.clean } else { keep.other }).max(lease.spec.not_after() + SKEW);
        let now = self.clock.read().latest();
        match request {
            // The request first: a late replica that still sees it must meet the tombstone.
            Presence::Present(_) | Presence::Unknown | Presence::Unseen => Ok(Next::At(due.max(now + SignedDuration::from_secs(30)))),
            Presence::Gone if now < due => Ok(Next::At(due)),
            Presence::Gone => {
                self.issuing.delete_lease(&lease.name_any(), lease.object_uid()).await?;
                self.forget(lease);
                Ok(Next::Done)
            }
        }
    }
}

/// When a request was finished, as its status says.
fn finished_at(request: &AccessRequest) -> Timestamp {
    let of = |status: &AccessRequestStatus| {
        let ended = status.ended.as_ref().map(|e| e.verified_time.unwrap_or(e.time));
        let decided = status.conditions.iter().find(|c| c.type_ == "Decided").map(|c| c.last_transition_time);
        ended.or(decided)
    };
    let created = || request.creation_timestamp().map(|t| t.0).unwrap_or_default();
    request.status.as_ref().and_then(of).unwrap_or_else(created)
}
