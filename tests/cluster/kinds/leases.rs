//! CredentialLease: the ledger is written once, and goes one way.

use serde_json::json;

use super::{
    quiet::{Author, quiet},
    samples,
    trial::{Case, every_rule_is_tried, refused, taken, verdict},
};

const ONCE: &str = "a lease is written once; only revoke, policy and a shorter expiresAt may follow";
const ORDER: &str = "a lease goes open, Revoking, Closed and never back";
const REVOKED: &str = "revoke is set once";

/// What the operator may and may not write into an open lease.
fn edits() -> Vec<Case> {
    const SAYS: &str = "what the certificate of a lease says never changes";
    let once = |what, change| refused(what, json!({"spec": change}), "spec", ONCE);
    let token = json!({
        "namespace": "lent", "serviceAccount": "reader", "serviceAccountUID": "a", "boundTo": {"name": "daypass-token-a", "uid": "b"},
        "revocable": true, "notAfter": "2026-11-24T10:26:00Z",
    });
    vec![
        taken(
            "another policy",
            json!({"spec": {"policy": {"name": "ClusterAccessPolicy/renamed", "uid": "c-2", "generation": 2, "hash": "01"}}}),
        ),
        taken("an earlier end", json!({"spec": {"expiresAt": "2026-11-24T10:14:59Z"}})),
        refused("a later end", json!({"spec": {"expiresAt": "2026-11-24T10:15:01Z"}}), "spec", "expiresAt can only shrink"),
        once("another namespace", json!({"requestNamespace": "another"})),
        once("another request", json!({"requestName": "another"})),
        once("another request UID", json!({"requestUID": "another"})),
        once("another attempt", json!({"attempt": 1})),
        once("another class", json!({"className": "another"})),
        once("another delivery", json!({"delivery": "CSR"})),
        once("another requester", json!({"requester": {"podUID": "another"}})),
        once("another workload", json!({"workload": "Deployment/another"})),
        once("another decision", json!({"decisionID": "another"})),
        refused("another serial", json!({"spec": {"x509": {"serial": "0b"}}}), "spec", SAYS),
        refused("another name", json!({"spec": {"x509": {"commonName": "another"}}}), "spec", SAYS),
        refused("a longer certificate", json!({"spec": {"x509": {"notAfter": "2026-11-24T10:15:01Z"}}}), "spec", SAYS),
        refused("neither certificate nor token", json!({"spec": {"x509": null}}), "spec", "a lease holds exactly one of x509 and token"),
        refused("a token beside the certificate", json!({"spec": {"token": token}}), "spec", "a lease holds exactly one of x509 and token"),
        refused(
            "a token instead",
            json!({"spec": {"x509": null, "token": token}}),
            "spec",
            "what the token of a lease is bound to never changes",
        ),
        once("an earlier beginning", json!({"notBefore": "2026-11-24T09:59:59Z"})),
        refused("another Secret", json!({"spec": {"secret": {"uid": "another"}}}), "spec", "the Secret of a lease never changes"),
        refused("no Secret", json!({"spec": {"secret": null}}), "spec", "the Secret of a lease never changes"),
    ]
}

/// What a person may write into a lease that was revoked by another.
fn revokes() -> Vec<Case> {
    vec![
        refused("another reason", json!({"spec": {"revoke": {"reason": "another"}}}), "spec", REVOKED),
        refused("no revocation", json!({"spec": {"revoke": null}}), "spec", REVOKED),
    ]
}

fn states() -> Vec<(Option<&'static str>, Vec<Case>)> {
    let state = |state: &str| json!({"status": {"state": state}});
    vec![
        (None, vec![taken("ended early", state("Revoking")), taken("closed", state("Closed"))]),
        (
            Some("Revoking"),
            vec![
                taken("the same", state("Revoking")),
                taken("closed", state("Closed")),
                refused("open again", json!({"status": {"state": null}}), "<nil>", ORDER),
                refused("no status", json!({"status": null}), "<nil>", ORDER),
            ],
        ),
        (
            Some("Closed"),
            vec![
                taken("the same", state("Closed")),
                refused("dying again", state("Revoking"), "<nil>", ORDER),
                refused("open again", json!({"status": {"state": null}}), "<nil>", ORDER),
                refused("no status", json!({"status": null}), "<nil>", ORDER),
            ],
        ),
    ]
}

#[test]
fn every_rule_of_the_schema_is_tried() {
    let states: Vec<Case> = states().into_iter().flat_map(|(_, cases)| cases).collect();
    every_rule_is_tried("CredentialLease", &[&edits(), &revokes(), &states]);
}

#[tokio::test]
async fn a_lease_is_written_once() {
    let stage = quiet();
    let (operator, mut differences) = (Author::operator(&stage), vec![]);
    let mut sample = samples::lease(&stage.operator_name().namespace);
    sample["metadata"]["name"] = json!("written-once");
    let held = operator.create(&sample).await.unwrap();
    assert!(held.get("status").is_none(), "open: {}", held["status"]);
    for case in edits() {
        differences.push(case.differs(&operator.try_put(&case.of(&held)).await));
    }
    verdict(differences);
}

#[tokio::test]
async fn whoever_revokes_a_lease_is_on_record_for_good() {
    let stage = quiet();
    let mut sample = samples::lease(&stage.operator_name().namespace);
    sample["metadata"]["name"] = json!("revoked");
    let mut held = Author::operator(&stage).create(&sample).await.unwrap();
    held["spec"]["revoke"] = json!({"reason": "leaked"});
    let (admin, mut differences) = (Author::admin(&stage), vec![]);
    let held = admin.put(&held).await.unwrap();
    assert_eq!(held["spec"]["revoke"], json!({"reason": "leaked", "by": "admin"}));
    for case in revokes() {
        differences.push(case.differs(&admin.try_put(&case.of(&held)).await));
    }
    verdict(differences);
}

#[tokio::test]
async fn a_lease_goes_one_way_even_for_the_operator() {
    let stage = quiet();
    let (operator, mut differences) = (Author::operator(&stage), vec![]);
    for (from, cases) in states() {
        let mut sample = samples::lease(&stage.operator_name().namespace);
        sample["metadata"]["name"] = json!(format!("from-{}", from.unwrap_or("open").to_lowercase()));
        let mut held = operator.create(&sample).await.unwrap();
        if let Some(state) = from {
            held["status"] = json!({"state": state});
            held = operator.put_status(&held).await.unwrap();
        }
        for case in cases {
            let answer = operator.try_put_status(&case.of(&held)).await;
            differences.push(case.differs(&answer).map(|problem| format!("from {from:?}: {problem}")));
        }
    }
    verdict(differences);
}
