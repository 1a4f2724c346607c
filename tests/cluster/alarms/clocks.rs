//! Clocks that differ by more than half a minute: nothing new is granted and every class says so, and ends go on.

use daypass::api::{EndReason, Proof, RequestState};
use devcluster::{
    Options,
    proxy::{Proxy, Script},
};
use kube::ResourceExt;
use serde_json::json;
use stage::{Csr, OperatorOptions};

use crate::{
    revocation::{revoke, with_list},
    scene::{Scene, until_condition, until_ready},
    support::{daypass, private},
};

#[tokio::test]
async fn while_the_clocks_differ_nothing_is_granted_and_every_class_says_so_and_ends_go_on() {
    let private = private(Options::default()).await;
    let stage = &private.stage;
    let proxy = Proxy::start(&stage.cluster, Script::quiet()).await.unwrap();
    let options = OperatorOptions { server: Some(proxy.url().clone()), ..Default::default() };
    let operator = stage.operator(&daypass(), options).await.unwrap();
    operator.ready().await.unwrap();
    let plain = Scene::set(stage, "clocks").await;
    let listed = Scene::with(stage, "clocks-list", "clocks-list", with_list("clocks-list", "5m"), json!({})).await;
    let (expires, taken) = (plain.granted("30s").await, listed.granted("30m").await);

    proxy.set_clock_ahead(40);
    for class in ["dpclass/clocks", "dpclass/clocks-list"] {
        until_condition(stage, class, "ClocksAgree=False").await;
        until_condition(stage, class, "Ready=False").await;
    }
    let (_, metrics) = operator.http("/metrics").await.unwrap();
    let metric = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name} in {metrics}"));
        line.trim().parse::<f64>().unwrap()
    };
    assert!(metric("daypass_clock_offset_milliseconds ") > 30_000.0 && metric("daypass_issuing ") == 0.0, "{metrics}");
    let waiting = plain.pod.ask_with_csr("clocks", Some("5m"), &Csr::new().unwrap()).await.unwrap();

    // By the API server's clock it is over already; it is proven by both.
    assert_eq!(plain.ended(&expires).await.proof, Some(Proof::NotAfterPassed));
    revoke(&listed, &taken).await;
    assert_eq!(listed.taken_back(&taken).await.reason, EndReason::RevokedByPerson);
    let asked = plain.requests().get(&waiting.name_any()).await.unwrap();
    assert_eq!(asked.state(), RequestState::Pending);
    assert!(stage.lease_of(&waiting).await.unwrap().is_none(), "nothing is granted meanwhile");

    // What was heard of a clock is not forgotten at once; who has just started has heard nothing else.
    operator.process.kill().await;
    proxy.set_clock_ahead(-40);
    operator.process.start_again().unwrap();
    let issuing = || async { operator.readyz().await.ok().filter(|text| text.contains("this clock and the API server's differ by -")) };
    devcluster::wait::until("the other direction to be noticed", crate::scene::SOON, issuing).await.unwrap();
    until_condition(stage, "dpclass/clocks", "ClocksAgree=False").await;
    assert!(stage.lease_of(&waiting).await.unwrap().is_none());

    operator.process.kill().await;
    proxy.set_clock_ahead(0);
    operator.process.start_again().unwrap();
    operator.ready().await.unwrap();
    until_condition(stage, "dpclass/clocks", "ClocksAgree=True").await;
    until_ready(stage, "dpclass/clocks").await;
    let again = plain.granted("5m").await;
    assert_eq!(again.request.state(), RequestState::Active);
    operator.stop().await;
}
