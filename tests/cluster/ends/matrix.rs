//! Every way to end a grant × every kind of credential × every way to deliver it, on the real control plane: used before, which works, and
//! used after, which is refused by whatever checks it. What is called dead at once is dead at once, and what only time ends is not called
//! dead before.

mod cells;
mod credential;
mod ground;

use std::{panic::AssertUnwindSafe, time::Duration};

use daypass::{
    api::{CredentialLease, Delivery, EndReason, RequestState, lease::LeaseState},
    core::{decide::DELETED_POLICY_GRACE, lifecycle::NEWS_TRAVELS},
};
use futures::{FutureExt, StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use self::{
    cells::{Cell, Kind, Trigger, cells, shown_elsewhere},
    credential::Held,
    ground::{Ground, Struck},
};
use crate::{
    scene::SOON,
    support::{Running, never_peeked, shared},
};

/// Cells that are played at once: most of the time they wait for a date.
const AT_ONCE: usize = 16;
/// More than any end or proof may lag behind what it follows, on a machine that runs all tests at once.
const LATE: SignedDuration = SignedDuration::from_secs(10);
/// Longest that a token may be accepted after its grant ended, and as much again as a proof may take.
const TOKEN_DEAD_WITHIN: SignedDuration = SignedDuration::from_secs(80);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_ends_a_grant_of_whatever_kind_what_worked_before_is_refused_after() {
    let here = shared();
    let cells = cells();
    assert_eq!(cells.len(), 66, "11 triggers, and 6 ways in which something of the 3 kinds is delivered");
    let play = |cell: Cell| {
        let here = here.clone();
        async move { (cell, AssertUnwindSafe(played(&here, cell)).catch_unwind().await.is_ok()) }
    };
    let outcomes: Vec<(Cell, bool)> = stream::iter(cells).map(play).buffer_unordered(AT_ONCE).collect().await;
    let failed: Vec<String> = outcomes.iter().filter(|(_, held)| !held).map(|(cell, _)| cell.name()).collect();
    assert_eq!((outcomes.len(), failed), (66, Vec::new()), "what each of these said stands above");
    // In all that was tested on this control plane so far.
    never_peeked(&here.stage);
}

#[test]
fn every_reason_that_a_grant_ends_for_has_a_trigger_or_a_test_of_its_own() {
    for reason in EndReason::ALL {
        let here = Trigger::ALL.iter().any(|trigger| trigger.reason() == *reason);
        assert!(here != shown_elsewhere(*reason).is_some(), "{reason}");
    }
}

async fn played(here: &Running, cell: Cell) {
    let ground = Ground::lay(here, cell).await;
    let held = ground.grant().await;
    assert_eq!(held.credential.accepted(here).await, Ok(()), "{}: it works", cell.name());

    let struck = ground.strike(&held).await;
    if cell.kind == Kind::Certificate && cell.trigger != Trigger::Expired {
        let lease = ground.scene.lease_when(&held.granted, "ended early", grace(cell) + SOON, |lease| lease.state().is_some()).await;
        let accepted = held.credential.accepted(here).await;
        assert_eq!((lease.state(), accepted), (Some(LeaseState::Revoking), Ok(())), "{}: nothing takes it back", cell.name());
    }
    ground.after_the_strike(&held).await;
    let lease = ground.scene.lease_when(&held.granted, "proven dead", patience(cell, &held), CredentialLease::is_closed).await;

    let refusal = held.credential.accepted(here).await.expect_err("called dead while it works");
    if (cell.kind, cell.trigger != Trigger::Expired) == (Kind::Listed, true) {
        assert_eq!(refusal, "revoked", "{}", cell.name());
    }
    ended_as_it_should(cell, &lease, &held, struck);
    nothing_is_left(&ground, cell, &held).await;
    told_as_the_ledger_says(&ground, cell, &lease, &held).await;
}

/// Reason, proof and times.
fn ended_as_it_should(cell: Cell, lease: &CredentialLease, held: &Held, struck: Struck) {
    let (status, name) = (lease.status.clone().unwrap(), cell.name());
    assert_eq!((status.reason, status.proof), (Some(cell.trigger.reason()), Some(cell.proof())), "{name}: {status:?}");
    let (ended, closed) = (status.ended_time.unwrap(), status.closed_time.unwrap());
    let grace = SignedDuration::try_from(grace(cell)).unwrap();
    let expected = match cell.trigger {
        Trigger::Expired => held.granted.lease.spec.expires_at..=held.granted.lease.spec.expires_at,
        // Counted from when the deletion was seen, which may be a little before the reply to it.
        _ => struck.from + grace..=struck.to + grace + LATE,
    };
    assert!(expected.contains(&ended), "{name}: ended {ended}, expected {expected:?}");
    if cell.kind == Kind::Token {
        // Nobody asks before that, so nothing can be proven sooner after what struck it.
        let taken = closed.duration_since(ended);
        assert!(taken >= NEWS_TRAVELS, "{name}: dead {taken:#} after its end: that is not when it ended");
    }
    let not_after = held.granted.lease.spec.not_after();
    let dead_by = match cell.kind {
        Kind::Token => ended + TOKEN_DEAD_WITHIN,
        // The Secret in a namespace that goes is gone when the namespace is.
        Kind::Listed if cell.trigger != Trigger::Expired => ended + LATE + namespace_goes(cell),
        Kind::Listed | Kind::Certificate => not_after + LATE,
    };
    assert!(closed <= dead_by, "{name}: proven dead {closed}, expected by {dead_by}");
    if cell.kind == Kind::Certificate || (cell.kind, cell.trigger) == (Kind::Listed, Trigger::Expired) {
        assert!(closed >= not_after, "{name}: called dead {closed}, while verifiers accept it until {not_after}");
    } else {
        assert!(closed < not_after, "{name}: it did not wait for its own end");
    }
}

/// Whatever it lay in, or rested on, is gone.
async fn nothing_is_left(ground: &Ground<'_>, cell: Cell, held: &Held) {
    let (spec, name) = (&held.granted.lease.spec, cell.name());
    assert_eq!(spec.secret.is_some(), cell.delivery == Delivery::Secret, "{name}");
    if let Some(secret) = &spec.secret {
        assert_eq!(ground.scene.secrets().get_opt(&secret.name).await.unwrap(), None, "{name}: its Secret");
    }
    if let Some(token) = &spec.token {
        let bound = kube::Api::<k8s_openapi::api::core::v1::Secret>::namespaced(ground.scene.admin.clone(), &token.namespace);
        assert_eq!(bound.get_opt(&token.bound_to.name).await.unwrap(), None, "{name}: what its token was bound to");
    }
}

/// Where its request is still there, that says the same.
async fn told_as_the_ledger_says(ground: &Ground<'_>, cell: Cell, lease: &CredentialLease, held: &Held) {
    if cell.trigger.takes_the_request() {
        return;
    }
    let request = ground.scene.request_when(&held.granted, "told", SOON, |request| request.state() == RequestState::Ended).await;
    let (told, status) = (request.status.unwrap(), lease.status.clone().unwrap());
    let credential = told.credential.expect("what it was is still told");
    assert!(credential.sealed.is_none() && credential.certificate.is_none(), "{}: the credential goes with the end", cell.name());
    let told = told.ended.unwrap();
    assert_eq!(
        (Some(told.reason), told.proof, Some(told.time), told.verified_time),
        (status.reason, status.proof, status.ended_time, status.closed_time),
        "{} {}",
        cell.name(),
        lease.name_any()
    );
}

/// How long a grant outlives what struck it by design.
fn grace(cell: Cell) -> Duration {
    let grace = if cell.trigger == Trigger::PolicyDeleted { DELETED_POLICY_GRACE } else { SignedDuration::ZERO };
    Duration::try_from(grace).unwrap()
}

/// What a namespace needs to go, and with it the right to delete the Secrets in it.
fn namespace_goes(cell: Cell) -> SignedDuration {
    let waits = cell.trigger == Trigger::NamespaceGone && cell.delivery == Delivery::Secret;
    if waits { SignedDuration::from_secs(60) } else { SignedDuration::ZERO }
}

/// How long to wait for the proof before giving up.
fn patience(cell: Cell, held: &Held) -> Duration {
    let of_time = match cell.kind {
        Kind::Token if cell.trigger == Trigger::Expired => held.granted.lease.spec.expires_at.duration_since(Timestamp::now()),
        Kind::Token => TOKEN_DEAD_WITHIN,
        Kind::Listed if cell.trigger != Trigger::Expired => namespace_goes(cell),
        Kind::Listed | Kind::Certificate => held.granted.lease.spec.not_after().duration_since(Timestamp::now()),
    };
    grace(cell) + SOON + Duration::try_from(of_time).unwrap_or_default()
}
