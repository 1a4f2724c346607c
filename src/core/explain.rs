//! A decision in words for `daypass explain`, and in one JSON object for the decision log.
//!
//! Both tell everything, thresholds and foreign policies included: they are for people with rights on policies and leases. What the
//! requester may read is [`Denial::message`](super::Denial) alone. Decides nothing.

use std::{fmt::Write, time::Duration};

use serde::Serialize;

use super::{
    decide::applicability,
    decision::{Consideration, Considered, Decision, Denial, Grant, Verdict},
    snapshot::{PodFacts, RequestFacts, Snapshot},
};
use crate::api::policy::Effect;

/// A decision as text of several lines: the answer, what it was about, what cut it, and what came of every policy.
pub fn render(decision: &Decision, snapshot: &Snapshot) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = write_all(&mut text, decision, snapshot);
    text
}

fn write_all(out: &mut String, decision: &Decision, snapshot: &Snapshot) -> std::fmt::Result {
    match &decision.verdict {
        Verdict::Allow(grant) => write_grant(out, grant)?,
        Verdict::Deny(denial) => write_denial(out, denial)?,
        Verdict::Wait(missing) => writeln!(out, "Not decided yet: {}.", plain(missing))?,
    }
    write_ask(out, snapshot)?;
    if decision.considered.is_empty() {
        return write_unconsidered(out, snapshot);
    }
    writeln!(out, "Policies:")?;
    let width = decision.considered.iter().map(|one| one.policy.to_string().chars().count()).max().unwrap_or_default();
    for one in &decision.considered {
        writeln!(out, "  {:width$}  {}", plain(&one.policy.to_string()), plain(&outcome(one)))?;
    }
    Ok(())
}

/// That was settled before any policy was asked. Whoever wants to know why still wants to know whether one would have applied.
fn write_unconsidered(out: &mut String, snapshot: &Snapshot) -> std::fmt::Result {
    if snapshot.policies.is_empty() {
        return writeln!(out, "Policies: there are none.");
    }
    writeln!(out, "Policies: none was asked, because that was settled before them. Had one been:")?;
    let looked = applicability(snapshot);
    let width = looked.iter().map(|(policy, _)| policy.id.to_string().chars().count()).max().unwrap_or_default();
    for (policy, applies) in looked {
        let said = match (applies, policy.effect) {
            (Ok(()), Effect::Permit) => "would apply".to_owned(),
            (Ok(()), Effect::Forbid) => "would forbid it".to_owned(),
            (Err(why), _) => format!("would not apply: {why}"),
        };
        writeln!(out, "  {:width$}  {}", plain(&policy.id.to_string()), plain(&said))?;
    }
    Ok(())
}

fn write_grant(out: &mut String, grant: &Grant) -> std::fmt::Result {
    writeln!(out, "Allowed: {} under {}.", duration(grant.ttl), plain(&grant.policy.to_string()))?;
    match &grant.cut_by {
        Some(cut) => writeln!(out, "Cut from {}: {}.", duration(grant.asked), plain(cut)),
        None => Ok(()),
    }
}

fn write_denial(out: &mut String, denial: &Denial) -> std::fmt::Result {
    writeln!(out, "Denied: {}: {}.", denial.reason, plain(&denial.message))?;
    if let Some(policy) = &denial.policy {
        writeln!(out, "Refused by {}.", plain(&policy.to_string()))?;
    }
    if let Some(lock) = &denial.lock {
        writeln!(out, "Refused by AccessLock/{}.", plain(lock))?;
    }
    match denial.retry_after {
        Some(after) => writeln!(out, "Time may cure it: ask again after {}.", duration(after)),
        None => Ok(()),
    }
}

fn write_ask(out: &mut String, snapshot: &Snapshot) -> std::fmt::Result {
    let RequestFacts { namespace, name, spec, .. } = &snapshot.request;
    let asked = spec.ttl.as_ref().map(|ttl| format!(" for {ttl}")).unwrap_or_default();
    writeln!(out, "Request {namespace}/{name} asks for class {}{}.", plain(&spec.class_name), plain(&asked))?;
    let workload = match &snapshot.pod {
        PodFacts::Present(pod) if !pod.workload.is_empty() => format!(" of {}", pod.workload),
        _ => String::new(),
    };
    writeln!(out, "Requester {}, pod {}{}.", plain(&spec.requester.username), plain(&spec.requester.pod_name), plain(&workload))
}

fn outcome(considered: &Considered) -> String {
    match &considered.result {
        Consideration::DoesNotApply(why) => format!("does not apply: {why}"),
        Consideration::Permits { ttl } => format!("permits {}", duration(*ttl)),
        Consideration::Refuses { reason, detail } => format!("refuses, {reason}: {detail}"),
    }
}

/// Text of other people on a terminal: a control character could rewrite the lines around it.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A duration as people write it: `90s` is `1m30s`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let parts = [(seconds / 3600, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
    let text: String = parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect();
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// A decision as it stands in the decision log: fields only ever get added.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record<'a> {
    /// `Allow`, `Deny` or `Wait`.
    pub outcome: &'static str,
    /// `Permitted`, a denial reason, or `Undecided`.
    pub reason: &'static str,
    /// What the requester is told, or what is waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<&'a str>,
    /// The policy that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The lock that refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock: Option<&'a str>,
    /// `metadata.generation` of that policy, for a grant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_generation: Option<i64>,
    /// SHA-256 of its spec, for a grant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_hash: Option<&'a str>,
    /// Lifetime granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u64>,
    /// Lifetime asked for, or the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_seconds: Option<u64>,
    /// What cut it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_by: Option<&'a str>,
    /// For reasons that time may cure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
    /// Namespace of the request.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its UID.
    #[serde(rename = "requestUID")]
    pub request_uid: &'a str,
    /// The class that was asked for.
    pub class: &'a str,
    /// Who asked.
    pub requester: &'a str,
    /// From which pod.
    pub pod: &'a str,
    /// UID of that pod.
    #[serde(rename = "podUID")]
    pub pod_uid: &'a str,
    /// What it is for, in the requester's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<&'a str>,
    /// What came of every policy.
    pub considered: Vec<RecordedPolicy<'a>>,
}

/// What came of one policy, in the decision log.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedPolicy<'a> {
    /// Which.
    pub policy: String,
    /// `Permits`, `Refuses` or `DoesNotApply`.
    pub result: &'static str,
    /// Lifetime that it would give.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u64>,
    /// Why it refuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// What in it refuses or does not match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'a str>,
}

impl<'a> Record<'a> {
    /// What the log says of this decision about this request.
    pub fn of(decision: &'a Decision, request: &'a RequestFacts) -> Self {
        let spec = &request.spec;
        let mut record = Self {
            outcome: "Wait",
            reason: "Undecided",
            message: None,
            policy: None,
            lock: None,
            policy_generation: None,
            policy_hash: None,
            ttl_seconds: None,
            asked_seconds: None,
            cut_by: None,
            retry_after_seconds: None,
            namespace: &request.namespace,
            name: &request.name,
            request_uid: &request.uid,
            class: &spec.class_name,
            requester: &spec.requester.username,
            pod: &spec.requester.pod_name,
            pod_uid: &spec.requester.pod_uid,
            purpose: spec.purpose.as_deref(),
            considered: decision.considered.iter().map(RecordedPolicy::of).collect(),
        };
        match &decision.verdict {
            Verdict::Allow(grant) => record.allow(grant),
            Verdict::Deny(denial) => record.deny(denial),
            Verdict::Wait(missing) => record.message = Some(missing),
        }
        record
    }

    fn allow(&mut self, grant: &'a Grant) {
        (self.outcome, self.reason) = ("Allow", "Permitted");
        self.policy = Some(grant.policy.to_string());
        self.policy_generation = Some(grant.policy_generation);
        self.policy_hash = Some(&grant.policy_hash);
        self.ttl_seconds = Some(grant.ttl.as_secs());
        self.asked_seconds = Some(grant.asked.as_secs());
        self.cut_by = grant.cut_by.as_deref();
    }

    fn deny(&mut self, denial: &'a Denial) {
        (self.outcome, self.reason) = ("Deny", denial.reason.as_str());
        self.message = Some(&denial.message);
        self.policy = denial.policy.as_ref().map(ToString::to_string);
        self.lock = denial.lock.as_deref();
        self.retry_after_seconds = denial.retry_after.map(|after| after.as_secs());
    }
}

impl<'a> RecordedPolicy<'a> {
    fn of(considered: &'a Considered) -> Self {
        let policy = considered.policy.to_string();
        let (result, ttl_seconds, reason, detail) = match &considered.result {
            Consideration::DoesNotApply(why) => ("DoesNotApply", None, None, Some(why.as_str())),
            Consideration::Permits { ttl } => ("Permits", Some(ttl.as_secs()), None, None),
            Consideration::Refuses { reason, detail } => ("Refuses", None, Some(reason.as_str()), Some(detail.as_str())),
        };
        Self { policy, result, ttl_seconds, reason, detail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{
        decide,
        fixture::{permit, snapshot, ttl},
    };

    #[test]
    fn durations_read_as_people_write_them() {
        for (seconds, text) in [(0, "0s"), (1, "1s"), (90, "1m30s"), (600, "10m"), (3600, "1h"), (86399, "23h59m59s")] {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn the_log_line_holds_the_answer_the_ask_and_every_policy() {
        let mut world = snapshot();
        world.request.spec.ttl = Some(ttl("1h"));
        let mut other = permit("batch");
        other.classes = vec!["orders-ro".into()];
        world.policies = vec![permit("orders"), other];
        let decision = decide(&world);
        let line = serde_json::to_value(Record::of(&decision, &world.request)).unwrap();
        assert_eq!(
            line,
            serde_json::json!({
                "outcome": "Allow", "reason": "Permitted", "policy": "ClusterAccessPolicy/orders", "policyGeneration": 1,
                "policyHash": "hash-orders", "ttlSeconds": 900, "askedSeconds": 3600, "cutBy": "class orders-db gives at most 15m",
                "namespace": "shop", "name": "orders-db-1", "requestUID": "request-uid", "class": "orders-db",
                "requester": "system:serviceaccount:shop:orders", "pod": "orders-1", "podUID": "pod-uid",
                "considered": [
                    {"policy": "ClusterAccessPolicy/batch", "result": "DoesNotApply", "detail": "classes [orders-ro] do not include orders-db"},
                    {"policy": "ClusterAccessPolicy/orders", "result": "Permits", "ttlSeconds": 900},
                ],
            })
        );
    }

    #[test]
    fn a_denial_is_logged_with_its_reason_and_when_to_ask_again() {
        let mut world = snapshot();
        world.class = crate::core::snapshot::ClassFacts::Absent;
        let decision = decide(&world);
        let record = Record::of(&decision, &world.request);
        assert_eq!((record.outcome, record.reason, record.retry_after_seconds), ("Deny", "ClassUnavailable", Some(30)));
        assert!(record.message.is_some_and(|message| message.contains("spec.className")));
    }

    #[test]
    fn text_from_others_cannot_steer_the_terminal() {
        let mut world = snapshot();
        let mut broken = permit("orders");
        broken.broken = Some("bad\u{1b}[2J\nAllowed: 24h".into());
        world.policies = vec![broken];
        let text = render(&decide(&world), &world);
        assert!(!text.contains('\u{1b}') && !text.contains("\nAllowed"), "{text:?}");
    }
}
