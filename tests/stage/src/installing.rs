//! Applies what an installation consists of, in the order that `install` gives: a rejected policy must stop the installer before its binding
//! is created, or the binding would be silently open.

use std::time::Duration;

use daypass::{
    api,
    install::{
        Values,
        guard::{STAMPS, VERIFY},
        manifests,
    },
};
use devcluster::{Cluster, wait};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    core::{DynamicObject, GroupVersionKind},
    discovery,
};
use serde_json::Value;

use crate::Error;

/// How long the API server may take to serve a new kind.
const SERVED_WITHIN: Duration = Duration::from_secs(30);

/// Applies CRDs, waits until they are served, then applies everything else but the workload: the stage runs the operator itself.
pub async fn install(cluster: &Cluster, values: &Values) -> Result<(), Error> {
    let client = cluster.admin()?;
    for crd in api::crds() {
        let value = serde_json::to_value(&crd).unwrap_or_default();
        apply(&client, &value).await?;
    }
    for plural in ["accessrequests", "credentialleases", "credentialclasses", "clusteraccesspolicies", "accesspolicies", "accesslocks"] {
        wait::until(&format!("{plural} to be served"), SERVED_WITHIN, || async {
            let path = format!("/apis/daypass.dev/v1alpha1/{plural}?limit=1");
            let request = http::Request::get(path).body(vec![]).ok()?;
            client.request_text(request).await.ok()
        })
        .await?;
    }
    // The binding of the stamp comes last: once it acts, everything that was applied before it does.
    let is_stamp = |object: &Value| object["kind"] == "MutatingAdmissionPolicyBinding" && object["metadata"]["name"] == STAMPS[0];
    let (stamp, others): (Vec<Value>, Vec<Value>) = manifests(values).into_iter().partition(is_stamp);
    for object in others.iter().chain(&stamp).filter(|object| object["kind"] != "Deployment") {
        apply(&client, object).await?;
    }
    stamped(&client).await
}

/// Waits until the API server stamps and verifies: what an administrator asks for, in a dry run, is then refused by verify and no longer by
/// the schema for want of a requester.
async fn stamped(client: &Client) -> Result<(), Error> {
    let body = serde_json::json!({
        "apiVersion": "daypass.dev/v1alpha1", "kind": "AccessRequest", "metadata": {"name": "is-it-stamped"}, "spec": {"className": "none"},
    });
    wait::until("the stamp to be in force", SERVED_WITHIN, || async {
        let request = http::Request::post("/apis/daypass.dev/v1alpha1/namespaces/default/accessrequests?dryRun=All");
        let request = request.header("content-type", "application/json").body(body.to_string().into_bytes()).ok()?;
        match client.request_text(request).await {
            Err(kube::Error::Api(status)) if status.code == 403 && status.message.contains(VERIFY) => Some(()),
            _ => None,
        }
    })
    .await?;
    Ok(())
}

/// Applies one object of any kind by server-side apply, as an installer would.
pub async fn apply(client: &Client, object: &Value) -> Result<DynamicObject, Error> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = text("/apiVersion").rsplit_once('/').unwrap_or(("", text("/apiVersion")));
    let what = format!("apply {} {}", text("/kind"), text("/metadata/name"));
    let kind = GroupVersionKind::gvk(group, version, text("/kind"));
    let (resource, capabilities) = discovery::pinned_kind(client, &kind).await.map_err(Error::api(what.clone()))?;
    let api: Api<DynamicObject> = match (capabilities.scope, text("/metadata/namespace")) {
        (discovery::Scope::Namespaced, namespace) if !namespace.is_empty() => Api::namespaced_with(client.clone(), namespace, &resource),
        (discovery::Scope::Namespaced, _) => Api::default_namespaced_with(client.clone(), &resource),
        (discovery::Scope::Cluster, _) => Api::all_with(client.clone(), &resource),
    };
    let wanted: DynamicObject =
        serde_json::from_value(object.clone()).map_err(|error| Error::Api { what: what.clone(), error: kube::Error::SerdeError(error) })?;
    let params = PatchParams::apply("installer").force();
    api.patch(&wanted.name_any(), &params, &Patch::Apply(&wanted)).await.map_err(Error::api(what))
}
