//! The agent as a native sidecar of a Deployment, and what a namespace's quota does to it.

use std::os::unix::fs::PermissionsExt;

use devcluster::{supervisor::Exit, wait};
use serde_json::json;

use super::{applied::applied, hosted::Hosted};
use crate::{
    pods::{self, Container},
    scene::{SOON, Scene},
    support::shared,
};

#[tokio::test]
async fn a_deployment_s_application_starts_with_a_credential_and_finds_fresh_ones() {
    let here = shared();
    applied(&here, "deployment.md").await;
    let pod = Hosted::take(&here, "orders").await;
    let agent = pod.container("daypass").await.start();
    pod.started("daypass", &agent).await;
    let directory = pod.volume("credential");
    pods::judged(&pod.scene, &directory).await;
    let listing = "cd /run/daypass && stat -c '%a %n' -L tls.crt tls.key ca.crt expires-at";
    let application = pod.container("app").await.instead(&["sh", "-c", listing]);
    let said = application.run().await;
    assert_eq!(said.out, "600 tls.crt\n600 tls.key\n600 ca.crt\n600 expires-at\n", "{said:?}");

    let first = std::fs::read_to_string(directory.join("tls.crt")).unwrap();
    let renewed = || async { (std::fs::read_to_string(directory.join("tls.crt")).unwrap() != first).then_some(()) };
    wait::until("a renewal", SOON, renewed).await.unwrap();
    pods::judged(&pod.scene, &directory).await;
    let requests = pod.requests().await;
    let workloads: Vec<_> = requests.iter().filter_map(|request| request.status.as_ref()?.workload.as_deref()).collect();
    assert!(!workloads.is_empty() && workloads.iter().all(|workload| *workload == "Deployment/orders"), "{workloads:?}");
    assert!(used(&directory) < 100 << 10, "some tens of kilobytes");

    assert_eq!(agent.stop().await, Exit::Code(0));
    pod.given_back().await;
    assert!(!directory.join("tls.key").exists(), "no key is left behind");
    let log = std::fs::read_to_string(agent.log()).unwrap();
    assert!(!log.contains("is not in memory") && !log.contains("is denied"), "{log}");
}

#[tokio::test]
async fn one_live_credential_for_each_pod_is_one_too_few() {
    let here = shared();
    let scene = Scene::on_terms(&here.stage, "recipes-limit", json!({"limits": {"livePerPod": 1}})).await;
    let container = Container::new(&scene);
    let agent = container.agent("creds", &["--ttl", "10s"]);
    agent.ready().await;
    let denied = || async { agent.log().contains("LimitReached").then_some(()) };
    wait::until("the renewal to be denied", SOON, denied).await.unwrap_or_else(|error| panic!("{error}: {}", agent.log()));
}

#[tokio::test]
async fn a_pod_that_the_quota_keeps_from_asking_is_told_so_and_asks_again() {
    let here = shared();
    let scene = Scene::set(&here.stage, "recipes-quota").await;
    let name = "count/accessrequests.daypass.dev";
    let quota = |most: &str| json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "daypass", "namespace": scene.namespace}, "spec": {"hard": {name: most}}});
    here.stage.platform(quota("0")).await.unwrap();
    let container = Container::new(&scene);
    let agent = container.agent("creds", &[]);
    // kube-controller-manager counts a new kind after half a minute; until then nothing of it is admitted, which is told the same way.
    let told = || async { agent.log().contains("exceeded quota: daypass").then_some(()) };
    wait::until("the agent to say so", 3 * SOON, told).await.unwrap_or_else(|error| panic!("{error}: {}", agent.log()));
    assert!(
        agent.log().contains("no credential is live; trying again in") && !agent.log().contains("daypass-requester"),
        "{}",
        agent.log()
    );
    // Time may cure it: no script takes it for a denial.
    let said = container.exec(&["--wait", "1s", "--", "true"]).await;
    assert!(said.code == 75 && said.err.contains("raise it"), "{said:?}");
    here.stage.platform(quota("5")).await.unwrap();
    agent.ready().await;
    assert_eq!(pods::requests(&scene).await.len(), 1);
}

/// Bytes of a directory and everything in it, in pages as memory is given out.
fn used(directory: &std::path::Path) -> u64 {
    let pages = |length: u64| length.div_ceil(4096).max(1) * 4096;
    let entries = std::fs::read_dir(directory).unwrap().flatten();
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => used(&entry.path()),
        Ok(metadata) if metadata.permissions().mode() & 0o170_000 == 0o120_000 => 4096,
        Ok(metadata) => pages(metadata.len()),
        Err(_) => 0,
    };
    4096 + entries.map(size).sum::<u64>()
}
