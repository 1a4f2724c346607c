//! A policy with its binding, as objects.

use serde_json::{Value, json};

use crate::install::object::metadata;

/// A policy; its binding carries the same name.
pub(super) struct Policy {
    kind: Kind,
    name: &'static str,
    /// For whoever meets it in a cluster.
    description: &'static str,
    spec: Value,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Mutating,
    Validating,
}

/// When and whom a policy concerns, for [`Policy::validating`].
pub(super) struct Match {
    /// `spec.matchConstraints.resourceRules`.
    pub(super) rules: Vec<Value>,
    /// `spec.matchConditions`.
    pub(super) conditions: Vec<Value>,
}

impl Policy {
    /// A policy that refuses. `checks` holds `variables`, `validations` and what else its spec says.
    pub(super) fn validating(name: &'static str, description: &'static str, concerns: Match, checks: Value) -> Self {
        Self { kind: Kind::Validating, name, description, spec: spec(concerns, checks) }
    }

    /// A policy that writes, again if another one has changed the object since.
    pub(super) fn mutating(name: &'static str, description: &'static str, concerns: Match, writes: Value) -> Self {
        let mut spec = spec(concerns, writes);
        spec["reinvocationPolicy"] = json!("IfNeeded");
        Self { kind: Kind::Mutating, name, description, spec }
    }

    /// The policy as it is applied.
    pub(super) fn object(&self) -> Value {
        self.manifest("", self.spec.clone())
    }

    /// Its binding as it is applied.
    pub(super) fn binding(&self) -> Value {
        let mut spec = json!({"policyName": self.name});
        if self.kind == Kind::Validating {
            spec["validationActions"] = json!(["Deny"]);
        }
        self.manifest("Binding", spec)
    }

    fn manifest(&self, suffix: &str, spec: Value) -> Value {
        let family = match self.kind {
            Kind::Mutating => "MutatingAdmissionPolicy",
            Kind::Validating => "ValidatingAdmissionPolicy",
        };
        let mut metadata = metadata(self.name);
        metadata["annotations"] = json!({"kubernetes.io/description": self.description});
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": format!("{family}{suffix}"),
            "metadata": metadata,
            "spec": spec,
        })
    }
}

fn spec(concerns: Match, mut spec: Value) -> Value {
    spec["failurePolicy"] = json!("Fail");
    spec["matchConstraints"] = json!({"matchPolicy": "Equivalent", "resourceRules": concerns.rules});
    if !concerns.conditions.is_empty() {
        spec["matchConditions"] = concerns.conditions.into();
    }
    spec
}

/// Resources of one API group, at every version, for some operations.
pub(super) fn resources(group: &str, resources: &[&str], operations: &[&str]) -> Value {
    json!({"apiGroups": [group], "apiVersions": ["*"], "operations": operations, "resources": resources})
}

/// A named expression: a variable or a match condition.
pub(super) fn named(name: &str, expression: impl Into<String>) -> Value {
    json!({"name": name, "expression": expression.into()})
}

/// Something that must be true, or the API server answers 403 with the message.
pub(super) fn must(expression: impl Into<String>, message: &str) -> Value {
    json!({"expression": expression.into(), "message": message, "reason": "Forbidden"})
}
