//! Tokens under the same faults: kill -9 before and after every write of their grants and ends, replies that are lost, looks at whether a token
//! is refused that fail. Afterwards exactly one token of a request is alive, or none.

use std::time::Duration;

use daypass::api::{CredentialLease, Delivery, Proof};
use devcluster::proxy::{Action, Fault, Script};
use futures::future::join_all;
use kube::ResourceExt;
use serde_json::json;

use super::{
    kills::killed,
    lives::{End, Form, Life},
    rig::{ACCOUNT, NAMESPACE, Rig, ready},
    rounds::{Part, Round},
};
use crate::support::{LENT, permit};

const CLASS: &str = "crash-tokens";
pub const FORMS: [Form; 2] = [Form { class: CLASS, delivery: Delivery::Sealed }, Form { class: CLASS, delivery: Delivery::Secret }];

/// Longer than an API server remembers a token, so that one which nobody used is refused at once.
const COURSE_TTL: u64 = 14;
/// No grant runs out before its tokens were counted.
const GRANT_TTL: u64 = 600;
const END_TTL: u64 = 14;
/// Another process gets 20 s to finish what it began, and the proof by time takes 11.
const GRANTED_WITHIN: Duration = Duration::from_secs(90);
const SETTLES_WITHIN: Duration = Duration::from_secs(90);

/// A rig with a class that lends an account.
pub async fn set() -> Rig {
    lending(Rig::set(60).await).await
}

/// Lends an account on this rig.
pub async fn lending(rig: Rig) -> Rig {
    rig.see_every_token();
    let class = json!({
        "apiVersion": "daypass.dev/v1alpha1", "kind": "CredentialClass", "metadata": {"name": CLASS},
        "spec": {
            "ttl": {"default": "5m", "max": "20m"}, "delivery": ["Sealed", "Secret"],
            "serviceAccountToken": {"namespace": LENT, "name": "sealed"},
        },
    });
    rig.stage().platform(class).await.unwrap();
    rig.stage().platform(permit(CLASS, NAMESPACE, ACCOUNT, CLASS, json!({}))).await.unwrap();
    ready(rig.stage(), &[format!("dpclass/{CLASS}"), format!("dpcpol/{CLASS}")]).await;
    rig
}

/// Once all of these were granted: each has one token, is given back, and has none.
async fn granted_once_and_given_back(rig: &Rig, lives: Vec<Life>) -> Vec<Life> {
    rig.granted(&lives, GRANTED_WITHIN).await;
    rig.each_has_one_token(&lives).await;
    let requests = rig.pod.requests();
    join_all(lives.iter().map(|life| async { requests.delete(&life.names.request, &Default::default()).await.unwrap() })).await;
    lives.into_iter().map(|life| Life { end: End::GivenBack, ..life }).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_before_and_after_every_write_it_leaves_one_token_alive_and_after_its_end_none() {
    let rig = set().await;
    let courses = rig.courses_of(&FORMS, COURSE_TTL).await;
    let mut lives = Vec::new();
    for (title, fault) in [("before", Fault::Before(Action::Hang)), ("after", Fault::After(Action::Hang))] {
        let (grant, end) = (format!("{title}-grant"), format!("{title}-end"));
        let grants = Round { title: &grant, fault: &fault, part: Part::Grant, ttl: GRANT_TTL };
        let granted = killed(&rig, &courses, &grants).await;
        lives.extend(granted_once_and_given_back(&rig, granted).await);
        lives.extend(killed(&rig, &courses, &Round { title: &end, fault: &fault, part: Part::End, ttl: END_TTL }).await);
        rig.over(&lives, SETTLES_WITHIN).await;
    }
    rig.each_was_granted_once(&lives).await;
    rig.no_token_works().await;
    rig.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_reply_is_lost_one_token_is_alive_and_after_its_end_none() {
    let rig = set().await;
    let courses = rig.courses_of(&FORMS, COURSE_TTL).await;
    let faults =
        [("lost", Fault::After(Action::Drop)), ("dropped", Fault::Before(Action::Drop)), ("code503", Fault::Before(Action::Answer(503)))];
    let mut lives = Vec::new();
    for (title, fault) in &faults {
        let (grant, end) = (format!("{title}-grant"), format!("{title}-end"));
        let grants = Round { title: &grant, fault, part: Part::Grant, ttl: GRANT_TTL };
        let granted = rig.play(&courses, &grants, async || {}).await;
        lives.extend(granted_once_and_given_back(&rig, granted).await);
        lives.extend(rig.play(&courses, &Round { title: &end, fault, part: Part::End, ttl: END_TTL }, async || {}).await);
        rig.over(&lives, SETTLES_WITHIN).await;
    }
    rig.each_was_granted_once(&lives).await;
    rig.no_token_works().await;
    rig.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_that_fails_is_not_taken_for_a_refusal_and_time_proves_the_end() {
    let rig = set().await;
    let looks = || Script::counting(|call| call.path.ends_with("/tokenreviews"));
    let mut lives = Vec::new();
    // One fault for the first look at each.
    let failed = join_all((0..4).map(|n| rig.live(format!("failed-{n}"), FORMS[n % 2], End::Expired, GRANT_TTL))).await;
    let faults = looks().after(1, Action::Drop).before(2, Action::Drop).before(3, Action::Answer(500)).before(4, Action::Answer(429));
    rig.proxy.play(faults);
    lives.extend(revoked(&rig, failed).await);
    // Nobody looks at them again.
    assert_eq!(rig.proxy.writes().len(), 4, "looks at four tokens");

    for (title, fault) in [("before", Fault::Before(Action::Hang)), ("after", Fault::After(Action::Hang))] {
        rig.proxy.play(Script::quiet());
        let life = rig.live(format!("killed-{title}"), FORMS[0], End::Expired, GRANT_TTL).await;
        rig.proxy.play(match fault {
            Fault::Before(action) => looks().before(1, action),
            Fault::After(action) => looks().after(1, action),
        });
        rig.revoke(&life.names.lease).await;
        tokio::time::timeout(SETTLES_WITHIN, rig.proxy.reached(1)).await.expect("a look");
        rig.crash_and_restart().await;
        lives.push(closed(&rig, life).await);
    }
    let proofs: Vec<_> = join_all(lives.iter().map(|life| proof(&rig, life))).await;
    assert_eq!(proofs, [Some(Proof::BoundObjectGone); 6]);

    // A look that is answered is believed.
    rig.proxy.play(Script::quiet());
    let life = rig.live("answered".into(), FORMS[0], End::Expired, GRANT_TTL).await;
    let answered = revoked(&rig, vec![life]).await;
    assert_eq!(proof(&rig, &answered[0]).await, Some(Proof::TokenRefused));
    rig.no_token_works().await;
    rig.audit().await;
}

/// A person revokes these, and each is proven dead.
async fn revoked(rig: &Rig, lives: Vec<Life>) -> Vec<Life> {
    join_all(lives.iter().map(|life| rig.revoke(&life.names.lease))).await;
    join_all(lives.into_iter().map(|life| closed(rig, life))).await
}

async fn closed(rig: &Rig, life: Life) -> Life {
    let life = Life { end: End::Revoked, ..life };
    rig.over(std::slice::from_ref(&life), SETTLES_WITHIN).await;
    life
}

async fn proof(rig: &Rig, life: &Life) -> Option<Proof> {
    let lease = rig.sight().await.unwrap().after.into_iter().find(|lease: &CredentialLease| lease.name_any() == life.names.lease);
    lease.unwrap().status.unwrap().proof
}
