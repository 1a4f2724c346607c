//! What is lent and taken back: one kind of credential and way of delivery each, with what performance.md allows its writes.
//!
//! Plays the platform team and the pod; measures nothing.

use std::time::Duration;

use daypass::{
    api::{AccessRequest, CredentialLease, RequestState},
    install::Account,
    issue::seal::{Context, OpeningKey},
};
use k8s_openapi::api::{authentication::v1::SelfSubjectReview, core::v1::Secret};
use kube::{Api, ResourceExt, api::PostParams};
use serde_json::{Value, json};
use stage::{Csr, Pod};

use super::super::ground::{ACCOUNT, Ground};

/// Namespace of the pod, and of the account that is its neighbour.
pub const NAMESPACE: &str = "life";
/// Namespace of the account that is lent from elsewhere.
const LENT: &str = "lent";
/// The class with a revocation list, and its authority.
pub const LISTED: &str = "listed";

/// How a credential is asked for.
#[derive(Clone, Copy, PartialEq)]
enum Ask {
    Csr,
    Secret,
    Sealed,
}

/// Which call of the operator's tells whatever checks the credential.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Told {
    /// The list on which its serial number stands is published.
    List,
    /// The Secret that the token is bound to is deleted.
    BoundSecret,
    /// The Secret that holds key and certificate is deleted.
    DeliveredSecret,
    /// Nobody can be told before `notAfter`: the ledger says that it ends.
    Ledger,
}

/// A kind of credential, delivered in one way.
pub struct Kind {
    /// For the table.
    pub what: &'static str,
    /// Prefix of its requests.
    pub batch: &'static str,
    class: &'static str,
    ask: Ask,
    /// Shown to the API server right before its end, which then remembers that it accepted it.
    pub used: bool,
    /// What tells.
    pub told: Told,
    /// Writes up to the answer (without the TokenRequest), and to the end if a person ends it early.
    pub budget: [u32; 2],
}

/// Every kind.
pub const KINDS: [Kind; 7] = [
    Kind { what: "CSR on a list", batch: "listed", class: LISTED, ask: Ask::Csr, used: false, told: Told::List, budget: [2, 3] },
    Kind {
        what: "token, sealed, not used",
        batch: "sealed",
        class: "far",
        ask: Ask::Sealed,
        used: false,
        told: Told::BoundSecret,
        budget: [3, 3],
    },
    // What the API server accepted moments ago it accepts for ten seconds more: lease and request say Revoking meanwhile.
    Kind {
        what: "token, sealed, just used",
        batch: "used",
        class: "far",
        ask: Ask::Sealed,
        used: true,
        told: Told::BoundSecret,
        budget: [3, 5],
    },
    Kind {
        what: "token in a Secret, account elsewhere",
        batch: "far",
        class: "far",
        ask: Ask::Secret,
        used: false,
        told: Told::BoundSecret,
        budget: [5, 4],
    },
    Kind {
        what: "token in a Secret, account next door",
        batch: "near",
        class: "near",
        ask: Ask::Secret,
        used: false,
        told: Told::BoundSecret,
        budget: [4, 3],
    },
    Kind {
        what: "TLS Secret without a list",
        batch: "tls",
        class: super::super::ground::CLASS,
        ask: Ask::Secret,
        used: false,
        told: Told::DeliveredSecret,
        budget: [4, 5],
    },
    Kind {
        what: "CSR without a list",
        batch: "plain",
        class: super::super::ground::CLASS,
        ask: Ask::Csr,
        used: false,
        told: Told::Ledger,
        budget: [2, 4],
    },
];

impl Kind {
    /// What tells the checker is no end yet: the credential is good until its `notAfter`.
    pub fn only_expires(&self) -> bool {
        matches!(self.told, Told::DeliveredSecret | Told::Ledger)
    }
}

/// Accounts that the installation allows to lend.
pub fn lent_accounts() -> Vec<Account> {
    [(LENT, "far"), (NAMESPACE, "near")].map(|(namespace, name)| Account { namespace: namespace.into(), name: name.into() }).into()
}

/// Classes and policies, Ready.
pub async fn lend(ground: &Ground) -> Result<(), String> {
    let class = |name: &str, fields: Value| {
        let mut class = json!({
            "apiVersion": "daypass.dev/v1alpha1", "kind": "CredentialClass", "metadata": {"name": name},
            "spec": {"ttl": {"default": "5m", "max": "10m"}},
        });
        class["spec"].as_object_mut().into_iter().zip(fields.as_object().cloned()).for_each(|(spec, fields)| spec.extend(fields));
        class
    };
    let policy = |name: &str| {
        json!({
            "apiVersion": "daypass.dev/v1alpha1", "kind": "ClusterAccessPolicy", "metadata": {"name": name},
            "spec": {"subjects": [{"namespaces": [NAMESPACE], "serviceAccountNames": [ACCOUNT]}], "classes": [name]},
        })
    };
    let token = |namespace: &str, name: &str| json!({"delivery": ["Sealed", "Secret"], "serviceAccountToken": {"namespace": namespace, "name": name}});
    let listed = json!({"x509": {
        "ca": {"managed": {"name": LISTED}}, "trustDomain": "bench.example", "usages": ["ClientAuth"],
        "crl": {"nextUpdate": "60s", "url": "http://daypass.daypass-system/crl/listed/{issuer}.crl"},
    }});
    for object in [class(LISTED, listed), class("far", token(LENT, "far")), class("near", token(NAMESPACE, "near"))] {
        ground.stage.platform(object).await.map_err(|error| error.to_string())?;
    }
    for name in [LISTED, "far", "near"] {
        ground.stage.platform(policy(name)).await.map_err(|error| error.to_string())?;
    }
    let names = [LISTED, "far", "near"].map(|name| [format!("dpclass/{name}"), format!("dpcpol/{name}")]).concat();
    let args = ["wait", "--for=condition=Ready", "--timeout=60s"].map(String::from).into_iter().chain(names);
    let waited = ground.stage.cluster.kubectl(args).await.map_err(|error| error.to_string())?;
    if waited.status.success() { Ok(()) } else { Err(format!("not Ready: {}", String::from_utf8_lossy(&waited.stderr))) }
}

/// A credential that is live.
pub struct Live {
    /// Its request, Active.
    pub request: AccessRequest,
    /// Its lease.
    pub lease: CredentialLease,
}

/// Has one granted, and uses it if the kind is one that was just used.
pub async fn grant(ground: &Ground, pod: &Pod, kind: &Kind) -> Result<Live, String> {
    let mut spec = json!({"className": kind.class, "ttl": if kind.only_expires() { "20s" } else { "5m" }});
    let key = OpeningKey::generate().map_err(|error| error.to_string())?;
    match kind.ask {
        Ask::Csr => spec["csr"] = Csr::new().map_err(|error| error.to_string())?.pem.into(),
        Ask::Sealed => spec["sealTo"] = key.public_base64().into(),
        Ask::Secret => {}
    }
    let request = pod.ask(kind.batch, spec).await.map_err(|error| error.to_string())?;
    let request = pod.answer(&request).await.map_err(|error| error.to_string())?;
    if request.state() != RequestState::Active {
        return Err(format!("{}: not granted: {:?}", kind.what, request.status));
    }
    let lease = ground.stage.lease_of(&request).await.map_err(|error| error.to_string())?.ok_or("a grant without a lease")?;
    let live = Live { request, lease };
    if kind.used {
        use_token(ground, &live, &key, kind.class).await?;
    }
    Ok(live)
}

/// The holder of the token asks who it is.
async fn use_token(ground: &Ground, live: &Live, key: &OpeningKey, class: &str) -> Result<(), String> {
    let sealed = live.request.status.as_ref().and_then(|status| status.credential.as_ref()?.sealed.clone());
    let uid = live.request.uid().unwrap_or_default();
    let context = Context { request_uid: &uid, pod_uid: &live.request.spec.requester.pod_uid, class };
    let token = key.open(&context, &sealed.ok_or("nothing sealed in the status")?).map_err(|error| error.to_string())?;
    let client = ground.stage.cluster.client_with_token(token.expose()).map_err(|error| error.to_string())?;
    let review = Api::<SelfSubjectReview>::all(client).create(&PostParams::default(), &SelfSubjectReview::default()).await;
    review.map(drop).map_err(|error| format!("the API server refuses a live token: {error}"))
}

/// Waits until the request is over, or, where that would be its `notAfter`, until it says that it ends.
pub async fn ended(pod: &Pod, live: &Live, kind: &Kind) -> Result<AccessRequest, String> {
    let over = |request: &AccessRequest| match request.state() {
        RequestState::Ended => true,
        state => kind.only_expires() && state == RequestState::Revoking,
    };
    pod.until_within(&live.request, "its end", Duration::from_secs(100), over).await.map_err(|error| error.to_string())
}

/// The delivered Secret is gone, where there was one.
pub async fn nothing_delivered(ground: &Ground, live: &Live) -> Result<bool, String> {
    let Some(secret) = &live.lease.spec.secret else { return Ok(true) };
    let admin = ground.stage.cluster.admin().map_err(|error| error.to_string())?;
    let found = Api::<Secret>::namespaced(admin, &live.lease.spec.request_namespace).get_opt(&secret.name).await;
    found.map(|secret| secret.is_none()).map_err(|error| error.to_string())
}
