//! Policies that want what can be taken back fast.

use daypass::api::{DenialReason, EndReason};
use serde_json::json;

use super::crl::with_list;
use crate::{scene::Scene, support::shared};

#[tokio::test]
async fn a_policy_that_demands_it_refuses_a_class_that_nothing_takes_back() {
    let here = shared();
    let terms = json!({"revocation": {"atMostSeconds": 60}});
    let scene = Scene::on_terms(&here.stage, "crl-demand", terms).await;
    let denied = scene.denied(json!({})).await;
    assert_eq!(denied.reason, DenialReason::GateFailed.as_str());
    assert!(denied.message.contains("cannot be taken back before they expire, up to 900s"), "{}", denied.message);

    scene.set_class(with_list("crl-demand", "2m")).await;
    scene.ready().await;
    let denied = scene.denied(json!({})).await;
    assert!(denied.message.contains("up to 120s after they were taken back"), "{}", denied.message);

    scene.set_terms(json!({"revocation": {"atMostSeconds": 120}})).await;
    scene.ready().await;
    assert_eq!(scene.granted("30m").await.lease.spec.crl().unwrap().bound_seconds, 120);
}

#[tokio::test]
async fn a_demand_that_is_made_later_ends_what_is_taken_back_too_slowly() {
    let here = shared();
    let scene = Scene::with(&here.stage, "crl-later", "crl-later", with_list("crl-later", "5m"), json!({})).await;
    let granted = scene.granted("30m").await;
    scene.set_terms(json!({"revocation": {"atMostSeconds": 60}})).await;
    let ended = scene.taken_back(&granted).await;
    assert_eq!(ended.reason, EndReason::PolicyChanged);
    assert!(ended.message.contains("not taken back as fast as the policy demands"), "{}", ended.message);
}
