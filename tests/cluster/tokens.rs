//! Tokens of service accounts: lent for a while, sealed or in a Secret, taken back, and proven to be refused by the API server itself.

mod delivery;
mod ends;
mod faults;
mod held;
mod refusals;
mod servers;

use std::time::Duration;

use daypass::{
    api::{AccessRequest, CredentialLease, RequestState, request::EndedStatus},
    issue::seal::{Context, OpeningKey},
};
use devcluster::wait;
use k8s_openapi::api::{
    authentication::v1::{SelfSubjectReview, UserInfo},
    core::v1::Secret,
};
use kube::{Api, Client, ResourceExt, api::PostParams};
use serde_json::{Value, json};
use stage::{Pod, Stage};

use crate::{
    scene::{merge, until_ready},
    support::{LENT, permit},
};

/// Longest that an API server remembers a token that it accepted, and some room.
pub const CACHED: Duration = Duration::from_secs(14);

/// A class that lends an account, a policy of the same name, and a pod that asks.
pub struct Lending<'s> {
    pub stage: &'s Stage,
    /// Of class, policy, namespace and service account of the pod.
    pub name: String,
    pub namespace: String,
    pub pod: Pod,
    pub admin: Client,
}

/// A token that was lent.
pub struct Lent {
    pub request: AccessRequest,
    pub lease: CredentialLease,
    pub token: String,
}

impl<'s> Lending<'s> {
    /// Lends the account of this name to a namespace of its own.
    pub async fn of(stage: &'s Stage, account: &str) -> Self {
        Self::with(stage, &format!("tokens-{account}"), LENT, account, json!({})).await
    }

    /// Lends an account to a pod of this namespace, by a class with these further fields in its spec.
    pub async fn with(stage: &'s Stage, namespace: &str, of: &str, account: &str, fields: Value) -> Self {
        let name = format!("tokens-{account}");
        let pod = stage.pod(namespace, &format!("{name}-1"), &name).await.unwrap();
        let lending = Self { stage, name: name.clone(), namespace: namespace.into(), pod, admin: stage.cluster.admin().unwrap() };
        lending.set_class(of, account, fields).await;
        stage.platform(permit(&name, namespace, &name, &name, json!({}))).await.unwrap();
        until_ready(stage, &format!("dpclass/{name}")).await;
        until_ready(stage, &format!("dpcpol/{name}")).await;
        lending
    }

    async fn set_class(&self, of: &str, account: &str, fields: Value) {
        let mut class = json!({
            "apiVersion": "daypass.dev/v1alpha1", "kind": "CredentialClass", "metadata": {"name": self.name},
            "spec": {
                "ttl": {"default": "5m", "max": "10m"}, "delivery": ["Sealed", "Secret"],
                "serviceAccountToken": {"namespace": of, "name": account},
            },
        });
        merge(&mut class["spec"], fields);
        self.stage.platform(class).await.unwrap();
    }

    /// Asks for a sealed token and opens it.
    pub async fn sealed(&self, ttl: &str) -> Lent {
        let key = OpeningKey::generate().unwrap();
        let request = self.ask(json!({"ttl": ttl, "sealTo": key.public_base64()})).await;
        let request = self.active(request).await;
        let sealed = request.status.as_ref().unwrap().credential.as_ref().unwrap().sealed.clone().expect("a sealed credential");
        let context = Context { request_uid: &request.uid().unwrap(), pod_uid: &request.spec.requester.pod_uid, class: &self.name };
        let token = key.open(&context, &sealed).unwrap().expose().clone();
        self.lent(request, token).await
    }

    /// Asks for a token in a Secret and reads it.
    pub async fn in_a_secret(&self, ttl: &str) -> (Lent, Secret) {
        let request = self.ask(json!({"ttl": ttl})).await;
        let request = self.active(request).await;
        let name = request.status.as_ref().unwrap().credential.as_ref().unwrap().secret_name.clone().unwrap();
        let secret = self.secrets(&self.namespace).get(&name).await.unwrap();
        let token = String::from_utf8(secret.data.as_ref().unwrap()["token"].0.clone()).unwrap();
        (self.lent(request, token).await, secret)
    }

    async fn ask(&self, fields: Value) -> AccessRequest {
        let mut spec = json!({"className": self.name});
        merge(&mut spec, fields);
        self.pod.ask(&self.name, spec).await.unwrap()
    }

    async fn active(&self, request: AccessRequest) -> AccessRequest {
        let request =
            self.pod.until_within(&request, "an answer", Duration::from_secs(90), |r| r.state() != RequestState::Pending).await.unwrap();
        assert_eq!(request.state(), RequestState::Active, "{:?}", request.status);
        request
    }

    async fn lent(&self, request: AccessRequest, token: String) -> Lent {
        let id = &request.status.as_ref().unwrap().decision.as_ref().unwrap().id;
        let lease = self.stage.leases().await.unwrap().into_iter().find(|lease| lease.spec.decision_id == *id);
        Lent { lease: lease.expect("a credential without a lease"), request, token }
    }

    fn secrets(&self, namespace: &str) -> Api<Secret> {
        Api::namespaced(self.admin.clone(), namespace)
    }

    pub fn requests(&self) -> Api<AccessRequest> {
        Api::namespaced(self.admin.clone(), &self.namespace)
    }

    pub fn leases(&self) -> Api<CredentialLease> {
        Api::namespaced(self.admin.clone(), &self.stage.operator_name().namespace)
    }

    /// Who the API server takes the holder of a token for; `None`: for nobody.
    pub async fn whoami(&self, token: &str) -> Option<UserInfo> {
        whoami(self.stage, token).await
    }

    /// Waits until the request says how it ended, and the lease says the same.
    pub async fn ended(&self, lent: &Lent, limit: Duration) -> EndedStatus {
        let (api, name) = (self.requests(), lent.request.name_any());
        let look = || async { api.get(&name).await.ok().filter(|request| request.state() == RequestState::Ended) };
        let request = match wait::until("the end to be proven", limit, look).await {
            Ok(request) => request,
            Err(error) => panic!(
                "{error}; it stands at {:?}, {:?}",
                api.get(&name).await.map(|r| r.status),
                self.leases().get(&lent.lease.name_any()).await.map(|l| l.status)
            ),
        };
        let status = request.status.unwrap();
        assert!(status.credential.unwrap().sealed.is_none(), "the sealed token goes with the end");
        let ended = status.ended.unwrap();
        let lease = self.leases().get(&lent.lease.name_any()).await.unwrap().status.unwrap();
        assert_eq!((lease.reason, lease.proof, lease.closed_time), (Some(ended.reason), ended.proof, ended.verified_time));
        ended
    }

    /// Waits until the lease of a grant whose request is gone is closed.
    async fn closed(&self, lent: &Lent, limit: Duration) -> CredentialLease {
        let (api, name) = (self.leases(), lent.lease.name_any());
        wait::until("the lease to close", limit, || async { api.get(&name).await.ok().filter(CredentialLease::is_closed) }).await.unwrap()
    }

    /// The Secret that the token is bound to is gone.
    pub async fn bound_is_gone(&self, lent: &Lent) -> bool {
        let token = lent.lease.spec.token.as_ref().unwrap();
        self.secrets(&token.namespace).get_opt(&token.bound_to.name).await.unwrap().is_none()
    }
}

/// Who the API server takes the holder of a token for; `None`: for nobody.
pub async fn whoami(stage: &Stage, token: &str) -> Option<UserInfo> {
    let client = stage.cluster.client_with_token(token).unwrap();
    match Api::<SelfSubjectReview>::all(client).create(&PostParams::default(), &SelfSubjectReview::default()).await {
        Ok(review) => Some(review.status.unwrap().user_info.unwrap()),
        Err(kube::Error::Api(status)) if status.code == 401 => None,
        Err(error) => panic!("neither accepted nor refused: {error}"),
    }
}

/// Waits until the API server refuses a token.
async fn refused(stage: &Stage, token: &str, limit: Duration) {
    wait::until("the token to be refused", limit, || async { whoami(stage, token).await.is_none().then_some(()) }).await.unwrap();
}

/// The id of the token behind an identity.
fn token_id(user: &UserInfo) -> String {
    user.extra.as_ref().unwrap()["authentication.kubernetes.io/credential-id"][0].clone()
}
