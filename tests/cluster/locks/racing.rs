//! Requests that are on their way when a lock comes: whatever has been written of them, nothing that is live is left.

use std::time::Duration;

use daypass::api::{AccessRequest, Proof, RequestState, lease::LeaseState};
use devcluster::{
    Options,
    proxy::{Action, Call, Proxy, Script},
    wait,
};
use futures::future::join_all;
use http::Method;
use kube::ResourceExt;
use serde_json::json;
use stage::{Csr, OperatorOptions, Stage};

use super::place;
use crate::{
    scene::{SOON, Scene},
    support::{daypass, private, shared},
};

#[tokio::test]
async fn of_many_requests_that_race_a_lock_none_keeps_a_live_credential() {
    let here = shared();
    let scene = Scene::set(&here.stage, "locks-race").await;
    let ask = async |late: u64| {
        tokio::time::sleep(Duration::from_millis(late)).await;
        scene.pod.ask_with_csr(&scene.name, Some("20s"), &Csr::new().unwrap()).await.unwrap()
    };
    let locked = async {
        // In the middle of them.
        tokio::time::sleep(Duration::from_millis(150)).await;
        place(&here.stage, "locks-race", json!({"namespaces": ["locks-race"]}), 600).await;
    };
    let (requests, ()) = tokio::join!(join_all((0..12).map(|n| ask(n * 25))), locked);
    for request in requests {
        let settled = settled(&scene, &request).await;
        let lease = here.stage.lease_of(&request).await.unwrap();
        let told = (settled.status.unwrap().reason.unwrap(), lease.as_ref().and_then(|lease| lease.state()));
        let fits = match told.0.as_str() {
            "Forbidden" => lease.is_none() || told.1.is_some(),
            "Locked" | "Withdrawn" => told.1.is_some(),
            _ => false,
        };
        assert!(fits, "{told:?}");
    }
}

/// Waits until a request is neither on its way nor live.
async fn settled(scene: &Scene<'_>, request: &AccessRequest) -> AccessRequest {
    let (api, name) = (scene.requests(), request.name_any());
    wait::until(&format!("request {name} to be over"), SOON, || async {
        api.get(&name).await.ok().filter(|request| !matches!(request.state(), RequestState::Pending | RequestState::Active))
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_lock_that_comes_while_the_intent_is_written_down_keeps_its_credential_from_being_made() {
    held_up(|call| call.method == Method::POST && call.path.ends_with("/credentialleases"), &["Forbidden", "Withdrawn"]).await;
}

#[tokio::test]
async fn a_lock_that_comes_while_the_certificate_is_released_fences_it_off() {
    held_up(|call| call.method == Method::PUT && call.path.contains("/accessrequests/") && call.path.ends_with("/status"), &["Withdrawn"])
        .await;
}

/// The first of these writes hangs until a lock stands and the operator knows of it. What was asked for then ends as one of these.
async fn held_up(which: impl Fn(&Call) -> bool + Send + Sync + 'static, reasons: &[&str]) {
    let private = private(Options::default()).await;
    let stage: &Stage = &private.stage;
    let proxy = Proxy::start(&stage.cluster, Script::quiet()).await.unwrap();
    let options = OperatorOptions { server: Some(proxy.url().clone()), ..OperatorOptions::default() };
    let operator = stage.operator(&daypass(), options).await.unwrap();
    operator.ready().await.unwrap();
    let scene = Scene::set(stage, "locks-held-up").await;
    proxy.play(Script::counting(which).before(1, Action::Hang));
    let request = scene.pod.ask_with_csr(&scene.name, Some("5m"), &Csr::new().unwrap()).await.unwrap();
    proxy.reached(1).await;
    place(stage, "locks-held-up", json!({"everything": true}), 600).await;
    // Its status is written by who knows of it.
    super::lock_when(stage, "locks-held-up", "to be known", SOON, |status| status.observed_generation == Some(1)).await;
    proxy.release();
    let over = settled(&scene, &request).await;
    let status = over.status.unwrap();
    assert!(status.credential.is_none() && reasons.contains(&status.reason.as_deref().unwrap_or_default()), "{status:?}");
    let lease = stage.lease_of(&request).await.unwrap().expect("the intent was written down");
    let granted = crate::scene::Granted { request, lease };
    let closed = scene.lease_when(&granted, "closed", SOON, |lease| lease.state() == Some(LeaseState::Closed)).await;
    assert_eq!(closed.status.unwrap().proof, Some(Proof::NeverReleased));
    drop(operator);
}
