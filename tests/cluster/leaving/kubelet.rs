//! Plays scheduler and kubelet for the pods of the operator's namespace: the operator's own and those of a drain. Each is a process of the
//! real binary with its pod's arguments, environment and token, told to stop when its pod is deleted, and reported when it ends.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use devcluster::{
    supervisor::{Process, Spec},
    wait,
    workload::{self, TokenOptions},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use stage::{NODE, Operator, Stage};
use tokio::task::JoinHandle;

use crate::support::daypass;

/// Between two looks at the pods.
const EVERY: Duration = Duration::from_millis(100);
/// How long a pod may take to be there, on a machine under load.
const THERE_WITHIN: Duration = Duration::from_secs(60);

/// By name of the pod, whether it still runs or not.
type Containers = Arc<Mutex<BTreeMap<String, Arc<Operator>>>>;

/// A kubelet of one namespace.
pub struct Kubelet {
    containers: Containers,
    task: JoinHandle<()>,
}

impl Kubelet {
    /// Begins to look after the pods of the operator's namespace.
    pub fn begin(stage: &Arc<Stage>) -> Self {
        let containers = Containers::default();
        let (stage, shared) = (stage.clone(), containers.clone());
        let task = tokio::spawn(async move {
            loop {
                // While the API server is away nothing changes.
                let _ = look(&stage, &shared).await;
                tokio::time::sleep(EVERY).await;
            }
        });
        Self { containers, task }
    }

    /// The process of a pod whose name begins like this, the first that is not `but`.
    pub async fn container(&self, prefix: &str, but: &[String]) -> (String, Arc<Operator>) {
        let look = || async {
            let containers = self.containers.lock().unwrap();
            let mut found = containers.iter().filter(|(name, _)| name.starts_with(prefix) && !but.contains(name));
            found.next().map(|(name, container)| (name.clone(), container.clone()))
        };
        wait::until(&format!("a pod {prefix}…"), THERE_WITHIN, look).await.unwrap()
    }

    /// The operator's process, once it issues.
    pub async fn operator(&self) -> (String, Arc<Operator>) {
        let found = self.container("daypass-", &self.names("daypass-drain")).await;
        found.1.ready().await.unwrap();
        found
    }

    /// What the pods whose names begin like this have said so far.
    pub fn log(&self, prefix: &str) -> String {
        let containers = self.containers.lock().unwrap();
        let logs = containers.iter().filter(|(name, _)| name.starts_with(prefix));
        logs.map(|(_, container)| std::fs::read_to_string(container.process.log()).unwrap_or_default()).collect()
    }

    /// Names of the pods that begin like this.
    pub fn names(&self, prefix: &str) -> Vec<String> {
        self.containers.lock().unwrap().keys().filter(|name| name.starts_with(prefix)).cloned().collect()
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look(stage: &Stage, containers: &Containers) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (admin, home) = (stage.cluster.admin()?, stage.operator_name().namespace.clone());
    for pod in Api::<Pod>::namespaced(admin.clone(), &home).list(&ListParams::default()).await?.items {
        let name = pod.name_any();
        let running = containers.lock().unwrap().get(&name).cloned();
        let phase = pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
        match running {
            _ if pod.metadata.deletion_timestamp.is_some() => {
                if let Some(running) = running {
                    running.stop().await;
                }
                workload::delete_pod_now(&admin, &home, &name).await?;
            }
            None if pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_none()) => bind(&admin, &home, &name).await?,
            None if phase == "Pending" => {
                let container = start(stage, &admin, &pod).await?;
                containers.lock().unwrap().insert(name.clone(), Arc::new(container));
                report(&admin, &home, &name, "Running").await?;
            }
            Some(running) if phase == "Running" => {
                if let Some(exit) = running.process.exit() {
                    report(&admin, &home, &name, if exit.success() { "Succeeded" } else { "Failed" }).await?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

async fn bind(admin: &Client, namespace: &str, pod: &str) -> kube::Result<()> {
    let target = json!({"apiVersion": "v1", "kind": "Node", "name": NODE});
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod}, "target": target});
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/binding");
    let request = http::Request::post(path).header("content-type", "application/json").body(binding.to_string().into_bytes()).unwrap();
    admin.request::<Value>(request).await.map(drop)
}

async fn start(stage: &Stage, admin: &Client, pod: &Pod) -> Result<Operator, Box<dyn std::error::Error + Send + Sync>> {
    let name = pod.name_any();
    let (token_file, kubeconfig) = (stage.file(&format!("{name}.token")), stage.file(&format!("{name}.kubeconfig")));
    std::fs::write(&token_file, workload::bound_token(admin, pod, &TokenOptions::default()).await?)?;
    let server = stage.cluster.server_urls().remove(0);
    stage.cluster.kubeconfig_with_token_file(&kubeconfig, &token_file, &server)?;
    let container = serde_json::to_value(&pod.spec)?["containers"][0].clone();
    let args: Vec<String> = serde_json::from_value(container["args"].clone())?;
    let mut spec = Spec::new(daypass(), stage.file(&format!("{name}.log"))).args(args).env("KUBECONFIG", &kubeconfig);
    for variable in container["env"].as_array().into_iter().flatten() {
        let value = match variable.pointer("/valueFrom/fieldRef/fieldPath").and_then(Value::as_str) {
            Some("metadata.namespace") => pod.namespace().unwrap_or_default(),
            Some("metadata.name") => name.clone(),
            _ => variable["value"].as_str().unwrap_or_default().to_owned(),
        };
        spec = spec.env(variable["name"].as_str().unwrap_or_default(), value);
    }
    spec.grace = Duration::from_secs(30);
    Ok(Operator { process: Process::start(spec)?, kubeconfig, token_file })
}

async fn report(admin: &Client, namespace: &str, pod: &str, phase: &str) -> kube::Result<()> {
    let status = Patch::Merge(json!({"status": {"phase": phase}}));
    Api::<Pod>::namespaced(admin.clone(), namespace).patch_status(pod, &PatchParams::default(), &status).await.map(drop)
}
