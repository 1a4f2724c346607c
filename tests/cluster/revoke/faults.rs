//! An API server that refuses for the moment, loses an answer, or is away: it is asked again, and each lease is marked once.

use devcluster::{
    proxy::{Action, Proxy, Script},
    workload::{self, TokenOptions},
};
use kube::ResourceExt;
use serde_json::json;

use super::{last, revoke};
use crate::{plugin::Person, scene::Scene, support::shared};

#[tokio::test]
async fn it_goes_on_whatever_the_api_server_answers() {
    let here = shared();
    let stage = &here.stage;
    let scene = Scene::set(stage, "revoke-faults").await;
    let mut granted = Vec::new();
    for _ in 0..5 {
        granted.push(scene.granted("30s").await);
    }
    // A pipeline that ends credentials: an account of its own, which needs no more than a person does.
    workload::namespace(&scene.admin, "revoke-pipeline", &[]).await.unwrap();
    workload::service_account(&scene.admin, "revoke-pipeline", "ender").await.unwrap();
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "pipeline-revokes", "namespace": stage.operator_name().namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "daypass-revoker"},
        "subjects": [{"kind": "ServiceAccount", "name": "ender", "namespace": "revoke-pipeline"}],
    });
    stage.platform(binding).await.unwrap();
    let token = workload::unbound_token(&scene.admin, "revoke-pipeline", "ender", &TokenOptions::default()).await.unwrap();
    let (token_file, kubeconfig) = (stage.file("revoke-faults.token"), stage.file("revoke-faults.kubeconfig"));
    std::fs::write(&token_file, token).unwrap();

    let script = Script::counting(|call| call.method == "PATCH").before(1, Action::Answer(429)).before(2, Action::Answer(409));
    let script = script.before(3, Action::Answer(503)).before(4, Action::Drop).after(5, Action::Drop);
    let proxy = Proxy::start(&stage.cluster, script).await.unwrap();
    stage.cluster.kubeconfig_with_token_file(&kubeconfig, &token_file, proxy.url()).unwrap();
    let said = revoke(&Person { stage, kubeconfig }, &["--class", "revoke-faults"]).await;
    assert_eq!((said.code, last(&said)), (0, "5 proven dead, 0 still waiting, 0 failed"), "{said:?}");
    assert!(said.err.contains("not asked for yet, trying again"), "what did not work is told: {said:?}");
    for granted in &granted {
        let lease = scene.leases().get(&granted.lease.name_any()).await.unwrap();
        assert_eq!(lease.spec.revoke.unwrap().by, "system:serviceaccount:revoke-pipeline:ender");
    }
    let writes = proxy.writes();
    let marked = writes.iter().filter(|write| write.upstream == Some(200)).count();
    assert_eq!(marked, 5, "each once, the one whose answer was lost too: {writes:?}");
}
