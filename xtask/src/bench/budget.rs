//! P2: API calls of the operator for each grant, end and removal, from the audit log, by the operator's username.
//!
//! Whole lives in a namespace of their own, by pods of their own, so that every call can be told whose it is by the name of its object.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use daypass::api::{AccessRequest, CredentialLease, Delivery, RequestState};
use devcluster::audit::{self, Event};
use futures::future::try_join_all;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{
    ground::{ACCOUNT, Ask, Ground, STRANGER, pods},
    report::{Goal, Report, Row},
};

const NAMESPACE: &str = "life";
const PODS_EACH: usize = 4;

/// A kind of life, and what performance.md allows for it.
struct Life {
    batch: &'static str,
    what: &'static str,
    delivery: Delivery,
    ttl: &'static str,
    account: &'static str,
    /// A person ends it while it lives.
    revoked: bool,
    /// Calls up to the answer; from there to the end; to remove what is left.
    budget: [u32; 3],
}

const LIVES: [Life; 5] = [
    Life { batch: "life-csr", what: "CSR", delivery: Delivery::CSR, ttl: "8s", account: ACCOUNT, revoked: false, budget: [2, 2, 2] },
    Life {
        batch: "life-secret",
        what: "TLS Secret",
        delivery: Delivery::Secret,
        ttl: "8s",
        account: ACCOUNT,
        revoked: false,
        budget: [4, 3, 2],
    },
    // ExpiryOnly grants that end early say Revoking first, in the lease and in the request.
    Life {
        batch: "life-csr-early",
        what: "CSR, revoked",
        delivery: Delivery::CSR,
        ttl: "15s",
        account: ACCOUNT,
        revoked: true,
        budget: [2, 4, 2],
    },
    Life {
        batch: "life-secret-early",
        what: "TLS Secret, revoked",
        delivery: Delivery::Secret,
        ttl: "15s",
        account: ACCOUNT,
        revoked: true,
        budget: [4, 5, 2],
    },
    Life { batch: "life-denied", what: "denial", delivery: Delivery::CSR, ttl: "8s", account: STRANGER, revoked: false, budget: [1, 0, 1] },
];

/// Lives that were lived; their calls can be counted once everything about them is removed.
pub struct Lives {
    /// Name of a request, lease or Secret → its request; of a pod → its batch.
    owners: HashMap<(&'static str, String), (usize, String)>,
    each: usize,
}

impl Lives {
    /// Lives so many of each kind, up to their ends.
    pub async fn live(ground: &Ground, each: usize) -> Result<Self, String> {
        let mut lives = Self { owners: HashMap::new(), each };
        for (kind, life) in LIVES.iter().enumerate() {
            let pods = pods(&ground.stage, NAMESPACE, &format!("{}-pod", life.batch), life.account, PODS_EACH).await?;
            lives.owners.extend(pods.iter().map(|pod| (("pods", pod.pod.name_any()), (kind, String::new()))));
            let asks = Ask::many(each, life.batch, life.delivery, life.ttl)?;
            let requests = try_join_all(asks.into_iter().enumerate().map(|(n, ask)| ask.by(&pods[n % PODS_EACH]))).await?;
            let answered = if life.budget[1] == 0 { RequestState::Denied } else { RequestState::Active };
            ground.answers.reached(life.batch, answered, each).await?;
            let leases = ground.stage.leases().await.map_err(|error| error.to_string())?;
            let leases: HashMap<String, String> =
                leases.into_iter().map(|lease| (lease.spec.request_uid.clone(), lease.name_any())).collect();
            for request in &requests {
                lives.own(kind, request, leases.get(&request.uid().unwrap_or_default()));
            }
            if life.revoked {
                revoke(ground, requests.iter().filter_map(|request| leases.get(&request.uid()?))).await?;
            }
        }
        for life in LIVES.iter().filter(|life| life.budget[1] > 0) {
            ground.answers.reached(life.batch, RequestState::Ended, each).await?;
        }
        Ok(lives)
    }

    fn own(&mut self, kind: usize, request: &AccessRequest, lease: Option<&String>) {
        let owner = (kind, request.name_any());
        self.owners.insert(("accessrequests", request.name_any()), owner.clone());
        self.owners.insert(("secrets", request.wanted_secret_name()), owner.clone());
        if let Some(lease) = lease {
            self.owners.insert(("credentialleases", lease.clone()), owner);
        }
    }

    /// Counts, once everything about these lives is removed.
    pub async fn report(&self, ground: &Ground, report: &mut Report) -> Result<(), String> {
        self.removed(ground).await?;
        let events = ground.stage.cluster.audit().map_err(|error| error.to_string())?;
        let username = ground.stage.operator_name().username();
        let mut calls: HashMap<&(usize, String), Calls> =
            self.owners.values().filter(|(_, name)| !name.is_empty()).map(|owner| (owner, Calls::default())).collect();
        let mut pod_reads = [0u32; LIVES.len()];
        let mut beside = BTreeMap::<String, usize>::new();
        for event in audit::by_user(&events, &username).filter(|event| event.stage == audit::Stage::ResponseComplete) {
            match self.owner(event) {
                Some((kind, name)) if name.is_empty() => pod_reads[*kind] += 1,
                Some(owner) => calls.entry(owner).or_default().count(event),
                None => *beside.entry(kind_of(event)).or_default() += 1,
            }
        }
        for (kind, life) in LIVES.iter().enumerate() {
            let of = |part: fn(&Calls) -> u32| {
                calls.iter().filter(|((of, _), _)| *of == kind).map(|(_, calls)| f64::from(part(calls))).collect::<Vec<_>>()
            };
            let exactly = |part: usize| Some(Goal::Exactly(f64::from(life.budget[part])));
            let (what, asked) = (life.what, if life.budget[1] == 0 { "an answer" } else { "a grant" });
            report.rows(Row::of("P2", format!("{what}: writes {asked}"), &of(|calls| calls.answer), exactly(0)));
            let reads = f64::from(pod_reads[kind]) / self.each as f64;
            report.rows([Row::once("P2", format!("{what}: GETs of the pod {asked}"), reads, Some(Goal::Exactly(1.0)))]);
            if life.budget[1] > 0 {
                report.rows(Row::of("P2", format!("{what}: writes an end"), &of(|calls| calls.end), exactly(1)));
            }
            report.rows(Row::of("P2", format!("{what}: deletes after retention"), &of(|calls| calls.removal), exactly(2)));
            report.rows(Row::of("P2", format!("{what}: other reads a life"), &of(|calls| calls.reads), Some(Goal::Exactly(0.0))));
        }
        report.note(beside_text(&beside, ground));
        Ok(())
    }

    fn owner(&self, event: &Event) -> Option<&(usize, String)> {
        let object = event.object_ref.as_ref()?;
        let resource =
            ["pods", "accessrequests", "secrets", "credentialleases"].into_iter().find(|resource| *resource == object.resource)?;
        let ours = object.namespace == NAMESPACE || resource == "credentialleases";
        self.owners.get(&(resource, object.name.clone())).filter(|_| ours)
    }

    async fn removed(&self, ground: &Ground) -> Result<(), String> {
        let admin = ground.stage.cluster.admin().map_err(|error| error.to_string())?;
        let requests = Api::<AccessRequest>::namespaced(admin, NAMESPACE);
        let gone = devcluster::wait::until("finished requests to be removed", Duration::from_secs(60), || async {
            requests.list_metadata(&Default::default()).await.ok().filter(|list| list.items.is_empty())
        });
        gone.await.map(drop).map_err(|error| error.to_string())
    }
}

/// Calls about one request, its lease and its Secret.
#[derive(Default)]
pub struct Calls {
    /// Writes up to its answer.
    pub answer: u32,
    /// Writes from there to its end.
    pub end: u32,
    /// Deletes of request and lease.
    pub removal: u32,
    /// Everything that only reads.
    pub reads: u32,
    answered: bool,
}

impl Calls {
    /// The first write of a request's status is its answer: what is written up to it made the answer, what follows is the end.
    pub fn count(&mut self, event: &Event) {
        let removes = event.is("delete", "accessrequests") || event.is("delete", "credentialleases");
        match event.verb.as_str() {
            "get" | "list" | "watch" => self.reads += 1,
            _ if removes => self.removal += 1,
            _ if self.answered => self.end += 1,
            _ => {
                self.answer += 1;
                self.answered = event.is("update", "accessrequests/status");
            }
        }
    }
}

/// A person ends grants while they live.
async fn revoke(ground: &Ground, leases: impl Iterator<Item = &String>) -> Result<(), String> {
    let admin = ground.stage.cluster.admin().map_err(|error| error.to_string())?;
    let api = Api::<CredentialLease>::namespaced(admin, &ground.stage.operator_name().namespace);
    let wish = Patch::Merge(json!({"spec": {"revoke": {"reason": "measuring what an early end costs"}}}));
    let params = PatchParams::default();
    try_join_all(leases.map(|lease| api.patch(lease, &params, &wish))).await.map(drop).map_err(|error| format!("revoke: {error}"))
}

/// Verb and resource, with what makes the canary differ.
fn kind_of(event: &Event) -> String {
    let resource = event.object_ref.as_ref().map_or_else(
        || event.request_uri.split('?').next().unwrap_or_default().to_owned(),
        |object| match &object.subresource {
            Some(subresource) => format!("{}/{subresource}", object.resource),
            None => object.resource.clone(),
        },
    );
    let dry_run = if event.dry_run() { " (dry run: the canary)" } else { "" };
    format!("{} {resource}{dry_run}", event.verb)
}

fn beside_text(beside: &BTreeMap<String, usize>, ground: &Ground) -> String {
    let lines: Vec<String> = beside.iter().map(|(kind, count)| format!("  {count:>7}  {kind}")).collect();
    format!(
        "Every other call of {} in the whole run, the other benchmarks' included:\n{}",
        ground.stage.operator_name().username(),
        lines.join("\n")
    )
}
