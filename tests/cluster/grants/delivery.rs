//! How a credential reaches its pod, and that nothing else is touched on the way.

use std::collections::BTreeSet;

use daypass::api::{Delivery, LABEL_REQUEST_UID};
use futures::future::join_all;
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{
    ResourceExt,
    api::{ObjectMeta, PostParams},
};
use serde_json::json;
use stage::Csr;

use crate::{
    judges::{Handed, judge},
    scene::{Scene, refused},
    support::shared,
};

const SECRETS: &str = "secrets-grants";

#[tokio::test]
async fn a_pod_s_own_token_gets_a_certificate_for_the_key_that_it_kept() {
    let here = shared();
    let scene = Scene::set(&here.stage, "grants-csr").await;
    let granted = scene.granted("1m").await;
    let requester = &granted.request.spec.requester;
    assert_eq!(requester.username, "system:serviceaccount:grants-csr:grants-csr");
    assert_eq!((&requester.pod_name, &requester.pod_uid), (&scene.pod.pod.name_any(), &scene.pod.pod.uid().unwrap()));
    assert_eq!((granted.lease.spec.delivery, &granted.lease.spec.secret), (Delivery::CSR, &None));
    assert_eq!(granted.lease.spec.x509.as_ref().unwrap().common_name.as_deref(), Some("grants-csr"));
    assert_eq!(granted.lease.spec.x509.as_ref().unwrap().uri, "spiffe://test.example/ns/grants-csr/sa/grants-csr");
    assert_eq!(granted.lease.spec.x509.as_ref().unwrap().dns_names, ["grants-csr.grants-csr.svc"]);
    assert!(granted.lease.state().is_none(), "open");
    assert!(scene.secrets().list(&Default::default()).await.unwrap().items.is_empty(), "a CSR needs no Secret");
}

#[tokio::test]
async fn a_secret_holds_key_certificate_and_roots_and_is_its_request_s_alone() {
    let here = shared();
    let scene = Scene::with(&here.stage, SECRETS, "secret-filled", json!({}), json!({})).await;
    let (granted, secret) = scene.granted_secret("1m").await;
    assert_eq!(secret.name_any(), format!("daypass-{}", granted.request.name_any()), "the default name");
    assert_eq!(secret.type_.as_deref(), Some("kubernetes.io/tls"));
    let keys: BTreeSet<_> = secret.data.as_ref().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, BTreeSet::from(["ca.crt", "tls.crt", "tls.key"]));
    assert_eq!(secret.labels().get(LABEL_REQUEST_UID), granted.request.metadata.uid.as_ref());
    assert_eq!(
        secret.owner_references().iter().map(|owner| &owner.uid).collect::<Vec<_>>(),
        [granted.request.metadata.uid.as_ref().unwrap()]
    );
    let recorded = granted.lease.spec.secret.as_ref().unwrap();
    assert_eq!((&recorded.name, Some(&recorded.uid)), (&secret.name_any(), secret.metadata.uid.as_ref()));
    assert!(granted.request.status.unwrap().credential.unwrap().certificate.is_none(), "it is in the Secret");

    let (named, secret) = {
        let request = scene.pod.ask("named", json!({"className": scene.name, "secretName": "daypass-of-my-choice"})).await.unwrap();
        let request = scene.pod.answer(&request).await.unwrap();
        (request, scene.secrets().get("daypass-of-my-choice").await.unwrap())
    };
    assert_eq!(secret.labels().get(LABEL_REQUEST_UID), named.metadata.uid.as_ref());
}

#[tokio::test]
async fn a_secret_of_somebody_else_is_neither_taken_nor_touched() {
    let here = shared();
    let scene = Scene::with(&here.stage, SECRETS, "secret-exists", json!({}), json!({})).await;
    let theirs = Secret {
        metadata: ObjectMeta { name: Some("daypass-theirs".into()), ..Default::default() },
        data: Some([("password".to_owned(), ByteString(b"correct horse".to_vec()))].into()),
        ..Default::default()
    };
    let theirs = scene.secrets().create(&PostParams::default(), &theirs).await.unwrap();
    let spec = json!({"className": scene.name, "secretName": "daypass-theirs"});
    let denied = scene.refused(spec.clone()).await;
    assert_eq!((denied.reason.as_str(), denied.retry_after), ("SecretExists", None));
    assert!(denied.message.contains("daypass-theirs") && denied.message.contains("delete it"), "{}", denied.message);
    assert_eq!(scene.secrets().get("daypass-theirs").await.unwrap(), theirs, "to the last field");

    // One that belongs to another request is somebody else's as well.
    let first = scene.pod.ask("first", json!({"className": scene.name, "ttl": "1m", "secretName": "daypass-shared"})).await.unwrap();
    let first = scene.pod.answer(&first).await.unwrap();
    let of_first = scene.secrets().get("daypass-shared").await.unwrap();
    let denied = scene.refused(json!({"className": scene.name, "secretName": "daypass-shared"})).await;
    assert_eq!(denied.reason, "SecretExists");
    assert_eq!(of_first.labels().get(LABEL_REQUEST_UID), first.metadata.uid.as_ref());
    assert_eq!(scene.secrets().get("daypass-shared").await.unwrap(), of_first);
}

#[tokio::test]
async fn secrets_are_delivered_only_where_the_platform_team_listed_the_namespace() {
    let here = shared();
    let scene = Scene::set(&here.stage, "grants-unlisted").await;
    let denied = scene.refused(json!({"className": scene.name})).await;
    assert_eq!(denied.reason, "DeliveryNotAllowed");
    assert!(denied.message.contains("ask with a CSR") && denied.message.contains("secretNamespaces"), "{}", denied.message);
    scene.granted("1m").await;
}

#[tokio::test]
async fn nothing_is_issued_into_the_operator_s_own_namespace() {
    let here = shared();
    let scene = Scene::set(&here.stage, "grants-elsewhere").await;
    let home = here.stage.operator_name().namespace.clone();
    scene.set_terms(json!({"subjects": [{"namespaces": ["*"], "serviceAccountNames": ["*"]}]})).await;
    scene.ready().await;
    let inside = here.stage.pod(&home, "insider", "insider").await.unwrap();
    let denied = refused(&here.stage, &inside, json!({"className": scene.name, "csr": Csr::new().unwrap().pem})).await;
    assert_eq!(denied.reason, "NotPermitted");
    assert!(denied.message.contains("run the workload in another namespace"), "{}", denied.message);
}

#[tokio::test]
async fn a_person_sees_the_workload_behind_a_request() {
    let here = shared();
    let scene = Scene::set(&here.stage, "grants-workload").await;
    assert_eq!(scene.granted("1m").await.request.status.unwrap().workload.as_deref(), Some("Pod/grants-workload-1"));

    let owner = OwnerReference {
        api_version: "apps/v1".into(),
        kind: "ReplicaSet".into(),
        name: "late-orders-7d4b9c".into(),
        uid: "00000000-0000-0000-0000-000000000001".into(),
        controller: Some(true),
        block_owner_deletion: None,
    };
    let spec = devcluster::workload::PodSpec::new(&scene.namespace, "late-orders-7d4b9c-x1")
        .service_account(&scene.name)
        .label("pod-template-hash", "7d4b9c")
        .owner(owner);
    let replica = crate::scene::run(&here.stage, &spec).await;
    let granted = scene.granted_to(&replica, "1m").await;
    assert_eq!(granted.lease.spec.workload, "Deployment/late-orders");
    let table = here.stage.cluster.kubectl(["get", "dpreq", &granted.request.name_any(), "-n", &scene.namespace]).await.unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("WORKLOAD") && table.contains("Deployment/late-orders") && table.contains("Active"), "{table}");
}

#[tokio::test]
async fn two_asks_for_the_same_thing_are_two_credentials() {
    let here = shared();
    here.offer("grants-twice", "orders", json!({})).await;
    let pod = here.stage.pod("grants-twice", "orders-1", "orders").await.unwrap();
    let csr = Csr::new().unwrap();
    let ask = || async {
        let request = pod.ask_with_csr("grants-twice", Some("1m"), &csr).await.unwrap();
        let request = pod.answer(&request).await.unwrap();
        let lease = here.stage.lease_of(&request).await.unwrap().unwrap();
        let credential = request.status.unwrap().credential.unwrap();
        judge(Handed { chain: &credential.certificate.unwrap(), roots: &credential.ca_bundle }, &lease, &csr.key);
        lease
    };
    let (one, other) = tokio::join!(ask(), ask());
    assert_ne!(one.name_any(), other.name_any());
    assert_ne!(one.spec.serial(), other.spec.serial());
    assert_ne!(one.spec.decision_id, other.spec.decision_id);
}

#[tokio::test]
async fn namespaces_that_ask_at_once_get_their_own_names_each() {
    let here = shared();
    let names = ["grants-a", "grants-b", "grants-c", "grants-d", "grants-e"];
    let granted = join_all(names.map(|name| {
        let here = here.clone();
        async move { Scene::set(&here.stage, name).await.granted("1m").await }
    }));
    let uris: Vec<_> = granted.await.into_iter().map(|granted| granted.lease.spec.x509.unwrap().uri).collect();
    assert_eq!(uris, names.map(|name| format!("spiffe://test.example/ns/{name}/sa/{name}")));
}
