//! How a token reaches the pod, and what it is bound to.

use daypass::api::{Delivery, LABEL_EXPIRY_HOUR, LABEL_REQUEST_UID, request::RevocationKind};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::{Lending, token_id};
use crate::{
    scene::SOON,
    support::{LENT, shared},
};

#[tokio::test]
async fn a_sealed_token_opens_with_the_pod_s_key_and_is_the_account_s() {
    let here = shared();
    let lending = Lending::of(&here.stage, "sealed").await;
    let lent = lending.sealed("2m").await;
    let user = lending.whoami(&lent.token).await.expect("it is good");
    assert_eq!(user.username.as_deref(), Some("system:serviceaccount:lent:sealed"));

    let credential = lent.request.status.as_ref().unwrap().credential.clone().unwrap();
    assert_eq!(credential.token_id, Some(token_id(&user)), "its id is what the audit log calls it");
    assert_eq!((credential.delivery, &credential.serial, &credential.secret_name), (Delivery::Sealed, &None, &None));
    assert_eq!((credential.revocation.kind, credential.revocation.bound_seconds), (RevocationKind::Bounded, 75));
    assert_eq!(credential.expires_at, lent.lease.spec.expires_at);

    let token = lent.lease.spec.token.clone().unwrap();
    let bound = lending.secrets(LENT).get(&token.bound_to.name).await.unwrap();
    assert_eq!(bound.uid().unwrap(), token.bound_to.uid);
    assert_eq!(bound.labels()[LABEL_REQUEST_UID], lent.request.uid().unwrap());
    assert!(bound.labels().contains_key(LABEL_EXPIRY_HOUR), "nothing owns it, so the sweeper may have to find it");
    assert!(bound.data.unwrap()["token"].0.is_empty(), "nothing readable lies in etcd");
    assert!(lent.request.spec.csr.is_none() && lent.lease.spec.x509.is_none());
}

#[tokio::test]
async fn a_token_in_a_secret_lies_with_the_pod_and_what_it_is_bound_to_with_the_account() {
    let here = shared();
    let lending = Lending::with(&here.stage, "secrets-tokens", LENT, "secret", json!({})).await;
    let (lent, secret) = lending.in_a_secret("2m").await;
    assert!(lending.whoami(&lent.token).await.is_some());
    assert_eq!(secret.type_.as_deref(), Some("Opaque"));
    assert_eq!(secret.owner_references()[0].uid, lent.request.uid().unwrap());
    let spec = &lent.lease.spec;
    assert_ne!(spec.token.as_ref().unwrap().bound_to.uid, spec.secret.as_ref().unwrap().uid);

    lending.requests().delete(&lent.request.name_any(), &Default::default()).await.unwrap();
    super::refused(&here.stage, &lent.token, super::CACHED + SOON).await;
    lending.closed(&lent, SOON).await;
    assert!(lending.bound_is_gone(&lent).await);
    assert!(lending.secrets("secrets-tokens").get_opt(&secret.name_any()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_token_of_a_neighbour_is_bound_to_the_secret_that_delivers_it() {
    let here = shared();
    let lending = Lending::with(&here.stage, "secrets-tokens", "secrets-tokens", "neighbour", json!({})).await;
    let (lent, secret) = lending.in_a_secret("2m").await;
    let user = lending.whoami(&lent.token).await.expect("it is good");
    assert_eq!(user.username.as_deref(), Some("system:serviceaccount:secrets-tokens:neighbour"));
    assert!(lent.lease.spec.delivers_what_it_is_bound_to());
    let calls = here.stage.cluster.audit().unwrap();
    let uid = lent.request.uid().unwrap();
    let made =
        calls.iter().filter(|call| call.is("create", "secrets") && call.object_ref.as_ref().is_some_and(|on| on.name == secret.name_any()));
    assert_eq!((made.count(), secret.labels()[LABEL_REQUEST_UID].clone()), (1, uid));
}

#[tokio::test]
async fn what_was_lent_cannot_be_used_to_ask_for_more() {
    let here = shared();
    let lending = Lending::of(&here.stage, "chained").await;
    let lent = lending.sealed("2m").await;
    // Whatever rights the account has: a token that is bound to no pod says nothing of who asks.
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "asks-chained", "namespace": LENT},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "daypass-requester"},
        "subjects": [{"kind": "ServiceAccount", "name": "chained", "namespace": LENT}],
    });
    here.stage.platform(binding).await.unwrap();
    let client = here.stage.cluster.client_with_token(&lent.token).unwrap();
    let ask = json!({
        "apiVersion": "daypass.dev/v1alpha1", "kind": "AccessRequest", "metadata": {"name": "more"},
        "spec": {"className": "tokens-chained", "requester": lent.request.spec.requester},
    });
    let body = ask.to_string().into_bytes();
    let said = devcluster::wait::until("admission to answer", SOON, || async {
        let request = http::Request::post(format!("/apis/daypass.dev/v1alpha1/namespaces/{LENT}/accessrequests"));
        let request = request.header("content-type", "application/json").body(body.clone()).unwrap();
        match client.request::<serde_json::Value>(request).await {
            Err(kube::Error::Api(status)) if status.code == 403 && status.message.contains("cannot create") => None,
            Err(kube::Error::Api(status)) => Some(status),
            other => panic!("{other:?}"),
        }
    });
    let said = said.await.unwrap();
    assert!(said.message.contains("bound to a pod"), "{said:?}");
    let asked: Api<daypass::api::AccessRequest> = Api::namespaced(lending.admin.clone(), LENT);
    assert!(asked.get_opt("more").await.unwrap().is_none());
}
