//! The API server is away for longer than a credential lives.

use std::{collections::BTreeMap, time::Duration};

use daypass::api::{CredentialLease, Delivery, Proof};
use devcluster::{proxy::Script, wait};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use serde_json::json;

use super::{
    lives::{End, Form, Life, every_course},
    rig::{ACCOUNT, NAMESPACE, Rig, ready},
    tokens::{FORMS, lending},
};
use crate::{
    revocation::with_list,
    scene::merge,
    support::{class, permit},
};

const TTL: u64 = 6;
/// The longest of several.
const LONGEST: u64 = 9;
/// How long after all ends the API server comes back.
const AND_MORE: SignedDuration = SignedDuration::from_secs(3);
/// Pauses between tries grow to this, so as long may the end take from then on.
const ENDS_WITHIN: Duration = Duration::from_secs(25);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ran_out_while_the_api_server_was_away_ends_when_it_is_back() {
    let rig = Rig::set(60).await;
    let server = rig.stage().cluster.process("kube-apiserver-0").unwrap();

    // Frozen: connections stay open, and nothing is answered.
    let frozen = live(&rig, "frozen").await;
    server.pause().await;
    outlast(&frozen).await;
    server.resume().await;
    rig.over(&frozen, ENDS_WITHIN).await;

    // Gone: connections are refused, and watches break.
    let gone = live(&rig, "gone").await;
    server.kill().await;
    outlast(&gone).await;
    server.start_again().unwrap();
    rig.stage().cluster.ready().await.unwrap();
    rig.over(&gone, ENDS_WITHIN).await;

    // And the operator issues again, without having been restarted.
    let after = live(&rig, "after").await;
    rig.over(&after, ENDS_WITHIN).await;
    rig.each_was_granted_once(&[frozen, gone, after].concat()).await;
    rig.audit().await;
}

/// Its certificates go onto a list when they end early.
const LISTED: Form = Form { class: "outage-listed", delivery: Delivery::CSR };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_ran_out_and_lists_that_were_due_meanwhile_are_over_when_it_is_back_and_the_oldest_goes_first() {
    // One at a time, so that their order shows.
    let rig = lending(Rig::set_with(60, &["--workers", "1"]).await).await;
    let mut with_a_list = class(LISTED.class);
    merge(&mut with_a_list["spec"], with_list(LISTED.class, "60s"));
    rig.stage().platform(with_a_list).await.unwrap();
    rig.stage().platform(permit(LISTED.class, NAMESPACE, ACCOUNT, LISTED.class, json!({}))).await.unwrap();
    ready(rig.stage(), &[format!("dpclass/{}", LISTED.class), format!("dpcpol/{}", LISTED.class)]).await;
    let server = rig.stage().cluster.process("kube-apiserver-0").unwrap();

    // The operator lives on.
    let tokens = several(&rig, "away").await;
    let listed = rig.live("away-listed".into(), LISTED, End::Revoked, 300).await;
    server.kill().await;
    outlast(&tokens).await;
    let back = Timestamp::now();
    server.start_again().unwrap();
    rig.stage().cluster.ready().await.unwrap();
    rig.over(&tokens, ENDS_WITHIN).await;
    rig.over(std::slice::from_ref(&listed), ENDS_WITHIN).await;
    let leases = rig.sight().await.unwrap().after;
    assert_eq!(of(&leases, &listed).status.unwrap().proof, Some(Proof::CRLPublished));
    for life in &tokens {
        let lease = of(&leases, life);
        let status = lease.status.clone().unwrap();
        assert_eq!(status.ended_time, Some(lease.spec.expires_at), "lag is counted from when it was due: {status:?}");
        assert!(
            status.closed_time.unwrap() >= back && matches!(status.proof, Some(Proof::TokenRefused | Proof::BoundObjectGone)),
            "{status:?}"
        );
    }
    rig.no_token_works().await;

    // It is started again when everything is long due.
    let tokens = several(&rig, "again").await;
    rig.operator.process.kill().await;
    outlast(&tokens).await;
    rig.operator.process.start_again().unwrap();
    rig.over(&tokens, ENDS_WITHIN).await;
    let leases = rig.sight().await.unwrap().after;
    let due: BTreeMap<String, Timestamp> =
        tokens.iter().map(|life| of(&leases, life)).map(|lease| (bound(&lease), lease.spec.expires_at)).collect();
    let calls = rig.stage().cluster.audit().unwrap();
    let deleted: Vec<Timestamp> = calls
        .iter()
        .filter(|call| call.is("delete", "secrets") && call.code() == 200)
        .filter_map(|call| due.get(&call.object_ref.as_ref()?.name).copied())
        .collect();
    // Dates are in whole seconds: two may be the same.
    assert_eq!(deleted.len(), tokens.len());
    assert!(deleted.is_sorted(), "the oldest first: {deleted:?}");
    assert!(deleted.first() < deleted.last(), "they run out one after the other");
    rig.no_token_works().await;
    rig.audit().await;
}

/// Tokens that run out one after the other, and in another order than they were asked for in.
async fn several(rig: &Rig, title: &str) -> Vec<Life> {
    rig.proxy.play(Script::quiet());
    let asked = [9, 5, 8, 6, 7].into_iter().enumerate();
    join_all(asked.map(|(n, ttl)| rig.live(format!("{title}-{n}"), FORMS[0], End::Expired, ttl))).await
}

fn of(leases: &[CredentialLease], life: &Life) -> CredentialLease {
    leases.iter().find(|lease| lease.name_any() == life.names.lease).unwrap().clone()
}

fn bound(lease: &CredentialLease) -> String {
    lease.spec.token.as_ref().unwrap().bound_to.name.clone()
}

/// A live grant for each course; those that are to be ended early have their end asked for.
async fn live(rig: &Rig, title: &str) -> Vec<Life> {
    rig.proxy.play(Script::quiet());
    let courses = every_course().into_iter().enumerate();
    join_all(courses.map(|(n, (form, end))| rig.live(format!("{title}-{n}"), form, end, TTL))).await
}

/// Waits until each of these has run out, and some more.
async fn outlast(lives: &[Life]) {
    let last = lives.iter().filter_map(|life| life.request.metadata.creation_timestamp.as_ref()).map(|made| made.0).max().unwrap();
    let over = last + SignedDuration::from_secs(TTL.max(LONGEST) as i64) + AND_MORE;
    wait::until("the credentials to run out", Duration::from_secs(60), || std::future::ready((Timestamp::now() >= over).then_some(())))
        .await
        .unwrap();
}
