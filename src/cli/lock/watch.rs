//! What a lock would end, and what becomes of what it ended: read from the ledger with the caller's own rights, judged as the operator does.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt};

use crate::{
    api::{AccessLock, CredentialLease},
    cli::revoke::{
        held::{Held, Standing},
        ledger::{AT_ONCE, Unread, gone, list},
        tally::Tally,
        tell::Teller,
    },
    cluster::{ApiError, Clock, client::call, records::images_of},
    core::{
        explain::plain,
        images::Images,
        locks::{Fit, Subject, fit},
    },
};

/// Shortest and longest pause between two looks at the ledger; it is ten times as long as a look takes.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// So many looks that bring nothing new say that nothing more comes: a grant that was on its way is in the ledger by then.
const CALM: u32 = 2;

/// The grants of one lock.
pub struct Watch {
    client: Client,
    /// Where the operator runs.
    namespace: String,
    lock: AccessLock,
    placed: bool,
    known: bool,
    /// By UID: images and node of the pods, where the lock is about one of these.
    pods: BTreeMap<String, (Images, String)>,
    /// By name of the lease, whatever was met so far.
    pub held: BTreeMap<String, Held>,
}

impl Watch {
    /// Of a lock that is not placed yet.
    pub fn new(client: Client, namespace: &str, lock: &AccessLock) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
            lock: lock.clone(),
            placed: false,
            known: false,
            pods: BTreeMap::new(),
            held: BTreeMap::new(),
        }
    }

    /// It is placed now: what it is about is about to be ended.
    pub fn stands(&mut self, lock: &AccessLock) {
        (self.lock, self.placed) = (lock.clone(), true);
        for held in self.held.values_mut().filter(|held| matches!(held.standing, Standing::Open { .. })) {
            held.standing = Standing::Asked;
        }
    }

    /// The operator has seen it.
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// How everything that was met stands.
    pub fn tally(&self) -> Tally {
        Tally::of(self.held.values())
    }

    /// Takes in what the ledger says now. How many were not met before.
    pub async fn look(&mut self, clock: &Clock) -> Result<usize, Unread> {
        self.look_at_pods().await?;
        if self.placed && !self.known {
            let api = Api::<AccessLock>::all(self.client.clone());
            let found = call(api.get(&self.lock.name_any())).await;
            self.known = found.is_ok_and(|lock| lock.status.is_some_and(|status| status.observed_generation.is_some()));
        }
        let leases = Api::<CredentialLease>::namespaced(self.client.clone(), &self.namespace);
        let listed = list(&leases, "status.state!=Closed").await;
        let resource = "credentialleases.daypass.dev";
        let listed = listed.map_err(|error| Unread { resource, namespace: Some(self.namespace.clone()), error })?;
        let there: BTreeSet<String> = listed.iter().map(ResourceExt::name_any).collect();
        let mut new = 0;
        for lease in &listed {
            if !self.held.contains_key(&lease.name_any()) && !self.is_about(lease) {
                continue;
            }
            match self.held.get_mut(&lease.name_any()) {
                Some(held) => held.look(lease),
                None => {
                    new += 1;
                    self.held.insert(lease.name_any(), Held::of(lease));
                }
            }
            if let Some(held) = self.held.get_mut(&lease.name_any())
                && self.placed
                && matches!(held.standing, Standing::Open { .. })
            {
                held.standing = Standing::Asked;
            }
        }
        // What is not among the open ones any more is closed: each is asked whether it really is.
        let missing = self.held.iter_mut().filter(|(name, held)| !there.contains(*name) && !held.is_settled());
        let looks = missing.map(|(name, held)| {
            let api = leases.clone();
            async move { (held, call(api.get(name)).await) }
        });
        let mut looks = stream::iter(looks).buffer_unordered(AT_ONCE);
        while let Some((held, found)) = looks.next().await {
            match found {
                Ok(lease) => held.look(&lease),
                Err(ApiError::NotFound(_)) => held.standing = gone(held, clock),
                // The next look asks again.
                Err(_) => {}
            }
        }
        Ok(new)
    }

    /// Returns when everything that the lock met is dead and no more came.
    pub async fn until_dead(&mut self, teller: &mut Teller, clock: &Clock) -> Result<(), Unread> {
        let (mut pause, mut calm) = (PAUSE.0, 0);
        loop {
            let (began, before) = (clock.monotonic(), self.standings());
            match self.look(clock).await {
                Ok(new) => {
                    let changed = self.held.iter().filter(|(name, held)| before.get(*name) != Some(&held.standing));
                    changed.for_each(|(_, held)| teller.happened(&super::line(held)));
                    calm = if new == 0 && self.known && self.held.values().all(Held::is_settled) { calm + 1 } else { 0 };
                    if calm >= CALM {
                        return Ok(());
                    }
                    pause = (clock.monotonic().duration_since(began) * 10).clamp(PAUSE.0, PAUSE.1);
                }
                Err(Unread { error: ApiError::Busy { message, .. }, .. }) if message != "Unauthorized" => {
                    teller.note(&format!("the API server is not able right now: {}; trying again", plain(&message)));
                    pause = (pause * 2).min(PAUSE.1);
                }
                Err(Unread { error: ApiError::NoAnswer(problem), .. }) => {
                    teller.note(&format!("no answer from the API server: {}; trying again", plain(&problem)));
                    pause = (pause * 2).min(PAUSE.1);
                }
                Err(unread) => return Err(unread),
            }
            teller.stand(&self.tally());
            tokio::time::sleep(pause).await;
        }
    }

    fn standings(&self) -> BTreeMap<String, Standing> {
        self.held.iter().map(|(name, held)| (name.clone(), held.standing.clone())).collect()
    }

    /// The lock ended this lease, or is about to.
    fn is_about(&self, lease: &CredentialLease) -> bool {
        let ended_by = lease.status.as_ref().and_then(|status| status.lock.as_ref());
        match (lease.state(), ended_by) {
            (Some(_), ended_by) => self.placed && ended_by.is_some_and(|lock| Some(&lock.uid) == self.lock.metadata.uid.as_ref()),
            (None, _) => {
                let pod = self.pods.get(&lease.spec.requester.pod_uid);
                let subject = Subject::of_lease(&lease.spec, pod.map(|(images, node)| (images, node.as_str())));
                fit(&self.lock.spec.matches, &subject) == Fit::Yes
            }
        }
    }

    async fn look_at_pods(&mut self) -> Result<(), Unread> {
        let wanted = &self.lock.spec.matches;
        if wanted.images.is_none() {
            return Ok(());
        }
        let namespace = wanted.namespaces.as_ref().and_then(|namespaces| match namespaces.as_slice() {
            [one] => Some(one.clone()),
            _ => None,
        });
        let api = match &namespace {
            Some(namespace) => Api::<Pod>::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let listed = list(&api, "").await.map_err(|error| Unread { resource: "pods", namespace, error })?;
        self.pods.extend(listed.iter().map(|pod| {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
            (pod.uid().unwrap_or_default(), (images_of(pod), node))
        }));
        Ok(())
    }
}
