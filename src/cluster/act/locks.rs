//! Writes of locks: those that the operator places by itself, what came of each, and what a person places and lifts.

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{Api, Client, ResourceExt};

use super::{Writer, exactly, post};
use crate::{
    api::{AccessLock, AccessLockSpec, lock::AccessLockStatus},
    cluster::{ApiError, client::call},
};

impl Writer {
    /// Places a lock that the engine wants, under a name that says which incident it is about: create-only, and one that is there already
    /// is placed. Admission asks for `source: Engine` and the operator's own username in `by`, and lets the operator neither change nor
    /// lift it afterwards.
    pub async fn place_lock(&self, name: &str, spec: AccessLockSpec) -> Result<(), ApiError> {
        match call(self.locks().create(&post(), &AccessLock::new(name, spec))).await {
            Ok(_) | Err(ApiError::AlreadyExists(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes what came of a lock, if it still is at this resourceVersion.
    pub async fn put_lock_status(&self, lock: &AccessLock, status: AccessLockStatus) -> Result<AccessLock, ApiError> {
        let next = AccessLock { status: Some(status), ..lock.clone() };
        call(self.locks().replace_status(&lock.name_any(), &post(), &next)).await
    }

    fn locks(&self) -> Api<AccessLock> {
        Api::all(self.client().clone())
    }
}

/// The locks of the cluster, in the hands of one person. `daypass lock` and `daypass unlock` are the only callers.
#[derive(Clone)]
pub struct Locks {
    locks: Api<AccessLock>,
    /// Who it is, as the API server sees it; `None` where it would not say.
    by: Option<String>,
}

impl Locks {
    /// With this client, whose user is the person. Asks the API server once who that is: before Kubernetes 1.36 it does not stamp
    /// `spec.by`, and then the truth has to be written there.
    pub async fn new(client: Client) -> Self {
        let who = call(Api::<SelfSubjectReview>::all(client.clone()).create(&post(), &SelfSubjectReview::default())).await;
        let by = who.ok().and_then(|review| review.status?.user_info?.username);
        Self { locks: Api::all(client), by }
    }

    /// Places a lock, create-only.
    pub async fn place(&self, lock: &AccessLock) -> Result<AccessLock, ApiError> {
        let mut lock = lock.clone();
        if let Some(by) = &self.by {
            lock.spec.by.clone_from(by);
        }
        call(self.locks.create(&post(), &lock)).await
    }

    /// Reads one.
    pub async fn get(&self, name: &str) -> Result<AccessLock, ApiError> {
        call(self.locks.get(name)).await
    }

    /// Lifts exactly this one.
    pub async fn lift(&self, name: &str, uid: &str) -> Result<(), ApiError> {
        call(self.locks.delete(name, &exactly(uid))).await.map(drop)
    }
}
