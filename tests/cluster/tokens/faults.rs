//! A process that dies, and a reply that is lost, leave no token alive that nobody answers for.

use std::time::Duration;

use daypass::api::{EndReason, Proof};
use devcluster::{
    Options,
    proxy::{Action, Proxy, Script},
    wait,
};
use kube::ResourceExt;
use stage::OperatorOptions;

use super::{CACHED, Lending, refused};
use crate::{
    scene::SOON,
    support::{daypass, private},
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
