//! What can keep a stage from being set.

/// Why something on the stage did not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The control plane.
    #[error(transparent)]
    Cluster(#[from] devcluster::cluster::Error),
    /// A pod, namespace, node or token.
    #[error(transparent)]
    Workload(#[from] devcluster::workload::Error),
    /// A process.
    #[error(transparent)]
    Process(#[from] devcluster::supervisor::Error),
    /// An API call.
    #[error("{what}: {error}")]
    Api {
        /// What was attempted.
        what: String,
        /// What came of it.
        error: kube::Error,
    },
    /// Something did not come in time.
    #[error("{0}")]
    TimedOut(#[from] devcluster::wait::TimedOut),
    /// The operator's process ended.
    #[error("the operator ended by itself ({exit:?}); its last lines:\n{log}")]
    OperatorEnded {
        /// How.
        exit: devcluster::supervisor::Exit,
        /// Its last lines.
        log: String,
    },
    /// A file.
    #[error("{what}: {error}")]
    File {
        /// Which.
        what: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// A key or a signing request.
    #[error("cannot make a signing request: {0}")]
    Csr(#[from] rcgen::Error),
}

impl Error {
    pub(crate) fn api(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        move |error| Self::Api { what: what.into(), error }
    }

    pub(crate) fn file(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self::File { what: what.into(), error }
    }
}
