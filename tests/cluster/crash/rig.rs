//! A control plane of one's own, its operator behind a fault proxy, and an auditor over both.

use daypass::install::{Values, manifests};
use devcluster::{
    Options,
    proxy::{Proxy, Script},
};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use stage::{Operator, OperatorOptions, Pod, Stage, auditor::Sight};

use super::auditing::Auditing;
use crate::support::{self, Private, daypass};

/// The class that everybody here asks for.
pub const CLASS: &str = "crash";
/// A namespace with Secret delivery, and the account in it.
pub const NAMESPACE: &str = "crash";
pub const ACCOUNT: &str = "orders";

/// Everything that a crash test stands on.
pub struct Rig {
    // Declared in the order in which they have to go.
    pub auditing: Option<Auditing>,
    pub operator: Operator,
    pub proxy: Proxy,
    /// A pod that may ask for [`CLASS`].
    pub pod: Pod,
    pub admin: Client,
    pub installation: String,
    private: Private,
}

impl Rig {
    /// Set, with an operator that issues, behind a proxy that disturbs nothing. An ending is late after `bound` seconds.
    pub async fn set(bound: i64) -> Self {
        Self::set_with(bound, &[]).await
    }

    /// The same, with more arguments of the operator.
    pub async fn set_with(bound: i64, more: &[&str]) -> Self {
        let private = support::private(Options::default()).await;
        let stage = &private.stage;
        let proxy = Proxy::start(&stage.cluster, Script::quiet()).await.unwrap();
        let admin = stage.cluster.admin().unwrap();
        let kube_system: Namespace = Api::all(admin.clone()).get("kube-system").await.unwrap();
        let pod = stage.pod(NAMESPACE, "orders-1", ACCOUNT).await.unwrap();
        deliver_secrets_into(stage, NAMESPACE).await;
        stage.platform(support::class(CLASS)).await.unwrap();
        stage.platform(support::permit(NAMESPACE, NAMESPACE, ACCOUNT, CLASS, json!({}))).await.unwrap();
        // Requests of a whole test stay, so that the auditor sees what became of each.
        let args = ["--keep-clean", "10m", "--keep-per-identity", "1000"].iter().chain(more).map(|arg| (*arg).to_owned()).collect();
        let options = OperatorOptions { server: Some(proxy.url().clone()), args, ..OperatorOptions::default() };
        let operator = stage.operator(&daypass(), options).await.unwrap();
        operator.ready().await.unwrap();
        ready(stage, &[format!("dpclass/{CLASS}"), format!("dpcpol/{NAMESPACE}")]).await;
        let auditing = Some(Auditing::begin(stage, SignedDuration::from_secs(bound)));
        Self { auditing, operator, proxy, pod, admin, installation: kube_system.uid().unwrap(), private }
    }

    /// The stage.
    pub fn stage(&self) -> &Stage {
        &self.private.stage
    }

    /// Everything that there is now, as the auditor sees it.
    pub async fn sight(&self) -> Result<Sight, stage::Error> {
        Sight::take(&self.admin, &self.stage().operator_name().namespace).await
    }

    /// Fails the test over whatever the auditor ever found.
    pub async fn audit(mut self) {
        let auditing = self.auditing.take().unwrap();
        auditing.end().await;
    }

    /// kill -9, and the same binary again; returns once it issues.
    pub async fn crash_and_restart(&self) {
        self.operator.process.kill().await;
        // What hung is never let go: it did not reach the API server, or its answer did not come back.
        self.proxy.play(Script::quiet());
        self.operator.process.start_again().unwrap();
        self.operator.ready().await.unwrap();
    }

    /// A person revokes a lease.
    pub async fn revoke(&self, lease: &str) {
        let patch = Patch::Merge(json!({"spec": {"revoke": {"reason": "a test"}}}));
        let leases = Api::<daypass::api::CredentialLease>::namespaced(self.admin.clone(), &self.stage().operator_name().namespace);
        leases.patch(lease, &PatchParams::default(), &patch).await.unwrap();
    }
}

/// Gives the operator its rights on Secrets there, as the chart does for the namespaces in its values.
pub async fn deliver_secrets_into(stage: &Stage, namespace: &str) {
    let values = Values { secret_namespaces: vec![namespace.to_owned()], ..stage.values.clone() };
    let there = |object: &Value| object["metadata"]["namespace"] == namespace;
    for object in manifests(&values).into_iter().filter(there) {
        stage.platform(object).await.unwrap();
    }
}

/// Waits until `kubectl wait` sees them Ready.
pub async fn ready(stage: &Stage, objects: &[String]) {
    let args = ["wait", "--for=condition=Ready", "--timeout=60s"].map(String::from);
    let waited = stage.cluster.kubectl(args.iter().chain(objects)).await.unwrap();
    assert!(waited.status.success(), "{objects:?}: {}", String::from_utf8_lossy(&waited.stderr));
}
