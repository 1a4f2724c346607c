//! The stages that tests stand on.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock, mpsc},
};

use daypass::install::{Account, Values};
use devcluster::Options;
use serde_json::{Value, json};
use stage::{Operator, OperatorOptions, Stage};
use tokio::sync::{Semaphore, SemaphorePermit};

/// The binary under test, unmodified.
pub fn daypass() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_daypass"))
}

/// Namespaces that the shared operator may deliver Secrets into. A test that needs one takes the one that bears its name; `shop` is that of the
/// recipes.
pub const SECRET_NAMESPACES: &[&str] = &["secrets-grants", "secrets-ends", "secrets-input", "secrets-postgres", "secrets-tokens", "shop"];

/// Where the accounts live that classes lend.
pub const LENT: &str = "lent";
/// Those that the shared operator may mint tokens of; a test takes one that no other takes.
pub const LENT_ACCOUNTS: &[&str] = &[
    "sealed",
    "held",
    "opened",
    "secret",
    "denied",
    "recreated",
    "ends",
    "chained",
    "audience",
    "offline",
    "standing",
    "restart",
    "sweep",
    "proof",
    "locked",
    "abnormal",
    "matrix",
    "revoked",
];

/// A stage with a running operator.
pub struct Running {
    /// The stage.
    pub stage: Stage,
    /// Its operator.
    pub operator: Operator,
}

/// The control plane and the operator that behaviour tests share: started by the first that asks, ended with the test process.
pub fn shared() -> Arc<Running> {
    static SHARED: OnceLock<Arc<Running>> = OnceLock::new();
    SHARED
        .get_or_init(|| {
            // Tests come and go with runtimes of their own; this one stays.
            let (tell, told) = mpsc::channel();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
                runtime.block_on(async move {
                    // Quotas are counted anew every five minutes by default: a test would wait for the count of a new kind.
                    let controller_manager_args = vec!["--resource-quota-sync-period=5s".to_owned()];
                    let options = Options { controller_manager_args, ..Options::default() };
                    tell.send(Arc::new(start(options, OperatorOptions::default()).await)).unwrap();
                    std::future::pending::<()>().await;
                });
            });
            told.recv().expect("the shared control plane starts")
        })
        .clone()
}

async fn start(options: Options, operator: OperatorOptions) -> Running {
    let stage = set(options).await;
    let operator = stage.operator(&daypass(), operator).await.unwrap();
    operator.ready().await.unwrap();
    Running { stage, operator }
}

/// Installed, but with no operator process.
async fn set(options: Options) -> Stage {
    let account = |namespace: &str, name: &str| Account { namespace: namespace.into(), name: name.into() };
    let lent = LENT_ACCOUNTS.iter().map(|name| account(LENT, name)).chain([account("secrets-tokens", "neighbour")]);
    let secret_namespaces = SECRET_NAMESPACES.iter().map(|n| (*n).into()).collect();
    let values = Values { secret_namespaces, service_accounts: lent.collect(), ..Values::default() };
    Stage::set(options, values).await.unwrap()
}

/// A right to a control plane of one's own; at most two at a time fit the machine.
pub struct Private {
    /// The stage; no operator runs on it yet.
    pub stage: Arc<Stage>,
    /// Held for as long as the control plane is there.
    _turn: SemaphorePermit<'static>,
}

impl Drop for Private {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            never_peeked(&self.stage);
        }
    }
}

/// Whatever was done here, the operator has not read, listed or watched a Secret of anybody else's namespace: told by the audit log.
pub fn never_peeked(stage: &Stage) {
    let name = stage.operator_name();
    let account = format!("system:serviceaccount:{}:{}", name.namespace, name.service_account);
    let calls = stage.cluster.audit().unwrap();
    let reads = |call: &&devcluster::audit::Event| ["get", "list", "watch"].iter().any(|verb| call.is(verb, "secrets"));
    let elsewhere = |call: &&devcluster::audit::Event| call.object_ref.as_ref().is_some_and(|on| on.namespace != name.namespace);
    let peeked: Vec<_> = calls.iter().filter(|call| call.username() == account).filter(reads).filter(elsewhere).collect();
    let said: Vec<_> = peeked.iter().map(|call| format!("{} {}", call.verb, call.request_uri)).collect();
    assert_eq!(said, Vec::<String>::new(), "Secrets of tenants are never read");
}

/// A control plane of one's own with Daypass installed and no operator process.
pub async fn private(options: Options) -> Private {
    let turn = turn().await;
    Private { stage: Arc::new(set(options).await), _turn: turn }
}

/// The right to start a control plane: at most two at a time fit the machine.
pub async fn turn() -> SemaphorePermit<'static> {
    static TURNS: Semaphore = Semaphore::const_new(2);
    TURNS.acquire().await.unwrap()
}

/// A class that signs with the managed authority and delivers both ways.
pub fn class(name: &str) -> Value {
    json!({
        "apiVersion": "daypass.dev/v1alpha1", "kind": "CredentialClass", "metadata": {"name": name},
        "spec": {
            "ttl": {"default": "5m", "max": "15m"}, "delivery": ["CSR", "Secret"],
            "x509": {"ca": {"managed": {}}, "trustDomain": "test.example", "subject": {"commonName": "{serviceAccount}"},
                     "dnsNames": ["{serviceAccount}.{namespace}.svc"]},
        },
    })
}

/// A policy that permits one account of one namespace one class, on whatever terms are merged into its spec.
pub fn permit(name: &str, namespace: &str, account: &str, class: &str, terms: Value) -> Value {
    let mut spec = json!({"subjects": [{"namespaces": [namespace], "serviceAccountNames": [account]}], "classes": [class]});
    for (key, value) in terms.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    json!({"apiVersion": "daypass.dev/v1alpha1", "kind": "ClusterAccessPolicy", "metadata": {"name": name}, "spec": spec})
}

impl Running {
    /// Applies a class and a policy that are named after the namespace, and waits until both are Ready.
    pub async fn offer(&self, namespace: &str, account: &str, terms: Value) {
        self.stage.platform(class(namespace)).await.unwrap();
        self.stage.platform(permit(namespace, namespace, account, namespace, terms)).await.unwrap();
        self.wait_ready(&format!("dpclass/{namespace}")).await;
        self.wait_ready(&format!("dpcpol/{namespace}")).await;
    }

    /// Waits until `kubectl wait` sees it Ready.
    pub async fn wait_ready(&self, object: &str) {
        let waited = self.stage.cluster.kubectl(["wait", "--for=condition=Ready", "--timeout=60s", object]).await.unwrap();
        assert!(waited.status.success(), "{object}: {}", String::from_utf8_lossy(&waited.stderr));
    }
}
