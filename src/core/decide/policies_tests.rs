//! Which policy decides, and what the requester and the log are told.

use super::*;
use crate::{
    api::{
        class::NamespaceSet,
        policy::{Limits, PolicyTtl, Requirement},
    },
    core::{
        decide,
        fixture::{class_mut, forbid, permit, snapshot, ttl},
    },
};

fn with(policies: Vec<PolicyFacts>) -> Decision {
    decide(&Snapshot { policies, ..snapshot() })
}

fn denial(decision: &Decision) -> &Denial {
    match &decision.verdict {
        Verdict::Deny(denial) => denial,
        other => panic!("{other:?}"),
    }
}

fn granted_by(decision: &Decision) -> &str {
    match &decision.verdict {
        Verdict::Allow(grant) => &grant.policy.name,
        other => panic!("{other:?}"),
    }
}

fn changed(mut policy: PolicyFacts, change: impl FnOnce(&mut PolicyFacts)) -> PolicyFacts {
    change(&mut policy);
    policy
}

fn when(policy: PolicyFacts, verdict: Option<Tri>) -> PolicyFacts {
    PolicyFacts { has_when: true, when: verdict, ..policy }
}

fn requires(name: &str, conditions: &[(&str, Option<Tri>)]) -> PolicyFacts {
    let requirement =
        |name: &str| Requirement { name: name.into(), expression: "…".into(), message: format!("do something about {name}") };
    PolicyFacts { require: conditions.iter().map(|(name, verdict)| (requirement(name), verdict.clone())).collect(), ..permit(name) }
}

fn limited(name: &str, live: u64, live_of_pod: u64) -> PolicyFacts {
    PolicyFacts { limits: Some(Limits { live: Some(20), live_per_pod: Some(2) }), live, live_of_pod, ..permit(name) }
}

fn up_to(name: &str, max: &str) -> PolicyFacts {
    PolicyFacts { ttl: Some(PolicyTtl { default: None, max: Some(ttl(max)) }), ..permit(name) }
}

fn failed() -> Option<Tri> {
    Some(Tri::Error("no such key: team".into()))
}

#[test]
fn a_forbid_outweighs_every_permit() {
    let decision = with(vec![permit("a"), forbid("z")]);
    assert_eq!(denial(&decision).reason, DenialReason::Forbidden);
    assert_eq!(denial(&decision).policy.as_ref().unwrap().name, "z");
    assert!(denial(&decision).message.contains("ask the platform team"));
    assert_eq!(decision.considered.len(), 2, "what the Permit would have said is told too");
}

#[test]
fn a_forbid_refuses_when_true_when_failing_when_late_and_when_broken_but_not_when_false() {
    for (policy, refuses) in [
        (when(forbid("z"), Some(Tri::True)), true),
        (when(forbid("z"), Some(Tri::False)), false),
        (when(forbid("z"), failed()), true),
        (when(forbid("z"), None), true),
        (PolicyFacts { broken: Some("when: unknown root".into()), ..when(forbid("z"), None) }, true),
        (changed(forbid("z"), |p| (p.broken, p.classes) = (Some("when: unknown root".into()), vec!["orders-ro".into()])), false),
        (changed(forbid("z"), |p| (p.broken, p.subjects, p.classes) = (Some("spec cannot be read".into()), vec![], vec![])), true),
    ] {
        let decision = with(vec![permit("a"), policy.clone()]);
        assert_eq!(matches!(&decision.verdict, Verdict::Deny(d) if d.reason == DenialReason::Forbidden), refuses, "{policy:?}");
    }
}

#[test]
fn what_keeps_a_forbid_from_being_evaluated_is_for_the_log_and_not_for_the_requester() {
    let decision = with(vec![when(forbid("z"), failed())]);
    assert!(!denial(&decision).message.contains("team:") && !denial(&decision).message.contains("no such key"));
    let Consideration::Refuses { detail, .. } = &decision.considered[0].result else { panic!() };
    assert!(detail.contains("no such key: team"), "{detail}");
}

#[test]
fn a_permit_does_not_apply_when_false_when_failing_or_broken() {
    for policy in [
        when(permit("a"), Some(Tri::False)),
        when(permit("a"), failed()),
        when(permit("a"), None),
        PolicyFacts { broken: Some("when: unknown root".into()), ..permit("a") },
        up_to("a", "for ever"),
    ] {
        let decision = with(vec![policy.clone()]);
        assert_eq!(denial(&decision).reason, DenialReason::NotPermitted, "{policy:?}");
        assert!(matches!(decision.considered[0].result, Consideration::DoesNotApply(_)));
    }
}

#[test]
fn a_condition_that_is_false_failed_or_late_denies_with_its_own_words() {
    for verdict in [Some(Tri::False), failed(), None] {
        let decision = with(vec![requires("a", &[("signed", Some(Tri::True)), ("pinned", verdict), ("owned", Some(Tri::False))])]);
        let denial = denial(&decision);
        assert_eq!((denial.reason, denial.retry_after), (DenialReason::GateFailed, None));
        assert_eq!(denial.message, "condition pinned does not hold: do something about pinned (and 1 more)");
    }
}

#[test]
fn a_limit_that_is_reached_denies_for_now_and_gives_no_number_away() {
    for (live, of_pod) in [(20, 0), (21, 0), (19, 2), (u64::MAX, u64::MAX)] {
        let decision = with(vec![limited("a", live, of_pod)]);
        let denial = denial(&decision);
        assert_eq!((denial.reason, denial.retry_after), (DenialReason::LimitReached, Some(Duration::from_secs(30))));
        assert!(!denial.message.contains("20") && !denial.message.contains(" 2 "), "{}", denial.message);
    }
    assert_eq!(granted_by(&with(vec![limited("a", 19, 1)])), "a");
    let nonsense = changed(limited("a", 0, 0), |p| p.limits = Some(Limits { live: Some(-1), live_per_pod: None }));
    assert_eq!(denial(&with(vec![nonsense])).reason, DenialReason::LimitReached, "a negative limit is no limit of 2^64");
}

#[test]
fn the_most_permissive_permit_decides_and_of_equal_ones_the_shorter_then_the_first_by_name() {
    assert_eq!(granted_by(&with(vec![requires("a", &[("pinned", Some(Tri::False))]), limited("b", 20, 0), permit("c")])), "c");
    assert_eq!(granted_by(&with(vec![up_to("a", "9m"), up_to("b", "5m"), up_to("c", "7m")])), "b");
    assert_eq!(granted_by(&with(vec![up_to("c", "5m"), up_to("b", "5m")])), "b");
}

#[test]
fn of_several_refusals_the_one_that_time_may_cure_is_told() {
    let decision = with(vec![requires("a", &[("pinned", Some(Tri::False))]), limited("b", 20, 0)]);
    assert_eq!(denial(&decision).reason, DenialReason::LimitReached);
    let decision = with(vec![requires("b", &[("b", Some(Tri::False))]), requires("a", &[("a", Some(Tri::False))])]);
    assert_eq!(denial(&decision).policy.as_ref().unwrap().name, "a");
}

#[test]
fn who_is_not_permitted_is_told_whom_to_ask_and_nothing_of_the_policies_there_are() {
    let foreign = changed(permit("payroll"), |p| p.subjects[0].namespaces = Some(vec!["hr".into()]));
    let mut world = Snapshot { policies: vec![foreign], ..snapshot() };
    let asked = decide(&world);
    assert_eq!(
        denial(&asked).message,
        "no policy permits class orders-db for service account orders of namespace shop: ask the platform team for a ClusterAccessPolicy"
    );
    class_mut(&mut world).delegate_to = Some(NamespaceSet { names: Some(vec!["shop".into()]), selector: None });
    let asked = decide(&world);
    assert!(denial(&asked).message.contains("ask whoever looks after namespace shop for an AccessPolicy"), "{asked:?}");
}

#[test]
fn a_grant_names_the_policy_as_it_stood() {
    let decision = with(vec![changed(permit("a"), |p| p.generation = 7)]);
    let Verdict::Allow(grant) = decision.verdict else { panic!() };
    assert_eq!((grant.policy_uid.as_str(), grant.policy_generation, grant.policy_hash.as_str()), ("uid-a", 7, "hash-a"));
    assert_eq!(grant.not_after.to_string(), "2027-01-01T00:00:00Z");
}
