//! A control plane with everything installed and nobody to answer, shared by the tests of this module.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock, mpsc},
    time::Duration,
};

use daypass::install::Values;
use devcluster::{Options, wait};
use kube::Client;
use serde_json::Value;
use stage::Stage;

/// How long the API server may take to know a kind that was made moments ago.
const KNOWN_WITHIN: Duration = Duration::from_secs(30);
/// What it says until then, besides 503.
const UNKNOWN_YET: [&str; 2] = ["not yet ready", "no corresponding type"];

/// The stage: set by the first that asks, ended with the test process.
pub fn quiet() -> Arc<Stage> {
    static QUIET: OnceLock<Arc<Stage>> = OnceLock::new();
    QUIET
        .get_or_init(|| {
            // Tests come and go with runtimes of their own; this one stays.
            let (tell, told) = mpsc::channel();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async move {
                    tell.send(Arc::new(Stage::set(Options::default(), Values::default()).await.unwrap())).unwrap();
                    std::future::pending::<()>().await;
                });
            });
            told.recv().expect("the quiet control plane starts")
        })
        .clone()
}

/// Somebody who writes, and what the API server answers.
pub struct Author(Client);

/// What the API server answers.
pub type Answer = Result<Value, Refusal>;

/// Why an object was refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// HTTP status.
    pub code: u16,
    /// Everything it says.
    pub message: String,
    /// Field path and message of each cause.
    pub causes: Vec<(String, String)>,
}

impl Author {
    /// Whoever this client is.
    pub fn new(client: Client) -> Self {
        Self(client)
    }

    /// The administrator.
    pub fn admin(stage: &Stage) -> Self {
        Self(stage.cluster.admin().unwrap())
    }

    /// The operator's account, with the rights that the installation gives it: only it may write status and leases.
    pub fn operator(stage: &Stage) -> Self {
        let name = stage.operator_name();
        let home = format!("system:serviceaccounts:{}", name.namespace);
        let groups = ["system:serviceaccounts", home.as_str(), "system:authenticated"];
        Self(stage.cluster.client_impersonating(&name.username(), None, &groups, &BTreeMap::new()).unwrap())
    }

    /// With which they write.
    pub fn client(&self) -> Client {
        self.0.clone()
    }

    /// Creates an object.
    pub async fn create(&self, object: &Value) -> Answer {
        self.send("POST", &collection(object), object).await
    }

    /// Asks whether an object could be created.
    pub async fn try_create(&self, object: &Value) -> Answer {
        self.send("POST", &format!("{}?dryRun=All", collection(object)), object).await
    }

    /// Replaces the status of an object.
    pub async fn put_status(&self, object: &Value) -> Answer {
        self.send("PUT", &format!("{}/status", path(object)), object).await
    }

    /// Asks whether the status of an object could be replaced.
    pub async fn try_put_status(&self, object: &Value) -> Answer {
        self.send("PUT", &format!("{}/status?dryRun=All", path(object)), object).await
    }

    /// Replaces an object.
    pub async fn put(&self, object: &Value) -> Answer {
        self.send("PUT", &path(object), object).await
    }

    /// Asks whether an object could be replaced.
    pub async fn try_put(&self, object: &Value) -> Answer {
        self.send("PUT", &format!("{}?dryRun=All", path(object)), object).await
    }

    /// Sends it until the kind is known to admission, which takes a moment after its definition was made.
    async fn send(&self, method: &str, path: &str, object: &Value) -> Answer {
        let answer = wait::until("the API server to know the kind", KNOWN_WITHIN, || async {
            let request = http::Request::builder().method(method).uri(path).header("content-type", "application/json");
            match self.0.request::<Value>(request.body(object.to_string().into_bytes()).unwrap()).await {
                Ok(held) => Some(Ok(held)),
                Err(kube::Error::Api(status)) if status.code == 503 || UNKNOWN_YET.iter().any(|sign| status.message.contains(sign)) => None,
                Err(kube::Error::Api(status)) => Some(Err(Refusal::of(&status))),
                Err(other) => panic!("{method} {path}: {other}"),
            }
        });
        answer.await.unwrap()
    }
}

impl Refusal {
    fn of(status: &kube::core::Status) -> Self {
        let causes = status.details.iter().flat_map(|details| &details.causes);
        Self {
            code: status.code,
            message: status.message.clone(),
            causes: causes.map(|cause| (cause.field.clone(), cause.message.clone())).collect(),
        }
    }

    /// It is a matter of this field, and says this.
    pub fn is_about(&self, field: &str, message: &str) -> bool {
        self.code == 422 && self.causes.iter().any(|(at, says)| at == field && says.contains(message))
    }
}

fn collection(object: &Value) -> String {
    let plural = match object["kind"].as_str().unwrap() {
        "AccessPolicy" => "accesspolicies".to_owned(),
        "ClusterAccessPolicy" => "clusteraccesspolicies".to_owned(),
        "CredentialClass" => "credentialclasses".to_owned(),
        kind => format!("{}s", kind.to_lowercase()),
    };
    let place = object["metadata"]["namespace"].as_str().map(|namespace| format!("namespaces/{namespace}/")).unwrap_or_default();
    let version = object["apiVersion"].as_str().unwrap();
    let root = if version.contains('/') { "apis" } else { "api" };
    format!("/{root}/{version}/{place}{plural}")
}

fn path(object: &Value) -> String {
    format!("{}/{}", collection(object), object["metadata"]["name"].as_str().unwrap())
}
