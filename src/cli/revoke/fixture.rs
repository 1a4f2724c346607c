//! Leases for tests: what pod `orders-1` of `shop/orders` on `node-1` holds, from 12:00 to 12:10.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::CredentialLease;

/// A time of the day of the story.
pub fn at(time: &str) -> Timestamp {
    format!("2026-03-01T{time}Z").parse().unwrap()
}

/// An open one of this name.
pub fn lease(name: &str) -> CredentialLease {
    with(name, Value::Null, Value::Null)
}

/// One that a person has asked to be ended.
pub fn asked(name: &str) -> CredentialLease {
    with(name, Value::Null, json!({"reason": "leaked", "by": "jane"}))
}

/// One that is being ended.
pub fn revoking(name: &str) -> CredentialLease {
    let status = json!({"state": "Revoking", "reason": "RevokedByPerson", "endedTime": at("12:04:00")});
    with(name, status, json!({"reason": "leaked", "by": "jane"}))
}

/// One that is over.
pub fn closed(name: &str) -> CredentialLease {
    let status = json!({
        "state": "Closed", "reason": "RevokedByPerson", "endedTime": at("12:04:00"), "closedTime": at("12:10:01"), "proof": "NotAfterPassed",
    });
    with(name, status, json!({"reason": "leaked", "by": "jane"}))
}

fn with(name: &str, status: Value, revoke: Value) -> CredentialLease {
    serde_json::from_value(json!({
        "apiVersion": "daypass.dev/v1alpha1", "kind": "CredentialLease", "metadata": {"name": name, "uid": format!("{name}-uid")},
        "spec": {
            "requestNamespace": "shop", "requestName": "orders-db-1", "requestUID": "request-uid", "attempt": 0, "className": "orders-db",
            "delivery": "CSR", "workload": "Deployment/orders", "decisionID": "d1",
            "requester": {
                "username": "system:serviceaccount:shop:orders", "uid": "orders-uid", "podName": "orders-1", "podUID": "orders-1-uid",
                "nodeName": "node-1", "nodeUID": "node-1-uid", "credentialID": "",
            },
            "policy": {"name": "ClusterAccessPolicy/orders", "uid": "p", "generation": 1, "hash": ""},
            "x509": {"ca": "default", "serial": "0a1b", "uri": "spiffe://shop.example/ns/shop/sa/orders", "notAfter": at("12:10:00")},
            "notBefore": at("11:59:30"), "expiresAt": at("12:10:00"), "revoke": revoke,
        },
        "status": status,
    }))
    .unwrap()
}
