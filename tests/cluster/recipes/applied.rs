//! Applies the manifests of a page for real, once for all tests.

use std::{collections::BTreeSet, time::Duration};

use devcluster::{wait, workload};
use k8s_openapi::api::core::v1::ResourceQuota;
use kube::Api;
use tokio::sync::Mutex;

use super::page::Page;
use crate::support::Running;

/// The namespace of all recipes.
pub const NAMESPACE: &str = "shop";
/// How long a credential lives in these tests: what the classes of the pages give as their default is replaced by it.
pub const LIFE: Duration = Duration::from_secs(20);
/// kube-controller-manager looks for new kinds to count every half minute.
const COUNTED_WITHIN: Duration = Duration::from_secs(120);

/// Applies what every recipe needs and the manifests of a page.
pub async fn applied(here: &Running, page: &str) {
    static DONE: Mutex<BTreeSet<String>> = Mutex::const_new(BTreeSet::new());
    let mut done = DONE.lock().await;
    if done.insert("README.md".into()) {
        let admin = here.stage.cluster.admin().unwrap();
        workload::namespace(&admin, NAMESPACE, &[]).await.unwrap();
        kubectl(here, &["label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted", "--overwrite"]).await;
        apply(here, &Page::read("README.md")).await;
        let quotas = Api::<ResourceQuota>::namespaced(admin, NAMESPACE);
        let counted = || async {
            let used = quotas.get("daypass").await.ok()?.status?.used?;
            used.contains_key("count/accessrequests.daypass.dev").then_some(())
        };
        wait::until("the quota to be counted", COUNTED_WITHIN, counted).await.unwrap();
    }
    if done.insert(page.into()) {
        apply(here, &Page::read(page)).await;
    }
}

async fn apply(here: &Running, page: &Page) {
    let documents: Vec<_> = page.documents().iter().map(|text| hastened(text)).collect();
    apply_text(here, &page.name, &documents.join("---\n")).await;
    for object in page.objects() {
        let name = object["metadata"]["name"].as_str().unwrap();
        match object["kind"].as_str().unwrap() {
            "CredentialClass" => here.wait_ready(&format!("dpclass/{name}")).await,
            "ClusterAccessPolicy" => here.wait_ready(&format!("dpcpol/{name}")).await,
            _ => {}
        }
    }
}

/// Applies YAML as a person does.
pub async fn apply_text(here: &Running, name: &str, yaml: &str) {
    let file = here.stage.file(&format!("recipe-{name}.yaml"));
    std::fs::write(&file, yaml).unwrap();
    kubectl(here, &["apply", "--server-side", "--validate=strict", "-f", file.to_str().unwrap()]).await;
}

/// Runs kubectl as the administrator; it has to succeed.
pub async fn kubectl(here: &Running, args: &[&str]) -> String {
    let output = here.stage.cluster.kubectl(args).await.unwrap();
    assert!(output.status.success(), "kubectl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A class's document with its default life cut to that of the tests; any other document as it is.
fn hastened(document: &str) -> String {
    if !document.contains("kind: CredentialClass\n") {
        return document.to_owned();
    }
    let cut = |line: &str| match line.strip_prefix("    default: ") {
        Some(_) => format!("    default: {}s\n", LIFE.as_secs()),
        None => format!("{line}\n"),
    };
    let text: String = document.lines().map(cut).collect();
    assert_ne!(text, document, "a class without a default life");
    text
}
