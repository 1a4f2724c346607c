//! The bare client: makes the writes of a grant and the read of the pod, and nothing else. No decision, no key, no watch.
//!
//! It is the operator as far as the API server can tell: its account, its token bound to a pod, its RBAC, the same admission policies, the
//! same kinds, the same HTTP client. What it writes are copies of what Daypass wrote for a real grant, so that sizes are alike too.

use std::sync::Arc;

use daypass::{
    api::{
        AccessRequest, CredentialLease, Delivery, EndReason, LABEL_REQUEST_UID, Proof,
        lease::{CredentialLeaseStatus, LeaseState},
        request::AccessRequestStatus,
    },
    core::{names, status},
};
use devcluster::workload::{self, PodSpec, TokenOptions};
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Pod, Secret},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, PostParams, Preconditions},
};
use stage::NODE;
use tokio::sync::mpsc;

use super::ground::{AT_ONCE, Ask, Ground, patiently};

/// What Daypass wrote for one grant.
#[derive(Clone)]
pub struct Template {
    lease: CredentialLease,
    status: AccessRequestStatus,
    secret: Option<Secret>,
}

impl Template {
    /// Has one credential granted by Daypass and takes what it wrote.
    pub async fn take(ground: &Ground, delivery: Delivery) -> Result<Self, String> {
        let request = ground.ask(0, Ask::new("template", delivery, "30s")?).await?;
        let granted = ground.pods[0].answer(&request).await.map_err(|error| error.to_string())?;
        let status = granted
            .status
            .clone()
            .filter(|status| status.credential.is_some())
            .ok_or_else(|| format!("not granted: {:?}", granted.status))?;
        let lease = ground.stage.lease_of(&request).await.map_err(|error| error.to_string())?.ok_or("a grant without a lease")?;
        let secret = match &lease.spec.secret {
            Some(secret) => {
                let admin = ground.stage.cluster.admin().map_err(|error| error.to_string())?;
                let secrets = Api::<Secret>::namespaced(admin, &lease.spec.request_namespace);
                Some(secrets.get(&secret.name).await.map_err(|error| format!("the delivered Secret: {error}"))?)
            }
            None => None,
        };
        Ok(Self { lease, status, secret })
    }
}

/// What the bare client granted, as the API server returned it.
pub struct Bared {
    request: AccessRequest,
    lease: CredentialLease,
    secret: Option<Secret>,
}

/// The bare client.
#[derive(Clone)]
pub struct Bare {
    client: Client,
    home: String,
    csr: Arc<Template>,
    secret: Arc<Template>,
}

impl Bare {
    /// A bare client for a ground without an operator, with connections of its own.
    pub async fn new(ground: &Ground, csr: &Arc<Template>, secret: &Arc<Template>) -> Result<Self, String> {
        let (admin, operator) = (ground.stage.cluster.admin().map_err(|error| error.to_string())?, ground.stage.operator_name());
        let pod = PodSpec::new(&operator.namespace, "bare-0").service_account(&operator.service_account).node(NODE);
        let pod = workload::run_pod(&admin, &pod).await.map_err(|error| error.to_string())?;
        let token = workload::bound_token(&admin, &pod, &TokenOptions::default()).await.map_err(|error| error.to_string())?;
        let client = ground.stage.cluster.client_with_token(&token).map_err(|error| error.to_string())?;
        Ok(Self { client, home: operator.namespace.clone(), csr: csr.clone(), secret: secret.clone() })
    }

    /// Creates requests and grants each, both at most [`AT_ONCE`] at once.
    pub async fn grant_all(&self, ground: &Ground, asks: Vec<Ask>) -> Result<(), String> {
        let (hand, asked) = mpsc::unbounded_channel();
        let granted = futures::stream::unfold(asked, async |mut asked| Some((asked.recv().await?, asked)))
            .map(|request| {
                let bare = self.clone();
                async move { tokio::spawn(async move { bare.grant(request).await.map(drop) }).await.map_err(|error| error.to_string())? }
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<()>>();
        let asking = async move {
            ground
                .ask_all(asks, |request| {
                    // The other side goes only when a grant failed, and says so itself.
                    let _ = hand.send(request);
                })
                .await
        };
        futures::try_join!(asking, granted).map(drop)
    }

    /// The calls of one grant, one after the other: each needs what the one before returned, or must not happen before it.
    pub async fn grant(&self, request: AccessRequest) -> Result<Bared, String> {
        let namespace = request.namespace().unwrap_or_default();
        let failed = |what: &'static str| move |error: kube::Error| format!("the bare client's {what}: {error}");
        let (post, template) = (post(), if request.delivery() == Delivery::CSR { &self.csr } else { &self.secret });
        let pods = Api::<Pod>::namespaced(self.client.clone(), &namespace);
        patiently(|| pods.get(&request.spec.requester.pod_name)).await.map_err(failed("GET of the pod"))?;
        let secrets = Api::<Secret>::namespaced(self.client.clone(), &namespace);
        let empty = secret(&request, template, None);
        let reserved = match &template.secret {
            Some(_) => Some(patiently(|| secrets.create(&post, &empty)).await.map_err(failed("POST of the Secret"))?),
            None => None,
        };
        let (leases, lease) = (Api::namespaced(self.client.clone(), &self.home), lease(&self.home, &request, template, reserved.as_ref()));
        let lease = patiently(|| leases.create(&post, &lease)).await.map_err(failed("POST of the lease"))?;
        if let Some(reserved) = &reserved {
            let (name, filled) = (reserved.name_any(), secret(&request, template, Some(reserved)));
            patiently(|| secrets.replace(&name, &post, &filled)).await.map_err(failed("PUT of the Secret"))?;
        }
        let requests = Api::<AccessRequest>::namespaced(self.client.clone(), &namespace);
        let (name, answered) = (request.name_any(), active(request, template, reserved.as_ref()));
        let request =
            patiently(async || requests.replace_status(&name, &post, &answered).await).await.map_err(failed("PUT of the status"))?;
        Ok(Bared { request, lease, secret: reserved })
    }

    /// Deletes the Secret of a grant, as it stands when its end is due.
    pub async fn delete(&self, bared: &Bared) -> Result<(), String> {
        let Some(secret) = &bared.secret else { return Ok(()) };
        let secrets = Api::<Secret>::namespaced(self.client.clone(), &secret.namespace().unwrap_or_default());
        let params = DeleteParams::background().preconditions(Preconditions { uid: secret.uid(), resource_version: None });
        let (name, failed) = (secret.name_any(), |error| format!("the bare client's DELETE of the Secret: {error}"));
        patiently(async || secrets.delete(&name, &params).await).await.map_err(failed).map(drop)
    }

    /// Writes down the end of a grant, into the lease and then into the request.
    pub async fn write_end(&self, bared: Bared) -> Result<(), String> {
        let Bared { mut request, mut lease, .. } = bared;
        let (post, now) = (post(), Timestamp::now());
        lease.status = Some(CredentialLeaseStatus {
            state: Some(LeaseState::Closed),
            reason: Some(EndReason::Expired),
            ended_time: Some(lease.spec.expires_at),
            closed_time: Some(now),
            proof: Some(Proof::NotAfterPassed),
            message: Some("its time ran out".into()),
            lock: None,
        });
        request.status = status::of_lease(&request, &lease, now);
        let leases = Api::<CredentialLease>::namespaced(self.client.clone(), &self.home);
        let requests = Api::<AccessRequest>::namespaced(self.client.clone(), &request.namespace().unwrap_or_default());
        let failed = |what: &'static str| move |error: kube::Error| format!("the bare client's {what}: {error}");
        let name = lease.name_any();
        patiently(async || leases.replace_status(&name, &post, &lease).await).await.map_err(failed("PUT of a closed lease"))?;
        let name = request.name_any();
        patiently(async || requests.replace_status(&name, &post, &request).await).await.map_err(failed("PUT of an end")).map(drop)
    }
}

fn post() -> PostParams {
    PostParams { field_manager: Some("daypass".into()), ..PostParams::default() }
}

/// The Secret of a request: empty, or filled over what was reserved.
fn secret(request: &AccessRequest, template: &Template, reserved: Option<&Secret>) -> Secret {
    let mut secret = template.secret.clone().unwrap_or_default();
    if reserved.is_none() {
        secret.data.iter_mut().flat_map(|data| data.values_mut()).for_each(|value| value.0.clear());
    }
    let owner = OwnerReference {
        api_version: "daypass.dev/v1alpha1".into(),
        kind: "AccessRequest".into(),
        name: request.name_any(),
        uid: request.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(false),
    };
    secret.metadata = ObjectMeta {
        name: Some(request.wanted_secret_name()),
        namespace: request.namespace(),
        uid: reserved.and_then(ResourceExt::uid),
        resource_version: reserved.and_then(ResourceExt::resource_version),
        labels: Some([(LABEL_REQUEST_UID.to_owned(), request.uid().unwrap_or_default())].into()),
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    };
    secret
}

fn lease(home: &str, request: &AccessRequest, template: &Template, reserved: Option<&Secret>) -> CredentialLease {
    let mut lease = template.lease.clone();
    let uid = request.uid().unwrap_or_default();
    lease.metadata =
        ObjectMeta { name: Some(names::lease_name("bench", &uid, 0)), namespace: Some(home.to_owned()), ..ObjectMeta::default() };
    lease.status = None;
    lease.spec.request_namespace = request.namespace().unwrap_or_default();
    lease.spec.request_name = request.name_any();
    lease.spec.request_uid = uid;
    lease.spec.requester = request.spec.requester.clone();
    if let (Some(recorded), Some(reserved)) = (&mut lease.spec.secret, reserved) {
        recorded.name = reserved.name_any();
        recorded.uid = reserved.uid().unwrap_or_default();
    }
    lease
}

fn active(mut request: AccessRequest, template: &Template, reserved: Option<&Secret>) -> AccessRequest {
    request.metadata.managed_fields = None;
    let mut status = template.status.clone();
    if let Some(credential) = &mut status.credential {
        credential.secret_name = reserved.map(ResourceExt::name_any);
    }
    request.status = Some(status);
    request
}
