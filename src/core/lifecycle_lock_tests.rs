//! What a lock does to a lease: it ends it whatever else is known, and it is named in the ledger from the first step on.

use super::{
    lifecycle::*,
    lifecycle_tests::{facts, kinds, lease, locked_by_somebody, run},
};
use crate::api::{Delivery, EndReason, Proof, RequestState, lease::LeaseToken};

fn token() -> LeaseToken {
    serde_json::from_value(serde_json::json!({
        "namespace": "lent", "serviceAccount": "reader", "serviceAccountUID": "a", "boundTo": {"name": "daypass-b", "uid": "b"},
        "revocable": true, "notAfter": super::lifecycle_tests::at(100),
    }))
    .unwrap()
}

#[test]
fn a_lock_ends_a_lease_whose_pod_and_request_nobody_can_see() {
    let spec = lease(Delivery::CSR);
    let mut unseen = facts(&spec, 50);
    (unseen.request, unseen.pod, unseen.lock) = (RequestFact::Unknown, PodFact::Unknown, Some(locked_by_somebody()));
    let ending = cause(&unseen).unwrap();
    assert_eq!((ending.reason, ending.lock.unwrap().name.as_str()), (EndReason::Locked, "incident-7"));
}

#[test]
fn a_certificate_that_is_locked_is_marked_with_the_lock_and_waits_for_its_own_end() {
    let spec = lease(Delivery::CSR);
    let mut locked = facts(&spec, 50);
    locked.lock = Some(locked_by_somebody());
    let steps = run(locked);
    assert_eq!(kinds(&steps), ["Mark", "Project", "Wait"]);
    assert!(matches!(&steps[0], Step::Mark(ending) if ending.lock.as_ref().is_some_and(|lock| lock.uid == "lock-uid")), "{steps:?}");
}

#[test]
fn the_end_of_a_token_is_written_down_before_it_is_begun_because_the_lock_may_be_lifted_meanwhile() {
    let mut spec = lease(Delivery::Sealed);
    (spec.x509, spec.token) = (None, Some(token()));
    let mut locked = facts(&spec, 50);
    locked.lock = Some(locked_by_somebody());
    assert_eq!(kinds(&run(locked))[..2], ["Mark", "DeleteBound"]);
}

#[test]
fn what_is_still_on_its_way_is_fenced_off_and_never_released() {
    let spec = lease(Delivery::CSR);
    let mut on_its_way = facts(&spec, 50);
    (on_its_way.request, on_its_way.lock) = (RequestFact::There(RequestState::Pending), Some(locked_by_somebody()));
    let steps = run(on_its_way);
    assert_eq!(kinds(&steps)[..2], ["Fence", "Close"]);
    assert!(matches!(&steps[1], Step::Close(ending, Proof::NeverReleased) if ending.reason == EndReason::Locked), "{steps:?}");
}

#[test]
fn a_person_s_own_word_and_the_end_of_its_time_are_named_before_a_lock() {
    let mut spec = lease(Delivery::CSR);
    let over = Facts { lock: Some(locked_by_somebody()), ..facts(&spec, 100) };
    assert_eq!(cause(&over).unwrap().reason, EndReason::Expired);
    spec.revoke = Some(crate::api::lease::Revoke { reason: "leaked".into(), by: "jane".into() });
    let revoked = Facts { lock: Some(locked_by_somebody()), ..facts(&spec, 50) };
    assert_eq!(cause(&revoked).unwrap().reason, EndReason::RevokedByPerson);
}
