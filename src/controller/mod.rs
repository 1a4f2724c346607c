//! The loops: each observes, lets `core` decide, and acts. One file a loop; none of them knows another, they meet in the ledger.
//!
//! `request` answers new requests, `grant` carries an Allow out (by `certificate` or `token`), `judge` judges live grants again, `lease` ends
//! what has to end, `classes` and `policies` judge what people wrote, `locks` tells what became of what they locked, `publishing` publishes
//! revocation lists, `overdue` tells of ends whose proof is late, `sweep` looks again at what no event may have told, `watches` feeds them
//! all. `leaving` ends everything, beside `lease`, the lists and the watches alone.

pub mod authorities;
mod certificate;
pub mod classes;
pub mod grant;
mod intent;
mod judge;
pub mod lease;
pub mod leaving;
pub mod lists;
pub mod locks;
mod log;
pub mod notes;
pub mod observe;
pub mod overdue;
pub mod policies;
mod publishing;
pub mod queue;
pub mod request;
pub mod retention;
pub mod signers;
pub mod slots;
pub mod sweep;
mod token;
pub mod tokens;
pub mod watches;

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::ObjectReference;

use crate::{
    cluster::{Clock, World, act::Writer, events::Events, guard::Guard},
    expr::Expressions,
    install::guard::VERIFY,
    telemetry::Metrics,
};

/// What an operator is told at start and never changes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespace that the operator runs in: the ledger, its authorities and its records live here.
    pub namespace: String,
    /// Name of the cluster, for the variable `{cluster}`.
    pub cluster: String,
    /// What makes derived names differ between installations: the UID of kube-system unless given.
    pub installation: String,
    /// How long finished requests are kept.
    pub retention: Retention,
    /// A request that could not be answered for this long fails.
    pub answer_within: SignedDuration,
    /// Requests and leases that are worked on at once.
    pub workers: usize,
    /// Nothing is granted any more and every open lease ends, because Daypass is being taken down.
    pub draining: bool,
}

/// How long finished requests are kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// After a clean end.
    pub clean: SignedDuration,
    /// After any other end.
    pub other: SignedDuration,
    /// At most this many an identity.
    pub per_identity: usize,
}

/// Everything that the loops share.
pub struct Operator {
    /// What it was told at start.
    pub settings: Settings,
    /// Its clock.
    pub clock: Arc<Clock>,
    /// What it knows of the cluster.
    pub world: World,
    /// Whether requesters are vouched for.
    pub guard: Arc<Guard>,
    /// Writes grants and denials.
    pub issuing: Writer,
    /// Writes ends, over connections of its own.
    pub ending: Writer,
    /// Every API server that is known, to be asked whether it still accepts a token.
    pub reviewers: Vec<kube::Client>,
    /// Tokens that are not proven dead.
    pub tokens: tokens::Tokens,
    /// Evaluates policies' expressions.
    pub expressions: Expressions,
    /// Policies, compiled.
    pub policies: policies::Policies,
    /// Classes, judged.
    pub classes: classes::Classes,
    /// What is counted of locks beside the ledger.
    pub locks: locks::Locks,
    /// Revocation lists, read.
    pub lists: lists::Lists,
    /// What is told of ends whose proof is late.
    pub late: overdue::Late,
    /// Places under limits that no lease shows yet.
    pub slots: slots::Slots,
    /// Tells people.
    pub events: Events,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Requests to look at, by UID.
    pub requests: Arc<queue::Queue>,
    /// Leases to look at, by name.
    pub leases: Arc<queue::Queue>,
    /// Leases to judge again, by name.
    pub judging: Arc<queue::Queue>,
    /// What this process remembers beside the ledger.
    pub notes: notes::Notes,
    /// Whenever this changes, every watch begins again.
    pub watch_again: tokio::sync::watch::Sender<u64>,
    /// Woken when a policy should be judged again.
    pub policies_changed: tokio::sync::Notify,
    /// Woken when a class or an authority should be judged again.
    pub classes_changed: tokio::sync::Notify,
    /// Woken when a lock may have something new to tell.
    pub locks_changed: tokio::sync::Notify,
    /// Woken when a revocation list may have to be signed again.
    pub lists_changed: tokio::sync::Notify,
}

/// Which spec of which object: its UID and `metadata.generation`.
pub type Generation = (String, i64);

/// How long the watches may have been failing before nothing new is issued on what they brought.
pub const WATCH_LIMIT: Duration = crate::core::snapshot::MAX_AGE_OF_FACTS;

impl Operator {
    /// Why nothing can be issued right now, whatever is asked; `None` if it can. Ending is gated on nothing.
    pub fn not_issuing(&self) -> Option<String> {
        let unsynced = self.world.unsynced();
        if !unsynced.is_empty() {
            return Some(format!("not everything has been listed yet: {}", unsynced.join(", ")));
        }
        let stale = self.world.stale(self.clock.monotonic(), WATCH_LIMIT);
        if !stale.is_empty() {
            return Some(format!("watches have been failing for over {} s: {}", WATCH_LIMIT.as_secs(), stale.join(", ")));
        }
        self.drained().or_else(|| crate::cluster::clock::skew_problem(self.clock.server_offset()))
    }

    /// The clocks are so far apart that nothing is issued. Not to know it is another matter.
    pub fn clocks_differ(&self) -> bool {
        self.clock.server_offset().is_some_and(|offset| crate::cluster::clock::skew_problem(Some(offset)).is_some())
    }

    /// Says to people that the admission guard is not in force.
    pub async fn say_guard_is_open(&self, reason: &str) {
        let policy = ObjectReference {
            api_version: Some("admissionregistration.k8s.io/v1".into()),
            kind: Some("ValidatingAdmissionPolicy".into()),
            name: Some(VERIFY.into()),
            ..Default::default()
        };
        self.events.warn(&policy, VERIFY, "GuardNotInForce", &format!("Daypass issues nothing: {reason}")).await;
    }
}
