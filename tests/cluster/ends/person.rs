//! A person ends a grant with one patch of the ledger, under their own name.

use std::{
    path::{Path, PathBuf},
    process::Output,
};

use daypass::api::EndReason;
use kube::ResourceExt;
use serde_json::json;
use stage::Stage;

use crate::{
    scene::{SOON, Scene},
    support::shared,
};

/// A person with a kubeconfig of their own, bound to this role in the operator's namespace.
async fn person(stage: &Stage, name: &str, role: &str) -> PathBuf {
    let kubeconfig = stage.file(&format!("{name}.kubeconfig"));
    stage.cluster.kubeconfig_for_user(&kubeconfig, name, &["people"]).unwrap();
    let home = &stage.operator_name().namespace;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": format!("{name}-{role}"), "namespace": home},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
    });
    stage.platform(binding).await.unwrap();
    kubeconfig
}

async fn revoke(scene: &Scene<'_>, kubeconfig: &Path, lease: &str, patch: &serde_json::Value) -> Output {
    let (home, patch) = (&scene.stage.operator_name().namespace, patch.to_string());
    let args = ["--kubeconfig", kubeconfig.to_str().unwrap(), "patch", "dplease", lease, "-n", home, "--type=merge", "-p", &patch];
    scene.stage.cluster.kubectl(args).await.unwrap()
}

#[tokio::test]
async fn a_revoker_ends_a_grant_with_one_patch_and_is_named() {
    let here = shared();
    let scene = Scene::set(&here.stage, "ends-revoked").await;
    let granted = scene.granted("20s").await;
    let jane = person(&here.stage, "jane", "daypass-revoker").await;
    let patched = revoke(&scene, &jane, &granted.lease.name_any(), &json!({"spec": {"revoke": {"reason": "laptop lost"}}})).await;
    assert!(patched.status.success(), "{}", String::from_utf8_lossy(&patched.stderr));
    let (lease, request) = scene.revoking(&granted, SOON).await;
    let revoke = lease.spec.revoke.unwrap();
    assert_eq!((revoke.by.as_str(), revoke.reason.as_str()), ("jane", "laptop lost"), "stamped, not claimed");
    let told = request.status.unwrap().ended.unwrap();
    assert_eq!(told.reason, EndReason::RevokedByPerson);
    assert!(told.message.starts_with("revoked by jane: laptop lost"), "{}", told.message);
    assert_eq!(scene.ended(&granted).await.reason, EndReason::RevokedByPerson);
}

#[tokio::test]
async fn nobody_revokes_under_another_name_or_without_the_role() {
    let here = shared();
    let scene = Scene::set(&here.stage, "ends-not-revoked").await;
    let granted = scene.granted("1m").await;
    let (joe, viewer) = (person(&here.stage, "joe", "daypass-revoker").await, person(&here.stage, "vera", "daypass-viewer").await);
    let (forged, honest) =
        (json!({"spec": {"revoke": {"reason": "prank", "by": "jane"}}}), json!({"spec": {"revoke": {"reason": "curious"}}}));
    let longer = json!({"spec": {"expiresAt": "2999-01-01T00:00:00Z"}});
    for (who, patch, refusal) in [(&joe, &longer, "can be set"), (&viewer, &honest, "forbidden")] {
        let refused = revoke(&scene, who, &granted.lease.name_any(), patch).await;
        let said = String::from_utf8_lossy(&refused.stderr).to_lowercase();
        assert!(!refused.status.success() && (said.contains(refusal) || said.contains("can only shrink")), "{said}");
    }
    // What a client writes into `by` is overwritten by the stamp: the name in the ledger is the one that was authenticated.
    let patched = revoke(&scene, &joe, &granted.lease.name_any(), &forged).await;
    let lease = scene.leases().get(&granted.lease.name_any()).await.unwrap();
    let by = lease.spec.revoke.map(|revoke| revoke.by);
    assert!(by.as_deref() == Some("joe") || (!patched.status.success() && by.is_none()), "{by:?}");
}
