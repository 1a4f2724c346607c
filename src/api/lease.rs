//! CredentialLease: the ledger. One credential from the intent to make it until it is proven dead.

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Delivery, EndReason, Proof, Requester};

/// One credential, written down before it exists and kept until after it is proven dead.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "daypass.dev",
    version = "v1alpha1",
    kind = "CredentialLease",
    plural = "credentialleases",
    shortname = "dplease",
    category = "daypass",
    namespaced,
    derive = "PartialEq",
    doc = "The ledger: one credential from the intent to make it until it is proven dead. Set spec.revoke to end it.",
    status = "CredentialLeaseStatus",
    selectable = ".spec.requestUID",
    selectable = ".spec.className",
    selectable = ".spec.requester.username",
    selectable = ".spec.requester.podUID",
    selectable = ".status.state",
    printcolumn(name = "Account", type_ = "string", json_path = ".spec.requester.username"),
    printcolumn(name = "Request", type_ = "string", json_path = ".spec.requestName"),
    printcolumn(name = "Class", type_ = "string", json_path = ".spec.className"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason"),
    printcolumn(name = "Ends", type_ = "string", json_path = ".spec.expiresAt"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new(
        "!has(oldSelf.status) || !has(oldSelf.status.state) || (has(self.status) && has(self.status.state) && (self.status.state == oldSelf.status.state || (oldSelf.status.state == 'Revoking' && self.status.state == 'Closed')))"
    ).message("a lease goes open, Revoking, Closed and never back")
)]
#[x_kube(validation = Rule::new(
    "self.requestUID == oldSelf.requestUID && self.requestNamespace == oldSelf.requestNamespace && self.requestName == oldSelf.requestName && self.className == oldSelf.className && self.attempt == oldSelf.attempt && self.delivery == oldSelf.delivery && self.requester == oldSelf.requester && self.workload == oldSelf.workload && self.decisionID == oldSelf.decisionID && self.notBefore == oldSelf.notBefore"
).message("a lease is written once; only revoke, policy and a shorter expiresAt may follow"))]
#[x_kube(validation = Rule::new("has(self.x509) != has(self.token)").message("a lease holds exactly one of x509 and token"))]
#[x_kube(validation = Rule::new("has(self.x509) == has(oldSelf.x509) && (!has(self.x509) || self.x509 == oldSelf.x509)").message("what the certificate of a lease says never changes"))]
#[x_kube(validation = Rule::new("has(self.token) == has(oldSelf.token) && (!has(self.token) || self.token == oldSelf.token)").message("what the token of a lease is bound to never changes"))]
#[x_kube(validation = Rule::new("has(self.secret) == has(oldSelf.secret) && (!has(self.secret) || self.secret == oldSelf.secret)").message("the Secret of a lease never changes"))]
#[x_kube(validation = Rule::new("self.expiresAt <= oldSelf.expiresAt").message("expiresAt can only shrink"))]
#[x_kube(validation = Rule::new("!has(oldSelf.revoke) || (has(self.revoke) && self.revoke == oldSelf.revoke)").message("revoke is set once"))]
#[serde(rename_all = "camelCase")]
pub struct CredentialLeaseSpec {
    /// Namespace of the AccessRequest.
    #[schemars(length(min = 1, max = 63))]
    pub request_namespace: String,
    /// Name of the AccessRequest.
    #[schemars(length(min = 1, max = 253))]
    pub request_name: String,
    /// UID of the AccessRequest.
    #[serde(rename = "requestUID")]
    #[schemars(length(min = 1, max = 128))]
    pub request_uid: String,
    /// Which attempt to serve the request this is, from 0.
    #[schemars(range(min = 0, max = 1000))]
    pub attempt: i64,
    /// Name of the class.
    #[schemars(length(min = 1, max = 253))]
    pub class_name: String,
    /// How the credential is delivered.
    pub delivery: Delivery,
    /// Who asked, as stamped on the request.
    pub requester: Requester,
    /// Root owner of the pod, as found.
    #[schemars(length(max = 320))]
    pub workload: String,
    /// The policy that this is counted under.
    pub policy: LeasePolicy,
    /// Id of the decision in the decision log.
    #[serde(rename = "decisionID")]
    #[schemars(length(max = 64))]
    pub decision_id: String,
    /// The reserved Secret, for delivery Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<LeaseSecret>,
    /// What the certificate will say, if the credential is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x509: Option<LeaseX509>,
    /// What the token will be bound to, if the credential is a service account's token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<LeaseToken>,
    /// Start of validity, in whole seconds.
    pub not_before: Timestamp,
    /// End of validity, in whole seconds. Can only shrink.
    pub expires_at: Timestamp,
    /// Set once, by a person, to end this credential now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoke: Option<Revoke>,
}

/// A policy as it stood when it decided.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeasePolicy {
    /// `ClusterAccessPolicy/name` or `AccessPolicy/namespace/name`.
    #[schemars(length(max = 540))]
    pub name: String,
    /// UID of that object.
    #[schemars(length(max = 128))]
    pub uid: String,
    /// Its `metadata.generation` at the decision.
    pub generation: i64,
    /// SHA-256 of its spec in lower-case hex.
    #[schemars(length(max = 64))]
    pub hash: String,
}

/// The Secret that was reserved, in the request's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeaseSecret {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its UID: what is deleted in the end is this object and no other.
    #[schemars(length(min = 1, max = 128))]
    pub uid: String,
}

/// Everything that goes into the certificate, fixed before it is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeaseX509 {
    /// Name of the certificate authority.
    #[schemars(length(min = 1, max = 260))]
    pub ca: String,
    /// Serial number, positive, 127 bits at most, in lower-case hex.
    #[schemars(length(min = 1, max = 64))]
    pub serial: String,
    /// URI name.
    #[schemars(length(min = 1, max = 1024))]
    pub uri: String,
    /// Common name of the subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub common_name: Option<String>,
    /// DNS names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 253)))]
    pub dns_names: Vec<String>,
    /// The revocation list that its serial number goes onto if it ends early; absent if its class had none when it was issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crl: Option<LeaseCrl>,
    /// End of the certificate itself. The grant may end earlier (`expiresAt` can shrink); the certificate is dead only from here on.
    pub not_after: Timestamp,
}

/// Everything that a service account's token rests on, fixed before it is minted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeaseToken {
    /// Namespace of the service account that the pod assumes.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Name of that service account.
    #[schemars(length(min = 1, max = 253))]
    pub service_account: String,
    /// Its UID: an account made anew under this name is another.
    #[serde(rename = "serviceAccountUID")]
    #[schemars(length(min = 1, max = 128))]
    pub service_account_uid: String,
    /// Whom the token is for; empty: the API server's own audiences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 512)))]
    pub audiences: Vec<String>,
    /// The Secret in that namespace that the token is bound to: deleting it is what takes the token back.
    pub bound_to: LeaseSecret,
    /// Whoever checks the token asks the API server, so that it is refused once its Secret is gone. `false`: it may be accepted until
    /// `notAfter`.
    pub revocable: bool,
    /// The token says no later end than this. The grant ends earlier (`expiresAt`): the API server mints nothing below ten minutes.
    pub not_after: Timestamp,
}

/// The revocation list of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeaseCrl {
    /// Id of the key that signs both certificate and list. Another key of the same authority cannot take the certificate back.
    #[schemars(length(min = 1, max = 64))]
    pub issuer: String,
    /// Where the certificate says that the list is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub url: Option<String>,
    /// Seconds from the end of the grant until verifiers that check the list refuse the certificate, at most, as the lists were published
    /// when it was issued.
    #[schemars(range(min = 1, max = 86400))]
    pub bound_seconds: i64,
}

/// The wish of a person to end a credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revoke {
    /// Why.
    #[schemars(length(min = 1, max = 256))]
    pub reason: String,
    /// Who; stamped by the API server.
    #[schemars(length(min = 1, max = 512))]
    pub by: String,
}

/// Where a lease stands after it is no longer open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum LeaseState {
    /// Ended, but the credential is not yet proven dead.
    Revoking,
    /// The credential is proven dead.
    Closed,
}

impl LeaseState {
    /// The name as it stands in status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Revoking => "Revoking",
            Self::Closed => "Closed",
        }
    }
}

/// How far the lease has come. Written by the operator only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialLeaseStatus {
    /// Absent while open, then Revoking, then Closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<LeaseState>,
    /// What ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<EndReason>,
    /// When that happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_time: Option<Timestamp>,
    /// When the credential was proven dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_time: Option<Timestamp>,
    /// What proves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
    /// A sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub message: Option<String>,
    /// The AccessLock that ended it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<LeaseLock>,
}

/// The AccessLock that ended a grant: it counts what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeaseLock {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its UID: a lock placed anew under this name is another.
    #[schemars(length(min = 1, max = 128))]
    pub uid: String,
}

impl CredentialLeaseSpec {
    /// The end that the credential says of itself: past it everybody refuses it.
    pub fn not_after(&self) -> Timestamp {
        let of_token = || self.token.as_ref().map(|token| token.not_after);
        self.x509.as_ref().map(|x509| x509.not_after).or_else(of_token).unwrap_or(self.expires_at)
    }

    /// Serial number of the certificate, if it is one.
    pub fn serial(&self) -> Option<&str> {
        self.x509.as_ref().map(|x509| x509.serial.as_str())
    }

    /// The revocation list of the certificate, if it is one and has one.
    pub fn crl(&self) -> Option<&LeaseCrl> {
        self.x509.as_ref()?.crl.as_ref()
    }

    /// The delivered Secret is the one that the token is bound to.
    pub fn delivers_what_it_is_bound_to(&self) -> bool {
        let bound = self.token.as_ref().map(|token| &token.bound_to.uid);
        bound.is_some() && bound == self.secret.as_ref().map(|secret| &secret.uid)
    }
}

impl CredentialLease {
    /// Absent while the lease is open.
    pub fn state(&self) -> Option<LeaseState> {
        self.status.as_ref()?.state
    }

    /// Nothing is live under it any more.
    pub fn is_closed(&self) -> bool {
        self.state() == Some(LeaseState::Closed)
    }
}
