//! The published list: written no more often than a second, signed again before it is over, put back when somebody touches it.

use std::collections::BTreeMap;

use devcluster::wait;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{ByteString, api::core::v1::ConfigMap};
use kube::{
    ResourceExt,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::crl::{config_maps, dated, judged, pem, published, revoke, served, with_list};
use crate::{
    scene::{SOON, Scene, until_condition},
    support::shared,
};

#[tokio::test]
async fn what_is_taken_back_at_once_goes_onto_one_list_and_no_two_lists_come_within_a_second() {
    let here = shared();
    let scene = Scene::with(&here.stage, "crl-batch", "crl-batch", with_list("crl-batch", "1h"), json!({})).await;
    let mut granted = Vec::new();
    for _ in 0..6 {
        granted.push(scene.granted("30m").await);
    }
    let begun = Timestamp::now();
    futures::future::join_all(granted.iter().map(|one| revoke(&scene, one))).await;
    for one in &granted {
        scene.taken_back(one).await;
    }
    let lists = served(&here, "crl-batch").await;
    for one in &granted {
        assert_eq!(judged(one, &lists), Err("revoked".into()));
    }
    let writes: Vec<Timestamp> = here
        .stage
        .cluster
        .audit()
        .unwrap()
        .iter()
        .filter(|event| event.is("update", "configmaps") && event.code() == 200)
        .filter(|event| event.object_ref.as_ref().is_some_and(|object| object.name == "daypass-crl-crl-batch"))
        .map(|event| event.received)
        .collect();
    let after = writes.iter().filter(|at| **at > begun).count();
    println!("{} taken back at once: {after} writes of the list", granted.len());
    assert!((1..=2).contains(&after), "{writes:?}");
    for pair in writes.windows(2) {
        let gap = pair[1].duration_since(pair[0]);
        assert!(gap >= SignedDuration::from_millis(900), "{gap:#} between two writes");
    }
}

#[tokio::test]
async fn a_list_is_signed_again_while_the_last_one_is_good() {
    let here = shared();
    let scene = Scene::with(&here.stage, "crl-renewed", "crl-renewed", with_list("crl-renewed", "60s"), json!({})).await;
    let (number, _, until) = dated(&published(&scene, "crl-renewed").await.unwrap());
    let next = || async {
        let found = dated(&published(&scene, "crl-renewed").await.unwrap());
        (found.0 > number).then_some(found)
    };
    let (_, from, _) = wait::until("the next list", 2 * SOON, next).await.unwrap();
    assert!(from < until && Timestamp::now() < until, "before the last was over");
}

#[tokio::test]
async fn a_list_that_somebody_deletes_or_edits_is_put_back_with_everything_on_it() {
    let here = shared();
    let scene = Scene::with(&here.stage, "crl-edited", "crl-edited", with_list("crl-edited", "1h"), json!({})).await;
    let (taken, kept) = (scene.granted("30m").await, scene.granted("30m").await);
    let empty = published(&scene, "crl-edited").await.unwrap();
    revoke(&scene, &taken).await;
    scene.taken_back(&taken).await;
    let (maps, name) = (config_maps(&scene), "daypass-crl-crl-edited");
    let issuer = taken.lease.spec.crl().unwrap().issuer.clone();
    let binary = |key: &str, bytes: &[u8]| {
        let patch = ConfigMap {
            binary_data: Some(BTreeMap::from([(format!("{issuer}.{key}"), ByteString(bytes.to_vec()))])),
            ..Default::default()
        };
        Patch::Merge(serde_json::to_value(patch).unwrap())
    };
    let mut last = dated(&published(&scene, "crl-edited").await.unwrap()).0;
    // Gone; nonsense; a list of before, which we signed ourselves; ends that would let its entries go; something that is not ours in it.
    let edits = [
        None,
        Some(binary("crl", b"nonsense")),
        Some(binary("crl", &empty)),
        Some(binary("ends", &1u32.to_be_bytes())),
        Some(Patch::Merge(json!({"data": {"signing": "another"}}))),
        Some(Patch::Merge(json!({"data": {"note": "hello"}}))),
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let before = maps.get(name).await.unwrap().metadata;
        match edit {
            None => drop(maps.delete(name, &DeleteParams::default()).await.unwrap()),
            Some(patch) => drop(maps.patch(name, &PatchParams::default(), &patch).await.unwrap()),
        }
        let put_back = || async {
            let map = maps.get_opt(name).await.unwrap()?;
            let written = map.metadata.resource_version != before.resource_version;
            let by_us = map.metadata.managed_fields.iter().flatten().all(|fields| fields.manager.as_deref() == Some("daypass"));
            (written && by_us).then_some(map)
        };
        let map = wait::until(&format!("edit {number} to be undone"), SOON, put_back).await.unwrap();
        let der = map.binary_data.unwrap().remove(&format!("{issuer}.crl")).unwrap().0;
        assert!(dated(&der).0 >= last, "numbers never fall");
        last = dated(&der).0;
        let lists = pem(&der);
        assert_eq!((judged(&taken, &lists), judged(&kept, &lists)), (Err("revoked".into()), Ok(())), "edit {number}");
        assert_eq!(map.data.unwrap().keys().collect::<Vec<_>>(), ["signing"]);
    }
}

#[tokio::test]
async fn a_foreign_object_of_that_name_is_reported_and_left_alone() {
    let here = shared();
    let admin = here.stage.cluster.admin().unwrap();
    let home = &here.stage.operator_name().namespace;
    let maps = kube::Api::<ConfigMap>::namespaced(admin.clone(), home);
    let name = "daypass-crl-crl-foreign";
    let foreign = ConfigMap {
        metadata: ObjectMeta { name: Some(name.into()), ..Default::default() },
        data: Some(BTreeMap::from([("mine".to_owned(), "hands off".to_owned())])),
        ..Default::default()
    };
    let made = maps.create(&PostParams::default(), &foreign).await.unwrap();
    let mut class = crate::support::class("crl-foreign");
    crate::scene::merge(&mut class["spec"], with_list("crl-foreign", "60s"));
    here.stage.platform(class).await.unwrap();
    until_condition(&here.stage, "dpclass/crl-foreign", "Ready=False").await;
    let classes = kube::Api::<daypass::api::CredentialClass>::all(admin);
    let told = || async {
        let ready = classes.get("crl-foreign").await.unwrap().status?.conditions.into_iter().find(|c| c.type_ == "Ready")?;
        (ready.reason == "CrlNotOurs").then_some(ready.message)
    };
    let message = wait::until("the class to say what is in the way", SOON, told).await.unwrap();
    assert!(message.contains(name) && message.contains("delete it"), "{message}");
    let left = maps.get(name).await.unwrap();
    assert_eq!((left.resource_version(), left.data), (made.resource_version(), made.data), "not overwritten");

    maps.delete(name, &DeleteParams::default()).await.unwrap();
    until_condition(&here.stage, "dpclass/crl-foreign", "Ready=True").await;
}
