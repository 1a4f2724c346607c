//! Installing on a cluster where nothing of it is yet.

use devcluster::{Cluster, Options};

use super::tools::{helm, source, template};

/// Runs kubectl; returns what it prints.
async fn kubectl(cluster: &Cluster, args: &[&str]) -> String {
    let output = cluster.kubectl(args).await.unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn chart_and_base_each_install_in_one_go_and_an_uninstall_keeps_the_ledger() {
    stage::install_provider();
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let (chart, base) = (source("charts/daypass").display().to_string(), source("deploy").display().to_string());
    let helm = async |args: &[&str]| {
        helm(Some(cluster.admin_kubeconfig()), args.iter().copied().chain(["--namespace", "daypass-system"])).await.unwrap()
    };

    let notes = helm(&["install", "daypass", &chart, "--create-namespace"]).await;
    assert!(notes.contains("hands out nothing yet"), "{notes}");
    // What the notes advise.
    kubectl(&cluster, &["label", "namespace", "daypass-system", "pod-security.kubernetes.io/enforce=restricted"]).await;
    let rendered = template(&[]).await.unwrap();
    let file = cluster.dir().join("rendered.json");
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": rendered.values().collect::<Vec<_>>()});
    std::fs::write(&file, list.to_string()).unwrap();
    let installed = kubectl(&cluster, &["get", "-o", "name", "-f", file.to_str().unwrap()]).await;
    assert_eq!(installed.lines().count(), rendered.len());

    helm(&["upgrade", "daypass", &chart, "--set", "secretNamespaces={default}"]).await;
    kubectl(&cluster, &["get", "-n", "default", "role/daypass-secrets", "rolebinding/daypass-secrets"]).await;

    // There is no kubelet to run the hook; `leaving` plays one.
    helm(&["uninstall", "daypass", "--no-hooks"]).await;
    let kept = kubectl(&cluster, &["get", "crd", "-o", "name"]).await;
    assert_eq!(kept.matches("daypass.dev").count(), daypass::api::crds().len(), "{kept}");
    let left = kubectl(&cluster, &["get", "validatingadmissionpolicies,clusterroles,deployments", "-A", "-o", "name"]).await;
    assert!(!left.contains("daypass"), "{left}");

    // kubectl calls "configured" what the API server then finds unchanged. What counts is the guard: the operator trusts it for as long as
    // UID and generation stay, and an installer that runs again must not make it start over.
    let guard = [
        "get",
        "validatingadmissionpolicies,validatingadmissionpolicybindings",
        "-o",
        "custom-columns=A:.metadata.uid,B:.metadata.generation",
    ];
    kubectl(&cluster, &["apply", "-k", &base]).await;
    let before = kubectl(&cluster, &guard).await;
    kubectl(&cluster, &["apply", "-k", &base]).await;
    assert_eq!(kubectl(&cluster, &guard).await, before);
}
