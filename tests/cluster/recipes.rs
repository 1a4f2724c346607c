//! The recipes of `docs/recipes`: every manifest is taken by a strict API server, and each recipe does what its page says.
//!
//! The manifests are applied as they stand, and the real controllers make pods of them. [`hosted`] plays scheduler and kubelet: it runs the
//! commands of a pod's containers with what a kubelet would give them. Only paths, ports and the life of a credential are the tests' own.

mod applied;
mod bare;
mod checked;
mod hosted;
mod jobs;
mod launch;
mod nginx;
mod page;
mod postgresql;
mod secret;
mod sidecar;
mod users;

pub use nginx::program as nginx_program;
