//! Hundreds of grants that end at once, and new requests among them: none is lost, and what ends goes before what is new. Ten thousand are for
//! `cargo xtask bench revoke`.

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

const GRANTS: usize = 500;
const NEW: usize = 120;
/// A grant takes milliseconds; this is for an unoptimised operator on a busy machine.
const GRANTED_WITHIN: Duration = Duration::from_secs(240);
const ENDED_WITHIN: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_grants_that_end_at_once_all_end_and_what_is_new_waits_meanwhile() {
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

/// Until nine tenths of the ends had been written down, one new grant a second was made, and those for which the queue of ends had not begun to
/// fill. How long the ends take is the machine's affair.
fn ends_went_first(stage: &Stage, resumed: Timestamp) {
    let calls = stage.cluster.audit().unwrap();
    let times = |verb: &str, resource: &str| -> Vec<Timestamp> {
        calls
            .iter()
            .filter(|call| call.received >= resumed && call.is(verb, resource) && call.code() < 300)
            .map(|call| call.received)
            .collect()
    };
    let (opened, mut written) = (times("create", "credentialleases"), times("update", "credentialleases/status"));
    written.sort();
    assert_eq!(opened.len(), NEW);
    let nearly_all = written[GRANTS * 9 / 10];
    let meanwhile = opened.iter().filter(|time| **time < nearly_all).count();
    let most = NEW / 4 + usize::try_from(nearly_all.duration_since(resumed).as_secs()).unwrap();
    println!("{meanwhile} of {NEW} grants were made before nine tenths of the ends were written down, {most} may be");
    assert!(meanwhile <= most, "{meanwhile} of {NEW} grants were made meanwhile, more than {most}");
}
