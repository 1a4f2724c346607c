//! An end that something keeps from being proven is told of: in an Event on its request, and by its class; and when it is over, that is told.

use daypass::{api::EndReason, core::overdue::MARGIN};
use devcluster::{
    Options,
    proxy::{Action, Call, Proxy, Script},
    wait,
};
use http::Method;
use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::{Api, ResourceExt};
use serde_json::json;
use stage::OperatorOptions;

use crate::{
    scene::{SOON, Scene, until_condition},
    support::{daypass, private},
};

/// More tries to delete it than are made meanwhile.
const MANY: usize = 500;

#[tokio::test]
async fn an_end_whose_proof_is_late_is_an_event_on_its_request_and_a_condition_of_its_class_until_it_is_proven() {
    let private = private(Options::default()).await;
    let proxy = Proxy::start(&private.stage.cluster, Script::quiet()).await.unwrap();
    let options = OperatorOptions { server: Some(proxy.url().clone()), ..Default::default() };
    let operator = private.stage.operator(&daypass(), options).await.unwrap();
    operator.ready().await.unwrap();
    let scene = Scene::with(&private.stage, "secrets-ends", "late", json!({}), json!({})).await;
    let (granted, secret) = scene.granted_secret("6s").await;
    let (in_time, _) = scene.granted_secret("4s").await;

    let deletes = move |call: &Call| call.method == Method::DELETE && call.path.ends_with(&format!("/secrets/{}", secret.name_any()));
    let refused = (1..=MANY).fold(Script::counting(deletes), |script, n| script.before(n, Action::Answer(500)));
    proxy.play(refused);
    let events = Api::<Event>::namespaced(scene.admin.clone(), &scene.namespace);
    let told = || async {
        let all = events.list(&Default::default()).await.ok()?.items;
        all.into_iter().find(|event| event.reason.as_deref() == Some("EndNotProven"))
    };
    let event = wait::until("the Event", 2 * SOON, told).await.unwrap();
    let due = granted.lease.spec.expires_at + MARGIN;
    assert!(Timestamp::now() > due, "not before its time");
    let about = event.regarding.unwrap();
    assert_eq!((about.kind.as_deref(), about.uid), (Some("AccessRequest"), granted.request.uid()));
    let note = event.note.unwrap();
    assert!(
        note.contains(&granted.lease.name_any()) && note.contains("the fault proxy answers 500") && note.contains(&due.to_string()),
        "{note}"
    );

    until_condition(&private.stage, "dpclass/late", "EndsProven=False").await;
    let class: daypass::api::CredentialClass = Api::all(scene.admin.clone()).get("late").await.unwrap();
    let condition = class.status.unwrap().conditions.into_iter().find(|condition| condition.type_ == "EndsProven").unwrap();
    let message = condition.message;
    assert!(message.starts_with("1 ended credential of this class") && message.contains(&granted.request.name_any()), "{message}");
    let (_, metrics) = operator.http("/metrics").await.unwrap();
    let oldest = metrics.lines().find_map(|line| line.strip_prefix("daypass_oldest_unproven_end_seconds ")).unwrap();
    assert!(oldest.parse::<f64>().unwrap() >= MARGIN.as_secs() as f64, "{oldest}");
    assert_eq!(scene.ended(&in_time).await.reason, EndReason::Expired, "its neighbour ended in time");

    proxy.play(Script::quiet());
    assert_eq!(scene.ended(&granted).await.reason, EndReason::Expired);
    until_condition(&private.stage, "dpclass/late", "EndsProven=True").await;
}
