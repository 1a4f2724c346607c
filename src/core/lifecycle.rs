//! What becomes of a lease next: the pure rule of ending. One step at a time, so that every crash lies between two steps.
//!
//! `controller::lease` observes, asks [`step`], carries the one step out and asks again. Nothing here gates an ending on anything: not on
//! the guard, not on policies, not on who leads.

use jiff::{SignedDuration, Timestamp};

use super::locks::LockEnd;
use crate::api::{
    CredentialLeaseSpec, Delivery, EndReason, Proof, RequestState,
    lease::{LeaseLock, LeaseState},
};

/// Everything that the next step of one lease depends on.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The operator's clock.
    pub own: Timestamp,
    /// The API server's clock, never later than it really is; `None` if it has not been heard of.
    pub server: Option<Timestamp>,
    /// What was written down.
    pub spec: &'a CredentialLeaseSpec,
    /// Where the lease stands; `None` = open.
    pub state: Option<LeaseState>,
    /// The cause that its status already names, once it is not open any more.
    pub marked: Option<Ending>,
    /// What a lock that is in force makes of it.
    pub lock: Option<LockEnd>,
    /// The request.
    pub request: RequestFact,
    /// The pod that asked.
    pub pod: PodFact,
    /// The request's namespace is being deleted.
    pub namespace_terminating: bool,
    /// The service account with the recorded UID is certainly gone.
    pub account_gone: bool,
    /// The service account that the token is of is certainly gone.
    pub assumed_gone: bool,
    /// The node with the recorded UID is certainly gone.
    pub node_gone: bool,
    /// What judging it again said, where that ends it.
    pub verdict: Option<(EndReason, String)>,
    /// The delivered Secret, as far as this process knows.
    pub secret: SecretFact,
    /// The Secret that the token is bound to, as far as this process knows.
    pub bound: SecretFact,
    /// Whether the token is refused.
    pub token: TokenFact,
    /// The revocation list that the certificate's serial number goes onto.
    pub list: ListFact,
    /// When this process first saw what ends it, where that was before now: until it is written down each look would see it begin again.
    pub since: Option<Timestamp>,
}

/// What verifiers find of a certificate on the revocation list of its authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListFact {
    /// It is no certificate, its class had no list when it was issued, or it was not asked for because the grant is live.
    None,
    /// Its serial number is not on the published list yet, or that is not known right now.
    Pending,
    /// A certificate of its serial number was refused by a verifier that has the published list.
    Refused,
    /// The key that signed it is gone, and with it every list that could name it.
    Lost,
}

/// A Secret of a lease: the delivered one, or the one that its token is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretFact {
    /// It may be there.
    There,
    /// It is certainly gone, or there never was one.
    Gone,
    /// Deleting it failed a moment ago; it is tried again later.
    Failed,
    /// The API server will not let us delete it: the right was withdrawn, or went with its namespace.
    Refused,
}

/// What is known of a token since the Secret that it is bound to was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFact {
    /// Nobody has asked yet. What it is bound to has been seen to be gone since then.
    Unasked {
        /// By the operator's clock.
        gone_since: Timestamp,
    },
    /// It was still accepted, out of a cache; asked again then.
    Accepted {
        /// When.
        again: Timestamp,
    },
    /// It was accepted after the mint, and every API server refuses it now.
    Refused,
    /// This process does not hold the token, or cannot ask: what it is bound to has been seen to be gone since then.
    Unseen {
        /// By the operator's clock.
        gone_since: Timestamp,
    },
}

/// The request of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestFact {
    /// It is there, in this state.
    There(RequestState),
    /// It is there, and what it holds came from another attempt than this lease.
    ServedByAnother,
    /// It is certainly gone.
    Gone,
    /// Not known right now.
    Unknown,
}

/// The pod of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodFact {
    /// It is there and may go on using what it holds.
    There,
    /// It is to be gone at this time (its grace included).
    Leaving(Timestamp),
    /// It is certainly gone, another pod has its name, or it has finished.
    Gone(&'static str),
    /// Not known right now.
    Unknown,
}

/// Why and since when a grant ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The cause.
    pub reason: EndReason,
    /// When it happened.
    pub time: Timestamp,
    /// A sentence for people.
    pub message: String,
    /// The lock that brought it about, if one did.
    pub lock: Option<LeaseLock>,
}

/// The one thing to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing, until something changes or until then.
    Wait(Option<Timestamp>),
    /// Make the request terminal: whoever is about to release the credential meets that and stops.
    Fence(Ending),
    /// Write `Revoking` and the cause into the lease.
    Mark(Ending),
    /// Delete the Secret that the token is bound to: the API server refuses the token from then on.
    DeleteBound,
    /// Delete the delivered Secret.
    DeleteSecret,
    /// Ask every API server whether it still accepts the token.
    Review,
    /// Write `Closed`: the credential is dead, and this proves it.
    Close(Ending, Proof),
    /// Say in the request's status what the ledger says.
    Project,
}

/// No API server accepts a token any more once the Secret that it is bound to has been gone for this long: successful authentications are
/// cached for 10 s, and nothing else is.
pub const TOKEN_CACHES: SignedDuration = SignedDuration::from_secs(11);

/// An API server looks a Secret up in what its own watch has brought. Shown a token before that has heard of the deletion, it would accept it,
/// and go on accepting it for as long as it remembers: so nobody asks before this.
pub const NEWS_TRAVELS: SignedDuration = SignedDuration::from_secs(1);

/// A certificate is good through its `notAfter` (RFC 5280 §4.1.2.5), which is a whole second: rustls accepts it until that is over, openssl does
/// not. Nothing is called dead while anybody accepts it.
pub const LAST_SECOND: SignedDuration = SignedDuration::from_secs(1);

/// A list is published within this time, or something keeps it: only then the request is told that its grant has ended and is not dead yet.
const LISTED_WITHIN: SignedDuration = SignedDuration::from_secs(3);

/// Before the API server's clock is asked for again, while it is not known.
const UNKNOWN_CLOCK_RETRY: SignedDuration = SignedDuration::from_secs(1);

/// The next step of a lease.
pub fn step(facts: &Facts<'_>) -> Step {
    match facts.state {
        Some(LeaseState::Closed) => match facts.request {
            RequestFact::There(RequestState::Active | RequestState::Revoking) => Step::Project,
            // The next attempt is on its way to answer it.
            RequestFact::There(RequestState::Pending) if abandoned(facts.marked.as_ref()) => Step::Wait(None),
            RequestFact::There(RequestState::Pending) => Step::Fence(released_by_nobody(facts)),
            _ => Step::Wait(None),
        },
        Some(LeaseState::Revoking) => finish(facts, facts.marked.clone().unwrap_or_else(|| released_by_nobody(facts))),
        None => match cause(facts) {
            Some(ending) => end(facts, ending),
            None => Step::Wait(Some(next_date(facts))),
        },
    }
}

/// What ends an open lease, if anything does. The first that holds is the one that is named.
pub fn cause(facts: &Facts<'_>) -> Option<Ending> {
    let spec = facts.spec;
    let now = latest(facts);
    let since = facts.since.unwrap_or(now).min(now);
    let ending = |reason, message: String| Some(Ending { reason, time: since, message, lock: None });
    if now >= spec.expires_at {
        // A token always says a later end of its own than the grant has.
        let shortened = spec.x509.as_ref().is_some_and(|x509| spec.expires_at < x509.not_after);
        let message = if shortened { "its shortened time ran out" } else { "its time ran out" };
        return Some(Ending { reason: EndReason::Expired, time: spec.expires_at, message: message.into(), lock: None });
    }
    if let Some(revoke) = &spec.revoke {
        return ending(EndReason::RevokedByPerson, format!("revoked by {}: {}", revoke.by, revoke.reason));
    }
    if let Some(LockEnd { reason, message, lock }) = facts.lock.clone() {
        return Some(Ending { reason, time: now, message, lock: Some(lock) });
    }
    match facts.request {
        RequestFact::Gone if facts.namespace_terminating => {
            return ending(EndReason::NamespaceGone, "its namespace is being deleted".into());
        }
        RequestFact::Gone => return ending(EndReason::Completed, "its AccessRequest was deleted".into()),
        RequestFact::There(RequestState::Denied | RequestState::Failed) => {
            return ending(EndReason::NotReleased, "its request was answered otherwise before the credential was released".into());
        }
        RequestFact::ServedByAnother => return ending(EndReason::NotReleased, "another attempt has served its request".into()),
        RequestFact::There(RequestState::Ended) => return ending(EndReason::Completed, "its request has ended".into()),
        RequestFact::There(_) | RequestFact::Unknown => {}
    }
    match facts.pod {
        PodFact::Gone(how) => return ending(EndReason::PodGone, format!("pod {} {how}", spec.requester.pod_name)),
        PodFact::Leaving(at) if now >= at => {
            return ending(EndReason::PodGone, format!("pod {} should have been gone by {at}", spec.requester.pod_name));
        }
        _ => {}
    }
    if facts.namespace_terminating {
        return ending(EndReason::NamespaceGone, "its namespace is being deleted".into());
    }
    if facts.account_gone {
        return ending(EndReason::IdentityRemoved, "its service account was deleted or made anew".into());
    }
    if let Some(token) = spec.token.as_ref().filter(|_| facts.assumed_gone) {
        let message = format!("service account {}/{}, which it assumes, was deleted or made anew", token.namespace, token.service_account);
        return ending(EndReason::IdentityRemoved, message);
    }
    if facts.node_gone {
        return ending(EndReason::NodeLost, format!("node {} was deleted or made anew", spec.requester.node_name));
    }
    let (reason, message) = facts.verdict.clone()?;
    ending(reason, message)
}

/// First step of the end of an open lease.
fn end(facts: &Facts<'_>, ending: Ending) -> Step {
    let pending = facts.request == RequestFact::There(RequestState::Pending);
    if pending && ending.reason != EndReason::Abandoned {
        return Step::Fence(ending);
    }
    if facts.spec.delivery == Delivery::CSR && never_released(facts) {
        return Step::Close(ending, Proof::NeverReleased);
    }
    if needs_no_mark(facts.spec, &ending) { finish(facts, ending) } else { Step::Mark(ending) }
}

/// The cause can be computed again after a restart, so it needs to be written down only if the end takes time.
fn needs_no_mark(spec: &CredentialLeaseSpec, ending: &Ending) -> bool {
    match (&spec.x509, ending.reason) {
        // A certificate is dead at its own end, or once it is on a list: any earlier end takes time.
        (Some(x509), EndReason::Expired) => spec.expires_at >= x509.not_after,
        (Some(_), _) => false,
        // A lock may be lifted, and a policy put right, before the end has been proven.
        (None, EndReason::PolicyChanged | EndReason::Locked | EndReason::AbnormalFrequency) => false,
        (None, EndReason::Abandoned | EndReason::Drained) => false,
        (None, _) => true,
    }
}

/// Takes back what can be taken back, and closes once it is proven that the credential is refused. Says so meanwhile.
fn finish(facts: &Facts<'_>, ending: Ending) -> Step {
    if facts.request == RequestFact::There(RequestState::Pending) && ending.reason != EndReason::Abandoned {
        return Step::Fence(ending);
    }
    let bound = if facts.spec.token.is_some() { facts.bound } else { SecretFact::Gone };
    if bound == SecretFact::There {
        return Step::DeleteBound;
    }
    let secret = if facts.spec.secret.is_some() { facts.secret } else { SecretFact::Gone };
    if secret == SecretFact::There {
        return Step::DeleteSecret;
    }
    if facts.list == ListFact::Refused && secret != SecretFact::Failed {
        return Step::Close(ending, Proof::CRLPublished);
    }
    // Where the right to delete a Secret is gone, the credential in it is as dead as any other. One that could not be deleted for the moment
    // is deleted first.
    if dead(facts) && ![bound, secret].contains(&SecretFact::Failed) {
        return Step::Close(ending, Proof::NotAfterPassed);
    }
    let everything_gone = bound == SecretFact::Gone && secret == SecretFact::Gone;
    let later = match &facts.spec.token {
        Some(token) if everything_gone => match refusal(facts, token.revocable) {
            Refusal::Proven(proof) => return Step::Close(ending, proof),
            Refusal::Ask => return Step::Review,
            Refusal::Soon(time) => return Step::Wait(Some(time)),
            Refusal::NotBefore(time) => time,
        },
        _ => proof_due(facts),
    };
    match (facts.state, facts.request) {
        // It takes time: from here on everybody can read that it ends.
        (None, _) if facts.spec.token.is_some() => Step::Mark(ending),
        (Some(LeaseState::Revoking), RequestFact::There(RequestState::Active)) => {
            let told_at = ending.time + LISTED_WITHIN;
            let soon = facts.list == ListFact::Pending && latest(facts) < told_at;
            if soon { Step::Wait(Some(told_at.min(later))) } else { Step::Project }
        }
        _ => Step::Wait(Some(later)),
    }
}

/// Whether a token is refused.
enum Refusal {
    Proven(Proof),
    Ask,
    /// To be asked in a moment: not worth saying anything before.
    Soon(Timestamp),
    NotBefore(Timestamp),
}

/// What is known of a token whose Secrets are all gone.
fn refusal(facts: &Facts<'_>, revocable: bool) -> Refusal {
    if never_released(facts) {
        return Refusal::Proven(Proof::NeverReleased);
    }
    if !revocable {
        return Refusal::NotBefore(proof_due(facts));
    }
    match facts.token {
        TokenFact::Refused => Refusal::Proven(Proof::TokenRefused),
        TokenFact::Unasked { gone_since } if facts.own >= gone_since + NEWS_TRAVELS => Refusal::Ask,
        TokenFact::Unasked { gone_since } => Refusal::Soon(ahead(facts, gone_since + NEWS_TRAVELS)),
        TokenFact::Accepted { again } if facts.own >= again => Refusal::Ask,
        TokenFact::Accepted { again } => Refusal::NotBefore(ahead(facts, again)),
        TokenFact::Unseen { gone_since } if facts.own >= gone_since + TOKEN_CACHES => Refusal::Proven(Proof::BoundObjectGone),
        TokenFact::Unseen { gone_since } => Refusal::NotBefore(ahead(facts, gone_since + TOKEN_CACHES)),
    }
}

/// A time of the operator's clock, told by the faster of the two clocks: that is the one that wakes us.
fn ahead(facts: &Facts<'_>, own: Timestamp) -> Timestamp {
    latest(facts) + own.duration_since(facts.own).max(SignedDuration::from_millis(20))
}

/// When the slower of the two clocks is past the credential's own end, told by the faster one.
fn proof_due(facts: &Facts<'_>) -> Timestamp {
    let slower = facts.server.map_or(facts.own, |server| server.min(facts.own));
    let left = (facts.spec.not_after() + LAST_SECOND).duration_since(slower);
    let left = if facts.server.is_none() { left.max(UNKNOWN_CLOCK_RETRY) } else { left };
    latest(facts) + left.max(SignedDuration::from_millis(20))
}

/// Both clocks are past the credential's own end, and nobody accepts it any more.
fn dead(facts: &Facts<'_>) -> bool {
    let over = facts.spec.not_after() + LAST_SECOND;
    facts.own >= over && facts.server.is_some_and(|server| server >= over)
}

/// The request is terminal without ever having held the credential, and no Secret could hold it either.
fn never_released(facts: &Facts<'_>) -> bool {
    facts.spec.delivery != Delivery::Secret && matches!(facts.request, RequestFact::There(RequestState::Denied | RequestState::Failed))
}

fn abandoned(marked: Option<&Ending>) -> bool {
    marked.is_some_and(|ending| ending.reason == EndReason::Abandoned)
}

fn released_by_nobody(facts: &Facts<'_>) -> Ending {
    Ending {
        reason: EndReason::NotReleased,
        time: latest(facts),
        message: "the attempt was closed before its credential was released".into(),
        lock: None,
    }
}

/// Ends start when either clock reaches a date.
fn latest(facts: &Facts<'_>) -> Timestamp {
    facts.server.map_or(facts.own, |server| server.max(facts.own))
}

fn next_date(facts: &Facts<'_>) -> Timestamp {
    match facts.pod {
        PodFact::Leaving(at) => at.min(facts.spec.expires_at),
        _ => facts.spec.expires_at,
    }
}
