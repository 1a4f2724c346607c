//! *ledger*: status and leases are the operator's; a person may end a lease under their own name; an open lease cannot be forgotten; a lock
//! says truly who placed it.
//!
//! Kinds that the operator alone writes are listed in `OWN`, those whose status it alone writes in `STATUS`.

use serde_json::json;

use super::{
    cel::cel,
    policy::{Match, Policy, must, named, resources},
};
use crate::{api::GROUP, install::OperatorName};

/// Kinds of the operator's own namespace that hold the ledger.
const OWN: [&str; 1] = ["credentialleases"];
/// Subresources that only the operator writes.
const STATUS: [&str; 3] = ["accessrequests/status", "credentialleases/status", "accesslocks/status"];

const DESCRIPTION: &str = "Only Daypass writes status and leases; a person may end a lease, under their own name; an open lease cannot be deleted; a lock says who placed it.";

pub(super) fn policy(operator: &OperatorName) -> Policy {
    let cel = |text: &str| cel(text, operator);
    let concerns = Match {
        rules: vec![
            resources(GROUP, &STATUS, &["UPDATE"]),
            resources(GROUP, &OWN, &["CREATE", "UPDATE", "DELETE"]),
            resources(GROUP, &["accesslocks"], &["CREATE"]),
        ],
        conditions: vec![],
    };
    let variables = [
        named("status", "request.?subResource.orValue('') == 'status'"),
        named("lease", "request.resource.resource == 'credentialleases' && request.?subResource.orValue('') == ''"),
        named("lock", "request.resource.resource == 'accesslocks' && request.?subResource.orValue('') == ''"),
        named("operator", cel("request.userInfo.username == $OPERATOR")),
        named(
            "controlPlane",
            cel("
                request.userInfo.username in [
                  $CONTROL_PLANE]
            "),
        ),
        named(
            "sameMetadata",
            cel("
                object.metadata.?labels == oldObject.metadata.?labels &&
                object.metadata.?annotations == oldObject.metadata.?annotations &&
                object.metadata.?finalizers == oldObject.metadata.?finalizers &&
                object.metadata.?ownerReferences == oldObject.metadata.?ownerReferences
            "),
        ),
        // dyn(): the type checker knows spec as an object and would not let it be walked as a map. Walking it covers fields of later versions.
        named(
            "sameSpecButRevoke",
            cel("
                dyn(object.spec).all(k, k == 'revoke' ||
                  (k in dyn(oldObject.spec) && dyn(object.spec)[k] == dyn(oldObject.spec)[k])) &&
                dyn(oldObject.spec).all(k, k in dyn(object.spec))
            "),
        ),
        named("sameRevoke", "object.spec.?revoke == oldObject.spec.?revoke"),
    ];
    let validations = [
        must("!variables.status || variables.operator", "only the operator writes status"),
        must(
            "!variables.lease || request.operation != 'CREATE' || (variables.operator && !has(object.spec.revoke))",
            "only the operator opens leases, and none is born revoked: to get a credential, create an AccessRequest",
        ),
        must(
            cel("
                !variables.lease || request.operation != 'UPDATE' || variables.sameRevoke ||
                (!variables.operator && !has(oldObject.spec.revoke) &&
                 object.spec.revoke.by == request.userInfo.username)
            "),
            "spec.revoke is set once, by a person, under their own name: leave out spec.revoke.by, or write your username",
        ),
        must(
            cel("
                !variables.lease || request.operation != 'UPDATE' || variables.operator ||
                (variables.sameSpecButRevoke && (variables.sameMetadata || variables.controlPlane))
            "),
            "of a lease only spec.revoke can be set",
        ),
        must(
            "!variables.lease || request.operation != 'DELETE' || oldObject.?status.state.orValue('') == 'Closed'",
            "this lease is open: end it first by setting spec.revoke, and wait until it is Closed",
        ),
        must(
            "!variables.lease || request.operation != 'DELETE' || variables.operator || variables.controlPlane",
            "a closed lease is a tombstone; the operator removes it in time",
        ),
        must(
            "!variables.lock || object.spec.by == request.userInfo.username",
            "spec.by is who places the lock: leave it out, or write your username",
        ),
        must(
            "!variables.lock || (object.spec.source == 'Engine') == variables.operator",
            "source Engine is for what the operator itself has noticed: leave out spec.source",
        ),
    ];
    Policy::validating("ledger.daypass.dev", DESCRIPTION, concerns, json!({"variables": variables, "validations": validations}))
}
