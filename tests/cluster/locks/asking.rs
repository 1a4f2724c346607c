//! What whoever asks is told while a lock stands, and that a lock is over at its end.

use daypass::api::{EndReason, lock::LockState};
use serde_json::json;

use super::{ends::may_ask_again, lock_when, place};
use crate::{
    plugin::Person,
    scene::{SOON, Scene},
    support::shared,
};

#[tokio::test]
async fn a_lock_is_over_at_its_end_and_what_it_ended_stays_ended() {
    let here = shared();
    let scene = Scene::set(&here.stage, "locks-over").await;
    let granted = scene.granted("30s").await;
    place(&here.stage, "locks-over", json!({"namespaces": ["locks-over"], "classes": ["locks-over", "another"]}), 8).await;
    let told = scene.denied(json!({})).await;
    assert!(told.reason == "Forbidden" && told.retry_after.unwrap().parse().unwrap().as_secs() <= 8, "{}", told.message);
    let over = lock_when(&here.stage, "locks-over", "to be over", SOON, |status| status.state == Some(LockState::Ended)).await;
    assert_eq!(over.status.unwrap().revoked, Some(1));
    may_ask_again(&scene, &scene.pod).await;
    assert_eq!(scene.ended(&granted).await.reason, EndReason::Locked, "a grant does not come back");
}

#[tokio::test]
async fn explain_shows_the_lock_that_refuses() {
    let here = shared();
    let scene = Scene::set(&here.stage, "locks-explain").await;
    place(&here.stage, "locks-explain", json!({"namespaces": ["locks-explain"]}), 600).await;
    scene.denied(json!({})).await;
    let request = scene.requests().list(&Default::default()).await.unwrap().items.remove(0);
    let name = request.metadata.name.unwrap();
    let said = Person::admin(&here.stage).kubectl(&["daypass", "explain", "-n", "locks-explain", &name]).await;
    assert!(said.code == 0 && said.out.contains("Refused by AccessLock/locks-explain."), "{said:?}");
}
