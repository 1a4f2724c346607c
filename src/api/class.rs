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
#[x_kube(validation = Rule::new("has(self.x509) != has(self.serviceAccountToken)").message("give exactly one of x509 and serviceAccountToken"))]
#[x_kube(validation = Rule::new("!has(self.x509) || has(self.x509.crl) || duration(self.ttl.max) <= duration('15m')").message("ttl.max must be at most 15m: without x509.crl, certificates of this class cannot be revoked before they expire"))]
#[x_kube(validation = Rule::new(
    "!has(self.serviceAccountToken) || !has(self.serviceAccountToken.audiences) || self.serviceAccountToken.verifier == 'TokenReview' || duration(self.ttl.max) <= duration('15m')"
).message("ttl.max must be at most 15m: who checks a token for audiences of its own without TokenReview does not notice that it was taken back. State verifier: TokenReview if it does ask"))]
#[x_kube(validation = Rule::new("!has(self.serviceAccountToken) || duration(self.ttl.max) <= duration('1h')").message("ttl.max must be at most 1h: no token is minted for longer"))]
#[x_kube(validation = Rule::new(
    "!has(self.delivery) || self.delivery.all(d, has(self.x509) ? d in ['CSR', 'Secret'] : d in ['Sealed', 'Secret'])"
).message("certificates are delivered by CSR or Secret, tokens by Sealed or Secret"))]
#[serde(rename_all = "camelCase")]
pub struct CredentialClassSpec {
    /// Lifetimes. Without a way to revoke, 15m is the ceiling; for tokens that can be taken back 1h, with a revocation list 24h.
    #[serde(default)]
    pub ttl: ClassTtl,
    /// Ways in which the credential may reach a pod: CSR or Secret for certificates, Sealed or Secret for tokens; default all but Secret.
    /// Secret puts a key or token where everybody who may read Secrets (or make pods) in the namespace can reach it, and in readable form
    /// into etcd; it has to be named aloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2), extend("x-kubernetes-list-type" = "set"))]
    pub delivery: Option<Vec<Delivery>>,
    /// Namespaces whose pods may ask at all; default every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<NamespaceSet>,
    /// Namespaces whose own AccessPolicy may hand this class out; default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegate_to: Option<NamespaceSet>,
    /// The credential is an X.509 certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x509: Option<X509Spec>,
    /// The credential is a token of a service account that the pod assumes for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_token: Option<TokenSpec>,
}

/// What a class makes.
#[derive(Clone, Copy, Debug)]
pub enum Makes<'a> {
    /// Certificates.
    X509(&'a X509Spec),
    /// Tokens of a service account.
    Token(&'a TokenSpec),
}

impl CredentialClassSpec {
    /// What the class makes; `None` where it names nothing, or too much, which its schema refuses.
    pub fn makes(&self) -> Option<Makes<'_>> {
        match (&self.x509, &self.service_account_token) {
            (Some(x509), None) => Some(Makes::X509(x509)),
            (None, Some(token)) => Some(Makes::Token(token)),
            _ => None,
        }
    }

    /// The ways in which the class delivers: those that it names, or the one that leaves nothing readable behind.
    pub fn deliveries(&self) -> &[Delivery] {
        match &self.delivery {
            Some(named) => named,
            None if self.x509.is_some() => &[Delivery::CSR],
            None => &[Delivery::Sealed],
        }
    }
}

/// Lifetimes of a class.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("duration(self.default) <= duration(self.max)").message("ttl.default must not be longer than ttl.max"))]
#[serde(rename_all = "camelCase")]
pub struct ClassTtl {
    /// Lifetime when neither request nor policy names one.
    #[serde(default = "default_ttl")]
    pub default: Ttl,
    /// Longest lifetime; at most 15m where the credential cannot be taken back, else 1h for tokens and 24h for certificates.
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
    /// Certificates of this class can be taken back: a revocation list of their authority is published. It binds only verifiers that check it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crl: Option<CrlSpec>,
}

/// How the revocation list of a class's authority is published. Classes of one authority share its list: the shortest `nextUpdate` counts.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("duration(self.nextUpdate) >= duration('60s')").message("nextUpdate must be at least 60s: lists are backdated by 30s, for clocks that are behind"))]
#[serde(rename_all = "camelCase")]
pub struct CrlSpec {
    /// Where verifiers find the list, put into each certificate as its CRL distribution point; none if absent. `{issuer}` stands for the id of
    /// the key that signs, so that certificates go on naming the right list when one key is followed by the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 512), regex(pattern = r"^https?://[!-~]+$"))]
    pub url: Option<String>,
    /// Longest time that a verifier may go on with the list that it has, 60s to 24h: so long a certificate that was taken back may still be
    /// accepted. The list is signed again well before.
    #[serde(default = "default_next_update")]
    pub next_update: Ttl,
}

fn default_next_update() -> Ttl {
    Ttl("5m".into())
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

/// Whose token a pod is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenSpec {
    /// Namespace of the service account: best one in which tenants run nothing, for whoever may make pods there is that account.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: String,
    /// Name of the service account. The installation has to list it (`serviceAccounts` of the chart).
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Whom the token is for; the API server itself if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 512)), extend("x-kubernetes-list-type" = "set"))]
    pub audiences: Option<Vec<String>>,
    /// How they check it.
    #[serde(default)]
    pub verifier: Verifier,
}

/// How those for whom a token is meant check it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Verifier {
    /// By its signature alone: a token that was taken back is accepted until its own end.
    #[default]
    Signature,
    /// They ask the API server (TokenReview), which refuses a token that was taken back.
    TokenReview,
}

impl TokenSpec {
    /// Whom the token is for; empty: the API server itself.
    pub fn audiences(&self) -> &[String] {
        self.audiences.as_deref().unwrap_or_default()
    }

    /// Whoever checks the token learns that it was taken back. The API server always does.
    pub fn revocable(&self) -> bool {
        self.audiences().is_empty() || self.verifier == Verifier::TokenReview
    }
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
    /// `Ready`; beside it `Reconciling` while something may still come, `Stalled` when only an edit helps. `GuardInForce`: forged requesters are
    /// refused. `ClocksAgree` and `EndsProven` are told once they did not hold: `EndsProven=False` while credentials of the class that ended
    /// should have been proven dead and are not.
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
