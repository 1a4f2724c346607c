//! What may differ between two installations. Everything else is fixed, because a guard that can be tuned can be tuned away.

use serde_json::{Map, Value, json};

/// The account that the operator runs as. The guard, RBAC and the operator itself must agree on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorName {
    /// Its namespace, which holds the ledger and the certificate authorities too.
    pub namespace: String,
    /// Name of its service account.
    pub service_account: String,
}

impl OperatorName {
    /// The username that the API server authenticates it as.
    pub fn username(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.service_account)
    }
}

impl Default for OperatorName {
    fn default() -> Self {
        Self { namespace: "daypass-system".into(), service_account: "daypass".into() }
    }
}

/// A service account whose tokens classes may lend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// One installation.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    /// The account that the operator runs as.
    pub operator: OperatorName,
    /// Image of the operator, with tag or digest.
    pub image: String,
    /// `imagePullPolicy` of that image.
    pub image_pull_policy: String,
    /// Namespaces in which pods may have a credential delivered as a Secret. The operator gets rights on Secrets there and nowhere else;
    /// delivery by CSR needs none.
    pub secret_namespaces: Vec<String>,
    /// Service accounts whose tokens classes may lend. The operator may mint tokens of these and of no other.
    pub service_accounts: Vec<Account>,
    /// Arguments after `daypass controller`.
    pub args: Vec<String>,
    /// Arguments after `daypass drain`, which runs before an installation is taken down.
    pub drain_args: Vec<String>,
    /// Resources of the operator's container.
    pub resources: Value,
    /// Further fields of the operator's pod spec, for instance `nodeSelector`. They never replace a field that hardens the pod.
    pub pod: Map<String, Value>,
}

impl Default for Values {
    fn default() -> Self {
        Self {
            operator: OperatorName::default(),
            image: concat!("ghcr.io/daypass-dev/daypass:", env!("CARGO_PKG_VERSION")).into(),
            image_pull_policy: "IfNotPresent".into(),
            secret_namespaces: Vec::new(),
            service_accounts: Vec::new(),
            args: Vec::new(),
            drain_args: Vec::new(),
            // No limit of CPU: a throttled operator ends credentials late.
            resources: json!({"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}),
            pod: Map::new(),
        }
    }
}
