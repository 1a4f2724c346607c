//! What a grant rests on goes away between any two writes: the request, the pod, the namespace, the policy.
//!
//! Each life is held at its write, before or after it is done; then the thing goes, and then the write may go on.

use std::time::Duration;

use daypass::api::ClusterAccessPolicy;
use devcluster::{
    proxy::{Action, Fault},
    wait, workload,
};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;
use stage::{Pod, Stage};

use super::{
    arming::Arming,
    lives::{Course, End, Life, Names},
    rig::{ACCOUNT, CLASS, Rig, deliver_secrets_into, ready},
};
use crate::support::permit;

/// How soon a live grant has to end when what it rests on is gone.
const PROMPT: SignedDuration = SignedDuration::from_secs(10);
/// A deleted policy may come back under another name: so long its grants live on.
const GRACE_OF_POLICIES: SignedDuration = SignedDuration::from_secs(30);
/// Shorter than a call of the operator is waited for: nothing that hangs may be given up before.
const SEEN_WITHIN: Duration = Duration::from_secs(8);
const SETTLES_WITHIN: Duration = Duration::from_secs(90);

/// What goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thing {
    /// First, because its grants take the longest to end.
    Policy,
    /// The policy stays, but permits this no more.
    Permission,
    Request,
    Pod,
    Namespace,
}

const THINGS: [Thing; 5] = [Thing::Policy, Thing::Permission, Thing::Request, Thing::Pod, Thing::Namespace];

impl Thing {
    /// How long after it went a grant may still be live. No credential here is asked for so short that it would run out by then.
    fn patience(self) -> SignedDuration {
        if self == Self::Policy { GRACE_OF_POLICIES + PROMPT } else { PROMPT }
    }

    fn ttl(self) -> u64 {
        self.patience().as_secs().unsigned_abs() + 10
    }
}

/// A life and when the ground went from under it.
struct Struck {
    thing: Thing,
    life: Life,
    at: Timestamp,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_between_any_two_writes_of_a_grant_takes_the_grant_with_it() {
    let rig = Rig::set(15).await;
    let courses: Vec<Course> = rig.courses().await.into_iter().filter(|course| course.end == End::Expired).collect();
    let mut struck = Vec::new();
    for thing in THINGS {
        for (title, fault) in [("before", Fault::Before(Action::Hang)), ("after", Fault::After(Action::Hang))] {
            struck.extend(strike(&rig, &courses, thing, title, &fault).await);
        }
    }
    let lives: Vec<Life> = struck.iter().map(|struck| struck.life.clone()).collect();
    rig.over(&lives, SETTLES_WITHIN).await;
    let sight = rig.sight().await.unwrap();
    for Struck { thing, life, at } in &struck {
        let Some(lease) = sight.after.iter().find(|lease| Some(&lease.spec.request_uid) == life.request.uid().as_ref()) else { continue };
        let ended = lease.status.clone().unwrap_or_default();
        let in_time = ended.ended_time.is_some_and(|time| time <= *at + thing.patience());
        assert!(
            in_time,
            "{thing:?} of {} went at {at}, but its lease ended {:?} at {:?}",
            life.names.request, ended.reason, ended.ended_time
        );
    }
    rig.audit().await;
}

/// Holds a life at each write of a grant, takes the thing away from all of them, and lets them go on.
async fn strike(rig: &Rig, courses: &[Course], thing: Thing, title: &str, fault: &Fault) -> Vec<Struck> {
    let title = format!("{thing:?}-{title}").to_lowercase();
    let points: Vec<(&Course, usize)> = courses.iter().flat_map(|course| (0..course.grant).map(move |n| (course, n))).collect();
    let pods = join_all((0..points.len()).map(|n| ground(rig.stage(), format!("{title}-{n}")))).await;
    ready(rig.stage(), &pods.iter().map(|pod| format!("dpcpol/{}", pod.namespace)).collect::<Vec<_>>()).await;
    let arming = Arming::default();
    rig.proxy.play(arming.script(fault));
    let mut lives = Vec::new();
    for ((course, n), pod) in points.into_iter().zip(&pods) {
        let mut names = Names::new(pod, &pod.namespace);
        arming.arm(&course.writes, n, &names);
        let request = rig.ask(pod, &mut names, course.form, thing.ttl()).await;
        lives.push(Life { names, request, end: course.end });
        rig.reached(lives.len(), &arming).await;
    }
    join_all(pods.iter().map(|pod| take_away(rig, thing, pod))).await;
    let at = Timestamp::now();
    rig.proxy.release();
    if thing != Thing::Policy {
        // Before anything else happens: the next strike's policies would have every grant judged again.
        rig.none_live(&lives, PROMPT.unsigned_abs()).await;
    }
    lives.into_iter().map(|life| Struck { thing, life, at }).collect()
}

/// A namespace with a pod and a policy of their own, all of one name.
async fn ground(stage: &Stage, name: String) -> Pod {
    let pod = stage.pod(&name, &name, ACCOUNT).await.unwrap();
    deliver_secrets_into(stage, &name).await;
    stage.platform(permit(&name, &name, ACCOUNT, CLASS, json!({}))).await.unwrap();
    pod
}

async fn take_away(rig: &Rig, thing: Thing, pod: &Pod) {
    let (admin, name, params) = (rig.admin.clone(), &pod.namespace, DeleteParams::default());
    let policies = Api::<ClusterAccessPolicy>::all(admin.clone());
    match thing {
        Thing::Request => drop(pod.requests().delete(name, &params).await.unwrap()),
        Thing::Pod => workload::delete_pod_now(&admin, name, name).await.unwrap(),
        Thing::Namespace => drop(Api::<Namespace>::all(admin).delete(name, &params).await.unwrap()),
        Thing::Policy => drop(policies.delete(name, &params).await.unwrap()),
        Thing::Permission => {
            let others = json!({"spec": {"subjects": [{"namespaces": [name], "serviceAccountNames": ["nobody"]}]}});
            let edited = policies.patch(name, &PatchParams::default(), &Patch::Merge(others)).await.unwrap();
            // Until the operator has taken it in: from then on nothing tells it of this policy again.
            let seen = |policy: &ClusterAccessPolicy| {
                policy.status.as_ref().and_then(|status| status.observed_generation) == edited.metadata.generation
            };
            let look = || async { policies.get(name).await.ok().filter(seen) };
            wait::until("the operator to see the edit", SEEN_WITHIN, look).await.unwrap();
        }
    }
}
