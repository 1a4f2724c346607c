//! Chart and kustomize base render the same objects.

use std::{collections::BTreeMap, fs};

use daypass::install::guard::STAMPS;
use serde_json::{Value, json};

use super::tools::{Identity, hooks, kustomize, scratch, source, template};

const KEPT: &str = "helm.sh/resource-policy";

/// Takes away what may differ, each with its reason, and fails if it is not there: an exception that is none is a mistake.
fn same_but(chart: &mut BTreeMap<Identity, Value>, base: &mut BTreeMap<Identity, Value>) {
    // Helm makes the namespace (--create-namespace) before it looks at any template; its label is in the notes.
    let namespace = ["v1", "Namespace", "", "daypass-system"].map(str::to_owned);
    assert!(base.remove(&namespace).is_some());
    // An uninstall would delete the definitions and, with them, the ledger.
    for ([_, kind, _, name], object) in chart {
        if kind == "CustomResourceDefinition" {
            let annotations = object["metadata"].as_object_mut().unwrap().remove("annotations").unwrap();
            assert_eq!(annotations, json!({KEPT: "keep"}), "{name}");
        }
    }
}

#[track_caller]
fn assert_same(mut chart: BTreeMap<Identity, Value>, mut base: BTreeMap<Identity, Value>) {
    same_but(&mut chart, &mut base);
    let names = |objects: &BTreeMap<Identity, Value>| objects.keys().map(|identity| identity.join(" ")).collect::<Vec<_>>();
    assert_eq!(names(&chart), names(&base));
    for (identity, object) in &chart {
        assert_eq!(object, &base[identity], "{identity:?}");
    }
}

#[tokio::test]
async fn chart_and_kustomize_base_install_the_same_objects() {
    let (chart, base) = (template(&[]).await.unwrap(), kustomize(source("deploy")).await);
    assert!(
        !chart.keys().any(|[_, kind, namespace, _]| kind == "Role" && namespace != "daypass-system"),
        "no namespace gets Secrets unasked"
    );
    assert_same(chart, base);
}

#[tokio::test]
async fn chart_and_base_drain_the_same_way_and_the_rights_for_it_come_first_and_go_with_it() {
    let (mut chart, base) = (hooks(&[]).await.unwrap(), kustomize(source("deploy/drain")).await);
    for ([_, kind, ..], object) in &mut chart {
        let annotations = object["metadata"].as_object_mut().unwrap().remove("annotations").unwrap();
        let weight = if kind == "Job" { "0" } else { "-1" };
        let hook = json!({
            "helm.sh/hook": "pre-delete", "helm.sh/hook-weight": weight, "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded",
        });
        assert_eq!(annotations, hook, "{kind}");
    }
    assert_eq!(chart, base);
    let installed = json!(template(&[]).await.unwrap().into_values().collect::<Vec<_>>()).to_string();
    assert!(!installed.contains("daypass-drain"), "an operator at work has the rights of a drain");
}

#[tokio::test]
async fn chart_and_overlay_give_the_same_rights_in_namespaces_that_get_secrets() {
    // The overlays that the base asks people to write: one a namespace, and one of everything. kustomize takes only relative paths.
    let (overlay, deploy) = (scratch("overlay"), source("deploy").canonicalize().unwrap());
    let write = |directory: &str, content: String| {
        let directory = overlay.join(directory);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("kustomization.yaml"), content).unwrap();
    };
    let up = |directory: &str| "../".repeat(overlay.join(directory).canonicalize().unwrap_or(overlay.clone()).components().count() - 1);
    for namespace in ["billing", "shop"] {
        write(namespace, String::new());
        write(
            namespace,
            format!("namespace: {namespace}\nresources: [{}{}/secret-namespace]\n", up(namespace), &deploy.display().to_string()[1..]),
        );
    }
    write("all", String::new());
    write("all", format!("resources: [{}{}, ../billing, ../shop]\n", up("all"), &deploy.display().to_string()[1..]));

    let chart = template(&["--set", "secretNamespaces={billing,shop}"]).await.unwrap();
    assert_eq!(chart.keys().filter(|[_, kind, _, name]| kind == "RoleBinding" && name == "daypass-secrets").count(), 2);
    assert_same(chart, kustomize(overlay.join("all")).await);
    fs::remove_dir_all(overlay).unwrap();
}

#[tokio::test]
async fn the_chart_follows_another_namespace_and_account_everywhere() {
    let renamed = template(&["--namespace", "platform", "--set", "serviceAccountName=issuer"]).await.unwrap();
    let leaving = hooks(&["--namespace", "platform", "--set", "serviceAccountName=issuer"]).await.unwrap();
    let text = json!(renamed.values().chain(leaving.values()).collect::<Vec<_>>()).to_string();
    assert!(!text.contains("daypass-system"), "the default namespace is still named");
    assert!(text.contains("'system:serviceaccount:platform:issuer'"));
}

#[tokio::test]
async fn the_stamp_goes_in_where_it_is_served() {
    // Each with its binding.
    let all = 2 * STAMPS.len();
    let stamped = |objects: BTreeMap<Identity, Value>| objects.keys().filter(|[_, kind, _, _]| kind.starts_with("Mutating")).count();
    let with = async |args: &[&str]| stamped(template(args).await.unwrap());
    assert_eq!(with(&["--kube-version", "1.35.4"]).await, 0);
    assert_eq!(with(&["--kube-version", "1.36.0"]).await, all);
    assert_eq!(with(&["--kube-version", "1.35.4", "--set", "stamp=Always"]).await, all);
    assert_eq!(with(&["--set", "stamp=Never"]).await, 0);
    assert_eq!(with(&["--kube-version", "1.35.4", "--api-versions", "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"]).await, all);
}
