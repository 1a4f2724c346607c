//! By each thing that a lease can be found by: what is meant ends, what is beside it stays.

use daypass::api::EndReason;
use devcluster::workload::{self, PodSpec};
use futures::future::join_all;
use kube::ResourceExt;
use serde_json::json;
use stage::Pod;

use super::{last, revoke};
use crate::{
    plugin::Person,
    scene::{Granted, Scene, run},
    support::shared,
};

/// What is meant lives this long, so that its end can be waited for.
const SHORT: &str = "30s";
/// What must not end.
const LONG: &str = "5m";

/// Whom a lease is given to.
type Holder<'s> = (&'s Scene<'s>, &'s Pod);

/// A way to mean things; `REQUEST` and `LEASE` stand for those of the first.
struct Way<'s> {
    args: &'static str,
    meant: Vec<Holder<'s>>,
    spared: Vec<Holder<'s>>,
}

#[tokio::test]
async fn each_way_ends_what_it_means_and_nothing_beside_it() {
    let here = shared();
    let (stage, admin) = (&here.stage, here.stage.cluster.admin().unwrap());
    let set = async |namespace: &str, name: &str| Scene::with(stage, namespace, name, json!({}), json!({})).await;
    let (account, beside) = (set("revoke-account", "revoke-account").await, set("revoke-account", "revoke-beside").await);
    let (first, second) = (set("revoke-namespace", "revoke-first").await, set("revoke-namespace", "revoke-second").await);
    let (class, pod) = (set("revoke-class", "revoke-class").await, set("revoke-pod", "revoke-pod").await);
    let another = pod.another_pod("revoke-pod-2").await;
    workload::node(&admin, "node-revoked", &[]).await.unwrap();
    let away = run(stage, &PodSpec::new("revoke-pod", "away").service_account("revoke-pod").node("node-revoked")).await;
    let mut bad = PodSpec::new("revoke-pod", "bad").service_account("revoke-pod");
    bad.image = "registry.example/bad:1.0".into();
    let bad = run(stage, &bad).await;

    let (the_pod, others) = ((&pod, &pod.pod), vec![(&pod, &another), (&beside, &beside.pod)]);
    let ways = [
        Way {
            args: "--service-account revoke-account/revoke-account",
            meant: vec![(&account, &account.pod), (&account, &account.pod)],
            spared: vec![(&beside, &beside.pod)],
        },
        Way { args: "-n revoke-namespace", meant: vec![(&first, &first.pod), (&second, &second.pod)], spared: others.clone() },
        Way { args: "--class revoke-class", meant: vec![(&class, &class.pod)], spared: others.clone() },
        Way { args: "--node node-revoked", meant: vec![(&pod, &away)], spared: others.clone() },
        Way { args: "--image registry.example/bad", meant: vec![(&pod, &bad)], spared: others.clone() },
        Way { args: "-n revoke-pod --request REQUEST", meant: vec![(&pod, &another)], spared: others.clone() },
        Way { args: "--lease LEASE", meant: vec![(&pod, &another)], spared: others },
        // Last, because another request of the same pod is among what the others mean.
        Way { args: "--pod revoke-pod/revoke-pod-1", meant: vec![the_pod], spared: vec![(&pod, &another)] },
    ];
    let person = Person::admin(stage);
    join_all(ways.iter().map(|way| way.plays(&person))).await;
}

impl Way<'_> {
    async fn plays(&self, person: &Person<'_>) {
        let (meant, spared) = tokio::join!(given(&self.meant, SHORT), given(&self.spared, LONG));
        let args = self.args.replace("REQUEST", &meant[0].request.name_any()).replace("LEASE", &meant[0].lease.name_any());
        let args: Vec<&str> = args.split(' ').collect();
        let dry = person.kubectl(&[&["daypass", "revoke", "--dry-run"], &args[..]].concat()).await;
        let said = revoke(person, &args).await;
        let count = meant.len();
        assert!(dry.code == 0 && last(&dry).starts_with(&format!("{count} credential")), "{args:?}: {dry:?}");
        assert_eq!((said.code, last(&said)), (0, format!("{count} proven dead, 0 still waiting, 0 failed").as_str()), "{args:?}: {said:?}");
        for ((scene, _), granted) in self.meant.iter().zip(&meant) {
            ended_by_the_admin(scene, granted, &args).await;
        }
        for ((scene, _), granted) in self.spared.iter().zip(&spared) {
            let lease = scene.leases().get(&granted.lease.name_any()).await.unwrap();
            assert!(lease.spec.revoke.is_none() && lease.status.is_none(), "{args:?} ended what is beside it: {:?}", lease.status);
        }
    }
}

async fn given(holders: &[Holder<'_>], ttl: &str) -> Vec<Granted> {
    join_all(holders.iter().map(|(scene, pod)| scene.granted_to(pod, ttl))).await
}

async fn ended_by_the_admin(scene: &Scene<'_>, granted: &Granted, args: &[&str]) {
    let lease = scene.leases().get(&granted.lease.name_any()).await.unwrap();
    let (revoke, status) = (lease.spec.revoke.as_ref().unwrap(), lease.status.as_ref().unwrap());
    assert_eq!((revoke.by.as_str(), revoke.reason.as_str()), ("admin", "key leaked"), "{args:?}");
    assert_eq!(status.reason, Some(EndReason::RevokedByPerson), "{args:?}");
    assert!(lease.is_closed() && status.closed_time.unwrap() >= lease.spec.not_after(), "{args:?}");
}
