//! Judging a live grant again, when its policy, class or namespace changes.
//!
//! Only a definite result ends a grant. What failed, came late, is broken, not seen yet or inside its grace leaves it as it is: otherwise an
//! overloaded operator or one bad policy would revoke everything. A definite end outweighs everything that is uncertain, and limits are not
//! judged again. Pod, node and service account are not looked at: their end is a trigger of its own.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{
    super::{
        decision::Reconsideration,
        matching::{self, Match, namespace_set},
        revocation,
        snapshot::{ClassFacts, PolicyFacts, PolicyId, Snapshot, Tri},
    },
    gates::whole_seconds,
    lifetime::PolicyLifetimes,
    policies::{condition, too_slow},
};
use crate::api::{
    CredentialLeaseSpec, EndReason,
    lease::LeasePolicy,
    policy::{Effect, Requirement},
};

/// A policy or class that was deleted may be on its way back (renamed, pruned and synced again): its grants are left alone this long.
pub const DELETED_POLICY_GRACE: SignedDuration = SignedDuration::from_secs(30);

/// How much earlier than its lease a certificate begins, for clocks that run behind. A TTL counts from `notBefore` plus this.
pub const BACKDATE: SignedDuration = SignedDuration::from_secs(30);

/// Since when things that a grant rests on have been seen to be gone (or since the caches synced, if that was later).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    /// The policy that the lease is counted under.
    pub policy: Option<Timestamp>,
    /// The class of the lease.
    pub class: Option<Timestamp>,
}

/// Why a live grant does not simply go on.
enum Doubt {
    /// It ends, definitely.
    Ends(End),
    /// Nothing definite is known.
    Unclear(String),
}

/// An end, and what the requester may read of it.
struct End {
    reason: EndReason,
    message: String,
    /// For the decision log: names the policy and the part of it.
    detail: String,
}

/// What one Permit says of a live grant.
enum Standing {
    /// It still gives it, until then at the latest.
    Permits(Option<Timestamp>),
    /// It definitely no longer does.
    No {
        /// What the requester may read of it.
        told: Option<String>,
        detail: String,
    },
    /// It is not to be told.
    Unclear(String),
}

/// Judges a live grant again.
///
/// The answer is [`Reconsideration::Keep`] under the same policy as long as that permits it, with `expires_at` cut to what the ceilings have
/// become; under the Permit that would decide a new request (shortest lifetime, then id) once its own does not. Applying the answer and
/// asking again gives the same answer.
pub fn reconsider(snapshot: &Snapshot, lease: &CredentialLeaseSpec, gone: Gone) -> Reconsideration {
    let mut policies: Vec<&PolicyFacts> = snapshot.policies.iter().collect();
    policies.sort_by(|a, b| (&a.id, &a.uid).cmp(&(&b.id, &b.uid)));
    let doubts = [namespace(snapshot), time(snapshot, lease), forbids(&policies, snapshot, lease), class(snapshot, lease, gone.class)];
    let mut unclear = None;
    for doubt in doubts.into_iter().flatten() {
        match doubt {
            Doubt::Ends(end) => return end.into(),
            Doubt::Unclear(why) => unclear = unclear.or(Some(why)),
        }
    }
    match (permits(&policies, snapshot, lease, gone.policy), unclear) {
        (Reconsideration::Keep { .. }, Some(why)) => Reconsideration::Undecided(why),
        (answer, _) => answer,
    }
}

impl From<End> for Reconsideration {
    fn from(End { reason, message, detail }: End) -> Self {
        Self::End { reason, message, detail }
    }
}

fn namespace(snapshot: &Snapshot) -> Option<Doubt> {
    let message = || format!("namespace {} is being deleted", snapshot.request.namespace);
    let terminating = snapshot.namespace.as_ref().is_some_and(|facts| facts.terminating);
    terminating.then(|| ends(EndReason::NamespaceGone, message(), message()))
}

fn time(snapshot: &Snapshot, lease: &CredentialLeaseSpec) -> Option<Doubt> {
    let over = lease.expires_at <= snapshot.now;
    over.then(|| ends(EndReason::Expired, "its time ran out".to_owned(), format!("expiresAt {} has passed", lease.expires_at)))
}

/// A Forbid ends a grant only when it is whole, matches, and its `when` is true. A broken one refuses new requests and ends nothing.
fn forbids(policies: &[&PolicyFacts], snapshot: &Snapshot, lease: &CredentialLeaseSpec) -> Option<Doubt> {
    let mut unclear = None;
    for policy in policies.iter().filter(|policy| policy.effect == Effect::Forbid && policy.broken.is_none()) {
        match applies(policy, snapshot) {
            Match::Yes => {
                let message = format!("a policy now forbids class {} for this service account", lease.class_name);
                return Some(changed(message, format!("{} applies", policy.id)));
            }
            Match::No(_) => {}
            Match::Unknown(why) => unclear = unclear.or(Some(Doubt::Unclear(format!("{}: {why}", policy.id)))),
        }
    }
    unclear
}

/// A class that is merely not Ready (its authority may be missing for a moment) ends nothing.
fn class(snapshot: &Snapshot, lease: &CredentialLeaseSpec, gone_since: Option<Timestamp>) -> Option<Doubt> {
    let name = &lease.class_name;
    let spec = match &snapshot.class {
        ClassFacts::NotReady { .. } => return None,
        ClassFacts::Unjudged => return Some(Doubt::Unclear(format!("CredentialClass {name} has not been judged yet"))),
        ClassFacts::Absent if in_grace(gone_since, snapshot.now) => {
            return Some(Doubt::Unclear(format!("CredentialClass {name} is gone, and may come back within 30s")));
        }
        ClassFacts::Absent => return Some(changed(format!("CredentialClass {name} was deleted"), "class".to_owned())),
        ClassFacts::Ready { spec, .. } => spec,
    };
    if !spec.deliveries().contains(&lease.delivery) {
        return Some(changed(
            format!("class {name} no longer delivers by {}", lease.delivery.as_str()),
            "spec.delivery of the class".to_owned(),
        ));
    }
    let set = spec.allowed_namespaces.as_ref()?;
    match namespace_set(set, &lease.request_namespace, snapshot.namespace.as_ref()) {
        Match::Yes => None,
        Match::Unknown(why) => Some(Doubt::Unclear(why)),
        Match::No(why) => {
            let message = format!("class {name} is no longer for namespace {}", lease.request_namespace);
            Some(changed(message, format!("spec.allowedNamespaces of the class: {why}")))
        }
    }
}

fn permits(policies: &[&PolicyFacts], snapshot: &Snapshot, lease: &CredentialLeaseSpec, gone_since: Option<Timestamp>) -> Reconsideration {
    let own_id = PolicyId::read(&lease.policy.name);
    let own = policies.iter().find(|policy| Some(&policy.id) == own_id.as_ref());
    let (told, detail) = match own {
        None if in_grace(gone_since, snapshot.now) => {
            return Reconsideration::Undecided(format!("{} is gone, and may come back within 30s", lease.policy.name));
        }
        None => (None, "it was deleted".to_owned()),
        // It grants nothing new and ends nothing. What can still be read of it is not to be trusted, not even its effect.
        Some(own) if PolicyLifetimes::of(own).is_err() => return keep(&own.id, &lease.policy, None, snapshot, lease),
        Some(own) => match standing(own, snapshot, lease) {
            Standing::Permits(ceiling) => return keep(&own.id, &as_it_stands(own), ceiling, snapshot, lease),
            Standing::Unclear(why) => return Reconsideration::Undecided(format!("{}: {why}", own.id)),
            Standing::No { told, detail } => (told, detail),
        },
    };
    under_another(policies, own_id.as_ref(), snapshot, lease).unwrap_or_else(|| {
        let why = told.map(|told| format!(": {told}")).unwrap_or_default();
        let message = format!("no policy permits class {} for this service account any more{why}", lease.class_name);
        End { reason: EndReason::PolicyChanged, message, detail: format!("{}: {detail}", lease.policy.name) }.into()
    })
}

/// The grant moves to the Permit that would decide a new request; `None` if definitely no other Permit would give it.
fn under_another(
    policies: &[&PolicyFacts],
    own: Option<&PolicyId>,
    snapshot: &Snapshot,
    lease: &CredentialLeaseSpec,
) -> Option<Reconsideration> {
    let (mut best, mut unclear): (Option<(Timestamp, &PolicyFacts)>, Option<String>) = (None, None);
    for policy in policies.iter().filter(|policy| Some(&policy.id) != own) {
        match standing(policy, snapshot, lease) {
            Standing::No { .. } => {}
            Standing::Unclear(why) => unclear = unclear.or_else(|| Some(format!("{}: {why}", policy.id))),
            Standing::Permits(ceiling) => {
                // The first of equals: they are in the order of their ids.
                let until = ceiling.unwrap_or(Timestamp::MAX);
                if best.is_none_or(|(of_best, _)| until < of_best) {
                    best = Some((until, policy));
                }
            }
        }
    }
    match best {
        Some((until, policy)) => Some(keep(&policy.id, &as_it_stands(policy), Some(until), snapshot, lease)),
        None => unclear.map(Reconsideration::Undecided),
    }
}

/// A broken Permit is no new home: like a new request, a grant that it did not give itself finds nothing there.
fn standing(policy: &PolicyFacts, snapshot: &Snapshot, lease: &CredentialLeaseSpec) -> Standing {
    let no = |detail: String| Standing::No { told: None, detail };
    if policy.effect == Effect::Forbid {
        return no("it is a Forbid".to_owned());
    }
    let lifetimes = match PolicyLifetimes::of(policy) {
        Ok(lifetimes) => lifetimes,
        Err(problem) => return no(format!("broken: {problem}")),
    };
    match applies(policy, snapshot) {
        Match::No(why) => return no(why),
        Match::Unknown(why) => return Standing::Unclear(why),
        Match::Yes => {}
    }
    if let Some(detail) = slow(policy, snapshot, lease) {
        let told = "credentials of this class are not taken back as fast as the policy demands".to_owned();
        return Standing::No { told: Some(told), detail };
    }
    let is = |verdict: Tri| move |(_, found): &&(Requirement, Option<Tri>)| found.as_ref() == Some(&verdict);
    if let Some((failed, _)) = policy.require.iter().find(is(Tri::False)) {
        let told = format!("condition {} does not hold: {}", failed.name, failed.message);
        return Standing::No { told: Some(told), detail: format!("require: {} is false", failed.name) };
    }
    match policy.require.iter().find(|requirement| !is(Tri::True)(requirement)) {
        Some((unevaluated, _)) => Standing::Unclear(format!("condition {} could not be evaluated", unevaluated.name)),
        None => Standing::Permits(lifetimes.max.map(|max| longest(lease, max))),
    }
}

/// Whether the class, or this very credential, is taken back more slowly than the policy demands. A class that is not Ready says nothing.
fn slow(policy: &PolicyFacts, snapshot: &Snapshot, lease: &CredentialLeaseSpec) -> Option<String> {
    let of_class = match &snapshot.class {
        ClassFacts::Ready { revocation, .. } => too_slow(policy, revocation),
        _ => None,
    };
    of_class.or_else(|| too_slow(policy, &revocation::of_lease(lease)))
}

/// Selectors and `when` together; an expression that failed or came late is not known.
fn applies(policy: &PolicyFacts, snapshot: &Snapshot) -> Match {
    matching::policy(policy, snapshot).and(|| match condition(policy) {
        Tri::True => Match::Yes,
        Tri::False => Match::No("when is false".to_owned()),
        Tri::Error(problem) => Match::Unknown(format!("when failed: {problem}")),
    })
}

fn keep(
    id: &PolicyId,
    policy: &LeasePolicy,
    ceiling: Option<Timestamp>,
    snapshot: &Snapshot,
    lease: &CredentialLeaseSpec,
) -> Reconsideration {
    let ceilings = [ceiling, class_max(snapshot, lease), ca_end(snapshot)];
    let expires_at = ceilings.into_iter().flatten().fold(lease.expires_at, Timestamp::min);
    if expires_at <= snapshot.now {
        let message = "its policy or class now gives less time than has passed".to_owned();
        return End { reason: EndReason::PolicyChanged, message, detail: format!("{id}: it would have ended at {expires_at}") }.into();
    }
    Reconsideration::Keep {
        policy: id.clone(),
        policy_uid: policy.uid.clone(),
        policy_generation: policy.generation,
        policy_hash: policy.hash.clone(),
        expires_at,
    }
}

/// A class that is not Ready, or whose `ttl.max` cannot be read, shortens nothing.
fn class_max(snapshot: &Snapshot, lease: &CredentialLeaseSpec) -> Option<Timestamp> {
    let ClassFacts::Ready { spec, .. } = &snapshot.class else { return None };
    Some(longest(lease, spec.ttl.max.parse().ok()?))
}

fn ca_end(snapshot: &Snapshot) -> Option<Timestamp> {
    let ClassFacts::Ready { not_after, .. } = &snapshot.class else { return None };
    Some(whole_seconds(*not_after))
}

/// When a grant ends that was given this long from its beginning.
fn longest(lease: &CredentialLeaseSpec, max: Duration) -> Timestamp {
    // Both are bounded (24 h by the parser), so only a lease at the end of time could overflow: it stays as it is.
    lease.not_before.checked_add(BACKDATE).and_then(|begun| begun.checked_add(max)).unwrap_or(lease.expires_at)
}

fn as_it_stands(policy: &PolicyFacts) -> LeasePolicy {
    LeasePolicy { name: policy.id.to_string(), uid: policy.uid.clone(), generation: policy.generation, hash: policy.hash.clone() }
}

/// Without a date nobody has seen it go yet, so the grace has not even begun.
fn in_grace(gone_since: Option<Timestamp>, now: Timestamp) -> bool {
    gone_since.is_none_or(|since| now.duration_since(since) < DELETED_POLICY_GRACE)
}

fn changed(message: String, detail: String) -> Doubt {
    ends(EndReason::PolicyChanged, message, detail)
}

fn ends(reason: EndReason, message: String, detail: String) -> Doubt {
    Doubt::Ends(End { reason, message, detail })
}

#[cfg(test)]
#[path = "reconsider_tests.rs"]
mod tests;
