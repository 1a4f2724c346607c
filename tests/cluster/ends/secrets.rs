//! A delivered Secret is gone at once when its grant ends, whoever holds on to it.

use daypass::api::EndReason;
use devcluster::workload;
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::{
    scene::{SOON, Scene},
    support::shared,
};

const NAMESPACE: &str = "secrets-ends";

#[tokio::test]
async fn an_early_end_takes_the_secret_at_once_though_the_certificate_lives_on() {
    let here = shared();
    let scene = Scene::with(&here.stage, NAMESPACE, "secret-early", json!({}), json!({})).await;
    let (granted, secret) = scene.granted_secret("20s").await;
    workload::set_phase(&scene.admin, NAMESPACE, &scene.pod.pod.name_any(), "Succeeded").await.unwrap();
    scene.secret_gone(&secret.name_any(), SOON).await;
    let (lease, _) = scene.revoking(&granted, SOON).await;
    assert_eq!(lease.status.unwrap().reason, Some(EndReason::PodGone));
    scene.ended(&granted).await;
}

#[tokio::test]
async fn a_request_deleted_with_orphan_leaves_no_secret_behind() {
    let here = shared();
    let scene = Scene::with(&here.stage, NAMESPACE, "secret-orphan", json!({}), json!({})).await;
    let (granted, secret) = scene.granted_secret("1m").await;
    // With Orphan the garbage collector takes the owner off the Secret instead of deleting it: it is a net, not the mechanism.
    let orphan = DeleteParams { propagation_policy: Some(kube::api::PropagationPolicy::Orphan), ..Default::default() };
    scene.requests().delete(&granted.request.name_any(), &orphan).await.unwrap();
    scene.secret_gone(&secret.name_any(), SOON).await;
    scene
        .lease_when(&granted, "given back", SOON, |lease| lease.status.as_ref().is_some_and(|s| s.reason == Some(EndReason::Completed)))
        .await;
}

#[tokio::test]
async fn a_tenant_s_blocking_dependent_does_not_hold_the_secret() {
    let here = shared();
    let scene = Scene::with(&here.stage, NAMESPACE, "secret-held", json!({}), json!({})).await;
    let (granted, secret) = scene.granted_secret("1m").await;
    let maps = Api::<ConfigMap>::namespaced(scene.admin.clone(), NAMESPACE);
    let owner = OwnerReference {
        api_version: "v1".into(),
        kind: "Secret".into(),
        name: secret.name_any(),
        uid: secret.uid().unwrap(),
        controller: None,
        block_owner_deletion: Some(true),
    };
    let metadata = ObjectMeta {
        name: Some("holds-the-secret".into()),
        finalizers: Some(vec!["example.com/for-ever".into()]),
        owner_references: Some(vec![owner]),
        ..Default::default()
    };
    maps.create(&PostParams::default(), &ConfigMap { metadata, ..Default::default() }).await.unwrap();
    // Foreground: the garbage collector would wait for the dependent, and that one never goes.
    scene.requests().delete(&granted.request.name_any(), &DeleteParams::foreground()).await.unwrap();
    scene.secret_gone(&secret.name_any(), SOON).await;
    let free: Patch<serde_json::Value> = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch("holds-the-secret", &PatchParams::default(), &free).await.unwrap();
}

#[tokio::test]
async fn nobody_else_can_put_a_finalizer_on_it_or_change_it() {
    let here = shared();
    let scene = Scene::with(&here.stage, NAMESPACE, "secret-guarded", json!({}), json!({})).await;
    let (_, secret) = scene.granted_secret("1m").await;
    for change in [json!({"metadata": {"finalizers": ["example.com/for-ever"]}}), json!({"stringData": {"tls.key": "mine"}})] {
        let patch = Patch::Merge(change);
        let refused = scene.secrets().patch(&secret.name_any(), &PatchParams::default(), &patch).await.unwrap_err().to_string();
        assert!(refused.contains("belong to Daypass"), "{refused}");
    }
}
