//! Each gate denies what it is there for, says the next step, and lets everything else pass.

use super::*;
use crate::{
    api::class::NamespaceSet,
    core::{
        decide,
        fixture::{at, class_mut, permit, pod_mut, snapshot, ttl},
    },
};

fn verdict(change: impl FnOnce(&mut Snapshot)) -> Verdict {
    let mut world = snapshot();
    world.policies = vec![permit("orders")];
    change(&mut world);
    decide(&world).verdict
}

fn denied(change: impl FnOnce(&mut Snapshot)) -> (DenialReason, String) {
    match verdict(change) {
        Verdict::Deny(denial) => (denial.reason, denial.message),
        other => panic!("{other:?}"),
    }
}

fn mismatch(change: impl FnOnce(&mut Snapshot)) -> String {
    let (reason, message) = denied(change);
    assert_eq!(reason, DenialReason::IdentityMismatch, "{message}");
    message
}

fn retry_after(change: impl FnOnce(&mut Snapshot)) -> Option<u64> {
    match verdict(change) {
        Verdict::Deny(denial) => denial.retry_after.map(|after| after.as_secs()),
        other => panic!("{other:?}"),
    }
}

fn allows(change: impl FnOnce(&mut Snapshot)) {
    let verdict = verdict(change);
    assert!(matches!(verdict, Verdict::Allow(_)), "{verdict:?}");
}

fn waits(change: impl FnOnce(&mut Snapshot)) {
    let verdict = verdict(change);
    assert!(matches!(verdict, Verdict::Wait(_)), "{verdict:?}");
}

#[test]
fn a_pod_with_nothing_in_its_way_is_allowed() {
    allows(|_| ());
}

#[test]
fn a_guard_that_is_not_in_force_denies_at_once_and_one_that_is_merely_not_known_waits() {
    let open = |w: &mut Snapshot| w.guard = GuardFacts::NotInForce { reason: "a forged requester was admitted".into() };
    let (reason, message) = denied(open);
    assert_eq!(reason, DenialReason::GuardGap);
    assert!(message.contains("make a new one") && !message.contains("forged"), "{message}");
    assert_eq!(retry_after(open), Some(5));
    waits(|w| w.guard = GuardFacts::Unknown { reason: "the canary timed out".into() });
}

#[test]
fn a_request_is_trusted_from_two_seconds_after_the_guard_came_into_force() {
    let created = |text: &'static str| {
        move |w: &mut Snapshot| {
            w.guard = GuardFacts::InForce { since: at("2026-03-01T11:00:00Z") };
            w.request.created = at(text);
        }
    };
    for early in ["2026-03-01T10:00:00Z", "2026-03-01T11:00:00Z", "2026-03-01T11:00:01.999Z"] {
        assert_eq!(denied(created(early)).0, DenialReason::GuardGap, "{early}");
    }
    allows(created("2026-03-01T11:00:02Z"));
}

#[test]
fn a_request_that_was_edited_behind_the_guard_is_not_trusted() {
    assert_eq!(denied(|w| w.request.generation = 2).0, DenialReason::GuardGap);
    assert_eq!(denied(|w| w.request.generation = 0).0, DenialReason::GuardGap);
}

#[test]
fn nothing_is_issued_into_the_operators_own_namespace_nor_into_one_that_is_being_deleted() {
    let (reason, message) = denied(|w| w.operator_namespace = "shop".into());
    assert_eq!(reason, DenialReason::NotPermitted);
    assert!(message.contains("another namespace"), "{message}");
    let terminating = |w: &mut Snapshot| w.namespace.as_mut().unwrap().terminating = true;
    assert_eq!(denied(terminating).0, DenialReason::NamespaceNotAllowed);
    waits(|w| w.namespace = None);
}

#[test]
fn only_a_service_account_of_the_requests_namespace_may_ask() {
    for username in
        ["alice", "system:serviceaccount:pay:orders", "system:serviceaccount:shop:", "system:serviceaccount:shop", "system:node:node-a"]
    {
        mismatch(|w| w.request.spec.requester.username = username.into());
    }
}

#[test]
fn a_token_that_is_bound_to_no_pod_gets_nothing() {
    mismatch(|w| w.request.spec.requester.pod_name = String::new());
    // Not even where the read of the pod has no UID to compare with.
    mismatch(|w| {
        w.request.spec.requester.pod_uid = String::new();
        pod_mut(w).uid = String::new();
    });
}

#[test]
fn the_pod_must_be_the_one_that_the_token_was_minted_for() {
    assert!(mismatch(|w| w.pod = PodFacts::Absent).contains("is gone"));
    assert!(mismatch(|w| pod_mut(w).uid = "another".into()).contains("a later one of the same name"));
    assert!(mismatch(|w| pod_mut(w).service_account = "billing".into()).contains("does not run as service account orders"));
    assert!(mismatch(|w| pod_mut(w).node_name = "node-b".into()).contains("not on the node"));
    assert!(mismatch(|w| pod_mut(w).node_name = String::new()).contains("not on the node"));
}

#[test]
fn a_token_minted_before_scheduling_names_no_node_and_is_good_on_any() {
    let unscheduled = |w: &mut Snapshot| w.request.spec.requester.node_name = String::new();
    allows(unscheduled);
    allows(|w| {
        unscheduled(w);
        pod_mut(w).node_name = String::new();
        pod_mut(w).phase = "Pending".into();
    });
}

#[test]
fn a_pod_that_has_finished_or_should_be_gone_gets_nothing() {
    for phase in ["Succeeded", "Failed", "Unknown", ""] {
        mismatch(|w| pod_mut(w).phase = phase.into());
    }
    mismatch(|w| pod_mut(w).deletion = Some(w.now));
    allows(|w| pod_mut(w).deletion = Some(at("2026-03-01T12:00:01Z")));
}

#[test]
fn a_class_that_is_not_there_or_not_ready_may_be_so_later() {
    let not_ready = |w: &mut Snapshot| {
        w.class = ClassFacts::NotReady { reason: "CAExpired".into(), message: "Secret corp-ca of daypass-system".into() }
    };
    for change in [|w: &mut Snapshot| w.class = ClassFacts::Absent, not_ready] {
        let (reason, message) = denied(change);
        assert_eq!(reason, DenialReason::ClassUnavailable);
        assert!(message.contains("orders-db") && !message.contains("corp-ca"), "{message}");
        assert_eq!(retry_after(change), Some(30));
    }
    assert!(denied(not_ready).1.contains("CAExpired"));
    waits(|w| w.class = ClassFacts::Unjudged);
}

#[test]
fn a_class_serves_only_the_namespaces_and_deliveries_that_it_names() {
    let only = |name: &'static str| {
        move |w: &mut Snapshot| class_mut(w).allowed_namespaces = Some(NamespaceSet { names: Some(vec![name.into()]), selector: None })
    };
    let (reason, message) = denied(only("pay"));
    assert_eq!(reason, DenialReason::NamespaceNotAllowed);
    assert!(message.contains("spec.allowedNamespaces") && !message.contains("pay"), "{message}");
    allows(only("shop"));

    let (reason, message) = denied(|w| w.request.spec.csr = None);
    assert_eq!(reason, DenialReason::DeliveryNotAllowed);
    assert!(message.contains("spec.csr"), "{message}");
    assert_eq!(denied(|w| class_mut(w).delivery = Some(vec![Delivery::Secret])).0, DenialReason::DeliveryNotAllowed);
}

#[test]
fn an_authority_with_less_than_a_second_left_issues_nothing() {
    let ends = |text: &'static str| {
        move |w: &mut Snapshot| {
            if let ClassFacts::Ready { not_after, .. } = &mut w.class {
                *not_after = at(text);
            }
        }
    };
    for over in ["2026-03-01T11:00:00Z", "2026-03-01T12:00:00Z", "2026-03-01T12:00:00.999Z"] {
        assert_eq!(denied(ends(over)).0, DenialReason::ClassUnavailable, "{over}");
    }
    allows(ends("2026-03-01T12:00:01Z"));
}

#[test]
fn durations_that_the_schema_should_have_refused_are_refused_here() {
    let (reason, message) = denied(|w| w.request.spec.ttl = Some(ttl("-1s")));
    assert_eq!((reason, message.starts_with("spec.ttl: ")), (DenialReason::GateFailed, true), "{message}");
    assert_eq!(denied(|w| class_mut(w).ttl.max = ttl("for ever")).0, DenialReason::ClassUnavailable);
    assert_eq!(denied(|w| class_mut(w).ttl.default = ttl("0s")).0, DenialReason::ClassUnavailable);
}

#[test]
fn a_csr_that_cannot_be_used_is_denied_with_what_is_wrong_in_it() {
    let (reason, message) = denied(|w| w.csr_problem = Some("two PEM blocks: send one".into()));
    assert_eq!((reason, message.as_str()), (DenialReason::InvalidCSR, "spec.csr: two PEM blocks: send one"));
}

#[test]
fn whole_seconds_never_round_up() {
    for (time, floor) in [("2026-03-01T12:00:00.9Z", "2026-03-01T12:00:00Z"), ("1969-12-31T23:59:58.5Z", "1969-12-31T23:59:58Z")] {
        assert_eq!(whole_seconds(at(time)), at(floor));
    }
}
