//! *reserve*: Secrets that carry one of our labels are the operator's alone.
//!
//! The garbage collector must pass for DELETE and for UPDATE (orphaning edits ownerReferences), the namespace controller for DELETE: without
//! them a labelled Secret outlives its request and a namespace never ends.

use serde_json::json;

use super::{
    cel::cel,
    policy::{Match, Policy, must, named, resources},
};
use crate::install::OperatorName;

const DESCRIPTION: &str = "Secrets labelled daypass.dev/request-uid or daypass.dev/ca are changed and deleted by Daypass alone.";

pub(super) fn policy(operator: &OperatorName) -> Policy {
    let cel = |text: &str| cel(text, operator);
    let concerns = Match {
        rules: vec![resources("", &["secrets"], &["CREATE", "UPDATE", "DELETE"])],
        conditions: vec![
            named(
                "ours-before-or-after",
                cel("
                    [object, oldObject].exists(o, o != null &&
                      (o.?metadata.labels[?$REQUEST_UID].hasValue() || o.?metadata.labels[?$CA].hasValue()))
                "),
            ),
            named(
                "not-the-operator-nor-the-control-plane",
                cel("
                    !(request.userInfo.username in [
                      $CONTROL_PLANE,
                      $OPERATOR])
                "),
            ),
        ],
    };
    // An update that changes nothing passes: re-encryption at rest rewrites every Secret. managedFields count as a change, because taking
    // co-ownership by server-side apply would move the resourceVersion under the operator's fill.
    let validations = [must(
        cel("
            request.operation == 'UPDATE' &&
            object.?data == oldObject.?data &&
            object.?type == oldObject.?type &&
            object.?immutable == oldObject.?immutable &&
            object.metadata.?labels == oldObject.metadata.?labels &&
            object.metadata.?annotations == oldObject.metadata.?annotations &&
            object.metadata.?finalizers == oldObject.metadata.?finalizers &&
            object.metadata.?ownerReferences == oldObject.metadata.?ownerReferences &&
            object.metadata.?managedFields == oldObject.metadata.?managedFields
        "),
        "Secrets labelled daypass.dev/request-uid or daypass.dev/ca belong to Daypass; to end one, delete its AccessRequest",
    )];
    Policy::validating("reserve.daypass.dev", DESCRIPTION, concerns, json!({"validations": validations}))
}
