//! Pods that ask: with a token of their own and nothing else.

use std::time::Duration;

use daypass::api::{AccessRequest, CredentialLease, RequestState};
use devcluster::{
    wait,
    workload::{self, PodSpec, TokenOptions},
};
use k8s_openapi::api::{
    core::v1 as core,
    rbac::v1::{RoleBinding, RoleRef, Subject},
};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{Error, NODE, Stage};

/// How long an answer may take before a test gives up on it.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A pod with a token of its own.
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// The object.
    pub pod: core::Pod,
    /// Its token.
    pub token: String,
    /// A client that holds nothing but that token.
    pub client: Client,
}

/// A key pair and a signing request for it.
pub struct Csr {
    /// The private key.
    pub key: rcgen::KeyPair,
    /// The signing request in PEM.
    pub pem: String,
}

impl Csr {
    /// A P-256 key and a signing request that asks for nothing.
    pub fn new() -> Result<Self, Error> {
        let key = rcgen::KeyPair::generate()?;
        let pem = rcgen::CertificateParams::default().serialize_request(&key)?.pem()?;
        Ok(Self { key, pem })
    }
}

/// A request after its answer.
pub type Settled = AccessRequest;

impl Pod {
    pub(crate) async fn start(stage: &Stage, namespace: &str, name: &str, account: &str, labels: &[(&str, &str)]) -> Result<Self, Error> {
        let admin = stage.cluster.admin()?;
        workload::namespace(&admin, namespace, &[]).await?;
        workload::service_account(&admin, namespace, account).await?;
        let binding = RoleBinding {
            metadata: kube::core::ObjectMeta { name: Some(format!("asks-{account}")), ..Default::default() },
            role_ref: RoleRef {
                api_group: "rbac.authorization.k8s.io".into(),
                kind: "ClusterRole".into(),
                name: "daypass-requester".into(),
            },
            subjects: Some(vec![Subject {
                kind: "ServiceAccount".into(),
                name: account.into(),
                namespace: Some(namespace.into()),
                api_group: None,
            }]),
        };
        let bindings = Api::<RoleBinding>::namespaced(admin.clone(), namespace);
        let params = PatchParams::apply("stage").force();
        bindings.patch(&binding.name_any(), &params, &Patch::Apply(&binding)).await.map_err(Error::api("bind daypass-requester"))?;
        let mut spec = PodSpec::new(namespace, name).service_account(account).node(NODE);
        for (key, value) in labels {
            spec = spec.label(*key, *value);
        }
        let pod = workload::run_pod(&admin, &spec).await?;
        let token = workload::bound_token(&admin, &pod, &TokenOptions::default()).await?;
        let client = stage.cluster.client_with_token(&token)?;
        Ok(Self { namespace: namespace.into(), pod, token, client })
    }

    /// The pod's requests.
    pub fn requests(&self) -> Api<AccessRequest> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Makes a request with this spec; whatever is not there, the API server stamps. A kind that was created moments ago may answer 403 or
    /// 503 until its schema is known to admission, which clients have to try again: so does this.
    pub async fn ask(&self, prefix: &str, spec: Value) -> Result<AccessRequest, Error> {
        let body = json!({
            "apiVersion": "daypass.dev/v1alpha1", "kind": "AccessRequest",
            "metadata": {"generateName": format!("{prefix}-"), "namespace": self.namespace}, "spec": spec,
        });
        let asked = wait::until("the request to be taken", ANSWER_WITHIN, || async {
            let request = http::Request::post(format!("/apis/daypass.dev/v1alpha1/namespaces/{}/accessrequests", self.namespace));
            let request = request.header("content-type", "application/json").body(body.to_string().into_bytes()).ok()?;
            match self.client.request::<AccessRequest>(request).await {
                Err(kube::Error::Api(status))
                    if status.code == 503
                        || status.message.contains("no corresponding type")
                        || status.message.contains("not yet ready") =>
                {
                    None
                }
                other => Some(other),
            }
        })
        .await?;
        asked.map_err(Error::api("create AccessRequest"))
    }

    /// Asks for a certificate of this class for a key of its own.
    pub async fn ask_with_csr(&self, class: &str, ttl: Option<&str>, csr: &Csr) -> Result<AccessRequest, Error> {
        let mut spec = json!({"className": class, "csr": csr.pem});
        if let Some(ttl) = ttl {
            spec["ttl"] = ttl.into();
        }
        self.ask(class, spec).await
    }

    /// Waits until the request is answered.
    pub async fn answer(&self, request: &AccessRequest) -> Result<Settled, Error> {
        self.until(request, "an answer", |r| r.state() != RequestState::Pending).await
    }

    /// Waits until the request is as described.
    pub async fn until(&self, request: &AccessRequest, what: &str, there: impl Fn(&AccessRequest) -> bool) -> Result<Settled, Error> {
        self.until_within(request, what, ANSWER_WITHIN, there).await
    }

    /// The same with another limit.
    pub async fn until_within(
        &self,
        request: &AccessRequest,
        what: &str,
        limit: Duration,
        there: impl Fn(&AccessRequest) -> bool,
    ) -> Result<Settled, Error> {
        let (api, name) = (self.requests(), request.name_any());
        let what = format!("{what} of AccessRequest {}/{name}", self.namespace);
        let found = wait::until(&what, limit, || async { api.get(&name).await.ok().filter(|r| there(r)) }).await;
        match found {
            Ok(found) => Ok(found),
            Err(error) => {
                let held = api.get(&name).await.map(|r| serde_json::to_string(&r.status).unwrap_or_default());
                let what = format!("{}; it stands at {held:?}", error.what);
                Err(Error::TimedOut(wait::TimedOut { what, limit: error.limit }))
            }
        }
    }
}

impl Stage {
    /// Every lease, as the admin sees it.
    pub async fn leases(&self) -> Result<Vec<CredentialLease>, Error> {
        let api = Api::<CredentialLease>::namespaced(self.cluster.admin()?, &self.operator_name().namespace);
        Ok(api.list(&Default::default()).await.map_err(Error::api("list leases"))?.items)
    }

    /// The lease of a request.
    pub async fn lease_of(&self, request: &AccessRequest) -> Result<Option<CredentialLease>, Error> {
        let uid = request.uid().unwrap_or_default();
        Ok(self.leases().await?.into_iter().find(|lease| lease.spec.request_uid == uid))
    }

    /// Applies one object as the platform team.
    pub async fn platform(&self, object: Value) -> Result<(), Error> {
        crate::apply(&self.cluster.admin()?, &object).await.map(drop)
    }
}
