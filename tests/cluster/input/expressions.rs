//! CEL that cannot be compiled breaks its policy, with the position told; CEL that fails when it is asked touches that request alone.

use daypass::api::RequestState;
use kube::ResourceExt;
use serde_json::json;
use stage::Csr;

use crate::{
    scene::{SOON, Scene, forbid, until_condition},
    support::shared,
};

/// The message of a policy's condition Stalled.
async fn broken(scene: &Scene<'_>, policy: &str) -> String {
    let object = format!("dpcpol/{policy}");
    until_condition(scene.stage, &object, "Stalled=True").await;
    let path = "jsonpath={.status.conditions[?(@.type==\"Stalled\")].message}";
    String::from_utf8(scene.stage.cluster.kubectl(["get", &object, "-o", path]).await.unwrap().stdout).unwrap()
}

#[tokio::test]
async fn a_permit_that_does_not_compile_says_where_and_hands_out_nothing() {
    let here = shared();
    let scene = Scene::set(&here.stage, "input-broken").await;
    let deep = format!("{}true{}", "(".repeat(40), ")".repeat(40));
    let rows = [
        (json!({"when": "pod.metadata.name =="}), "spec.when: 1:"),
        (json!({"when": "has(pod.metadata) &&\n  secrets.count > 1"}), "spec.when: 2:3: "),
        (json!({"when": "pod.metdata.name == 'a'"}), "spec.when: 1:"),
        (json!({"when": deep}), "spec.when: "),
        (
            json!({"require": [{"name": "pinned", "expression": "pod.spec.containers.all(c, d.image != '')", "message": "no"}]}),
            "spec.require[pinned]: 1:",
        ),
    ];
    for (terms, said) in rows {
        scene.set_terms(terms).await;
        let told = broken(&scene, &scene.name).await;
        assert!(told.starts_with(said) && told.ends_with("Until it is corrected it hands out nothing new, and it ends nothing."), "{told}");
        let denied = scene.denied(json!({})).await;
        assert_eq!(denied.reason, "NotPermitted", "{said}");
        scene.set_terms(json!({})).await;
        scene.ready().await;
    }
    scene.granted("1m").await;
}

#[tokio::test]
async fn a_forbid_that_does_not_compile_refuses_its_subjects_and_nobody_else() {
    let here = shared();
    let (scene, other) = (Scene::set(&here.stage, "input-ban").await, Scene::set(&here.stage, "input-not-ban").await);
    let live = scene.granted("5m").await;
    here.stage.platform(forbid("input-broken-ban", "input-ban", "input-ban", "input-ban", json!({"when": "pod.metadata."}))).await.unwrap();
    assert!(broken(&scene, "input-broken-ban").await.starts_with("spec.when: 1:"));
    assert_eq!(scene.denied(json!({})).await.reason, "Forbidden");
    other.granted("1m").await;
    assert!(scene.leases().get(&live.lease.name_any()).await.unwrap().state().is_none(), "it ends nothing");
}

#[tokio::test]
async fn cel_that_fails_when_it_is_asked_touches_that_request_and_the_log_names_it() {
    let here = shared();
    let scene = Scene::on_terms(&here.stage, "input-fails", json!({"when": "request.spec.purpose == 'reports'"})).await;
    let spec = |purpose: Option<&str>| {
        let mut spec = json!({"className": scene.name, "csr": Csr::new().unwrap().pem});
        if let Some(purpose) = purpose {
            spec["purpose"] = purpose.into();
        }
        spec
    };
    let failed = scene.pod.ask("fails", spec(None)).await.unwrap();
    let answered = scene.pod.answer(&failed).await.unwrap();
    assert_eq!((answered.state(), answered.status.unwrap().reason.as_deref()), (RequestState::Denied, Some("NotPermitted")));
    let fine = scene.pod.ask("fine", spec(Some("reports"))).await.unwrap();
    assert_eq!(scene.pod.answer(&fine).await.unwrap().state(), RequestState::Active);

    let name = failed.name_any();
    let line = devcluster::wait::until("the decision's line in the log", SOON, || async {
        here.operator.log_lines().into_iter().find(|line| line["target"] == "decision" && line.to_string().contains(&name))
    })
    .await
    .unwrap();
    assert!(line.to_string().contains("when failed"), "{line}");
}
