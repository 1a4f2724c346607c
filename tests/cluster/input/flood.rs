//! One pod that asks without end: it gets what it may, and others are served meanwhile.

use std::time::Duration;

use daypass::api::RequestState;
use futures::{StreamExt, stream};
use kube::ResourceExt;
use serde_json::json;
use stage::Csr;

use crate::{scene::Scene, support::shared};

/// Requests of the flood.
const FLOOD: usize = 2_000;

#[tokio::test]
async fn a_flood_from_one_pod_gets_its_limit_and_others_are_answered_in_the_middle_of_it() {
    let here = shared();
    let flood = Scene::on_terms(&here.stage, "input-flood", json!({"limits": {"live": 3}})).await;
    let other = Scene::set(&here.stage, "input-bystander").await;
    let csr = Csr::new().unwrap();
    let asking = async {
        let asks = stream::iter(0..FLOOD).map(|_| flood.pod.ask_with_csr(&flood.name, Some("10m"), &csr)).buffer_unordered(16);
        asks.map(Result::unwrap).collect::<Vec<_>>().await
    };
    let bystander = async {
        let mut longest = Duration::ZERO;
        for _ in 0..10 {
            let began = std::time::Instant::now();
            other.granted("1m").await;
            longest = longest.max(began.elapsed());
        }
        longest
    };
    let (requests, longest) = tokio::join!(asking, bystander);
    println!("in the middle of {FLOOD} requests of another pod, ten grants took at most {longest:?}, their judging included");
    assert_eq!(requests.len(), FLOOD, "each was taken");
    let pending = || async {
        let all = flood.requests().list(&Default::default()).await.unwrap().items;
        all.iter().all(|request| request.state() != RequestState::Pending).then_some(all)
    };
    let left = devcluster::wait::until("every request of the flood to be answered", Duration::from_secs(120), pending).await.unwrap();
    let active: Vec<_> = left.iter().filter(|request| request.state() == RequestState::Active).map(ResourceExt::name_any).collect();
    assert_eq!(active.len(), 3, "{active:?}");
    let leases = here.stage.leases().await.unwrap();
    assert_eq!(leases.iter().filter(|lease| lease.spec.class_name == flood.name).count(), 3, "one lease a credential, none for denials");
}
