//! The rule of ending, told as stories and checked as laws over every combination of facts.

use jiff::Timestamp;
use proptest::prelude::*;

use super::lifecycle::*;
use super::locks::LockEnd;
use crate::api::{
    CredentialLeaseSpec, Delivery, EndReason, Proof, RequestState, Requester,
    lease::{LeaseLock, LeasePolicy, LeaseSecret, LeaseState, LeaseX509, Revoke},
};

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

/// A lease from 0 to 100 s.
pub(super) fn lease(delivery: Delivery) -> CredentialLeaseSpec {
    CredentialLeaseSpec {
        request_namespace: "shop".into(),
        request_name: "r".into(),
        request_uid: "r-uid".into(),
        attempt: 0,
        class_name: "db".into(),
        delivery,
        requester: Requester {
            username: "system:serviceaccount:shop:orders".into(),
            uid: "sa-uid".into(),
            pod_name: "p".into(),
            pod_uid: "p-uid".into(),
            node_name: "n".into(),
            node_uid: "n-uid".into(),
            credential_id: String::new(),
        },
        workload: "Deployment/orders".into(),
        policy: LeasePolicy { name: "ClusterAccessPolicy/p".into(), uid: "u".into(), generation: 1, hash: String::new() },
        decision_id: String::new(),
        secret: (delivery == Delivery::Secret).then(|| LeaseSecret { name: "daypass-r".into(), uid: "s-uid".into() }),
        x509: Some(LeaseX509 {
            ca: "default".into(),
            serial: "1".into(),
            uri: "spiffe://t/ns/shop/sa/orders".into(),
            common_name: None,
            dns_names: vec![],
            crl: None,
            not_after: at(100),
        }),
        token: None,
        not_before: at(-30),
        expires_at: at(100),
        revoke: None,
    }
}

/// What a lock that a person has placed makes of a lease.
pub(super) fn locked_by_somebody() -> LockEnd {
    let lock = LeaseLock { name: "incident-7".into(), uid: "lock-uid".into() };
    LockEnd { reason: EndReason::Locked, message: "locked by AccessLock incident-7, placed by jane: why".into(), lock }
}

pub(super) fn facts(spec: &CredentialLeaseSpec, now: i64) -> Facts<'_> {
    Facts {
        own: at(now),
        server: Some(at(now)),
        spec,
        state: None,
        marked: None,
        lock: None,
        request: RequestFact::There(RequestState::Active),
        pod: PodFact::There,
        namespace_terminating: false,
        account_gone: false,
        assumed_gone: false,
        node_gone: false,
        verdict: None,
        secret: SecretFact::There,
        bound: SecretFact::There,
        token: TokenFact::Unasked { gone_since: at(0) },
        list: ListFact::None,
        since: None,
    }
}

/// What happens from here on if the world stays as it is: every step, until there is nothing to do.
pub(super) fn run(mut facts: Facts<'_>) -> Vec<Step> {
    let mut steps = vec![];
    loop {
        let next = step(&facts);
        steps.push(next.clone());
        assert!(steps.len() < 12, "it goes in circles: {steps:?}");
        match next {
            Step::Wait(_) => return steps,
            Step::Fence(_) => facts.request = RequestFact::There(RequestState::Failed),
            Step::Mark(ending) => (facts.state, facts.marked) = (Some(LeaseState::Revoking), Some(ending)),
            Step::DeleteBound => facts.bound = SecretFact::Gone,
            Step::DeleteSecret => facts.secret = SecretFact::Gone,
            Step::Review => facts.token = TokenFact::Refused,
            Step::Close(ending, _) => (facts.state, facts.marked) = (Some(LeaseState::Closed), Some(ending)),
            Step::Project => {
                let closed = facts.state == Some(LeaseState::Closed);
                facts.request = RequestFact::There(if closed { RequestState::Ended } else { RequestState::Revoking });
            }
        }
    }
}

pub(super) fn kinds(steps: &[Step]) -> Vec<String> {
    steps.iter().map(|s| format!("{s:?}").split(['(', ' ']).next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_live_grant_is_left_alone_until_its_time() {
    let spec = lease(Delivery::CSR);
    assert_eq!(run(facts(&spec, 50)), [Step::Wait(Some(at(100)))]);
}

#[test]
fn the_end_of_its_time_costs_one_write_of_the_lease_and_one_of_the_request() {
    let spec = lease(Delivery::CSR);
    assert_eq!(kinds(&run(facts(&spec, 101))), ["Close", "Project", "Wait"]);
    let spec = lease(Delivery::Secret);
    assert_eq!(kinds(&run(facts(&spec, 101))), ["DeleteSecret", "Close", "Project", "Wait"]);
}

#[test]
fn a_certificate_is_good_through_its_last_second_and_called_dead_only_after_it() {
    let spec = lease(Delivery::Secret);
    let steps = run(facts(&spec, 100));
    assert_eq!(steps, [Step::DeleteSecret, Step::Wait(Some(at(101)))], "what can be done is done at once");
}

#[test]
fn an_early_end_says_revoking_takes_the_secret_and_closes_only_when_the_certificate_is_over() {
    let spec = lease(Delivery::Secret);
    let mut early = facts(&spec, 50);
    early.pod = PodFact::Gone("is gone");
    assert_eq!(kinds(&run(early)), ["Mark", "DeleteSecret", "Project", "Wait"]);
    let mut later = facts(&spec, 101);
    later.state = Some(LeaseState::Revoking);
    later.marked = Some(Ending { reason: EndReason::PodGone, time: at(50), message: String::new(), lock: None });
    later.request = RequestFact::There(RequestState::Revoking);
    later.secret = SecretFact::Gone;
    let steps = run(later);
    assert!(matches!(&steps[0], Step::Close(ending, Proof::NotAfterPassed) if ending.reason == EndReason::PodGone), "{steps:?}");
}

#[test]
fn ending_begins_when_either_clock_reaches_the_date_and_is_proven_by_both() {
    let spec = lease(Delivery::Secret);
    let mut ahead = facts(&spec, 100);
    ahead.server = Some(at(90));
    assert_eq!(kinds(&run(ahead)), ["DeleteSecret", "Wait"]);
    let mut behind = facts(&spec, 90);
    behind.server = Some(at(100));
    assert_eq!(kinds(&run(behind)), ["DeleteSecret", "Wait"]);
    let mut unheard = facts(&spec, 100);
    unheard.server = None;
    assert_eq!(kinds(&run(unheard)), ["DeleteSecret", "Wait"]);
}

#[test]
fn waiting_for_the_slower_clock_wakes_up_later_and_not_at_once() {
    let spec = lease(Delivery::CSR);
    for (own, server) in [(90, 100), (100, 90), (40, 100)] {
        let mut skewed = facts(&spec, own);
        skewed.server = Some(at(server));
        let steps = run(skewed);
        let Some(Step::Wait(Some(until))) = steps.last() else { panic!("{steps:?}") };
        assert_eq!(*until, at(own.max(server) + 101 - own.min(server)), "own {own}, server {server}");
    }
}

#[test]
fn a_secret_that_may_not_be_deleted_any_more_keeps_no_lease_open_past_its_certificate() {
    let spec = lease(Delivery::Secret);
    let mut early = facts(&spec, 50);
    (early.secret, early.pod) = (SecretFact::Refused, PodFact::Gone("is gone"));
    assert_eq!(kinds(&run(early)), ["Mark", "Project", "Wait"], "people are told at once");
    let mut over = facts(&spec, 101);
    over.secret = SecretFact::Refused;
    assert_eq!(kinds(&run(over)), ["Close", "Project", "Wait"]);
    let mut failed = facts(&spec, 101);
    failed.secret = SecretFact::Failed;
    assert_eq!(kinds(&run(failed)), ["Wait"], "what can still be deleted is deleted first");
}

#[test]
fn a_certificate_on_the_published_list_is_dead_before_its_own_end() {
    let spec = lease(Delivery::Secret);
    let mut early = facts(&spec, 50);
    early.pod = PodFact::Gone("is gone");
    early.list = ListFact::Pending;
    assert_eq!(kinds(&run(early)), ["Mark", "DeleteSecret", "Wait"], "its request is told only if the list keeps it waiting");
    let mut listed = facts(&spec, 51);
    (listed.state, listed.list, listed.secret) = (Some(LeaseState::Revoking), ListFact::Refused, SecretFact::Gone);
    listed.marked = Some(Ending { reason: EndReason::PodGone, time: at(50), message: String::new(), lock: None });
    assert_eq!(kinds(&run(listed.clone())), ["Close", "Project", "Wait"]);
    assert!(matches!(run(listed.clone())[0], Step::Close(_, Proof::CRLPublished)));
    listed.secret = SecretFact::Failed;
    assert_eq!(kinds(&run(listed)), ["Project", "Wait"], "what can still be deleted is deleted first");
}

#[test]
fn a_list_that_keeps_a_grant_waiting_is_said_and_one_that_cannot_be_signed_is_said_at_once() {
    let spec = lease(Delivery::CSR);
    let mut waiting = facts(&spec, 52);
    (waiting.state, waiting.list) = (Some(LeaseState::Revoking), ListFact::Pending);
    waiting.marked = Some(Ending { reason: EndReason::PodGone, time: at(50), message: String::new(), lock: None });
    assert_eq!(run(waiting.clone()), [Step::Wait(Some(at(53)))]);
    (waiting.own, waiting.server) = (at(53), Some(at(53)));
    assert_eq!(kinds(&run(waiting.clone())), ["Project", "Wait"]);
    (waiting.own, waiting.server, waiting.list) = (at(51), Some(at(51)), ListFact::Lost);
    assert_eq!(run(waiting.clone()), [Step::Project, Step::Wait(Some(at(101)))], "then only its own end is left");
    (waiting.own, waiting.server) = (at(101), Some(at(101)));
    assert!(matches!(run(waiting)[0], Step::Close(_, Proof::NotAfterPassed)));
}

#[test]
fn an_attempt_that_ends_before_its_release_fences_the_request_first() {
    let spec = lease(Delivery::CSR);
    let mut pending = facts(&spec, 50);
    (pending.request, pending.pod) = (RequestFact::There(RequestState::Pending), PodFact::Gone("is gone"));
    let steps = run(pending);
    assert_eq!(kinds(&steps), ["Fence", "Close", "Wait"]);
    assert!(matches!(steps[1], Step::Close(_, Proof::NeverReleased)));
}

#[test]
fn a_secret_that_may_have_been_read_is_never_called_unreleased() {
    let spec = lease(Delivery::Secret);
    let mut pending = facts(&spec, 50);
    (pending.request, pending.pod) = (RequestFact::There(RequestState::Pending), PodFact::Gone("is gone"));
    assert_eq!(kinds(&run(pending)), ["Fence", "Mark", "DeleteSecret", "Wait"]);
}

#[test]
fn what_is_not_known_ends_nothing() {
    let spec = lease(Delivery::CSR);
    let mut unknown = facts(&spec, 50);
    (unknown.request, unknown.pod) = (RequestFact::Unknown, PodFact::Unknown);
    assert_eq!(kinds(&run(unknown)), ["Wait"]);
}

#[test]
fn a_closed_lease_whose_request_still_says_active_is_said_to_have_ended() {
    let spec = lease(Delivery::CSR);
    let mut closed = facts(&spec, 200);
    closed.state = Some(LeaseState::Closed);
    assert_eq!(kinds(&run(closed)), ["Project", "Wait"]);
}

#[test]
fn a_pod_on_its_way_out_keeps_what_it_has_until_its_grace_is_over() {
    let spec = lease(Delivery::CSR);
    let mut leaving = facts(&spec, 50);
    leaving.pod = PodFact::Leaving(at(60));
    assert_eq!(run(leaving.clone()), [Step::Wait(Some(at(60)))]);
    (leaving.own, leaving.server) = (at(60), Some(at(60)));
    assert_eq!(kinds(&run(leaving)), ["Mark", "Project", "Wait"]);
}

fn any_facts() -> impl Strategy<Value = (CredentialLeaseSpec, Facts<'static>)> {
    let request = prop_oneof![
        Just(RequestFact::Gone),
        Just(RequestFact::Unknown),
        prop_oneof![
            Just(RequestState::Pending),
            Just(RequestState::Active),
            Just(RequestState::Revoking),
            Just(RequestState::Denied),
            Just(RequestState::Ended),
            Just(RequestState::Failed)
        ]
        .prop_map(RequestFact::There),
    ];
    let pod = prop_oneof![
        Just(PodFact::There),
        Just(PodFact::Unknown),
        Just(PodFact::Gone("is gone")),
        (0..200i64).prop_map(|s| PodFact::Leaving(at(s)))
    ];
    let state = prop_oneof![Just(None), Just(Some(LeaseState::Revoking)), Just(Some(LeaseState::Closed))];
    let times = (0..200i64, proptest::option::of(0..200i64), 1..=100i64);
    let list = prop_oneof![Just(ListFact::None), Just(ListFact::Pending), Just(ListFact::Refused), Just(ListFact::Lost)];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (request, pod, state, times, list, flags).prop_map(|(request, pod, state, (own, server, expires), list, flags)| {
        let (secret, namespace_terminating, account_gone, node_gone, verdict, secret_gone, revoke, locked) = flags;
        let mut spec = lease(if secret { Delivery::Secret } else { Delivery::CSR });
        spec.expires_at = at(expires);
        spec.revoke = revoke.then(|| Revoke { reason: "why".into(), by: "somebody".into() });
        let kept: &'static CredentialLeaseSpec = Box::leak(Box::new(spec.clone()));
        let facts = Facts {
            own: at(own),
            server: server.map(at),
            spec: kept,
            state,
            marked: state.map(|_| Ending { reason: EndReason::PodGone, time: at(0), message: String::new(), lock: None }),
            lock: locked.then(locked_by_somebody),
            request,
            pod,
            namespace_terminating,
            account_gone,
            assumed_gone: false,
            node_gone,
            verdict: verdict.then(|| (EndReason::PolicyChanged, "no policy permits it".into())),
            secret: if secret_gone { SecretFact::Gone } else { SecretFact::There },
            bound: SecretFact::Gone,
            token: TokenFact::Unasked { gone_since: at(0) },
            list,
            since: None,
        };
        (spec, facts)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_lease_settles((_spec, facts) in any_facts()) {
        run(facts);
    }

    #[test]
    fn nothing_is_closed_as_dead_before_both_clocks_are_past_the_certificate_s_end((_spec, facts) in any_facts()) {
        for step in run(facts.clone()) {
            if let Step::Close(_, Proof::NotAfterPassed) = step {
                let over = facts.spec.not_after() + LAST_SECOND;
                prop_assert!(facts.own >= over && facts.server.is_some_and(|s| s >= over));
            }
        }
    }

    #[test]
    fn nothing_is_closed_as_listed_that_a_verifier_has_not_refused((_spec, facts) in any_facts()) {
        for step in run(facts.clone()) {
            if let Step::Close(_, Proof::CRLPublished) = step {
                prop_assert_eq!(facts.list, ListFact::Refused);
            }
        }
    }

    #[test]
    fn only_a_certificate_that_no_status_and_no_secret_ever_held_counts_as_never_released((_spec, facts) in any_facts()) {
        for step in run(facts.clone()) {
            if let Step::Close(_, Proof::NeverReleased) = step {
                prop_assert_eq!(facts.spec.delivery, Delivery::CSR);
                prop_assert!(matches!(facts.request, RequestFact::There(RequestState::Pending | RequestState::Denied | RequestState::Failed)));
            }
        }
    }

    #[test]
    fn a_lease_past_its_time_never_waits_with_its_secret_in_place((_spec, facts) in any_facts()) {
        let over = facts.own >= facts.spec.expires_at || facts.server.is_some_and(|s| s >= facts.spec.expires_at);
        if over && facts.spec.secret.is_some() && facts.state != Some(LeaseState::Closed) && facts.secret == SecretFact::There {
            prop_assert!(run(facts).contains(&Step::DeleteSecret));
        }
    }

    #[test]
    fn the_secret_goes_before_the_lease_closes((_spec, facts) in any_facts()) {
        let steps = run(facts.clone());
        if facts.spec.secret.is_some() && facts.secret == SecretFact::There && facts.state != Some(LeaseState::Closed)
            && let Some(closed) = steps.iter().position(|s| matches!(s, Step::Close(..)))
        {
            prop_assert!(steps[..closed].contains(&Step::DeleteSecret), "{:?}", steps);
        }
    }
}
