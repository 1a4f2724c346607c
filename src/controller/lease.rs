//! Ends what has to end. Observes one lease, asks `core::lifecycle` for the next step, carries it out, and asks again.
//!
//! Gated on nothing: not on the guard, not on policies, not on the clocks being right. Tried again for ever.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::ResourceExt;

use super::{Operator, queue::Next};
use crate::{
    api::{
        AccessRequest, CredentialLease, EndReason, FailureReason, Proof, RequestState,
        lease::{CredentialLeaseStatus, LeaseState},
    },
    cluster::{
        ApiError,
        cache::{Cached, Key, Presence},
        records::{prune_lease, prune_request},
    },
    core::{
        Reconsideration,
        decide::Gone,
        lifecycle::{self, Ending, Facts, PodFact, RequestFact, Step},
        reconsider, status,
    },
};

/// What this process remembers of leases and reserves; all of it can be lost.
pub struct Notes {
    started: Timestamp,
    /// Rises when something changed that may end grants.
    epoch: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// By lease: the epoch at which it was last judged.
    judged: HashMap<String, u64>,
    /// Latest generation seen of each policy and class, by UID.
    generations: HashMap<String, i64>,
    /// Leases whose delivered Secret is gone.
    secret_gone: HashSet<String>,
    /// Requests that this process has reserved a Secret for, by UID.
    reserved: HashSet<String>,
}

impl Notes {
    /// Nothing remembered; the process started now.
    pub fn new(now: Timestamp) -> Self {
        Self { started: now, epoch: AtomicU64::new(1), inner: Mutex::default() }
    }

    /// When this process started.
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// Something changed that may end grants: every open lease is judged again.
    pub fn judge_all_again(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// Something about this lease alone changed.
    pub fn judge_again(&self, lease: &str) {
        self.lock().judged.remove(lease);
    }

    /// Whether this generation of a policy or class is news: writing status makes none.
    pub fn is_news(&self, uid: &str, generation: i64) -> bool {
        self.lock().generations.insert(uid.to_owned(), generation) != Some(generation)
    }

    /// A policy or class went.
    pub fn went(&self, uid: &str) {
        self.lock().generations.remove(uid);
    }

    /// A decision was made for this lease on what is known now.
    pub fn decided(&self, lease: &str) {
        let epoch = self.epoch.load(Ordering::SeqCst);
        self.lock().judged.insert(lease.to_owned(), epoch);
    }

    /// This process may have reserved a Secret for the request.
    pub fn note_reserve(&self, request_uid: &str) {
        self.lock().reserved.insert(request_uid.to_owned());
    }

    /// It may have.
    pub fn reserved(&self, request_uid: &str) -> bool {
        self.lock().reserved.contains(request_uid)
    }

    fn due(&self, lease: &str) -> Option<u64> {
        let epoch = self.epoch.load(Ordering::SeqCst);
        (self.lock().judged.get(lease) != Some(&epoch)).then_some(epoch)
    }

    fn forget(&self, lease: &str, request_uid: &str) {
        let mut inner = self.lock();
        inner.judged.remove(lease);
        inner.secret_gone.remove(lease);
        inner.reserved.remove(request_uid);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Steps of one look: more would be a rule that goes in circles.
const MOST_STEPS: usize = 12;

/// Before a verdict that was not definite is asked for again.
const ASK_AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// What judging a live grant again came to.
enum Verdict {
    /// It goes on.
    Keep,
    /// It ends.
    End(EndReason, String),
    /// Not known: ask again at this time.
    Later(Timestamp),
}

impl Operator {
    /// One look at one lease.
    pub async fn reconcile_lease(self: Arc<Self>, name: String) -> Next {
        match self.end_what_is_due(&name).await {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(lease = name, %error, "cannot move the lease on; trying again");
                self.metrics.api_error("lease", &error);
                Next::Retry
            }
        }
    }

    async fn end_what_is_due(&self, name: &str) -> Result<Next, ApiError> {
        for _ in 0..MOST_STEPS {
            let Some(lease) = self.world.leases.get(&Key::new(&self.settings.namespace, name)) else {
                return Ok(Next::Done);
            };
            let request = self.request_of(&lease).await?;
            let (facts, later) = self.facts(&lease, &request).await?;
            match lifecycle::step(&facts) {
                Step::Wait(_) if lease.is_closed() => return self.retain_lease(&lease, &request).await,
                Step::Wait(until) => {
                    let times = [until, later].into_iter().flatten().min();
                    return Ok(times.map_or(Next::Done, Next::At));
                }
                Step::Fence(ending) => self.fence(&lease, &request, &ending).await?,
                Step::Mark(ending) => self.mark(&lease, &ending).await?,
                Step::DeleteSecret => self.delete_secret(&lease).await?,
                Step::Close(ending, proof) => self.close(&lease, &ending, proof).await?,
                Step::Project => self.project(&lease, &request).await?,
            }
        }
        Err(ApiError::Conflict(format!("lease {name} did not settle in {MOST_STEPS} steps")))
    }

    async fn request_of(&self, lease: &CredentialLease) -> Result<Presence<AccessRequest>, ApiError> {
        let spec = &lease.spec;
        // An ending does not wait for an answer that does not come: what is not known stays out of the causes.
        match self.request_presence(&spec.request_namespace, &spec.request_name, &spec.request_uid).await {
            Err(error) if error.is_definite() => Err(error),
            Err(_) => Ok(Presence::Unknown),
            known => known,
        }
    }

    async fn facts<'l>(
        &self,
        lease: &'l CredentialLease,
        request: &Presence<AccessRequest>,
    ) -> Result<(Facts<'l>, Option<Timestamp>), ApiError> {
        let spec = &lease.spec;
        let clocks = self.clock.read();
        let open = lease.state().is_none();
        let request = match request {
            Presence::Present(request) => RequestFact::There(request.state()),
            Presence::Gone => RequestFact::Gone,
            Presence::Unseen | Presence::Unknown => RequestFact::Unknown,
        };
        let terminating = self.world.namespaces.get(&Key::new("", &spec.request_namespace)).is_some_and(|n| n.terminating);
        // Only the name of a cause that holds anyhow: a cache that has not met the namespace yet ends nothing.
        let terminating = terminating || (request == RequestFact::Gone && self.namespace_went(lease));
        let mut facts = Facts {
            own: clocks.own,
            server: clocks.server,
            spec,
            state: lease.state(),
            marked: marked(lease),
            request,
            pod: PodFact::Unknown,
            namespace_terminating: terminating,
            account_gone: false,
            node_gone: false,
            verdict: None,
            secret_gone: self.notes.lock().secret_gone.contains(&lease.name_any()),
        };
        if !open || lifecycle::cause(&facts).is_some() {
            return Ok((facts, None));
        }
        facts.pod = self.pod_fact(lease).await;
        facts.account_gone = self.account_gone(lease).await;
        facts.node_gone = self.node_gone(lease).await;
        // While the request is unanswered the request loop judges it; two judges of one moment could disagree.
        if lifecycle::cause(&facts).is_some() || facts.request == RequestFact::There(RequestState::Pending) {
            return Ok((facts, None));
        }
        match self.judge_again(lease).await? {
            Verdict::Keep => Ok((facts, None)),
            Verdict::Later(at) => Ok((facts, Some(at))),
            Verdict::End(reason, message) => {
                facts.verdict = Some((reason, message));
                Ok((facts, None))
            }
        }
    }

    async fn pod_fact(&self, lease: &CredentialLease) -> PodFact {
        match self.pod_presence(&lease.spec.request_namespace, &lease.spec.requester).await {
            Ok(Presence::Present(pod)) => match (pod.phase.as_str(), pod.deletion) {
                ("Succeeded" | "Failed", _) => PodFact::Gone("has finished"),
                (_, Some(at)) => PodFact::Leaving(at),
                _ => PodFact::There,
            },
            Ok(Presence::Gone) => PodFact::Gone("is gone"),
            Ok(Presence::Unseen | Presence::Unknown) | Err(_) => PodFact::Unknown,
        }
    }

    async fn account_gone(&self, lease: &CredentialLease) -> bool {
        let requester = &lease.spec.requester;
        let Some((namespace, name)) = requester.service_account() else { return false };
        match self.world.service_accounts.presence(&Key::new(namespace, name), &requester.uid) {
            Presence::Present(_) | Presence::Unknown => false,
            Presence::Gone => true,
            Presence::Unseen => self.ending.certainly_gone::<ServiceAccount>(Some(namespace), name, &requester.uid).await,
        }
    }

    async fn node_gone(&self, lease: &CredentialLease) -> bool {
        let requester = &lease.spec.requester;
        if requester.node_uid.is_empty() {
            return false;
        }
        match self.world.nodes.presence(&Key::new("", &requester.node_name), &requester.node_uid) {
            Presence::Present(_) | Presence::Unknown => false,
            Presence::Gone => true,
            Presence::Unseen => self.ending.certainly_gone::<Node>(None, &requester.node_name, &requester.node_uid).await,
        }
    }

    /// The request's namespace is gone; one of that name that is younger than the lease is another.
    fn namespace_went(&self, lease: &CredentialLease) -> bool {
        let Some(namespace) = self.world.namespaces.get(&Key::new("", &lease.spec.request_namespace)) else { return self.world.namespaces.synced() };
        let made = namespace.json.pointer("/metadata/creationTimestamp").and_then(|t| t.as_str()?.parse::<Timestamp>().ok());
        made.zip(lease.creation_timestamp()).is_some_and(|(namespace, lease)| namespace > lease.0)
    }

    /// Judges a live grant again, if anything changed since it was judged last.
    async fn judge_again(&self, lease: &CredentialLease) -> Result<Verdict, ApiError> {
        let name = lease.name_any();
        let Some(epoch) = self.notes.due(&name) else { return Ok(Verdict::Keep) };
        let now = self.clock.read().latest();
        let Some(synced) = self.world.synced_at() else { return Ok(Verdict::Later(now + ASK_AGAIN)) };
        let Some(observed) = self.observe_lease(lease).await? else { return Ok(Verdict::Keep) };
        let policy_here = observed.snapshot.policies.iter().any(|policy| policy.uid == lease.spec.policy.uid);
        let class_here = self.world.classes.get(&Key::new("", &lease.spec.class_name)).is_some();
        let gone = Gone {
            policy: (!policy_here).then(|| self.policies.gone_since(&lease.spec.policy.uid, synced)),
            class: (!class_here).then(|| self.policies.gone_since(&lease.spec.class_name, synced)),
        };
        match reconsider(&observed.snapshot, &lease.spec, gone) {
            Reconsideration::Undecided(why) => {
                tracing::debug!(lease = name, why, "not judged yet");
                Ok(Verdict::Later(now + ASK_AGAIN))
            }
            Reconsideration::End { reason, message, detail } => {
                tracing::info!(lease = name, %reason, detail, "a live grant is not permitted any more");
                Ok(Verdict::End(reason, message))
            }
            Reconsideration::Keep { policy, policy_uid, policy_generation, policy_hash, expires_at } => {
                let renamed = policy.to_string() != lease.spec.policy.name || policy_uid != lease.spec.policy.uid;
                if renamed || expires_at < lease.spec.expires_at {
                    let mut next = lease.clone();
                    next.spec.expires_at = expires_at.min(lease.spec.expires_at);
                    next.spec.policy = crate::api::lease::LeasePolicy {
                        name: policy.to_string(),
                        uid: policy_uid,
                        generation: policy_generation,
                        hash: policy_hash,
                    };
                    self.world.leases.own_write(prune_lease(self.ending.put_lease(&next).await?));
                    self.shrink_request(&next).await?;
                }
                self.notes.lock().judged.insert(name, epoch);
                Ok(Verdict::Keep)
            }
        }
    }

    /// Tells the pod that its credential's grant ends earlier.
    async fn shrink_request(&self, lease: &CredentialLease) -> Result<(), ApiError> {
        let Ok(mut request) = self.ending.get_request(&lease.spec.request_namespace, &lease.spec.request_name).await else { return Ok(()) };
        let ours = request.object_uid() == lease.spec.request_uid;
        let Some(credential) = request.status.as_mut().and_then(|s| s.credential.as_mut()).filter(|_| ours) else { return Ok(()) };
        if credential.expires_at <= lease.spec.expires_at {
            return Ok(());
        }
        credential.expires_at = lease.spec.expires_at;
        let written = self.ending.put_request_status(&request).await?;
        self.world.requests.own_write(prune_request(written));
        Ok(())
    }

    /// Makes the request terminal, so that whoever is about to release the credential meets that and stops.
    async fn fence(&self, lease: &CredentialLease, request: &Presence<AccessRequest>, ending: &Ending) -> Result<(), ApiError> {
        let Presence::Present(request) = request else { return Ok(()) };
        let message = format!("the attempt ended before its credential was released: {}. Make a new request", ending.message);
        let reason = if ending.reason == EndReason::Expired { FailureReason::TimedOut } else { FailureReason::Withdrawn };
        let next = AccessRequest { status: Some(status::failed(request, reason, &message, self.clock.now())), ..(**request).clone() };
        match self.ending.put_request_status(&next).await {
            Ok(written) => {
                self.world.requests.own_write(prune_request(written));
                self.slots.release(request.object_uid());
                self.metrics.decision("Fail", reason.as_str());
                Ok(())
            }
            Err(ApiError::Conflict(_) | ApiError::NotFound(_)) => self.read_again(lease).await,
            Err(error) => Err(error),
        }
    }

    async fn mark(&self, lease: &CredentialLease, ending: &Ending) -> Result<(), ApiError> {
        let status = CredentialLeaseStatus {
            state: Some(LeaseState::Revoking),
            reason: Some(ending.reason),
            ended_time: Some(ending.time),
            message: Some(crate::api::condition::truncate(&ending.message, 512)),
            ..Default::default()
        };
        self.put_lease_status(lease, status).await?;
        tracing::info!(lease = lease.name_any(), request = lease.spec.request_name, reason = %ending.reason, message = ending.message, "ending");
        Ok(())
    }

    async fn delete_secret(&self, lease: &CredentialLease) -> Result<(), ApiError> {
        if let Some(secret) = &lease.spec.secret {
            match self.ending.delete_secret(&lease.spec.request_namespace, &secret.name, &secret.uid).await {
                Ok(()) => {}
                // The right to delete it stood in the namespace and went with it, like everything else that was there.
                Err(ApiError::Forbidden(_)) if self.namespace_went(lease) => {}
                Err(error) => return Err(error),
            }
        }
        self.notes.lock().secret_gone.insert(lease.name_any());
        Ok(())
    }

    async fn close(&self, lease: &CredentialLease, ending: &Ending, proof: Proof) -> Result<(), ApiError> {
        let now = self.clock.now();
        let status = CredentialLeaseStatus {
            state: Some(LeaseState::Closed),
            reason: Some(ending.reason),
            ended_time: Some(ending.time),
            closed_time: Some(now.max(ending.time)),
            proof: Some(proof),
            message: Some(crate::api::condition::truncate(&ending.message, 512)),
        };
        self.put_lease_status(lease, status).await?;
        let lag = now.duration_since(ending.time);
        tracing::info!(
            target: "decision", event = "ended", lease = lease.name_any(), request = lease.spec.request_name, namespace = lease.spec.request_namespace,
            requester = lease.spec.requester.username, class = lease.spec.class_name, reason = %ending.reason, proof = %proof,
            seconds_to_dead = lag.as_secs_f64(), "ended"
        );
        self.metrics.ended(ending.reason.as_str(), proof.as_str(), lag);
        Ok(())
    }

    async fn put_lease_status(&self, lease: &CredentialLease, status: CredentialLeaseStatus) -> Result<(), ApiError> {
        let next = CredentialLease { status: Some(status), ..lease.clone() };
        match self.ending.put_lease_status(&next).await {
            Ok(written) => {
                let written = prune_lease(written);
                self.world.index_lease(&crate::cluster::cache::Change::Applied(Arc::new(written.clone())));
                self.world.leases.own_write(written);
                Ok(())
            }
            // Somebody was faster: look at what is there now.
            Err(ApiError::Conflict(_) | ApiError::NotFound(_)) => self.read_again(lease).await,
            Err(error) => Err(error),
        }
    }

    /// The caches may be behind: takes in what the API server has now.
    async fn read_again(&self, lease: &CredentialLease) -> Result<(), ApiError> {
        match self.ending.get_lease(&lease.name_any()).await {
            Ok(fresh) => self.world.leases.own_write(prune_lease(fresh)),
            Err(ApiError::NotFound(_)) => return Err(ApiError::NotFound("the lease is gone; the watch will say so".into())),
            Err(error) => return Err(error),
        }
        match self.ending.get_request(&lease.spec.request_namespace, &lease.spec.request_name).await {
            Ok(fresh) => self.world.requests.own_write(prune_request(fresh)),
            Err(ApiError::NotFound(_)) => return Err(ApiError::NotFound("the request is gone; the watch will say so".into())),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Writes into the request's status what the ledger says.
    async fn project(&self, lease: &CredentialLease, request: &Presence<AccessRequest>) -> Result<(), ApiError> {
        let Presence::Present(request) = request else { return Ok(()) };
        let Some(next) = status::of_lease(request, lease, self.clock.now()) else { return Ok(()) };
        match self.ending.put_request_status(&AccessRequest { status: Some(next), ..(**request).clone() }).await {
            Ok(written) => {
                self.world.requests.own_write(prune_request(written));
                Ok(())
            }
            Err(ApiError::Conflict(_) | ApiError::NotFound(_)) => self.read_again(lease).await,
            Err(error) => Err(error),
        }
    }

    pub(super) fn forget(&self, lease: &CredentialLease) {
        self.notes.forget(&lease.name_any(), &lease.spec.request_uid);
    }
}

fn marked(lease: &CredentialLease) -> Option<Ending> {
    let status = lease.status.as_ref()?;
    Some(Ending { reason: status.reason?, time: status.ended_time?, message: status.message.clone().unwrap_or_default() })
}
