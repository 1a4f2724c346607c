//! What holds for every request before any policy is asked: the guard was in force, the requester is who it says, no lock is about it, the
//! class can serve it, and the ask itself can be read.
//!
//! Each gate lets pass, denies, or waits. Their order is that of `pass`, and a request is told of the first that it fails.

use std::{ops::ControlFlow, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::super::{
    decision::{Denial, Verdict},
    locks::{self, Subject},
    matching::{self, Match},
    snapshot::{ClassFacts, GuardFacts, PodFacts, Snapshot},
};
use crate::api::{CredentialClassSpec, Delivery, DenialReason, Requester, Ttl, request::Revocation};

/// A request created less than this after the guard came into force is not trusted: an API server may admit by rules that are as old.
pub const GUARD_SETTLES: SignedDuration = SignedDuration::from_secs(2);

/// Ask again after this when the guard was not in force.
const RETRY_GUARD: Duration = Duration::from_secs(5);
/// Ask again after this when the class cannot issue.
const RETRY_CLASS: Duration = Duration::from_secs(30);

type Gate<T = ()> = ControlFlow<Verdict, T>;
const PASS: Gate = ControlFlow::Continue(());

/// An ask that passed every gate, with what was read off it and its class on the way.
pub(super) struct Ask<'a> {
    /// The class as it stands.
    pub class: &'a CredentialClassSpec,
    /// Lifetime when neither request nor policy names one.
    pub class_default: Duration,
    /// Longest lifetime of the class.
    pub class_max: Duration,
    /// End of the certificate authority, in whole seconds.
    pub not_after: Timestamp,
    /// How its credentials can be taken back.
    pub revocation: &'a Revocation,
    /// Whole seconds until then, at least one.
    pub left: Duration,
    /// Lifetime that the request names.
    pub ttl: Option<Duration>,
}

pub(super) fn pass(snapshot: &Snapshot) -> Gate<Ask<'_>> {
    guard(snapshot)?;
    identity(snapshot)?;
    lock(snapshot)?;
    let ask = class(snapshot)?;
    key(snapshot)?;
    ControlFlow::Continue(ask)
}

fn guard(snapshot: &Snapshot) -> Gate {
    let gap = |message: &str| deny(DenialReason::GuardGap, Some(RETRY_GUARD), message.to_owned());
    let since = match &snapshot.guard {
        GuardFacts::InForce { since } => *since,
        GuardFacts::Unknown { reason } => return wait(format!("whether the admission guard is in force is not known: {reason}")),
        GuardFacts::NotInForce { .. } => {
            return gap(
                "the admission guard is not in force, so nobody can say who made this request: make a new one in 5s, and tell the \
                        platform team if it stays so (the condition Ready of every CredentialClass says what is wrong)",
            );
        }
    };
    if snapshot.request.created.duration_since(since) < GUARD_SETTLES {
        return gap("this request was made before the admission guard was in force, so nobody can say who made it: make a new one");
    }
    if snapshot.request.generation != 1 {
        return gap("the spec of this request was edited after it was made, which the admission guard refuses: make a new one");
    }
    PASS
}

/// The requester is a service account of the request's namespace, asking from a pod that is still there.
///
/// A request in the operator's own namespace is `NotPermitted` and not `IdentityMismatch`: it may well be who it says, and nothing that it
/// could change about its identity would help.
fn identity(snapshot: &Snapshot) -> Gate {
    let namespace = &snapshot.request.namespace;
    if *namespace == snapshot.operator_namespace {
        let message = format!("nothing is issued into {namespace}, the namespace of Daypass itself: run the workload in another namespace");
        return deny(DenialReason::NotPermitted, None, message);
    }
    match &snapshot.namespace {
        None => return wait(format!("namespace {namespace} has not been seen yet")),
        Some(facts) if facts.terminating => {
            let message = format!("namespace {namespace} is being deleted, and nothing is issued into it: ask from another namespace");
            return deny(DenialReason::NamespaceNotAllowed, None, message);
        }
        Some(_) => {}
    }
    let requester = &snapshot.request.spec.requester;
    if let Some(gone) = &snapshot.requester_gone {
        return mismatch(format!("{gone} was deleted, or made anew, after this token was minted: ask with a token of now"));
    }
    match requester.service_account() {
        Some((of, name)) if of == namespace && !name.is_empty() => pod(requester, name, snapshot),
        _ => mismatch(format!("{:?} is no service account of namespace {namespace}: ask with a pod's own token", requester.username)),
    }
}

/// The pod that the token was minted for: the same object, with the same identity, on the same node, and not finished.
fn pod(requester: &Requester, service_account: &str, snapshot: &Snapshot) -> Gate {
    let name = &requester.pod_name;
    if name.is_empty() || requester.pod_uid.is_empty() {
        return mismatch("the token is not bound to a pod: ask with the token that is mounted into the pod".to_owned());
    }
    let PodFacts::Present(pod) = &snapshot.pod else {
        return mismatch(format!("pod {name} is gone: ask from a pod that runs"));
    };
    if pod.uid != requester.pod_uid {
        return mismatch(format!(
            "pod {name} is not the one that this token was minted for, but a later one of the same name: ask from it"
        ));
    }
    if pod.service_account != service_account {
        return mismatch(format!(
            "pod {name} does not run as service account {service_account}: ask with the token that is mounted into it"
        ));
    }
    // A token minted before scheduling names no node; one that names a node was minted on it.
    if !requester.node_name.is_empty() && pod.node_name != requester.node_name {
        return mismatch(format!("pod {name} is not on the node that its token names: ask with the token that is mounted into it"));
    }
    // Tokens of finished pods stay valid, so the phase has to be looked at.
    if !matches!(pod.phase.as_str(), "Pending" | "Running") {
        return mismatch(format!("pod {name} is in phase {:?}: only a pod that is Pending or Running is given anything", pod.phase));
    }
    if pod.deletion.is_some_and(|end| end <= snapshot.now) {
        return mismatch(format!("pod {name} was to be gone by now: ask from a pod that stays"));
    }
    PASS
}

/// No lock is about the request. Nobody is excepted: who lifts a lock does it by deleting it.
fn lock(snapshot: &Snapshot) -> Gate {
    match locks::refusing(&snapshot.locks, &subject(snapshot), snapshot.now) {
        Some(lock) => ControlFlow::Break(Verdict::Deny(locks::denial(lock, snapshot.now))),
        None => PASS,
    }
}

/// What a lock may be about in a request whose requester is known to be who it says.
pub fn subject(snapshot: &Snapshot) -> Subject<'_> {
    let requester = &snapshot.request.spec.requester;
    let (node, images) = match &snapshot.pod {
        PodFacts::Present(pod) => (pod.node_name.as_str(), Some(&pod.images)),
        PodFacts::Absent => ("", None),
    };
    Subject {
        namespace: &snapshot.request.namespace,
        service_account: requester.service_account().map(|(_, name)| name),
        pod_uid: &requester.pod_uid,
        nodes: [&requester.node_name, node],
        images,
        class: &snapshot.request.spec.class_name,
    }
}

fn class(snapshot: &Snapshot) -> Gate<Ask<'_>> {
    let name = &snapshot.request.spec.class_name;
    let unavailable = |message: String| deny(DenialReason::ClassUnavailable, Some(RETRY_CLASS), message);
    let (spec, ca_end, revocation) = match &snapshot.class {
        ClassFacts::Absent => {
            return unavailable(format!("there is no CredentialClass {name}: check spec.className, or ask the platform team for it"));
        }
        ClassFacts::Unjudged => return wait(format!("CredentialClass {name} has not been judged yet")),
        ClassFacts::NotReady { reason, .. } => {
            return unavailable(format!("CredentialClass {name} is not Ready ({reason}): ask again later, or tell the platform team"));
        }
        ClassFacts::Ready { spec, not_after, revocation } => (spec.as_ref(), *not_after, revocation),
    };
    allowed(spec, snapshot)?;
    let ask = read(spec, ca_end, revocation, snapshot)?;
    if ask.left.is_zero() {
        return unavailable(format!(
            "the certificate authority of class {name} has come to its end: ask again later, or tell the platform team"
        ));
    }
    ControlFlow::Continue(ask)
}

fn allowed(class: &CredentialClassSpec, snapshot: &Snapshot) -> Gate {
    let (name, namespace) = (&snapshot.request.spec.class_name, &snapshot.request.namespace);
    let open_to =
        class.allowed_namespaces.as_ref().map_or(Match::Yes, |set| matching::namespace_set(set, namespace, snapshot.namespace.as_ref()));
    match open_to {
        Match::Yes => {}
        Match::Unknown(missing) => return wait(missing),
        Match::No(_) => {
            let message =
                format!("class {name} is not for namespace {namespace}: ask the platform team to add it to spec.allowedNamespaces");
            return deny(DenialReason::NamespaceNotAllowed, None, message);
        }
    }
    let wanted = snapshot.request.spec.delivery();
    if class.deliveries().contains(&wanted) {
        return PASS;
    }
    let ways: Vec<_> = class.deliveries().iter().map(|offered| how_to_ask(*offered, wanted)).collect();
    deny(DenialReason::DeliveryNotAllowed, None, format!("class {name} does not deliver by {}: {}", wanted.as_str(), ways.join(", or ")))
}

/// What to change in a request that wanted it another way.
fn how_to_ask(offered: Delivery, wanted: Delivery) -> &'static str {
    match (offered, wanted) {
        (Delivery::CSR, _) => "send a certificate signing request in spec.csr",
        (Delivery::Sealed, _) => "send a public key in spec.sealTo",
        (Delivery::Secret, Delivery::Sealed) => "leave spec.sealTo out to get a Secret",
        (Delivery::Secret, _) => "leave spec.csr out to get a Secret",
    }
}

/// Reads every duration once. A schema can be edited, so what it should have refused is refused here.
fn read<'a>(class: &'a CredentialClassSpec, ca_end: Timestamp, revocation: &'a Revocation, snapshot: &Snapshot) -> Gate<Ask<'a>> {
    let request = &snapshot.request.spec;
    let (Ok(class_default), Ok(class_max)) = (class.ttl.default.parse(), class.ttl.max.parse()) else {
        let message = format!("spec.ttl of CredentialClass {} cannot be read: tell the platform team", request.class_name);
        return deny(DenialReason::ClassUnavailable, Some(RETRY_CLASS), message);
    };
    let ttl = match request.ttl.as_ref().map(Ttl::parse).transpose() {
        Ok(ttl) => ttl,
        Err(problem) => return deny(DenialReason::GateFailed, None, format!("spec.ttl: {problem}")),
    };
    let not_after = whole_seconds(ca_end);
    let left = not_after.duration_since(snapshot.now).as_secs();
    let left = Duration::from_secs(u64::try_from(left).unwrap_or_default());
    ControlFlow::Continue(Ask { class, class_default, class_max, not_after, revocation, left, ttl })
}

/// The public key that the pod sent: in a CSR, or to seal to.
fn key(snapshot: &Snapshot) -> Gate {
    if let Some(problem) = &snapshot.csr_problem {
        return deny(DenialReason::InvalidCSR, None, format!("spec.csr: {problem}"));
    }
    match &snapshot.seal_problem {
        Some(problem) => deny(DenialReason::InvalidSealKey, None, format!("spec.sealTo: {problem}")),
        None => PASS,
    }
}

/// A time without its fraction of a second: certificates have none, and rounding up would let one outlive its bound.
pub(super) fn whole_seconds(time: Timestamp) -> Timestamp {
    let fraction = time.subsec_nanosecond();
    let floor = if fraction < 0 { time.as_second() - 1 } else { time.as_second() };
    Timestamp::from_second(floor).unwrap_or(time)
}

fn mismatch<T>(message: String) -> Gate<T> {
    deny(DenialReason::IdentityMismatch, None, message)
}

fn deny<T>(reason: DenialReason, retry_after: Option<Duration>, message: String) -> Gate<T> {
    ControlFlow::Break(Verdict::Deny(Denial { reason, message, retry_after, policy: None, lock: None }))
}

fn wait<T>(reason: String) -> Gate<T> {
    ControlFlow::Break(Verdict::Wait(reason))
}

#[cfg(test)]
#[path = "gates_tests.rs"]
mod tests;
