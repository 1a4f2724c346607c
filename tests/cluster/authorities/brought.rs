//! An authority that a platform team brings in a Secret: a root, or an intermediate under a root of theirs.

use serde_json::{Value, json};

use super::roots::{Ca, bring, bundled, parameters, published, root};
use crate::{judges::certificates, scene::Scene, support::shared};
use rcgen::KeyPair;

const YEAR: i64 = 365 * 24 * 3600;

/// The class signs with this Secret.
pub fn signed_by(secret: &str) -> Value {
    json!({"x509": {"ca": {"managed": null, "secretName": secret}}})
}

#[tokio::test]
async fn a_root_that_was_brought_signs_and_is_published() {
    let here = shared();
    let corp = root("Corp", YEAR);
    bring(&here.stage, "corp-root", &corp.pem(), &corp.key().serialize_pem(), None).await;
    let scene = Scene::with(&here.stage, "ca-brought", "ca-brought", signed_by("corp-root"), json!({})).await;
    let granted = scene.granted("1m").await;
    let credential = granted.request.status.unwrap().credential.unwrap();
    assert_eq!(certificates(&credential.ca_bundle), certificates(&corp.pem()));
    assert_eq!(certificates(&credential.certificate.unwrap()).len(), 1, "roots are no part of the chain");
    assert_eq!(granted.lease.spec.x509.as_ref().unwrap().ca, "secret.corp-root");
    let read_by_pod = published(&here.stage, &scene.pod.client, "secret.corp-root").await.unwrap();
    assert_eq!(read_by_pod, credential.ca_bundle);
    assert_eq!(bundled(&here.stage, "secret.corp-root").await, credential.ca_bundle);
}

#[tokio::test]
async fn an_intermediate_is_handed_out_with_the_leaf_and_only_its_root_is_trusted() {
    let here = shared();
    let corp = root("Corp with an intermediate", YEAR);
    let issuing = Ca::signed_by(parameters("Corp issuing", YEAR / 2), KeyPair::generate().unwrap(), &corp).unwrap();
    bring(&here.stage, "corp-issuing", &issuing.pem(), &issuing.key().serialize_pem(), Some(&corp.pem())).await;
    let scene = Scene::with(&here.stage, "ca-issuing", "ca-issuing", signed_by("corp-issuing"), json!({})).await;
    let granted = scene.granted("1m").await;
    let credential = granted.request.status.unwrap().credential.unwrap();
    let chain = certificates(&credential.certificate.unwrap());
    assert_eq!((chain.len(), &chain[1]), (2, issuing.der()));
    assert_eq!(certificates(&credential.ca_bundle), [corp.der().clone()]);
}

#[tokio::test]
async fn a_brought_root_is_followed_by_another_while_verifiers_trust_both() {
    let here = shared();
    let (old, new) = (root("Corp old", YEAR), root("Corp new", YEAR));
    let both = format!("{}{}", old.pem(), new.pem());
    bring(&here.stage, "corp-followed", &old.pem(), &old.key().serialize_pem(), None).await;
    let scene = Scene::with(&here.stage, "ca-followed", "ca-followed", signed_by("corp-followed"), json!({})).await;
    let before = scene.granted("2m").await.request.status.unwrap().credential.unwrap();
    // As anybody follows one root by another: both are published first, then the other signs.
    bring(&here.stage, "corp-followed", &old.pem(), &old.key().serialize_pem(), Some(&both)).await;
    roots_count(&scene, 2).await;
    bring(&here.stage, "corp-followed", &new.pem(), &new.key().serialize_pem(), Some(&both)).await;
    let handed = |credential: &daypass::api::request::CredentialStatus| credential.certificate.clone().unwrap();
    let after = devcluster::wait::until("the new root to sign", crate::scene::SOON, || async {
        let credential = scene.granted("1m").await.request.status.unwrap().credential.unwrap();
        let roots = new.pem();
        let by_new = crate::judges::Handed { chain: &handed(&credential), roots: &roots };
        crate::judges::accepted(by_new, jiff::Timestamp::now()).is_ok().then_some(credential)
    })
    .await
    .unwrap();
    let trusted = published(&here.stage, &scene.admin, "secret.corp-followed").await.unwrap();
    for credential in [before, after] {
        let handed = crate::judges::Handed { chain: &handed(&credential), roots: &trusted };
        assert_eq!(crate::judges::accepted(handed, jiff::Timestamp::now()), Ok(()));
    }
}

#[tokio::test]
async fn a_brought_root_that_is_replaced_without_a_word_stays_trusted_while_its_certificates_live() {
    let here = shared();
    let (old, new) = (root("Corp gone", YEAR), root("Corp come", YEAR));
    bring(&here.stage, "corp-replaced", &old.pem(), &old.key().serialize_pem(), None).await;
    let scene = Scene::with(&here.stage, "ca-replaced", "ca-replaced", signed_by("corp-replaced"), json!({})).await;
    let before = scene.granted("2m").await.request.status.unwrap().credential.unwrap().certificate.unwrap();
    bring(&here.stage, "corp-replaced", &new.pem(), &new.key().serialize_pem(), None).await;
    let look = || async {
        let trusted = published(&here.stage, &scene.admin, "secret.corp-replaced").await?;
        trusted.contains(new.pem().trim()).then_some(trusted)
    };
    let trusted = devcluster::wait::until("the new root to be published", crate::scene::SOON, look).await.unwrap();
    let handed = crate::judges::Handed { chain: &before, roots: &trusted };
    assert_eq!(crate::judges::accepted(handed, jiff::Timestamp::now()), Ok(()), "the old one beside it");
}

async fn roots_count(scene: &Scene<'_>, count: usize) {
    let look = || async {
        let roots = published(scene.stage, &scene.admin, "secret.corp-followed").await?;
        (certificates(&roots).len() == count).then_some(())
    };
    devcluster::wait::until("the roots to be published", crate::scene::SOON, look).await.unwrap();
}
