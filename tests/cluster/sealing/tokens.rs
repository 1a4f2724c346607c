//! Tokens in a pod: asked for with a key of their own each, opened in memory, kept fresh in files.

use std::path::PathBuf;

use daypass::api::AccessRequest;
use devcluster::{supervisor::Process, wait};
use jiff::SignedDuration;
use kube::{Api, ResourceExt};
use serde_json::json;
use stage::{Mount, Pod, Stage};

use super::{grant, in_pod, key, pending};
use crate::{kinds::quiet, scene::SOON, support::daypass};

const SECONDS: SignedDuration = SignedDuration::from_secs(9);
const MINUTES: SignedDuration = SignedDuration::from_mins(10);

/// An agent that holds tokens of the class `sealed`, its log in this file.
fn agent(mount: &Mount, log: &str) -> (Process, PathBuf) {
    let directory = mount.volume.join("creds");
    let args = ["agent", "--token-class", "sealed", "--dir", directory.to_str().unwrap(), "--listen", "127.0.0.1:0", "--log", "trace"];
    (mount.start(&daypass(), &mount.volume.join(log), &args).unwrap(), directory.join("token"))
}

async fn holds(file: &PathBuf, token: &str) {
    let look = || async { std::fs::read_to_string(file).ok().filter(|found| found == token) };
    wait::until("the token to be in place", SOON, look).await.unwrap();
}

async fn requests(stage: &Stage, pod: &Pod) -> Vec<AccessRequest> {
    Api::<AccessRequest>::namespaced(stage.cluster.admin().unwrap(), &pod.namespace).list(&Default::default()).await.unwrap().items
}

#[tokio::test]
async fn an_agent_keeps_a_token_fresh_and_each_is_sealed_to_a_key_of_its_own() {
    let stage = quiet();
    let pod = stage.pod("tokens-agent", "orders-1", "orders").await.unwrap();
    let mount = pod.mount(&stage).unwrap();
    let (process, file) = agent(&mount, "agent.log");
    let mut keys = vec![];
    for token in ["first-token-7f3a", "second-token-9b1c", "third-token-4e2d"] {
        let request = pending(&stage, &pod).await;
        assert!(request.spec.csr.is_none() && request.spec.secret_name.is_none());
        keys.push(request.spec.seal_to.clone().unwrap());
        grant(&stage, &request, token, SECONDS).await;
        holds(&file, token).await;
        let ends = std::fs::read_to_string(file.with_file_name("expires-at")).unwrap();
        assert!(ends.trim().ends_with('Z') && !file.with_file_name("tls.key").exists());
    }
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 3, "no key is used twice");
    process.stop().await;
    assert!(!file.exists(), "nothing is left");
    let given_back = || async { requests(&stage, &pod).await.is_empty().then_some(()) };
    wait::until("every request to be given back", SOON, given_back).await.unwrap();
    let log = std::fs::read_to_string(process.log()).unwrap();
    assert!(log.contains("TRACE"), "there is something to look through");
    assert!(!log.contains("-token-"), "a token is in the log");
}

#[tokio::test]
async fn an_agent_that_was_killed_goes_on_with_the_token_that_is_in_place() {
    let stage = quiet();
    let pod = stage.pod("tokens-killed", "orders-1", "orders").await.unwrap();
    let mount = pod.mount(&stage).unwrap();
    let (killed, file) = agent(&mount, "killed.log");
    let request = pending(&stage, &pod).await;
    grant(&stage, &request, "the token", MINUTES).await;
    holds(&file, "the token").await;
    killed.kill().await;

    let (next, _) = agent(&mount, "next.log");
    let went_on = || async { std::fs::read_to_string(next.log()).ok().filter(|log| log.contains("going on with the credential")) };
    wait::until("the next agent to go on", SOON, went_on).await.unwrap();
    assert_eq!(requests(&stage, &pod).await.len(), 1, "nothing was asked for again");
    next.stop().await;
    assert!(requests(&stage, &pod).await.is_empty() && !file.exists());
}

#[tokio::test]
async fn a_command_finds_its_token_in_a_file_and_in_its_environment() {
    let stage = quiet();
    let pod = stage.pod("tokens-exec", "orders-1", "orders").await.unwrap();
    let mount = pod.mount(&stage).unwrap();
    let script = r#"echo "$API_TOKEN $(cat "$DAYPASS_DIR/token")""#;
    let args = ["exec", "--token-class", "sealed", "--env", "API_TOKEN=token", "--", "sh", "-c", script];
    let (said, _) = tokio::join!(in_pod(&mount, &args), async {
        let request = pending(&stage, &pod).await;
        grant(&stage, &request, "the-token", MINUTES).await
    });
    assert_eq!((said.code, said.out.as_str()), (0, "the-token the-token\n"), "{said:?}");
    assert!(requests(&stage, &pod).await.is_empty(), "given back");
}

#[tokio::test]
async fn a_script_gets_the_files_of_a_token_and_nothing_of_it_on_its_output() {
    let stage = quiet();
    let pod = stage.pod("tokens-request", "orders-1", "orders").await.unwrap();
    let mount = pod.mount(&stage).unwrap();
    let directory = mount.volume.join("creds");
    let args = ["request", "--token-class", "sealed", "--dir", directory.to_str().unwrap(), "--output", "json"];
    let (said, granted) = tokio::join!(in_pod(&mount, &args), async {
        let request = pending(&stage, &pod).await;
        grant(&stage, &request, "the-token", MINUTES).await
    });
    assert!(said.code == 0 && !said.out.contains("the-token") && said.out.contains(&granted.name_any()), "{said:?}");
    assert_eq!(std::fs::read_to_string(directory.join("token")).unwrap(), "the-token");
}

#[tokio::test]
async fn a_request_that_comes_back_with_another_key_is_given_back_and_said() {
    let stage = quiet();
    let namespace = "tokens-rewritten";
    let pod = stage.pod(namespace, "orders-1", "orders").await.unwrap();
    let mount = pod.mount(&stage).unwrap();
    let (_, theirs) = key(&mount.volume, "theirs.pem").await;
    let object = |kind: &str, spec: serde_json::Value| json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": namespace}, "spec": spec});
    let rules = json!([{"apiGroups": ["daypass.dev"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["accessrequests"]}]);
    let rewrite = format!(r#"[JSONPatch{{op: "replace", path: "/spec/sealTo", value: "{theirs}"}}]"#);
    let policy = object(
        "MutatingAdmissionPolicy",
        json!({
            "failurePolicy": "Fail", "reinvocationPolicy": "Never",
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}, "resourceRules": rules,
            },
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": rewrite}}],
        }),
    );
    stage.platform(policy).await.unwrap();
    stage.platform(object("MutatingAdmissionPolicyBinding", json!({"policyName": namespace}))).await.unwrap();
    let directory = mount.volume.join("creds");
    let args = ["request", "--token-class", "sealed", "--dir", directory.to_str().unwrap(), "--wait", "3s"];
    // Until the policy is in force nobody answers.
    let noticed = || async {
        let said = in_pod(&mount, &args).await;
        said.err.contains("a request for another key or Secret than was asked for").then_some(said)
    };
    let said = wait::until("the other key to be noticed", 2 * SOON, noticed).await.unwrap();
    // Which failure it is depends on what it was doing when its time was up.
    assert!(said.code != 0 && said.out.is_empty() && !directory.join("token").exists(), "{said:?}");
    assert!(requests(&stage, &pod).await.is_empty(), "given back");
}
