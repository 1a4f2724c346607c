//! Chart and kustomize base, and the rights that the operator uses.
