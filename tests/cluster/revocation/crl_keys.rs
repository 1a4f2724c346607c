//! A key that was followed by another still takes back what it signed; one that is gone takes back nothing, and nobody says it did.

use std::collections::BTreeMap;

use daypass::api::{Proof, RequestState, lease::LeaseState};
use devcluster::wait;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::api::{ObjectMeta, PostParams};
use serde_json::json;
use stage::Csr;

use super::crl::{judged, revoke, served, with_list};
use crate::{
    authorities::{as_operator, edited, list_signer},
    scene::{SOON, Scene, condition},
    support::shared,
};

fn text(text: &str) -> ByteString {
    ByteString(text.as_bytes().to_vec())
}

/// Waits until an authority signs with another key than this.
async fn signs_instead_of(scene: &Scene<'_>, ca: &str, issuer: &str, what: &str) {
    let other = || async {
        let map = super::crl::config_maps(scene).get(&format!("daypass-crl-{ca}")).await.ok()?;
        (map.data?.get("signing")? != issuer).then_some(())
    };
    wait::until(what, SOON, other).await.unwrap();
}

#[tokio::test]
async fn what_the_last_root_signed_is_taken_back_after_the_next_one_signs() {
    let here = shared();
    let operator = as_operator(&here.stage);
    // An authority with less than ten days left, as the operator would have made it three weeks ago.
    let old = list_signer("Daypass crl-followed", 9 * 24 * 3600);
    let data = BTreeMap::from([("tls.crt".to_owned(), text(&old.pem())), ("tls.key".to_owned(), text(&old.key().serialize_pem()))]);
    let metadata = ObjectMeta {
        name: Some("daypass-ca-crl-followed".into()),
        labels: Some(BTreeMap::from([("daypass.dev/ca".to_owned(), "crl-followed".to_owned())])),
        ..Default::default()
    };
    let made = Secret { metadata, type_: Some("Opaque".into()), data: Some(data), ..Default::default() };
    operator.create(&PostParams::default(), &made).await.unwrap();
    let scene = Scene::with(&here.stage, "crl-followed", "crl-followed", with_list("crl-followed", "60s"), json!({})).await;
    let by_old = scene.granted("30m").await;
    let issuer = |granted: &crate::scene::Granted| granted.lease.spec.crl().unwrap().issuer.clone();
    edited(&operator, &here.stage, "daypass-ca-crl-followed", "the next root to be published", |data| {
        *data.get_mut("next-since")? = text(&(Timestamp::now() - SignedDuration::from_mins(6)).to_string());
        Some(())
    })
    .await;
    let signed_by_new = || async {
        let asked = scene.pod.ask_with_csr("crl-followed", Some("30m"), &Csr::new().unwrap()).await.unwrap();
        let answered = scene.pod.answer(&asked).await.unwrap();
        // What is asked for while the key changes may be withdrawn, with the advice to ask again.
        assert!(matches!(answered.state(), RequestState::Active | RequestState::Failed), "{:?}", answered.status);
        let lease = here.stage.lease_of(&answered).await.unwrap().filter(|_| answered.state() == RequestState::Active)?;
        (lease.spec.crl().unwrap().issuer != issuer(&by_old)).then_some(())
    };
    wait::until("the next root to sign", SOON, signed_by_new).await.unwrap();
    let by_new = scene.granted("30m").await;
    assert_ne!(issuer(&by_new), issuer(&by_old));

    revoke(&scene, &by_old).await;
    scene.taken_back(&by_old).await;
    let lists = served(&here, "crl-followed").await;
    assert_eq!(lists.matches("BEGIN X509 CRL").count(), 2, "one of each key");
    assert_eq!((judged(&by_old, &lists), judged(&by_new, &lists)), (Err("revoked".into()), Ok(())));
    revoke(&scene, &by_new).await;
    scene.taken_back(&by_new).await;
    assert_eq!(judged(&by_new, &served(&here, "crl-followed").await), Err("revoked".into()));
}

#[tokio::test]
async fn what_a_lost_key_signed_waits_for_its_own_end_and_nobody_calls_it_revoked() {
    let here = shared();
    let scene = Scene::with(&here.stage, "crl-lost", "crl-lost", with_list("crl-lost", "60s"), json!({})).await;
    let granted = scene.granted("25s").await;
    // Somebody restores another root than the one that signed.
    let other = list_signer("Daypass crl-lost", 20 * 24 * 3600);
    edited(&as_operator(&here.stage), &here.stage, "daypass-ca-crl-lost", "another root", |data| {
        data.insert("tls.crt".into(), text(&other.pem()));
        data.insert("tls.key".into(), text(&other.key().serialize_pem()));
        Some(())
    })
    .await;
    signs_instead_of(&scene, "crl-lost", &granted.lease.spec.crl().unwrap().issuer, "the other root to sign").await;
    revoke(&scene, &granted).await;
    scene.lease_when(&granted, "ended early", SOON, |lease| lease.state() == Some(LeaseState::Revoking)).await;
    let request = scene.request_when(&granted, "to say so", SOON, |request| request.state() == RequestState::Revoking).await;
    let ready = condition(&request, "Ready").unwrap();
    let until = granted.lease.spec.not_after();
    assert!(ready.message.contains("not on the published revocation list") && ready.message.contains(&until.to_string()), "{ready:?}");
    assert_eq!(scene.ended(&granted).await.proof, Some(Proof::NotAfterPassed));
}
