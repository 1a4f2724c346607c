//! What an installation consists of: the admission guard, RBAC, the workload. One source for chart, kustomize base and tests.

pub mod guard;
