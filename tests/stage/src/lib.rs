//! Daypass on a real control plane: installed from the objects that chart and kustomize base are made of, run as the real binary under the
//! service account and the RBAC that they give it, and asked by pods with tokens of their own.
//!
//! The demo and the tests stand on this. Nothing here knows what is expected: that is theirs.
#![allow(clippy::disallowed_methods, reason = "plays the part of people, pods and kubelets, who all write")]

mod asking;
pub mod auditor;
mod error;
mod installing;
mod kubelet;
mod operator;

pub use asking::{Csr, Pod, Settled};
pub use error::Error;
pub use installing::{apply, install};
pub use kubelet::{Mount, get, listening};
pub use operator::{Operator, OperatorOptions};

use std::path::{Path, PathBuf};

use daypass::install::{OperatorName, Values};
use devcluster::{Cluster, Options, workload};

/// Node that the pods of a stage are on.
pub const NODE: &str = "node-1";

/// A control plane with Daypass installed on it.
pub struct Stage {
    /// The control plane.
    pub cluster: Cluster,
    /// What was installed.
    pub values: Values,
}

impl Stage {
    /// Starts a control plane and installs everything but the operator's process.
    pub async fn set(options: Options, values: Values) -> Result<Self, Error> {
        install_provider();
        let cluster = Cluster::start(options).await?;
        let stage = Self { cluster, values };
        let admin = stage.cluster.admin()?;
        workload::node(&admin, NODE, &[]).await?;
        for namespace in &stage.values.secret_namespaces {
            workload::namespace(&admin, namespace, &[]).await?;
        }
        for account in &stage.values.service_accounts {
            workload::namespace(&admin, &account.namespace, &[]).await?;
            workload::service_account(&admin, &account.namespace, &account.name).await?;
        }
        install(&stage.cluster, &stage.values).await?;
        Ok(stage)
    }

    /// Starts one operator process: the given binary, as the pod `name` of the operator's namespace.
    pub async fn operator(&self, binary: &Path, options: OperatorOptions) -> Result<Operator, Error> {
        Operator::start(self, binary, options).await
    }

    /// A pod of the service account `account`, running on the stage's node, with a token of its own. Namespace and account are made if
    /// they are not there.
    pub async fn pod(&self, namespace: &str, name: &str, account: &str) -> Result<Pod, Error> {
        Pod::start(self, namespace, name, account, &[]).await
    }

    /// The same with labels.
    pub async fn pod_with_labels(&self, namespace: &str, name: &str, account: &str, labels: &[(&str, &str)]) -> Result<Pod, Error> {
        Pod::start(self, namespace, name, account, labels).await
    }

    /// Who the operator is.
    pub fn operator_name(&self) -> &OperatorName {
        &self.values.operator
    }

    /// A file in the stage's directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.cluster.dir().join(name)
    }
}

/// TLS needs one provider for the whole process; whoever comes first installs it.
pub fn install_provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
