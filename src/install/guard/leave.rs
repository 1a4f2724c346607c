//! *leave*: the operator's namespace and our CRDs are deleted only with the annotation that says that no lease is open.
//!
//! Deleting a CRD destroys its objects without asking admission, and in a terminating namespace the operator goes before its leases: either
//! would forget credentials that are still alive.

use serde_json::json;

use super::{
    cel::cel,
    policy::{Match, Policy, must, named, resources},
};
use crate::install::OperatorName;

const DESCRIPTION: &str =
    "The namespace of Daypass and its CustomResourceDefinitions are deleted only once they carry the annotation daypass.dev/drained.";

pub(super) fn policy(operator: &OperatorName) -> Policy {
    let cel = |text: &str| cel(text, operator);
    let concerns = Match {
        rules: vec![
            resources("", &["namespaces"], &["DELETE"]),
            resources("apiextensions.k8s.io", &["customresourcedefinitions"], &["DELETE"]),
        ],
        conditions: vec![named(
            "ours",
            cel("
                (request.resource.resource == 'namespaces' && oldObject.metadata.name == $NAMESPACE) ||
                (request.resource.resource == 'customresourcedefinitions' && oldObject.metadata.name.endsWith('.daypass.dev'))
            "),
        )],
    };
    let validations = [must(
        cel("oldObject.metadata.?annotations[?$DRAINED].hasValue()"),
        "leases may be open: run daypass drain, as the chart does before it is deleted and kubectl apply -k deploy/drain does; it ends them and sets the annotation daypass.dev/drained",
    )];
    Policy::validating("leave.daypass.dev", DESCRIPTION, concerns, json!({"validations": validations}))
}
