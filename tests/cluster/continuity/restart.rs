//! Restarts and silence deny nobody: the record says since when, and what gives no answer is waited for.

use daypass::api::RequestState;
use devcluster::{
    Options,
    proxy::{Proxy, Script},
    wait,
};
use futures::future::join_all;
use kube::ResourceExt;
use stage::{Csr, OperatorOptions};

use super::{
    relay::{Held, Relay},
    scene::{SHOP, SOON, Scene},
};

/// Requests that are made while the operator comes and goes.
const LOAD: usize = 100;

#[tokio::test]
async fn an_operator_restarted_and_killed_under_load_denies_nobody() {
    let scene = Scene::set(Options::default(), async |_| OperatorOptions::default()).await;
    let since = scene.since().await;
    let csr = Csr::new().unwrap();
    let mut pods = vec![];
    for pod in 0..4 {
        pods.push(scene.stage().pod(SHOP, &format!("load-{pod}"), "orders").await.unwrap());
    }
    let asking = async {
        let mut asked = vec![];
        for n in 0..LOAD {
            let pod = &pods[n % pods.len()];
            asked.push((pod, pod.ask_with_csr(SHOP, None, &csr).await.unwrap()));
        }
        asked
    };
    let going = async {
        let (operator, granted) = (&scene.operator, |n: usize| leases(&scene, n));
        granted(10).await;
        assert!(operator.stop().await.success(), "SIGTERM ends it in order");
        operator.process.start_again().unwrap();
        granted(40).await;
        operator.process.kill().await;
        operator.process.start_again().unwrap();
    };
    let (asked, ()) = tokio::join!(asking, going);
    let answered = join_all(asked.iter().map(|(pod, request)| pod.answer(request))).await;
    for answered in answered {
        let answered = answered.unwrap();
        assert_eq!(answered.state(), RequestState::Active, "{:?}", answered.status);
    }
    assert_eq!(scene.since().await, since, "nothing changed, so nothing was proven anew");
    assert_eq!(scene.stage().leases().await.unwrap().len(), LOAD, "one lease each");
}

/// Waits until there are so many leases.
async fn leases(scene: &Scene, n: usize) {
    wait::until(&format!("{n} leases"), SOON, || async { (scene.stage().leases().await.ok()?.len() >= n).then_some(()) }).await.unwrap();
}

#[tokio::test]
async fn an_api_server_that_cannot_be_reached_makes_requests_wait_and_denies_none() {
    let scene = Scene::set(Options { apiservers: 2, ..Options::default() }, async |stage| OperatorOptions {
        args: vec!["--apiserver".into(), stage.cluster.server_urls()[1].to_string()],
        ..Default::default()
    })
    .await;
    scene.grants().await;
    let since = scene.since().await;
    let second = scene.stage().cluster.process("kube-apiserver-1").unwrap();
    second.stop().await;
    scene.operator.stop().await;
    scene.operator.process.start_again().unwrap();
    scene.readyz("guard: not proven, nothing is issued: ", "the canary gave no clear answer").await;
    scene.metric("daypass_guard{state=\"Unknown\"} 1").await;
    let waiting = scene.ask().await;
    let unanswered = || scene.operator.log_lines().iter().filter(|line| line["message"] == "the canary got no clear answer").count();
    let so_far = unanswered();
    wait::until("a few more canaries without an answer", SOON, || async { (unanswered() >= so_far + 4).then_some(()) }).await.unwrap();
    let held = scene.orders.requests().get(&waiting.name_any()).await.unwrap();
    assert_eq!(held.state(), RequestState::Pending, "{:?}", held.status);

    second.start_again().unwrap();
    let answered = scene.orders.answer(&waiting).await.unwrap();
    assert_eq!(answered.state(), RequestState::Active, "{:?}", answered.status);
    assert_eq!(scene.since().await, since, "it stood all the time");
}

#[tokio::test]
async fn an_operator_is_ready_whichever_of_its_lists_comes_last() {
    let (mut proxy, mut relay) = (None, None);
    let scene = Scene::set(Options::default(), async |stage| {
        let to = proxy.insert(Proxy::start(&stage.cluster, Script::quiet()).await.unwrap());
        let server = relay.insert(Relay::start(to.url()).await).url().clone();
        OperatorOptions { server: Some(server), ..Default::default() }
    })
    .await;
    let relay = relay.unwrap();
    let late: [(&str, Held); 11] = [
        ("accessrequests", |line| line.contains("/accessrequests?")),
        ("credentialleases", |line| line.contains("/credentialleases?")),
        ("credentialclasses", |line| line.contains("/credentialclasses?")),
        ("clusteraccesspolicies", |line| line.contains("/clusteraccesspolicies?")),
        ("accesspolicies", |line| line.contains("/accesspolicies?")),
        ("accesslocks", |line| line.contains("/accesslocks?")),
        ("pods", |line| line.contains("/pods?")),
        ("nodes", |line| line.contains("/nodes?")),
        ("namespaces", |line| line.contains("/namespaces?")),
        ("serviceaccounts", |line| line.contains("/serviceaccounts?")),
        ("secrets", |line| line.contains("/secrets?")),
    ];
    for (list, held) in late {
        scene.operator.stop().await;
        relay.hold(held);
        scene.operator.process.start_again().unwrap();
        let only = format!("issuing: NO: not everything has been listed yet: {list}");
        let waiting = wait::until(&only, SOON, || async {
            let (status, text) = scene.operator.http("/readyz").await.ok()?;
            (status == 503 && text.lines().any(|line| line == only)).then_some(())
        });
        waiting.await.unwrap();
        relay.release();
        scene.since().await;
    }
}
