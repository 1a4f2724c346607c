//! AccessLock: what is locked is said, everything aloud, and a lock is written once.

use serde_json::{Value, json};

use super::{
    quiet::{Author, quiet},
    samples,
    trial::{Case, every_rule_is_tried, refused, taken, verdict},
};

const SAY: &str =
    "say what is locked: at least one of namespaces, serviceAccountNames, podUIDs, nodes, images and classes; or, aloud, everything: true";
const ALONE: &str = "everything stands alone: leave it out, or leave out all other parts";
const ONCE: &str = "a lock is written once; only expiresAt may change";
const ENGINE: &str = "what the engine locked keeps its end";

/// What a lock may be about.
fn matches() -> Vec<Case> {
    let only = |mut part: Value| {
        for field in ["namespaces", "serviceAccountNames", "podUIDs", "nodes", "images", "classes"] {
            if part.get(field).is_none() {
                part[field] = Value::Null;
            }
        }
        json!({"spec": {"match": part}})
    };
    let name = |field: &str, name: &str| only(json!({field: [name]}));
    vec![
        taken("namespaces alone", only(json!({"namespaces": ["shop"]}))),
        taken("accounts alone", only(json!({"serviceAccountNames": ["orders.v2"]}))),
        taken("pods alone", only(json!({"podUIDs": ["0A-1b"]}))),
        taken("nodes alone", only(json!({"nodes": ["node-1.example"]}))),
        taken("images alone", only(json!({"images": ["registry.example:5000/a/b:1@sha256:00", "sha256:00"]}))),
        taken("classes alone", only(json!({"classes": ["orders-db"]}))),
        taken("everything, aloud", only(json!({"everything": true}))),
        taken("everything denied beside a part", json!({"spec": {"match": {"everything": false}}})),
        refused("nothing", only(json!({})), "spec.match", SAY),
        refused("everything denied and nothing said", only(json!({"everything": false})), "spec.match", SAY),
        refused("everything and a part", json!({"spec": {"match": {"everything": true}}}), "spec.match", ALONE),
        refused("a star, which would be the name of nothing", name("namespaces", "*"), "spec.match.namespaces[0]", "should match"),
        refused(
            "an account with its namespace",
            name("serviceAccountNames", "shop/orders"),
            "spec.match.serviceAccountNames[0]",
            "should match",
        ),
        refused("a pod by its path", name("podUIDs", "shop/orders-1"), "spec.match.podUIDs[0]", "should match"),
        refused("a star of nodes", name("nodes", "*"), "spec.match.nodes[0]", "should match"),
        refused("a pattern of images", name("images", "registry.example/*"), "spec.match.images[0]", "should match"),
        refused("a star of classes", name("classes", "*"), "spec.match.classes[0]", "should match"),
        refused("one thing twice", only(json!({"nodes": ["a", "a"]})), "spec.match.nodes[1]", "Duplicate value"),
        refused("no end", json!({"spec": {"expiresAt": null}}), "spec.expiresAt", "Required value"),
        refused("no reason", json!({"spec": {"reason": null}}), "spec.reason", "Required value"),
    ]
}

/// What may follow in a lock that a person has placed.
fn edits() -> Vec<Case> {
    let once = |what, change| refused(what, json!({"spec": change}), "spec", ONCE);
    vec![
        taken("a later end", json!({"spec": {"expiresAt": "2099-02-01T00:00:00Z"}})),
        taken("an earlier end", json!({"spec": {"expiresAt": "2026-01-01T00:00:00Z"}})),
        taken("a label", json!({"metadata": {"labels": {"incident": "7"}}})),
        once("another node", json!({"match": {"nodes": ["node-2"]}})),
        once("a part less", json!({"match": {"nodes": null}})),
        once("another reason", json!({"reason": "another"})),
        once("another source", json!({"source": "Engine"})),
    ]
}

#[test]
fn every_rule_of_the_schema_is_tried() {
    every_rule_is_tried("AccessLock", &[&matches(), &edits(), &[refused("", json!({}), "spec", ENGINE)]]);
}

#[tokio::test]
async fn what_a_lock_is_about_is_said_and_everything_is_said_aloud() {
    let stage = quiet();
    let (admin, sample, mut differences) = (Author::admin(&stage), samples::lock(), vec![]);
    for case in matches() {
        differences.push(case.differs(&admin.try_create(&case.of(&sample)).await));
    }
    verdict(differences);
}

#[tokio::test]
async fn of_a_lock_only_the_end_moves_and_its_author_stays_whoever_moves_it() {
    let stage = quiet();
    let (admin, mut sample, mut differences) = (Author::admin(&stage), samples::lock(), vec![]);
    sample["metadata"]["name"] = json!("written-once");
    let held = admin.create(&sample).await.unwrap();
    assert_eq!((&held["spec"]["by"], &held["spec"]["source"]), (&json!("admin"), &json!("Person")));
    for case in edits() {
        differences.push(case.differs(&admin.try_put(&case.of(&held)).await));
    }
    verdict(differences);
    let joe = Author::new(stage.cluster.client_for_user("joe", &["system:masters"]).unwrap());
    let mut moved = held;
    (moved["spec"]["expiresAt"], moved["spec"]["by"]) = (json!("2099-03-01T00:00:00Z"), Value::Null);
    let moved = joe.put(&moved).await.unwrap();
    assert_eq!((&moved["spec"]["by"], &moved["spec"]["expiresAt"]), (&json!("admin"), &json!("2099-03-01T00:00:00Z")));
}

#[tokio::test]
async fn what_the_engine_locked_keeps_its_end() {
    let stage = quiet();
    let (admin, operator, mut sample) = (Author::admin(&stage), Author::operator(&stage), samples::lock());
    json_patch::merge(
        &mut sample,
        &json!({"metadata": {"name": "engine"}, "spec": {"source": "Engine", "by": stage.operator_name().username()}}),
    );
    let mut held = operator.create(&sample).await.unwrap();
    held["spec"]["expiresAt"] = json!("2098-01-01T00:00:00Z");
    let answer = admin.try_put(&held).await;
    assert!(answer.as_ref().is_err_and(|refusal| refusal.is_about("spec", ENGINE)), "{answer:?}");
}
