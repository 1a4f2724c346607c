//! What a grant rests on besides policies: its pod, its account, its node, its namespace. Each ends it, and only when it is certainly gone.

use daypass::api::EndReason;
use devcluster::{
    wait,
    workload::{self, PodSpec},
};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, ServiceAccount};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;

use crate::{
    scene::{self, SOON, Scene},
    support::shared,
};

#[tokio::test]
async fn a_pod_that_is_gone_replaced_finished_or_overdue_ends_what_it_held() {
    let here = shared();
    let scene = Scene::set(&here.stage, "ends-pod").await;
    let pods = Api::<Pod>::namespaced(scene.admin.clone(), &scene.namespace);
    let at_once = DeleteParams::default().grace_period(0);
    let names = ["gone", "replaced", "succeeded", "failed", "overdue", "stays"];
    let mut held = Vec::new();
    for name in names {
        let pod = scene.another_pod(name).await;
        held.push(scene.granted_to(&pod, "40s").await);
    }
    pods.delete("gone", &at_once).await.unwrap();
    pods.delete("replaced", &at_once).await.unwrap();
    scene.another_pod("replaced").await;
    workload::set_phase(&scene.admin, &scene.namespace, "succeeded", "Succeeded").await.unwrap();
    workload::set_phase(&scene.admin, &scene.namespace, "failed", "Failed").await.unwrap();
    // No kubelet runs here, so the object stays when its grace is over, as on a node that is cut off.
    pods.delete("overdue", &DeleteParams::default().grace_period(2)).await.unwrap();

    // A deletion without grace may be seen in two steps, as an overdue one at first.
    let said = ["gone", "gone", "has finished", "has finished", "should have been gone by"];
    for ((granted, name), said) in held.iter().zip(names).zip(said) {
        let (lease, request) = scene.revoking(granted, SOON).await;
        assert_eq!(lease.status.unwrap().reason, Some(EndReason::PodGone), "{name}");
        let told = request.status.unwrap().ended.unwrap().message;
        assert!(told.starts_with(&format!("pod {name} ")) && told.contains(said), "{told}");
    }
    let overdue = pods.get("overdue").await.unwrap().metadata.deletion_timestamp.unwrap().0;
    let ended = scene.leases().get(&held[4].lease.name_any()).await.unwrap().status.unwrap().ended_time.unwrap();
    assert!(ended >= overdue, "not before its grace was over: {ended} {overdue}");
    for granted in &held[..5] {
        assert_eq!(scene.ended(granted).await.reason, EndReason::PodGone);
    }
    assert_eq!(scene.ended(&held[5]).await.reason, EndReason::Expired, "a pod that stays keeps what it has");
}

#[tokio::test]
async fn an_account_that_is_deleted_or_made_anew_ends_what_it_held() {
    let here = shared();
    let scene = Scene::set(&here.stage, "ends-account").await;
    let accounts = Api::<ServiceAccount>::namespaced(scene.admin.clone(), &scene.namespace);
    let first = scene.granted("2m").await;
    accounts.delete(&scene.name, &Default::default()).await.unwrap();
    workload::service_account(&scene.admin, &scene.namespace, &scene.name).await.unwrap();
    let (lease, _) = scene.revoking(&first, SOON).await;
    assert_eq!(lease.status.unwrap().reason, Some(EndReason::IdentityRemoved));

    let again = scene.another_pod("ends-account-2").await;
    let second = scene.granted_to(&again, "2m").await;
    accounts.delete(&scene.name, &Default::default()).await.unwrap();
    let (lease, _) = scene.revoking(&second, SOON).await;
    assert_eq!(lease.status.unwrap().reason, Some(EndReason::IdentityRemoved));
}

#[tokio::test]
async fn a_node_made_anew_under_the_same_name_is_another_node() {
    let here = shared();
    let scene = Scene::set(&here.stage, "ends-node-again").await;
    let nodes = Api::<Node>::all(scene.admin.clone());
    let name = "ends-node-again-1";
    workload::node(&scene.admin, name, &[]).await.unwrap();
    let there = scene::run(&here.stage, &PodSpec::new(&scene.namespace, "there").service_account(&scene.name).node(name)).await;
    let held = scene.granted_to(&there, "2m").await;
    nodes.delete(name, &Default::default()).await.unwrap();
    workload::node(&scene.admin, name, &[]).await.unwrap();
    assert_ne!(nodes.get(name).await.unwrap().metadata.uid.as_ref(), Some(&held.lease.spec.requester.node_uid), "another node");
    let (lease, _) = scene.revoking(&held, SOON).await;
    assert_eq!(lease.status.unwrap().reason, Some(EndReason::NodeLost));
}

#[tokio::test]
async fn a_node_that_is_not_ready_ends_nothing_and_one_that_is_deleted_ends_all_that_ran_on_it() {
    let here = shared();
    let scene = Scene::set(&here.stage, "ends-node").await;
    let nodes = Api::<Node>::all(scene.admin.clone());
    let name = "ends-node-1";
    workload::node(&scene.admin, name, &[]).await.unwrap();
    let there = scene::run(&here.stage, &PodSpec::new(&scene.namespace, "there").service_account(&scene.name).node(name)).await;
    let (held, elsewhere) = (scene.granted_to(&there, "2m").await, scene.granted("2m").await);
    assert_eq!(held.lease.spec.requester.node_name, name);

    let not_ready = json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "KubeletNotReady"}]}});
    nodes.patch_status(name, &PatchParams::default(), &Patch::Strategic(not_ready)).await.unwrap();
    // What the operator does with that news it has done when it answers the next request from the node.
    scene.granted_to(&there, "2m").await;
    assert!(scene.leases().get(&held.lease.name_any()).await.unwrap().state().is_none(), "merely NotReady");

    nodes.delete(name, &Default::default()).await.unwrap();
    let (lease, request) = scene.revoking(&held, SOON).await;
    assert_eq!(lease.status.unwrap().reason, Some(EndReason::NodeLost));
    assert_eq!(request.status.unwrap().ended.unwrap().reason, EndReason::NodeLost);
    assert!(scene.leases().get(&elsewhere.lease.name_any()).await.unwrap().state().is_none(), "another node's pod keeps what it has");
}

#[tokio::test]
async fn a_namespace_goes_without_waiting_for_us_and_the_debt_outlives_it() {
    let here = shared();
    let scene = Scene::set(&here.stage, "ends-namespace").await;
    let namespaces = Api::<Namespace>::all(scene.admin.clone());
    let granted = scene.granted("40s").await;
    namespaces.delete(&scene.namespace, &Default::default()).await.unwrap();
    let lease = scene.lease_when(&granted, "ended with its namespace", SOON, |lease| lease.state().is_some()).await;
    assert_eq!(lease.status.unwrap().reason, Some(EndReason::NamespaceGone));

    // Pods wait for their kubelet, and there is none.
    workload::delete_pod_now(&scene.admin, &scene.namespace, &scene.pod.pod.name_any()).await.unwrap();
    let gone = || async { namespaces.get_opt(&scene.namespace).await.unwrap().is_none().then_some(()) };
    wait::until("the namespace to go", SOON, gone).await.unwrap();
    let lease = scene.leases().get(&granted.lease.name_any()).await.unwrap();
    println!("the namespace was gone while its lease was {:?}", lease.state());
    assert_eq!(scene.closed(&granted).await.status.unwrap().reason, Some(EndReason::NamespaceGone));
}
