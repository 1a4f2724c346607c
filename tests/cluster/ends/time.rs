//! A grant that runs out, and one that is given back.

use daypass::api::{EndReason, Proof, lease::LeaseState};
use jiff::SignedDuration;
use kube::ResourceExt;
use serde_json::json;

use crate::{
    scene::{SOON, Scene},
    support::shared,
};

/// More than any end may lag behind its date, on a machine that runs all tests at once. The lag itself is printed.
const LATEST: SignedDuration = SignedDuration::from_secs(10);

#[tokio::test]
async fn a_certificate_ends_with_its_time_and_is_proven_dead_by_both_clocks() {
    let here = shared();
    let scene = Scene::set(&here.stage, "ends-expired").await;
    let granted = scene.granted("3s").await;
    let ended = scene.ended(&granted).await;
    assert_eq!((ended.reason, ended.proof), (EndReason::Expired, Some(Proof::NotAfterPassed)));
    assert_eq!(ended.time, granted.lease.spec.expires_at, "it ended when it was to end, not when that was noticed");
    let lag = ended.verified_time.unwrap().duration_since(ended.time);
    println!("certificate: proven dead {lag:#} after its end");
    assert!((SignedDuration::ZERO..LATEST).contains(&lag), "{lag:#}");
    assert_eq!(ended.seconds_to_dead.unwrap(), (lag.as_millis() as i64 + 999) / 1000, "whole seconds, rounded up");
}

#[tokio::test]
async fn a_delivered_secret_goes_with_its_time() {
    let here = shared();
    let scene = Scene::with(&here.stage, "secrets-ends", "ends-secret", json!({}), json!({})).await;
    let (granted, secret) = scene.granted_secret("3s").await;
    let ended = scene.ended(&granted).await;
    assert_eq!((ended.reason, ended.proof), (EndReason::Expired, Some(Proof::NotAfterPassed)));
    assert_eq!(scene.secrets().get_opt(&secret.name_any()).await.unwrap(), None, "gone before the lease is closed");
    let lag = ended.verified_time.unwrap().duration_since(ended.time);
    println!("Secret: gone and proven dead {lag:#} after its end");
    assert!((SignedDuration::ZERO..LATEST).contains(&lag), "{lag:#}");
}

#[tokio::test]
async fn a_request_that_is_deleted_was_given_back_and_its_lease_waits_for_the_certificate() {
    let here = shared();
    let scene = Scene::set(&here.stage, "ends-completed").await;
    let granted = scene.granted("15s").await;
    scene.pod.requests().delete(&granted.request.name_any(), &Default::default()).await.unwrap();
    let marked = scene.lease_when(&granted, "given back", SOON, |lease| lease.state().is_some()).await;
    let status = marked.status.clone().unwrap();
    assert_eq!((status.state, status.reason), (Some(LeaseState::Revoking), Some(EndReason::Completed)));
    assert!(status.ended_time.unwrap() < granted.lease.spec.not_after(), "early");
    let closed = scene.closed(&granted).await.status.unwrap();
    assert_eq!(
        (closed.reason, closed.ended_time, closed.proof),
        (Some(EndReason::Completed), status.ended_time, Some(Proof::NotAfterPassed))
    );
}

#[tokio::test]
async fn an_early_end_counts_its_seconds_from_the_cause_to_the_proof() {
    let here = shared();
    let scene = Scene::set(&here.stage, "ends-seconds").await;
    let granted = scene.granted("15s").await;
    let admin = here.stage.cluster.admin().unwrap();
    devcluster::workload::set_phase(&admin, &scene.namespace, &scene.pod.pod.name_any(), "Succeeded").await.unwrap();
    let (_, request) = scene.revoking(&granted, SOON).await;
    let told = request.status.unwrap().ended.unwrap();
    assert_eq!((told.verified_time, told.seconds_to_dead, told.proof), (None, None, None), "nothing calls it dead yet");
    let ended = scene.ended(&granted).await;
    assert_eq!((ended.time, ended.reason), (told.time, told.reason), "the cause stays as it was told");
    let seconds = ended.verified_time.unwrap().duration_since(ended.time);
    assert!(seconds >= granted.lease.spec.not_after().duration_since(ended.time));
    assert_eq!(ended.seconds_to_dead.unwrap(), (seconds.as_millis() as i64 + 999) / 1000);
}
