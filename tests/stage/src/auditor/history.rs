//! What the auditor saw earlier: states that went back, lives that grew, and second credentials show only over time.

use std::collections::{BTreeMap, BTreeSet};

use daypass::api::{CredentialLease, EndReason, RequestState, lease::LeaseState};
use jiff::Timestamp;
use kube::ResourceExt;

use super::{Credential, Sight, TOKEN, certificate::Leaf, data, name_of, owner_uid, same};

/// Memory of one auditor.
#[derive(Debug, Default)]
pub(super) struct History {
    /// By UID of the request.
    requests: BTreeMap<String, Stood>,
    /// By UID of the lease.
    leases: BTreeMap<String, Stood>,
    /// The lease of each attempt to serve a request UID.
    lease_of: BTreeMap<(String, i64), String>,
    /// UIDs of requests that were handed a token.
    tokens: BTreeSet<String>,
    /// The certificate of each request UID.
    certificates: BTreeMap<String, Leaf>,
}

/// How far something had come.
#[derive(Clone, Debug)]
struct Stood {
    rank: u8,
    state: String,
    expires_at: Option<Timestamp>,
    /// Open or Revoking.
    lease_is_live: bool,
}

impl History {
    /// Compares with what was, then remembers what is.
    pub(super) fn note(&mut self, sight: &Sight, credentials: &[Credential], wrong: &mut Vec<String>) {
        for request in &sight.requests {
            let expires_at = request.status.as_ref().and_then(|status| status.credential.as_ref()).map(|credential| credential.expires_at);
            let state = format!("{:?}", request.state());
            let now = Stood { rank: rank_of_request(request.state()), state, expires_at, lease_is_live: false };
            moved_one_way(&mut self.requests, request.uid().unwrap_or_default(), now, &name_of(request), wrong);
        }
        for lease in sight.before.iter().chain(&sight.after) {
            self.note_lease(lease, wrong);
        }
        for leases in [&sight.before, &sight.after] {
            one_attempt_after_the_other(leases, wrong);
        }
        self.note_vanished(sight, wrong);
        let sealed = |request: &&daypass::api::AccessRequest| {
            request.status.as_ref().and_then(|status| status.credential.as_ref()).is_some_and(|credential| credential.sealed.is_some())
        };
        self.tokens.extend(sight.requests.iter().filter(sealed).filter_map(|request| request.uid()));
        let holds_one = |secret: &&k8s_openapi::api::core::v1::Secret| !data(secret, TOKEN).is_empty();
        self.tokens.extend(sight.secrets.iter().filter(holds_one).map(|secret| owner_uid(secret).to_owned()));
        for credential in credentials {
            self.note_certificate(credential, wrong);
        }
    }

    /// The certificates that were ever seen, by the UID of their request.
    pub(super) fn certificates(&self) -> impl Iterator<Item = (&String, &Leaf)> {
        self.certificates.iter()
    }

    /// A certificate or a token of this request was seen.
    pub(super) fn was_released(&self, request_uid: &str) -> bool {
        self.certificates.contains_key(request_uid) || self.tokens.contains(request_uid)
    }

    fn note_lease(&mut self, lease: &CredentialLease, wrong: &mut Vec<String>) {
        let uid = lease.uid().unwrap_or_default();
        let (rank, state) = match lease.state() {
            None => (0, "open"),
            Some(LeaseState::Revoking) => (1, "Revoking"),
            Some(LeaseState::Closed) => (2, "Closed"),
        };
        let now = Stood { rank, state: state.into(), expires_at: Some(lease.spec.expires_at), lease_is_live: rank < 2 };
        moved_one_way(&mut self.leases, uid.clone(), now, &name_of(lease), wrong);
        let attempt = (lease.spec.request_uid.clone(), lease.spec.attempt);
        let first = self.lease_of.entry(attempt).or_insert_with(|| uid.clone());
        if *first != uid || (lease.spec.attempt > 0 && lease.spec.token.is_none()) {
            wrong.push(format!("{} is a second lease of request {}", name_of(lease), lease.spec.request_uid));
        }
    }

    fn note_vanished(&self, sight: &Sight, wrong: &mut Vec<String>) {
        for (uid, stood) in self.leases.iter().filter(|(_, stood)| stood.lease_is_live) {
            if !sight.after.iter().any(|lease| lease.uid().as_ref() == Some(uid)) {
                wrong.push(format!("the lease with UID {uid} went while it was {}", stood.state));
            }
        }
    }

    fn note_certificate(&mut self, credential: &Credential, wrong: &mut Vec<String>) {
        let Credential { request_uid, place, leaf, .. } = credential;
        let first = self.certificates.entry(request_uid.clone()).or_insert_with(|| leaf.clone());
        if !same(&first.serial, &leaf.serial) {
            wrong.push(format!("{place} holds certificate {}, the second of its request: {} was seen before", leaf.serial, first.serial));
        } else if first.public_key != leaf.public_key {
            wrong.push(format!("{place} holds certificate {} for another key than before", leaf.serial));
        }
    }
}

/// Only a token is tried to be served again, and only once the attempt before is closed because nobody knows what came of it.
fn one_attempt_after_the_other(leases: &[CredentialLease], wrong: &mut Vec<String>) {
    for lease in leases.iter().filter(|lease| lease.spec.attempt > 0) {
        let earlier =
            |other: &&CredentialLease| other.spec.request_uid == lease.spec.request_uid && other.spec.attempt < lease.spec.attempt;
        let abandoned = |other: &CredentialLease| other.status.as_ref().is_some_and(|status| status.reason == Some(EndReason::Abandoned));
        for other in leases.iter().filter(earlier).filter(|other| !(other.is_closed() && abandoned(other))) {
            wrong.push(format!("{} was opened though {}, an earlier attempt, is not closed as abandoned", name_of(lease), name_of(other)));
        }
    }
}

fn moved_one_way(known: &mut BTreeMap<String, Stood>, uid: String, now: Stood, what: &str, wrong: &mut Vec<String>) {
    if let Some(before) = known.get(&uid) {
        let settled_otherwise = before.rank == now.rank && before.state != now.state;
        if now.rank < before.rank || settled_otherwise {
            wrong.push(format!("{what} went from {} back to {}", before.state, now.state));
        }
        if let (Some(earlier), Some(later)) = (before.expires_at, now.expires_at)
            && later > earlier
        {
            wrong.push(format!("the end of {what} was {earlier} and grew to {later}"));
        }
    }
    known.insert(uid, now);
}

/// Denied, Failed and Ended are equally far: none may become another.
fn rank_of_request(state: RequestState) -> u8 {
    match state {
        RequestState::Pending => 0,
        RequestState::Active => 1,
        RequestState::Revoking => 2,
        RequestState::Denied | RequestState::Failed | RequestState::Ended => 3,
    }
}
