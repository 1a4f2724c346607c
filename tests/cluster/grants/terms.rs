//! How long a grant lives: what was asked for, what is given when nothing was, and what cuts it. Every cut is said.

use daypass::core::decide::BACKDATE;
use jiff::SignedDuration;
use serde_json::json;
use stage::Csr;

use crate::{scene::Scene, support::shared};

/// Seconds that a request with this TTL is granted, and what the requester is told.
async fn given(scene: &Scene<'_>, ttl: Option<&str>) -> (i64, String) {
    let request = scene.pod.ask_with_csr(&scene.name, ttl, &Csr::new().unwrap()).await.unwrap();
    let status = scene.pod.answer(&request).await.unwrap().status.unwrap();
    let credential = status.credential.unwrap();
    let from = credential.not_before + BACKDATE;
    let waited = from.duration_since(request.metadata.creation_timestamp.unwrap().0);
    assert!((SignedDuration::ZERO..SignedDuration::from_secs(30)).contains(&waited), "the time runs from the lease's creation");
    (credential.expires_at.duration_since(from).as_secs(), status.decision.unwrap().message)
}

#[tokio::test]
async fn what_is_asked_for_is_given_and_the_class_s_default_where_nothing_is() {
    let here = shared();
    let scene = Scene::set(&here.stage, "grants-asked").await;
    assert_eq!(given(&scene, Some("1m30s")).await, (90, "granted for 90s".into()));
    assert_eq!(given(&scene, None).await, (300, "granted for 300s".into()));
}

#[tokio::test]
async fn a_policy_s_default_comes_before_the_class_s_and_its_ceiling_cuts() {
    let here = shared();
    let scene = Scene::on_terms(&here.stage, "grants-ceiling", json!({"ttl": {"default": "20s", "max": "40s"}})).await;
    assert_eq!(given(&scene, None).await, (20, "granted for 20s".into()));
    let (seconds, said) = given(&scene, Some("10m")).await;
    assert_eq!(seconds, 40);
    assert_eq!(said, "granted for 40s of the 600s asked: cut by ClusterAccessPolicy/grants-ceiling gives at most 40s");
}

#[tokio::test]
async fn the_class_s_ceiling_cuts_what_no_policy_cuts() {
    let here = shared();
    let scene = Scene::with(&here.stage, "grants-max", "grants-max", json!({"ttl": {"default": "10s", "max": "1m"}}), json!({})).await;
    let (seconds, said) = given(&scene, Some("24h")).await;
    assert_eq!((seconds, said.as_str()), (60, "granted for 60s of the 86400s asked: cut by class grants-max gives at most 1m"));
}

#[tokio::test]
async fn of_two_permits_the_shorter_time_decides_and_is_named() {
    let here = shared();
    let scene = Scene::on_terms(&here.stage, "grants-shorter", json!({"ttl": {"max": "2m"}})).await;
    let shorter = crate::support::permit("grants-a-longer-name", &scene.namespace, &scene.name, &scene.name, json!({"ttl": {"max": "1m"}}));
    here.stage.platform(shorter).await.unwrap();
    here.wait_ready("dpcpol/grants-a-longer-name").await;
    let granted = scene.granted("10m").await;
    assert_eq!(granted.lease.spec.policy.name, "ClusterAccessPolicy/grants-a-longer-name");
    assert_eq!(given(&scene, Some("10m")).await.0, 60);
}
