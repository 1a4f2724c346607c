//! A brought authority that cannot sign: its class says what is wrong, nothing is issued, what is live still ends, and it comes back.

use std::time::Duration;

use daypass::api::EndReason;
use rcgen::{CertificateParams, DnType, IsCa, KeyPair};
use serde_json::json;

use super::{
    brought::signed_by,
    roots::{bring, parameters, root, secrets},
};
use crate::{
    scene::{SOON, Scene, until_condition},
    support::shared,
};

const YEAR: i64 = 365 * 24 * 3600;

/// Waits until the class is not Ready for this reason, and returns what it says.
async fn not_ready(scene: &Scene<'_>, said: &str) -> String {
    not_ready_within(scene, said, SOON).await
}

async fn not_ready_within(scene: &Scene<'_>, said: &str, limit: Duration) -> String {
    let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status} {.status.conditions[?(@.type==\"Ready\")].reason} {.status.conditions[?(@.type==\"Ready\")].message}";
    let look = || async {
        let told = scene.stage.cluster.kubectl(["get", "dpclass", &scene.name, "-o", path]).await.ok()?;
        let told = String::from_utf8(told.stdout).ok()?;
        (told.starts_with("False ") && told.contains(said)).then_some(told)
    };
    devcluster::wait::until(&format!("class {} to say {said:?}", scene.name), limit, look).await.unwrap()
}

#[tokio::test]
async fn whatever_is_wrong_with_the_secret_is_named_and_nothing_is_issued() {
    let here = shared();
    let (good, other) = (root("Corp", YEAR), root("Another", YEAR));
    let key = good.key().serialize_pem();
    let mut leaf = CertificateParams::default();
    leaf.distinguished_name.push(DnType::CommonName, "no authority");
    leaf.is_ca = IsCa::NoCa;
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = leaf.self_signed(&leaf_key).unwrap();
    let expired = root("Corp of yesterday", -60);
    let mut unsigning = parameters("Signs nothing", YEAR);
    unsigning.key_usages = vec![rcgen::KeyUsagePurpose::CrlSign];
    let unsigning_key = KeyPair::generate().unwrap();
    let unsigning = unsigning.self_signed(&unsigning_key).unwrap();
    let rows = [
        ("tls.key does not belong", good.pem(), other.key().serialize_pem(), None),
        ("is not a CA", leaf.pem(), leaf_key.serialize_pem(), None),
        ("may not sign", unsigning.pem(), unsigning_key.serialize_pem(), None),
        ("ended at", expired.pem(), expired.key().serialize_pem(), None),
        ("does not lead to a root", good.pem(), key.clone(), Some(other.pem())),
        ("tls.crt", "no certificate".into(), key.clone(), None),
        ("tls.key", good.pem(), "no key".into(), None),
    ];

    bring(&here.stage, "corp-unusable", &good.pem(), &key, None).await;
    let scene = Scene::with(&here.stage, "ca-unusable", "ca-unusable", signed_by("corp-unusable"), json!({})).await;
    let live = scene.granted("10s").await;
    for (said, certificate, key, roots) in rows {
        bring(&here.stage, "corp-unusable", &certificate, &key, roots.as_deref()).await;
        let told = not_ready(&scene, said).await;
        assert!(told.contains("CaSecretInvalid") && told.contains("spec.x509.ca.secretName: Secret corp-unusable"), "{told}");
        let denied = scene.denied(json!({})).await;
        assert_eq!((denied.reason.as_str(), denied.retry_after.is_some()), ("ClassUnavailable", true));
        assert!(denied.message.contains("is not Ready (CaSecretInvalid)") && !denied.message.contains(said), "{}", denied.message);
        // Back to good between the rows, so that each is seen to be the cause.
        bring(&here.stage, "corp-unusable", &good.pem(), &good.key().serialize_pem(), None).await;
        until_condition(&here.stage, "dpclass/ca-unusable", "Ready=True").await;
    }
    secrets(&here.stage).delete("corp-unusable", &Default::default()).await.unwrap();
    let told = not_ready(&scene, "CaSecretMissing").await;
    assert!(told.contains("there is no Secret corp-unusable"), "{told}");
    assert_eq!(scene.ended(&live).await.reason, EndReason::Expired, "an end needs no authority");
    bring(&here.stage, "corp-unusable", &good.pem(), &good.key().serialize_pem(), None).await;
    until_condition(&here.stage, "dpclass/ca-unusable", "Ready=True").await;
    scene.granted("1m").await;
}

#[tokio::test]
async fn an_early_end_needs_no_authority_either() {
    let here = shared();
    let corp = root("Corp", YEAR);
    bring(&here.stage, "corp-vanishes", &corp.pem(), &corp.key().serialize_pem(), None).await;
    let scene = Scene::with(&here.stage, "secrets-ends", "ca-vanishes", signed_by("corp-vanishes"), json!({})).await;
    let (live, secret) = scene.granted_secret("15s").await;
    secrets(&here.stage).delete("corp-vanishes", &Default::default()).await.unwrap();
    not_ready(&scene, "CaSecretMissing").await;
    assert!(scene.leases().get(&kube::ResourceExt::name_any(&live.lease)).await.unwrap().state().is_none(), "not Ready ends nothing");
    devcluster::workload::set_phase(&scene.admin, &scene.namespace, "ca-vanishes-1", "Failed").await.unwrap();
    scene.secret_gone(&kube::ResourceExt::name_any(&secret), SOON).await;
    assert_eq!(scene.ended(&live).await.reason, EndReason::PodGone);
}

#[tokio::test]
async fn an_authority_that_ends_before_a_leaf_would_issues_nothing_more_and_what_is_live_still_ends() {
    let here = shared();
    let corp = root("Corp, soon over", 45);
    bring(&here.stage, "corp-ending", &corp.pem(), &corp.key().serialize_pem(), None).await;
    let mut class = signed_by("corp-ending");
    class["ttl"] = json!({"default": "20s", "max": "30s"});
    let scene = Scene::with(&here.stage, "ca-ending", "ca-ending", class, json!({})).await;
    let granted = scene.granted("20s").await;
    let told = not_ready_within(&scene, "CaExpiring", Duration::from_secs(90)).await;
    assert!(told.contains("before a certificate of spec.ttl.max would"), "{told}");
    assert_eq!(scene.denied(json!({})).await.reason, "ClassUnavailable");
    assert_eq!(scene.ended(&granted).await.reason, EndReason::Expired);
}
