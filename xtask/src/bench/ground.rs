//! A control plane to measure on: Daypass installed, pods that ask, a watch on the answers; with the operator or without.
//!
//! Both grounds of a comparison are set alike, so that what differs is who grants.

use std::{path::Path, sync::Arc, time::Duration};

use daypass::{
    api::{AccessRequest, Delivery},
    install::{Account, Values},
};
use devcluster::Options;
use futures::{StreamExt, TryStreamExt, stream};
use kube::{api::ListParams, core::Request};
use serde_json::{Value, json};
use stage::{Csr, Operator, OperatorOptions, Pod, Stage};

use super::{answers::Answers, machine::Usage};

/// Connections at once: what the operator's workers use by default, and everybody it is compared with.
pub const AT_ONCE: usize = 32;
/// The class that everything asks for.
pub const CLASS: &str = "bench";
/// The account that may have it, and one that may not.
pub const ACCOUNT: &str = "app";
/// Has no policy.
pub const STRANGER: &str = "stranger";

/// How often a call is made again when there are too many, and after which pause: kube-apiserver says `Retry-After: 1`.
const TRIES: usize = 30;
const PAUSE: Duration = Duration::from_secs(1);

const NAMESPACES: usize = 5;
const PODS_EACH: usize = 4;

/// A control plane with everything that is measured with.
pub struct Ground {
    /// The control plane with Daypass installed.
    pub stage: Stage,
    /// The operator's process, on the ground that has one.
    pub operator: Option<Operator>,
    /// Pods that ask, in several namespaces.
    pub pods: Vec<Pod>,
    /// What becomes of requests.
    pub answers: Arc<Answers>,
}

/// Arguments of the operator: its defaults, but for retention, so that whole lives fit into a run.
pub fn operator_options() -> OperatorOptions {
    OperatorOptions {
        args: ["--keep-clean", "5s", "--keep-other", "5s"].map(String::from).to_vec(),
        log: "info".into(),
        ..Default::default()
    }
}

impl Ground {
    /// Sets it; with the operator if there is a binary.
    pub async fn set(binary: Option<&Path>) -> Result<Self, String> {
        Self::set_lending(binary, vec![]).await
    }

    /// The same, on which tokens of these accounts may be lent as well.
    pub async fn set_lending(binary: Option<&Path>, service_accounts: Vec<Account>) -> Result<Self, String> {
        let namespaces: Vec<String> = (0..NAMESPACES).map(|n| format!("bench-{n}")).chain(["life".to_owned()]).collect();
        let values = Values { secret_namespaces: namespaces.clone(), service_accounts, ..Values::default() };
        let stage = Stage::set(Options::default(), values).await.map_err(|error| error.to_string())?;
        for object in platform(&namespaces) {
            stage.platform(object).await.map_err(|error| error.to_string())?;
        }
        let operator = match binary {
            Some(binary) => {
                let operator = stage.operator(binary, operator_options()).await.map_err(|error| error.to_string())?;
                operator.ready().await.map_err(|error| error.to_string())?;
                Some(operator)
            }
            None => None,
        };
        let mut pods = vec![];
        for namespace in &namespaces[..NAMESPACES] {
            pods.extend(self::pods(&stage, namespace, ACCOUNT, ACCOUNT, PODS_EACH).await?);
        }
        let answers = Answers::follow(stage.cluster.admin().map_err(|error| error.to_string())?);
        let ground = Self { stage, operator, pods, answers };
        // A kind that was created moments ago may be refused at first: this one asks until it is taken.
        let first = ground.pods[0].ask_with_csr(CLASS, Some("5s"), &Csr::new().map_err(|error| error.to_string())?).await;
        first.map_err(|error| error.to_string())?;
        Ok(ground)
    }

    /// Processor time of everything on this ground, the load included.
    pub fn usage(&self) -> Result<Usage, String> {
        let pid = |name: &str| self.stage.cluster.process(name).map(|process| process.pid()).map_err(|error| error.to_string());
        let mut processes = vec![
            ("kube-apiserver", pid("kube-apiserver-0")?),
            ("etcd", pid("etcd")?),
            ("kube-controller-manager", pid("kube-controller-manager")?),
            ("this load", std::process::id()),
        ];
        processes.extend(self.operator.as_ref().map(|operator| ("daypass", operator.process.pid())));
        Ok(Usage::now(&processes))
    }

    /// Creates requests, at most [`AT_ONCE`] at once, each by the next pod in turn.
    pub async fn ask_all(&self, asks: Vec<Ask>, each: impl Fn(AccessRequest)) -> Result<(), String> {
        let asked = asks.into_iter().enumerate().map(|(n, ask)| self.ask(n, ask));
        stream::iter(asked).buffer_unordered(AT_ONCE).map_ok(each).try_collect::<Vec<()>>().await.map(drop)
    }

    /// Creates one request by the n-th pod.
    pub async fn ask(&self, n: usize, ask: Ask) -> Result<AccessRequest, String> {
        let pod = &self.pods[n % self.pods.len()];
        ask.by(pod).await
    }

    /// Leases that are there, closed ones included.
    pub async fn leases(&self) -> Result<usize, String> {
        let client = self.stage.cluster.admin().map_err(|error| error.to_string())?;
        let path = format!("/apis/daypass.dev/v1alpha1/namespaces/{}/credentialleases", self.stage.operator_name().namespace);
        let request = Request::new(path).list(&ListParams::default().limit(1)).map_err(|error| error.to_string())?;
        let list: Value = client.request(request).await.map_err(|error| format!("list leases: {error}"))?;
        let first = list["items"].as_array().map_or(0, Vec::len);
        Ok(first + list["metadata"]["remainingItemCount"].as_u64().unwrap_or_default() as usize)
    }

    /// Ends the operator in order.
    pub async fn stop(self) {
        if let Some(operator) = &self.operator {
            operator.stop().await;
        }
    }
}

/// A request that is ready to be made: nothing of its making is measured.
pub struct Ask {
    batch: String,
    spec: Value,
}

impl Ask {
    /// One request of a batch.
    pub fn new(batch: &str, delivery: Delivery, ttl: &str) -> Result<Self, String> {
        let mut spec = json!({"className": CLASS, "ttl": ttl});
        if delivery == Delivery::CSR {
            spec["csr"] = Csr::new().map_err(|error| error.to_string())?.pem.into();
        }
        Ok(Self::of(batch, spec))
    }

    /// A request with this spec.
    pub fn of(batch: &str, spec: Value) -> Self {
        Self { batch: batch.to_owned(), spec }
    }

    /// Several of them.
    pub fn many(count: usize, batch: &str, delivery: Delivery, ttl: &str) -> Result<Vec<Self>, String> {
        (0..count).map(|_| Self::new(batch, delivery, ttl)).collect()
    }

    /// Creates the request with the pod's own token. Told that there are too many, it asks again, as clients must; that is in its time.
    pub async fn by(self, pod: &Pod) -> Result<AccessRequest, String> {
        let body = json!({
            "apiVersion": "daypass.dev/v1alpha1", "kind": "AccessRequest",
            "metadata": {"generateName": format!("{}-", self.batch), "namespace": pod.namespace}, "spec": self.spec,
        });
        let (body, requests) = (body.to_string(), format!("/apis/daypass.dev/v1alpha1/namespaces/{}/accessrequests", pod.namespace));
        let create = || async {
            let body = body.clone().into_bytes();
            pod.client.request(Request::new(&*requests).create(&Default::default(), body).map_err(kube::Error::BuildRequest)?).await
        };
        patiently(create).await.map_err(|error| format!("create a request of batch {}: {error}", self.batch))
    }
}

/// Makes a call again for as long as the API server says that there are too many.
pub async fn patiently<T, F: Future<Output = kube::Result<T>>>(call: impl Fn() -> F) -> kube::Result<T> {
    let mut tries = TRIES;
    loop {
        match call().await {
            Err(kube::Error::Api(status)) if status.code == 429 && tries > 0 => tokio::time::sleep(PAUSE).await,
            answer => return answer,
        }
        tries -= 1;
    }
}

/// Runs several pods of one account.
pub async fn pods(stage: &Stage, namespace: &str, prefix: &str, account: &str, count: usize) -> Result<Vec<Pod>, String> {
    let mut pods = vec![];
    for n in 0..count {
        pods.push(stage.pod(namespace, &format!("{prefix}-{n}"), account).await.map_err(|error| error.to_string())?);
    }
    Ok(pods)
}

fn platform(namespaces: &[String]) -> [Value; 2] {
    let class = json!({
        "apiVersion": "daypass.dev/v1alpha1", "kind": "CredentialClass", "metadata": {"name": CLASS},
        "spec": {
            "ttl": {"default": "10m", "max": "15m"}, "delivery": ["CSR", "Secret"],
            "x509": {"ca": {"managed": {}}, "trustDomain": "bench.example", "subject": {"commonName": "{serviceAccount}"},
                     "dnsNames": ["{serviceAccount}.{namespace}.svc"], "usages": ["ClientAuth"]},
        },
    });
    let policy = json!({
        "apiVersion": "daypass.dev/v1alpha1", "kind": "ClusterAccessPolicy", "metadata": {"name": "bench"},
        "spec": {
            "subjects": [{"namespaces": namespaces, "serviceAccountNames": [ACCOUNT]}], "classes": [CLASS],
            "limits": {"live": 100_000, "livePerPod": 10_000},
        },
    });
    [class, policy]
}
