//! The world of a story: a few lines over a usual world, with policies written as in a manifest.

use std::collections::BTreeMap;

use daypass::{
    api::{
        AccessLockSpec, AccessRequestSpec, CredentialClassSpec,
        class::LabelSelector,
        policy::{AccessPolicySpec, ClusterAccessPolicySpec, ClusterSubject},
    },
    core::{
        images::Images,
        revocation,
        snapshot::{
            ClassFacts, GuardFacts, LockFacts, NamespaceFacts, Pod, PodFacts, PolicyFacts, PolicyId, RequestFacts, Snapshot, SubjectFacts,
            Tri,
        },
    },
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

/// One file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Story {
    /// What it is about, in a sentence.
    pub story: String,
    /// The world.
    pub given: Given,
}

/// What differs from the usual world.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Given {
    #[serde(default = "noon")]
    now: Timestamp,
    #[serde(default)]
    request: GivenRequest,
    #[serde(default)]
    requester: Value,
    guard: Option<GivenGuard>,
    class: Option<GivenClass>,
    #[serde(default = "usual_namespace")]
    namespace: Option<GivenNamespace>,
    #[serde(default = "usual_pod")]
    pod: Option<GivenPod>,
    csr_problem: Option<String>,
    seal_problem: Option<String>,
    #[serde(default)]
    locks: Vec<GivenLock>,
    #[serde(default)]
    policies: Vec<GivenPolicy>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenRequest {
    namespace: Option<String>,
    name: Option<String>,
    created: Option<Timestamp>,
    generation: Option<i64>,
    #[serde(default)]
    spec: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum GivenGuard {
    InForce { since: Timestamp },
    NotInForce { reason: String },
    Unknown { reason: String },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
enum GivenClass {
    Absent,
    Unjudged,
    NotReady { reason: String, message: String },
    Ready { not_after: Option<Timestamp>, spec: Option<Value> },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct GivenNamespace {
    labels: BTreeMap<String, String>,
    terminating: bool,
}

impl Default for GivenNamespace {
    fn default() -> Self {
        Self { labels: label("env", "prod"), terminating: false }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct GivenPod {
    uid: String,
    service_account: String,
    node_name: String,
    phase: String,
    deletion: Option<Timestamp>,
    labels: BTreeMap<String, String>,
    workload: String,
    images: Vec<String>,
}

impl Default for GivenPod {
    fn default() -> Self {
        Self {
            uid: "pod-uid".into(),
            service_account: "orders".into(),
            node_name: "node-a".into(),
            phase: "Running".into(),
            deletion: None,
            labels: label("app", "orders"),
            workload: "Deployment/orders".into(),
            images: vec!["registry.example/orders:1.2".into()],
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenLock {
    name: String,
    spec: AccessLockSpec,
    broken: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct GivenPolicy {
    name: String,
    namespace: Option<String>,
    spec: Value,
    broken: Option<String>,
    when: Option<GivenVerdict>,
    #[serde(default)]
    require: BTreeMap<String, GivenVerdict>,
    #[serde(default)]
    live: u64,
    #[serde(default)]
    live_per_pod: u64,
}

/// What an expression said: true, false, or the text of an error.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum GivenVerdict {
    Said(bool),
    Failed(String),
}

impl Given {
    /// The snapshot that the story is decided on.
    pub fn world(self) -> Result<Snapshot, serde_json::Error> {
        let request = self.request;
        Ok(Snapshot {
            now: self.now,
            request: RequestFacts {
                namespace: request.namespace.unwrap_or_else(|| "shop".into()),
                name: request.name.unwrap_or_else(|| "orders-db-1".into()),
                uid: "request-uid".into(),
                created: request.created.unwrap_or_else(noon),
                generation: request.generation.unwrap_or(1),
                spec: request_spec(request.spec, self.requester)?,
            },
            operator_namespace: "daypass-system".into(),
            guard: match self.guard {
                None => GuardFacts::InForce { since: noon() - jiff::SignedDuration::from_hours(1) },
                Some(GivenGuard::InForce { since }) => GuardFacts::InForce { since },
                Some(GivenGuard::NotInForce { reason }) => GuardFacts::NotInForce { reason },
                Some(GivenGuard::Unknown { reason }) => GuardFacts::Unknown { reason },
            },
            class: class(self.class)?,
            namespace: self.namespace.map(|GivenNamespace { labels, terminating }| NamespaceFacts { labels, terminating }),
            pod: self.pod.map_or(PodFacts::Absent, |pod| PodFacts::Present(Box::new(pod.facts()))),
            requester_gone: None,
            locks: self.locks.into_iter().map(GivenLock::facts).collect(),
            seal_problem: self.seal_problem,
            csr_problem: self.csr_problem,
            policies: self.policies.into_iter().map(GivenPolicy::facts).collect::<Result<_, _>>()?,
        })
    }
}

fn request_spec(spec: Value, requester: Value) -> Result<AccessRequestSpec, serde_json::Error> {
    let mut whole = json!({
        "className": "orders-db", "csr": "CSR", "requester": {
            "username": "system:serviceaccount:shop:orders", "uid": "account-uid", "podName": "orders-1", "podUID": "pod-uid",
            "nodeName": "node-a", "nodeUID": "node-uid", "credentialID": "JTI=1",
        },
    });
    over(&mut whole, spec);
    over(&mut whole["requester"], requester);
    serde_json::from_value(whole)
}

fn class(given: Option<GivenClass>) -> Result<ClassFacts, serde_json::Error> {
    let (not_after, spec) = match given {
        Some(GivenClass::Absent) => return Ok(ClassFacts::Absent),
        Some(GivenClass::Unjudged) => return Ok(ClassFacts::Unjudged),
        Some(GivenClass::NotReady { reason, message }) => return Ok(ClassFacts::NotReady { reason, message }),
        Some(GivenClass::Ready { not_after, spec }) => (not_after, spec.unwrap_or_default()),
        None => (None, Value::Null),
    };
    let mut whole = json!({ "x509": { "ca": { "managed": {} }, "trustDomain": "shop.example" } });
    over(&mut whole, spec);
    let spec: CredentialClassSpec = serde_json::from_value(whole)?;
    let next_year = || noon() + jiff::SignedDuration::from_hours(24 * 365);
    // A list that was published as the class says.
    let crl = spec.x509.as_ref().and_then(|x509| x509.crl.as_ref());
    let bound = crl.and_then(|crl| revocation::life([&crl.next_update]));
    let revocation = revocation::of_class(&spec, bound);
    Ok(ClassFacts::Ready { spec: Box::new(spec), not_after: not_after.unwrap_or_else(next_year), revocation })
}

impl GivenPod {
    fn facts(self) -> Pod {
        let Self { uid, service_account, node_name, phase, deletion, labels, workload, images } = self;
        let images = Images::of(images.iter().map(String::as_str));
        Pod { uid, service_account, node_name, phase, deletion, labels, workload, images }
    }
}

impl GivenLock {
    fn facts(self) -> LockFacts {
        let AccessLockSpec { matches, reason, expires_at, source, by } = self.spec;
        LockFacts { uid: format!("uid-{}", self.name), name: self.name, broken: self.broken, matches, reason, expires_at, source, by }
    }
}

impl GivenPolicy {
    fn facts(self) -> Result<PolicyFacts, serde_json::Error> {
        let spec = self.cluster_spec()?;
        let verdict = |name: &str| self.require.get(name).cloned().map(Tri::from);
        Ok(PolicyFacts {
            uid: format!("uid-{}", self.name),
            generation: 1,
            hash: format!("hash-{}", self.name),
            effect: spec.effect,
            subjects: spec.subjects.into_iter().map(subject).collect(),
            classes: spec.classes,
            has_when: spec.when.is_some(),
            when: self.when.clone().map(Tri::from),
            require: spec.require.into_iter().flatten().map(|one| (one.clone(), verdict(&one.name))).collect(),
            ttl: spec.ttl,
            limits: spec.limits,
            revocation_at_most: spec.revocation.map(|demand| demand.at_most_seconds),
            expires_at: spec.expires_at,
            live: self.live,
            live_of_pod: self.live_per_pod,
            broken: self.broken,
            id: PolicyId { namespace: self.namespace, name: self.name },
        })
    }

    /// Both kinds have the same fields; the subjects of an AccessPolicy are those of a ClusterAccessPolicy with its namespace.
    fn cluster_spec(&self) -> Result<ClusterAccessPolicySpec, serde_json::Error> {
        let mut spec = self.spec.clone();
        if let Some(namespace) = &self.namespace {
            serde_json::from_value::<AccessPolicySpec>(spec.clone())?;
            for subject in spec["subjects"].as_array_mut().into_iter().flatten() {
                subject["namespaces"] = json!([namespace]);
            }
        }
        serde_json::from_value(spec)
    }
}

impl From<GivenVerdict> for Tri {
    fn from(given: GivenVerdict) -> Self {
        match given {
            GivenVerdict::Said(true) => Self::True,
            GivenVerdict::Said(false) => Self::False,
            GivenVerdict::Failed(problem) => Self::Error(problem),
        }
    }
}

fn subject(subject: ClusterSubject) -> SubjectFacts {
    let labels = |selector: LabelSelector| selector.match_labels;
    SubjectFacts {
        namespaces: subject.namespaces,
        namespace_labels: subject.namespace_selector.map(labels),
        service_accounts: subject.service_account_names,
        pod_labels: subject.pod_selector.map(labels),
    }
}

/// Lays what differs over the usual; `null` removes a field.
fn over(usual: &mut Value, differs: Value) {
    if !differs.is_null() {
        json_patch::merge(usual, &differs);
    }
}

fn label(key: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_owned(), value.to_owned())])
}

fn noon() -> Timestamp {
    Timestamp::constant(1_772_366_400, 0)
}

fn usual_namespace() -> Option<GivenNamespace> {
    Some(GivenNamespace::default())
}

fn usual_pod() -> Option<GivenPod> {
    Some(GivenPod::default())
}
