//! AccessRequest: what a pod may ask, and which way its states go.

use serde_json::{Value, json};

use super::{
    quiet::{Author, quiet},
    samples,
    trial::{Case, every_rule_is_tried, refused, taken, verdict},
};

const TTL: &str = "must be 1s to 24h, written like 30s, 15m or 1h30m";
const ENDS: &str = "Denied, Ended and Failed are final";
const ORDER: &str = "a request goes Pending, Active, Revoking, Ended and never back";
const SHRINKS: &str = "a credential stays and its expiresAt can only shrink";

fn name(length: usize) -> Value {
    json!({"metadata": {"name": "n".repeat(length)}})
}

fn ttl(ttl: &str) -> Value {
    json!({"spec": {"ttl": ttl}})
}

fn specs() -> Vec<Case> {
    vec![
        taken("all fields", json!({})),
        taken("no more than a class and a CSR", json!({"spec": {"ttl": null, "purpose": null}})),
        taken("a Secret of the default name", json!({"spec": {"csr": null}})),
        taken("a Secret of its own name", json!({"spec": {"csr": null, "secretName": "daypass-orders.db"}})),
        refused("csr and secretName", json!({"spec": {"secretName": "daypass-x"}}), "spec", "csr and secretName exclude each other"),
        taken("a key to seal to", json!({"spec": {"csr": null, "sealTo": "a public key"}})),
        refused("csr and sealTo", json!({"spec": {"sealTo": "a public key"}}), "spec", "csr and sealTo exclude each other"),
        refused(
            "sealTo and secretName",
            json!({"spec": {"csr": null, "sealTo": "a public key", "secretName": "daypass-x"}}),
            "spec",
            "sealTo and secretName exclude each other",
        ),
        refused(
            "a Secret of a foreign name",
            json!({"spec": {"csr": null, "secretName": "tls-orders"}}),
            "spec.secretName",
            "should match",
        ),
        refused("no class", json!({"spec": {"className": null}}), "spec.className", "Required value"),
        taken("1s", ttl("1s")),
        taken("24h", ttl("24h")),
        taken("1h30m10s", ttl("1h30m10s")),
        taken("86400s", ttl("86400s")),
        refused("0s", ttl("0s"), "spec.ttl", TTL),
        refused("24h1s", ttl("24h1s"), "spec.ttl", TTL),
        refused("999999h", ttl("999999h"), "spec.ttl", TTL),
        refused("a negative TTL", ttl("-5m"), "spec.ttl", "should match"),
        refused("a fraction", ttl("1.5h"), "spec.ttl", "should match"),
        refused("a number without unit", ttl("900"), "spec.ttl", "should match"),
        refused("days", ttl("1d"), "spec.ttl", "should match"),
        refused("words", ttl("soon"), "spec.ttl", "should match"),
        refused("a number", json!({"spec": {"ttl": 900}}), "spec.ttl", "must be of type string"),
        taken("a name of 200 characters", name(200)),
        refused("a name of 201 characters", name(201), "<nil>", "metadata.name must be at most 200 characters"),
        taken("a CSR of 16 KiB", json!({"spec": {"csr": "c".repeat(16384)}})),
        refused("a CSR beyond 16 KiB", json!({"spec": {"csr": "c".repeat(16385)}}), "spec.csr", "may not be more than 16384 bytes"),
    ]
}

fn edits() -> Vec<Case> {
    const NEVER: &str = "spec is immutable: make a new AccessRequest";
    vec![
        taken("a label", json!({"metadata": {"labels": {"a": "b"}}})),
        refused("another class", json!({"spec": {"className": "another"}}), "spec", NEVER),
        refused("another TTL", ttl("24h"), "spec", NEVER),
        refused("no TTL", json!({"spec": {"ttl": null}}), "spec", NEVER),
        refused("another CSR", json!({"spec": {"csr": "another"}}), "spec", NEVER),
        refused("another requester", json!({"spec": {"requester": {"podUID": "another"}}}), "spec", NEVER),
        refused("a purpose more", json!({"spec": {"purpose": "another"}}), "spec", NEVER),
    ]
}

/// From a state, to another.
fn states() -> Vec<(&'static str, Vec<Case>)> {
    let to = |what: &'static str, state: &str, rule: Option<&'static str>| {
        let change = json!({"status": {"state": state}});
        rule.map_or_else(|| taken(what, change.clone()), |rule| refused(what, change.clone(), "<nil>", rule))
    };
    let final_state = |own: &str| {
        ["Pending", "Active", "Revoking", "Denied", "Ended", "Failed"]
            .map(|state| to("another", state, (state != own).then_some(ENDS)))
            .into_iter()
            .collect()
    };
    vec![
        ("Pending", vec![to("granted", "Active", None), to("refused", "Denied", None), to("given up", "Failed", None)]),
        (
            "Active",
            vec![
                to("the same", "Active", None),
                to("ended early", "Revoking", None),
                to("ended", "Ended", None),
                to("unanswered again", "Pending", Some(ORDER)),
                to("refused after all", "Denied", Some(ORDER)),
                to("failed after all", "Failed", Some(ORDER)),
                refused("no status", json!({"status": null}), "<nil>", ORDER),
            ],
        ),
        (
            "Revoking",
            vec![
                to("the same", "Revoking", None),
                to("ended", "Ended", None),
                to("granted again", "Active", Some(ORDER)),
                to("unanswered again", "Pending", Some(ORDER)),
                refused("no status", json!({"status": null}), "<nil>", ORDER),
            ],
        ),
        ("Denied", final_state("Denied")),
        ("Failed", final_state("Failed")),
        ("Ended", final_state("Ended")),
        // What a PUT without status becomes: the default.
        (
            "Denied",
            vec![
                refused("no status", json!({"status": null}), "<nil>", ENDS),
                refused("no state", json!({"status": {"state": null}}), "<nil>", ENDS),
            ],
        ),
    ]
}

/// Changes of a credential that was handed over.
fn credentials() -> Vec<Case> {
    let ends = |at: &str| json!({"status": {"credential": {"expiresAt": at}}});
    vec![
        taken("the same end", ends("2026-11-24T10:15:00Z")),
        taken("an earlier end", ends("2026-11-24T10:14:59Z")),
        taken("an earlier end in another zone", ends("2026-11-24T11:14:59+01:00")),
        refused("a later end", ends("2026-11-24T10:15:01Z"), "<nil>", SHRINKS),
        refused("a later end in another zone", ends("2026-11-24T10:00:00-01:00"), "<nil>", SHRINKS),
        refused("no credential", json!({"status": {"credential": null}}), "<nil>", SHRINKS),
    ]
}

#[test]
fn every_rule_of_the_schema_is_tried() {
    let states: Vec<Case> = states().into_iter().flat_map(|(_, cases)| cases).collect();
    every_rule_is_tried("AccessRequest", &[&specs(), &edits(), &states, &credentials()]);
}

#[tokio::test]
async fn a_pod_is_told_at_once_what_no_policy_could_cure() {
    let stage = quiet();
    let pod = stage.pod("kinds-asking", "asker-1", "asker").await.unwrap();
    let (pod, sample) = (Author::new(pod.client), samples::request("kinds-asking"));
    let mut differences = vec![];
    for case in specs() {
        differences.push(case.differs(&pod.try_create(&case.of(&sample)).await));
    }
    verdict(differences);
}

#[tokio::test]
async fn a_request_stands_as_it_was_made_and_is_pending_without_a_write() {
    let stage = quiet();
    let pod = stage.pod("kinds-edits", "asker-1", "asker").await.unwrap();
    let mut sample = samples::request("kinds-edits");
    sample["status"] = json!({"state": "Active"});
    let held = Author::new(pod.client).create(&sample).await.unwrap();
    assert_eq!(held["status"], json!({"state": "Pending"}), "whatever its author writes there");
    assert_eq!(held["metadata"]["generation"], 1);

    let (admin, mut differences) = (Author::admin(&stage), vec![]);
    for case in edits() {
        differences.push(case.differs(&admin.try_put(&case.of(&held)).await));
    }
    verdict(differences);
}

#[tokio::test]
async fn states_go_one_way_even_for_the_operator() {
    let stage = quiet();
    let pod = stage.pod("kinds-states", "asker-1", "asker").await.unwrap();
    let (pod, operator, mut differences) = (Author::new(pod.client), Author::operator(&stage), vec![]);
    for (number, (state, cases)) in states().into_iter().enumerate() {
        let mut sample = samples::request("kinds-states");
        sample["metadata"]["name"] = json!(format!("{}-{number}", state.to_lowercase()));
        let mut held = pod.create(&sample).await.unwrap();
        held["status"] = json!({"state": state});
        let held = operator.put_status(&held).await.unwrap();
        for case in cases {
            let answer = operator.try_put_status(&case.of(&held)).await;
            differences.push(case.differs(&answer).map(|problem| format!("from {state}: {} {problem}", case.change)));
        }
    }
    verdict(differences);
}

#[tokio::test]
async fn a_credential_that_was_handed_over_stays_and_never_lives_longer() {
    let stage = quiet();
    let pod = stage.pod("kinds-credentials", "asker-1", "asker").await.unwrap();
    let mut held = Author::new(pod.client).create(&samples::request("kinds-credentials")).await.unwrap();
    held["status"] = samples::request_status();
    let (operator, mut differences) = (Author::operator(&stage), vec![]);
    let held = operator.put_status(&held).await.unwrap();
    for case in credentials() {
        differences.push(case.differs(&operator.try_put_status(&case.of(&held)).await));
    }
    verdict(differences);
}
