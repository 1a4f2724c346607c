//! The few shapes that every manifest shares.

use serde_json::{Value, json};

use super::OperatorName;

/// Name of everything of which there is one.
pub(super) const NAME: &str = "daypass";

/// Labels that select the operator's pods. They never change: a Deployment's selector is immutable.
pub(super) fn labels() -> Value {
    json!({"app.kubernetes.io/name": NAME})
}

/// Metadata of a cluster-scoped object.
pub(super) fn metadata(name: &str) -> Value {
    json!({"name": name, "labels": labels()})
}

/// Metadata of a namespaced object.
pub(super) fn metadata_in(namespace: &str, name: &str) -> Value {
    json!({"name": name, "namespace": namespace, "labels": labels()})
}

/// The operator's account as a subject of RBAC.
pub(super) fn operator_subject(operator: &OperatorName) -> Value {
    json!({"kind": "ServiceAccount", "name": operator.service_account, "namespace": operator.namespace})
}
