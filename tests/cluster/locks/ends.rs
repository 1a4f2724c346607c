//! What a lock ends, by each thing that it can be about: what fits ends and is dead, what is beside it stays.

use daypass::{
    api::{
        AccessLockSpec, EndReason, Proof,
        lock::{LockMatch, LockSource},
    },
    cluster::act::Writer,
};
use devcluster::workload::{self, PodSpec};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use serde_json::{Value, json};
use stage::Pod;

use super::{all_dead, lift, place};
use crate::{
    kinds::quiet::Author,
    scene::{Granted, SOON, Scene, refused, run},
    support::shared,
    tokens::{self, Lending},
};

/// What is locked lives this long, so that its end can be waited for.
const SHORT: &str = "40s";
/// What must not end.
const LONG: &str = "5m";

/// Whom a lease is given to.
type Holder<'s> = (&'s Scene<'s>, &'s Pod);

/// Something to lock.
struct Way<'s> {
    name: &'static str,
    matches: Value,
    meant: Vec<Holder<'s>>,
    spared: Vec<Holder<'s>>,
}

#[tokio::test]
async fn each_part_of_a_lock_ends_what_it_is_about_and_nothing_beside_it_and_keeps_it_from_more() {
    let here = shared();
    let (stage, admin) = (&here.stage, here.stage.cluster.admin().unwrap());
    let set = async |namespace: &str, name: &str| Scene::with(stage, namespace, name, json!({}), json!({})).await;
    let (account, beside) = (set("locks-account", "locks-account").await, set("locks-account", "locks-beside").await);
    let (first, second) = (set("locks-namespace", "locks-first").await, set("locks-namespace", "locks-second").await);
    let (class, pod) = (set("locks-class", "locks-class").await, set("locks-pod", "locks-pod").await);
    let another = pod.another_pod("locks-pod-2").await;
    workload::node(&admin, "node-locked", &[]).await.unwrap();
    let away = run(stage, &PodSpec::new("locks-pod", "away").service_account("locks-pod").node("node-locked")).await;
    let mut bad = PodSpec::new("locks-pod", "bad").service_account("locks-pod");
    bad.image = "registry.example/locked:1.0".into();
    let bad = run(stage, &bad).await;

    let others = vec![(&pod, &another), (&beside, &beside.pod)];
    let ways = [
        Way {
            name: "locks-account",
            matches: json!({"namespaces": ["locks-account", "elsewhere"], "serviceAccountNames": ["locks-account"]}),
            meant: vec![(&account, &account.pod), (&account, &account.pod)],
            spared: vec![(&beside, &beside.pod)],
        },
        Way {
            name: "locks-namespace",
            matches: json!({"namespaces": ["locks-namespace"]}),
            meant: vec![(&first, &first.pod), (&second, &second.pod)],
            spared: others.clone(),
        },
        Way {
            name: "locks-class",
            matches: json!({"classes": ["locks-class"]}),
            meant: vec![(&class, &class.pod)],
            spared: others.clone(),
        },
        Way { name: "locks-node", matches: json!({"nodes": ["node-locked"]}), meant: vec![(&pod, &away)], spared: others.clone() },
        Way {
            name: "locks-image",
            matches: json!({"images": ["registry.example/locked"]}),
            meant: vec![(&pod, &bad)],
            spared: others.clone(),
        },
        Way { name: "locks-pod", matches: json!({"podUIDs": [pod.pod.pod.uid().unwrap()]}), meant: vec![(&pod, &pod.pod)], spared: others },
    ];
    join_all(ways.iter().map(Way::plays)).await;
}

impl Way<'_> {
    async fn plays(&self) {
        let stage = self.meant[0].0.stage;
        let (meant, spared) = tokio::join!(given(&self.meant, SHORT), given(&self.spared, LONG));
        place(stage, self.name, self.matches.clone(), 3600).await;
        for ((scene, _), granted) in self.meant.iter().zip(&meant) {
            let (lease, request) = scene.revoking(granted, SOON).await;
            let status = lease.status.unwrap();
            assert_eq!((status.reason, status.lock.unwrap().name.as_str()), (Some(EndReason::Locked), self.name));
            let told = request.status.unwrap().ended.unwrap().message;
            let begins = format!("locked by AccessLock {}, placed by admin: seen where it should not be", self.name);
            assert!(told.starts_with(&begins), "{told}");
        }
        for (scene, pod) in &self.meant {
            let told = refused(stage, pod, json!({"className": scene.name, "csr": stage::Csr::new().unwrap().pem})).await;
            assert_eq!(told.reason, "Forbidden", "{}: {}", self.name, told.message);
            assert!(
                told.message.contains(&format!("AccessLock {} is in force until", self.name))
                    && told.message.contains("seen where it should not be. Ask admin, who placed it"),
                "{}",
                told.message
            );
            let after = told.retry_after.unwrap().parse().unwrap().as_secs();
            assert!((3400..=3600).contains(&after), "until the end of the lock: {after}");
        }
        let held = all_dead(stage, self.name, meant.len() as i64).await;
        assert!(held.status.unwrap().conditions.iter().any(|c| c.type_ == "Ready" && c.reason == "InForce"));
        for ((scene, _), granted) in self.meant.iter().zip(&meant) {
            let ended = scene.ended(granted).await;
            assert_eq!((ended.reason, ended.proof), (EndReason::Locked, Some(Proof::NotAfterPassed)));
        }
        for ((scene, _), granted) in self.spared.iter().zip(&spared) {
            let lease = scene.leases().get(&granted.lease.name_any()).await.unwrap();
            assert!(lease.status.is_none(), "{} ended what is beside it: {:?}", self.name, lease.status);
        }
        lift(stage, self.name).await;
        let (scene, pod) = self.meant[0];
        may_ask_again(scene, pod).await;
    }
}

/// Waits until the operator has seen that a lock is gone: from then on the pod is given something again.
pub async fn may_ask_again(scene: &Scene<'_>, pod: &Pod) {
    devcluster::wait::until("what was locked to be given something again", SOON, || async {
        let request = pod.ask_with_csr(&scene.name, Some("5s"), &stage::Csr::new().unwrap()).await.unwrap();
        let answered = pod.answer(&request).await.unwrap();
        (answered.state() == daypass::api::RequestState::Active).then_some(())
    })
    .await
    .unwrap();
}

async fn given(holders: &[Holder<'_>], ttl: &str) -> Vec<Granted> {
    join_all(holders.iter().map(|(scene, pod)| scene.granted_to(pod, ttl))).await
}

#[tokio::test]
async fn a_token_that_is_locked_is_refused_by_the_api_server_within_seconds() {
    let here = shared();
    let lending = Lending::of(&here.stage, "locked").await;
    let lent = lending.sealed("5m").await;
    assert!(lending.whoami(&lent.token).await.is_some());
    place(&here.stage, "locks-token", json!({"namespaces": ["tokens-locked"]}), 600).await;
    let ended = lending.ended(&lent, tokens::CACHED + SOON).await;
    assert_eq!((ended.reason, ended.proof), (EndReason::Locked, Some(Proof::TokenRefused)));
    assert!(lending.whoami(&lent.token).await.is_none(), "called dead while it works");
    assert!(ended.seconds_to_dead.unwrap() <= 30, "{ended:?}");
    all_dead(&here.stage, "locks-token", 1).await;
}

#[tokio::test]
async fn what_the_operator_locks_by_itself_ends_as_abnormal_and_the_same_incident_is_locked_once() {
    let here = shared();
    let lending = Lending::of(&here.stage, "abnormal").await;
    let lent = lending.sealed("5m").await;
    let spec = AccessLockSpec {
        matches: LockMatch {
            namespaces: Some(vec!["tokens-abnormal".into()]),
            service_account_names: Some(vec!["tokens-abnormal".into()]),
            ..LockMatch::default()
        },
        reason: "asked 40 times in a minute, where 2 are usual".into(),
        expires_at: Timestamp::now() + SignedDuration::from_mins(30),
        source: LockSource::Engine,
        by: here.stage.operator_name().username(),
    };
    let writer = Writer::new(Author::operator(&here.stage).client(), here.stage.operator_name().namespace.clone());
    writer.place_lock("locks-abnormal", spec.clone()).await.unwrap();
    writer.place_lock("locks-abnormal", spec).await.expect("two replicas that notice the same place one lock");
    let ended = lending.ended(&lent, tokens::CACHED + SOON).await;
    assert_eq!(ended.reason, EndReason::AbnormalFrequency);
    assert!(
        ended.message.starts_with("locked by AccessLock locks-abnormal, placed by Daypass itself: asked 40 times"),
        "{}",
        ended.message
    );
    all_dead(&here.stage, "locks-abnormal", 1).await;
}
