//! Values that make no sense are refused before anything is installed.

use super::tools::{hooks, template};

#[tokio::test]
async fn nonsense_in_values_is_refused_by_name() {
    for (set, named) in [
        ("secretNamespace={shop}", "secretNamespace"),
        ("secretNamespaces={Shop}", "secretNamespaces"),
        ("secretNamespaces={*}", "secretNamespaces"),
        ("secretNamespaces={shop,shop}", "secretNamespaces"),
        ("secretNamespaces=shop", "secretNamespaces"),
        ("serviceAccountName=", "serviceAccountName"),
        ("serviceAccountName=a:b", "serviceAccountName"),
        ("serviceAccountName=null", "serviceAccountName"),
        ("stamp=Sometimes", "stamp"),
        ("stamp=true", "stamp"),
        ("replicas=2", "replicas"),
        ("image=daypass", "image"),
        ("image.repository=", "repository"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("imagePullSecrets={regcred}", "imagePullSecrets"),
        ("args=--workers=8", "args"),
        ("drainArgs=--accept-expiry", "drainArgs"),
        ("resources.cpu=1", "resources"),
        ("nodeSelector.disk=5", "nodeSelector"),
        ("tolerations.key=a", "tolerations"),
        ("priorityClassName=5", "priorityClassName"),
    ] {
        match template(&["--set", set]).await {
            Ok(_) => panic!("{set} was taken"),
            Err(problem) => {
                assert!(problem.contains("don't meet the specifications of the schema") && problem.contains(named), "{set}: {problem}")
            }
        }
    }
}

#[tokio::test]
async fn every_value_reaches_the_pod() {
    let objects = template(&[
        "--set",
        "image.repository=registry.example/daypass,image.tag=v7,image.pullPolicy=Always,imagePullSecrets[0].name=regcred",
        "--set",
        "args={--workers=8,--log=debug},resources.requests.cpu=200m,nodeSelector.disk=ssd,priorityClassName=system-cluster-critical",
        "--set",
        "tolerations[0].key=dedicated,tolerations[0].operator=Exists",
    ])
    .await
    .unwrap();
    let deployment = &objects[&["apps/v1", "Deployment", "daypass-system", "daypass"].map(str::to_owned)];
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(container["image"], "registry.example/daypass:v7");
    assert_eq!(container["imagePullPolicy"], "Always");
    assert_eq!(container["args"], serde_json::json!(["controller", "--workers=8", "--log=debug"]));
    assert_eq!(container["resources"]["requests"]["cpu"], "200m");
    assert_eq!(pod["imagePullSecrets"][0]["name"], "regcred");
    assert_eq!(pod["nodeSelector"]["disk"], "ssd");
    assert_eq!(pod["tolerations"][0]["key"], "dedicated");
    assert_eq!(pod["priorityClassName"], "system-cluster-critical");
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "and nothing softens it");

    let values = "image.repository=registry.example/daypass,image.tag=v7,drainArgs={--accept-expiry},nodeSelector.disk=ssd";
    let job = &hooks(&["--set", values]).await.unwrap()[&["batch/v1", "Job", "daypass-system", "daypass-drain"].map(str::to_owned)];
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["image"], "registry.example/daypass:v7");
    assert_eq!(pod["containers"][0]["args"], serde_json::json!(["drain", "--accept-expiry"]));
    assert_eq!(pod["nodeSelector"]["disk"], "ssd");
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "and nothing softens it");
}
