//! A process that dies, and a reply that is lost, leave no token alive that nobody answers for.

use std::time::Duration;

use daypass::api::{EndReason, Proof, RequestState};
use devcluster::{
    Options,
    proxy::{Action, Proxy, Script},
    wait,
};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;
use stage::OperatorOptions;

use super::{CACHED, Lending, refused};
use crate::{
    scene::SOON,
    support::{Private, daypass, private},
};

#[tokio::test]
async fn a_mint_whose_reply_is_lost_is_closed_and_the_next_attempt_leaves_exactly_one_token_alive() {
    let private = private(Options::default()).await;
    let lost = Script::counting(|call| call.method == "POST" && call.path.ends_with("/token")).after(1, Action::Drop);
    let proxy = Proxy::start(&private.stage.cluster, lost).await.unwrap();
    let options = OperatorOptions { server: Some(proxy.url().clone()), ..Default::default() };
    let operator = private.stage.operator(&daypass(), options).await.unwrap();
    operator.ready().await.unwrap();
    let lending = Lending::of(&private.stage, "sealed").await;
    let lent = lending.sealed("2m").await;
    assert_eq!(lent.lease.spec.attempt, 1);
    assert!(lending.whoami(&lent.token).await.is_some());
    let leases = private.stage.leases().await.unwrap();
    let first = leases.iter().find(|lease| lease.spec.attempt == 0).expect("the first attempt");
    let status = first.status.clone().unwrap();
    assert_eq!((first.is_closed(), status.reason, status.proof), (true, Some(EndReason::Abandoned), Some(Proof::BoundObjectGone)));
    let bound = first.spec.token.clone().unwrap().bound_to;
    assert!(lending.secrets("lent").get_opt(&bound.name).await.unwrap().is_none(), "what the lost token was bound to is gone");
    lending.requests().delete(&lent.request.name_any(), &Default::default()).await.unwrap();
    refused(&private.stage, &lent.token, CACHED + SOON).await;
    lending.closed(&lent, SOON).await;
}

/// A stage whose operator is held at its first mint, and what was asked for by then.
async fn held_at_the_mint() -> (Private, stage::Operator, Proxy) {
    let private = private(Options::default()).await;
    let proxy = Proxy::start(&private.stage.cluster, Script::quiet()).await.unwrap();
    let options = OperatorOptions { server: Some(proxy.url().clone()), ..Default::default() };
    let operator = private.stage.operator(&daypass(), options).await.unwrap();
    operator.ready().await.unwrap();
    proxy.keep_replies(|call| call.path.ends_with("/token"));
    proxy.play(Script::counting(|call| call.method == "POST" && call.path.ends_with("/token")).before(1, Action::Hang));
    (private, operator, proxy)
}

/// Tokens that the API server handed out.
fn minted(proxy: &Proxy) -> usize {
    let is_one =
        |reply: &Vec<u8>| serde_json::from_slice::<serde_json::Value>(reply).is_ok_and(|reply| reply["status"]["token"].is_string());
    proxy.kept().iter().filter(|reply| is_one(reply)).count()
}

#[tokio::test]
async fn an_account_that_is_made_anew_before_the_mint_is_another_and_no_token_of_it_is_minted() {
    let (private, operator, proxy) = held_at_the_mint().await;
    let lending = Lending::of(&private.stage, "sealed").await;
    let key = daypass::issue::seal::OpeningKey::generate().unwrap();
    let request = lending.ask(json!({"sealTo": key.public_base64()})).await;
    tokio::time::timeout(SOON, proxy.reached(1)).await.expect("a mint");
    // Nobody who watches may end the grant before the mint is let go: it is the mint itself that has to be refused.
    operator.process.pause().await;
    let accounts = Api::<ServiceAccount>::namespaced(lending.admin.clone(), "lent");
    accounts.delete("sealed", &Default::default()).await.unwrap();
    devcluster::workload::service_account(&lending.admin, "lent", "sealed").await.unwrap();
    proxy.release();
    let answered = || std::future::ready(proxy.writes().iter().any(|write| write.upstream.is_some()).then_some(()));
    wait::until("the mint to be answered", SOON, answered).await.unwrap();
    assert_eq!(minted(&proxy), 0, "a token of another account");
    operator.process.resume().await;
    let failed = lending.pod.answer(&request).await.unwrap();
    assert_eq!(failed.state(), RequestState::Failed, "{:?}", failed.status);
    let over = || async { private.stage.leases().await.unwrap().iter().all(|lease| lease.is_closed()).then_some(()) };
    wait::until("the attempt to be closed", CACHED + SOON, over).await.unwrap();
}

#[tokio::test]
async fn an_attempt_that_is_ended_while_its_mint_is_under_way_leaves_no_token() {
    let (private, operator, proxy) = held_at_the_mint().await;
    let lending = Lending::of(&private.stage, "sealed").await;
    let key = daypass::issue::seal::OpeningKey::generate().unwrap();
    lending.ask(json!({"sealTo": key.public_base64()})).await;
    tokio::time::timeout(SOON, proxy.reached(1)).await.expect("a mint");
    let lease = private.stage.leases().await.unwrap().remove(0);
    let revoke = Patch::Merge(json!({"spec": {"revoke": {"reason": "leaked"}}}));
    lending.leases().patch(&lease.name_any(), &PatchParams::default(), &revoke).await.unwrap();
    let bound = lease.spec.token.clone().unwrap().bound_to.name;
    let gone = || async { lending.secrets("lent").get_opt(&bound).await.unwrap().is_none().then_some(()) };
    wait::until("what it would be bound to to go", SOON, gone).await.unwrap();
    proxy.release();
    let over = || async { lending.leases().get(&lease.name_any()).await.ok().filter(daypass::api::CredentialLease::is_closed) };
    wait::until("the attempt to be closed", CACHED + SOON, over).await.unwrap();
    assert_eq!(minted(&proxy), 0, "what it is bound to was gone");
    operator.stop().await;
}

#[tokio::test]
async fn a_token_of_a_process_that_died_is_taken_back_by_the_next_and_proven_dead_by_time() {
    let private = private(Options::default()).await;
    let operator = private.stage.operator(&daypass(), OperatorOptions::default()).await.unwrap();
    operator.ready().await.unwrap();
    let lending = Lending::of(&private.stage, "restart").await;
    let (expires, revoked) = (lending.sealed("8s").await, lending.sealed("5m").await);
    operator.process.kill().await;
    operator.process.start_again().unwrap();
    operator.ready().await.unwrap();
    let ended = lending.ended(&expires, Duration::from_secs(8) + CACHED + SOON).await;
    assert_eq!((ended.reason, ended.proof), (EndReason::Expired, Some(Proof::BoundObjectGone)));
    assert!(ended.seconds_to_dead.unwrap() >= 11, "{ended:?}");
    lending.requests().delete(&revoked.request.name_any(), &Default::default()).await.unwrap();
    refused(&private.stage, &revoked.token, CACHED + SOON).await;
    assert_eq!(lending.closed(&revoked, SOON).await.status.unwrap().proof, Some(Proof::BoundObjectGone));
}

#[tokio::test]
async fn a_token_whose_secret_somebody_deleted_is_said_to_have_been_taken_back() {
    let private = private(Options::default()).await;
    let operator = private.stage.operator(&daypass(), OperatorOptions::default()).await.unwrap();
    operator.ready().await.unwrap();
    let lending = Lending::of(&private.stage, "secret").await;
    let (lent, sibling) = (lending.sealed("5m").await, lending.sealed("5m").await);
    let bound = lent.lease.spec.token.clone().unwrap().bound_to.name;
    let secrets = lending.secrets("lent");
    let refused_by_admission = secrets.delete(&bound, &Default::default()).await.unwrap_err();
    assert!(refused_by_admission.to_string().contains("belong to Daypass"), "{refused_by_admission}");
    // Somebody takes the guard away first.
    let binding = ["delete", "validatingadmissionpolicybinding", "reserve.daypass.dev"];
    assert!(private.stage.cluster.kubectl(binding).await.unwrap().status.success());
    wait::until("the Secret to be deletable", SOON, || async { secrets.delete(&bound, &Default::default()).await.ok() }).await.unwrap();
    let ended = lending.ended(&lent, Duration::from_secs(70) + CACHED + SOON).await;
    assert_eq!((ended.reason, ended.proof), (EndReason::RevokedByPerson, Some(Proof::TokenRefused)));
    assert!(ended.message.contains("somebody deleted the Secret"), "{ended:?}");
    // The same look asked about both.
    assert!(lending.whoami(&sibling.token).await.is_some(), "asking whether a Secret is there deleted it");
}
