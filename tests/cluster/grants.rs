//! The main job: a pod asks with its own token, and gets exactly what a policy gives it.

use daypass::api::RequestState;
use serde_json::json;
use stage::Csr;

use crate::support::shared;

#[tokio::test]
async fn a_pod_s_own_token_gets_a_certificate_for_the_key_that_it_kept() {
    let here = shared();
    here.offer("grants-csr", "orders", json!({})).await;
    let pod = here.stage.pod("grants-csr", "orders-1", "orders").await.unwrap();
    let csr = Csr::new().unwrap();
    let request = pod.ask_with_csr("grants-csr", Some("1m"), &csr).await.unwrap();
    assert_eq!(request.spec.requester.username, "system:serviceaccount:grants-csr:orders");
    let answered = pod.answer(&request).await.unwrap();
    assert_eq!(answered.state(), RequestState::Active, "{:?}", answered.status);
    let credential = answered.status.unwrap().credential.unwrap();
    assert!(credential.certificate.unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    let lease = here.stage.lease_of(&request).await.unwrap().unwrap();
    assert_eq!(lease.spec.x509.serial, credential.serial);
    assert!(lease.state().is_none(), "open");
}
