//! Two thousand grants that are due in the same second, and new requests among them: none is lost, and what ends goes before what is new.

use std::time::Duration;

use daypass::api::{CredentialLease, EndReason, Proof, RequestState};
use devcluster::{Options, wait};
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use serde_json::json;
use stage::{
    Csr, OperatorOptions, Stage,
    auditor::{Auditor, Sight},
};

use crate::{
    revocation::with_list,
    scene::Scene,
    support::{daypass, private},
};

const GRANTS: usize = 2000;
const NEW: usize = 60;
/// A grant takes milliseconds; this is for an unoptimised operator on a busy machine.
const GRANTED_WITHIN: Duration = Duration::from_secs(240);
const ENDED_WITHIN: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_grants_that_are_due_in_the_same_second_all_end_and_before_anything_new_is_granted() {
    let private = private(Options::default()).await;
    let stage = &private.stage;
    let operator = stage.operator(&daypass(), OperatorOptions { log: "warn,daypass=info".into(), ..Default::default() }).await.unwrap();
    operator.ready().await.unwrap();
    let scene = Scene::with(stage, "storm", "storm", with_list("storm", "10m"), json!({})).await;
    let csr = Csr::new().unwrap();
    let ask = async |count: usize, ttl: &str| {
        let asks = (0..count).map(|_| scene.pod.ask_with_csr("storm", Some(ttl), &csr));
        stream::iter(asks).buffer_unordered(16).map(Result::unwrap).collect::<Vec<_>>().await
    };
    ask(GRANTS, "30m").await;
    let states = async |state: RequestState| {
        let requests = scene.requests().list(&Default::default()).await.unwrap().items;
        requests.iter().filter(|request| request.state() == state).count()
    };
    let all = || async { (states(RequestState::Active).await == GRANTS).then_some(()) };
    let granted = wait::until("every grant", GRANTED_WITHIN, all).await;
    granted.unwrap_or_else(|error| panic!("{error}\n{}", operator.process.log_tail(20)));

    // While nobody looks every one of them is given back, and others are asked for.
    operator.process.pause().await;
    scene.requests().delete_collection(&Default::default(), &Default::default()).await.unwrap();
    let new = ask(NEW, "10m").await;
    let resumed = Timestamp::now();
    operator.process.resume().await;

    let over = || async {
        let leases = stage.leases().await.unwrap();
        (leases.iter().filter(|lease| lease.is_closed()).count() >= GRANTS).then_some(leases)
    };
    let leases = wait::until("every end", ENDED_WITHIN, over).await;
    let leases = leases.unwrap_or_else(|error| panic!("{error}\n{}", operator.process.log_tail(20)));
    println!("{GRANTS} ends at once took {:#}", Timestamp::now().duration_since(resumed));
    let is_new = |lease: &&CredentialLease| new.iter().any(|request| request.uid().as_ref() == Some(&lease.spec.request_uid));
    let ended: Vec<_> = leases.iter().filter(|lease| !is_new(lease)).collect();
    assert_eq!(ended.len(), GRANTS, "none is lost");
    for lease in ended {
        let status = lease.status.clone().unwrap_or_default();
        assert_eq!((status.reason, status.proof), (Some(EndReason::Completed), Some(Proof::CRLPublished)), "{}", lease.name_any());
    }
    let answered = || async { (states(RequestState::Active).await == NEW).then_some(()) };
    wait::until("what was asked for meanwhile to be granted", ENDED_WITHIN, answered).await.unwrap();
    ends_went_first(stage, resumed);
    let sight = Sight::take(&scene.admin, &stage.operator_name().namespace).await.unwrap();
    assert_eq!(Auditor::new(SignedDuration::from_secs(60)).judge(&sight), Vec::<String>::new());
}

/// When half of what is new was granted, nine tenths of the ends had been written down.
fn ends_went_first(stage: &Stage, resumed: Timestamp) {
    let calls = stage.cluster.audit().unwrap();
    let times = |verb: &str, resource: &str| -> Vec<Timestamp> {
        calls
            .iter()
            .filter(|call| call.received >= resumed && call.is(verb, resource) && call.code() < 300)
            .map(|call| call.received)
            .collect()
    };
    let (opened, written) = (times("create", "credentialleases"), times("update", "credentialleases/status"));
    assert_eq!(opened.len(), NEW);
    let half = opened[NEW / 2];
    let before = written.iter().filter(|time| **time < half).count();
    println!("{before} of {} writes of ends came before half of {NEW} grants", written.len());
    assert!(before >= GRANTS * 9 / 10, "{before} of {} writes of ends came before {half}", written.len());
}
