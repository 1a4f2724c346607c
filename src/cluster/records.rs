//! What the caches keep of each object: enough to decide and to write back, and no more.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Namespace, Node, Pod, Secret, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::ResourceExt;

use super::{
    cache::{Cached, Key},
    lenient::Lenient,
};
use crate::{
    api::{AccessPolicy, AccessRequest, ClusterAccessPolicy, CredentialClass, CredentialLease},
    core::{
        images::Images,
        snapshot::{self, PolicyId},
    },
};

impl Cached for AccessRequest {
    fn key(&self) -> Key {
        key_of(&self.metadata)
    }
    fn object_uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }
    fn version(&self) -> u64 {
        version_of(&self.metadata)
    }
}

impl Cached for CredentialLease {
    fn key(&self) -> Key {
        key_of(&self.metadata)
    }
    fn object_uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }
    fn version(&self) -> u64 {
        version_of(&self.metadata)
    }
    fn due(&self) -> i64 {
        self.spec.expires_at.as_second()
    }
}

/// A pod, for triggers: the decision itself reads the pod live.
#[derive(Clone, Debug, PartialEq)]
pub struct PodRecord {
    /// Where it lives.
    pub key: Key,
    /// Its UID.
    pub uid: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its phase.
    pub phase: String,
    /// When it is to be gone.
    pub deletion: Option<Timestamp>,
    /// Its service account.
    pub service_account: String,
    /// Its node.
    pub node_name: String,
    /// Its root owner, as far as it can be read off the pod.
    pub workload: String,
    /// Everything that names an image in it.
    pub images: Images,
    /// Changes with its spec and its annotations.
    pub fingerprint: u64,
}

impl Cached for PodRecord {
    fn key(&self) -> Key {
        self.key.clone()
    }
    fn object_uid(&self) -> &str {
        &self.uid
    }
}

impl PodRecord {
    /// None of its containers runs any more.
    pub fn is_finished(&self) -> bool {
        matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }

    /// What is kept of a pod.
    pub fn of(pod: &Pod) -> Self {
        let spec = pod.spec.as_ref();
        Self {
            key: key_of(&pod.metadata),
            uid: pod.uid().unwrap_or_default(),
            labels: pod.labels().clone(),
            phase: pod.status.as_ref().and_then(|s| s.phase.clone()).unwrap_or_default(),
            deletion: pod.metadata.deletion_timestamp.as_ref().map(|t| t.0),
            service_account: spec.and_then(|s| s.service_account_name.clone()).unwrap_or_default(),
            node_name: spec.and_then(|s| s.node_name.clone()).unwrap_or_default(),
            workload: workload_of(pod),
            images: images_of(pod),
            fingerprint: fingerprint(&(serde_json::to_string(&pod.spec).unwrap_or_default(), &pod.metadata.annotations)),
        }
    }

    /// The facts that a decision takes.
    pub fn facts(&self) -> snapshot::Pod {
        snapshot::Pod {
            uid: self.uid.clone(),
            service_account: self.service_account.clone(),
            node_name: self.node_name.clone(),
            phase: self.phase.clone(),
            deletion: self.deletion,
            labels: self.labels.clone(),
            workload: self.workload.clone(),
            images: self.images.clone(),
        }
    }
}

/// An object of which only name, UID and a pruned JSON form (for CEL) matter.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectRecord {
    /// Where it lives.
    pub key: Key,
    /// Its UID.
    pub uid: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// It is being deleted.
    pub terminating: bool,
    /// The object as the API gives it, less managedFields.
    pub json: serde_json::Value,
}

impl Cached for ObjectRecord {
    fn key(&self) -> Key {
        self.key.clone()
    }
    fn object_uid(&self) -> &str {
        &self.uid
    }
}

impl ObjectRecord {
    /// Something changed that policies are about: anything but status.
    pub fn changed_since(&self, before: &Self) -> bool {
        let parts = |record: &Self| (record.json.get("spec").cloned(), record.json.pointer("/metadata/annotations").cloned());
        self.uid != before.uid || self.labels != before.labels || self.terminating != before.terminating || parts(self) != parts(before)
    }

    /// What is kept of a namespace.
    pub fn namespace(object: Namespace) -> Self {
        Self::new(object)
    }

    /// What is kept of a node: its image list and addresses are long and change often.
    pub fn node(mut object: Node) -> Self {
        if let Some(status) = &mut object.status {
            status.images = None;
            status.volumes_attached = None;
            status.volumes_in_use = None;
        }
        Self::new(object)
    }

    /// What is kept of a service account.
    pub fn service_account(object: ServiceAccount) -> Self {
        Self::new(object)
    }

    fn new<K: kube::Resource + serde::Serialize>(mut object: K) -> Self {
        let meta = object.meta_mut();
        meta.managed_fields = None;
        let (key, uid) = (key_of(meta), meta.uid.clone().unwrap_or_default());
        let labels = meta.labels.clone().unwrap_or_default();
        let terminating = meta.deletion_timestamp.is_some();
        let json = serde_json::to_value(&object).unwrap_or_default();
        Self { key, uid, labels, terminating, json }
    }
}

/// A class, or why it cannot be read.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassRecord {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// The class; `Err` when this version of the operator cannot read it.
    pub class: Result<CredentialClass, String>,
}

impl Cached for ClassRecord {
    fn key(&self) -> Key {
        key_of(&self.metadata)
    }
    fn object_uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }
}

impl ClassRecord {
    /// What is kept of a class.
    pub fn of(read: Lenient<CredentialClass>) -> Self {
        let mut metadata = read.metadata;
        metadata.managed_fields = None;
        let class = read.object.map(|class| CredentialClass { metadata: metadata.clone(), ..class });
        Self { metadata, class }
    }
}

/// A policy of either kind.
#[derive(Clone, Debug, PartialEq)]
pub enum PolicyObject {
    /// For the whole cluster.
    Cluster(Box<ClusterAccessPolicy>),
    /// For its own namespace.
    Namespaced(Box<AccessPolicy>),
    /// This version of the operator cannot read it.
    Unreadable {
        /// Why.
        problem: String,
        /// Whether it may be a Forbid: it says so, or says something unknown.
        may_forbid: bool,
    },
}

/// A policy with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyRecord {
    /// Which.
    pub id: PolicyId,
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// The policy.
    pub object: PolicyObject,
}

impl Cached for PolicyRecord {
    fn key(&self) -> Key {
        key_of(&self.metadata)
    }
    fn object_uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }
}

impl PolicyRecord {
    /// What is kept of a ClusterAccessPolicy.
    pub fn cluster(read: Lenient<ClusterAccessPolicy>) -> Self {
        let object = read.object.map_or_else(|problem| unreadable(problem, read.effect.as_deref()), |p| PolicyObject::Cluster(Box::new(p)));
        Self::new(None, read.metadata, object)
    }

    /// What is kept of an AccessPolicy.
    pub fn namespaced(read: Lenient<AccessPolicy>) -> Self {
        let object =
            read.object.map_or_else(|problem| unreadable(problem, read.effect.as_deref()), |p| PolicyObject::Namespaced(Box::new(p)));
        Self::new(read.metadata.namespace.clone(), read.metadata, object)
    }

    fn new(namespace: Option<String>, mut metadata: ObjectMeta, object: PolicyObject) -> Self {
        metadata.managed_fields = None;
        Self { id: PolicyId { namespace, name: metadata.name.clone().unwrap_or_default() }, metadata, object }
    }
}

/// Without an effect a policy is a Permit: that is the schema's default.
fn unreadable(problem: String, effect: Option<&str>) -> PolicyObject {
    PolicyObject::Unreadable { problem, may_forbid: !matches!(effect, None | Some("Permit")) }
}

/// A Secret of the operator's own namespace that may hold a certificate authority.
#[derive(Clone)]
pub struct SecretRecord {
    /// Where it lives.
    pub key: Key,
    /// Its UID.
    pub uid: String,
    /// The object; never printed.
    pub secret: Secret,
}

impl Cached for SecretRecord {
    fn key(&self) -> Key {
        self.key.clone()
    }
    fn object_uid(&self) -> &str {
        &self.uid
    }
    fn version(&self) -> u64 {
        version_of(&self.secret.metadata)
    }
}

impl SecretRecord {
    /// What is kept of a Secret.
    pub fn of(mut secret: Secret) -> Self {
        secret.metadata.managed_fields = None;
        Self { key: key_of(&secret.metadata), uid: secret.uid().unwrap_or_default(), secret }
    }
}

/// What is kept of a request that a watch brought; `None`, and said aloud, if this version cannot read it.
pub fn request(read: Lenient<AccessRequest>) -> Option<AccessRequest> {
    match read.object {
        Ok(request) => Some(prune_request(request)),
        Err(problem) => {
            let key = key_of(&read.metadata);
            tracing::error!(
                namespace = key.namespace,
                request = key.name,
                problem,
                "this version cannot read the request: it stays unanswered"
            );
            None
        }
    }
}

/// What is kept of a lease that a watch brought; `None`, and said aloud, if this version cannot read it.
pub fn lease(read: Lenient<CredentialLease>) -> Option<CredentialLease> {
    match read.object {
        Ok(lease) => Some(prune_lease(lease)),
        Err(problem) => {
            let lease = key_of(&read.metadata).name;
            tracing::error!(lease, problem, "this version cannot read the lease: it stays open until a version that can takes over");
            None
        }
    }
}

/// A request without what is only needed once: managedFields always; CSR, key to seal to and credential once it is answered. What is written back from
/// here, at the end of a grant, so takes an ended credential out of the status.
pub fn prune_request(mut request: AccessRequest) -> AccessRequest {
    request.metadata.managed_fields = None;
    if let Some(status) = &mut request.status
        && status.state != crate::api::RequestState::Pending
    {
        // An empty one still says how the credential is delivered.
        request.spec.csr = request.spec.csr.take().map(|_| String::new());
        request.spec.seal_to = request.spec.seal_to.take().map(|_| String::new());
        if let Some(credential) = &mut status.credential {
            credential.certificate = None;
            credential.sealed = None;
            credential.ca_bundle = String::new();
        }
    }
    request
}

/// A lease without managedFields.
pub fn prune_lease(mut lease: CredentialLease) -> CredentialLease {
    lease.metadata.managed_fields = None;
    lease
}

/// What CEL may look at beside labels and that is not kept here, as a number that changes with it.
fn fingerprint(parts: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

/// Namespace and name.
pub fn key_of(metadata: &ObjectMeta) -> Key {
    Key::new(metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

pub(super) fn version_of(metadata: &ObjectMeta) -> u64 {
    metadata.resource_version.as_deref().and_then(|v| v.parse().ok()).unwrap_or_default()
}

/// Everything that names an image in a pod: containers of every sort, as its manifest and as its kubelet says.
pub fn images_of(pod: &Pod) -> Images {
    let mut said: Vec<&str> = vec![];
    if let Some(spec) = &pod.spec {
        let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        said.extend(containers.filter_map(|container| container.image.as_deref()));
        said.extend(spec.ephemeral_containers.iter().flatten().filter_map(|container| container.image.as_deref()));
        // An image that is mounted brings what is in it as much as one that runs.
        said.extend(spec.volumes.iter().flatten().filter_map(|volume| volume.image.as_ref()?.reference.as_deref()));
    }
    if let Some(status) = &pod.status {
        let lists = [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
        said.extend(lists.into_iter().flatten().flatten().flat_map(|container| [container.image.as_str(), container.image_id.as_str()]));
    }
    Images::of(said)
}

/// The pod's root owner, read off the pod alone: a ReplicaSet that carries the pod's template hash belongs to a Deployment.
pub fn workload_of(pod: &Pod) -> String {
    let controller = |owner: &&OwnerReference| owner.controller == Some(true);
    let Some(owner) = pod.owner_references().iter().find(controller) else { return format!("Pod/{}", pod.name_any()) };
    let hash = pod.labels().get("pod-template-hash");
    match hash.and_then(|hash| owner.name.strip_suffix(hash.as_str())).and_then(|name| name.strip_suffix('-')) {
        Some(name) if owner.kind == "ReplicaSet" => format!("Deployment/{name}"),
        _ => format!("{}/{}", owner.kind, owner.name),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn images_are_found_in_containers_of_every_sort_and_as_manifest_and_kubelet_say() {
        let pod = serde_json::from_value(json!({
            "spec": {
                "containers": [{"name": "app", "image": "shop/app:1.2"}],
                "initContainers": [{"name": "init", "image": "tools"}],
                "ephemeralContainers": [{"name": "debug", "image": "busybox:latest"}],
                "volumes": [{"name": "data", "image": {"reference": "shop/data:3"}}],
            },
            "status": {"containerStatuses": [{
                "name": "app", "image": "shop/app:1.2", "imageID": "docker-pullable://shop/app@sha256:11", "ready": true, "restartCount": 0,
            }]},
        }));
        let images = images_of(&pod.unwrap());
        for image in ["shop/app", "shop/app:1.2", "sha256:11", "shop/app@sha256:11", "tools", "busybox", "shop/data"] {
            assert!(images.any_is(image), "{image}");
        }
        assert!(!images.any_is("shop/other") && !images_of(&Pod::default()).any_is("shop/app"));
    }
}
