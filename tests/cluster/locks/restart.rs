//! An operator that is killed in the middle of a lock: the next one finishes, counts the same, and writes nothing that says nothing new.

use daypass::api::EndReason;
use devcluster::Options;
use kube::ResourceExt;
use serde_json::json;
use stage::OperatorOptions;

use super::{all_dead, lock_when, place};
use crate::{
    scene::{SOON, Scene},
    support::{daypass, private},
};

#[tokio::test]
async fn a_lock_of_everything_is_finished_and_counted_by_the_next_operator() {
    let private = private(Options::default()).await;
    let stage = &private.stage;
    let operator = stage.operator(&daypass(), OperatorOptions::default()).await.unwrap();
    operator.ready().await.unwrap();
    let (one, another) = (Scene::set(stage, "locks-one").await, Scene::set(stage, "locks-another").await);
    let (begun, unseen) = (one.granted("50s").await, another.granted("50s").await);
    place(stage, "locks-first", json!({"namespaces": ["locks-one"]}), 3600).await;
    one.revoking(&begun, SOON).await;
    lock_when(stage, "locks-first", "to count", SOON, |status| status.revoked == Some(1) && status.waiting == Some(1)).await;

    operator.process.kill().await;
    place(stage, "locks-all", json!({"everything": true}), 3600).await;
    operator.process.start_again().unwrap();
    another.revoking(&unseen, SOON).await;
    let waiting = lock_when(stage, "locks-all", "to count", SOON, |status| status.revoked == Some(1)).await.status.unwrap();
    assert_eq!(waiting.dead_by, Some(unseen.lease.spec.not_after()), "what it waits for is over by then");
    assert!(waiting.conditions.iter().any(|c| c.type_ == "Reconciling" && c.message.contains("cannot be taken back")), "{waiting:?}");
    let (first, all) = (all_dead(stage, "locks-first", 1).await, all_dead(stage, "locks-all", 1).await);
    assert_eq!(one.ended(&begun).await.reason, EndReason::Locked);
    assert_eq!(another.ended(&unseen).await.reason, EndReason::Locked);
    assert_eq!(another.denied(json!({})).await.reason, "Forbidden");

    operator.process.kill().await;
    operator.process.start_again().unwrap();
    operator.ready().await.unwrap();
    // Whoever answers has read everything.
    assert_eq!(another.denied(json!({})).await.reason, "Forbidden");
    for lock in [first, all] {
        let now = lock_when(stage, &lock.name_any(), "to be there", SOON, |_| true).await;
        assert_eq!(now.metadata.resource_version, lock.metadata.resource_version, "nothing new to say of {}", lock.name_any());
    }
}
