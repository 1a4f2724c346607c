//! Tells people of ends whose proof is late: an Event on the request (on the lease, where the request is gone), and what classes say of it.
//!
//! Only looks: the lease loop goes on trying, whatever is told here. The age of the oldest is a metric as well (`sweep`).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::{Resource, ResourceExt};

use super::Operator;
use crate::{
    api::CredentialLease,
    cluster::{
        cache::{Cached, Key},
        events,
    },
    core::overdue::{Overdue, overdue},
};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// So many are told of one by one in a look, the oldest first; classes count all.
const TOLD: usize = 20;

/// What classes say of ends whose proof is late, by the name of the class.
#[derive(Default)]
pub struct Late(Mutex<BTreeMap<String, String>>);

impl Late {
    /// What is late of this class, in words.
    pub fn of(&self, class: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(class).cloned()
    }

    /// `true`: that is news.
    fn set(&self, next: BTreeMap<String, String>) -> bool {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let news = *held != next;
        *held = next;
        news
    }
}

impl Operator {
    /// Looks for late proofs until the process ends.
    pub async fn look_for_late_proofs(self: Arc<Self>) {
        loop {
            tokio::time::sleep(EVERY).await;
            let now = self.clock.read().latest();
            let open = self.world.open_leases().into_iter();
            let mut late: Vec<(Overdue, Arc<CredentialLease>)> = open.filter_map(|lease| Some((overdue(&lease, now)?, lease))).collect();
            late.sort_by_key(|(overdue, lease)| (overdue.ended, lease.name_any()));
            let mut classes: BTreeMap<String, Vec<&(Overdue, Arc<CredentialLease>)>> = BTreeMap::new();
            for one in &late {
                classes.entry(one.1.spec.class_name.clone()).or_default().push(one);
            }
            let told = classes.into_iter().map(|(class, late)| (class, self.told_of_a_class(&late))).collect();
            if self.late.set(told) {
                self.classes_changed.notify_one();
            }
            for (overdue, lease) in late.iter().take(TOLD) {
                self.say_late(overdue, lease).await;
            }
        }
    }

    fn told_of_a_class(&self, late: &[&(Overdue, Arc<CredentialLease>)]) -> String {
        let Some((oldest, lease)) = late.first() else { return String::new() };
        let (spec, name) = (&lease.spec, lease.name_any());
        format!(
            "{} ended credential{} of this class should have been proven dead by now; the oldest, lease {name} of AccessRequest {}/{}, ended at \
             {}: {}",
            late.len(),
            if late.len() == 1 { "" } else { "s" },
            spec.request_namespace,
            spec.request_name,
            oldest.ended,
            self.what_keeps(&name)
        )
    }

    async fn say_late(&self, overdue: &Overdue, lease: &CredentialLease) {
        let (spec, name) = (&lease.spec, lease.name_any());
        let key = Key::new(spec.request_namespace.as_str(), spec.request_name.as_str());
        let request = self.world.requests.get(&key).filter(|request| request.object_uid() == spec.request_uid);
        let about = request.map_or_else(|| lease.object_ref(&()), |request| events::regarding(&request));
        let note = format!(
            "the credential ended at {} and should have been proven dead by {}, but is not (lease {name}): {}. It may still be accepted; Daypass \
             goes on trying",
            overdue.ended,
            overdue.due,
            self.what_keeps(&name)
        );
        tracing::warn!(lease = name, request = spec.request_name, ended = %overdue.ended, due = %overdue.due, "the proof of an end is late");
        self.events.warn(&about, &spec.requester.username, "EndNotProven", &note).await;
    }

    fn what_keeps(&self, lease: &str) -> String {
        self.notes.keeps(lease).unwrap_or_else(|| "what checks it still accepts it, or cannot be asked".into())
    }
}
