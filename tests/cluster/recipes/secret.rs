//! Consumers of a Secret, and the init container that asks for it.

use daypass::api::EndReason;
use devcluster::wait;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::{applied::applied, hosted::Hosted};
use crate::{
    judges::{self, Handed},
    pods::Container,
    scene::{SOON, Scene},
    support::shared,
};

const SECRET: &str = "daypass-orders-migration";

#[tokio::test]
async fn an_init_container_asks_for_the_secret_that_its_pod_mounts_and_it_goes_with_the_pod() {
    let here = shared();
    applied(&here, "secret.md").await;
    let pod = Hosted::take(&here, "orders-migration").await;
    // The volume is mounted before any container runs, and is empty.
    pod.look_at_secrets().await;
    let said = pod.container("request").await.run().await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.ends_with(&format!(", in Secret {SECRET}\n")) && !said.out.contains("-----"), "{said:?}");
    let waiting = pod.container("wait").await;
    let (waited, ()) = tokio::join!(waiting.run(), pod.look_at_secrets());
    assert_eq!(waited.code, 0, "{waited:?}");
    let migration = pod.container("migration").await;
    let shown = migration.clone().instead(&["cat", "/etc/orders-tls/tls.crt"]).run().await.out;
    let key = rcgen::KeyPair::from_pem(&migration.clone().instead(&["cat", "/etc/orders-tls/tls.key"]).run().await.out).unwrap();
    let roots = migration.instead(&["cat", "/etc/orders-tls/ca.crt"]).run().await.out;
    let lease = pod.leases().await.remove(0);
    judges::judge(Handed { chain: &shown, roots: &roots }, &lease, &key);

    // A second pod that wants the same name is told so, and nothing is touched.
    let second = stage::Pod::mount(&here.stage.pod("shop", "orders-migration-again", "orders").await.unwrap(), &here.stage).unwrap();
    let mut again = pod.container("request").await;
    for (name, value) in second.environment() {
        again = again.env(name, &value);
    }
    let denied = again.run().await;
    assert!(denied.code == 77 && denied.err.contains("SecretExists"), "{denied:?}");

    pod.finish(0).await;
    pod.scene.secret_gone(SECRET, SOON).await;
    let leases = Api::<daypass::api::CredentialLease>::namespaced(pod.scene.admin.clone(), &here.stage.operator_name().namespace);
    let known = || async { leases.get(&lease.name_any()).await.ok()?.status?.reason };
    assert_eq!(wait::until("the lease to know", SOON, known).await.unwrap(), EndReason::PodGone);
    let said = again.run().await;
    assert_eq!(said.code, 0, "its name is free again: {said:?}");
}

#[tokio::test]
async fn a_secret_goes_with_its_request_and_nothing_of_it_is_printed() {
    let here = shared();
    let scene = Scene::with(&here.stage, "shop", "recipes-secret", json!({}), json!({})).await;
    let container = Container::new(&scene);
    let name = "daypass-recipes-secret";
    let said = container.run(&["request", "--class", "recipes-secret", "--secret-name", name, "--ttl", "5m", "--output", "json"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let answer: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&answer["outcome"], &answer["secretName"], &answer["certificate"]), (&json!("Granted"), &json!(name), &Value::Null));
    assert!(!said.out.contains("PRIVATE KEY") && !said.err.contains("PRIVATE KEY"), "{said:?}");
    assert!(scene.secrets().get(name).await.unwrap().data.unwrap()["tls.key"].0.starts_with(b"-----BEGIN PRIVATE KEY"));
    scene.pod.requests().delete(answer["request"].as_str().unwrap(), &Default::default()).await.unwrap();
    scene.secret_gone(name, SOON).await;
}

#[tokio::test]
async fn a_secret_that_cannot_be_had_is_said_with_what_to_do() {
    let here = shared();
    let scene = Scene::set(&here.stage, "recipes-no-secret").await;
    let container = Container::new(&scene);
    let args = ["request", "--class", "recipes-no-secret", "--secret-name"];
    let said = container.run(&[&args[..], &["daypass-mine"]].concat()).await;
    assert!(said.code == 77 && said.err.contains("DeliveryNotAllowed") && said.err.contains("secretNamespaces"), "{said:?}");
    let said = container.run(&[&args[..], &["mine"]].concat()).await;
    assert!(said.code == 77 && said.err.contains("spec.secretName"), "the API server says which field: {said:?}");
}
