//! Policies and classes that change under a live grant: a definite no ends it, a deletion after a grace, and nothing uncertain ends anything.

use std::time::Duration;

use daypass::{
    api::{EndReason, lease::LeaseState},
    core::decide::{BACKDATE, DELETED_POLICY_GRACE},
};
use devcluster::wait;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::{
    scene::{Granted, SOON, Scene, forbid, until_condition},
    support::{permit, shared},
};

/// Asserts that the grant ends because of its policy, and returns what the requester is told.
async fn ended_by_policy(scene: &Scene<'_>, granted: &Granted) -> String {
    let (lease, request) = scene.revoking(granted, SOON + Duration::try_from(DELETED_POLICY_GRACE).unwrap()).await;
    assert_eq!(lease.status.unwrap().reason, Some(EndReason::PolicyChanged));
    request.status.unwrap().ended.unwrap().message
}

#[tokio::test]
async fn a_policy_that_no_longer_speaks_of_the_account_ends_its_grants_at_once() {
    let here = shared();
    let scene = Scene::set(&here.stage, "policy-narrowed").await;
    let granted = scene.granted("2m").await;
    scene.set_terms(json!({"subjects": [{"namespaces": ["policy-narrowed"], "serviceAccountNames": ["another"]}]})).await;
    let told = ended_by_policy(&scene, &granted).await;
    assert!(told.starts_with("no policy permits class policy-narrowed for this service account any more"), "{told}");
}

#[tokio::test]
async fn a_forbid_ends_what_is_live_only_when_its_condition_is_definitely_true() {
    let here = shared();
    let scene = Scene::set(&here.stage, "policy-forbid").await;
    let granted = scene.granted("2m").await;
    let ban = |when: &str| forbid("policy-forbid-ban", "policy-forbid", "policy-forbid", "policy-forbid", json!({"when": when}));
    // Its CEL fails at run time: new requests are refused, and what is live goes on.
    here.stage.platform(ban("node.metadata.labels['no-such-label'] == 'x'")).await.unwrap();
    here.wait_ready("dpcpol/policy-forbid-ban").await;
    assert_eq!(scene.denied(json!({})).await.reason, "Forbidden");
    still_open(&scene, &granted).await;
    // It is broken: the same.
    here.stage.platform(ban("node.metadata.")).await.unwrap();
    until_condition(&here.stage, "dpcpol/policy-forbid-ban", "Stalled=True").await;
    assert_eq!(scene.denied(json!({})).await.reason, "Forbidden");
    still_open(&scene, &granted).await;

    here.stage.platform(ban("node.metadata.name == 'node-1'")).await.unwrap();
    let told = ended_by_policy(&scene, &granted).await;
    assert!(told.starts_with("a policy now forbids class policy-forbid for this service account"), "{told}");
}

#[tokio::test]
async fn what_the_request_said_is_what_it_is_judged_on_again() {
    let here = shared();
    let says = json!([{"name": "said", "expression": "has(request.spec.purpose) && has(request.spec.ttl)", "message": "say what for and how long"}]);
    let scene = Scene::on_terms(&here.stage, "policy-request", json!({"require": says})).await;
    let csr = stage::Csr::new().unwrap();
    let ask = json!({"className": "policy-request", "ttl": "5m", "purpose": "reconcile late orders", "csr": csr.pem});
    let request = scene.pod.ask("policy-request", ask).await.unwrap();
    let request = scene.pod.answer(&request).await.unwrap();
    let lease = here.stage.lease_of(&request).await.unwrap().expect("a lease");
    let granted = Granted { request, lease };
    // The shorter end shows that it was judged again.
    scene.set_terms(json!({"require": says, "ttl": {"max": "4m"}})).await;
    let shorter = |lease: &daypass::api::CredentialLease| lease.spec.expires_at < granted.lease.spec.expires_at;
    let lease = scene.lease_when(&granted, "to be shortened", SOON, shorter).await;
    assert_eq!(lease.state(), None, "{:?}", lease.status);
}

#[tokio::test]
async fn a_permit_that_is_broken_hands_out_nothing_new_and_ends_nothing() {
    let here = shared();
    let scene = Scene::set(&here.stage, "policy-broken").await;
    let granted = scene.granted("6s").await;
    scene.set_terms(json!({"when": "pod.metadata.name =="})).await;
    until_condition(&here.stage, "dpcpol/policy-broken", "Stalled=True").await;
    assert_eq!(scene.denied(json!({})).await.reason, "NotPermitted");
    assert_eq!(scene.ended(&granted).await.reason, EndReason::Expired, "it runs to its end");
}

#[tokio::test]
async fn a_gate_that_became_false_ends_the_grant_and_one_that_cannot_be_told_does_not() {
    let here = shared();
    let scene = Scene::set(&here.stage, "policy-gate").await;
    let granted = scene.granted("2m").await;
    let gate = |expression: &str| json!({"require": [{"name": "prod", "expression": expression, "message": "run in production"}]});
    scene.set_terms(gate("node.metadata.labels['no-such-label'] == 'x'")).await;
    scene.ready().await;
    assert_eq!(scene.denied(json!({})).await.reason, "GateFailed", "new requests need a definite yes");
    still_open(&scene, &granted).await;
    scene.set_terms(gate("pod.metadata.namespace == 'prod'")).await;
    let told = ended_by_policy(&scene, &granted).await;
    assert!(told.contains("condition prod does not hold: run in production"), "{told}");
}

#[tokio::test]
async fn lower_ceilings_shorten_what_is_live_in_the_ledger_and_in_the_status() {
    let here = shared();
    let scene = Scene::set(&here.stage, "policy-ceiling").await;
    let granted = scene.granted("10m").await;
    let begun = granted.lease.spec.not_before + BACKDATE;
    scene.set_class(json!({"ttl": {"default": "1m", "max": "5m"}})).await;
    shortened(&scene, &granted, begun + SignedDuration::from_mins(5)).await;
    scene.set_terms(json!({"ttl": {"max": "2m"}})).await;
    shortened(&scene, &granted, begun + SignedDuration::from_mins(2)).await;
    scene.set_class(json!({"ttl": {"default": "10m", "max": "15m"}})).await;
    scene.set_terms(json!({"ttl": null})).await;
    scene.ready().await;
    let lease = scene.leases().get(&granted.lease.name_any()).await.unwrap();
    assert_eq!(lease.spec.expires_at, begun + SignedDuration::from_mins(2), "it can only shrink");

    scene.set_class(json!({"ttl": {"default": "1s", "max": "1s"}})).await;
    let told = ended_by_policy(&scene, &granted).await;
    assert!(told.starts_with("its policy or class now gives less time than has passed"), "{told}");
}

#[tokio::test]
async fn a_shortened_grant_ends_at_its_new_date_and_is_dead_at_its_old_one() {
    let here = shared();
    let scene = Scene::set(&here.stage, "policy-shortened").await;
    let granted = scene.granted("30s").await;
    scene.set_terms(json!({"ttl": {"max": "20s"}})).await;
    let date = granted.lease.spec.not_before + BACKDATE + SignedDuration::from_secs(20);
    shortened(&scene, &granted, date).await;
    let (lease, _) = scene.revoking(&granted, SOON).await;
    let status = lease.status.unwrap();
    assert_eq!((status.reason, status.ended_time), (Some(EndReason::Expired), Some(date)));
    let ended = scene.ended(&granted).await;
    assert!(ended.seconds_to_dead.unwrap() >= 10, "the certificate itself cannot be shortened: {ended:?}");
}

#[tokio::test]
async fn a_class_that_no_longer_serves_the_namespace_or_the_delivery_ends_its_grants() {
    let here = shared();
    let (one, other) = (Scene::set(&here.stage, "policy-class-ns").await, Scene::set(&here.stage, "policy-class-csr").await);
    let (of_one, of_other) = (one.granted("2m").await, other.granted("2m").await);
    one.set_class(json!({"allowedNamespaces": {"names": ["somewhere-else"]}})).await;
    other.set_class(json!({"delivery": ["Secret"]})).await;
    assert!(ended_by_policy(&one, &of_one).await.starts_with("class policy-class-ns is no longer for namespace policy-class-ns"));
    assert!(ended_by_policy(&other, &of_other).await.starts_with("class policy-class-csr no longer delivers by CSR"));
}

/// Nothing happens when a date passes, so the operator looks again by itself, once a minute.
#[tokio::test]
async fn a_policy_that_reached_its_end_or_its_hour_ends_its_grants_within_a_minute() {
    let here = shared();
    let date = Timestamp::now() + SignedDuration::from_secs(20);
    let (dated, timed) = (Scene::set(&here.stage, "policy-dated"), Scene::set(&here.stage, "policy-timed"));
    let (dated, timed) = (dated.await, timed.await);
    dated.set_terms(json!({"expiresAt": date})).await;
    timed.set_terms(json!({"when": format!("now < timestamp('{date}')")})).await;
    for scene in [&dated, &timed] {
        scene.ready().await;
    }
    for (scene, granted) in [(&dated, dated.granted("5m").await), (&timed, timed.granted("5m").await)] {
        let left = Duration::try_from(date.duration_since(Timestamp::now())).unwrap_or_default();
        let (lease, _) = scene.revoking(&granted, left + Duration::from_secs(60) + SOON).await;
        let status = lease.status.unwrap();
        assert_eq!(status.reason, Some(EndReason::PolicyChanged));
        let late = status.ended_time.unwrap().duration_since(date);
        println!("{}: ended {late:#} after its date", scene.name);
        assert!((SignedDuration::ZERO..SignedDuration::from_secs(90)).contains(&late), "{late:#}");
    }
}

/// Four deletions in one story, so that their grace passes once.
#[tokio::test]
async fn a_deletion_ends_grants_after_its_grace_unless_another_policy_permits_them_by_then() {
    let here = shared();
    let scenes = futures::future::join_all(["policy-deleted", "policy-renamed", "policy-resynced", "policy-class-deleted"].map(|name| {
        let here = here.clone();
        async move {
            let scene = Scene::set(&here.stage, name).await;
            let granted = scene.granted("5m").await;
            (name, granted)
        }
    }))
    .await;
    let began = Timestamp::now();
    for (name, _) in &scenes {
        let object = if *name == "policy-class-deleted" { format!("dpclass/{name}") } else { format!("dpcpol/{name}") };
        assert!(here.stage.cluster.kubectl(["delete", &object]).await.unwrap().status.success());
    }
    here.stage.platform(permit("policy-renamed-new", "policy-renamed", "policy-renamed", "policy-renamed", json!({}))).await.unwrap();
    here.stage.platform(permit("policy-resynced", "policy-resynced", "policy-resynced", "policy-resynced", json!({}))).await.unwrap();

    let limit = SOON + Duration::try_from(DELETED_POLICY_GRACE).unwrap();
    for name in ["policy-deleted", "policy-class-deleted"] {
        let granted = &scenes.iter().find(|(of, _)| *of == name).unwrap().1;
        let lease = lease_when(&here, granted, limit, |lease| lease["status"]["state"] == "Revoking").await;
        assert_eq!(lease["status"]["reason"], "PolicyChanged");
        let ended: Timestamp = lease["status"]["endedTime"].as_str().unwrap().parse().unwrap();
        let waited = ended.duration_since(began);
        println!("{name}: ended {waited:#} after the deletion");
        assert!(waited >= DELETED_POLICY_GRACE - SignedDuration::from_secs(1), "not before its grace was over: {waited:#}");
    }
    for (name, policy) in
        [("policy-renamed", "ClusterAccessPolicy/policy-renamed-new"), ("policy-resynced", "ClusterAccessPolicy/policy-resynced")]
    {
        let granted = &scenes.iter().find(|(of, _)| *of == name).unwrap().1;
        let uid = &granted.lease.spec.policy.uid;
        let lease = lease_when(&here, granted, limit, |lease| lease["spec"]["policy"]["uid"] != json!(uid)).await;
        assert_eq!(
            (&lease["spec"]["policy"]["name"], lease["status"].get("state")),
            (&json!(policy), None),
            "it goes on, counted under that one"
        );
        assert_eq!(lease["spec"]["expiresAt"], json!(granted.lease.spec.expires_at));
    }
}

async fn lease_when(here: &crate::support::Running, granted: &Granted, limit: Duration, there: impl Fn(&Value) -> bool) -> Value {
    let name = granted.lease.name_any();
    wait::until(&format!("lease {name} of {}", granted.request.name_any()), limit, || async {
        let leases = here.stage.leases().await.unwrap();
        let lease = leases.into_iter().find(|lease| lease.name_any() == name)?;
        Some(serde_json::to_value(&lease).unwrap()).filter(|lease| there(lease))
    })
    .await
    .unwrap()
}

/// Asserts that both the ledger and the pod's status say the new date.
async fn shortened(scene: &Scene<'_>, granted: &Granted, date: Timestamp) {
    let lease = scene.lease_when(granted, "shortened", SOON, |lease| lease.spec.expires_at == date).await;
    assert!(lease.state().is_none() && lease.spec.not_after() == granted.lease.spec.not_after(), "{lease:?}");
    let told = |request: &daypass::api::AccessRequest| request.status.as_ref().and_then(|s| s.credential.as_ref()).map(|c| c.expires_at);
    scene.request_when(granted, "shortened", SOON, |request| told(request) == Some(date)).await;
}

/// Asserts that the operator, once it has answered whatever was asked just now, has left this grant alone.
async fn still_open(scene: &Scene<'_>, granted: &Granted) {
    let lease = scene.leases().get(&granted.lease.name_any()).await.unwrap();
    assert_ne!(lease.state(), Some(LeaseState::Revoking), "{:?}", lease.status);
    assert_eq!((lease.state(), lease.spec.expires_at), (None, granted.lease.spec.expires_at));
}
