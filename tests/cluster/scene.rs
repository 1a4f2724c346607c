//! A corner of a stage for one story: a class, a policy, and a pod that asks. Whatever is granted here goes before the judges.

use std::time::Duration;

use daypass::api::{
    AccessRequest, Condition, CredentialLease, Proof, RequestState,
    condition::ConditionStatus,
    lease::LeaseState,
    request::{DecisionStatus, EndedStatus},
};
use devcluster::{
    wait,
    workload::{self, PodSpec, TokenOptions},
};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use stage::{Csr, Pod, Stage};

use crate::{
    judges::{self, Handed},
    support::{class, permit},
};

/// How long anything may take that nothing has to be waited for, on a machine under load.
pub const SOON: Duration = Duration::from_secs(30);

/// A class and a policy of one name, and a pod of the account of that name.
pub struct Scene<'s> {
    /// Where it plays.
    pub stage: &'s Stage,
    /// Name of class, policy and service account.
    pub name: String,
    /// Of the pod.
    pub namespace: String,
    /// Who asks.
    pub pod: Pod,
    /// The administrator, who sees everything.
    pub admin: Client,
}

/// A request that was granted, as it was then.
pub struct Granted {
    /// The request, Active.
    pub request: AccessRequest,
    /// Its lease, open.
    pub lease: CredentialLease,
}

impl<'s> Scene<'s> {
    /// In a namespace of the same name, on plain terms.
    pub async fn set(stage: &'s Stage, name: &str) -> Self {
        Self::with(stage, name, name, json!({}), json!({})).await
    }

    /// The same with other terms in the policy.
    pub async fn on_terms(stage: &'s Stage, name: &str, terms: Value) -> Self {
        Self::with(stage, name, name, json!({}), terms).await
    }

    /// In any namespace, with these fields of the class's and the policy's spec.
    pub async fn with(stage: &'s Stage, namespace: &str, name: &str, class: Value, terms: Value) -> Self {
        let admin = stage.cluster.admin().unwrap();
        let pod = stage.pod(namespace, &format!("{name}-1"), name).await.unwrap();
        let scene = Self { stage, name: name.into(), namespace: namespace.into(), pod, admin };
        scene.set_class(class).await;
        scene.set_terms(terms).await;
        scene.ready().await;
        scene
    }

    /// Applies the class with these fields of its spec.
    pub async fn set_class(&self, fields: Value) {
        let mut class = class(&self.name);
        merge(&mut class["spec"], fields);
        self.stage.platform(class).await.unwrap();
    }

    /// Applies the policy with these fields of its spec.
    pub async fn set_terms(&self, fields: Value) {
        let mut policy = permit(&self.name, &self.namespace, &self.name, &self.name, json!({}));
        merge(&mut policy["spec"], fields);
        self.stage.platform(policy).await.unwrap();
    }

    /// Waits until class and policy are Ready as they are now.
    pub async fn ready(&self) {
        until_ready(self.stage, &format!("dpclass/{}", self.name)).await;
        until_ready(self.stage, &format!("dpcpol/{}", self.name)).await;
    }

    /// Another pod of the same account.
    pub async fn another_pod(&self, name: &str) -> Pod {
        self.stage.pod(&self.namespace, name, &self.name).await.unwrap()
    }

    /// Asks with a CSR and gets a certificate that both judges accept.
    pub async fn granted(&self, ttl: &str) -> Granted {
        self.granted_to(&self.pod, ttl).await
    }

    /// The same for another pod.
    pub async fn granted_to(&self, pod: &Pod, ttl: &str) -> Granted {
        let csr = Csr::new().unwrap();
        let request = pod.ask_with_csr(&self.name, Some(ttl), &csr).await.unwrap();
        let granted = self.active(pod, request).await;
        let credential = granted.request.status.as_ref().unwrap().credential.as_ref().unwrap();
        let handed = Handed { chain: credential.certificate.as_deref().unwrap(), roots: &credential.ca_bundle };
        judges::judge(handed, &granted.lease, &csr.key);
        granted
    }

    /// Asks for a Secret and gets one whose certificate both judges accept.
    pub async fn granted_secret(&self, ttl: &str) -> (Granted, Secret) {
        let request = self.pod.ask(&self.name, json!({"className": self.name, "ttl": ttl})).await.unwrap();
        let granted = self.active(&self.pod, request).await;
        let name = granted.request.status.as_ref().unwrap().credential.as_ref().unwrap().secret_name.clone().unwrap();
        let secret = self.secrets().get(&name).await.unwrap();
        let text = |key: &str| String::from_utf8(secret.data.as_ref().unwrap()[key].0.clone()).unwrap();
        let key = rcgen::KeyPair::from_pem(&text("tls.key")).unwrap();
        judges::judge(Handed { chain: &text("tls.crt"), roots: &text("ca.crt") }, &granted.lease, &key);
        (granted, secret)
    }

    async fn active(&self, pod: &Pod, request: AccessRequest) -> Granted {
        let request = pod.answer(&request).await.unwrap();
        assert_eq!(request.state(), RequestState::Active, "{:?}", request.status);
        let lease = self.stage.lease_of(&request).await.unwrap().expect("a credential without a lease");
        Granted { request, lease }
    }

    /// Asks with a CSR and with these further fields, and is denied.
    pub async fn denied(&self, fields: Value) -> DecisionStatus {
        let mut spec = json!({"className": self.name, "csr": Csr::new().unwrap().pem});
        merge(&mut spec, fields);
        self.refused(spec).await
    }

    /// Asks with exactly this spec, and is denied: nothing is left but the answer.
    pub async fn refused(&self, spec: Value) -> DecisionStatus {
        refused(self.stage, &self.pod, spec).await
    }

    /// The Secrets of the namespace.
    pub fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.admin.clone(), &self.namespace)
    }

    /// The requests of the namespace, as the administrator sees them.
    pub fn requests(&self) -> Api<AccessRequest> {
        Api::namespaced(self.admin.clone(), &self.namespace)
    }

    /// The leases.
    pub fn leases(&self) -> Api<CredentialLease> {
        Api::namespaced(self.admin.clone(), &self.stage.operator_name().namespace)
    }

    /// Waits until the lease of a grant is as described.
    pub async fn lease_when(
        &self,
        granted: &Granted,
        what: &str,
        limit: Duration,
        there: impl Fn(&CredentialLease) -> bool,
    ) -> CredentialLease {
        let (api, name) = (self.leases(), granted.lease.name_any());
        let what = format!("{what}: lease {name} of {}/{}", self.namespace, granted.request.name_any());
        let look = || async { api.get(&name).await.ok().filter(|lease| there(lease)) };
        match wait::until(&what, limit, look).await {
            Ok(lease) => lease,
            Err(error) => panic!("{error}; it stands at {:?}", api.get(&name).await.map(|lease| (lease.spec.policy, lease.status))),
        }
    }

    /// Waits until the request of a grant is as described.
    pub async fn request_when(
        &self,
        granted: &Granted,
        what: &str,
        limit: Duration,
        there: impl Fn(&AccessRequest) -> bool,
    ) -> AccessRequest {
        let (api, name) = (self.requests(), granted.request.name_any());
        let what = format!("{what}: request {}/{name}", self.namespace);
        let look = || async { api.get(&name).await.ok().filter(|request| there(request)) };
        match wait::until(&what, limit, look).await {
            Ok(request) => request,
            Err(error) => panic!("{error}; it stands at {:?}", api.get(&name).await.map(|request| request.status)),
        }
    }

    /// Waits until a grant that ended early says so everywhere: the lease is Revoking with the cause, and the request says until when the
    /// certificate is accepted.
    pub async fn revoking(&self, granted: &Granted, limit: Duration) -> (CredentialLease, AccessRequest) {
        let lease = self.lease_when(granted, "ended early", limit, |lease| lease.state() == Some(LeaseState::Revoking)).await;
        let request = self.request_when(granted, "to say so", SOON, |request| request.state() == RequestState::Revoking).await;
        let ready = condition(&request, "Ready").expect("Ready");
        let until = lease.spec.not_after().to_string();
        assert!(ready.status == ConditionStatus::False && ready.message.contains(&format!("accept it until {until}")), "{ready:?}");
        assert!(condition(&request, "Ended").is_none(), "it is not dead yet");
        (lease, request)
    }

    /// Waits until the grant is proven dead, and returns how it ended as the request tells it; the lease tells the same.
    pub async fn ended(&self, granted: &Granted) -> EndedStatus {
        let left = granted.lease.spec.not_after().duration_since(jiff::Timestamp::now());
        let limit = SOON + Duration::try_from(left).unwrap_or_default();
        let request = self.request_when(granted, "ended", limit, |request| request.state() == RequestState::Ended).await;
        assert!(condition(&request, "Ready").is_none(), "nothing is ready after the end");
        assert_eq!(condition(&request, "Ended").map(|c| c.status), Some(ConditionStatus::True));
        let ended = request.status.unwrap().ended.unwrap();
        let lease = self.leases().get(&granted.lease.name_any()).await.unwrap();
        let status = lease.status.unwrap();
        assert_eq!((status.state, status.reason), (Some(LeaseState::Closed), Some(ended.reason)));
        assert_eq!((status.proof, status.closed_time), (ended.proof, ended.verified_time));
        assert!(ended.verified_time.unwrap() >= granted.lease.spec.not_after(), "nothing is called dead while verifiers accept it");
        ended
    }

    /// Waits until a grant that ended early is proven dead by the revocation list of its class, and returns how it ended.
    pub async fn taken_back(&self, granted: &Granted) -> EndedStatus {
        let request = self.request_when(granted, "taken back", SOON, |request| request.state() == RequestState::Ended).await;
        let ended = request.status.unwrap().ended.unwrap();
        let lease = self.leases().get(&granted.lease.name_any()).await.unwrap();
        let status = lease.status.unwrap();
        assert_eq!((status.state, status.reason), (Some(LeaseState::Closed), Some(ended.reason)));
        assert_eq!((ended.proof, status.proof), (Some(Proof::CRLPublished), ended.proof));
        let dead = ended.verified_time.unwrap();
        assert!(dead < granted.lease.spec.not_after() && Some(dead) == status.closed_time, "before its own end");
        let bound = granted.lease.spec.crl().unwrap().bound_seconds;
        assert!(ended.message.contains(&format!("refuse it within {bound}s")), "{}", ended.message);
        ended
    }

    /// Waits until the lease is closed, for grants whose request is gone.
    pub async fn closed(&self, granted: &Granted) -> CredentialLease {
        let left = granted.lease.spec.not_after().duration_since(jiff::Timestamp::now());
        let limit = SOON + Duration::try_from(left).unwrap_or_default();
        let lease = self.lease_when(granted, "closed", limit, |lease| lease.is_closed()).await;
        let closed = lease.status.as_ref().and_then(|status| status.closed_time).unwrap();
        assert!(closed >= lease.spec.not_after(), "nothing is called dead while verifiers accept it");
        lease
    }

    /// Waits until a Secret is gone.
    pub async fn secret_gone(&self, name: &str, limit: Duration) {
        let api = self.secrets();
        wait::until(&format!("Secret {}/{name} to go", self.namespace), limit, || async {
            api.get_opt(name).await.unwrap().is_none().then_some(())
        })
        .await
        .unwrap();
    }
}

/// Runs a pod that the stage has no short way for, and gives it a token of its own. Its account is bound to ask already.
pub async fn run(stage: &Stage, spec: &PodSpec) -> Pod {
    let admin = stage.cluster.admin().unwrap();
    let pod = workload::run_pod(&admin, spec).await.unwrap();
    let token = workload::bound_token(&admin, &pod, &TokenOptions::default()).await.unwrap();
    let client = stage.cluster.client_with_token(&token).unwrap();
    Pod { namespace: spec.namespace.clone(), pod, token, client }
}

/// A pod asks with this spec and is denied: nothing is left but the answer.
pub async fn refused(stage: &Stage, pod: &Pod, spec: Value) -> DecisionStatus {
    let request = pod.ask("no", spec).await.unwrap();
    let answered = pod.answer(&request).await.unwrap();
    assert_eq!(answered.state(), RequestState::Denied, "{:?}", answered.status);
    assert!(stage.lease_of(&request).await.unwrap().is_none(), "a denial opens no lease");
    for (type_, status) in [("Decided", ConditionStatus::True), ("Ready", ConditionStatus::False)] {
        assert_eq!(condition(&answered, type_).map(|c| c.status), Some(status), "{type_}");
    }
    let status = answered.status.unwrap();
    assert!(status.credential.is_none());
    status.decision.unwrap()
}

/// A condition of a request.
pub fn condition<'r>(request: &'r AccessRequest, type_: &str) -> Option<&'r Condition> {
    request.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == type_)
}

/// Waits until `kubectl wait` sees this generation of the object Ready.
pub async fn until_ready(stage: &Stage, object: &str) {
    until_condition(stage, object, "Ready=True").await;
}

/// Waits until `kubectl wait` sees the condition on this generation of the object.
pub async fn until_condition(stage: &Stage, object: &str, condition: &str) {
    let waited = stage.cluster.kubectl(["wait", &format!("--for=condition={condition}"), "--timeout=60s", object]).await.unwrap();
    assert!(waited.status.success(), "{object}: {}", String::from_utf8_lossy(&waited.stderr));
}

/// A Forbid of one account and class.
pub fn forbid(name: &str, namespace: &str, account: &str, class: &str, fields: Value) -> Value {
    let mut policy = permit(name, namespace, account, class, json!({"effect": "Forbid"}));
    merge(&mut policy["spec"], fields);
    policy
}

/// Replaces fields, objects field by field; null removes.
pub fn merge(into: &mut Value, fields: Value) {
    for (key, value) in fields.as_object().cloned().into_iter().flatten() {
        match value {
            Value::Null => drop(into.as_object_mut().unwrap().remove(&key)),
            Value::Object(_) if into[&key].is_object() => merge(&mut into[&key], value),
            value => into[&key] = value,
        }
    }
}
