//! ClusterRoles for people and pods. Nobody is bound to them here: that is for whoever owns a cluster or a namespace.
//!
//! The ledger is never aggregated into `edit` or `view`: who may end other people's credentials is decided aloud.

use serde_json::{Value, json};

use super::{object::metadata, rbac::RBAC};
use crate::api::GROUP;

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["get", "list", "watch", "create", "update", "patch", "delete"];

/// The roles.
pub fn objects() -> Vec<Value> {
    vec![
        // For the pods' own accounts, bound in their namespace. No update or patch: a request never changes.
        role("daypass-requester", vec![rule(&["accessrequests"], &["create", "get", "watch", "delete"])]),
        role(
            "daypass-viewer",
            vec![rule(
                &["accessrequests", "accesslocks", "accesspolicies", "clusteraccesspolicies", "credentialclasses", "credentialleases"],
                READ,
            )],
        ),
        // Bound in a namespace it reaches that namespace's policies, bound cluster-wide all of them. Classes hold the ceilings that no policy
        // can lift, so they are read here and written by administrators.
        role(
            "daypass-policy-editor",
            vec![rule(&["accesspolicies", "clusteraccesspolicies"], WRITE), rule(&["credentialclasses", "accessrequests"], READ)],
        ),
        // Admission reduces the writes to spec.revoke, once, under one's own name.
        role("daypass-revoker", vec![rule(&["credentialleases"], &["get", "list", "watch", "update", "patch"])]),
        // Locks are the cluster's, so this is bound cluster-wide; the leases show what a lock would end, and what became of it. Of a lock
        // admission lets only its end be moved.
        role("daypass-locker", vec![rule(&["accesslocks"], WRITE), rule(&["credentialleases"], READ)]),
        aggregated("daypass-aggregate-to-view", "view", vec![rule(&["accessrequests", "accesspolicies"], READ)]),
    ]
}

fn role(name: &str, rules: Vec<Value>) -> Value {
    json!({"apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRole", "metadata": metadata(name), "rules": rules})
}

/// A role whose rules the built-in role `into` (and those that build on it) takes up.
fn aggregated(name: &str, into: &str, rules: Vec<Value>) -> Value {
    let mut role = role(name, rules);
    role["metadata"]["labels"][format!("{RBAC}/aggregate-to-{into}")] = json!("true");
    role
}

fn rule(resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": [GROUP], "resources": resources, "verbs": verbs})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_ledger_and_no_write_is_aggregated_into_a_built_in_role() {
        let objects = objects();
        let aggregated: Vec<&Value> =
            objects.iter().filter(|role| role["metadata"]["labels"].to_string().contains("aggregate-to-")).collect();
        assert!(!aggregated.is_empty());
        for rule in aggregated.iter().flat_map(|role| role["rules"].as_array().unwrap()) {
            assert_eq!(rule["verbs"], json!(READ));
            assert!(!rule["resources"].to_string().contains("leases"), "{rule}");
        }
    }

    #[test]
    fn no_role_writes_status() {
        assert!(!json!(objects()).to_string().contains("/status"));
    }
}
