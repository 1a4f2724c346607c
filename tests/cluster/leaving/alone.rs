//! Down with kubectl alone, as docs/revoking.md says, and back again: *leave* refuses before and lets pass after, a second drain changes
//! nothing, and while the mark is there nothing is issued.

use std::sync::Arc;

use daypass::{
    api::{EndReason, RequestState},
    install::{manifests, rights::DEFINITIONS},
};
use devcluster::{Cluster, Options, wait};
use kube::{ResourceExt, api::DeleteParams};
use serde_json::{Value, json};
use stage::{Csr, Stage};

use super::kubelet::Kubelet;
use crate::{
    page,
    scene::{SOON, Scene},
    support::{Private, private},
};

const HOME: &str = "daypass-system";

/// A stage with the operator's Deployment on it, and a kubelet that runs it.
pub struct House {
    pub stage: Arc<Stage>,
    pub kubelet: Kubelet,
    // Last: what it says of the whole run it says when everything else is gone.
    _private: Private,
}

impl House {
    /// Set; the operator issues.
    pub async fn set() -> Self {
        let private = private(Options::default()).await;
        let stage = private.stage.clone();
        let mut deployment = manifests(&stage.values).into_iter().find(|object| object["kind"] == "Deployment").unwrap();
        deployment["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["controller", "--listen", "127.0.0.1:0"]);
        stage.platform(deployment).await.unwrap();
        let kubelet = Kubelet::begin(&stage);
        kubelet.operator().await;
        Self { stage, kubelet, _private: private }
    }
}

/// Runs kubectl: whether it succeeded, and everything it said.
pub async fn kubectl(cluster: &Cluster, args: &[&str]) -> (bool, String) {
    let output = cluster.kubectl(args).await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_kubectl_alone_it_is_taken_down_as_the_page_says_and_used_again() {
    let house = House::set().await;
    let cluster = &house.stage.cluster;
    let of_csr = Scene::set(&house.stage, "alone").await;
    let of_secret = Scene::with(&house.stage, "secrets-ends", "alone-secret", json!({}), json!({})).await;
    let granted = of_csr.granted("15s").await;
    let (held, secret) = of_secret.granted_secret("15s").await;

    let objects: Vec<String> =
        std::iter::once(format!("namespace/{HOME}")).chain(DEFINITIONS.iter().map(|crd| format!("crd/{crd}"))).collect();
    for object in &objects {
        let (deleted, said) = kubectl(cluster, &["delete", object, "--dry-run=server"]).await;
        assert!(!deleted && said.contains("leases may be open: run daypass drain"), "{object}: {said}");
    }

    let [down, back] = page::blocks("Taking Daypass down").try_into().unwrap();
    let (drain, delete) = down.split_once("kubectl delete").unwrap();
    page::run(&house.stage, drain).await;
    for (scene, granted) in [(&of_csr, &granted), (&of_secret, &held)] {
        assert_eq!(scene.ended(granted).await.reason, EndReason::Drained);
    }
    of_secret.secret_gone(&secret.name_any(), SOON).await;
    for object in &objects {
        let (deleted, said) = kubectl(cluster, &["delete", object, "--dry-run=server"]).await;
        assert!(deleted, "{object}: {said}");
    }

    let before = versions(cluster, &objects).await;
    assert!(kubectl(cluster, &["-n", HOME, "delete", "job/daypass-drain"]).await.0);
    page::run(&house.stage, drain).await;
    assert_eq!(versions(cluster, &objects).await, before, "a second drain changes nothing");
    assert_eq!(house.kubelet.names("daypass-drain").len(), 2);

    // Whoever brings the operator back must say that they mean it.
    let first = house.kubelet.names("daypass-");
    assert!(kubectl(cluster, &["-n", HOME, "scale", "deployment/daypass", "--replicas=1"]).await.0);
    let (_, operator) = house.kubelet.container("daypass-", &first).await;
    let idle = wait::until("the operator to say why it issues nothing", SOON, || async {
        operator.readyz().await.ok().filter(|text| text.contains("issuing: NO: Daypass was drained"))
    });
    idle.await.unwrap();
    let waiting = of_csr.pod.ask_with_csr("alone", Some("5s"), &Csr::new().unwrap()).await.unwrap();
    page::run(&house.stage, &back).await;
    operator.ready().await.unwrap();
    let answered = of_csr.pod.answer(&waiting).await.unwrap();
    // It is answered by what the guard was when it was asked for; a new one is granted.
    assert!(matches!(answered.state(), RequestState::Active | RequestState::Denied), "{:?}", answered.status);
    of_csr.requests().delete(&waiting.name_any(), &DeleteParams::default()).await.unwrap();
    let again = of_csr.granted("3s").await;
    of_csr.ended(&again).await;

    assert!(kubectl(cluster, &["delete", "-k", "deploy/drain"]).await.0);
    page::run(&house.stage, drain).await;
    page::run(&house.stage, &format!("kubectl delete{delete}")).await;
    let gone = wait::until("everything to be gone", SOON * 2, || async {
        let (_, left) = kubectl(cluster, &["get", "namespaces,crd,validatingadmissionpolicies,clusterroles", "-o", "name"]).await;
        (!left.contains("daypass")).then_some(())
    });
    gone.await.unwrap();
}

/// UID and resourceVersion of each.
async fn versions(cluster: &Cluster, objects: &[String]) -> Vec<Value> {
    let mut versions = Vec::new();
    for object in objects {
        let (_, text) = kubectl(cluster, &["get", object, "-o", "json"]).await;
        let object: Value = serde_json::from_str(&text).unwrap();
        versions.push(json!([object["metadata"]["uid"], object["metadata"]["resourceVersion"]]));
    }
    versions
}
