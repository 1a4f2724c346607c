//! The roots that verifiers read: put back when somebody deletes or edits them; and somebody else's object of that name is left alone.

use std::collections::BTreeMap;

use daypass::api::LABEL_ROOTS;
use devcluster::{Options, wait};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;
use stage::OperatorOptions;

use super::roots::{bring, root};
use crate::{
    scene::{SOON, Scene, merge, until_condition, until_ready},
    support::{class, daypass, private},
};

const NAME: &str = "daypass-roots";

#[tokio::test]
async fn roots_that_somebody_deletes_or_edits_are_put_back_as_they_were() {
    let private = private(Options::default()).await;
    let stage = &private.stage;
    let operator = stage.operator(&daypass(), OperatorOptions::default()).await.unwrap();
    operator.ready().await.unwrap();
    let corp = root("Corp", 30 * 24 * 3600);
    bring(stage, "corp", &corp.pem(), &corp.key().serialize_pem(), None).await;
    let mut brought = class("roots-brought");
    merge(&mut brought["spec"], json!({"x509": {"ca": {"managed": null, "secretName": "corp"}}}));
    stage.platform(brought).await.unwrap();
    let scene = Scene::set(stage, "roots-kept").await;
    until_ready(stage, "dpclass/roots-brought").await;
    let maps = Api::<ConfigMap>::namespaced(scene.admin.clone(), &stage.operator_name().namespace);
    let right = maps.get(NAME).await.unwrap();
    assert_eq!(right.labels()[LABEL_ROOTS], "published");
    let data = right.data.clone().unwrap();
    assert!(data.contains_key("default.pem") && data.contains_key("secret.corp.pem"), "{:?}", data.keys());

    let evil = root("Evil", 3600).pem();
    let merged = |key: &str, text: &str| Some(json!({"data": {key: text}}));
    let edits = [
        None,
        merged("default.pem", &evil),
        // What was there of an authority that somebody brings is not taken for what it had before.
        merged("secret.corp.pem", &evil),
        merged("evil.pem", &evil),
        Some(json!({"data": {"default.pem": null}})),
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        match edit {
            None => drop(maps.delete(NAME, &Default::default()).await.unwrap()),
            Some(edit) => drop(maps.patch(NAME, &PatchParams::default(), &Patch::Merge(edit)).await.unwrap()),
        }
        let put_back = || async { maps.get_opt(NAME).await.ok()?.filter(|map| map.data.as_ref() == Some(&data)) };
        let map = wait::until(&format!("edit {number} to be undone"), SOON, put_back).await.unwrap();
        assert_eq!(map.labels()[LABEL_ROOTS], "published");
    }
    scene.granted("1m").await;
    operator.stop().await;
}

#[tokio::test]
async fn a_foreign_object_named_like_the_roots_is_reported_and_left_alone() {
    let private = private(Options::default()).await;
    let stage = &private.stage;
    let maps = Api::<ConfigMap>::namespaced(stage.cluster.admin().unwrap(), &stage.operator_name().namespace);
    let foreign = ConfigMap {
        metadata: ObjectMeta { name: Some(NAME.into()), ..Default::default() },
        data: Some(BTreeMap::from([("mine".to_owned(), "hands off".to_owned())])),
        ..Default::default()
    };
    let made = maps.create(&PostParams::default(), &foreign).await.unwrap();
    let operator = stage.operator(&daypass(), OperatorOptions::default()).await.unwrap();
    operator.ready().await.unwrap();
    stage.platform(class("roots-foreign")).await.unwrap();
    let message = told(stage, "Ready", "RootsNotOurs").await;
    assert!(message.contains(NAME) && message.contains("delete it"), "{message}");
    left_alone(&maps, &made).await;

    maps.delete(NAME, &Default::default()).await.unwrap();
    until_condition(stage, "dpclass/roots-foreign", "Ready=True").await;
    assert!(maps.get(NAME).await.unwrap().data.unwrap().contains_key("default.pem"));

    // Under an operator that has published before, what it signs is trusted already: it goes on, and says so.
    operator.process.pause().await;
    maps.delete(NAME, &Default::default()).await.unwrap();
    let made = maps.create(&PostParams::default(), &foreign).await.unwrap();
    operator.process.resume().await;
    let warned = || async {
        let warnings = stage.cluster.kubectl(["get", "dpclass", "roots-foreign", "-o", "jsonpath={.status.warnings}"]).await.unwrap();
        String::from_utf8_lossy(&warnings.stdout).contains("RootsNotPublished").then_some(())
    };
    wait::until("the class to warn", SOON, warned).await.unwrap();
    left_alone(&maps, &made).await;
    operator.stop().await;
}

/// What the class says of this condition, once it says so for this reason.
async fn told(stage: &stage::Stage, type_: &str, reason: &str) -> String {
    let classes = Api::<daypass::api::CredentialClass>::all(stage.cluster.admin().unwrap());
    let look = || async {
        let conditions = classes.get("roots-foreign").await.ok()?.status?.conditions;
        conditions.into_iter().find(|condition| condition.type_ == type_ && condition.reason == reason).map(|condition| condition.message)
    };
    wait::until(&format!("the class to say {reason}"), SOON, look).await.unwrap()
}

async fn left_alone(maps: &Api<ConfigMap>, made: &ConfigMap) {
    let now = maps.get(NAME).await.unwrap();
    assert_eq!((now.resource_version(), &now.data), (made.resource_version(), &made.data), "not overwritten");
}
