//! ClusterAccessPolicy and AccessPolicy: who is spoken of is said aloud, and a Forbid only forbids.

use serde_json::{Value, json};

use super::{
    quiet::{Author, quiet},
    samples,
    trial::{Case, every_rule_is_tried, refused, taken, verdict},
};

const PERMIT_ONLY: &str = "require, ttl, limits and revocation belong to effect Permit";

fn spec(spec: Value) -> Value {
    json!({"spec": spec})
}

/// What both kinds have in common.
fn terms() -> Vec<Case> {
    const TTL: &str = "must be 1s to 24h, written like 30s, 15m or 1h30m";
    let forbid = |mut terms: Value| {
        for field in ["require", "ttl", "limits", "revocation"] {
            if terms.get(field).is_none() {
                terms[field] = Value::Null;
            }
        }
        terms["effect"] = json!("Forbid");
        spec(terms)
    };
    let gate = |gate: Value| spec(json!({"require": [gate]}));
    vec![
        taken("all fields", json!({})),
        taken("Permit is what it says by default", spec(json!({"effect": null}))),
        taken("a Forbid", forbid(json!({}))),
        refused(
            "a Forbid with gates",
            forbid(json!({"require": [{"name": "a", "expression": "true", "message": "b"}]})),
            "spec",
            PERMIT_ONLY,
        ),
        refused("a Forbid with lifetimes", forbid(json!({"ttl": {"max": "5m"}})), "spec", PERMIT_ONLY),
        refused("a Forbid with limits", forbid(json!({"limits": {"live": 1}})), "spec", PERMIT_ONLY),
        refused("a Forbid with a demand", forbid(json!({"revocation": {"atMostSeconds": 60}})), "spec", PERMIT_ONLY),
        refused("another effect", spec(json!({"effect": "Allow"})), "spec.effect", "Unsupported value"),
        taken("every class, aloud", spec(json!({"classes": ["*"]}))),
        refused("no classes", spec(json!({"classes": []})), "spec.classes", "should have at least 1 items"),
        refused("classes left out", spec(json!({"classes": null})), "spec.classes", "Required value"),
        refused("a class twice", spec(json!({"classes": ["a", "a"]})), "spec.classes[1]", "Duplicate value"),
        refused("no subjects", spec(json!({"subjects": []})), "spec.subjects", "should have at least 1 items"),
        refused("subjects left out", spec(json!({"subjects": null})), "spec.subjects", "Required value"),
        taken("one lifetime of the two", spec(json!({"ttl": {"default": null}}))),
        refused(
            "a default beyond the max",
            spec(json!({"ttl": {"default": "20m1s"}})),
            "spec.ttl",
            "ttl.default must not be longer than ttl.max",
        ),
        refused("a lifetime of 0", spec(json!({"ttl": {"default": "0m"}})), "spec.ttl.default", TTL),
        refused("a lifetime beyond a day", spec(json!({"ttl": {"max": "24h1s"}})), "spec.ttl.max", TTL),
        refused("no limit at all", spec(json!({"limits": {"live": 0}})), "spec.limits.live", "should be greater than or equal to 1"),
        refused(
            "a negative limit",
            spec(json!({"limits": {"livePerPod": -1}})),
            "spec.limits.livePerPod",
            "should be greater than or equal to 1",
        ),
        refused("an empty condition", spec(json!({"when": ""})), "spec.when", "should be at least 1 chars long"),
        refused("an empty list of gates", spec(json!({"require": []})), "spec.require", "should have at least 1 items"),
        refused("a gate without message", gate(json!({"name": "a", "expression": "true"})), "spec.require[0].message", "Required value"),
        refused(
            "a gate of a strange name",
            gate(json!({"name": "a b", "expression": "true", "message": "c"})),
            "spec.require[0].name",
            "should match",
        ),
        refused(
            "two gates of one name",
            spec(
                json!({"require": [{"name": "a", "expression": "true", "message": "b"}, {"name": "a", "expression": "false", "message": "b"}]}),
            ),
            "spec.require[1]",
            "Duplicate value",
        ),
        refused("no date", spec(json!({"expiresAt": "next year"})), "spec.expiresAt", "must be of type date-time"),
    ]
}

/// Subjects of any namespace.
fn cluster_subjects() -> Vec<Case> {
    let subject = |change: Value| {
        let mut subject = samples::cluster_policy()["spec"]["subjects"][0].clone();
        json_patch::merge(&mut subject, &change);
        spec(json!({"subjects": [subject]}))
    };
    let labels = json!({"matchLabels": {"env": "prod"}});
    const ONE: &str = "give exactly one of namespaces and namespaceSelector";
    vec![
        taken("every namespace and account, aloud", subject(json!({"namespaces": ["*"], "serviceAccountNames": ["*"]}))),
        taken("namespaces by label", subject(json!({"namespaces": null, "namespaceSelector": labels}))),
        refused("namespaces by name and label", subject(json!({"namespaceSelector": labels})), "spec.subjects[0]", ONE),
        refused("no namespaces", subject(json!({"namespaces": null})), "spec.subjects[0]", ONE),
        refused(
            "an empty list of namespaces",
            subject(json!({"namespaces": []})),
            "spec.subjects[0].namespaces",
            "should have at least 1 items",
        ),
        refused(
            "no accounts",
            subject(json!({"serviceAccountNames": []})),
            "spec.subjects[0].serviceAccountNames",
            "should have at least 1 items",
        ),
        refused(
            "accounts left out",
            subject(json!({"serviceAccountNames": null})),
            "spec.subjects[0].serviceAccountNames",
            "Required value",
        ),
        refused(
            "labels of nothing",
            subject(json!({"podSelector": {"matchLabels": {"app": null}}})),
            "spec.subjects[0].podSelector.matchLabels",
            "should have at least 1 properties",
        ),
    ]
}

#[test]
fn every_rule_of_the_schemas_is_tried() {
    every_rule_is_tried("ClusterAccessPolicy", &[&terms(), &cluster_subjects()]);
    every_rule_is_tried("AccessPolicy", &[&terms()]);
}

#[tokio::test]
async fn a_policy_for_the_cluster_says_whom_and_what_it_speaks_of() {
    let stage = quiet();
    let (admin, sample, mut differences) = (Author::admin(&stage), samples::cluster_policy(), vec![]);
    for case in terms().into_iter().chain(cluster_subjects()) {
        differences.push(case.differs(&admin.try_create(&case.of(&sample)).await));
    }
    verdict(differences);
}

#[tokio::test]
async fn a_policy_of_a_namespace_speaks_of_no_other() {
    let stage = quiet();
    let (admin, sample, mut differences) = (Author::admin(&stage), samples::policy("default"), vec![]);
    for case in terms() {
        differences.push(case.differs(&admin.try_create(&case.of(&sample)).await));
    }
    verdict(differences);

    let mut reaching = sample;
    reaching["spec"]["subjects"][0]["namespaces"] = json!(["kube-system"]);
    let held = admin.try_create(&reaching).await.unwrap();
    assert_eq!(held["spec"]["subjects"][0].get("namespaces"), None, "dropped: the schema knows no such field here");
}
