//! Locks on the real control plane: what is live of whatever they are about ends and is proven dead, what is beside it stays, and nothing new
//! is given until they are over or lifted. Where requests, restarts and slow answers race a lock, nothing outlives it.

mod asking;
mod command;
mod ends;
mod racing;
mod restart;

use std::time::Duration;

use daypass::api::{AccessLock, lock::AccessLockStatus};
use devcluster::wait;
use jiff::{SignedDuration, Timestamp};
use kube::Api;
use serde_json::{Value, json};
use stage::Stage;

use crate::scene::SOON;

/// A lock of what fits this, for so many seconds from now.
fn lock(name: &str, matches: &Value, seconds: i64) -> Value {
    let until = Timestamp::now() + SignedDuration::from_secs(seconds);
    json!({
        "apiVersion": "daypass.dev/v1alpha1", "kind": "AccessLock", "metadata": {"name": name},
        "spec": {"match": matches, "reason": "seen where it should not be", "expiresAt": format!("{until:.0}")},
    })
}

/// Places a lock as the administrator, with server-side apply.
async fn place(stage: &Stage, name: &str, matches: Value, seconds: i64) {
    stage.platform(lock(name, &matches, seconds)).await.unwrap();
}

/// Lifts it.
async fn lift(stage: &Stage, name: &str) {
    let lifted = stage.cluster.kubectl(["delete", &format!("dplock/{name}")]).await.unwrap();
    assert!(lifted.status.success(), "{}", String::from_utf8_lossy(&lifted.stderr));
}

/// Waits until the status of a lock is as described.
async fn lock_when(stage: &Stage, name: &str, what: &str, limit: Duration, there: impl Fn(&AccessLockStatus) -> bool) -> AccessLock {
    let api = Api::<AccessLock>::all(stage.cluster.admin().unwrap());
    let look = || async { api.get(name).await.ok().filter(|lock| lock.status.as_ref().is_some_and(&there)) };
    match wait::until(&format!("lock {name} {what}"), limit, look).await {
        Ok(lock) => lock,
        Err(error) => panic!("{error}; it stands at {:?}", api.get(name).await.map(|lock| lock.status)),
    }
}

/// Waits until everything that a lock met is proven dead: so many.
async fn all_dead(stage: &Stage, name: &str, count: i64) -> AccessLock {
    let limit = SOON + Duration::from_secs(60);
    let counts = (Some(count), Some(count), Some(count), Some(0));
    lock_when(stage, name, &format!("to have ended {count}"), limit, |status| {
        (status.matched, status.revoked, status.proven_dead, status.waiting) == counts
    })
    .await
}
