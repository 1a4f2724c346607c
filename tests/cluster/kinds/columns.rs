//! What `kubectl get` shows: short names, the category, and columns that can be read.

use serde_json::{Value, json};
use stage::Stage;

use super::{
    quiet::{Author, quiet},
    samples,
};

const NAMESPACE: &str = "kinds-columns";

/// The cells of each line, the headers first. Columns are apart by two spaces or more.
async fn table(stage: &Stage, args: &[&str]) -> Vec<Vec<String>> {
    let output = stage.cluster.kubectl(args).await.unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()).collect()
}

/// One object of each kind with a status, named `columns`.
async fn put_up(stage: &Stage) {
    let (admin, operator) = (Author::admin(stage), Author::operator(stage));
    let pod = Author::new(stage.pod(NAMESPACE, "asker-1", "asker").await.unwrap().client);
    for (author, mut object, status) in [
        (&pod, samples::request(NAMESPACE), samples::request_status()),
        (&operator, samples::lease(&stage.operator_name().namespace), samples::lease_status()),
        (&admin, samples::class(), samples::class_status()),
        (&admin, samples::cluster_policy(), samples::policy_status()),
        (&admin, samples::policy(NAMESPACE), samples::policy_status()),
        (&admin, short_lock(), samples::lock_status()),
    ] {
        object["metadata"]["name"] = json!("columns");
        let mut held = author.create(&object).await.unwrap();
        held["status"] = status;
        // A lease goes one step at a time.
        if held["kind"] == "CredentialLease" {
            held["status"]["state"] = json!("Revoking");
        }
        operator.put_status(&held).await.unwrap();
    }
}

/// A lock of one node.
fn short_lock() -> Value {
    let mut lock = samples::lock();
    lock["spec"]["match"] = json!({"nodes": ["node-1"]});
    lock
}

#[tokio::test]
async fn people_see_what_they_look_for_under_short_names() {
    let stage = quiet();
    put_up(&stage).await;
    let home = stage.operator_name().namespace.clone();
    let workload_class = ["Deployment/orders", "orders-db", "Revoking", "PodGone", "2026-11-24T10:15:00Z"];
    let account = "system:serviceaccount:shop:orders";
    for (short, namespace, headers, cells) in [
        ("dpreq", NAMESPACE, &["NAME", "WORKLOAD", "CLASS", "STATE", "REASON", "ENDS", "AGE"][..], &workload_class[..]),
        (
            "dplease",
            &home,
            &["NAME", "ACCOUNT", "REQUEST", "CLASS", "STATE", "REASON", "ENDS", "AGE"],
            &[account, "orders-1", "orders-db", "Revoking", "PodGone", "2026-11-24T10:15:00Z"],
        ),
        (
            "dpclass",
            "",
            &["NAME", "READY", "REASON", "MAX-TTL", "REVOCATION", "LIVE", "AGE"],
            &["True", "Issued", "15m", "ExpiryOnly", "3"],
        ),
        (
            "dpcpol",
            "",
            &["NAME", "EFFECT", "CLASSES", "READY", "REASON", "LIVE", "AGE"],
            &["Permit", "[\"orders-db\"]", "True", "Issued", "3"],
        ),
        (
            "dppol",
            NAMESPACE,
            &["NAME", "EFFECT", "CLASSES", "READY", "REASON", "LIVE", "AGE"],
            &["Permit", "[\"orders-db\"]", "True", "Issued", "3"],
        ),
        (
            "dplock",
            "",
            &["NAME", "MATCH", "STATE", "REVOKED", "DEAD", "WAITING", "UNTIL", "BY", "AGE"],
            &["{\"nodes\":[\"node-1\"]}", "Active", "4", "3", "2", "2099-01-01T00:00:00Z", "admin"],
        ),
    ] {
        let mut args = vec!["get", short, "columns"];
        args.extend(if namespace.is_empty() { vec![] } else { vec!["-n", namespace] });
        let table = table(&stage, &args).await;
        assert_eq!(table[0], headers, "{short}");
        assert_eq!(&table[1][1..headers.len() - 1], cells, "{short}");
        assert!(!table[1].iter().any(|cell| cell.contains("invalid")), "{:?}", table[1]);
    }

    // All of it in one look.
    let output = stage.cluster.kubectl(["get", "daypass", "-A", "-o", "json"]).await.unwrap();
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    for kind in ["AccessRequest", "CredentialLease", "CredentialClass", "ClusterAccessPolicy", "AccessPolicy", "AccessLock"] {
        let found = all["items"].as_array().unwrap().iter().any(|object| object["kind"] == kind && object["metadata"]["name"] == "columns");
        assert!(found, "{kind} is not in category daypass");
    }
}
