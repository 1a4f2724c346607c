//! An operator that was killed in the middle of things: the next one finishes what it finds in the ledger, and repeats nothing.

use std::{collections::BTreeMap, time::Duration};

use daypass::{api::EndReason, core::decide::DELETED_POLICY_GRACE};
use devcluster::{Options, wait, workload};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;
use stage::{OperatorOptions, Stage};

use crate::{
    scene::{Granted, SOON, Scene},
    support::{daypass, private},
};

#[tokio::test]
async fn what_ends_while_no_operator_runs_is_finished_by_the_next_and_written_once() {
    let private = private(Options::default()).await;
    let stage = &private.stage;
    let operator = stage.operator(&daypass(), OperatorOptions::default()).await.unwrap();
    operator.ready().await.unwrap();
    let [expired, given_back, half_ended, revoked, forgotten, untouched] =
        ["expired", "given-back", "half-ended", "revoked", "forgotten", "untouched"].map(|name| Scene::set(stage, name));
    let [expired, given_back, half_ended, revoked, forgotten, untouched] =
        [expired.await, given_back.await, half_ended.await, revoked.await, forgotten.await, untouched.await];
    let doomed = Scene::with(stage, "secrets-input", "doomed", json!({}), json!({})).await;
    let held = Scene::with(stage, "secrets-ends", "held", json!({}), json!({})).await;
    let of_expired = expired.granted("5s").await;
    let of_given_back = given_back.granted("60s").await;
    let of_half_ended = half_ended.granted("60s").await;
    let of_revoked = revoked.granted("60s").await;
    let of_forgotten = forgotten.granted("4m").await;
    let of_untouched = untouched.granted("5m").await;
    let (of_doomed, _) = doomed.granted_secret("60s").await;
    let (of_held, secret_held) = held.granted_secret("60s").await;
    workload::set_phase(&half_ended.admin, &half_ended.namespace, &half_ended.pod.pod.name_any(), "Failed").await.unwrap();
    half_ended.revoking(&of_half_ended, SOON).await;

    operator.process.kill().await;
    given_back.requests().delete(&of_given_back.request.name_any(), &Default::default()).await.unwrap();
    let revoke = Patch::Merge(json!({"spec": {"revoke": {"reason": "audit"}}}));
    revoked.leases().patch(&of_revoked.lease.name_any(), &PatchParams::default(), &revoke).await.unwrap();
    assert!(stage.cluster.kubectl(["delete", "dpcpol/forgotten"]).await.unwrap().status.success());
    delete_namespace(&doomed).await;
    hold(stage, &held, &secret_held).await;
    held.requests().delete(&of_held.request.name_any(), &orphaned()).await.unwrap();
    wait::until("the shortest grant to be over", SOON, || async {
        (jiff::Timestamp::now() >= of_expired.lease.spec.expires_at).then_some(())
    })
    .await
    .unwrap();

    operator.process.start_again().unwrap();
    held.secret_gone(&secret_held.name_any(), SOON).await;
    assert_eq!(expired.ended(&of_expired).await.reason, EndReason::Expired);
    assert_eq!(half_ended.ended(&of_half_ended).await.reason, EndReason::PodGone);
    assert_eq!(revoked.ended(&of_revoked).await.reason, EndReason::RevokedByPerson);
    for (scene, granted, reason) in [
        (&given_back, &of_given_back, EndReason::Completed),
        (&held, &of_held, EndReason::Completed),
        // Nobody watched the namespace go: what the next operator finds is that the request is not there.
        (&doomed, &of_doomed, EndReason::Completed),
    ] {
        assert_eq!(scene.closed(granted).await.status.unwrap().reason, Some(reason), "{}", scene.name);
    }
    let limit = SOON + Duration::try_from(DELETED_POLICY_GRACE).unwrap();
    let (lease, _) = forgotten.revoking(&of_forgotten, limit).await;
    assert_eq!(lease.status.unwrap().reason, Some(EndReason::PolicyChanged), "its policy went while nobody looked");
    let left = untouched.leases().get(&of_untouched.lease.name_any()).await.unwrap();
    assert_eq!((left.state(), left.spec), (None, of_untouched.lease.spec.clone()), "a restart ends nothing and changes nothing");

    let writes = status_writes(stage);
    let of = |granted: &Granted| writes.get(&granted.lease.name_any()).copied().unwrap_or_default();
    assert_eq!((of(&of_expired), of(&of_untouched)), (1, 0), "Closed; nothing");
    for granted in [&of_given_back, &of_half_ended, &of_revoked, &of_held, &of_doomed] {
        assert_eq!(of(granted), 2, "Revoking and Closed, each once");
    }
    operator.stop().await;
}

/// A namespace that is gone to the last object.
async fn delete_namespace(scene: &Scene<'_>) {
    let namespaces = Api::<Namespace>::all(scene.admin.clone());
    namespaces.delete(&scene.namespace, &Default::default()).await.unwrap();
    workload::delete_pod_now(&scene.admin, &scene.namespace, &scene.pod.pod.name_any()).await.unwrap();
    wait::until("the namespace to go", SOON, || async { namespaces.get_opt(&scene.namespace).await.unwrap().is_none().then_some(()) })
        .await
        .unwrap();
}

/// Puts a finalizer on the Secret, which takes a gap in the guard.
async fn hold(stage: &Stage, scene: &Scene<'_>, secret: &Secret) {
    assert!(stage.cluster.kubectl(["delete", "validatingadmissionpolicybinding/reserve.daypass.dev"]).await.unwrap().status.success());
    let finalizer = Patch::Merge(json!({"metadata": {"finalizers": ["example.com/for-ever"]}}));
    wait::until("the finalizer to be taken", SOON, || async {
        scene.secrets().patch(&secret.name_any(), &PatchParams::default(), &finalizer).await.ok()
    })
    .await
    .unwrap();
}

fn orphaned() -> kube::api::DeleteParams {
    kube::api::DeleteParams { propagation_policy: Some(kube::api::PropagationPolicy::Orphan), ..Default::default() }
}

/// How often the status of each lease was written.
fn status_writes(stage: &Stage) -> BTreeMap<String, usize> {
    let mut writes = BTreeMap::new();
    for event in stage.cluster.audit().unwrap().iter().filter(|event| event.is("update", "credentialleases/status") && event.code() == 200)
    {
        *writes.entry(event.object_ref.as_ref().unwrap().name.clone()).or_default() += 1;
    }
    writes
}
