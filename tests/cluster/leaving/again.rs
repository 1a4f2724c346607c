//! A drain that is disturbed: the operator is brought back in the middle, the API server goes away, the drain itself is killed.

use daypass::api::EndReason;
use devcluster::wait;
use kube::ResourceExt;
use serde_json::json;

use super::alone::{House, kubectl};
use crate::scene::{SOON, Scene};

const HOME: &str = "daypass-system";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_that_comes_back_and_an_api_server_that_goes_away_only_delay_it() {
    let house = House::set().await;
    let cluster = &house.stage.cluster;
    let scene = Scene::set(&house.stage, "again").await;
    let granted = [scene.granted("40s").await, scene.granted("40s").await];

    assert!(kubectl(cluster, &["apply", "-k", "deploy/drain"]).await.0);
    said(&house, "2 credentials live until").await;
    let earlier = house.kubelet.names("daypass-");

    // Somebody, a GitOps tool for instance, wants it back.
    assert!(kubectl(cluster, &["-n", HOME, "scale", "deployment/daypass", "--replicas=1"]).await.0);
    let (name, operator) = house.kubelet.container("daypass-", &earlier).await;
    said(&house, "an operator has come back").await;
    wait::until("it to be stopped again", SOON, || async { operator.process.exit() }).await.unwrap();
    assert!(house.kubelet.log("daypass-drain").contains(&name), "which one is told");

    // The API server is gone for a while; what is said of that tells that it was noticed.
    let server = cluster.process("kube-apiserver-0").unwrap();
    server.kill().await;
    said(&house, "trying again").await;
    server.start_again().unwrap();
    cluster.ready().await.unwrap();

    // The drain itself dies, and its Job begins another.
    let drains = house.kubelet.names("daypass-drain");
    let (_, drain) = house.kubelet.container("daypass-drain", &[]).await;
    drain.process.kill().await;
    house.kubelet.container("daypass-drain", &drains).await;

    let complete = ["-n", HOME, "wait", "job/daypass-drain", "--for=condition=Complete", "--timeout=90s"];
    let (done, said) = kubectl(cluster, &complete).await;
    assert!(done, "{said}\n{}", house.kubelet.log("daypass-drain"));
    for granted in &granted {
        assert_eq!(scene.ended(granted).await.reason, EndReason::Drained);
    }
    let open = house.stage.leases().await.unwrap().into_iter().filter(|lease| !lease.is_closed()).map(|lease| lease.name_any());
    assert_eq!(open.collect::<Vec<_>>(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_that_only_time_ends_need_not_be_waited_for_and_are_listed_with_their_dates() {
    let house = House::set().await;
    let cluster = &house.stage.cluster;
    let (of_csr, of_secret) =
        (Scene::set(&house.stage, "accept").await, Scene::with(&house.stage, "secrets-ends", "accept-secret", json!({}), json!({})).await);
    let (live, (_, secret)) = (of_csr.granted("10m").await, of_secret.granted_secret("10m").await);
    let mut objects = daypass::install::drain::objects(&daypass::install::Values {
        drain_args: vec!["--accept-expiry".into()],
        ..house.stage.values.clone()
    });
    for object in objects.drain(..) {
        house.stage.platform(object).await.unwrap();
    }
    let (done, text) = kubectl(cluster, &["-n", HOME, "wait", "job/daypass-drain", "--for=condition=Complete", "--timeout=60s"]).await;
    let log = house.kubelet.log("daypass-drain");
    assert!(done, "{text}\n{log}");
    let date = format!(
        "left to itself: {}, of accept/{}: accepted until {:.0}",
        live.lease.name_any(),
        live.request.name_any(),
        live.lease.spec.not_after()
    );
    assert!(log.contains(&date) && log.contains("2 credentials live until their own time is over"), "{log}");
    assert!(of_secret.secrets().get_opt(&secret.name_any()).await.unwrap().is_none(), "what can be taken back is");
    let (deleted, text) = kubectl(cluster, &["delete", &format!("namespace/{HOME}"), "--dry-run=server"]).await;
    assert!(deleted, "{text}");
    let lease = of_csr.leases().get(&live.lease.name_any()).await.unwrap();
    assert!(!lease.is_closed(), "nothing is called dead while verifiers accept it");
}

/// Waits until a drain says this.
async fn said(house: &House, what: &str) {
    let look = || async { house.kubelet.log("daypass-drain").contains(what).then_some(()) };
    let heard = wait::until(&format!("the drain to say {what:?}"), 2 * SOON, look).await;
    heard.unwrap_or_else(|error| panic!("{error}\n{}", house.kubelet.log("daypass-drain")));
}
