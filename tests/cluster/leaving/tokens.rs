//! Taking Daypass down with tokens lent: the drain never held one of them, and each is dead before it says that it is done.

use daypass::api::{EndReason, Proof};
use serde_json::json;

use super::alone::{House, kubectl};
use crate::{
    scene::SOON,
    support::LENT,
    tokens::{CACHED, Lending},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_takes_every_token_back_and_proves_each_dead() {
    let house = House::set().await;
    let (sealed, in_a_secret) =
        (Lending::of(&house.stage, "sealed").await, Lending::with(&house.stage, "secrets-tokens", LENT, "secret", json!({})).await);
    let lent = [(&sealed, sealed.sealed("10m").await), (&in_a_secret, in_a_secret.in_a_secret("10m").await.0)];
    for (lending, lent) in &lent {
        assert!(lending.whoami(&lent.token).await.is_some());
    }

    assert!(kubectl(&house.stage.cluster, &["apply", "-k", "deploy/drain"]).await.0);
    let complete = ["-n", "daypass-system", "wait", "job/daypass-drain", "--for=condition=Complete", "--timeout=90s"];
    let (done, said) = kubectl(&house.stage.cluster, &complete).await;
    let log = house.kubelet.log("daypass-drain");
    assert!(done, "{said}\n{log}");
    for (lending, lent) in &lent {
        assert!(lending.whoami(&lent.token).await.is_none(), "done, and a token works: {log}");
        assert!(lending.bound_is_gone(lent).await);
        let ended = lending.ended(lent, SOON + CACHED).await;
        assert_eq!((ended.reason, ended.proof), (EndReason::Drained, Some(Proof::BoundObjectGone)), "it was never shown one");
        assert!(ended.seconds_to_dead.unwrap() >= 11, "{ended:?}");
    }
}
