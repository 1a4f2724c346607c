//! Tokens are ended by the same line as certificates, and proven dead by being refused.

use daypass::api::{EndReason, Proof};
use serde_json::{Value, json};

use super::{last, revoke};
use crate::{
    plugin::Person,
    scene::SOON,
    support::shared,
    tokens::{CACHED, Lending},
};

#[tokio::test]
async fn tokens_that_a_class_lent_are_taken_back_and_the_last_line_says_that_each_is_dead() {
    let here = shared();
    let lending = Lending::of(&here.stage, "revoked").await;
    let lent = [lending.sealed("10m").await, lending.sealed("10m").await];
    let admin = Person::admin(&here.stage);
    let said = revoke(&admin, &["--class", &lending.name]).await;
    for lent in &lent {
        assert!(lending.whoami(&lent.token).await.is_none(), "it returned, and a token works: {said:?}");
        let ended = lending.ended(lent, SOON + CACHED).await;
        assert_eq!((ended.reason, ended.proof), (EndReason::RevokedByPerson, Some(Proof::TokenRefused)));
    }
    assert_eq!((said.code, last(&said)), (0, "2 proven dead, 0 still waiting, 0 failed"), "{said:?}");

    let again = lending.sealed("10m").await;
    let who = format!("{0}/{0}", lending.name);
    let said = revoke(&admin, &["--service-account", &who, "-o", "json"]).await;
    let told: Value = serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    assert_eq!((said.code, &told["provenDead"], &told["leases"][0]["proof"]), (0, &json!(1), &json!("TokenRefused")), "{said:?}");
    assert!(lending.whoami(&again.token).await.is_none());
}
