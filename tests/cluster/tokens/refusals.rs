//! What is not lent, and what those who ask are told.

use daypass::api::{DenialReason, RequestState};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::Lending;
use crate::{
    scene::SOON,
    support::{LENT, shared},
};

async fn denied(lending: &Lending<'_>, fields: Value) -> (String, String) {
    let request = lending.ask(fields).await;
    let answered = lending.pod.answer(&request).await.unwrap();
    assert_eq!(answered.state(), RequestState::Denied, "{:?}", answered.status);
    let decision = answered.status.unwrap().decision.unwrap();
    (decision.reason, decision.message)
}

#[tokio::test]
async fn a_request_that_cannot_be_served_is_told_what_to_change() {
    let here = shared();
    let lending = Lending::of(&here.stage, "denied").await;
    let (reason, told) = denied(&lending, json!({"csr": stage::Csr::new().unwrap().pem})).await;
    assert_eq!(reason, DenialReason::DeliveryNotAllowed.as_str());
    assert!(told.contains("spec.sealTo"), "{told}");

    for (key, says) in [
        ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "zero"),
        ("AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "low order"),
        ("AQ==", "32"),
        ("-----BEGIN PUBLIC KEY-----", "it is PEM"),
        ("my key", "it is not standard base64"),
        (&data_encoding::BASE64.encode(&[&[4][..], &[7; 64]].concat()), "it looks like a P-256 key"),
        (&data_encoding::BASE64.encode(&[7; 1184]), "it looks like an ML-KEM-768 key"),
    ] {
        let (reason, told) = denied(&lending, json!({"sealTo": key})).await;
        assert_eq!(reason, DenialReason::InvalidSealKey.as_str(), "{told}");
        assert!(told.contains("spec.sealTo") && told.contains(says), "{told}");
    }

    // The namespace is not listed: nothing is delivered there as a Secret.
    let (reason, told) = denied(&lending, json!({})).await;
    assert_eq!(reason, DenialReason::DeliveryNotAllowed.as_str());
    assert!(told.contains("secretNamespaces") && told.contains("spec.sealTo"), "{told}");
    assert_eq!(lending.stage.leases().await.unwrap().iter().filter(|lease| lease.spec.class_name == lending.name).count(), 0);
}

#[tokio::test]
async fn an_account_that_is_not_listed_is_not_lent() {
    let here = shared();
    let admin = here.stage.cluster.admin().unwrap();
    devcluster::workload::namespace(&admin, "unlisted", &[]).await.unwrap();
    devcluster::workload::service_account(&admin, "unlisted", "unlisted").await.unwrap();
    let lending = Lending::with(&here.stage, "tokens-unlisted", "unlisted", "unlisted", json!({})).await;
    let key = daypass::issue::seal::OpeningKey::generate().unwrap();
    let (reason, told) = denied(&lending, json!({"sealTo": key.public_base64()})).await;
    assert_eq!(reason, DenialReason::ClassUnavailable.as_str());
    assert!(told.contains("serviceAccounts"), "{told}");

    // As a pipeline would list it, without the chart.
    let account = daypass::install::Account { namespace: "unlisted".into(), name: "unlisted".into() };
    let values = daypass::install::Values { service_accounts: vec![account], ..here.stage.values.clone() };
    for object in daypass::install::rbac::service_accounts(&values) {
        here.stage.platform(object).await.unwrap();
    }
    devcluster::wait::until("what is listed to be lent", SOON, || async {
        let request = lending.ask(json!({"sealTo": key.public_base64()})).await;
        (lending.pod.answer(&request).await.unwrap().state() == RequestState::Active).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_class_says_which_account_is_missing_and_who_holds_its_token_anyway() {
    let here = shared();
    let admin = here.stage.cluster.admin().unwrap();
    let class = json!({
        "apiVersion": "daypass.dev/v1alpha1", "kind": "CredentialClass", "metadata": {"name": "tokens-missing"},
        "spec": {"serviceAccountToken": {"namespace": LENT, "name": "missing"}},
    });
    here.stage.platform(class).await.unwrap();
    let kubectl = async |args: &[&str]| String::from_utf8(here.stage.cluster.kubectl(args).await.unwrap().stdout).unwrap();
    let told = devcluster::wait::until("the class to say so", SOON, || async {
        let told = kubectl(&["get", "dpclass", "tokens-missing", "-o", "jsonpath={.status.conditions}"]).await;
        told.contains("AccountMissing").then_some(told)
    });
    assert!(told.await.unwrap().contains("lent/missing"));
    devcluster::workload::service_account(&admin, LENT, "missing").await.unwrap();
    crate::scene::until_ready(&here.stage, "dpclass/tokens-missing").await;

    let lending = Lending::of(&here.stage, "standing").await;
    let runs = here.stage.pod(LENT, "standing-pod", "standing").await.unwrap();
    let warned = devcluster::wait::until("the class to warn", SOON, || async {
        let told = kubectl(&["get", "dpclass", "tokens-standing", "-o", "jsonpath={.status.warnings}"]).await;
        told.contains("StandingAccess").then_some(told)
    });
    assert!(warned.await.unwrap().contains(&runs.pod.name_any()));
    assert_eq!(lending.sealed("1m").await.request.state(), RequestState::Active, "a warning keeps nothing from working");
}
