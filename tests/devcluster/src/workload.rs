//! What a kubelet and a scheduler would do: nodes, running pods, and the tokens that such pods hold.
//!
//! Only objects: no container runs. All of it needs an administrator's client. Called by tests and the demo.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{
    api::{
        authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
        core::v1::{Namespace, Node, Pod, Secret, ServiceAccount},
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::wait;

/// How long kube-controller-manager may take for what it makes.
const CONTROLLERS_WITHIN: Duration = Duration::from_secs(60);

/// Why there is no such object or token.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused.
    #[error(transparent)]
    Kube(Box<kube::Error>),
    /// kube-controller-manager did not do its part.
    #[error(transparent)]
    TimedOut(#[from] wait::TimedOut),
    /// Cannot happen: what is written here is well-formed.
    #[error("malformed object: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The API server answered without a token.
    #[error("no token in the answer to a TokenRequest")]
    NoToken,
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Kube(Box::new(error))
    }
}

/// A pod to run.
#[derive(Clone, Debug, PartialEq)]
pub struct PodSpec {
    /// Where.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// As whom; it must exist.
    pub service_account: String,
    /// On which node.
    pub node: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whose it is, such as a ReplicaSet's.
    pub owners: Vec<OwnerReference>,
    /// Its only container's image, also reported as the one that runs.
    pub image: String,
}

impl PodSpec {
    /// A pod of service account `default` on node `node-1`, nobody's.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            service_account: "default".to_owned(),
            node: "node-1".to_owned(),
            labels: BTreeMap::new(),
            owners: Vec::new(),
            image: "registry.example/app@sha256:0000000000000000000000000000000000000000000000000000000000000000".to_owned(),
        }
    }

    /// As this service account.
    #[must_use]
    pub fn service_account(mut self, name: impl Into<String>) -> Self {
        self.service_account = name.into();
        self
    }

    /// On this node.
    #[must_use]
    pub fn node(mut self, name: impl Into<String>) -> Self {
        self.node = name.into();
        self
    }

    /// With this label as well.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// Owned by this object as well.
    #[must_use]
    pub fn owner(mut self, owner: OwnerReference) -> Self {
        self.owners.push(owner);
        self
    }
}

/// What a token is to be good for. The default: the API server's audience, for an hour.
#[derive(Clone, Debug, Default)]
pub struct TokenOptions {
    /// Whom it is for; the API server if empty.
    pub audiences: Vec<String>,
    /// For how long, at least 600 seconds.
    pub seconds: Option<i64>,
}

/// Makes a namespace, if it is not there, and waits for its service account `default`, without which no pod can be made in it.
pub async fn namespace(client: &Client, name: &str, labels: &[(&str, &str)]) -> Result<Namespace, Error> {
    let labels: BTreeMap<_, _> = labels.iter().copied().collect();
    let namespace = create_or_get(&Api::all(client.clone()), name, json!({"metadata": {"name": name, "labels": labels}})).await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), name);
    let what = format!("the service account {name}/default");
    wait::until(&what, CONTROLLERS_WITHIN, || async { accounts.get_opt("default").await.ok().flatten() }).await?;
    Ok(namespace)
}

/// Makes a service account, if it is not there.
pub async fn service_account(client: &Client, namespace: &str, name: &str) -> Result<ServiceAccount, Error> {
    create_or_get(&Api::namespaced(client.clone(), namespace), name, json!({"metadata": {"name": name}})).await
}

/// A node that reports Ready; the one of that name if there is one already.
pub async fn node(client: &Client, name: &str, labels: &[(&str, &str)]) -> Result<Node, Error> {
    let nodes: Api<Node> = Api::all(client.clone());
    let labels: BTreeMap<_, _> = labels.iter().copied().collect();
    create_or_get(&nodes, name, json!({"metadata": {"name": name, "labels": labels}})).await?;
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]}});
    Ok(nodes.patch_status(name, &PatchParams::default(), &Patch::Strategic(ready)).await?)
}

/// Makes a pod and reports it Running. Its node should exist, or its tokens lack the node's UID.
pub async fn run_pod(client: &Client, spec: &PodSpec) -> Result<Pod, Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &spec.namespace);
    let pod = json!({
        "metadata": {"name": spec.name, "labels": spec.labels, "ownerReferences": spec.owners},
        "spec": {
            "serviceAccountName": spec.service_account,
            "nodeName": spec.node,
            // What the restricted Pod Security Standard asks for: pods of tests go wherever pods of users may.
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "app", "image": spec.image,
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    });
    create(&pods, pod).await?;
    set_phase(client, &spec.namespace, &spec.name, "Running").await
}

/// Reports a pod's phase: `Running`, `Succeeded`, `Failed`.
pub async fn set_phase(client: &Client, namespace: &str, name: &str, phase: &str) -> Result<Pod, Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let image = pods.get(name).await?.spec.and_then(|spec| spec.containers.into_iter().next()).and_then(|container| container.image);
    let state = match phase {
        "Running" => json!({"running": {}}),
        _ => json!({"terminated": {"exitCode": i32::from(phase != "Succeeded")}}),
    };
    let container =
        json!({"name": "app", "ready": phase == "Running", "restartCount": 0, "image": image, "imageID": image, "state": state});
    let status = json!({"status": {"phase": phase, "containerStatuses": [container]}});
    Ok(pods.patch_status(name, &PatchParams::default(), &Patch::Strategic(status)).await?)
}

/// Deletes a pod at once, as a kubelet does when its containers have ended: without one, a graceful deletion never finishes.
pub async fn delete_pod_now(client: &Client, namespace: &str, name: &str) -> Result<(), Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    pods.delete(name, &DeleteParams::default().grace_period(0)).await?;
    Ok(())
}

/// The token that a pod finds mounted: its service account's, bound to the pod.
pub async fn bound_token(client: &Client, pod: &Pod, options: &TokenOptions) -> Result<String, Error> {
    let namespace = pod.namespace().unwrap_or_default();
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone()).unwrap_or_default();
    mint(client, &namespace, &account, Some(reference(pod)), options).await
}

/// A token bound to nothing, as `kubectl create token` makes.
pub async fn unbound_token(client: &Client, namespace: &str, account: &str, options: &TokenOptions) -> Result<String, Error> {
    mint(client, namespace, account, None, options).await
}

/// A token bound to a Secret: it leaves no trace of that in who it says it is.
pub async fn secret_bound_token(client: &Client, secret: &Secret, account: &str, options: &TokenOptions) -> Result<String, Error> {
    mint(client, &secret.namespace().unwrap_or_default(), account, Some(reference(secret)), options).await
}

/// An old-style token that lasts for ever, which kube-controller-manager fills into a Secret of this name.
pub async fn legacy_token(client: &Client, namespace: &str, account: &str, secret: &str) -> Result<String, Error> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let annotations = json!({"kubernetes.io/service-account.name": account});
    let object = json!({"metadata": {"name": secret, "annotations": annotations}, "type": "kubernetes.io/service-account-token"});
    create(&secrets, object).await?;
    let token = || async { secrets.get(secret).await.ok()?.data?.remove("token") };
    let bytes = wait::until(&format!("the token in Secret {namespace}/{secret}"), CONTROLLERS_WITHIN, token).await?;
    String::from_utf8(bytes.0).map_err(|_| Error::NoToken)
}

async fn mint(
    client: &Client,
    namespace: &str,
    account: &str,
    bound_to: Option<BoundObjectReference>,
    options: &TokenOptions,
) -> Result<String, Error> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let spec = TokenRequestSpec {
        audiences: options.audiences.clone(),
        bound_object_ref: bound_to,
        // Not 3607: bound to a pod, the API server would stretch that to a year.
        expiration_seconds: Some(options.seconds.unwrap_or(3600)),
    };
    let request = TokenRequest { spec, ..TokenRequest::default() };
    let answer = accounts.create_token_request(account, &PostParams::default(), &request).await?;
    answer.status.map(|status| status.token).ok_or(Error::NoToken)
}

fn reference<K: Resource<DynamicType = ()>>(object: &K) -> BoundObjectReference {
    BoundObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        name: Some(object.name_any()),
        uid: object.meta().uid.clone(),
    }
}

async fn create<K>(api: &Api<K>, object: serde_json::Value) -> Result<K, Error>
where
    K: Clone + std::fmt::Debug + DeserializeOwned + Serialize,
{
    let object: K = serde_json::from_value(object)?;
    Ok(api.create(&PostParams::default(), &object).await?)
}

async fn create_or_get<K>(api: &Api<K>, name: &str, object: serde_json::Value) -> Result<K, Error>
where
    K: Clone + std::fmt::Debug + DeserializeOwned + Serialize,
{
    match create(api, object).await {
        Err(Error::Kube(error)) if is_conflict(&error) => Ok(api.get(name).await?),
        other => other,
    }
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}
