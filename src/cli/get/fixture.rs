//! Requests for tests: one that pod `orders-1` of `Deployment/orders` made at 12:00:00, in each state that it can be in.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::AccessRequest;

/// A time of the day of the story.
pub fn at(time: &str) -> Timestamp {
    format!("2026-03-01T{time}Z").parse().unwrap()
}

/// Not answered yet.
pub fn pending() -> AccessRequest {
    with(Value::Null)
}

/// Refused a second later.
pub fn denied() -> AccessRequest {
    let message =
        "no policy permits class orders-db for service account orders of namespace shop: ask the platform team for a ClusterAccessPolicy";
    with(json!({
        "state": "Denied", "workload": "Deployment/orders", "reason": "NotPermitted",
        "decision": {"outcome": "Deny", "reason": "NotPermitted", "message": message, "id": "d1", "time": at("12:00:01")},
        "conditions": [condition("Decided", "True", "NotPermitted", message), condition("Ready", "False", "NotPermitted", message)],
    }))
}

/// Granted a second later, for ten minutes.
pub fn active() -> AccessRequest {
    with(granted())
}

/// Ended at 12:04, when its pod went.
pub fn revoking() -> AccessRequest {
    let mut status = granted();
    status["state"] = json!("Revoking");
    status["reason"] = json!("PodGone");
    let message = "pod orders-1 is gone; the certificate cannot be taken back";
    status["ended"] = json!({"reason": "PodGone", "time": at("12:04:00"), "message": message});
    status["conditions"][1] = condition("Ready", "False", "PodGone", message);
    with(status)
}

/// The same, proven dead at 12:10:01.
pub fn gone() -> AccessRequest {
    let mut status = granted();
    status["state"] = json!("Ended");
    status["reason"] = json!("PodGone");
    let message = "pod orders-1 is gone; refused since 2026-03-01T12:10:01Z (NotAfterPassed)";
    status["ended"] = json!({
        "reason": "PodGone", "time": at("12:04:00"), "message": message,
        "verifiedTime": at("12:10:01"), "secondsToDead": 361, "proof": "NotAfterPassed",
    });
    status["conditions"][1] = condition("Ended", "True", "PodGone", message);
    with(status)
}

fn granted() -> Value {
    json!({
        "state": "Active", "workload": "Deployment/orders", "reason": "Permitted",
        "decision": {"outcome": "Allow", "reason": "Permitted", "message": "granted for 600s", "policy": "ClusterAccessPolicy/orders", "id": "d1", "time": at("12:00:01")},
        "credential": {
            "delivery": "CSR", "certificate": "…", "notBefore": at("11:59:30"), "expiresAt": at("12:10:00"), "serial": "0a1b",
            "revocation": {"kind": "ExpiryOnly", "boundSeconds": 600},
        },
        "conditions": [
            condition("Decided", "True", "Permitted", "granted for 600s"),
            condition("Ready", "True", "Issued", "the certificate is in status.credential.certificate, valid until 2026-03-01T12:10:00Z"),
        ],
    })
}

fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": at("12:00:01")})
}

fn with(status: Value) -> AccessRequest {
    let mut request = json!({
        "apiVersion": "daypass.dev/v1alpha1", "kind": "AccessRequest",
        "metadata": {"namespace": "shop", "name": "orders-db-1", "creationTimestamp": at("12:00:00")},
        "spec": {
            "className": "orders-db", "ttl": "10m", "purpose": "nightly report", "csr": "…",
            "requester": {
                "username": "system:serviceaccount:shop:orders", "uid": "1", "podName": "orders-1", "podUID": "2", "nodeName": "node-1", "nodeUID": "3",
                "credentialID": "JTI=4",
            },
        },
    });
    if !status.is_null() {
        request["status"] = status;
    }
    serde_json::from_value(request).unwrap()
}
