//! A certificate that ends early is dead for whoever checks the list, seconds later and long before its own end.

use daypass::api::{
    EndReason,
    request::{Revocation, RevocationKind},
};
use devcluster::{Options, wait};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{ByteString, api::core::v1::ConfigMap};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use stage::OperatorOptions;
use x509_parser::{extensions::ParsedExtension, prelude::*};

use crate::{
    judges::{Handed, accepted_with_lists, certificates},
    scene::{Granted, SOON, Scene},
    support::{Running, daypass, private, shared},
};

/// How soon a list has to hold what was taken back, and the proof be made, with everything else that this machine does.
const LATEST: SignedDuration = SignedDuration::from_secs(10);

/// Fields of a class with a managed authority of this name and a list that is good for so long.
pub fn with_list(ca: &str, next_update: &str) -> Value {
    let url = format!("http://daypass.daypass-system/crl/{ca}/{{issuer}}.crl");
    json!({
        "ttl": {"default": "10m", "max": "1h"},
        "x509": {"ca": {"managed": {"name": ca}}, "crl": {"nextUpdate": next_update, "url": url}},
    })
}

/// The lists of an authority as the operator serves them, in PEM.
pub async fn served(here: &Running, ca: &str) -> String {
    let (status, text) = here.operator.http(&format!("/crl/{ca}.pem")).await.unwrap();
    assert_eq!(status, 200, "{text}");
    text
}

/// Revokes a grant as a person does.
pub async fn revoke(scene: &Scene<'_>, granted: &Granted) {
    let revoke = Patch::Merge(json!({"spec": {"revoke": {"reason": "audit"}}}));
    scene.leases().patch(&granted.lease.name_any(), &PatchParams::default(), &revoke).await.unwrap();
}

/// What both judges say of a grant's certificate with these lists, now.
pub fn judged(granted: &Granted, lists: &str) -> Result<(), String> {
    let credential = granted.request.status.as_ref().unwrap().credential.as_ref().unwrap();
    let handed = Handed { chain: credential.certificate.as_deref().unwrap(), roots: &credential.ca_bundle };
    accepted_with_lists(handed, lists, Timestamp::now())
}

/// The ConfigMaps of the operator's namespace.
pub fn config_maps(scene: &Scene<'_>) -> Api<ConfigMap> {
    Api::namespaced(scene.admin.clone(), &scene.stage.operator_name().namespace)
}

/// The list of the key that signs now, from the ConfigMap.
pub async fn published(scene: &Scene<'_>, ca: &str) -> Option<Vec<u8>> {
    let map = config_maps(scene).get_opt(&format!("daypass-crl-{ca}")).await.unwrap()?;
    let issuer = map.data?.remove("signing")?;
    map.binary_data?.remove(&format!("{issuer}.crl")).map(|ByteString(der)| der)
}

/// Number, `thisUpdate` and `nextUpdate` of a list.
pub fn dated(der: &[u8]) -> (u64, Timestamp, Timestamp) {
    let (_, list) = CertificateRevocationList::from_der(der).unwrap();
    let at = |time: ASN1Time| Timestamp::from_second(time.timestamp()).unwrap();
    (u64::try_from(list.crl_number().unwrap()).unwrap(), at(list.last_update()), at(list.next_update().unwrap()))
}

#[tokio::test]
async fn a_certificate_that_ends_early_is_refused_by_whoever_checks_the_list_and_its_sibling_is_not() {
    let here = shared();
    let scene = Scene::with(&here.stage, "crl-early", "crl-early", with_list("crl-early", "60s"), json!({})).await;
    let (taken, kept) = (scene.granted("30m").await, scene.granted("30m").await);
    let lists = served(&here, "crl-early").await;
    assert_eq!((judged(&taken, &lists), judged(&kept, &lists)), (Ok(()), Ok(())));
    let credential = taken.request.status.as_ref().unwrap().credential.clone().unwrap();
    assert_eq!(credential.revocation, Revocation { kind: RevocationKind::Bounded, bound_seconds: 60 });

    revoke(&scene, &taken).await;
    let ended = scene.taken_back(&taken).await;
    assert_eq!(ended.reason, EndReason::RevokedByPerson);
    let lag = ended.verified_time.unwrap().duration_since(ended.time);
    println!("revoked: on the published list and refused {lag:#} after its end");
    assert!((SignedDuration::ZERO..LATEST).contains(&lag), "{lag:#}");
    let lists = served(&here, "crl-early").await;
    assert_eq!((judged(&taken, &lists), judged(&kept, &lists)), (Err("revoked".into()), Ok(())));
    assert_eq!(scene.leases().get(&kept.lease.name_any()).await.unwrap().state(), None, "the sibling lives on");

    // In DER, as the certificate names it, and as the authority's.
    let der = published(&scene, "crl-early").await.unwrap();
    let text = String::from_utf8_lossy(&der);
    let crl = taken.lease.spec.crl().cloned().unwrap();
    let url = crl.url.unwrap();
    assert_eq!(url, format!("http://daypass.daypass-system/crl/crl-early/{}.crl", crl.issuer));
    for path in [format!("/crl/crl-early/{}.crl", crl.issuer), "/crl/crl-early.crl".to_owned()] {
        assert_eq!(here.operator.http(&path).await.unwrap(), (200, text.to_string()), "{path}");
    }
    for path in ["/crl/another.crl", "/crl/crl-early", "/crl/crl-early/another.crl"] {
        assert_eq!(here.operator.http(path).await.unwrap().0, 404, "{path}");
    }
    let chain = certificates(&credential.certificate.unwrap());
    let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
    let points = leaf.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::CRLDistributionPoints(points) => Some(format!("{points:?}")),
        _ => None,
    });
    assert!(points.is_some_and(|points| points.contains(&url)), "the certificate names its list");
}

#[tokio::test]
async fn a_class_says_how_fast_it_is_as_its_lists_are_published() {
    let here = shared();
    let scene = Scene::with(&here.stage, "crl-bound", "crl-bound", with_list("crl-bound", "90s"), json!({})).await;
    let status = |name: &'static str| {
        let classes = Api::<daypass::api::CredentialClass>::all(scene.admin.clone());
        async move { classes.get(name).await.unwrap().status.unwrap().revocation.unwrap() }
    };
    assert_eq!(status("crl-bound").await, Revocation { kind: RevocationKind::Bounded, bound_seconds: 90 });
    let (_, from, until) = dated(&published(&scene, "crl-bound").await.unwrap());
    assert_eq!(until.duration_since(from).as_secs(), 90);

    // A verifier may go on with a list of before until that is over: the class is as slow as that for so long.
    scene.set_class(with_list("crl-bound", "60s")).await;
    let shorter = || async {
        let der = published(&scene, "crl-bound").await?;
        let (_, from, until) = dated(&der);
        (until.duration_since(from).as_secs() == 60).then_some(())
    };
    wait::until("the shorter list", SOON, shorter).await.unwrap();
    scene.ready().await;
    assert_eq!(status("crl-bound").await.bound_seconds, 90);
    assert_eq!(scene.granted("1m").await.lease.spec.crl().unwrap().bound_seconds, 90);

    // Without a list nothing takes it back.
    scene.set_class(json!({"ttl": {"default": "5m", "max": "15m"}, "x509": {"ca": {"managed": {"name": "crl-bound"}}, "crl": null}})).await;
    let expiry = || async { (status("crl-bound").await.kind == RevocationKind::ExpiryOnly).then_some(()) };
    wait::until("the class to say that nothing takes it back", SOON, expiry).await.unwrap();
}

#[tokio::test]
async fn what_ended_while_no_operator_ran_is_taken_back_by_the_next() {
    let private = private(Options::default()).await;
    let stage = &private.stage;
    let operator = stage.operator(&daypass(), OperatorOptions::default()).await.unwrap();
    operator.ready().await.unwrap();
    let scene = Scene::with(stage, "crl-restart", "crl-restart", with_list("crl-restart", "5m"), json!({})).await;
    let (first, second, kept) = (scene.granted("30m").await, scene.granted("30m").await, scene.granted("30m").await);
    revoke(&scene, &first).await;
    scene.taken_back(&first).await;
    let (number, ..) = dated(&published(&scene, "crl-restart").await.unwrap());

    operator.process.kill().await;
    revoke(&scene, &second).await;
    operator.process.start_again().unwrap();
    scene.taken_back(&second).await;
    let der = published(&scene, "crl-restart").await.unwrap();
    assert!(dated(&der).0 > number);
    let lists = pem(&der);
    let all = [&first, &second, &kept].map(|granted| judged(granted, &lists));
    assert_eq!(all, [Err("revoked".into()), Err("revoked".into()), Ok(())], "what stood on the list stays on it");
    operator.stop().await;
}

/// A list in PEM.
pub fn pem(der: &[u8]) -> String {
    daypass::issue::x509::list_pem(der)
}
