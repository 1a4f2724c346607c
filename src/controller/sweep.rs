//! Looks again at everything now and then: what no event has told, a clock that was stepped, a verdict that time alone has changed.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::SignedDuration;
use kube::ResourceExt;

use super::Operator;
use crate::{
    api::{EndReason, RequestState},
    cluster::{ApiError, act::expiry_hour, cache::Cached},
};

/// Between two sweeps.
const EVERY: Duration = Duration::from_secs(60);
/// So many live tokens are asked about in one sweep.
const ASKED_OF: usize = 50;
/// Between two sweeps of what tokens were bound to.
const EVERY_HOUR: Duration = Duration::from_secs(3600);
/// Between two looks at which namespaces these are.
const LOOK_FOR_NAMESPACES: Duration = Duration::from_secs(5);
/// The hours whose leftovers are swept, counted back from now: nothing younger, for a lease may still tell of it, and nothing older, for it
/// was swept while it was younger.
const HOURS: std::ops::RangeInclusive<i64> = 3..=48;

impl Operator {
    /// Sweeps until the process ends.
    pub async fn sweep(self: Arc<Self>) {
        let mut last_asked = String::new();
        loop {
            tokio::time::sleep(EVERY).await;
            last_asked = self.miss_what_tokens_are_bound_to(&last_asked).await;
            for lease in self.world.open_leases() {
                if self.policies.any_depends_on_time(&lease.spec.request_namespace) {
                    self.judge_lease(&lease);
                }
                self.leases.add(&lease.spec.request_namespace, &lease.name_any());
            }
            for request in self.world.requests.list() {
                if request.state() == RequestState::Pending || request.state().is_terminal() {
                    self.requests.add(&request.namespace().unwrap_or_default(), request.object_uid());
                }
            }
            self.publish_gauges();
        }
    }

    /// Asks of some live tokens, in turns and after the lease of this name, whether what they are bound to is still there. Nobody else may
    /// delete it while *reserve* is in force; a token whose Secret went all the same is dead, and is said to be. Returns where to go on.
    async fn miss_what_tokens_are_bound_to(&self, after: &str) -> String {
        let open = self.world.open_leases().into_iter().filter(|lease| lease.state().is_none() && lease.spec.token.is_some());
        let mut open: Vec<_> = open.map(|lease| (lease.name_any(), lease)).collect();
        open.sort_by(|a, b| a.0.cmp(&b.0));
        let (before, rest): (Vec<_>, Vec<_>) = open.into_iter().partition(|(name, _)| name.as_str() <= after);
        let mut last = String::new();
        for (name, lease) in rest.into_iter().chain(before).take(ASKED_OF) {
            let Some(token) = &lease.spec.token else { continue };
            if let Ok(false) = self.ending.is_there(&token.namespace, &token.bound_to.name, &token.bound_to.uid).await {
                tracing::warn!(lease = name, secret = token.bound_to.name, "somebody deleted what a token is bound to");
                let message = "somebody deleted the Secret that its token is bound to, which takes the token back";
                self.notes.found_against(&name, EndReason::RevokedByPerson, message.to_owned());
                self.leases.add(&lease.spec.request_namespace, &name);
            }
            last = name;
        }
        last
    }

    /// Sweeps what tokens were bound to and no lease tells of: a process died between reserving it and writing its intent down, and the
    /// request went before the next one could see it. Once an hour in each namespace whose accounts are lent.
    pub async fn sweep_bound(self: Arc<Self>) {
        let mut swept: HashMap<String, Instant> = HashMap::new();
        loop {
            let (now, today) = (self.clock.monotonic(), self.clock.read().latest());
            let hours: Vec<String> = HOURS.map(|hours| expiry_hour(today - SignedDuration::from_hours(hours))).collect();
            for namespace in self.account_namespaces() {
                if swept.get(&namespace).is_some_and(|last| now.duration_since(*last) < EVERY_HOUR) {
                    continue;
                }
                match self.ending.sweep_bound(&namespace, &hours).await {
                    // Where the account is not listed nothing was reserved; the class says what is missing to whoever asks.
                    Ok(()) | Err(ApiError::Forbidden(_)) => {
                        swept.insert(namespace, now);
                    }
                    Err(error) => tracing::warn!(namespace, %error, "cannot sweep what tokens were bound to; trying again"),
                }
            }
            tokio::time::sleep(LOOK_FOR_NAMESPACES).await;
        }
    }

    /// Namespaces of the accounts that classes lend.
    fn account_namespaces(&self) -> BTreeSet<String> {
        let classes = self.world.classes.list();
        let lent =
            classes.iter().filter_map(|record| Some(record.class.as_ref().ok()?.spec.service_account_token.as_ref()?.namespace.clone()));
        lent.collect()
    }

    /// Figures that are read off the caches.
    pub fn publish_gauges(&self) {
        let now = self.clock.read().latest();
        let open = self.world.open_leases();
        let oldest = open
            .iter()
            .filter_map(|lease| match lease.status.as_ref().and_then(|s| s.ended_time) {
                Some(ended) => Some(now.duration_since(ended)),
                None => Some(now.duration_since(lease.spec.expires_at)).filter(|late| late.is_positive()),
            })
            .max();
        self.metrics.gauges(open.len(), oldest.unwrap_or_default(), self.requests.depth(), self.leases.depth());
    }
}
