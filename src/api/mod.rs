//! The custom resources of group `daypass.dev`, version `v1alpha1`: shapes and schema rules, no logic.
//!
//! Owns field names, bounds and the CEL rules that the API server enforces by itself. Must never hold a decision.
//! Everything else reads these types; `crds()` is the one source of every CRD manifest.

pub mod class;
pub mod condition;
pub mod crds;
pub mod lease;
pub mod lock;
pub mod policy;
pub mod reason;
pub mod request;
pub mod sealed;
pub mod ttl;

pub use class::{CredentialClass, CredentialClassSpec};
pub use condition::Condition;
pub use crds::crds;
pub use lease::{CredentialLease, CredentialLeaseSpec};
pub use lock::{AccessLock, AccessLockSpec};
pub use policy::{AccessPolicy, ClusterAccessPolicy};
pub use reason::{DenialReason, EndReason, FailureReason, Proof};
pub use request::{AccessRequest, AccessRequestSpec, Delivery, RequestState, Requester};
pub use sealed::SealedCredential;
pub use ttl::Ttl;

/// API group of every kind here.
pub const GROUP: &str = "daypass.dev";
/// Label on every Secret that holds or will hold a credential: the UID of its AccessRequest.
pub const LABEL_REQUEST_UID: &str = "daypass.dev/request-uid";
/// Label on Secrets that nothing owns, which tokens are bound to: the hour in UTC (`2026-03-01T12`) after which nobody needs them.
pub const LABEL_EXPIRY_HOUR: &str = "daypass.dev/expiry-hour";
/// Label on Secrets of the operator's namespace that hold a certificate authority managed by Daypass.
pub const LABEL_CA: &str = "daypass.dev/ca";
/// Label on ConfigMaps of the operator's namespace that hold the revocation lists of a certificate authority.
pub const LABEL_CRL: &str = "daypass.dev/crl";
/// Label on the ConfigMap of the operator's namespace that holds the roots of every certificate authority.
pub const LABEL_ROOTS: &str = "daypass.dev/roots";
/// Annotation that the admission policy *leave* asks for before the operator's namespace or a CRD is deleted.
pub const ANNOTATION_DRAINED: &str = "daypass.dev/drained";
