//! Metrics of the pod's side. The one label that is not of a closed set is the class, which this process was started with.

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ClassLabels {
    class: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AskedLabels {
    class: String,
    outcome: &'static str,
}

/// Every metric family.
pub struct AgentMetrics {
    registry: Registry,
    live: Family<ClassLabels, Gauge>,
    expires: Family<ClassLabels, Gauge>,
    asked: Family<AskedLabels, Counter>,
    ended_early: Family<ClassLabels, Counter>,
    untold: Family<ClassLabels, Counter>,
}

impl Default for AgentMetrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("daypass_agent"),
            live: Family::default(),
            expires: Family::default(),
            asked: Family::default(),
            ended_early: Family::default(),
            untold: Family::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("live", "1 while a credential of the class is live", metrics.live.clone());
        registry.register(
            "expires_timestamp_seconds",
            "When the live credential of the class ends; 0 if none is live",
            metrics.expires.clone(),
        );
        registry.register("asked", "Requests made, by class and what came of them", metrics.asked.clone());
        registry.register("ended_early", "Credentials that were taken back before their time", metrics.ended_early.clone());
        registry.register("untold", "Renewals that the application could not be told of", metrics.untold.clone());
        metrics
    }
}

impl AgentMetrics {
    /// A request came to something: `granted`, `denied` or `failed`.
    pub fn asked(&self, class: &str, outcome: &'static str) {
        self.asked.get_or_create(&AskedLabels { class: class.to_owned(), outcome }).inc();
    }

    /// A credential ended before its time.
    pub fn ended_early(&self, class: &str) {
        self.ended_early.get_or_create(&ClassLabels { class: class.to_owned() }).inc();
    }

    /// The application was not told.
    pub fn untold(&self, class: &str) {
        self.untold.get_or_create(&ClassLabels { class: class.to_owned() }).inc();
    }

    /// How a class stands: when its live credential ends, in seconds since 1970.
    pub fn standing(&self, class: &str, expires: Option<i64>) {
        let labels = ClassLabels { class: class.to_owned() };
        self.live.get_or_create(&labels).set(i64::from(expires.is_some()));
        self.expires.get_or_create(&labels).set(expires.unwrap_or(0));
    }

    /// All of it in OpenMetrics text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
