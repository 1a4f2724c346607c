//! Classes that cannot serve a request: the answer says which, what to do, and whether to ask again.

use std::time::Duration;

use daypass::api::request::DecisionStatus;
use serde_json::json;
use stage::Csr;

use crate::{
    scene::{Scene, until_condition},
    support::shared,
};

fn retry_seconds(denied: &DecisionStatus) -> Option<u64> {
    denied.retry_after.as_ref().map(|after| after.parse().unwrap()).map(|after: Duration| after.as_secs())
}

#[tokio::test]
async fn a_class_that_does_not_exist_may_come_so_ask_again() {
    let here = shared();
    let scene = Scene::set(&here.stage, "input-absent").await;
    let denied = scene.denied(json!({"className": "input-no-such-class"})).await;
    assert_eq!((denied.reason.as_str(), retry_seconds(&denied)), ("ClassUnavailable", Some(30)));
    assert!(denied.message.contains("there is no CredentialClass input-no-such-class: check spec.className"), "{}", denied.message);
}

#[tokio::test]
async fn a_class_that_is_not_ready_issues_nothing_until_it_is() {
    let here = shared();
    let scene = Scene::set(&here.stage, "input-not-ready").await;
    scene.set_class(json!({"x509": {"subject": {"commonName": "{serviceAccout}"}}})).await;
    until_condition(&here.stage, "dpclass/input-not-ready", "Stalled=True").await;
    let denied = scene.denied(json!({})).await;
    assert_eq!((denied.reason.as_str(), retry_seconds(&denied)), ("ClassUnavailable", Some(30)));
    assert!(denied.message.contains("CredentialClass input-not-ready is not Ready (InvalidNames)"), "{}", denied.message);
    let told = here
        .stage
        .cluster
        .kubectl(["get", "dpclass/input-not-ready", "-o", "jsonpath={.status.conditions[?(@.type==\"Ready\")].message}"])
        .await
        .unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("spec.x509.subject.commonName") && told.contains("serviceAccout"), "{told}");
    scene.set_class(json!({})).await;
    scene.ready().await;
    scene.granted("1m").await;
}

#[tokio::test]
async fn names_that_do_not_fit_this_account_are_told_to_it() {
    let here = shared();
    let long = "a".repeat(60);
    let class = json!({"x509": {"subject": {"commonName": format!("{{serviceAccount}}-{long}")}}});
    let scene = Scene::with(&here.stage, "input-long-name", "input-long-name", class, json!({})).await;
    let denied = scene.denied(json!({})).await;
    assert_eq!(denied.reason, "ClassUnavailable");
    assert!(denied.message.contains("NamesDoNotFit"), "{}", denied.message);
}

#[tokio::test]
async fn a_class_s_delivery_and_namespaces_are_hard_limits() {
    let here = shared();
    let scene = Scene::with(&here.stage, "input-limits", "input-limits", json!({"delivery": ["CSR"]}), json!({})).await;
    let denied = scene.refused(json!({"className": scene.name})).await;
    assert_eq!((denied.reason.as_str(), retry_seconds(&denied)), ("DeliveryNotAllowed", None));
    assert_eq!(denied.message, "class input-limits does not deliver by Secret: send a certificate signing request in spec.csr");

    scene.set_class(json!({"delivery": ["Secret"]})).await;
    scene.ready().await;
    let denied = scene.refused(json!({"className": scene.name, "csr": Csr::new().unwrap().pem})).await;
    assert_eq!(denied.message, "class input-limits does not deliver by CSR: leave spec.csr out to get a Secret");

    scene.set_class(json!({"allowedNamespaces": {"selector": {"matchLabels": {"env": "input-prod"}}}})).await;
    scene.ready().await;
    let denied = scene.denied(json!({})).await;
    assert_eq!((denied.reason.as_str(), retry_seconds(&denied)), ("NamespaceNotAllowed", None));
    assert!(denied.message.contains("class input-limits is not for namespace input-limits: ask the platform team"), "{}", denied.message);
}
