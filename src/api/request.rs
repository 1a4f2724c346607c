//! AccessRequest: one ask by one pod. The spec never changes; the status is a projection of the ledger.

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, DenialReason, EndReason, Proof, SealedCredential, Ttl};

/// A pod asks for one short-lived credential of a class. Create it with the pod's own token; the API server stamps who asked.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "daypass.dev",
    version = "v1alpha1",
    kind = "AccessRequest",
    plural = "accessrequests",
    shortname = "dpreq",
    category = "daypass",
    namespaced,
    derive = "PartialEq",
    doc = "One ask for one short-lived credential, made by a pod with its own token.",
    status = "AccessRequestStatus",
    selectable = ".spec.className",
    selectable = ".spec.requester.podUID",
    selectable = ".spec.requester.username",
    selectable = ".status.state",
    printcolumn(name = "Workload", type_ = "string", json_path = ".status.workload"),
    printcolumn(name = "Class", type_ = "string", json_path = ".spec.className"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason"),
    printcolumn(name = "Ends", type_ = "string", json_path = ".status.credential.expiresAt"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 200").message("metadata.name must be at most 200 characters, so that names can be derived from it"),
    validation = Rule::new(
        "!has(oldSelf.status) || !has(oldSelf.status.state) || !(oldSelf.status.state in ['Denied', 'Ended', 'Failed']) || (has(self.status) && has(self.status.state) && self.status.state == oldSelf.status.state)"
    ).message("Denied, Ended and Failed are final"),
    validation = Rule::new(
        "!has(oldSelf.status) || !has(oldSelf.status.state) || !(oldSelf.status.state in ['Active', 'Revoking']) || (has(self.status) && has(self.status.state) && (self.status.state == oldSelf.status.state || self.status.state == 'Ended' || (oldSelf.status.state == 'Active' && self.status.state == 'Revoking')))"
    ).message("a request goes Pending, Active, Revoking, Ended and never back"),
    validation = Rule::new(
        "!has(oldSelf.status) || !has(oldSelf.status.credential) || (has(self.status) && has(self.status.credential) && self.status.credential.expiresAt <= oldSelf.status.credential.expiresAt)"
    ).message("a credential stays and its expiresAt can only shrink")
)]
#[x_kube(validation = Rule::new("self == oldSelf").message("spec is immutable: make a new AccessRequest"))]
#[x_kube(validation = Rule::new("!(has(self.csr) && has(self.secretName))").message("csr and secretName exclude each other: a certificate for a csr is delivered in status"))]
#[x_kube(validation = Rule::new("!(has(self.csr) && has(self.sealTo))").message("csr and sealTo exclude each other: a certificate for a csr holds nothing that needs sealing"))]
#[x_kube(validation = Rule::new("!(has(self.sealTo) && has(self.secretName))").message("sealTo and secretName exclude each other: what is sealed is delivered in status"))]
#[serde(rename_all = "camelCase")]
pub struct AccessRequestSpec {
    /// Name of the CredentialClass that is asked for.
    #[schemars(length(min = 1, max = 253))]
    pub class_name: String,
    /// How long the credential should live, 1s to 24h. Cut to what policy and class allow; their default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Ttl>,
    /// What it is for, in a few words; kept in the audit trail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub purpose: Option<String>,
    /// PKCS#10 certificate signing request in PEM, for delivery CSR: the private key stays in the pod. Only its public key is used
    /// (P-256, P-384 or Ed25519). The certificate appears in `status.credential.certificate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16384))]
    pub csr: Option<String>,
    /// Public key of X25519 in base64 (32 bytes), for delivery Sealed: what comes back can be read by the holder of the private key alone. The
    /// credential appears in `status.credential.sealed`. Longer than any key that is taken, so that one of another kind is denied by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub seal_to: Option<String>,
    /// Name of the Secret to create, for delivery Secret (neither csr nor sealTo). Starts with `daypass-`; default `daypass-` and the request's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 9, max = 253), regex(pattern = r"^daypass-[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub secret_name: Option<String>,
    /// Who asked, stamped by the API server; whatever a client writes here is overwritten or refused.
    pub requester: Requester,
}

impl AccessRequestSpec {
    /// How the credential is wanted.
    pub fn delivery(&self) -> Delivery {
        match (&self.csr, &self.seal_to) {
            (Some(_), _) => Delivery::CSR,
            (None, Some(_)) => Delivery::Sealed,
            (None, None) => Delivery::Secret,
        }
    }
}

/// The identity behind a request, as the API server authenticated it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct Requester {
    /// `system:serviceaccount:<namespace>:<name>`.
    #[schemars(length(max = 512))]
    pub username: String,
    /// UID of the service account.
    #[schemars(length(max = 128))]
    pub uid: String,
    /// Name of the pod that the token was minted for.
    #[schemars(length(max = 253))]
    pub pod_name: String,
    /// UID of that pod.
    #[serde(rename = "podUID")]
    #[schemars(length(max = 128))]
    pub pod_uid: String,
    /// Name of its node; empty if the token was minted before the pod had one.
    #[schemars(length(max = 253))]
    pub node_name: String,
    /// UID of its node; empty like nodeName.
    #[serde(rename = "nodeUID")]
    #[schemars(length(max = 128))]
    pub node_uid: String,
    /// `JTI=` and the token's id.
    #[serde(rename = "credentialID")]
    #[schemars(length(max = 128))]
    pub credential_id: String,
}

impl Requester {
    /// Namespace and name of the service account, if the username is one.
    pub fn service_account(&self) -> Option<(&str, &str)> {
        self.username.strip_prefix("system:serviceaccount:")?.split_once(':')
    }
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RequestState {
    /// Not answered yet.
    #[default]
    Pending,
    /// Granted; the credential is good.
    Active,
    /// Ended before its time; the credential is not yet proven dead.
    Revoking,
    /// Refused.
    Denied,
    /// Granted once; the credential is proven dead.
    Ended,
    /// Not answered in time, or what was prepared was lost.
    Failed,
}

impl RequestState {
    /// Nothing follows this state.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Denied | Self::Ended | Self::Failed)
    }

    /// The name as it stands in status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Active => "Active",
            Self::Revoking => "Revoking",
            Self::Denied => "Denied",
            Self::Ended => "Ended",
            Self::Failed => "Failed",
        }
    }
}

/// How a credential reaches the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Delivery {
    /// The pod keeps its key; the certificate is in status.
    CSR,
    /// It is in a Secret of the pod's namespace.
    Secret,
    /// The pod made a key pair; the credential is in status, readable with its private key alone.
    Sealed,
}

impl Delivery {
    /// The name as it stands in specs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CSR => "CSR",
            Self::Secret => "Secret",
            Self::Sealed => "Sealed",
        }
    }
}

/// What became of the request. Written by the operator only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessRequestStatus {
    /// Where the request stands; for columns and selectors.
    #[serde(default)]
    pub state: RequestState,
    /// Root owner of the pod, as found: for instance Deployment/orders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 320))]
    pub workload: Option<String>,
    /// The decision's or the end's reason; for the column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub reason: Option<String>,
    /// `Decided`, `Ready`, `Ended`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The answer and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionStatus>,
    /// The credential and its dates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<CredentialStatus>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<EndedStatus>,
}

/// Outcome of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Outcome {
    /// Granted.
    Allow,
    /// Refused.
    Deny,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionStatus {
    /// Allow or Deny.
    pub outcome: Outcome,
    /// Why, one word: `Permitted`, or one of the denial reasons.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// Why and what to do, in a sentence that gives no thresholds away.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Ask again after this long; only where time may cure the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Ttl>,
    /// The policy that decided, as `ClusterAccessPolicy/name` or `AccessPolicy/namespace/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 540))]
    pub policy: Option<String>,
    /// Id of this decision in the decision log.
    #[schemars(length(max = 64))]
    pub id: String,
    /// When it was made.
    pub time: Timestamp,
}

/// How a credential of a class can be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RevocationKind {
    /// It is refused within a bound after it was taken back, by whoever checks.
    Bounded,
    /// It cannot be taken back: it dies at its own end.
    ExpiryOnly,
}

impl RevocationKind {
    /// The name as it stands in status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bounded => "Bounded",
            Self::ExpiryOnly => "ExpiryOnly",
        }
    }
}

/// How, and how fast, a credential can be taken back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revocation {
    /// By what means.
    pub kind: RevocationKind,
    /// Upper bound in seconds from the end of a grant to its being refused; for ExpiryOnly the longest life.
    #[schemars(range(min = 0, max = 86400))]
    pub bound_seconds: i64,
}

impl Revocation {
    /// A token that is bound to a Secret is refused once that is gone: at once by an API server that has not seen it lately, within 10 s by
    /// one that has it in its cache, and within 71 s where somebody's finalizer holds the Secret.
    pub fn of_a_token() -> Self {
        Self { kind: RevocationKind::Bounded, bound_seconds: 75 }
    }
}

/// A credential that was issued.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialStatus {
    /// How it reaches the pod.
    pub delivery: Delivery,
    /// Name of the Secret that holds it, for delivery Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub secret_name: Option<String>,
    /// Certificate chain in PEM, leaf first, for delivery CSR. Gone once the grant has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub certificate: Option<String>,
    /// The sealed credential, for delivery Sealed. Gone once the grant has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<SealedCredential>,
    /// Root certificates in PEM that verifiers of the same class trust. Gone once the grant has ended.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 65536))]
    pub ca_bundle: String,
    /// Start of validity (backdated by 30 s for clock skew).
    pub not_before: Timestamp,
    /// End of the grant. A certificate is refused from here on by its own date; a token is taken back then.
    pub expires_at: Timestamp,
    /// Serial number of the certificate in lower-case hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub serial: Option<String>,
    /// Id of the token: what the API server's audit log calls its credential-id, `JTI=` and a UUID.
    #[serde(default, rename = "tokenID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub token_id: Option<String>,
    /// How it can be taken back.
    pub revocation: Revocation,
}

/// The end of a grant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndedStatus {
    /// What ended it.
    pub reason: EndReason,
    /// When that happened.
    pub time: Timestamp,
    /// When it was proven that the credential is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_time: Option<Timestamp>,
    /// Whole seconds from `time` to `verifiedTime`, rounded up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 31536000))]
    pub seconds_to_dead: Option<i64>,
    /// What proves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
    /// A sentence for people.
    #[schemars(length(max = 512))]
    pub message: String,
}

impl AccessRequest {
    /// State, Pending if there is no status yet.
    pub fn state(&self) -> RequestState {
        self.status.as_ref().map(|s| s.state).unwrap_or_default()
    }

    /// How this request wants its credential.
    pub fn delivery(&self) -> Delivery {
        self.spec.delivery()
    }

    /// Name of the Secret that delivery Secret creates.
    pub fn wanted_secret_name(&self) -> String {
        let name = || format!("daypass-{}", self.metadata.name.as_deref().unwrap_or_default());
        self.spec.secret_name.clone().unwrap_or_else(name)
    }
}

/// The denial that a status reports, if it reports one.
pub fn denial(status: &AccessRequestStatus) -> Option<DenialReason> {
    let reason = &status.decision.as_ref()?.reason;
    DenialReason::ALL.iter().copied().find(|r| r.as_str() == reason)
}
