//! The operator itself: its namespace, its Deployment, and the Service that its metrics are scraped and its revocation lists fetched from.

use serde_json::{Value, json};

use super::{
    Values,
    object::{NAME, labels, metadata_in},
};

/// Port of `/livez`, `/readyz`, `/metrics` and `/crl`.
pub const ADMIN_PORT: u16 = 8081;
/// Port of the Service under which verifiers find revocation lists: that of URLs which name none.
const LISTS_PORT: u16 = 80;

/// The operator's namespace. Pod Security keeps anything privileged out of the place where the certificate authorities are.
pub fn namespace(values: &Values) -> Value {
    let mut labels = labels();
    labels["pod-security.kubernetes.io/enforce"] = json!("restricted");
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": values.operator.namespace, "labels": labels}})
}

/// Deployment and Service.
pub fn objects(values: &Values) -> Vec<Value> {
    let metadata = || metadata_in(&values.operator.namespace, NAME);
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(),
        "spec": {
            // One, and never two at a time: limits are counted in memory. Two by accident would only count wrongly.
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": labels()},
            "template": {"metadata": {"labels": labels()}, "spec": pod(values, container(values))},
        },
    });
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(),
        "spec": {"selector": labels(), "ports": [
            {"name": "metrics", "port": ADMIN_PORT, "targetPort": "admin"},
            {"name": "http", "port": LISTS_PORT, "targetPort": "admin"},
        ]},
    });
    vec![deployment, service]
}

/// A pod of the operator's account around this container, as hardened as its namespace asks for.
pub(super) fn pod(values: &Values, container: Value) -> Value {
    let mut pod = json!({
        "serviceAccountName": values.operator.service_account,
        // The canary needs this very token: projected, bound to the pod, renewed by the kubelet.
        "automountServiceAccountToken": true,
        "enableServiceLinks": false,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": 30,
        "containers": [container],
    });
    if let Some(fields) = pod.as_object_mut() {
        for (field, value) in &values.pod {
            fields.entry(field).or_insert_with(|| value.clone());
        }
    }
    pod
}

fn container(values: &Values) -> Value {
    let mut args = vec!["controller".to_owned()];
    args.extend(values.args.iter().cloned());
    let mut container = program(values, &args);
    container["ports"] = json!([{"name": "admin", "containerPort": ADMIN_PORT}]);
    container["livenessProbe"] =
        json!({"httpGet": {"path": "/livez", "port": "admin"}, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6});
    container["readinessProbe"] = json!({"httpGet": {"path": "/readyz", "port": "admin"}, "periodSeconds": 5, "timeoutSeconds": 5});
    container
}

/// A container that runs this program with these arguments.
pub(super) fn program(values: &Values, args: &[String]) -> Value {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    json!({
        "name": NAME,
        "image": values.image,
        "imagePullPolicy": values.image_pull_policy,
        "args": args,
        "env": [field("DAYPASS_NAMESPACE", "metadata.namespace"), field("POD_NAME", "metadata.name")],
        "resources": values.resources,
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod_spec(values: &Values) -> Value {
        objects(values)[0]["spec"]["template"]["spec"].clone()
    }

    #[test]
    fn the_pod_passes_the_standard_that_its_namespace_enforces() {
        let (pod, values) = (pod_spec(&Values::default()), Values::default());
        assert_eq!(namespace(&values)["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        for container in pod["containers"].as_array().unwrap() {
            assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
            assert_eq!(container["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
            assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        }
    }

    #[test]
    fn further_fields_of_the_pod_never_soften_it() {
        let pod = json!({"securityContext": {}, "serviceAccountName": "default", "nodeSelector": {"a": "b"}});
        let values = Values { pod: pod.as_object().unwrap().clone(), ..Values::default() };
        assert_eq!(pod_spec(&values)["securityContext"], pod_spec(&Values::default())["securityContext"]);
        assert_eq!(pod_spec(&values)["serviceAccountName"], "daypass");
        assert_eq!(pod_spec(&values)["nodeSelector"], json!({"a": "b"}));
    }

    #[test]
    fn never_two_operators_at_a_time() {
        let spec = objects(&Values::default())[0]["spec"].clone();
        assert_eq!((&spec["replicas"], &spec["strategy"]["type"]), (&json!(1), &json!("Recreate")));
    }
}
