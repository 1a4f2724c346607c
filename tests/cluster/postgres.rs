//! A real PostgreSQL lets a pod in by its certificate, and refuses it after the end.

pub mod server;

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use stage::Csr;

use self::server::{Identity, Postgres};
use crate::{
    scene::{SOON, Scene},
    support::shared,
};

/// The roots as a database administrator copies them: from the ConfigMap that everybody may read.
async fn roots(scene: &Scene<'_>) -> String {
    crate::authorities::published(scene.stage, &scene.admin, "default").await.unwrap()
}

/// A pod asks with a CSR; what it can show to a server afterwards.
async fn identity(scene: &Scene<'_>, ttl: &str) -> (Identity, Timestamp) {
    let csr = Csr::new().unwrap();
    let request = scene.pod.ask_with_csr(&scene.name, Some(ttl), &csr).await.unwrap();
    let credential = scene.pod.answer(&request).await.unwrap().status.unwrap().credential.unwrap();
    (Identity { certificate: credential.certificate.unwrap(), key: csr.key.serialize_pem() }, credential.expires_at)
}

#[tokio::test]
async fn a_pod_logs_in_by_its_class_s_common_name_as_nobody_else_and_only_until_the_end() {
    if !server::is_installed() {
        return;
    }
    let here = shared();
    let (orders, reports) = (Scene::set(&here.stage, "pg-orders").await, Scene::set(&here.stage, "pg-reports").await);
    let postgres = Postgres::start(&roots(&orders).await, &["pg-orders", "pg-reports"]).await;
    let (of_orders, end) = identity(&orders, "20s").await;
    let (of_reports, _) = identity(&reports, "5m").await;

    assert_eq!(postgres.log_in("pg-orders", Some(&of_orders)).unwrap(), "pg-orders");
    assert_eq!(postgres.log_in("pg-reports", Some(&of_reports)).unwrap(), "pg-reports");
    let as_another = postgres.log_in("pg-orders", Some(&of_reports)).unwrap_err();
    assert!(as_another.contains("certificate authentication failed for user \"pg-orders\""), "{as_another}");
    let with_none = postgres.log_in("pg-orders", None).unwrap_err();
    assert!(with_none.contains("connection requires a valid client certificate"), "{with_none}");
    let strange = rcgen::generate_simple_self_signed(["pg-orders".to_owned()]).unwrap();
    let strange = Identity { certificate: strange.cert.pem(), key: strange.signing_key.serialize_pem() };
    assert!(postgres.log_in("pg-orders", Some(&strange)).unwrap_err().contains("alert unknown ca"), "any certificate will not do");

    let left = Duration::try_from(end.duration_since(Timestamp::now())).unwrap_or_default();
    let refused = || async { postgres.log_in("pg-orders", Some(&of_orders)).err() };
    let refusal = devcluster::wait::until("the end", left + SOON, refused).await.unwrap();
    assert!(refusal.contains("expired"), "{refusal}");
    assert!(Timestamp::now() >= end, "not before its end");
    assert_eq!(postgres.log_in("pg-reports", Some(&of_reports)).unwrap(), "pg-reports", "others are served");
}

#[tokio::test]
async fn what_a_secret_holds_logs_in_as_well() {
    if !server::is_installed() {
        return;
    }
    let here = shared();
    let scene = Scene::with(&here.stage, "secrets-postgres", "pg-secret", json!({}), json!({})).await;
    let postgres = Postgres::start(&roots(&scene).await, &["pg-secret"]).await;
    let (_, secret) = scene.granted_secret("1m").await;
    let text = |key: &str| String::from_utf8(secret.data.as_ref().unwrap()[key].0.clone()).unwrap();
    let identity = Identity { certificate: text("tls.crt"), key: text("tls.key") };
    assert_eq!(postgres.log_in("pg-secret", Some(&identity)).unwrap(), "pg-secret");
}
