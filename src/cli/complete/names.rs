//! Names of what there is, for arguments that name something: contexts from the kubeconfig, the rest from the cluster with the caller's own
//! rights, within a second. Whatever goes wrong, there is nothing to offer and nothing to say.

use std::{collections::BTreeMap, fmt::Debug, sync::mpsc, time::Duration};

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{Api, Resource, ResourceExt, api::ListParams};
use serde::de::DeserializeOwned;

use super::words::Candidate;
use crate::{
    api::{AccessRequest, CredentialClass},
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
        _ => return vec![],
    };
    // On a thread of its own: what a kubeconfig runs to log in blocks, and the program ends without waiting for it.
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(fetch(named, &kube)));
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

fn fetch(named: Named, kube: &KubeArgs) -> Option<Vec<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async {
        let Reach { config, namespace } = kube.reach().await.ok()?;
        let client = client::build(config, &Clock::default().into()).ok()?;
        match named {
            Named::Request => list(Api::<AccessRequest>::namespaced(client, &namespace)).await,
            Named::Class => list(Api::<CredentialClass>::all(client)).await,
            Named::Pod => list(Api::<Pod>::namespaced(client, &namespace)).await,
            Named::Namespace => list(Api::<Namespace>::all(client)).await,
        }
    })
}

/// Names alone: what else is in them stays where it is.
async fn list<K>(api: Api<K>) -> Option<Vec<String>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let listed = client::call(api.list_metadata(&ListParams::default().limit(MOST))).await.ok()?;
    Some(listed.items.iter().map(ResourceExt::name_any).collect())
}
