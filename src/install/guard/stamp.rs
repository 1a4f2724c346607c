//! *stamp*, *stamp-revoke* and *stamp-lock*: the API server writes who asked, who ended and who locked. A convenience: `verify` and `ledger`
//! have the last word.
//!
//! They skip the operator, or the canary's forged requester would be put right and never refused. JSON Patch, not ApplyConfiguration, which
//! would merge with what a client wrote.

use serde_json::{Value, json};

use super::{
    cel::{cel, pod_of_the_token},
    policy::{Match, Policy, named, resources},
};
use crate::{api::GROUP, install::OperatorName};

pub(super) const STAMP: &str = "stamp.daypass.dev";
pub(super) const STAMP_REVOKE: &str = "stamp-revoke.daypass.dev";
pub(super) const STAMP_LOCK: &str = "stamp-lock.daypass.dev";

pub(super) fn stamp(operator: &OperatorName) -> Policy {
    let concerns = Match {
        rules: vec![resources(GROUP, &["accessrequests"], &["CREATE"])],
        conditions: vec![
            not_the_operator(operator),
            // Without spec there is no place to patch, and the answer would be about JSON Patch instead of the missing spec.
            named("has-spec", "has(object.spec)"),
        ],
    };
    let patch = cel(
        r#"
        [JSONPatch{op: "add", path: "/spec/requester", value: Object.spec.requester{
          username: request.userInfo.username,
          uid: request.userInfo.?uid.orValue(""),
          podName: variables.podName,
          podUID: variables.podUID,
          nodeName: variables.nodeName,
          nodeUID: variables.nodeUID,
          credentialID: variables.credentialID}}]
        "#,
        operator,
    );
    Policy::mutating(
        STAMP,
        "Writes who asked into an AccessRequest. A convenience: verify.daypass.dev has the last word.",
        concerns,
        json!({"variables": pod_of_the_token(), "mutations": [json_patch(patch)]}),
    )
}

pub(super) fn stamp_revoke(operator: &OperatorName) -> Policy {
    let concerns = Match {
        rules: vec![resources(GROUP, &["credentialleases"], &["UPDATE"])],
        conditions: vec![
            not_the_operator(operator),
            named("newly-revoked", "has(object.spec) && has(object.spec.revoke) && !has(oldObject.spec.revoke)"),
        ],
    };
    let patch = r#"[JSONPatch{op: "add", path: "/spec/revoke/by", value: request.userInfo.username}]"#.to_owned();
    Policy::mutating(
        STAMP_REVOKE,
        "Writes who ended a CredentialLease. A convenience: ledger.daypass.dev has the last word.",
        concerns,
        json!({"mutations": [json_patch(patch)]}),
    )
}

pub(super) fn stamp_lock(operator: &OperatorName) -> Policy {
    let concerns = Match {
        rules: vec![resources(GROUP, &["accesslocks"], &["CREATE", "UPDATE"])],
        conditions: vec![not_the_operator(operator), named("has-spec", "has(object.spec)")],
    };
    // Who changes a lock leaves its author as it was: a manifest that is applied again says nothing of it.
    let patch = r#"
[JSONPatch{op: "add", path: "/spec/by",
  value: request.operation == "CREATE" ? request.userInfo.username : oldObject.spec.by}]"#;
    Policy::mutating(
        STAMP_LOCK,
        "Writes who placed an AccessLock. A convenience: ledger.daypass.dev has the last word.",
        concerns,
        json!({"mutations": [json_patch(patch.trim_start().to_owned())]}),
    )
}

fn not_the_operator(operator: &OperatorName) -> Value {
    named("not-the-operator", cel("request.userInfo.username != $OPERATOR", operator))
}

fn json_patch(expression: String) -> Value {
    json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}})
}
