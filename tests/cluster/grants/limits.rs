//! How many credentials at once: never one more, however many ask in the same moment.

use std::time::Duration;

use daypass::api::{DenialReason, RequestState, request::denial};
use futures::future::join_all;
use serde_json::json;
use stage::{Csr, Pod};

use crate::{scene::Scene, support::shared};

/// Asks this many times at once, and returns how many of them were granted; all others were told of the limit.
async fn granted_of(asks: usize, scene: &Scene<'_>, pod: &Pod, ttl: &str) -> usize {
    let csr = Csr::new().unwrap();
    let requests = join_all((0..asks).map(|_| pod.ask_with_csr(&scene.name, Some(ttl), &csr))).await;
    let answers = join_all(requests.iter().map(|request| pod.answer(request.as_ref().unwrap()))).await;
    let mut granted = 0;
    for answer in answers {
        let answer = answer.unwrap();
        match answer.state() {
            RequestState::Active => granted += 1,
            RequestState::Denied => {
                let status = answer.status.unwrap();
                assert_eq!(denial(&status), Some(DenialReason::LimitReached), "{status:?}");
                let decision = status.decision.unwrap();
                assert_eq!(decision.retry_after.unwrap().parse().unwrap(), Duration::from_secs(30), "time may cure it");
                assert!(decision.message.contains("ask again in 30s"), "{}", decision.message);
            }
            other => panic!("{other:?}: {:?}", answer.status),
        }
    }
    granted
}

#[tokio::test]
async fn twenty_asks_in_one_moment_get_five_places_and_never_six() {
    let here = shared();
    let scene = Scene::on_terms(&here.stage, "limits-live", json!({"limits": {"live": 5}})).await;
    assert_eq!(granted_of(20, &scene, &scene.pod, "5m").await, 5);
    let open = here.stage.leases().await.unwrap().into_iter().filter(|lease| lease.spec.class_name == scene.name && !lease.is_closed());
    assert_eq!(open.count(), 5, "the ledger agrees");
    let second = scene.another_pod("limits-live-2").await;
    assert_eq!(granted_of(2, &scene, &second, "5m").await, 0, "counted for the account, not for the pod");
}

#[tokio::test]
async fn each_pod_has_places_of_its_own_within_those_of_its_account() {
    let here = shared();
    let scene = Scene::on_terms(&here.stage, "limits-pod", json!({"limits": {"live": 5, "livePerPod": 2}})).await;
    let (second, third) = (scene.another_pod("limits-pod-2").await, scene.another_pod("limits-pod-3").await);
    let (of_first, of_second) = tokio::join!(granted_of(10, &scene, &scene.pod, "5m"), granted_of(10, &scene, &second, "5m"));
    assert_eq!((of_first, of_second), (2, 2));
    assert_eq!(granted_of(2, &scene, &third, "5m").await, 1, "one place was left to the account");
}

#[tokio::test]
async fn a_place_is_free_again_once_its_credential_is_dead_and_not_before() {
    let here = shared();
    let scene = Scene::on_terms(&here.stage, "limits-again", json!({"limits": {"live": 1}})).await;
    let first = scene.granted("15s").await;
    scene.pod.requests().delete(&kube::ResourceExt::name_any(&first.request), &Default::default()).await.unwrap();
    assert_eq!(granted_of(1, &scene, &scene.pod, "1m").await, 0, "given back, but verifiers accept it until its end");
    scene.closed(&first).await;
    assert_eq!(granted_of(1, &scene, &scene.pod, "1m").await, 1);
}
