//! How a token ends: taken back by deleting what it is bound to, and called dead only when every API server refuses it.

use std::time::Duration;

use daypass::api::{EndReason, Proof, RequestState, request::RevocationKind};
use devcluster::{wait, workload};
use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec},
    core::v1::ServiceAccount,
};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{CACHED, Lending, refused};
use crate::{
    scene::{SOON, condition},
    support::{LENT, shared},
};

#[tokio::test]
async fn a_life_below_the_floor_of_the_api_server_is_kept_by_taking_the_token_back_on_time() {
    let here = shared();
    let lending = Lending::of(&here.stage, "ends").await;
    // Longer than the API server remembers the look right after the mint: what is not in its cache is refused at once.
    let lent = lending.sealed("14s").await;
    assert!(
        lent.lease.spec.not_after() >= lent.lease.spec.expires_at + Duration::from_secs(500),
        "its own end is that of the API server's floor"
    );
    let ended = lending.ended(&lent, SOON + Duration::from_secs(14)).await;
    assert_eq!((ended.reason, ended.proof), (EndReason::Expired, Some(Proof::TokenRefused)));
    assert_eq!(ended.time, lent.lease.spec.expires_at);
    assert!(ended.seconds_to_dead.unwrap() <= 15, "{ended:?}");
    assert!(lending.whoami(&lent.token).await.is_none(), "it is refused");
    assert!(lending.bound_is_gone(&lent).await);
}

#[tokio::test]
async fn a_token_that_was_just_used_is_called_dead_only_once_the_cache_forgot_it() {
    let here = shared();
    let lending = Lending::of(&here.stage, "proof").await;
    let (lent, sibling) = (lending.sealed("5m").await, lending.sealed("5m").await);
    assert!(lending.whoami(&lent.token).await.is_some(), "used, and so remembered");
    let revoke = Patch::Merge(json!({"spec": {"revoke": {"reason": "leaked"}}}));
    lending.leases().patch(&lent.lease.name_any(), &PatchParams::default(), &revoke).await.unwrap();
    let request = wait::until("it to be said", SOON, || async {
        let request = lending.requests().get(&lent.request.name_any()).await.ok()?;
        (request.state() != RequestState::Active).then_some(request)
    });
    let request = request.await.unwrap();
    // An API server on a busy machine may have forgotten it by the time that anybody looks.
    if request.state() == RequestState::Revoking {
        let ready = condition(&request, "Ready").expect("Ready");
        assert!(ready.message.contains("leaked") && ready.message.contains("taken back"), "{ready:?}");
    }
    let ended = lending.ended(&lent, CACHED + SOON).await;
    assert!(lending.whoami(&lent.token).await.is_none(), "called dead while it works");
    assert_eq!((ended.reason, ended.proof), (EndReason::RevokedByPerson, Some(Proof::TokenRefused)));
    assert!(ended.seconds_to_dead.unwrap() <= 30, "{ended:?}");
    assert!(lending.whoami(&sibling.token).await.is_some(), "the other one is another");
}

#[tokio::test]
async fn every_trigger_takes_a_token_back() {
    let here = shared();
    let lending = Lending::of(&here.stage, "restart").await;
    let given_back = lending.sealed("5m").await;
    lending.requests().delete(&given_back.request.name_any(), &Default::default()).await.unwrap();
    refused(&here.stage, &given_back.token, CACHED + SOON).await;
    let lease = lending.closed(&given_back, SOON).await;
    assert_eq!(lease.status.unwrap().reason, Some(EndReason::Completed));

    let forbidden = lending.sealed("5m").await;
    let forbid = json!({
        "apiVersion": "daypass.dev/v1alpha1", "kind": "ClusterAccessPolicy", "metadata": {"name": "tokens-restart-stop"},
        "spec": {"effect": "Forbid", "subjects": [{"namespaces": [lending.namespace], "serviceAccountNames": ["*"]}], "classes": [lending.name]},
    });
    here.stage.platform(forbid).await.unwrap();
    let ended = lending.ended(&forbidden, CACHED + SOON).await;
    assert_eq!((ended.reason, ended.proof), (EndReason::PolicyChanged, Some(Proof::TokenRefused)));
    assert!(here.stage.cluster.kubectl(["delete", "dpcpol/tokens-restart-stop"]).await.unwrap().status.success());

    let finished = wait::until("the ban to be forgotten", SOON, || async {
        let key = daypass::issue::seal::OpeningKey::generate().unwrap();
        let request = lending.ask(json!({"sealTo": key.public_base64()})).await;
        let answered = lending.pod.answer(&request).await.unwrap();
        (answered.state() == RequestState::Active).then_some(answered)
    });
    let finished = finished.await.unwrap();
    workload::set_phase(&lending.admin, &lending.namespace, &lending.pod.pod.name_any(), "Succeeded").await.unwrap();
    let done = wait::until("the end of a finished pod's token", CACHED + SOON, || async {
        lending.requests().get(&finished.name_any()).await.ok().filter(|request| request.state() == RequestState::Ended)
    });
    assert_eq!(done.await.unwrap().status.unwrap().ended.unwrap().reason, EndReason::PodGone);
}

#[tokio::test]
async fn an_account_that_is_made_anew_ends_what_was_lent_of_it_and_is_lent_again() {
    let here = shared();
    let lending = Lending::of(&here.stage, "recreated").await;
    let before = lending.sealed("5m").await;
    let accounts = Api::<ServiceAccount>::namespaced(lending.admin.clone(), LENT);
    accounts.delete("recreated", &Default::default()).await.unwrap();
    let ended = lending.ended(&before, CACHED + SOON).await;
    assert_eq!(ended.reason, EndReason::IdentityRemoved);
    assert!(ended.message.contains("lent/recreated"), "{ended:?}");
    assert!(lending.whoami(&before.token).await.is_none());

    workload::service_account(&lending.admin, LENT, "recreated").await.unwrap();
    crate::scene::until_ready(&here.stage, "dpclass/tokens-recreated").await;
    let after = lending.sealed("5m").await;
    assert_ne!(after.lease.spec.token.unwrap().service_account_uid, before.lease.spec.token.unwrap().service_account_uid);
    assert!(lending.whoami(&after.token).await.is_some());
}

/// Whether somebody for whom a token is meant is told by the API server that it is good.
async fn accepted_for(lending: &Lending<'_>, token: &str, audience: &str) -> bool {
    let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(vec![audience.to_owned()]) };
    let review = TokenReview { spec, ..Default::default() };
    let reviewed = Api::<TokenReview>::all(lending.admin.clone()).create(&PostParams::default(), &review).await.unwrap();
    reviewed.status.unwrap().authenticated == Some(true)
}

#[tokio::test]
async fn a_token_for_others_is_asked_about_with_their_audiences() {
    let here = shared();
    let fields =
        json!({"serviceAccountToken": {"namespace": LENT, "name": "audience", "audiences": ["vault.example"], "verifier": "TokenReview"}});
    let lending = Lending::with(&here.stage, "tokens-audience", LENT, "audience", fields).await;
    let lent = lending.sealed("14s").await;
    assert!(lending.whoami(&lent.token).await.is_none(), "it is not for the API server, alive or not");
    let ended = lending.ended(&lent, SOON + Duration::from_secs(14)).await;
    assert_eq!(ended.proof, Some(Proof::TokenRefused), "refused with its own audiences, with which it was accepted before");

    // Shown without them it is refused from the first: while those whom it is for have it accepted, that proves nothing.
    let used = lending.sealed("5m").await;
    assert!(accepted_for(&lending, &used.token, "vault.example").await);
    let revoke = Patch::Merge(json!({"spec": {"revoke": {"reason": "leaked"}}}));
    lending.leases().patch(&used.lease.name_any(), &PatchParams::default(), &revoke).await.unwrap();
    let ended = lending.ended(&used, CACHED + SOON).await;
    assert!(!accepted_for(&lending, &used.token, "vault.example").await, "called dead while it is accepted: {ended:?}");
    assert_eq!(ended.proof, Some(Proof::TokenRefused));
}

#[tokio::test]
async fn a_token_that_is_checked_by_its_signature_alone_is_not_called_revoked() {
    let here = shared();
    let fields = json!({"serviceAccountToken": {"namespace": LENT, "name": "offline", "audiences": ["sts.example"]}});
    let lending = Lending::with(&here.stage, "tokens-offline", LENT, "offline", fields).await;
    let lent = lending.sealed("5m").await;
    let revocation = lent.request.status.as_ref().unwrap().credential.as_ref().unwrap().revocation.clone();
    assert_eq!(revocation.kind, RevocationKind::ExpiryOnly);
    assert!(revocation.bound_seconds >= 600, "as long as the token says itself: {revocation:?}");
    let revoke = Patch::Merge(json!({"spec": {"revoke": {"reason": "leaked"}}}));
    lending.leases().patch(&lent.lease.name_any(), &PatchParams::default(), &revoke).await.unwrap();
    let request = wait::until("it to be said", SOON, || async {
        lending.requests().get(&lent.request.name_any()).await.ok().filter(|request| request.state() == RequestState::Revoking)
    });
    let request = request.await.unwrap();
    let ready = condition(&request, "Ready").expect("Ready");
    assert!(ready.message.contains(&format!("accepts it until {}", lent.lease.spec.not_after())), "{ready:?}");
    assert!(lending.bound_is_gone(&lent).await, "what can be done is done at once");
}
