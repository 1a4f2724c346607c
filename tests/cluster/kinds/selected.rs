//! What can be selected, and waited for.

use daypass::{
    api::{AccessRequest, FailureReason},
    core::status,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use stage::{Csr, Stage};

use super::{
    quiet::{Author, quiet},
    samples,
};
use crate::support::{class, permit, shared};

/// Names of the objects that a field selector finds.
async fn select(stage: &Stage, plural: &str, namespace: &str, selector: &str) -> Vec<String> {
    let output = stage.cluster.kubectl(["get", plural, "-n", namespace, "--field-selector", selector, "-o", "name"]).await.unwrap();
    assert!(output.status.success(), "{plural} {selector}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Every field that the definition calls selectable finds the object by its value, and not by another.
async fn every_selector_works(stage: &Stage, plural: &str, object: &Value) -> Vec<String> {
    let crd = daypass::api::crds().into_iter().find(|crd| crd.spec.names.plural == plural).unwrap();
    let fields: Vec<String> =
        crd.spec.versions[0].selectable_fields.iter().flatten().map(|field| field.json_path.trim_start_matches('.').to_owned()).collect();
    let (namespace, name) = (object["metadata"]["namespace"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
    let name = format!("{}.daypass.dev/{name}", crd.spec.names.singular.as_deref().unwrap());
    for field in &fields {
        let value = object.pointer(&format!("/{}", field.replace('.', "/"))).and_then(Value::as_str).unwrap();
        assert!(select(stage, plural, namespace, &format!("{field}={value}")).await.contains(&name), "{field}={value}");
        assert!(!select(stage, plural, namespace, &format!("{field}!={value}")).await.contains(&name), "{field}!={value}");
    }
    fields
}

#[tokio::test]
async fn requests_and_leases_are_found_by_whose_they_are_and_where_they_stand() {
    let stage = quiet();
    let pod = Author::new(stage.pod("kinds-selected", "asker-1", "asker").await.unwrap().client);
    let request = pod.create(&samples::request("kinds-selected")).await.unwrap();
    // Pending by default, and found as such although nobody has written that.
    let fields = every_selector_works(&stage, "accessrequests", &request).await;
    assert_eq!(fields, ["spec.className", "spec.requester.podUID", "spec.requester.username", "status.state"]);

    let mut lease = samples::lease(&stage.operator_name().namespace);
    lease["metadata"]["name"] = json!("selected");
    let operator = Author::operator(&stage);
    let mut lease = operator.create(&lease).await.unwrap();
    lease["status"] = samples::lease_status();
    let lease = operator.put_status(&lease).await.unwrap();
    let fields = every_selector_works(&stage, "credentialleases", &lease).await;
    assert_eq!(fields, ["spec.requestUID", "spec.className", "spec.requester.username", "spec.requester.podUID", "status.state"]);
}

/// Whether `kubectl wait` returns for this condition.
async fn waited(stage: &Stage, namespace: &str, name: &str, condition: &str) -> bool {
    let [condition, name] = [format!("--for=condition={condition}"), format!("accessrequest/{name}")];
    let output = stage.cluster.kubectl(["wait", condition.as_str(), "--timeout=30s", "-n", namespace, name.as_str()]).await.unwrap();
    output.status.success()
}

#[tokio::test]
async fn waiting_for_an_answer_ends_with_a_grant_and_with_a_denial() {
    let here = shared();
    let namespace = "kinds-waited";
    here.offer(namespace, "asker", json!({})).await;
    let pod = here.stage.pod(namespace, "asker-1", "asker").await.unwrap();
    let granted = pod.ask_with_csr(namespace, Some("1m"), &Csr::new().unwrap()).await.unwrap();
    assert!(waited(&here.stage, namespace, granted.metadata.name.as_deref().unwrap(), "Decided").await);
    assert!(waited(&here.stage, namespace, granted.metadata.name.as_deref().unwrap(), "Ready").await);

    let denied = pod.ask_with_csr("no-such-class", None, &Csr::new().unwrap()).await.unwrap();
    assert!(waited(&here.stage, namespace, denied.metadata.name.as_deref().unwrap(), "Decided").await);
    assert!(waited(&here.stage, namespace, denied.metadata.name.as_deref().unwrap(), "Ready=False").await);
}

#[tokio::test]
async fn waiting_for_an_answer_ends_when_there_will_be_none() {
    let stage = quiet();
    let pod = Author::new(stage.pod("kinds-failed", "asker-1", "asker").await.unwrap().client);
    let mut held = pod.create(&samples::request("kinds-failed")).await.unwrap();
    let request: AccessRequest = serde_json::from_value(held.clone()).unwrap();
    held["status"] = json!(status::failed(&request, FailureReason::TimedOut, "not answered in time", Timestamp::now()));
    Author::operator(&stage).put_status(&held).await.unwrap();
    assert!(waited(&stage, "kinds-failed", "sample", "Decided").await);
}

#[tokio::test]
async fn a_class_and_its_policy_can_be_waited_for() {
    let here = shared();
    here.stage.platform(class("kinds-ready")).await.unwrap();
    here.stage.platform(permit("kinds-ready", "kinds-ready", "asker", "kinds-ready", json!({}))).await.unwrap();
    here.wait_ready("dpclass/kinds-ready").await;
    here.wait_ready("dpcpol/kinds-ready").await;
}
