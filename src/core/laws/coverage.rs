//! The worlds reach every answer: a law that is never put to the test would hold of anything.

use std::collections::BTreeMap;

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};

use super::{
    super::{
        decide,
        decision::{Consideration, Reconsideration, Verdict},
        reconsider,
    },
    carried_out,
    world::{live_grants, snapshots},
};
use crate::api::{DenialReason, EndReason};

/// How often each answer came in this many worlds of a fixed seed.
fn tally<T: std::fmt::Debug>(worlds: impl Strategy<Value = T>, answers: impl Fn(&T) -> Vec<String>) -> BTreeMap<String, usize> {
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeMap::new();
    for _ in 0..4000 {
        let world = worlds.new_tree(&mut runner).unwrap().current();
        for answer in answers(&world) {
            *seen.entry(answer).or_default() += 1;
        }
    }
    seen
}

#[track_caller]
fn all_seen(seen: &BTreeMap<String, usize>, wanted: impl IntoIterator<Item = String>) {
    for one in wanted {
        assert!(seen.get(&one).is_some_and(|count| *count >= 10), "{one} is too rare: {seen:#?}");
    }
}

#[test]
fn new_requests_get_every_answer() {
    let seen = tally(snapshots(), |world| {
        let decision = decide(world);
        let mut seen = match &decision.verdict {
            Verdict::Allow(grant) if grant.cut_by.is_some() => vec!["allowed, cut".to_owned()],
            Verdict::Allow(_) => vec!["allowed as asked".to_owned()],
            Verdict::Deny(denial) if denial.lock.is_some() => vec!["locked".to_owned()],
            Verdict::Deny(denial) => vec![denial.reason.to_string()],
            Verdict::Wait(_) => vec!["wait".to_owned()],
        };
        seen.extend(decision.considered.iter().map(|one| match &one.result {
            Consideration::DoesNotApply(why) => format!("does not apply: {}", why.split([' ', ':', '[']).next().unwrap_or_default()),
            Consideration::Permits { .. } => "permits".to_owned(),
            Consideration::Refuses { reason, .. } => format!("refuses: {reason}"),
        }));
        seen
    });
    // SecretExists is found out by the one who reserves the Secret.
    let reasons = DenialReason::ALL.iter().filter(|reason| **reason != DenialReason::SecretExists).map(ToString::to_string);
    all_seen(&seen, reasons);
    let others = [
        "locked",
        "allowed, cut",
        "allowed as asked",
        "wait",
        "permits",
        "refuses: Forbidden",
        "refuses: GateFailed",
        "refuses: LimitReached",
    ];
    all_seen(&seen, others.map(str::to_owned));
    all_seen(&seen, ["classes", "subjects", "expired", "broken", "when", "it", "class"].map(|part| format!("does not apply: {part}")));
}

#[test]
fn live_grants_get_every_answer() {
    let seen = tally(live_grants(), |(world, lease, gone)| {
        let answer = reconsider(world, lease, *gone);
        let seen = match (&answer, carried_out(lease, &answer)) {
            (_, Some(next)) if next.policy.name != lease.policy.name => "moved".to_owned(),
            (_, Some(next)) if next.expires_at < lease.expires_at => "shortened".to_owned(),
            (_, Some(_)) => "kept".to_owned(),
            (Reconsideration::End { reason, .. }, _) => reason.to_string(),
            (_, None) => "undecided".to_owned(),
        };
        vec![seen]
    });
    let ends = [EndReason::PolicyChanged, EndReason::Expired, EndReason::NamespaceGone].map(|reason| reason.to_string());
    all_seen(&seen, ends.into_iter().chain(["kept", "shortened", "moved", "undecided"].map(str::to_owned)));
}
