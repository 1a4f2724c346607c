//! Gathers the snapshot that a decision takes: caches, one live read of the pod, the verdicts of expressions. Reads only.
//!
//! The same [`Observer`] serves the loops and `daypass explain`, so that both see a request alike.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt};

use super::{
    Operator,
    policies::{Compiled, Policies},
};
use crate::{
    api::{AccessRequest, AccessRequestSpec, CredentialLease, Requester},
    cluster::{
        ApiError, World,
        cache::{Cached, Key, Presence},
        client::call,
        records::{ObjectRecord, PodRecord},
    },
    core::{
        decide::could_apply,
        snapshot::{ClassFacts, GuardFacts, NamespaceFacts, PodFacts, PolicyFacts, RequestFacts, Snapshot},
    },
    expr::{Expressions, Inputs},
    issue::{seal::SealKey, x509},
};

/// A snapshot with what the next steps need of the same moment.
pub struct Observation {
    /// What is decided on. Counts of live credentials are filled in under the lock of the slots.
    pub snapshot: Snapshot,
    /// Root owner of the pod.
    pub workload: String,
    /// What the certificate would say, where the class could be read.
    pub names: Option<x509::Names>,
    /// The key of a usable CSR.
    pub key: Option<x509::RequestedKey>,
    /// The key that a token is sealed to, if it can be.
    pub seal_to: Option<SealKey>,
    /// The epoch in which all this was looked at: what changes later has it judged again.
    pub epoch: u64,
}

/// The pod, as a live read or the watch found it.
pub struct FoundPod {
    facts: PodFacts,
    /// The object itself, where it was read live: the watch keeps less.
    json: Option<serde_json::Value>,
}

/// Everything that an observation is gathered from.
pub struct Observer<'a> {
    /// What is known of the cluster.
    pub world: &'a World,
    /// Policies, compiled.
    pub policies: &'a Policies,
    /// Evaluates their expressions.
    pub expressions: &'a Expressions,
    /// For reads of a pod.
    pub client: &'a Client,
    /// The moment.
    pub now: jiff::Timestamp,
    /// Whether requesters are vouched for.
    pub guard: GuardFacts,
    /// Name of the cluster.
    pub cluster: &'a str,
    /// Namespace of the operator.
    pub operator_namespace: &'a str,
    /// The present epoch of what is judged.
    pub epoch: u64,
}

impl Operator {
    fn observer(&self) -> Observer<'_> {
        Observer {
            world: &self.world,
            policies: &self.policies,
            expressions: &self.expressions,
            client: self.issuing.client(),
            now: self.clock.now(),
            guard: self.guard.facts(),
            cluster: &self.settings.cluster,
            operator_namespace: &self.settings.namespace,
            epoch: self.notes.epoch(),
        }
    }

    /// Everything about a new request, as of now.
    pub async fn observe_request(&self, request: &AccessRequest) -> Result<Observation, ApiError> {
        let class = self.classes.facts(&self.world, &request.spec.class_name);
        self.observer().request(request, class).await
    }

    /// Everything about a live grant, as of now; `None` if its request or its pod is not there. The pod comes from the watch: nothing is
    /// issued on this.
    pub async fn observe_lease(&self, lease: &CredentialLease) -> Result<Option<Observation>, ApiError> {
        let spec = &lease.spec;
        let pod = match self.world.pods.presence(&Key::new(&spec.request_namespace, &spec.requester.pod_name), &spec.requester.pod_uid) {
            Presence::Present(pod) => FoundPod { facts: PodFacts::Present(Box::new(pod.facts())), json: None },
            // Whether a pod is gone is judged by the lease's own triggers, which ask the API server where they must.
            Presence::Gone | Presence::Unseen | Presence::Unknown => return Ok(None),
        };
        let Some(request) = self.world.request(&spec.request_uid) else { return Ok(None) };
        let class = self.classes.facts(&self.world, &spec.class_name);
        let mut observation = self.observer().observe(&request, pod, class).await?;
        (observation.snapshot.csr_problem, observation.snapshot.seal_problem) = (None, None);
        Ok(Some(observation))
    }

    /// Whether the request with this UID is there, by the cache or, where the cache has never met it, by asking.
    pub(super) async fn request_presence(&self, namespace: &str, name: &str, uid: &str) -> Result<Presence<AccessRequest>, ApiError> {
        let known = self.world.requests.presence(&Key::new(namespace, name), uid);
        if known != Presence::Unseen {
            return Ok(known);
        }
        match self.ending.get_request(namespace, name).await {
            Ok(found) if found.object_uid() == uid => Ok(Presence::Present(Arc::new(found))),
            Ok(_) | Err(ApiError::NotFound(_)) => Ok(Presence::Gone),
            Err(error) => Err(error),
        }
    }

    /// The same for the pod of a requester.
    pub(super) async fn pod_presence(&self, namespace: &str, requester: &Requester) -> Result<Presence<PodRecord>, ApiError> {
        let known = self.world.pods.presence(&Key::new(namespace, &requester.pod_name), &requester.pod_uid);
        if known != Presence::Unseen {
            return Ok(known);
        }
        let api = Api::<Pod>::namespaced(self.ending.client().clone(), namespace);
        Ok(match call(api.get_opt(&requester.pod_name)).await? {
            Some(pod) if pod.uid().as_deref() == Some(requester.pod_uid.as_str()) => Presence::Present(Arc::new(PodRecord::of(&pod))),
            _ => Presence::Gone,
        })
    }
}

impl Observer<'_> {
    /// Everything about a new request: reads its pod live.
    pub async fn request(&self, request: &AccessRequest, class: ClassFacts) -> Result<Observation, ApiError> {
        let pod = self.read_pod(&request.namespace().unwrap_or_default(), &request.spec.requester.pod_name).await?;
        self.observe(request, pod, class).await
    }

    async fn observe(&self, object: &AccessRequest, pod: FoundPod, mut class: ClassFacts) -> Result<Observation, ApiError> {
        let request = facts_of(object);
        let workload = match &pod.facts {
            PodFacts::Present(pod) => pod.workload.clone(),
            PodFacts::Absent => String::new(),
        };
        let namespace = self.world.namespaces.get(&Key::new("", &request.namespace));
        let names = match &class {
            ClassFacts::Ready { spec, .. } => match &spec.x509 {
                Some(x509) => match x509::names(x509, &request.spec.class_name, &request.spec.requester, self.cluster) {
                    Ok(names) => Some(names),
                    Err(problem) => {
                        class = ClassFacts::NotReady { reason: "NamesDoNotFit".into(), message: problem.to_string() };
                        None
                    }
                },
                None => None,
            },
            _ => None,
        };
        let (key, csr_problem) = match (&request.spec.csr, &names) {
            (Some(pem), Some(names)) => match x509::csr::parse(pem, names) {
                Ok(key) => (Some(key), None),
                Err(problem) => (None, Some(problem.to_string())),
            },
            _ => (None, None),
        };
        let (seal_to, seal_problem) = match request.spec.seal_to.as_deref().map(SealKey::parse) {
            Some(Ok(key)) => (Some(key), None),
            Some(Err(problem)) => (None, Some(problem.to_string())),
            None => (None, None),
        };
        let mut snapshot = Snapshot {
            now: self.now,
            operator_namespace: self.operator_namespace.to_owned(),
            guard: self.guard.clone(),
            class,
            namespace: namespace.as_ref().map(|n| NamespaceFacts { labels: n.labels.clone(), terminating: n.terminating }),
            pod: pod.facts,
            requester_gone: self.requester_gone(&request.spec.requester),
            locks: self.world.locks.list().iter().map(|record| record.facts.clone()).collect(),
            csr_problem,
            seal_problem,
            policies: vec![],
            request,
        };
        let mut inputs = None;
        for policy in self.world.policies_for(&snapshot.request.namespace) {
            let compiled = self.policies.compiled(&policy, self.expressions).await;
            let mut facts = compiled.facts.clone();
            if compiled.has_expressions() && could_apply(&facts, &snapshot) {
                if inputs.is_none() {
                    let json = match &pod.json {
                        Some(json) => json.clone(),
                        None => self
                            .read_pod(&snapshot.request.namespace, &snapshot.request.spec.requester.pod_name)
                            .await?
                            .json
                            .unwrap_or_default(),
                    };
                    inputs = Some(Arc::new(self.inputs(object, &snapshot, json, &workload)));
                }
                if let Some(inputs) = &inputs {
                    self.evaluate(&compiled, &mut facts, inputs).await;
                }
            }
            snapshot.policies.push(facts);
        }
        Ok(Observation { snapshot, workload, names, key, seal_to, epoch: self.epoch })
    }

    async fn evaluate(&self, compiled: &Compiled, facts: &mut PolicyFacts, inputs: &Arc<Inputs>) {
        if let Some(program) = &compiled.when {
            facts.when = Some(self.expressions.evaluate(program, inputs).await);
        }
        for ((_, verdict), program) in facts.require.iter_mut().zip(&compiled.require) {
            *verdict = Some(self.expressions.evaluate(program, inputs).await);
        }
    }

    /// What of the requester is certainly gone beside its pod.
    fn requester_gone(&self, requester: &Requester) -> Option<String> {
        let (namespace, account) = requester.service_account()?;
        if self.world.service_accounts.presence(&Key::new(namespace, account), &requester.uid) == Presence::Gone {
            return Some(format!("service account {account}"));
        }
        let node = Key::new("", &requester.node_name);
        let node_gone = !requester.node_uid.is_empty() && self.world.nodes.presence(&node, &requester.node_uid) == Presence::Gone;
        node_gone.then(|| format!("node {}", requester.node_name))
    }

    fn inputs(&self, object: &AccessRequest, snapshot: &Snapshot, pod: serde_json::Value, workload: &str) -> Inputs {
        let json = |record: Option<Arc<ObjectRecord>>| record.map(|r| r.json.clone()).unwrap_or_default();
        let request = &snapshot.request;
        let account = request.spec.requester.service_account().map(|(_, name)| name).unwrap_or_default();
        let (kind, name) = workload.split_once('/').unwrap_or((workload, ""));
        Inputs::new(
            serde_json::json!({
                "apiVersion": "daypass.dev/v1alpha1", "kind": "AccessRequest",
                "metadata": object.metadata,
                "spec": without_csr(&request.spec),
            }),
            pod,
            json(self.world.nodes.get(&Key::new("", &request.spec.requester.node_name))),
            json(self.world.namespaces.get(&Key::new("", &request.namespace))),
            json(self.world.service_accounts.get(&Key::new(&request.namespace, account))),
            serde_json::json!({"kind": kind, "name": name}),
            snapshot.now,
        )
    }

    /// One quorum read of the pod that the requester names.
    async fn read_pod(&self, namespace: &str, name: &str) -> Result<FoundPod, ApiError> {
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let Some(mut pod) = call(api.get_opt(name)).await? else {
            return Ok(FoundPod { facts: PodFacts::Absent, json: Some(serde_json::Value::Null) });
        };
        pod.metadata.managed_fields = None;
        let facts = PodFacts::Present(Box::new(PodRecord::of(&pod).facts()));
        Ok(FoundPod { facts, json: serde_json::to_value(&pod).ok() })
    }
}

/// The CSR may hold 16 KiB, and neither it nor a key says anything that a policy should judge.
fn without_csr(spec: &AccessRequestSpec) -> serde_json::Value {
    let mut value = serde_json::to_value(AccessRequestSpec { csr: None, seal_to: None, ..spec.clone() }).unwrap_or_default();
    if let Some(map) = value.as_object_mut() {
        map.insert("delivery".into(), spec.delivery().as_str().into());
    }
    value
}

fn facts_of(request: &AccessRequest) -> RequestFacts {
    RequestFacts {
        namespace: request.namespace().unwrap_or_default(),
        name: request.name_any(),
        uid: request.object_uid().to_owned(),
        created: request.creation_timestamp().map(|t| t.0).unwrap_or_default(),
        generation: request.metadata.generation.unwrap_or_default(),
        spec: request.spec.clone(),
    }
}
