//! What takes an installation down: a Job that runs `daypass drain` under the operator's account, and the rights that it needs besides, bound
//! only while it runs. The chart has both as a hook before its deletion, the kustomize base in a directory of their own.
//!
//! Never part of what is installed: an operator at work can neither stop itself nor mark anything as drained.

use serde_json::{Value, json};

use super::{Values, object::metadata_in, rbac, workload};

/// Name of everything here, and of the label that tells a drain's pods from the operator's.
pub const NAME: &str = "daypass-drain";
/// The label. Not that of the operator's pods: a Service must not lead here.
pub const LABEL: &str = "app.kubernetes.io/name";

/// After so long the Job gives up: the longest certificate, and some more. What it did stays done, and another one goes on.
const GIVES_UP_AFTER_SECONDS: u32 = 20 * 60;

/// The rights, and then the Job.
pub fn objects(values: &Values) -> Vec<Value> {
    let mut objects = rbac::drain(values, NAME);
    objects.push(job(values));
    objects
}

fn job(values: &Values) -> Value {
    let mut args = vec!["drain".to_owned()];
    args.extend(values.drain_args.iter().cloned());
    let mut pod = workload::pod(values, workload::program(values, &args));
    // It tries for ever by itself; another pod follows where a node takes this one along.
    pod["restartPolicy"] = json!("Never");
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata_in(&values.operator.namespace, NAME),
        "spec": {
            "backoffLimit": 3,
            "activeDeadlineSeconds": GIVES_UP_AFTER_SECONDS,
            "template": {"metadata": {"labels": {LABEL: NAME}}, "spec": pod},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::{manifests, object::labels};

    #[test]
    fn it_is_no_part_of_what_is_installed() {
        let installed = Value::Array(manifests(&Values::default())).to_string();
        assert!(
            !installed.contains(NAME) && !installed.contains("[\"deployments/scale\"]"),
            "an operator at work has the rights of a drain"
        );
    }

    #[test]
    fn its_pod_runs_as_the_operator_and_is_taken_for_none() {
        let values = Values { drain_args: vec!["--accept-expiry".into()], ..Values::default() };
        let job = objects(&values).pop().unwrap();
        let template = &job["spec"]["template"];
        assert_eq!(template["spec"]["serviceAccountName"], "daypass");
        assert_eq!(template["spec"]["securityContext"]["runAsNonRoot"], true);
        assert_eq!(template["spec"]["containers"][0]["args"], json!(["drain", "--accept-expiry"]));
        assert_ne!(template["metadata"]["labels"][LABEL], labels()[LABEL], "the operator's Service would lead to it");
    }
}
