//! What can go wrong with a cluster.

use std::{io, path::PathBuf};

use crate::{binaries, pki, supervisor, wait};

/// Why there is no cluster, or what it refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program is not to be had.
    #[error(transparent)]
    Binaries(#[from] binaries::Error),
    /// A certificate could not be made.
    #[error(transparent)]
    Pki(#[from] pki::Error),
    /// A process could not be started.
    #[error(transparent)]
    Supervisor(#[from] supervisor::Error),
    /// A file could not be written or read.
    #[error("{path}: {source}", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory holds an earlier cluster, whose keys would not match.
    #[error("{dir} holds an earlier cluster: name another directory, or remove this one", dir = .0.display())]
    DirectoryInUse(PathBuf),
    /// No port.
    #[error("no port for {component}: {source}")]
    Port {
        /// Who wanted one.
        component: String,
        /// Why there is none.
        source: io::Error,
    },
    /// A component ended while it was waited for.
    #[error("{component} ended ({exit}) before it was ready; the last lines of its log:\n{tail}")]
    Ended {
        /// Which.
        component: String,
        /// How.
        exit: String,
        /// The end of its log.
        tail: String,
    },
    /// A component was not ready in time.
    #[error("{component}: {source}; the last lines of its log:\n{tail}")]
    NotReady {
        /// Which.
        component: String,
        /// What was waited for.
        source: wait::TimedOut,
        /// The end of its log.
        tail: String,
    },
    /// A name that no process has.
    #[error("no process {name:?} in this cluster; there are: {known}")]
    NoSuchProcess {
        /// The name.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The API server or the client library refused.
    #[error(transparent)]
    Kube(Box<kube::Error>),
    /// What the API server or etcd said makes no sense.
    #[error("unexpected answer: {0}")]
    Answer(String),
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Kube(Box::new(error))
    }
}
