//! When two specs of a policy or of a binding mean the same.
//!
//! The API server fills in defaults, a newer one may add fields without touching `metadata.generation`, and a re-apply may reorder what has
//! no order. None of that is a change of the guard; everything else is.

use k8s_openapi::{
    api::admissionregistration::v1::{
        MatchResources, NamedRuleWithOperations, ValidatingAdmissionPolicyBindingSpec, ValidatingAdmissionPolicySpec,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// The fields of a ValidatingAdmissionPolicy's or its binding's spec that we know, in a canonical form: the API server's defaults filled in,
/// lists without an order sorted, fields that we do not know dropped.
///
/// A spec that cannot be read at all gives `null`, which equals nothing that is shipped. `variables` and `validations` keep their order: a
/// variable sees only those before it, and of several refusals the API server reports one.
pub fn known_fields(spec: &Value) -> Value {
    // Only a binding names a policy.
    if spec.get("policyName").is_some() { canonical(spec, binding) } else { canonical(spec, policy) }
}

fn canonical<S: DeserializeOwned + Serialize>(spec: &Value, put_right: fn(&mut S)) -> Value {
    let Ok(mut known) = serde_json::from_value::<S>(spec.clone()) else { return Value::Null };
    put_right(&mut known);
    serde_json::to_value(&known).unwrap_or(Value::Null)
}

fn policy(spec: &mut ValidatingAdmissionPolicySpec) {
    fill(&mut spec.failure_policy, "Fail");
    if let Some(constraints) = &mut spec.match_constraints {
        match_resources(constraints);
    }
    sort_by(&mut spec.match_conditions, |condition| condition.name.clone());
    sort_by(&mut spec.audit_annotations, |annotation| annotation.key.clone());
    drop_empty(&mut spec.variables);
    drop_empty(&mut spec.validations);
}

fn binding(spec: &mut ValidatingAdmissionPolicyBindingSpec) {
    sort_by(&mut spec.validation_actions, String::clone);
    if let Some(resources) = &mut spec.match_resources {
        match_resources(resources);
    }
    if let Some(selector) = spec.param_ref.as_mut().and_then(|param| param.selector.as_mut()) {
        label_selector(selector);
    }
}

/// Defaults of the API server (k8s.io/kubernetes `pkg/apis/admissionregistration/v1/defaults.go`).
fn match_resources(resources: &mut MatchResources) {
    fill(&mut resources.match_policy, "Equivalent");
    label_selector(resources.namespace_selector.get_or_insert_default());
    label_selector(resources.object_selector.get_or_insert_default());
    for rules in [&mut resources.resource_rules, &mut resources.exclude_resource_rules] {
        rules.iter_mut().flatten().for_each(rule);
        sort_by(rules, |rule| serde_json::to_string(rule).unwrap_or_default());
    }
}

fn rule(rule: &mut NamedRuleWithOperations) {
    fill(&mut rule.scope, "*");
    for words in [&mut rule.api_groups, &mut rule.api_versions, &mut rule.operations, &mut rule.resources, &mut rule.resource_names] {
        sort_by(words, String::clone);
    }
}

fn label_selector(selector: &mut LabelSelector) {
    selector.match_labels.take_if(|labels| labels.is_empty());
    for expression in selector.match_expressions.iter_mut().flatten() {
        sort_by(&mut expression.values, String::clone);
    }
    sort_by(&mut selector.match_expressions, |expression| serde_json::to_string(expression).unwrap_or_default());
}

fn fill(field: &mut Option<String>, default: &str) {
    field.get_or_insert_with(|| default.to_owned());
}

fn sort_by<T, K: Ord>(list: &mut Option<Vec<T>>, key: impl FnMut(&T) -> K) {
    if let Some(list) = list {
        list.sort_by_key(key);
    }
    drop_empty(list);
}

/// An absent list and an empty one mean the same.
fn drop_empty<T>(list: &mut Option<Vec<T>>) {
    list.take_if(|list| list.is_empty());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::install::{OperatorName, guard};

    fn policy_spec() -> Value {
        guard::verify::policy(&OperatorName::default()).object()["spec"].clone()
    }

    fn binding_spec() -> Value {
        guard::verify::policy(&OperatorName::default()).binding()["spec"].clone()
    }

    fn with(mut spec: Value, pointer: &str, value: Value) -> Value {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        spec.pointer_mut(parent).unwrap()[key] = value;
        spec
    }

    #[test]
    fn what_the_api_server_fills_in_is_no_change() {
        let mut live = policy_spec();
        live["matchConstraints"]["namespaceSelector"] = json!({});
        live["matchConstraints"]["objectSelector"] = json!({});
        live["matchConstraints"]["matchPolicy"] = json!("Equivalent");
        live["matchConstraints"]["resourceRules"][0]["scope"] = json!("*");
        live["failurePolicy"] = json!("Fail");
        assert_ne!(live, policy_spec());
        assert_eq!(known_fields(&live), known_fields(&policy_spec()));
    }

    #[test]
    fn a_field_of_a_newer_api_server_is_no_change() {
        let mut live = with(policy_spec(), "/someday", json!({"x": 1}));
        live["matchConstraints"]["someday"] = json!(true);
        live["validations"][0]["someday"] = json!("x");
        assert_eq!(known_fields(&live), known_fields(&policy_spec()));
        assert_eq!(known_fields(&with(binding_spec(), "/someday", json!(1))), known_fields(&binding_spec()));
    }

    #[test]
    fn absent_null_and_empty_lists_are_the_same() {
        for empty in [json!(null), json!([])] {
            let mut live = policy_spec();
            live["matchConditions"] = empty.clone();
            live["matchConstraints"]["excludeResourceRules"] = empty.clone();
            live["matchConstraints"]["resourceRules"][0]["resourceNames"] = empty;
            assert_eq!(known_fields(&live), known_fields(&policy_spec()));
        }
    }

    #[test]
    fn lists_without_an_order_may_come_in_any() {
        let mut live = policy_spec();
        live["matchConstraints"]["resourceRules"][0]["operations"] = json!(["DELETE", "CREATE", "UPDATE"]);
        assert_eq!(known_fields(&live), known_fields(&policy_spec()));
        let conditions = |first: &str, second: &str| {
            let condition = |name: &str| json!({"name": name, "expression": format!("{name} == 1")});
            known_fields(&with(policy_spec(), "/matchConditions", json!([condition(first), condition(second)])))
        };
        assert_eq!(conditions("a", "b"), conditions("b", "a"));
        let actions = |actions: Value| known_fields(&with(binding_spec(), "/validationActions", actions));
        assert_eq!(actions(json!(["Audit", "Deny"])), actions(json!(["Deny", "Audit"])));
    }

    #[test]
    fn the_order_of_variables_and_validations_counts() {
        for list in ["variables", "validations"] {
            let mut live = policy_spec();
            live[list].as_array_mut().unwrap().swap(0, 1);
            assert_ne!(known_fields(&live), known_fields(&policy_spec()), "{list}");
        }
    }

    #[test]
    fn every_way_to_weaken_the_policy_is_noticed() {
        let never = json!([{"name": "never", "expression": "false"}]);
        let elsewhere = json!({"matchLabels": {"no": "body"}});
        let everything = json!([{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}]);
        let weaker = [
            ("/failurePolicy", json!("Ignore")),
            ("/matchConditions", never),
            ("/paramKind", json!({"apiVersion": "v1", "kind": "ConfigMap"})),
            ("/validations", json!([])),
            ("/validations/0/expression", json!("true")),
            ("/validations/0/reason", json!("Invalid")),
            ("/validations/0/messageExpression", json!("object.spec.requester.podName")),
            ("/variables/1/expression", json!("''")),
            ("/auditAnnotations", json!([])),
            ("/matchConstraints", json!(null)),
            ("/matchConstraints/matchPolicy", json!("Exact")),
            ("/matchConstraints/namespaceSelector", elsewhere.clone()),
            ("/matchConstraints/namespaceSelector", json!({"matchExpressions": [{"key": "a", "operator": "Exists"}]})),
            ("/matchConstraints/objectSelector", elsewhere),
            ("/matchConstraints/excludeResourceRules", everything),
            ("/matchConstraints/resourceRules", json!([])),
            ("/matchConstraints/resourceRules/0/operations", json!(["CREATE", "UPDATE"])),
            ("/matchConstraints/resourceRules/0/resources", json!(["accessrequests/status"])),
            ("/matchConstraints/resourceRules/0/resourceNames", json!(["nobody"])),
            ("/matchConstraints/resourceRules/0/apiVersions", json!(["v1"])),
            ("/matchConstraints/resourceRules/0/apiGroups", json!(["example.com"])),
            ("/matchConstraints/resourceRules/0/scope", json!("Cluster")),
        ];
        for (pointer, value) in weaker {
            assert_ne!(known_fields(&with(policy_spec(), pointer, value.clone())), known_fields(&policy_spec()), "{pointer} = {value}");
        }
    }

    #[test]
    fn every_way_to_weaken_the_binding_is_noticed() {
        let weaker = [
            ("/validationActions", json!(["Warn"])),
            ("/validationActions", json!(["Audit", "Deny"])),
            ("/validationActions", json!([])),
            ("/policyName", json!("another")),
            ("/paramRef", json!({"name": "x", "parameterNotFoundAction": "Allow"})),
            ("/matchResources", json!({"namespaceSelector": {"matchLabels": {"no": "body"}}})),
        ];
        for (pointer, value) in weaker {
            assert_ne!(known_fields(&with(binding_spec(), pointer, value.clone())), known_fields(&binding_spec()), "{pointer} = {value}");
        }
    }

    #[test]
    fn what_cannot_be_read_equals_nothing_that_is_shipped() {
        let (policy, binding) = guard::shipped(&OperatorName::default());
        for broken in [json!(null), json!("spec"), json!({"validations": "all"}), json!({"policyName": 7})] {
            assert!(![&policy, &binding].contains(&&known_fields(&broken)), "{broken}");
        }
    }

    #[test]
    fn the_canonical_form_is_its_own() {
        for spec in [policy_spec(), binding_spec()] {
            assert_eq!(known_fields(&known_fields(&spec)), known_fields(&spec));
        }
    }
}
