//! What is over goes: first the request, then its lease, never the other way round; and no account can hoard finished requests.

use std::time::Duration;

use daypass::api::RequestState;
use devcluster::{Options, wait};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use serde_json::json;
use stage::{Csr, OperatorOptions};

use crate::{
    scene::{SOON, Scene},
    support::{daypass, private},
};

/// A lease stays this much longer than its certificate, for verifiers whose clock is behind.
const SKEW: Duration = Duration::from_secs(60);

#[tokio::test]
async fn finished_requests_go_after_their_time_and_their_leases_after_them() {
    let private = private(Options::default()).await;
    let args = ["--keep-clean", "4s", "--keep-other", "8s", "--keep-per-identity", "3"];
    let options = OperatorOptions { args: args.map(String::from).into(), ..OperatorOptions::default() };
    let operator = private.stage.operator(&daypass(), options).await.unwrap();
    operator.ready().await.unwrap();
    let scene = Scene::set(&private.stage, "kept").await;
    let hoarder =
        Scene::on_terms(&private.stage, "hoarder", json!({"subjects": [{"namespaces": ["nowhere"], "serviceAccountNames": ["*"]}]})).await;

    let granted = scene.granted("2s").await;
    let verified = scene.ended(&granted).await.verified_time.unwrap();
    let (requests, leases) = (scene.requests(), scene.leases());
    let request_gone = || async { requests.get_opt(&granted.request.name_any()).await.unwrap().is_none().then_some(()) };
    let lease_gone = || async { leases.get_opt(&granted.lease.name_any()).await.unwrap().is_none().then_some(()) };
    wait::until("the request to go", SOON, request_gone).await.unwrap();
    assert!(Timestamp::now() >= verified + SignedDuration::from_secs(4), "kept for its time");
    assert!(leases.get_opt(&granted.lease.name_any()).await.unwrap().is_some(), "the tombstone outlives its request");

    // Denied: kept longer, and at most three of one account.
    for _ in 0..5 {
        let request = hoarder.pod.ask_with_csr("hoarder", None, &Csr::new().unwrap()).await.unwrap();
        assert_eq!(hoarder.pod.answer(&request).await.unwrap().state(), RequestState::Denied);
    }
    let held = hoarder.requests();
    let count = || async { held.list(&Default::default()).await.unwrap().items.len() };
    wait::until("three to be left", SOON, || async { (count().await <= 3).then_some(()) }).await.unwrap();
    wait::until("all to be gone", SOON, || async { (count().await == 0).then_some(()) }).await.unwrap();

    wait::until("the lease to go", SKEW + SOON, lease_gone).await.unwrap();
    assert!(
        Timestamp::now() >= granted.lease.spec.not_after() + SignedDuration::try_from(SKEW).unwrap(),
        "not before the last clock is past it"
    );
    operator.stop().await;
}
