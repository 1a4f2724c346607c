//! What GitOps tools make of status: judged by kstatus, the library that they use.

use std::{process::Stdio, time::Duration};

use daypass::api::RequestState;
use devcluster::{binaries, wait};
use serde_json::{Value, json};
use stage::{Csr, Stage};
use tokio::io::AsyncWriteExt;

use crate::support::{class, permit, shared};

/// How long the operator may take to judge what was applied.
const JUDGED_WITHIN: Duration = Duration::from_secs(30);

/// kstatus's word on an object.
async fn judge(object: &Value) -> String {
    let mut command = tokio::process::Command::new(binaries::kstatus().await.unwrap());
    let mut kstatus = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut stdin = kstatus.stdin.take().unwrap();
    stdin.write_all(object.to_string().as_bytes()).await.unwrap();
    drop(stdin);
    let output = kstatus.wait_with_output().await.unwrap();
    let verdict: Value = serde_json::from_slice(&output.stdout).unwrap();
    verdict["status"].as_str().unwrap().to_owned()
}

/// The object as it is held now.
async fn held(stage: &Stage, object: &str) -> Value {
    let output = stage.cluster.kubectl(["get", object, "-o", "json"]).await.unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Waits until the operator has written down what it thinks of this generation, and returns kstatus's word on that.
async fn judged(stage: &Stage, object: &str) -> String {
    let what = format!("{object} to be judged");
    let seen = wait::until(&what, JUDGED_WITHIN, || async {
        let held = held(stage, object).await;
        (held["status"]["observedGeneration"] == held["metadata"]["generation"]).then_some(held)
    });
    judge(&seen.await.unwrap()).await
}

#[tokio::test]
async fn what_works_is_current_and_what_is_awaited_is_in_progress() {
    let here = shared();
    let mut waiting = class("judged-waiting");
    waiting["spec"]["x509"]["ca"] = json!({"secretName": "judged-missing-ca"});
    here.stage.platform(class("judged")).await.unwrap();
    here.stage.platform(waiting).await.unwrap();
    here.stage.platform(permit("judged", "judged", "asker", "judged", json!({}))).await.unwrap();
    here.stage.platform(permit("judged-early", "judged", "asker", "judged-later", json!({}))).await.unwrap();
    here.wait_ready("dpclass/judged").await;
    here.wait_ready("dpcpol/judged").await;

    assert_eq!(judged(&here.stage, "dpclass/judged").await, "Current");
    assert_eq!(judged(&here.stage, "dpcpol/judged").await, "Current");
    assert_eq!(judged(&here.stage, "dpclass/judged-waiting").await, "InProgress", "its CA Secret may still come");
    assert_eq!(judged(&here.stage, "dpcpol/judged-early").await, "InProgress", "its class may still come");

    here.stage.platform(class("judged-later")).await.unwrap();
    here.wait_ready("dpcpol/judged-early").await;
    assert_eq!(judged(&here.stage, "dpcpol/judged-early").await, "Current");
}

#[tokio::test]
async fn what_only_an_edit_can_cure_has_failed_until_it_is_edited() {
    let here = shared();
    let policy = |when: &str| permit("judged-broken", "judged-broken", "asker", "judged-broken", json!({"when": when}));
    here.stage.platform(class("judged-broken")).await.unwrap();
    here.stage.platform(policy("pod.spec.(")).await.unwrap();
    assert_eq!(judged(&here.stage, "dpcpol/judged-broken").await, "Failed");
    let broken = held(&here.stage, "dpcpol/judged-broken").await;
    assert!(broken["status"]["conditions"].to_string().contains("spec.when"), "{}", broken["status"]);

    let mut unnameable = class("judged-unnameable");
    unnameable["spec"]["x509"]["dnsNames"] = json!(["{nonsense}.svc"]);
    here.stage.platform(unnameable).await.unwrap();
    assert_eq!(judged(&here.stage, "dpclass/judged-unnameable").await, "Failed");

    here.stage.platform(policy("true")).await.unwrap();
    here.wait_ready("dpcpol/judged-broken").await;
    assert_eq!(judged(&here.stage, "dpcpol/judged-broken").await, "Current");
}

#[tokio::test]
async fn a_request_is_current_only_with_its_credential_or_after_a_clean_end() {
    let here = shared();
    here.offer("judged-requests", "asker", json!({})).await;
    let pod = here.stage.pod("judged-requests", "asker-1", "asker").await.unwrap();
    let request = pod.ask_with_csr("judged-requests", Some("6s"), &Csr::new().unwrap()).await.unwrap();
    let active = pod.answer(&request).await.unwrap();
    assert_eq!(judge(&json!(active)).await, "Current");
    let ended = pod.until(&request, "its end", |request| request.state() == RequestState::Ended).await.unwrap();
    assert_eq!(judge(&json!(ended)).await, "Current");

    let request = pod.ask_with_csr("no-such-class", None, &Csr::new().unwrap()).await.unwrap();
    let denied = pod.answer(&request).await.unwrap();
    assert_eq!(denied.state(), RequestState::Denied);
    assert_ne!(judge(&json!(denied)).await, "Current");
}
