//! What an AccessLock is about, and what follows: a request that fits is refused, a live grant that fits ends. Pure.
//!
//! A lock that cannot be read refuses everything new and ends nothing, like a Forbid that cannot be read. What is not known of a request
//! counts as fitting; a grant ends only on what is known of it. Called by the gates, by the loop of leases, by what counts for the status of a
//! lock, and by `daypass lock`.

pub mod tally;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{decision::Denial, images::Images, snapshot::LockFacts};
use crate::api::{
    CredentialLeaseSpec, DenialReason, EndReason,
    condition::truncate,
    lease::LeaseLock,
    lock::{LockMatch, LockSource},
};

/// A lock with a later end than this is waited for by nobody.
const WORTH_WAITING_FOR: SignedDuration = SignedDuration::from_hours(24);

/// Who has, or asks for, what: everything that a lock can be about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Namespace of the request.
    pub namespace: &'a str,
    /// Name of the service account; `None` if it is none.
    pub service_account: Option<&'a str>,
    /// UID of the pod.
    pub pod_uid: &'a str,
    /// Node as the token says it, and as the pod does; empty if it is not said.
    pub nodes: [&'a str; 2],
    /// Images of the pod; `None` if they are not known.
    pub images: Option<&'a Images>,
    /// Name of the class.
    pub class: &'a str,
}

impl<'a> Subject<'a> {
    /// Of a lease, with what is known of its pod: images and node.
    pub fn of_lease(spec: &'a CredentialLeaseSpec, pod: Option<(&'a Images, &'a str)>) -> Self {
        Self {
            namespace: &spec.request_namespace,
            service_account: spec.requester.service_account().map(|(_, name)| name),
            pod_uid: &spec.requester.pod_uid,
            nodes: [&spec.requester.node_name, pod.map(|(_, node)| node).unwrap_or_default()],
            images: pod.map(|(images, _)| images),
            class: &spec.class_name,
        }
    }
}

/// Whether a lock is about a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Every part that is given fits.
    Yes,
    /// One does not.
    No,
    /// None is known not to fit, and the images of the pod are not known.
    Unknown,
}

/// Whether everything that is given fits. Nothing given fits nothing: a schema can be edited.
pub fn fit(wanted: &LockMatch, subject: &Subject<'_>) -> Fit {
    let LockMatch { namespaces, service_account_names, pod_uids, nodes, images, classes, everything } = wanted;
    if *everything == Some(true) {
        return Fit::Yes;
    }
    let parts = [namespaces, service_account_names, pod_uids, nodes, images, classes];
    if parts.iter().all(|part| part.is_none()) {
        return Fit::No;
    }
    let any = |part: &Option<Vec<String>>, held: &[&str]| {
        part.as_ref().is_none_or(|names| names.iter().any(|name| !name.is_empty() && held.contains(&name.as_str())))
    };
    let known = any(namespaces, &[subject.namespace])
        && any(service_account_names, subject.service_account.as_slice())
        && any(pod_uids, &[subject.pod_uid])
        && any(nodes, &subject.nodes)
        && any(classes, &[subject.class]);
    match (known, images, subject.images) {
        (false, ..) => Fit::No,
        (true, None, _) => Fit::Yes,
        (true, Some(_), None) => Fit::Unknown,
        (true, Some(wanted), Some(held)) if wanted.iter().any(|image| held.any_is(image)) => Fit::Yes,
        (true, Some(_), Some(_)) => Fit::No,
    }
}

/// The lock that keeps a request from being granted at this moment; of several the one that ends last, then the first by name.
pub fn refusing<'l>(locks: impl IntoIterator<Item = &'l LockFacts>, subject: &Subject<'_>, now: Timestamp) -> Option<&'l LockFacts> {
    last(locks, now, |lock| lock.broken.is_some() || fit(&lock.matches, subject) != Fit::No)
}

/// The lock that ends a live grant at this moment.
pub fn ending<'l>(locks: impl IntoIterator<Item = &'l LockFacts>, subject: &Subject<'_>, now: Timestamp) -> Option<&'l LockFacts> {
    last(locks, now, |lock| lock.broken.is_none() && fit(&lock.matches, subject) == Fit::Yes)
}

fn last<'l>(locks: impl IntoIterator<Item = &'l LockFacts>, now: Timestamp, about: impl Fn(&LockFacts) -> bool) -> Option<&'l LockFacts> {
    let in_force = locks.into_iter().filter(|lock| now < lock.expires_at && about(lock));
    in_force.min_by(|a, b| b.expires_at.cmp(&a.expires_at).then_with(|| a.name.cmp(&b.name)))
}

/// What a request is told that a lock refuses.
pub fn denial(lock: &LockFacts, now: Timestamp) -> Denial {
    let name = &lock.name;
    let left = lock.expires_at.duration_since(now);
    let message = match (&lock.broken, lock.source) {
        (Some(_), _) => format!(
            "AccessLock {name} cannot be read by this version of Daypass, so it is taken to lock everything: tell the platform team to correct \
             or delete it"
        ),
        (None, LockSource::Person) => format!(
            "AccessLock {name} is in force until {}: {}. Ask {}, who placed it, or ask again after that",
            lock.expires_at,
            reason(lock),
            truncate(&lock.by, 128)
        ),
        (None, LockSource::Engine) => format!(
            "AccessLock {name}, which Daypass placed by itself, is in force until {}: {}. Ask the security team, who can lift it, or ask again \
             after that",
            lock.expires_at,
            reason(lock)
        ),
    };
    let retry_after = (lock.broken.is_none() && left <= WORTH_WAITING_FOR).then(|| rounded_up(left));
    Denial { reason: DenialReason::Forbidden, message, retry_after, policy: None, lock: Some(name.clone()) }
}

/// Why a grant ends that a lock is about.
pub fn end(lock: &LockFacts) -> LockEnd {
    let (why, placed) = match lock.source {
        LockSource::Person => (EndReason::Locked, format!("by {}", truncate(&lock.by, 128))),
        LockSource::Engine => (EndReason::AbnormalFrequency, "by Daypass itself".to_owned()),
    };
    let message = format!("locked by AccessLock {}, placed {placed}: {}", lock.name, reason(lock));
    LockEnd { reason: why, message, lock: LeaseLock { name: lock.name.clone(), uid: lock.uid.clone() } }
}

/// An end that a lock brings about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockEnd {
    /// The cause.
    pub reason: EndReason,
    /// A sentence that the requester may read.
    pub message: String,
    /// The lock.
    pub lock: LeaseLock,
}

/// Without the full stop that its author may have put: a sentence goes on after it.
fn reason(lock: &LockFacts) -> String {
    truncate(lock.reason.trim().trim_end_matches('.'), 300)
}

/// Whole seconds, so that who asks again after them asks after the end.
fn rounded_up(left: SignedDuration) -> Duration {
    let seconds = left.as_secs() + i64::from(left.subsec_nanos() > 0);
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default().max(1))
}

#[cfg(test)]
mod tests;
