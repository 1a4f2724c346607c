//! What an installation consists of: one source for the chart, the kustomize base, the tests and the operator itself.
//!
//! Owns every manifest but the CustomResourceDefinitions (those come from `crate::api::crds`). Pure: values in, JSON objects out, the same
//! ones in the same order every time. Must never read a cluster or a clock. `cargo xtask generate` writes the objects to files, the
//! development cluster applies them, `cluster::guard` compares what it sees with what is shipped here.

pub mod drain;
pub mod flow;
pub mod guard;
mod object;
pub mod people;
pub mod rbac;
pub mod rights;
pub mod samples;
mod values;
pub mod workload;
pub mod yaml;

use serde_json::Value;

pub use values::{Account, OperatorName, Values};

/// Objects that belong together, in the order in which they are applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// What they are: also the name of the file that holds them.
    pub name: &'static str,
    /// The objects.
    pub objects: Vec<Value>,
}

/// Everything but the CustomResourceDefinitions, in parts, in the order in which they are applied.
///
/// The guard goes in before anything that could make use of its absence. (The operator trusts no order: it issues nothing until every API
/// server has refused its canary.)
pub fn parts(values: &Values) -> Vec<Part> {
    vec![
        Part { name: "namespace", objects: vec![workload::namespace(values)] },
        Part { name: "guard", objects: guard::objects(&values.operator) },
        Part { name: "rbac", objects: rbac::objects(values) },
        Part { name: "secret-namespaces", objects: rbac::secret_namespaces(values) },
        Part { name: "service-accounts", objects: rbac::service_accounts(values) },
        Part { name: "people", objects: people::objects() },
        Part { name: "flow", objects: flow::objects(values) },
        Part { name: "workload", objects: workload::objects(values) },
    ]
}

/// Everything but the CustomResourceDefinitions, in the order in which it is applied.
pub fn manifests(values: &Values) -> Vec<Value> {
    parts(values).into_iter().flat_map(|part| part.objects).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn values() -> Values {
        let accounts = [("lent", "orders-admin"), ("lent", "reader")]
            .map(|(namespace, name)| Account { namespace: namespace.into(), name: name.into() });
        Values { secret_namespaces: vec!["shop".into(), "billing".into()], service_accounts: accounts.into(), ..Values::default() }
    }

    fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
        object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    #[test]
    fn every_object_can_be_applied_and_is_named_once() {
        let mut seen = BTreeSet::new();
        for object in manifests(&values()) {
            let identity = ["/apiVersion", "/kind", "/metadata/namespace", "/metadata/name"].map(|at| text(&object, at).to_owned());
            assert!(!identity[0].is_empty() && !identity[1].is_empty() && !identity[3].is_empty(), "{object}");
            assert_eq!(text(&object, "/metadata/labels/app.kubernetes.io~1name"), "daypass", "{identity:?}");
            assert!(seen.insert(identity.clone()), "twice: {identity:?}");
        }
    }

    #[test]
    fn no_placeholder_of_ours_is_left_in_any_object() {
        for object in manifests(&values()) {
            let text = object.to_string();
            assert!(!text.contains('$') && !text.contains("{{"), "{text}");
        }
    }

    #[test]
    fn the_same_values_give_the_same_objects_in_the_same_order() {
        assert_eq!(manifests(&values()), manifests(&values()));
    }

    #[test]
    fn another_namespace_and_account_are_followed_everywhere() {
        let operator = OperatorName { namespace: "platform".into(), service_account: "issuer".into() };
        let text = Value::Array(manifests(&Values { operator, ..values() })).to_string();
        assert!(!text.contains("daypass-system"), "{text}");
        assert!(!text.contains(":daypass'"), "the default account is still named in an expression");
        assert!(text.contains("'system:serviceaccount:platform:issuer'"));
    }

    #[test]
    fn every_policy_precedes_every_binding_and_the_workload_comes_last() {
        let kinds: Vec<String> = manifests(&values()).iter().map(|object| text(object, "/kind").to_owned()).collect();
        let last_policy = kinds.iter().rposition(|kind| kind.ends_with("AdmissionPolicy")).unwrap();
        let first_binding = kinds.iter().position(|kind| kind.ends_with("AdmissionPolicyBinding")).unwrap();
        assert!(last_policy < first_binding, "{kinds:?}");
        assert_eq!(kinds[0], "Namespace");
        assert!(kinds.iter().position(|kind| kind == "Deployment").unwrap() > first_binding);
    }
}
