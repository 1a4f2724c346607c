//! What the policies say of a request that passed every gate.
//!
//! Any Forbid that applies denies. Else the most permissive Permit decides: one that grants (the shortest lifetime, then the first by id),
//! else one that refuses for a reason that time may cure (`LimitReached`), else one whose conditions do not hold (`GateFailed`), each the
//! first by id. So the requester is told of the shortest way to a credential, and the order of the policies never matters.

use std::time::Duration;

use super::{
    super::{
        decision::{Consideration, Considered, Decision, Denial, Grant, Verdict},
        matching::{self, Match, namespace_set},
        snapshot::{PolicyFacts, Snapshot, Tri},
    },
    gates::Ask,
    lifetime::{Lifetime, PolicyLifetimes, lifetime},
};
use crate::api::{
    DenialReason,
    policy::Effect,
    request::{Revocation, RevocationKind},
};

/// Ask again after this when a limit is reached: a lease of the usual few minutes may well have ended.
const RETRY_LIMIT: Duration = Duration::from_secs(30);

/// What came of one policy.
enum Finding {
    DoesNotApply(String),
    Permits(Lifetime),
    Refuses {
        reason: DenialReason,
        /// What the requester may read.
        message: String,
        /// What the decision log and `daypass explain` tell.
        detail: String,
    },
}

pub(super) fn judge(snapshot: &Snapshot, ask: &Ask<'_>) -> Decision {
    let mut policies: Vec<&PolicyFacts> = snapshot.policies.iter().collect();
    policies.sort_by(|a, b| (&a.id, &a.uid).cmp(&(&b.id, &b.uid)));
    let looked: Vec<(&PolicyFacts, Finding)> = policies.into_iter().map(|policy| (policy, look(policy, snapshot, ask))).collect();
    let verdict = refusal(&looked, DenialReason::Forbidden, None)
        .or_else(|| grant(&looked, ask))
        .or_else(|| refusal(&looked, DenialReason::LimitReached, Some(RETRY_LIMIT)))
        .or_else(|| refusal(&looked, DenialReason::GateFailed, None))
        .unwrap_or_else(|| not_permitted(snapshot, ask));
    Decision { verdict, considered: looked.into_iter().map(|(policy, finding)| considered(policy, finding)).collect() }
}

/// Whether each policy would apply, without a decision: for `daypass explain` of a request that never came so far as to be judged. `Err`:
/// the part of it that keeps it from applying.
pub fn applicability(snapshot: &Snapshot) -> Vec<(&PolicyFacts, Result<(), String>)> {
    let mut policies: Vec<&PolicyFacts> = snapshot.policies.iter().collect();
    policies.sort_by(|a, b| (&a.id, &a.uid).cmp(&(&b.id, &b.uid)));
    let applies = |policy: &PolicyFacts| match (matching::policy(policy, snapshot), condition(policy)) {
        (Match::No(why) | Match::Unknown(why), _) => Err(why),
        (Match::Yes, Tri::True) => Ok(()),
        (Match::Yes, Tri::False) => Err("when is false".to_owned()),
        (Match::Yes, Tri::Error(problem)) => Err(format!("when failed: {problem}")),
    };
    policies.into_iter().map(|policy| (policy, applies(policy))).collect()
}

fn look(policy: &PolicyFacts, snapshot: &Snapshot, ask: &Ask<'_>) -> Finding {
    match (matching::policy(policy, snapshot), policy.effect) {
        (Match::No(why), _) | (Match::Unknown(why), Effect::Permit) => Finding::DoesNotApply(why),
        (Match::Unknown(why), Effect::Forbid) => forbidden(snapshot, format!("it could not be told whether it applies: {why}")),
        (Match::Yes, Effect::Forbid) => forbid(policy, snapshot),
        (Match::Yes, Effect::Permit) => permit(policy, snapshot, ask),
    }
}

/// A Forbid fails closed: whatever keeps it from being read or evaluated counts as true.
fn forbid(policy: &PolicyFacts, snapshot: &Snapshot) -> Finding {
    if let Some(problem) = &policy.broken {
        return forbidden(snapshot, format!("it is broken, and a broken Forbid refuses: {problem}"));
    }
    match condition(policy) {
        Tri::True if policy.has_when => forbidden(snapshot, "when is true".to_owned()),
        Tri::True => forbidden(snapshot, "it applies".to_owned()),
        Tri::False => Finding::DoesNotApply("when is false".to_owned()),
        Tri::Error(problem) => forbidden(snapshot, format!("when failed, and a Forbid that cannot be evaluated refuses: {problem}")),
    }
}

fn permit(policy: &PolicyFacts, snapshot: &Snapshot, ask: &Ask<'_>) -> Finding {
    let lifetimes = match PolicyLifetimes::of(policy) {
        Ok(lifetimes) => lifetimes,
        Err(problem) => return Finding::DoesNotApply(format!("broken: {problem}")),
    };
    match condition(policy) {
        Tri::False => return Finding::DoesNotApply("when is false".to_owned()),
        Tri::Error(problem) => return Finding::DoesNotApply(format!("when failed: {problem}")),
        Tri::True => {}
    }
    let refused = require(policy).or_else(|| revocation(policy, snapshot, ask)).or_else(|| limits(policy));
    refused.unwrap_or_else(|| Finding::Permits(lifetime(snapshot, ask, policy, lifetimes)))
}

/// The verdict of `when`; a policy without one applies, and one that nobody evaluated has failed.
pub(super) fn condition(policy: &PolicyFacts) -> Tri {
    match &policy.when {
        _ if !policy.has_when => Tri::True,
        Some(verdict) => verdict.clone(),
        None => Tri::Error("it was not evaluated".to_owned()),
    }
}

fn require(policy: &PolicyFacts) -> Option<Finding> {
    let failed: Vec<_> = policy.require.iter().filter(|(_, verdict)| *verdict != Some(Tri::True)).collect();
    let (first, _) = failed.first()?;
    let mut message = format!("condition {} does not hold: {}", first.name, first.message);
    if failed.len() > 1 {
        message.push_str(&format!(" (and {} more)", failed.len() - 1));
    }
    let details = failed.iter().map(|(requirement, verdict)| match verdict {
        Some(Tri::Error(problem)) => format!("{} failed: {problem}", requirement.name),
        None => format!("{} failed: it was not evaluated", requirement.name),
        Some(_) => format!("{} is false", requirement.name),
    });
    Some(Finding::Refuses {
        reason: DenialReason::GateFailed,
        message,
        detail: format!("require: {}", details.collect::<Vec<_>>().join("; ")),
    })
}

/// Whether credentials of the class can be taken back as fast as the policy demands.
fn revocation(policy: &PolicyFacts, snapshot: &Snapshot, ask: &Ask<'_>) -> Option<Finding> {
    let detail = too_slow(policy, ask.revocation)?;
    let (class, seconds) = (&snapshot.request.spec.class_name, ask.revocation.bound_seconds);
    let message = match ask.revocation.kind {
        RevocationKind::ExpiryOnly => format!(
            "credentials of class {class} cannot be taken back before they expire, up to {seconds}s: ask for a class that publishes a \
             revocation list, or tell the platform team"
        ),
        RevocationKind::Bounded => format!(
            "credentials of class {class} are refused up to {seconds}s after they were taken back, which is later than the policy allows: ask \
             for another class, or tell the platform team"
        ),
    };
    Some(Finding::Refuses { reason: DenialReason::GateFailed, message, detail })
}

/// Why what the policy demands is not given, with both numbers.
pub(super) fn too_slow(policy: &PolicyFacts, revocation: &Revocation) -> Option<String> {
    let (kind, seconds) = (revocation.kind.as_str(), revocation.bound_seconds);
    let at_most = policy.revocation_at_most.filter(|at_most| seconds > *at_most)?;
    Some(format!("revocation.atMostSeconds: {at_most}, and the class is {kind} within {seconds}s"))
}

fn limits(policy: &PolicyFacts) -> Option<Finding> {
    let limits = policy.limits.as_ref()?;
    // What a schema should have refused (a negative limit) allows nothing.
    let reached = |limit: Option<i64>, count: u64| limit.is_some_and(|limit| count >= u64::try_from(limit).unwrap_or_default());
    let (whose, detail) = if reached(limits.live, policy.live) {
        ("service account", format!("limits.live: {} are live", policy.live))
    } else if reached(limits.live_per_pod, policy.live_of_pod) {
        ("pod", format!("limits.livePerPod: {} of this pod are live", policy.live_of_pod))
    } else {
        return None;
    };
    let message = format!(
        "this {whose} holds as many live credentials as it may: ask again in 30s, or delete an AccessRequest that is no longer needed"
    );
    Some(Finding::Refuses { reason: DenialReason::LimitReached, message, detail })
}

fn forbidden(snapshot: &Snapshot, detail: String) -> Finding {
    let message = format!("a policy forbids class {} for {}: ask the platform team", snapshot.request.spec.class_name, who(snapshot));
    Finding::Refuses { reason: DenialReason::Forbidden, message, detail }
}

fn grant(looked: &[(&PolicyFacts, Finding)], ask: &Ask<'_>) -> Option<Verdict> {
    let permits = looked.iter().filter_map(|(policy, finding)| match finding {
        Finding::Permits(lifetime) => Some((*policy, lifetime)),
        _ => None,
    });
    // The first of equals: they are in the order of their ids.
    let (policy, lifetime) = permits.min_by_key(|(_, lifetime)| lifetime.ttl)?;
    Some(Verdict::Allow(Grant {
        policy: policy.id.clone(),
        policy_uid: policy.uid.clone(),
        policy_generation: policy.generation,
        policy_hash: policy.hash.clone(),
        ttl: lifetime.ttl,
        asked: lifetime.asked,
        cut_by: lifetime.cut_by.clone(),
        class: Box::new(ask.class.clone()),
        not_after: ask.not_after,
        revocation: ask.revocation.clone(),
    }))
}

fn refusal(looked: &[(&PolicyFacts, Finding)], wanted: DenialReason, retry_after: Option<Duration>) -> Option<Verdict> {
    looked.iter().find_map(|(policy, finding)| match finding {
        Finding::Refuses { reason, message, .. } if *reason == wanted => Some(Verdict::Deny(Denial {
            reason: wanted,
            message: message.clone(),
            retry_after,
            policy: Some(policy.id.clone()),
            lock: None,
        })),
        _ => None,
    })
}

/// Says whom to ask: the owners of the namespace can help only if the class is delegated to it.
fn not_permitted(snapshot: &Snapshot, ask: &Ask<'_>) -> Verdict {
    let (class, namespace) = (&snapshot.request.spec.class_name, &snapshot.request.namespace);
    let delegated =
        ask.class.delegate_to.as_ref().is_some_and(|set| namespace_set(set, namespace, snapshot.namespace.as_ref()) == Match::Yes);
    let next = if delegated {
        format!("ask whoever looks after namespace {namespace} for an AccessPolicy, or the platform team for a ClusterAccessPolicy")
    } else {
        "ask the platform team for a ClusterAccessPolicy".to_owned()
    };
    let message = format!("no policy permits class {class} for {}: {next}", who(snapshot));
    Verdict::Deny(Denial { reason: DenialReason::NotPermitted, message, retry_after: None, policy: None, lock: None })
}

fn who(snapshot: &Snapshot) -> String {
    let requester = &snapshot.request.spec.requester;
    let name = requester.service_account().map_or(requester.username.as_str(), |(_, name)| name);
    format!("service account {name} of namespace {}", snapshot.request.namespace)
}

fn considered(policy: &PolicyFacts, finding: Finding) -> Considered {
    let result = match finding {
        Finding::DoesNotApply(why) => Consideration::DoesNotApply(why),
        Finding::Permits(lifetime) => Consideration::Permits { ttl: lifetime.ttl },
        Finding::Refuses { reason, detail, .. } => Consideration::Refuses { reason, detail },
    };
    Considered { policy: policy.id.clone(), result }
}

#[cfg(test)]
#[path = "policies_tests.rs"]
mod tests;
