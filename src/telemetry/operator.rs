//! Metrics of the operator. Labels come from closed sets: nothing that a tenant chooses becomes a label.

use std::time::Duration;

use jiff::SignedDuration;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::cluster::ApiError;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DecisionLabels {
    outcome: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EndLabels {
    reason: &'static str,
    proof: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ErrorLabels {
    work: &'static str,
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

/// Every metric family.
pub struct Metrics {
    registry: Registry,
    decisions: Family<DecisionLabels, Counter>,
    ended: Family<EndLabels, Counter>,
    errors: Family<ErrorLabels, Counter>,
    grant_seconds: Histogram,
    end_lag_seconds: Histogram,
    guard: Family<StateLabels, Gauge>,
    issuing: Gauge,
    live: Gauge,
    oldest_unproven: Gauge,
    queued: Family<ErrorLabels, Gauge>,
    policies: Family<StateLabels, Gauge>,
    classes: Family<StateLabels, Gauge>,
    skew_milliseconds: Gauge,
    lists_published: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let buckets = || Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0, 900.0]);
        let mut metrics = Self {
            registry: Registry::with_prefix("daypass"),
            decisions: Family::default(),
            ended: Family::default(),
            errors: Family::default(),
            grant_seconds: buckets(),
            end_lag_seconds: buckets(),
            guard: Family::default(),
            issuing: Gauge::default(),
            live: Gauge::default(),
            oldest_unproven: Gauge::default(),
            queued: Family::default(),
            policies: Family::default(),
            classes: Family::default(),
            skew_milliseconds: Gauge::default(),
            lists_published: Counter::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("decisions", "Requests answered, by outcome and reason", metrics.decisions.clone());
        registry.register("ended", "Grants proven dead, by reason and proof", metrics.ended.clone());
        registry.register("api_errors", "API calls that failed and are tried again, by work and kind", metrics.errors.clone());
        registry.register("grant_seconds", "Seconds from a decision to the release of its credential", metrics.grant_seconds.clone());
        registry.register(
            "end_lag_seconds",
            "Seconds from what ended a grant until its credential was proven dead",
            metrics.end_lag_seconds.clone(),
        );
        registry.register("guard", "1 for the state that the admission guard is in", metrics.guard.clone());
        registry.register("issuing", "1 while nothing keeps the operator from issuing", metrics.issuing.clone());
        registry.register("live_leases", "Leases that are not closed", metrics.live.clone());
        registry.register(
            "oldest_unproven_end_seconds",
            "Age of the oldest ending whose credential is not proven dead",
            metrics.oldest_unproven.clone(),
        );
        registry.register("queued", "Objects that wait or are being worked on", metrics.queued.clone());
        registry.register("policies", "Policies, by state", metrics.policies.clone());
        registry.register("classes", "Classes, by state", metrics.classes.clone());
        registry.register(
            "clock_offset_milliseconds",
            "The API server's clock less our own, as a lower bound",
            metrics.skew_milliseconds.clone(),
        );
        registry.register("revocation_lists_published", "Writes of revocation lists", metrics.lists_published.clone());
        metrics
    }
}

impl Metrics {
    /// A request was answered.
    pub fn decision(&self, outcome: &'static str, reason: &'static str) {
        self.decisions.get_or_create(&DecisionLabels { outcome, reason }).inc();
    }

    /// A credential was released this long after its decision.
    pub fn granted(&self, took: Duration) {
        self.grant_seconds.observe(took.as_secs_f64());
    }

    /// A credential was proven dead this long after what ended it.
    pub fn ended(&self, reason: &'static str, proof: &'static str, lag: SignedDuration) {
        self.ended.get_or_create(&EndLabels { reason, proof }).inc();
        self.end_lag_seconds.observe(lag.as_secs_f64().max(0.0));
    }

    /// The revocation lists of an authority were published.
    pub fn list_published(&self) {
        self.lists_published.inc();
    }

    /// An API call failed.
    pub fn api_error(&self, work: &'static str, error: &ApiError) {
        self.errors.get_or_create(&ErrorLabels { work, kind: error.kind() }).inc();
    }

    /// How things stand with the guard, the clocks, and issuing at all.
    pub fn standing(&self, guard: &'static str, issuing: bool, offset: Option<SignedDuration>) {
        for state in ["InForce", "NotInForce", "Unknown"] {
            self.guard.get_or_create(&StateLabels { state }).set(i64::from(state == guard));
        }
        self.issuing.set(i64::from(issuing));
        if let Some(offset) = offset {
            self.skew_milliseconds.set(i64::try_from(offset.as_millis()).unwrap_or(i64::MAX));
        }
    }

    /// Figures read off the caches.
    pub fn gauges(&self, live: usize, oldest: SignedDuration, requests: usize, leases: usize) {
        self.live.set(live as i64);
        self.oldest_unproven.set(oldest.as_secs().max(0));
        self.queued.get_or_create(&ErrorLabels { work: "request", kind: "all" }).set(requests as i64);
        self.queued.get_or_create(&ErrorLabels { work: "lease", kind: "all" }).set(leases as i64);
    }

    /// Policies that exist, and those of them that are broken.
    pub fn policies(&self, all: usize, broken: i64) {
        self.policies.get_or_create(&StateLabels { state: "in_force" }).set(all as i64 - broken);
        self.policies.get_or_create(&StateLabels { state: "broken" }).set(broken);
    }

    /// Classes that exist, and those of them that are Ready.
    pub fn classes(&self, all: usize, ready: usize) {
        self.classes.get_or_create(&StateLabels { state: "ready" }).set(ready as i64);
        self.classes.get_or_create(&StateLabels { state: "not_ready" }).set(all as i64 - ready as i64);
    }

    /// All of it in OpenMetrics text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
