//! docs/revoking.md: its commands end what they say, with the program and with kubectl alone. On a control plane of its own, because the page
//! speaks of namespace `shop`, and ends all of it.

use daypass::api::EndReason;
use devcluster::{Options, workload::PodSpec};
use serde_json::json;
use stage::OperatorOptions;

use crate::{
    page::{blocks, run},
    scene::{self, SOON, Scene},
    support::{daypass, private},
};

#[tokio::test]
async fn every_command_of_the_page_ends_what_it_says() {
    let private = private(Options::default()).await;
    let stage = &private.stage;
    let operator = stage.operator(&daypass(), OperatorOptions::default()).await.unwrap();
    operator.ready().await.unwrap();
    let orders = Scene::with(stage, "shop", "orders", json!({}), json!({})).await;
    let billing = Scene::with(stage, "shop", "billing", json!({}), json!({})).await;
    let elsewhere = Scene::with(stage, "elsewhere", "other", json!({}), json!({})).await;
    let mut bad = PodSpec::new("elsewhere", "bad").service_account("other");
    (bad.image, bad.node) = ("registry.example/shop-app:1.2".into(), "node-2".into());
    let bad = scene::run(stage, &bad).await;

    // With the program.
    let [both] = blocks("With the program").try_into().unwrap();
    let (held, spared) = (orders.granted("15s").await, billing.granted("10m").await);
    let said = run(stage, &both).await;
    assert!(said.out.contains("1 credential would end") && said.out.ends_with("1 proven dead, 0 still waiting, 0 failed\n"), "{said:?}");
    assert_eq!(orders.ended(&held).await.reason, EndReason::RevokedByPerson);

    // With kubectl alone.
    let [account, wait, namespace, node, image] = blocks("With kubectl alone").try_into().unwrap();
    let held = orders.granted("15s").await;
    run(stage, &account).await;
    run(stage, &wait).await;
    assert_eq!(orders.ended(&held).await.reason, EndReason::RevokedByPerson);
    assert!(billing.leases().get(&kube::ResourceExt::name_any(&spared.lease)).await.unwrap().spec.revoke.is_none(), "another account");

    let (here, there) = (elsewhere.granted("10m").await, elsewhere.granted_to(&bad, "10m").await);
    let open = async |granted: &scene::Granted| {
        let lease = elsewhere.leases().get(&kube::ResourceExt::name_any(&granted.lease)).await.unwrap();
        lease.spec.revoke.is_none()
    };
    run(stage, &image).await;
    assert!(!open(&there).await && open(&here).await, "the image's, and no other");
    run(stage, &namespace).await;
    assert!(!open(&spared).await && open(&here).await, "all of namespace shop, and no other");
    run(stage, &node).await;
    assert!(!open(&here).await, "all of node-1");
    // Where there is nothing to end, nothing fails.
    elsewhere.revoking(&here, SOON).await;
    run(stage, &node).await;
}
