//! How tokens end, as stories.

use super::{
    lifecycle::{RequestFact, SecretFact, Step, TokenFact, cause},
    lifecycle_tests::{at, facts, kinds, lease, run},
};
use crate::api::{
    CredentialLeaseSpec, Delivery, EndReason, Proof, RequestState,
    lease::{LeaseSecret, LeaseToken},
};

fn bound() -> LeaseSecret {
    LeaseSecret { name: "daypass-token-r".into(), uid: "b-uid".into() }
}

/// Ends at 100; the token itself says 700.
fn token(delivery: Delivery, revocable: bool) -> CredentialLeaseSpec {
    let token = LeaseToken {
        namespace: "lent".into(),
        service_account: "reader".into(),
        service_account_uid: "a-uid".into(),
        audiences: vec![],
        bound_to: bound(),
        revocable,
        not_after: at(700),
    };
    CredentialLeaseSpec { x509: None, token: Some(token), ..lease(delivery) }
}

#[test]
fn a_token_that_is_refused_at_once_costs_its_end_no_mark() {
    let spec = token(Delivery::Sealed, true);
    let steps = run(facts(&spec, 100));
    assert_eq!(kinds(&steps), ["DeleteBound", "Review", "Close", "Project", "Wait"]);
    assert!(matches!(&steps[2], Step::Close(ending, Proof::TokenRefused) if ending.message == "its time ran out"), "{steps:?}");
    let spec = token(Delivery::Secret, true);
    assert_eq!(kinds(&run(facts(&spec, 100))), ["DeleteBound", "DeleteSecret", "Review", "Close", "Project", "Wait"]);
}

#[test]
fn a_token_is_not_shown_before_an_api_server_can_know_that_it_was_taken_back() {
    let spec = token(Delivery::Sealed, true);
    let mut fresh = facts(&spec, 100);
    (fresh.bound, fresh.token) = (SecretFact::Gone, TokenFact::Unasked { gone_since: at(100) });
    assert_eq!(run(fresh.clone()), [Step::Wait(Some(at(101)))], "it would be remembered for 10 s; a second is not worth a write");
    (fresh.own, fresh.server) = (at(101), Some(at(101)));
    assert_eq!(kinds(&run(fresh))[0], "Review");
}

#[test]
fn a_grant_ended_when_its_cause_was_first_seen_and_not_when_that_is_written_down() {
    let spec = token(Delivery::Sealed, true);
    let mut refused = facts(&spec, 53);
    (refused.request, refused.since) = (RequestFact::Gone, Some(at(50)));
    (refused.bound, refused.token) = (SecretFact::Gone, TokenFact::Refused);
    assert!(matches!(&run(refused.clone())[0], Step::Close(ending, Proof::TokenRefused) if ending.time == at(50)));
    refused.token = TokenFact::Accepted { again: at(54) };
    assert!(matches!(&run(refused)[0], Step::Mark(ending) if ending.time == at(50)));
}

#[test]
fn one_that_is_still_accepted_out_of_a_cache_is_said_to_be_revoking_and_asked_about_again() {
    let spec = token(Delivery::Sealed, true);
    let mut cached = facts(&spec, 100);
    (cached.bound, cached.token) = (SecretFact::Gone, TokenFact::Accepted { again: at(101) });
    let steps = run(cached.clone());
    assert_eq!(kinds(&steps), ["Mark", "Project", "Wait"]);
    assert_eq!(steps[2], Step::Wait(Some(at(101))));
    (cached.own, cached.server) = (at(101), Some(at(101)));
    assert_eq!(kinds(&run(cached))[0], "Review");
}

#[test]
fn a_token_that_nobody_can_show_is_dead_once_no_cache_can_hold_it() {
    let spec = token(Delivery::Sealed, true);
    let mut unseen = facts(&spec, 100);
    (unseen.bound, unseen.token) = (SecretFact::Gone, TokenFact::Unseen { gone_since: at(99) });
    assert_eq!(run(unseen.clone()).last(), Some(&Step::Wait(Some(at(110)))));
    (unseen.own, unseen.server) = (at(110), Some(at(110)));
    assert!(matches!(run(unseen)[0], Step::Close(_, Proof::BoundObjectGone)));
}

#[test]
fn a_token_that_is_checked_without_the_api_server_is_dead_at_its_own_end_and_not_before() {
    let spec = token(Delivery::Sealed, false);
    let mut early = facts(&spec, 50);
    early.request = RequestFact::Gone;
    let steps = run(early);
    assert_eq!(kinds(&steps), ["DeleteBound", "Mark", "Wait"], "what can be done is done at once");
    assert_eq!(steps[2], Step::Wait(Some(at(701))));
    let mut over = facts(&spec, 701);
    over.bound = SecretFact::Gone;
    assert!(matches!(run(over)[0], Step::Close(_, Proof::NotAfterPassed)));
}

#[test]
fn what_is_bound_goes_first_because_that_stops_whoever_is_about_to_mint() {
    let spec = token(Delivery::Secret, true);
    let mut early = facts(&spec, 50);
    early.verdict = Some((EndReason::PolicyChanged, "no policy permits it".into()));
    assert_eq!(kinds(&run(early)), ["Mark", "DeleteBound", "DeleteSecret", "Review", "Close", "Project", "Wait"]);
}

#[test]
fn an_abandoned_attempt_leaves_its_request_to_the_next() {
    let spec = token(Delivery::Sealed, true);
    let mut abandoned = facts(&spec, 50);
    abandoned.request = RequestFact::There(RequestState::Pending);
    abandoned.verdict = Some((EndReason::Abandoned, "what came of minting is not known".into()));
    (abandoned.bound, abandoned.token) = (SecretFact::There, TokenFact::Unseen { gone_since: at(30) });
    assert_eq!(kinds(&run(abandoned)), ["Mark", "DeleteBound", "Close", "Wait"], "no Fence: the request stays unanswered");
}

#[test]
fn an_attempt_whose_request_another_has_served_ends_and_says_nothing_in_it() {
    let spec = token(Delivery::Sealed, true);
    let mut overtaken = facts(&spec, 50);
    overtaken.request = RequestFact::ServedByAnother;
    let steps = run(overtaken);
    assert_eq!(kinds(&steps), ["DeleteBound", "Review", "Close", "Wait"]);
    assert!(matches!(&steps[2], Step::Close(ending, _) if ending.reason == EndReason::NotReleased));
}

#[test]
fn a_sealed_token_that_never_left_is_dead_with_what_it_was_bound_to() {
    let spec = token(Delivery::Sealed, true);
    let mut failed = facts(&spec, 50);
    failed.request = RequestFact::There(RequestState::Failed);
    let steps = run(failed);
    assert_eq!(kinds(&steps), ["DeleteBound", "Close", "Wait"]);
    assert!(matches!(steps[1], Step::Close(_, Proof::NeverReleased)));
    let spec = token(Delivery::Secret, true);
    let mut failed = facts(&spec, 50);
    failed.request = RequestFact::There(RequestState::Failed);
    assert!(!run(failed).iter().any(|step| matches!(step, Step::Close(_, Proof::NeverReleased))), "a Secret may have been read");
}

#[test]
fn while_what_it_is_bound_to_cannot_be_deleted_nothing_calls_a_token_dead() {
    let spec = token(Delivery::Sealed, true);
    for stuck in [SecretFact::Failed, SecretFact::Refused] {
        let mut held = facts(&spec, 100);
        (held.bound, held.token) = (stuck, TokenFact::Refused);
        assert_eq!(kinds(&run(held)), ["Mark", "Project", "Wait"], "a lookup that fails reads like a refusal");
    }
}

#[test]
fn an_account_that_went_takes_what_was_lent_of_it_along() {
    let spec = token(Delivery::Sealed, true);
    let mut gone = facts(&spec, 50);
    gone.assumed_gone = true;
    let Some(ending) = cause(&gone) else { panic!("it goes on") };
    assert_eq!(ending.reason, EndReason::IdentityRemoved);
    assert!(ending.message.contains("lent/reader"), "{}", ending.message);
}
