//! A real Kubernetes control plane on loopback, for tests, the demo and people who want to look around.
//!
//! It knows nothing of Daypass: it starts processes, speaks for identities and reports what the API server saw. It must never be
//! linked into the operator. Start with [`Cluster::start`].
#![allow(
    clippy::disallowed_methods,
    reason = "the bench plays administrator and kubelet, so it writes; and it is no part of the operator, so it may look at clocks"
)]

pub mod audit;
pub mod binaries;
pub mod cluster;
pub mod pki;
mod ports;
pub mod proxy;
mod scratch;
pub mod supervisor;
pub mod wait;
pub mod workload;

pub use cluster::{Cluster, Options};
