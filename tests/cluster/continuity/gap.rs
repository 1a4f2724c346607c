//! Gaps that are over when the operator looks: what was stored in them is never believed.

use devcluster::proxy::{Action, Proxy, Script};
use serde_json::json;
use stage::OperatorOptions;

use super::{
    relay::Relay,
    scene::{Part, SHOP, Scene},
};

#[tokio::test]
async fn a_guard_edited_and_edited_back_or_made_anew_while_nobody_looked_is_not_the_one_that_was_proven() {
    let scene = Scene::set(Default::default(), async |_| OperatorOptions::default()).await;
    let thief = scene.stage().pod(SHOP, "billing-0", "billing").await.unwrap();
    scene.grants().await;
    for gap in ["edited and edited back", "deleted and made again"] {
        let before = scene.since().await;
        assert!(scene.operator.stop().await.success(), "{gap}");
        match gap {
            "edited and edited back" => {
                scene.set_spec(Part::Binding, json!({"policyName": "verify.daypass.dev", "validationActions": ["Audit"]})).await
            }
            _ => scene.remove(Part::Policy).await,
        }
        scene.open().await;
        let forged = scene.forge(&thief).await;
        match gap {
            "edited and edited back" => scene.set_spec(Part::Binding, Part::Binding.shipped()).await,
            _ => scene.create(Part::Policy).await,
        }
        scene.closed().await;
        scene.operator.process.start_again().unwrap();
        scene.denied_for_the_gap(&forged, gap).await;
        let since = scene.since().await;
        assert!(since > before && since >= forged.metadata.creation_timestamp.as_ref().unwrap().0, "{gap}: {since}");
        scene.operator.ready().await.unwrap();
    }
}

fn of_the_guard(line: &str) -> bool {
    line.contains("/validatingadmissionpolic") && line.contains("watch=true")
}

fn of_requests(line: &str) -> bool {
    line.contains("/accessrequests?") && line.contains("watch=true")
}

#[tokio::test]
async fn a_watch_that_hangs_hides_no_gap_from_a_decision() {
    let (mut proxy, mut relay) = (None, None);
    let scene = Scene::set(Default::default(), async |stage| {
        let to = proxy.insert(Proxy::start(&stage.cluster, Script::quiet()).await.unwrap());
        let server = relay.insert(Relay::start(to.url()).await).url().clone();
        OperatorOptions { server: Some(server), ..Default::default() }
    })
    .await;
    let relay = relay.unwrap();
    let thief = scene.stage().pod(SHOP, "billing-0", "billing").await.unwrap();
    scene.grants().await;
    let since = scene.since().await;

    relay.hold(|line| of_the_guard(line) || of_requests(line));
    scene.remove(Part::Policy).await;
    scene.open().await;
    let forged = scene.forge(&thief).await;
    scene.create(Part::Policy).await;
    scene.closed().await;
    // The request is found when the guard stands again, and no watch has told of the gap.
    relay.hold(of_the_guard);
    scene.denied_for_the_gap(&forged, "with the watches hanging").await;

    relay.release();
    assert!(scene.since().await > since, "proven anew");
    scene.operator.ready().await.unwrap();
    assert_eq!(scene.stage().leases().await.unwrap().len(), 1, "that of the honest request");
}

#[tokio::test]
async fn an_api_server_that_admits_a_canary_stops_everything_and_a_restart_does_not_forget_it() {
    // The second API server is the first one behind a proxy, which can admit what the first refuses.
    let canaries = || Script::counting(|call| call.path.ends_with("/daypass-system/accessrequests") && call.dry_run());
    let admitting = || (1..200).fold(canaries(), |script, n| script.before(n, Action::Answer(201)));
    let mut proxy = None;
    let scene = Scene::set(Default::default(), async |stage| {
        let second = proxy.insert(Proxy::start(&stage.cluster, canaries()).await.unwrap());
        OperatorOptions { args: vec!["--apiserver".into(), second.url().to_string()], ..Default::default() }
    })
    .await;
    let proxy = proxy.unwrap();
    scene.grants().await;
    let before = scene.since().await;

    proxy.play(admitting());
    scene.it_is_said("one API server admits the canary", "a forged requester was admitted by http://127.0.0.1:").await;
    let first = scene.ask().await;
    scene.denied_for_the_gap(&first, "while it is open").await;
    scene.operator.process.kill().await;
    let while_away = scene.ask().await;
    proxy.play(canaries());
    scene.operator.process.start_again().unwrap();
    scene.denied_for_the_gap(&while_away, "made after the kill, and found by the next process").await;
    assert!(scene.since().await > before, "the record said that it was open");
    scene.operator.ready().await.unwrap();
    scene.grants().await;
}
