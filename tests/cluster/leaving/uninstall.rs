//! `helm uninstall` with a hundred live grants: none of them is left, and whoever did it had the rights for it and no other.

use std::{collections::BTreeSet, sync::Arc};

use daypass::{
    api::{CredentialLease, EndReason, RequestState},
    install::{
        Values,
        rights::{DRAIN, RIGHTS},
    },
};
use devcluster::{Cluster, Options, audit::Event, wait, workload};
use futures::{StreamExt, stream};
use jiff::SignedDuration;
use serde_json::json;
use stage::{
    Csr, NODE, Stage,
    auditor::{Auditor, Sight},
};

use super::kubelet::Kubelet;
use crate::{
    install::{rights::covers, tools},
    scene::{SOON, until_ready},
    support::{class, permit, turn},
};

const GRANTS: usize = 100;
/// Seconds that each is granted for: long enough for all to be live at once, on a machine under load.
const TTL: &str = "45s";
const NAMESPACE: &str = "leaving";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_uninstall_with_a_hundred_live_grants_leaves_none() {
    let _turn = turn().await;
    stage::install_provider();
    let cluster = Cluster::start(Options::default()).await.unwrap();
    workload::node(&cluster.admin().unwrap(), NODE, &[]).await.unwrap();
    let stage = Arc::new(Stage { cluster, values: Values::default() });
    let helm = async |args: &[&str]| {
        let args = args.iter().copied().chain(["--namespace", "daypass-system"]);
        tools::helm(Some(stage.cluster.admin_kubeconfig()), args).await
    };
    let chart = tools::source("charts/daypass").display().to_string();
    helm(&["install", "daypass", &chart, "--create-namespace", "--set", "args={--listen=127.0.0.1:0}"]).await.unwrap();
    let kubelet = Kubelet::begin(&stage);
    let (_, operator) = kubelet.operator().await;

    stage.platform(class(NAMESPACE)).await.unwrap();
    stage.platform(permit(NAMESPACE, NAMESPACE, "orders", NAMESPACE, json!({}))).await.unwrap();
    until_ready(&stage, &format!("dpclass/{NAMESPACE}")).await;
    until_ready(&stage, &format!("dpcpol/{NAMESPACE}")).await;
    let pod = stage.pod(NAMESPACE, "orders-1", "orders").await.unwrap();
    let asks = (0..GRANTS).map(|_| async { pod.ask_with_csr(NAMESPACE, Some(TTL), &Csr::new().unwrap()).await.unwrap() });
    stream::iter(asks).buffer_unordered(8).collect::<Vec<_>>().await;
    let sight = async || Sight::take(&stage.cluster.admin().unwrap(), "daypass-system").await.unwrap();
    let live = |sight: &Sight| sight.requests.iter().filter(|request| request.state() == RequestState::Active).count();
    let all = wait::until("every grant", SOON, || async { Some(sight().await).filter(|sight| live(sight) == GRANTS) }).await;
    let all = all.unwrap_or_else(|error| panic!("{error}\n{}", operator.process.log_tail(20)));
    let mut auditor = Auditor::new(SignedDuration::from_secs(30));
    assert_eq!(auditor.judge(&all), Vec::<String>::new());
    assert_eq!(all.after.iter().filter(|lease| lease.state().is_none()).count(), GRANTS, "all are live");

    let uninstalled = helm(&["uninstall", "daypass", "--timeout", "3m"]).await;
    let log = kubelet.log("daypass-drain");
    uninstalled.unwrap_or_else(|error| panic!("{error}\n{log}"));

    let end = sight().await;
    assert_eq!(auditor.judge_the_end(&end), Vec::<String>::new(), "{log}");
    assert_eq!(end.after.len(), GRANTS, "none is forgotten");
    end.after.iter().for_each(closed_by_the_drain);
    let told = end.requests.iter().filter(|request| request.state() == RequestState::Ended);
    assert_eq!(told.count(), GRANTS, "whoever asked is told");
    assert!(operator.process.exit().is_some_and(|exit| exit.success()), "the operator ended by itself");
    for line in ["Deployment daypass-system/daypass is scaled to nothing", "no operator is running", "credentials live until", "drained:"] {
        assert!(log.contains(line), "{line:?} is not in:\n{log}");
    }
    let left =
        stage.cluster.kubectl(["get", "deployments,jobs,clusterroles,validatingadmissionpolicies", "-A", "-o", "name"]).await.unwrap();
    let left = String::from_utf8(left.stdout).unwrap();
    assert!(!left.contains("daypass"), "{left}");
    uses_its_rights_and_needs_no_other(&stage, &kubelet.names("daypass-drain"));
}

#[track_caller]
fn closed_by_the_drain(lease: &CredentialLease) {
    let status = lease.status.as_ref().unwrap();
    assert!(lease.is_closed() && status.reason == Some(EndReason::Drained), "{status:?}");
    assert!(status.closed_time.unwrap() >= lease.spec.not_after(), "nothing is called dead while verifiers accept it");
}

/// Calls of the pods of a drain: the operator's account made them, and its tokens say from which pod.
fn uses_its_rights_and_needs_no_other(stage: &Stage, pods: &[String]) {
    let name = stage.operator_name();
    let of_a_drain = |event: &Event| {
        let pod = event.user.extra.get("authentication.kubernetes.io/pod-name").and_then(|names| names.first());
        event.user.username == name.username() && pod.is_some_and(|pod| pods.contains(pod))
    };
    let calls: Vec<Event> = stage.cluster.audit().unwrap().into_iter().filter(of_a_drain).collect();
    let home = &name.namespace;
    let unused = DRAIN.iter().flat_map(|right| right.verbs.iter().map(move |verb| (right, *verb)));
    let unused: Vec<_> = unused.filter(|(right, verb)| !calls.iter().any(|call| covers(right, verb, call, home))).collect();
    assert!(unused.is_empty(), "rights that nothing uses: {unused:?}");
    let say = |call: &Event| format!("{} {} → {}", call.verb, call.request_uri, call.code());
    let allowed = |call: &Event| call.annotations.get("authorization.k8s.io/decision").is_some_and(|decision| decision == "allow");
    let refused: BTreeSet<String> = calls.iter().filter(|call| !allowed(call)).map(say).collect();
    assert_eq!(refused, BTreeSet::new(), "rights that are missing");
    let known = |call: &Event| RIGHTS.iter().chain(DRAIN).any(|right| right.verbs.iter().any(|verb| covers(right, verb, call, home)));
    let uncovered: BTreeSet<String> = calls.iter().filter(|call| call.object_ref.is_some() && !known(call)).map(say).collect();
    assert_eq!(uncovered, BTreeSet::new(), "allowed by somebody else's grant, not by ours");
    let grants = calls.iter().filter(|call| call.is("create", "credentialleases") || call.is("create", "accessrequests"));
    assert_eq!(grants.count(), 0, "a drain issues nothing");
    assert!(calls.iter().map(|call| call.reached).max().is_some_and(|last| last.duration_since(calls[0].received) < LONGEST));
}

/// A drain of short certificates takes no longer than the last of them, and some more.
const LONGEST: SignedDuration = SignedDuration::from_secs(80);
