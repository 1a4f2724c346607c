//! CredentialClass: how one kind of credential is made, and for whom it may be made at all.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, Delivery, Ttl, request::Revocation};

/// How one kind of credential is made, and the hard limits that no policy can lift.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "daypass.dev",
    version = "v1alpha1",
    kind = "CredentialClass",
    plural = "credentialclasses",
    shortname = "dpclass",
    category = "daypass",
    derive = "PartialEq",
    doc = "How one kind of credential is made, for which namespaces, and the hard limits that no policy can lift.",
    status = "CredentialClassStatus",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Max-TTL", type_ = "string", json_path = ".spec.ttl.max"),
    printcolumn(name = "Revocation", type_ = "string", json_path = ".status.revocation.kind"),
    printcolumn(name = "Live", type_ = "integer", json_path = ".status.live"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = Rule::new("!has(self.x509) || !('Sealed' in self.delivery)").message("a certificate is not delivered Sealed: with delivery CSR its key never leaves the pod"))]
#[serde(rename_all = "camelCase")]
pub struct CredentialClassSpec {
    /// Lifetimes. Without a way to revoke, 15m is the ceiling.
    #[serde(default)]
    pub ttl: ClassTtl,
    /// Ways in which the credential may reach a pod. Secret puts a private key where everybody who may read Secrets (or make pods) in the
    /// namespace can reach it; it has to be named aloud.
    #[serde(default = "default_delivery")]
    #[schemars(length(min = 1, max = 3), extend("x-kubernetes-list-type" = "set"))]
    pub delivery: Vec<Delivery>,
    /// Namespaces whose pods may ask at all; default every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<NamespaceSet>,
    /// Namespaces whose own AccessPolicy may hand this class out; default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegate_to: Option<NamespaceSet>,
    /// The credential is an X.509 certificate.
    pub x509: X509Spec,
}

fn default_delivery() -> Vec<Delivery> {
    vec![Delivery::CSR]
}

/// Lifetimes of a class.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("duration(self.default) <= duration(self.max)").message("ttl.default must not be longer than ttl.max"))]
#[x_kube(validation = Rule::new("duration(self.max) <= duration('15m')").message("ttl.max must be at most 15m: certificates of this class cannot be revoked before they expire"))]
#[serde(rename_all = "camelCase")]
pub struct ClassTtl {
    /// Lifetime when neither request nor policy names one.
    #[serde(default = "default_ttl")]
    pub default: Ttl,
    /// Longest lifetime; at most 15m.
    #[serde(default = "max_ttl")]
    pub max: Ttl,
}

fn default_ttl() -> Ttl {
    Ttl("10m".into())
}

fn max_ttl() -> Ttl {
    Ttl("15m".into())
}

impl Default for ClassTtl {
    fn default() -> Self {
        Self { default: default_ttl(), max: max_ttl() }
    }
}

/// Namespaces by name, by label, or both (either matches).
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.names) || has(self.selector)").message("name namespaces, or give a selector"))]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSet {
    /// Names of namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub names: Option<Vec<String>>,
    /// Labels of namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// Labels that must be there, with their values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Every one of these labels must be there with this value.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub match_labels: BTreeMap<String, String>,
}

/// What a certificate of this class says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct X509Spec {
    /// Who signs.
    pub ca: CaSpec,
    /// Trust domain of the URI name `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`: lower-case letters, digits, dots, dashes
    /// and underscores.
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[a-z0-9]([-a-z0-9._]*[a-z0-9])?$"))]
    pub trust_domain: String,
    /// Subject of the certificate; empty if absent, which is what SPIFFE asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<SubjectSpec>,
    /// DNS names, with the variables of `subject.commonName`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    pub dns_names: Vec<String>,
    /// Extended key usages.
    #[serde(default = "default_usages")]
    #[schemars(length(min = 1, max = 2), extend("x-kubernetes-list-type" = "set"))]
    pub usages: Vec<Usage>,
}

fn default_usages() -> Vec<Usage> {
    vec![Usage::ClientAuth]
}

/// Subject of a certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubjectSpec {
    /// Common name, at most 64 characters after the variables `{namespace}`, `{serviceAccount}`, `{class}` and `{cluster}` are filled in.
    #[schemars(length(min = 1, max = 253))]
    pub common_name: String,
}

/// An extended key usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Usage {
    /// TLS client.
    ClientAuth,
    /// TLS server.
    ServerAuth,
}

/// Who signs the certificates of a class: exactly one of these.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.managed) != has(self.secretName)").message("give exactly one of managed and secretName"))]
#[serde(rename_all = "camelCase")]
pub struct CaSpec {
    /// A certificate authority that the operator makes, keeps in its own namespace and rotates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedCa>,
    /// Name of a Secret of type kubernetes.io/tls in the operator's namespace with the CA's `tls.crt` (chain, signing certificate first)
    /// and `tls.key`, and with the root in `ca.crt` if it is not the signing certificate itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: Option<String>,
}

/// A certificate authority of the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManagedCa {
    /// Name of the authority; classes that give the same name share it.
    #[serde(default = "default_ca_name")]
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
}

fn default_ca_name() -> String {
    "default".into()
}

impl CaSpec {
    /// Name of the authority in the ledger, in ConfigMap `daypass-roots` and in trust bundles.
    pub fn name(&self) -> String {
        match (&self.managed, &self.secret_name) {
            (Some(managed), _) => managed.name.clone(),
            (None, Some(secret)) => format!("secret.{secret}"),
            (None, None) => String::new(),
        }
    }
}

/// What the operator found out about the class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialClassStatus {
    /// `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`; beside it `Reconciling` while something may still come, `Stalled` when only an edit helps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// How a credential of this class can be taken back; follows from the spec, never claimed by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation: Option<Revocation>,
    /// Leases of this class that are not closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub live: Option<i64>,
    /// Things to know that keep nothing from working.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 512)))]
    pub warnings: Vec<String>,
}
