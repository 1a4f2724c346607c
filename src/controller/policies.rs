//! Policies as decisions take them: compiled once a generation, judged, and reported on.
//!
//! Writes nothing but policy status. A policy that does not compile is broken: it hands nothing out, and it ends nothing.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use super::{Generation, Operator};
use crate::{
    api::policy::{AccessPolicySpec, ClusterAccessPolicySpec, Effect, Limits, PolicyStatus, PolicyTtl, Requirement},
    cluster::{
        ApiError,
        cache::{Cached, Key},
        records::{PolicyObject, PolicyRecord},
    },
    core::{
        health::{Conditions, Health},
        names::hex_sha256,
        shadow,
        snapshot::{PolicyFacts, PolicyId, SubjectFacts},
    },
    expr::{Expressions, Program},
};

/// A policy with its compiled expressions.
#[derive(Clone)]
pub struct Compiled {
    /// What a decision takes, without verdicts.
    pub facts: PolicyFacts,
    /// `when`.
    pub when: Option<Arc<Program>>,
    /// Each `require`, in order.
    pub require: Vec<Arc<Program>>,
    generation: Generation,
}

impl Compiled {
    /// It has expressions that can be asked.
    pub fn has_expressions(&self) -> bool {
        self.when.is_some() || !self.require.is_empty()
    }

    /// Its verdict may change with nothing but the time.
    pub fn depends_on_time(&self) -> bool {
        self.facts.expires_at.is_some() || self.when.iter().chain(&self.require).any(|program| program.is_time_dependent())
    }
}

/// Every policy that was compiled, and when policies were seen to go.
#[derive(Default)]
pub struct Policies {
    compiled: Mutex<HashMap<PolicyId, Arc<Compiled>>>,
    /// When policies (by UID) and classes (by name) were seen to go.
    gone: Mutex<HashMap<Thing, Timestamp>>,
}

impl Policies {
    /// The compiled form of a policy, compiling it if this generation is new.
    pub async fn compiled(&self, policy: &PolicyRecord, expressions: &Expressions) -> Arc<Compiled> {
        let generation = (policy.object_uid().to_owned(), policy.metadata.generation.unwrap_or_default());
        let held = self.lock().get(&policy.id).filter(|held| held.generation == generation).cloned();
        if let Some(held) = held {
            return held;
        }
        let compiled = Arc::new(compile(policy, generation, expressions).await);
        self.lock().insert(policy.id.clone(), compiled.clone());
        compiled
    }

    /// The verdict of some policy that may concern this namespace may change with nothing but the time.
    pub fn any_depends_on_time(&self, namespace: &str) -> bool {
        let here = |id: &PolicyId| id.namespace.as_deref().is_none_or(|of| of == namespace);
        self.lock().iter().any(|(id, compiled)| here(id) && compiled.depends_on_time())
    }

    /// A policy went.
    pub fn went(&self, policy: &PolicyRecord, now: Timestamp) {
        self.lock().remove(&policy.id);
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        gone.retain(|_, at| now.duration_since(*at).as_secs() < 3600);
        gone.insert(Thing::Policy(policy.object_uid().to_owned()), now);
    }

    /// A class went.
    pub fn class_went(&self, name: &str, now: Timestamp) {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).insert(Thing::Class(name.to_owned()), now);
    }

    /// Since when the policy with this UID is known to be gone: since it was seen to go, or, where it was never seen, since `synced`.
    pub fn gone_since(&self, uid: &str, synced: Timestamp) -> Timestamp {
        self.since(&Thing::Policy(uid.to_owned()), synced)
    }

    /// The same for the class of this name.
    pub fn class_gone_since(&self, name: &str, synced: Timestamp) -> Timestamp {
        self.since(&Thing::Class(name.to_owned()), synced)
    }

    fn since(&self, thing: &Thing, synced: Timestamp) -> Timestamp {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).get(thing).copied().unwrap_or(synced)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PolicyId, Arc<Compiled>>> {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What can go.
#[derive(PartialEq, Eq, Hash)]
enum Thing {
    Policy(String),
    Class(String),
}

async fn compile(policy: &PolicyRecord, generation: Generation, expressions: &Expressions) -> Compiled {
    let (mut facts, when, require) = read(policy);
    let mut compiled_when = None;
    if let Some(source) = when {
        facts.has_when = true;
        match expressions.compile(&source).await {
            Ok(program) => compiled_when = Some(program),
            Err(error) => broken(&mut facts, format!("spec.when: {error}")),
        }
    }
    let mut compiled_require = Vec::new();
    for requirement in require {
        match expressions.compile(&requirement.expression).await {
            Ok(program) => compiled_require.push(program),
            Err(error) => broken(&mut facts, format!("spec.require[{}]: {error}", requirement.name)),
        }
        facts.require.push((requirement, None));
    }
    if facts.broken.is_some() {
        (compiled_when, compiled_require) = (None, vec![]);
    }
    Compiled { facts, when: compiled_when, require: compiled_require, generation }
}

fn broken(facts: &mut PolicyFacts, problem: String) {
    facts.broken.get_or_insert(problem);
}

fn read(policy: &PolicyRecord) -> (PolicyFacts, Option<String>, Vec<Requirement>) {
    let mut facts = PolicyFacts {
        id: policy.id.clone(),
        uid: policy.object_uid().to_owned(),
        generation: policy.metadata.generation.unwrap_or_default(),
        hash: String::new(),
        broken: None,
        effect: Effect::Forbid,
        subjects: vec![],
        classes: vec!["*".into()],
        when: None,
        has_when: false,
        require: vec![],
        ttl: None,
        limits: None,
        revocation_at_most: None,
        expires_at: None,
        live: 0,
        live_of_pod: 0,
    };
    match &policy.object {
        PolicyObject::Unreadable { problem, may_forbid } => {
            // As a Permit it hands out nothing. As a Forbid whose subjects nobody can tell it refuses everything new in its scope.
            facts.effect = if *may_forbid { Effect::Forbid } else { Effect::Permit };
            facts.classes = vec![];
            facts.broken = Some(format!("this version cannot read it: {problem}"));
            (facts, None, vec![])
        }
        PolicyObject::Cluster(object) => {
            let ClusterAccessPolicySpec { effect, subjects, classes, when, require, ttl, limits, revocation, expires_at } =
                object.spec.clone();
            facts.hash = hash(&object.spec);
            facts.subjects = subjects
                .into_iter()
                .map(|s| SubjectFacts {
                    namespaces: s.namespaces,
                    namespace_labels: s.namespace_selector.map(|l| l.match_labels),
                    service_accounts: s.service_account_names,
                    pod_labels: s.pod_selector.map(|l| l.match_labels),
                })
                .collect();
            facts.revocation_at_most = revocation.map(|demand| demand.at_most_seconds);
            fill(&mut facts, effect, classes, ttl, limits, expires_at);
            (facts, when, require.unwrap_or_default())
        }
        PolicyObject::Namespaced(object) => {
            let AccessPolicySpec { effect, subjects, classes, when, require, ttl, limits, revocation, expires_at } = object.spec.clone();
            facts.hash = hash(&object.spec);
            let own = policy.id.namespace.clone().unwrap_or_default();
            facts.subjects = subjects
                .into_iter()
                .map(|s| SubjectFacts {
                    namespaces: Some(vec![own.clone()]),
                    namespace_labels: None,
                    service_accounts: s.service_account_names,
                    pod_labels: s.pod_selector.map(|l| l.match_labels),
                })
                .collect();
            facts.revocation_at_most = revocation.map(|demand| demand.at_most_seconds);
            fill(&mut facts, effect, classes, ttl, limits, expires_at);
            (facts, when, require.unwrap_or_default())
        }
    }
}

fn fill(
    facts: &mut PolicyFacts,
    effect: Effect,
    classes: Vec<String>,
    ttl: Option<PolicyTtl>,
    limits: Option<Limits>,
    expires_at: Option<Timestamp>,
) {
    let bad_ttl = ttl.iter().flat_map(|t| t.default.iter().chain(&t.max)).find_map(|t| t.parse().err());
    if let Some(error) = bad_ttl {
        broken(facts, format!("spec.ttl: {error}"));
    }
    (facts.effect, facts.classes, facts.ttl, facts.limits, facts.expires_at) = (effect, classes, ttl, limits, expires_at);
}

fn hash(spec: &impl serde::Serialize) -> String {
    hex_sha256(serde_json::to_string(spec).unwrap_or_default().as_bytes())
}

/// Between two looks at counts, which change with every grant: status is no place for a counter that is exact at every moment.
const REFRESH: Duration = Duration::from_secs(15);

impl Operator {
    /// Judges every policy whenever one changes, and now and then for the counts.
    pub async fn judge_policies(self: Arc<Self>) {
        loop {
            let _ = tokio::time::timeout(REFRESH, self.policies_changed.notified()).await;
            if !self.world.unsynced().is_empty() {
                continue;
            }
            let (live, _) = self.world.live();
            let records: Vec<_> = self.world.cluster_policies.list().into_iter().chain(self.world.policies.list()).collect();
            let mut compiled = Vec::with_capacity(records.len());
            for record in &records {
                compiled.push(self.policies.compiled(record, &self.expressions).await);
            }
            let facts: Vec<&PolicyFacts> = compiled.iter().map(|c| &c.facts).collect();
            let mut broken = 0;
            for (record, compiled) in records.iter().zip(&compiled) {
                broken += i64::from(compiled.facts.broken.is_some());
                self.report_policy(record, &compiled.facts, &facts, &live).await;
            }
            self.metrics.policies(records.len(), broken);
        }
    }

    async fn report_policy(&self, record: &PolicyRecord, facts: &PolicyFacts, all: &[&PolicyFacts], live: &BTreeMap<String, i64>) {
        let held = match &record.object {
            PolicyObject::Cluster(policy) => policy.status.clone(),
            PolicyObject::Namespaced(policy) => policy.status.clone(),
            // It cannot be written back without losing what we cannot read.
            PolicyObject::Unreadable { problem, .. } => {
                tracing::warn!(policy = %record.id, problem, "this version cannot read the policy");
                return;
            }
        }
        .unwrap_or_default();
        let missing: Vec<&String> =
            facts.classes.iter().filter(|class| *class != "*" && self.world.classes.get(&Key::new("", class.as_str())).is_none()).collect();
        let mut next = held.clone();
        next.observed_generation = record.metadata.generation;
        next.live = Some(live.get(&record.id.to_string()).copied().unwrap_or_default());
        next.shadowed_by = shadow::shadowed_by(facts, all);
        let (health, reason, message) = match &facts.broken {
            Some(problem) => {
                let meanwhile = match facts.effect {
                    Effect::Permit => "hands out nothing new",
                    Effect::Forbid => "refuses everything new that it may concern",
                };
                (Health::Stalled, "Broken", format!("{problem}. Until it is corrected it {meanwhile}, and it ends nothing."))
            }
            None if !missing.is_empty() => {
                let names = missing.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(", ");
                let message = format!("these classes do not exist (yet): {names}; the policy is in force for its other classes");
                (Health::Reconciling, "ClassMissing", message)
            }
            None => (Health::Ready, "InForce", "the policy is in force".to_owned()),
        };
        let mut conditions = Conditions::new(&held.conditions, record.metadata.generation, self.clock.now());
        conditions.stand(health, reason, &message);
        next.conditions = conditions.finish();
        if next == held {
            return;
        }
        if let Err(error) = self.put_policy(record, next).await
            && !matches!(error, ApiError::Conflict(_) | ApiError::NotFound(_))
        {
            tracing::warn!(policy = %record.id, %error, "cannot write the policy's status; the next look tries again");
        }
    }

    async fn put_policy(&self, record: &PolicyRecord, status: PolicyStatus) -> Result<(), ApiError> {
        match record.object.clone() {
            PolicyObject::Cluster(mut policy) => {
                policy.status = Some(status);
                self.issuing.put_cluster_policy_status(&policy).await
            }
            PolicyObject::Namespaced(mut policy) => {
                policy.status = Some(status);
                self.issuing.put_policy_status(&policy).await
            }
            PolicyObject::Unreadable { .. } => Ok(()),
        }
    }
}
