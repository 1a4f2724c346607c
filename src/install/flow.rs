//! Shares of the API server: what ends credentials never waits behind anything else of ours, and a flood of requests waits behind itself.
//!
//! | FlowSchema | takes | queued by |
//! |---|---|---|
//! | `daypass-ending` | the operator's deletes of Secrets and moves of leases | – |
//! | `daypass-operator` | everything else the operator does | namespace, so that one cannot starve the others |
//! | `daypass-requests` | creations of AccessRequests by anybody | user, that is by service account |
//!
//! The status of a request ends and grants alike, and ending does not depend on it: it is in the second.

use serde_json::{Value, json};

use super::{OperatorName, Values, object::metadata};
use crate::api::GROUP;

const API: &str = "flowcontrol.apiserver.k8s.io/v1";

const ENDING: &str = "daypass-ending";
const OPERATOR: &str = "daypass-operator";
const REQUESTS: &str = "daypass-requests";

/// Priority levels, then the schemas that lead to them.
pub fn objects(values: &Values) -> Vec<Value> {
    let operator = || vec![operator_subject(&values.operator)];
    let anybody = || ["system:authenticated", "system:unauthenticated"].map(group).to_vec();
    let ending = json!([
        rule(&[""], &["secrets"], &["delete"]),
        rule(&[GROUP], &["credentialleases", "credentialleases/status"], &["update", "delete"]),
    ]);
    let everything = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"], "namespaces": ["*"], "clusterScope": true}]);
    let requests = json!([rule(&[GROUP], &["accessrequests"], &["create"])]);
    vec![
        // Its seats are kept free at all times: ten thousand credentials may end at once.
        level(ENDING, json!({"nominalConcurrencyShares": 10, "lendablePercent": 0}), 16, 4),
        level(OPERATOR, json!({"nominalConcurrencyShares": 20, "lendablePercent": 50}), 64, 6),
        // It borrows from nobody: a flood costs a fixed share of the API server.
        level(REQUESTS, json!({"nominalConcurrencyShares": 5, "lendablePercent": 0, "borrowingLimitPercent": 0}), 64, 6),
        // Lower comes first; the built-in schemas for service accounts are at 900 and 9000.
        schema(ENDING, 700, None, operator(), ending),
        schema(OPERATOR, 710, Some("ByNamespace"), operator(), everything),
        schema(REQUESTS, 720, Some("ByUser"), anybody(), requests),
    ]
}

fn level(name: &str, mut limited: Value, queues: i32, hand_size: i32) -> Value {
    let queuing = json!({"queues": queues, "handSize": hand_size, "queueLengthLimit": 100});
    limited["limitResponse"] = json!({"type": "Queue", "queuing": queuing});
    json!({"apiVersion": API, "kind": "PriorityLevelConfiguration", "metadata": metadata(name), "spec": {"type": "Limited", "limited": limited}})
}

fn schema(name: &str, precedence: i32, distinguisher: Option<&str>, subjects: Vec<Value>, rules: Value) -> Value {
    let mut spec = json!({
        "priorityLevelConfiguration": {"name": name},
        "matchingPrecedence": precedence,
        "rules": [{"subjects": subjects, "resourceRules": rules}],
    });
    if let Some(distinguisher) = distinguisher {
        spec["distinguisherMethod"] = json!({"type": distinguisher});
    }
    json!({"apiVersion": API, "kind": "FlowSchema", "metadata": metadata(name), "spec": spec})
}

fn operator_subject(operator: &OperatorName) -> Value {
    json!({"kind": "ServiceAccount", "serviceAccount": {"name": operator.service_account, "namespace": operator.namespace}})
}

fn group(name: &str) -> Value {
    json!({"kind": "Group", "group": {"name": name}})
}

fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": groups, "resources": resources, "verbs": verbs, "namespaces": ["*"]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ending_comes_before_issuing_and_both_before_the_flood() {
        let objects = objects(&Values::default());
        let precedence = |name: &str| {
            let schema = objects.iter().find(|o| o["kind"] == "FlowSchema" && o["metadata"]["name"] == name).unwrap();
            schema["spec"]["matchingPrecedence"].as_i64().unwrap()
        };
        assert!(precedence(ENDING) < precedence(OPERATOR) && precedence(OPERATOR) < precedence(REQUESTS));
    }

    #[test]
    fn every_schema_leads_to_a_level_that_is_there() {
        let objects = objects(&Values::default());
        for schema in objects.iter().filter(|o| o["kind"] == "FlowSchema") {
            let level = &schema["spec"]["priorityLevelConfiguration"]["name"];
            assert!(objects.iter().any(|o| o["kind"] == "PriorityLevelConfiguration" && o["metadata"]["name"] == *level), "{level}");
        }
    }
}
