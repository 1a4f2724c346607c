//! What ends a live grant, what shortens it, and the long list of what does neither.

use super::*;
use crate::{
    api::{
        Delivery,
        class::NamespaceSet,
        lease::LeaseCrl,
        policy::{Limits, PolicyTtl},
        request::{Revocation, RevocationKind},
    },
    core::{
        decide,
        fixture::{at, class_mut, forbid, lease, permit, snapshot, ttl},
        snapshot::PodFacts,
    },
};

const NOT_GONE: Gone = Gone { policy: None, class: None };

/// Five minutes into a grant of ten, under Permit `orders`.
fn world(change: impl FnOnce(&mut Snapshot)) -> Snapshot {
    let mut world = Snapshot { now: at("2026-03-01T12:05:00Z"), policies: vec![permit("orders")], ..snapshot() };
    change(&mut world);
    world
}

fn again(change: impl FnOnce(&mut Snapshot)) -> Reconsideration {
    reconsider(&world(change), &lease("orders"), NOT_GONE)
}

#[track_caller]
fn kept(answer: Reconsideration) -> (String, Timestamp) {
    match answer {
        Reconsideration::Keep { policy, expires_at, .. } => (policy.name, expires_at),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn ended(answer: Reconsideration) -> (EndReason, String) {
    match answer {
        Reconsideration::End { reason, message, .. } => (reason, message),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn unclear(answer: Reconsideration) {
    assert!(matches!(answer, Reconsideration::Undecided(_)), "{answer:?}");
}

#[track_caller]
fn unchanged(answer: Reconsideration) {
    assert_eq!(kept(answer), ("orders".into(), lease("orders").expires_at));
}

fn elsewhere(mut policy: PolicyFacts) -> PolicyFacts {
    policy.subjects[0].service_accounts = vec!["billing".into()];
    policy
}

fn broken(policy: PolicyFacts) -> PolicyFacts {
    PolicyFacts { broken: Some("when: unknown root".into()), ..policy }
}

fn up_to(name: &str, max: &str) -> PolicyFacts {
    PolicyFacts { ttl: Some(PolicyTtl { default: None, max: Some(ttl(max)) }), ..permit(name) }
}

fn when(policy: PolicyFacts, verdict: Option<Tri>) -> PolicyFacts {
    PolicyFacts { has_when: true, when: verdict, ..policy }
}

fn requires(verdict: Option<Tri>) -> PolicyFacts {
    let requirement = Requirement { name: "pinned".into(), expression: "…".into(), message: "pin images by digest".into() };
    PolicyFacts { require: vec![(requirement, verdict)], ..permit("orders") }
}

fn failed() -> Option<Tri> {
    Some(Tri::Error("late".into()))
}

#[test]
fn a_grant_that_its_policy_still_permits_goes_on_unchanged() {
    unchanged(again(|_| ()));
}

#[test]
fn a_policy_that_no_longer_matches_ends_its_grants_and_tells_the_requester_nothing_of_itself() {
    let (reason, message) = ended(again(|w| w.policies = vec![elsewhere(permit("orders"))]));
    assert_eq!(reason, EndReason::PolicyChanged);
    assert_eq!(message, "no policy permits class orders-db for this service account any more");
    let Reconsideration::End { detail, .. } = again(|w| w.policies = vec![elsewhere(permit("orders"))]) else { panic!() };
    assert_eq!(detail, "ClusterAccessPolicy/orders: subjects: serviceAccountNames [billing] do not include orders");
}

#[test]
fn only_a_definite_verdict_of_when_or_require_ends_a_grant() {
    ended(again(|w| w.policies = vec![when(permit("orders"), Some(Tri::False))]));
    unclear(again(|w| w.policies = vec![when(permit("orders"), failed())]));
    unclear(again(|w| w.policies = vec![when(permit("orders"), None)]));
    let (_, message) = ended(again(|w| w.policies = vec![requires(Some(Tri::False))]));
    assert!(message.contains("pin images by digest"), "{message}");
    unclear(again(|w| w.policies = vec![requires(failed())]));
    unclear(again(|w| w.policies = vec![requires(None)]));
}

#[test]
fn a_forbid_ends_a_grant_only_when_definitely_true() {
    let beside = |policy: PolicyFacts| again(move |w| w.policies.push(policy));
    assert_eq!(ended(beside(forbid("z"))).0, EndReason::PolicyChanged);
    ended(beside(when(forbid("z"), Some(Tri::True))));
    unchanged(beside(when(forbid("z"), Some(Tri::False))));
    unclear(beside(when(forbid("z"), failed())));
    unchanged(beside(broken(forbid("z"))));
    unchanged(beside(PolicyFacts { subjects: vec![], classes: vec![], ..broken(forbid("z")) }));
}

#[test]
fn a_definite_end_outweighs_what_is_uncertain() {
    let late = || when(forbid("a"), failed());
    ended(again(|w| w.policies.extend([late(), forbid("z")])));
    ended(again(|w| w.policies = vec![late(), elsewhere(permit("orders"))]));
    ended(again(|w| {
        w.policies.push(late());
        class_mut(w).delivery = Some(vec![Delivery::Secret]);
    }));
}

#[test]
fn a_broken_policy_ends_nothing_whatever_can_still_be_read_of_it() {
    unchanged(again(|w| w.policies = vec![broken(permit("orders"))]));
    unchanged(again(|w| w.policies = vec![broken(elsewhere(permit("orders")))]));
    unchanged(again(|w| w.policies = vec![PolicyFacts { subjects: vec![], classes: vec![], ..broken(forbid("orders")) }]));
    unchanged(again(|w| w.policies = vec![up_to("orders", "for ever")]));
}

#[test]
fn but_forbid_class_and_namespace_still_end_the_grants_of_a_broken_policy() {
    ended(again(|w| w.policies = vec![broken(permit("orders")), forbid("z")]));
    ended(again(|w| {
        w.policies = vec![broken(permit("orders"))];
        class_mut(w).delivery = Some(vec![Delivery::Secret]);
    }));
}

#[test]
fn a_broken_permit_is_no_new_home_for_a_grant() {
    ended(again(|w| w.policies = vec![elsewhere(permit("orders")), broken(permit("other"))]));
    ended(again(|w| w.policies = vec![elsewhere(permit("orders")), up_to("other", "for ever")]));
}

#[test]
fn a_deleted_policy_has_thirty_seconds_to_come_back() {
    let gone =
        |since: Option<&str>| reconsider(&world(|w| w.policies.clear()), &lease("orders"), Gone { policy: since.map(at), class: None });
    unclear(gone(None));
    unclear(gone(Some("2026-03-01T12:04:30.001Z")));
    assert_eq!(ended(gone(Some("2026-03-01T12:04:30Z"))).0, EndReason::PolicyChanged);
}

#[test]
fn a_policy_made_anew_under_its_old_name_is_that_policy() {
    let renewed = PolicyFacts { uid: "another".into(), ..permit("orders") };
    let Reconsideration::Keep { policy_uid, .. } = again(|w| w.policies = vec![renewed]) else { panic!() };
    assert_eq!(policy_uid, "another", "and the lease is counted under it");
}

#[test]
fn a_grant_moves_to_the_permit_that_would_decide_now() {
    let gone = Gone { policy: Some(at("2026-03-01T12:00:00Z")), class: None };
    let moved = |policies: Vec<PolicyFacts>| kept(reconsider(&world(|w| w.policies = policies), &lease("orders"), gone)).0;
    assert_eq!(moved(vec![elsewhere(permit("a")), permit("b"), forbid_elsewhere()]), "b");
    assert_eq!(moved(vec![up_to("a", "9m"), up_to("b", "8m"), permit("c")]), "b");
    assert_eq!(kept(again(|w| w.policies = vec![elsewhere(permit("orders")), permit("b")])).0, "b");
}

fn forbid_elsewhere() -> PolicyFacts {
    elsewhere(forbid("z"))
}

#[test]
fn as_long_as_its_own_policy_permits_it_no_other_takes_it_over() {
    unchanged(again(|w| w.policies.extend([up_to("a", "6m"), permit("b")])));
    unclear(again(|w| w.policies = vec![when(permit("orders"), failed()), permit("b")]));
}

#[test]
fn while_another_permit_cannot_be_evaluated_the_grant_does_not_end() {
    unclear(again(|w| w.policies = vec![elsewhere(permit("orders")), when(permit("b"), failed())]));
}

#[test]
fn a_lower_ceiling_shortens_from_the_beginning_of_the_grant_and_ends_it_if_that_has_passed() {
    assert_eq!(kept(again(|w| w.policies = vec![up_to("orders", "7m")])).1, at("2026-03-01T12:07:00Z"));
    assert_eq!(kept(again(|w| class_mut(w).ttl.max = ttl("6m"))).1, at("2026-03-01T12:06:00Z"));
    let ca_ends = |w: &mut Snapshot| {
        if let ClassFacts::Ready { not_after, .. } = &mut w.class {
            *not_after = at("2026-03-01T12:08:00.5Z");
        }
    };
    assert_eq!(kept(again(ca_ends)).1, at("2026-03-01T12:08:00Z"));
    assert_eq!(ended(again(|w| w.policies = vec![up_to("orders", "5m")])).0, EndReason::PolicyChanged);
}

#[test]
fn nothing_ever_makes_a_grant_longer() {
    unchanged(again(|w| w.policies = vec![up_to("orders", "24h")]));
    let short = CredentialLeaseSpec { expires_at: at("2026-03-01T12:06:00Z"), ..lease("orders") };
    assert_eq!(kept(reconsider(&world(|_| ()), &short, NOT_GONE)).1, short.expires_at);
}

#[test]
fn limits_are_not_judged_again() {
    let full = PolicyFacts { limits: Some(Limits { live: Some(1), live_per_pod: Some(1) }), live: 9, live_of_pod: 9, ..permit("orders") };
    unchanged(again(|w| w.policies = vec![full]));
}

#[test]
fn a_class_that_is_not_ready_or_not_judged_ends_nothing_and_a_deleted_one_only_after_its_grace() {
    unchanged(again(|w| w.class = ClassFacts::NotReady { reason: "CAMissing".into(), message: String::new() }));
    unclear(again(|w| w.class = ClassFacts::Unjudged));
    let gone = |since: Option<&str>| {
        reconsider(&world(|w| w.class = ClassFacts::Absent), &lease("orders"), Gone { policy: None, class: since.map(at) })
    };
    unclear(gone(None));
    unclear(gone(Some("2026-03-01T12:04:31Z")));
    assert_eq!(ended(gone(Some("2026-03-01T12:04:30Z"))).0, EndReason::PolicyChanged);
}

#[test]
fn a_class_that_no_longer_serves_the_namespace_or_the_delivery_ends_its_grants() {
    let only_pay = NamespaceSet { names: Some(vec!["pay".into()]), selector: None };
    let (_, message) = ended(again(|w| class_mut(w).allowed_namespaces = Some(only_pay)));
    assert!(!message.contains("pay"), "{message}");
    ended(again(|w| class_mut(w).delivery = Some(vec![Delivery::Secret])));
}

#[test]
fn a_delegation_that_is_withdrawn_ends_what_the_namespaces_own_policy_gave() {
    let own = PolicyFacts { id: PolicyId { namespace: Some("shop".into()), name: "own".into() }, ..permit("own") };
    let mut under_own = lease("own");
    under_own.policy.name = "AccessPolicy/shop/own".into();
    let mut world = world(|w| w.policies = vec![own]);
    ended(reconsider(&world, &under_own, NOT_GONE));
    class_mut(&mut world).delegate_to = Some(NamespaceSet { names: Some(vec!["shop".into()]), selector: None });
    kept(reconsider(&world, &under_own, NOT_GONE));
    world.class = ClassFacts::NotReady { reason: "CAMissing".into(), message: String::new() };
    unclear(reconsider(&world, &under_own, NOT_GONE));
}

#[test]
fn a_terminating_namespace_and_a_time_that_ran_out_end_a_grant_each_by_its_own_name() {
    assert_eq!(ended(again(|w| w.namespace.as_mut().unwrap().terminating = true)).0, EndReason::NamespaceGone);
    assert_eq!(ended(again(|w| w.now = at("2026-03-01T12:10:00Z"))).0, EndReason::Expired);
}

#[test]
fn facts_that_are_missing_are_no_reason_to_end() {
    let by_label = |policy: &mut PolicyFacts| policy.subjects[0].pod_labels = Some(crate::core::fixture::labels(&[("app", "orders")]));
    unclear(again(|w| {
        by_label(&mut w.policies[0]);
        w.pod = PodFacts::Absent;
    }));
    let by_namespace = |w: &mut Snapshot| {
        let subject = &mut w.policies[0].subjects[0];
        (subject.namespaces, subject.namespace_labels) = (None, Some(crate::core::fixture::labels(&[("env", "prod")])));
    };
    unchanged(again(by_namespace));
    unclear(again(|w| {
        by_namespace(w);
        w.namespace = None;
    }));
}

#[test]
fn what_is_granted_now_is_kept_a_moment_later() {
    let mut world = snapshot();
    world.policies = vec![permit("orders")];
    assert!(matches!(decide(&world).verdict, crate::core::Verdict::Allow(_)));
    unchanged(reconsider(&world, &lease("orders"), NOT_GONE));
}

#[test]
fn a_demand_that_the_class_does_not_meet_any_more_ends_the_grant() {
    let demanding = |at_most| PolicyFacts { revocation_at_most: Some(at_most), ..permit("orders") };
    // Nothing takes it back, and it lives for ten minutes of the class's fifteen.
    unchanged(again(|w| w.policies = vec![demanding(900)]));
    let (reason, message) = ended(again(|w| w.policies = vec![demanding(899)]));
    assert_eq!(reason, EndReason::PolicyChanged);
    assert!(message.ends_with("not taken back as fast as the policy demands"), "{message}");
    unchanged(again(|w| {
        w.policies = vec![demanding(899)];
        w.class = ClassFacts::NotReady { reason: "CrlPending".into(), message: "soon".into() };
    }));
}

#[test]
fn a_credential_of_before_its_class_had_a_list_is_as_slow_as_it_was() {
    let demanding = PolicyFacts { revocation_at_most: Some(60), ..permit("orders") };
    let fast = world(|w| {
        w.policies = vec![demanding];
        if let ClassFacts::Ready { revocation, .. } = &mut w.class {
            *revocation = Revocation { kind: RevocationKind::Bounded, bound_seconds: 60 };
        }
    });
    assert_eq!(ended(reconsider(&fast, &lease("orders"), NOT_GONE)).0, EndReason::PolicyChanged);
    let mut with_list = lease("orders");
    with_list.x509.as_mut().unwrap().crl = Some(LeaseCrl { issuer: "issuer".into(), url: None, bound_seconds: 60 });
    unchanged(reconsider(&fast, &with_list, NOT_GONE));
}
