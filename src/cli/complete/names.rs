//! Names of what there is, for arguments that name something: contexts from the kubeconfig, the rest from the cluster with the caller's own
//! rights, within a second. Whatever goes wrong, there is nothing to offer and nothing to say.

use std::{collections::BTreeMap, fmt::Debug, sync::mpsc, time::Duration};

use k8s_openapi::api::core::v1::{Namespace, Node, Pod, ServiceAccount};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::ListParams,
    core::{NamespaceResourceScope, PartialObjectMeta},
};
use serde::de::DeserializeOwned;

use super::words::Candidate;
use crate::{
    api::{AccessLock, AccessRequest, CredentialClass, CredentialLease},
    cli::kube_args::{KubeArgs, Reach},
    cluster::{Clock, client},
};

/// A person waits for it with a finger on the key.
const WITHIN: Duration = Duration::from_secs(1);
/// Nobody reads through more.
const MOST: u32 = 200;

/// What the argument of this name may name.
#[derive(Clone, Copy)]
enum Named {
    Request,
    Class,
    Pod,
    Namespace,
    Node,
    Lease,
    Lock,
    /// One of these as `NAMESPACE/NAME`.
    AccountIn,
    PodIn,
    RequestIn,
}

/// Names for an argument that begin with what was typed, given what was said before.
pub fn of(argument: &str, typed: &str, given: &BTreeMap<String, String>) -> Vec<Candidate> {
    let said = |name: &str| given.get(name).cloned();
    let kube = KubeArgs { namespace: said("namespace"), context: said("context"), kubeconfig: said("kubeconfig").map(Into::into) };
    let named = match argument {
        "context" => return candidates(contexts(&kube), typed),
        "request" => Named::Request,
        "class" | "token_class" => Named::Class,
        "pod" => Named::Pod,
        "namespace" => Named::Namespace,
        "node" => Named::Node,
        "lease" => Named::Lease,
        "lock" => Named::Lock,
        "service_account" => Named::AccountIn,
        "holder" => Named::PodIn,
        "asked" => Named::RequestIn,
        _ => return vec![],
    };
    let place = Place { operator: said("operator_namespace").unwrap_or_else(|| "daypass-system".into()), typed: typed.to_owned() };
    // On a thread of its own: what a kubeconfig runs to log in blocks, and the program ends without waiting for it.
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(fetch(named, &kube, &place)));
    candidates(told.recv_timeout(WITHIN).ok().flatten().unwrap_or_default(), typed)
}

fn candidates(names: Vec<String>, typed: &str) -> Vec<Candidate> {
    let fitting = names.into_iter().filter(|name| name.starts_with(typed));
    fitting.map(|text| Candidate { text, about: String::new() }).collect()
}

fn contexts(kube: &KubeArgs) -> Vec<String> {
    let held = kube.held().map(|held| held.contexts).unwrap_or_default();
    held.into_iter().map(|context| context.name).collect()
}

/// Where to look.
struct Place {
    /// Namespace that Daypass runs in.
    operator: String,
    /// What was typed: perhaps a namespace already.
    typed: String,
}

impl Place {
    /// All of a kind in the namespace that was typed or said, else in every one.
    fn api<K>(&self, client: Client, said: Option<&str>) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match self.typed.split_once('/').map(|(namespace, _)| namespace).or(said) {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        }
    }
}

fn fetch(named: Named, kube: &KubeArgs, place: &Place) -> Option<Vec<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async {
        let Reach { config, namespace } = kube.reach().await.ok()?;
        let client = client::build(config, &Clock::default().into()).ok()?;
        match named {
            Named::Request => list(Api::<AccessRequest>::namespaced(client, &namespace)).await,
            Named::Class => list(Api::<CredentialClass>::all(client)).await,
            Named::Pod => list(Api::<Pod>::namespaced(client, &namespace)).await,
            Named::Namespace => list(Api::<Namespace>::all(client)).await,
            Named::Node => list(Api::<Node>::all(client)).await,
            Named::Lease => list(Api::<CredentialLease>::namespaced(client, &place.operator)).await,
            Named::Lock => list(Api::<AccessLock>::all(client)).await,
            Named::AccountIn => list_in(place.api::<ServiceAccount>(client, kube.namespace.as_deref())).await,
            Named::PodIn => list_in(place.api::<Pod>(client, kube.namespace.as_deref())).await,
            Named::RequestIn => list_in(place.api::<AccessRequest>(client, kube.namespace.as_deref())).await,
        }
    })
}

async fn list<K>(api: Api<K>) -> Option<Vec<String>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    Some(metadata(api).await?.iter().map(ResourceExt::name_any).collect())
}

async fn list_in<K>(api: Api<K>) -> Option<Vec<String>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    Some(metadata(api).await?.iter().map(|held| format!("{}/{}", held.namespace().unwrap_or_default(), held.name_any())).collect())
}

/// Names alone: what else is in them stays where it is.
async fn metadata<K>(api: Api<K>) -> Option<Vec<PartialObjectMeta<K>>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    Some(client::call(api.list_metadata(&ListParams::default().limit(MOST))).await.ok()?.items)
}
