//! Who gets what: a Permit that applies hands out, a Forbid outweighs it, a gate that does not hold denies.

use serde_json::{Value, json};

use crate::{
    scene::{Scene, forbid},
    support::shared,
};

fn own_policy(namespace: &str, name: &str, account: &str, class: &str) -> Value {
    json!({
        "apiVersion": "daypass.dev/v1alpha1", "kind": "AccessPolicy", "metadata": {"name": name, "namespace": namespace},
        "spec": {"subjects": [{"serviceAccountNames": [account]}], "classes": [class]},
    })
}

#[tokio::test]
async fn without_a_policy_nothing_is_given_and_the_next_step_is_named() {
    let here = shared();
    let scene = Scene::on_terms(
        &here.stage,
        "policies-none",
        json!({"subjects": [{"namespaces": ["policies-none"], "serviceAccountNames": ["another"]}]}),
    )
    .await;
    let denied = scene.denied(json!({})).await;
    assert_eq!((denied.reason.as_str(), denied.policy), ("NotPermitted", None));
    let said = "no policy permits class policies-none for service account policies-none of namespace policies-none: ask the platform team for a ClusterAccessPolicy";
    assert_eq!(denied.message, said);
}

#[tokio::test]
async fn a_namespace_s_own_policy_hands_out_only_what_was_delegated_to_it() {
    let here = shared();
    // Its own ClusterAccessPolicy speaks of somebody else, so that only the AccessPolicy can hand anything out.
    let terms = json!({"subjects": [{"namespaces": ["somewhere-else"], "serviceAccountNames": ["another"]}]});
    let scene = Scene::on_terms(&here.stage, "policies-own", terms).await;
    here.stage.platform(own_policy("policies-own", "ours", &scene.name, &scene.name)).await.unwrap();
    let waited =
        here.stage.cluster.kubectl(["wait", "-n", "policies-own", "--for=condition=Ready", "--timeout=30s", "dppol/ours"]).await.unwrap();
    assert!(waited.status.success(), "{waited:?}");
    assert_eq!(scene.denied(json!({})).await.reason, "NotPermitted", "the class is delegated to nobody");

    scene.set_class(json!({"delegateTo": {"names": ["policies-own"]}})).await;
    scene.ready().await;
    assert_eq!(scene.granted("1m").await.lease.spec.policy.name, "AccessPolicy/policies-own/ours");
}

#[tokio::test]
async fn a_forbid_outweighs_every_permit_and_does_not_say_what_it_is() {
    let here = shared();
    let scene = Scene::set(&here.stage, "policies-forbid").await;
    let ban = forbid("policies-the-ban", &scene.namespace, &scene.name, &scene.name, json!({"when": "request.spec.purpose == 'mischief'"}));
    here.stage.platform(ban).await.unwrap();
    here.wait_ready("dpcpol/policies-the-ban").await;
    let denied = scene.denied(json!({"purpose": "mischief"})).await;
    assert_eq!(denied.reason, "Forbidden");
    assert_eq!(
        denied.message,
        "a policy forbids class policies-forbid for service account policies-forbid of namespace policies-forbid: ask the platform team"
    );
    // Definitely not true, so it does not apply. (A missing purpose would be an error, and a Forbid that cannot be told forbids.)
    let request =
        scene.pod.ask("fine", json!({"className": scene.name, "csr": stage::Csr::new().unwrap().pem, "purpose": "reports"})).await.unwrap();
    assert_eq!(scene.pod.answer(&request).await.unwrap().state(), daypass::api::RequestState::Active);
    assert_eq!(scene.denied(json!({})).await.reason, "Forbidden", "a Forbid that cannot be evaluated fails closed");
}

#[tokio::test]
async fn a_gate_that_does_not_hold_denies_with_the_policy_author_s_words() {
    let here = shared();
    let gates = json!([
        {"name": "pinned", "expression": "pod.spec.containers.all(c, c.image.contains('@sha256:'))", "message": "pin images by digest"},
        {"name": "purpose", "expression": "has(request.spec.purpose) && request.spec.purpose.startsWith('OPS-')", "message": "name a ticket in spec.purpose"},
    ]);
    let scene = Scene::on_terms(&here.stage, "policies-gates", json!({"require": gates})).await;
    let denied = scene.denied(json!({"purpose": "curiosity"})).await;
    assert_eq!((denied.reason.as_str(), denied.policy.as_deref()), ("GateFailed", Some("ClusterAccessPolicy/policies-gates")));
    assert_eq!(denied.message, "condition purpose does not hold: name a ticket in spec.purpose");
    let request =
        scene.pod.ask("ticket", json!({"className": scene.name, "csr": stage::Csr::new().unwrap().pem, "purpose": "OPS-7"})).await.unwrap();
    assert_eq!(scene.pod.answer(&request).await.unwrap().state(), daypass::api::RequestState::Active);
}

#[tokio::test]
async fn when_sees_the_pod_its_node_and_its_account_as_they_are() {
    let here = shared();
    let when = "pod.metadata.labels['tier'] == 'batch' && node.metadata.name == 'node-1' && namespace.metadata.name == 'policies-when' \
                && serviceAccount.metadata.name == 'policies-when' && task.kind == 'Pod'";
    let scene = Scene::on_terms(&here.stage, "policies-when", json!({"when": when})).await;
    assert_eq!(scene.denied(json!({})).await.reason, "NotPermitted", "the pod has no such label: the policy does not apply");
    let batch = here.stage.pod_with_labels(&scene.namespace, "batch-1", &scene.name, &[("tier", "batch")]).await.unwrap();
    scene.granted_to(&batch, "1m").await;
}

#[tokio::test]
async fn subjects_are_chosen_by_the_labels_of_pods_and_of_namespaces() {
    let here = shared();
    let subjects = json!([{"namespaceSelector": {"matchLabels": {"env": "policies-test"}}, "serviceAccountNames": ["*"], "podSelector": {"matchLabels": {"app": "orders"}}}]);
    let scene = Scene::on_terms(&here.stage, "policies-labels", json!({"subjects": subjects})).await;
    let orders = here.stage.pod_with_labels(&scene.namespace, "orders-1", &scene.name, &[("app", "orders")]).await.unwrap();
    let asked = json!({"className": scene.name, "csr": stage::Csr::new().unwrap().pem});
    assert_eq!(crate::scene::refused(&here.stage, &orders, asked).await.reason, "NotPermitted", "the namespace has no such label yet");

    let labelled = here.stage.cluster.kubectl(["label", "namespace", &scene.namespace, "env=policies-test"]).await.unwrap();
    assert!(labelled.status.success());
    // The label reaches the operator by its watch: asked again until it is there, as a pod would.
    devcluster::wait::until("the namespace's label to count", crate::scene::SOON, || async {
        let request = orders.ask_with_csr(&scene.name, Some("1m"), &stage::Csr::new().unwrap()).await.unwrap();
        (orders.answer(&request).await.unwrap().state() == daypass::api::RequestState::Active).then_some(())
    })
    .await
    .unwrap();
    assert_eq!(scene.denied(json!({})).await.reason, "NotPermitted", "the other pod has no such label");
}

#[tokio::test]
async fn a_policy_applies_to_nothing_from_its_end_on() {
    let here = shared();
    let scene = Scene::on_terms(&here.stage, "policies-over", json!({"expiresAt": "2020-01-31T00:00:00Z"})).await;
    assert_eq!(scene.denied(json!({})).await.reason, "NotPermitted");
    scene.set_terms(json!({"expiresAt": "2999-01-31T00:00:00Z"})).await;
    scene.ready().await;
    scene.granted("1m").await;
}
