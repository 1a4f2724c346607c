//! Several API servers: a token is called refused only when each of them has refused it, and one that is away leaves the proof to time.

use daypass::api::{EndReason, Proof};
use devcluster::{Options, wait};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    config::AuthInfo,
};
use serde_json::json;
use stage::{OperatorOptions, Stage};

use super::{CACHED, Lending, Lent};
use crate::{
    scene::SOON,
    support::{daypass, private},
};

/// Whether one of the API servers accepts a token.
async fn accepts(stage: &Stage, server: usize, token: &str) -> bool {
    let url = stage.cluster.server_urls()[server].clone();
    let mut config = stage.cluster.config(url);
    config.auth_info = AuthInfo { token: Some(token.to_owned().into()), ..AuthInfo::default() };
    let client = Client::try_from(config).unwrap();
    match Api::<SelfSubjectReview>::all(client).create(&PostParams::default(), &SelfSubjectReview::default()).await {
        Ok(_) => true,
        Err(kube::Error::Api(status)) if status.code == 401 => false,
        Err(error) => panic!("neither accepted nor refused: {error}"),
    }
}

async fn revoke(lending: &Lending<'_>, lent: &Lent) {
    let revoke = Patch::Merge(json!({"spec": {"revoke": {"reason": "leaked"}}}));
    lending.leases().patch(&lent.lease.name_any(), &PatchParams::default(), &revoke).await.unwrap();
}

#[tokio::test]
async fn a_token_is_dead_only_when_every_api_server_refuses_it_and_one_that_is_away_is_not_guessed_at() {
    let private = private(Options { apiservers: 2, ..Options::default() }).await;
    let stage = &private.stage;
    let second = stage.cluster.server_urls()[1].to_string();
    let options = OperatorOptions { args: vec!["--apiserver".into(), second], ..Default::default() };
    let operator = stage.operator(&daypass(), options).await.unwrap();
    operator.ready().await.unwrap();
    let lending = Lending::of(stage, "sealed").await;
    let (used, unheard) = (lending.sealed("5m").await, lending.sealed("5m").await);

    // The first has forgotten that it was shown the token after the mint; the second alone remembers it.
    let forgotten = used.lease.creation_timestamp().unwrap().0 + SignedDuration::try_from(CACHED).unwrap();
    wait::until("the first to forget", SOON, || async { (Timestamp::now() >= forgotten).then_some(()) }).await.unwrap();
    assert!(accepts(stage, 1, &used.token).await);
    revoke(&lending, &used).await;
    let ended = lending.ended(&used, CACHED + SOON).await;
    let left = [accepts(stage, 0, &used.token).await, accepts(stage, 1, &used.token).await];
    assert_eq!(left, [false, false], "called dead while one of them accepts it: {ended:?}");
    assert_eq!((ended.reason, ended.proof), (EndReason::RevokedByPerson, Some(Proof::TokenRefused)));
    assert!(ended.seconds_to_dead.unwrap() >= 5, "the second remembered it for ten: {ended:?}");

    let server = stage.cluster.process("kube-apiserver-1").unwrap();
    server.kill().await;
    revoke(&lending, &unheard).await;
    let ended = lending.ended(&unheard, CACHED + SOON).await;
    assert_eq!(ended.proof, Some(Proof::BoundObjectGone), "who does not answer has refused nothing");
    assert!(ended.seconds_to_dead.unwrap() >= 11, "{ended:?}");
    server.start_again().unwrap();
    stage.cluster.ready().await.unwrap();
    assert!(!accepts(stage, 1, &unheard.token).await && !accepts(stage, 0, &unheard.token).await);
    operator.stop().await;
}
