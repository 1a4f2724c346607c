//! The authority that the operator makes, keeps and replaces by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering},
};

use daypass::api::RequestState;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client, ResourceExt,
    api::{ObjectMeta, PostParams},
};
use serde_json::json;
use stage::{Csr, Stage};

use super::roots::{bundled, published, root, secrets};
use crate::{
    judges::{self, Handed, certificates},
    scene::{SOON, Scene},
    support::shared,
};

#[tokio::test]
async fn it_is_kept_in_one_secret_and_its_root_is_where_every_account_reads_it() {
    let here = shared();
    let scene = Scene::set(&here.stage, "ca-managed").await;
    let granted = scene.granted("1m").await;
    let held = secrets(&here.stage).get("daypass-ca-default").await.unwrap();
    assert_eq!((held.type_.as_deref(), held.labels().get("daypass.dev/ca").map(String::as_str)), (Some("Opaque"), Some("default")));
    let data = held.data.unwrap();
    assert_eq!(data.keys().map(String::as_str).collect::<BTreeSet<_>>(), BTreeSet::from(["tls.crt", "tls.key"]));
    let root = String::from_utf8(data["tls.crt"].0.clone()).unwrap();

    let bundle = granted.request.status.unwrap().credential.unwrap().ca_bundle;
    assert_eq!(certificates(&bundle), certificates(&root));
    // The pod's account is bound to daypass-requester in its own namespace, and to nothing in the operator's.
    assert_eq!(published(&here.stage, &scene.pod.client, "default").await.as_deref(), Some(bundle.as_str()));
    assert_eq!(bundled(&here.stage, "default").await, bundle);
    let key = Api::<Secret>::namespaced(scene.pod.client.clone(), &here.stage.operator_name().namespace).get("daypass-ca-default").await;
    assert!(key.unwrap_err().to_string().contains("forbidden"), "the key is nobody else's");
}

#[tokio::test]
async fn a_root_is_followed_by_the_next_under_load_and_both_are_trusted_until_the_last_leaf_is_dead() {
    let here = shared();
    let operator = as_operator(&here.stage);
    // An authority with less than ten days left, as the operator would have made it three weeks ago.
    let old = root("Daypass rotating", 9 * 24 * 3600);
    let text = |text: &str| ByteString(text.as_bytes().to_vec());
    let data = BTreeMap::from([("tls.crt".to_owned(), text(&old.pem())), ("tls.key".to_owned(), text(&old.key().serialize_pem()))]);
    let metadata = ObjectMeta {
        name: Some("daypass-ca-rotating".into()),
        labels: Some(BTreeMap::from([("daypass.dev/ca".to_owned(), "rotating".to_owned())])),
        ..Default::default()
    };
    let made = Secret { metadata, type_: Some("Opaque".into()), data: Some(data), ..Default::default() };
    operator.create(&PostParams::default(), &made).await.unwrap();
    let class = json!({"x509": {"ca": {"managed": {"name": "rotating"}}}});
    let scene = Scene::with(&here.stage, "ca-rotating", "ca-rotating", class, json!({})).await;
    let first = scene.granted("5m").await.request.status.unwrap().credential.unwrap();

    // The next root is made and published, and signs nothing yet.
    let next = edited(&operator, &here.stage, "daypass-ca-rotating", "the next root to be published", |data| {
        let since = data.get_mut("next-since")?;
        // Published long enough ago for every verifier to have read it.
        *since = text(&(Timestamp::now() - SignedDuration::from_mins(6)).to_string());
        data.get("next.crt").cloned()
    });
    let done = AtomicBool::new(false);
    let load = async {
        let mut issued = Vec::new();
        while !done.load(Ordering::Relaxed) {
            let csr = Csr::new().unwrap();
            let request = scene.pod.ask_with_csr(&scene.name, Some("5m"), &csr).await.unwrap();
            let answered = scene.pod.answer(&request).await.unwrap();
            assert_eq!(answered.state(), RequestState::Active, "nobody is refused during it: {:?}", answered.status);
            let certificate = answered.status.unwrap().credential.unwrap().certificate.unwrap();
            let trusted = published(&here.stage, &scene.admin, "rotating").await.unwrap();
            let handed = Handed { chain: &certificate, roots: &trusted };
            assert_eq!(judges::accepted(handed, Timestamp::now()), Ok(()), "published before anything is signed with it");
            issued.push(certificate);
        }
        issued
    };
    let follow = async {
        let next = next.await;
        // What was stored signs from the next look on.
        let root = String::from_utf8(next.0.clone()).unwrap();
        let by_next = || async {
            let certificate = scene.granted("5m").await.request.status.unwrap().credential.unwrap().certificate.unwrap();
            judges::accepted(Handed { chain: &certificate, roots: &root }, Timestamp::now()).is_ok().then_some(certificate)
        };
        let last = devcluster::wait::until("the next root to sign", SOON, by_next).await.unwrap();
        done.store(true, Ordering::Relaxed);
        (next, last)
    };
    let (mut issued, (next, last)) = tokio::join!(load, follow);
    println!("{} certificates were issued while the root was followed by the next", issued.len());
    let new = String::from_utf8(next.0).unwrap();
    issued.extend([first.certificate.unwrap(), last]);

    let trusted = published(&here.stage, &scene.admin, "rotating").await.unwrap();
    assert_eq!(bundled(&here.stage, "rotating").await, trusted);
    for certificate in &issued {
        assert_eq!(judges::accepted(Handed { chain: certificate, roots: &trusted }, Timestamp::now()), Ok(()), "both are trusted");
    }

    // Sixteen minutes later the last leaf of the old one is dead.
    edited(&operator, &here.stage, "daypass-ca-rotating", "the old root to be retired", |data| {
        let retired = String::from_utf8(data.get("retired.pem")?.0.clone()).unwrap();
        let (date, certificate) = retired.split_once('\n')?;
        let until: Timestamp = date.strip_prefix("retired-until: ")?.parse().unwrap();
        assert!(until.duration_since(Timestamp::now()) > SignedDuration::from_mins(15), "the longest leaf, and some skew");
        let over = format!("retired-until: {}\n{certificate}", Timestamp::now() - SignedDuration::from_secs(1));
        data.insert("retired.pem".into(), text(&over));
        Some(())
    })
    .await;
    let alone = || async {
        let trusted = published(&here.stage, &scene.admin, "rotating").await?;
        (certificates(&trusted) == certificates(&new)).then_some(())
    };
    devcluster::wait::until("the old root to go", SOON, alone).await.unwrap();
}

/// The Secrets of the operator's namespace with its name, groups and rights: nobody else may write what it keeps there.
pub fn as_operator(stage: &Stage) -> Api<Secret> {
    let home = &stage.operator_name().namespace;
    let groups = ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{home}"), "system:authenticated".to_owned()];
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let client: Client = stage.cluster.client_impersonating(&stage.operator_name().username(), None, &groups, &BTreeMap::new()).unwrap();
    Api::namespaced(client, home)
}

/// Waits until the authority's Secret lets itself be edited like this, as if time had passed.
pub async fn edited<T>(
    operator: &Api<Secret>,
    stage: &Stage,
    secret: &str,
    what: &str,
    edit: impl Fn(&mut BTreeMap<String, ByteString>) -> Option<T>,
) -> T {
    let (operator, edit) = (operator.clone(), &edit);
    devcluster::wait::until(what, SOON, || {
        let operator = operator.clone();
        async move {
            let mut held = secrets(stage).get(secret).await.unwrap();
            held.metadata.managed_fields = None;
            let found = edit(held.data.as_mut()?)?;
            operator.replace(secret, &PostParams::default(), &held).await.ok().map(|_| found)
        }
    })
    .await
    .unwrap()
}
