//! Plays scheduler and kubelet for one pod that a controller made of a recipe's manifest: a node, a token, its volumes, and the commands of
//! its containers ([`Launch`]). What it cannot play is isolation: all containers share this machine's files and processes.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use daypass::api::{AccessRequest, CredentialLease, RequestState};
use devcluster::{
    supervisor::Process,
    wait,
    workload::{self, TokenOptions},
};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use stage::{Mount, NODE};

use super::{
    applied::NAMESPACE,
    launch::{Launch, Paths},
    page::{containers, words},
};
use crate::{
    pods,
    scene::{SOON, Scene},
    support::{Running, daypass},
};

/// The port of an agent that is told no other, as manifests name it.
pub const AGENT_PORT: u64 = 8186;

/// A pod on this machine.
pub struct Hosted<'s> {
    /// Where its requests and leases are looked for.
    pub scene: Scene<'s>,
    /// Its mounted token, and the volumes that are in memory.
    pub mount: Mount,
    spec: Value,
    disk: PathBuf,
    more: Vec<(String, String)>,
}

impl<'s> Hosted<'s> {
    /// Takes a pod with this label `app` that a controller has made and nobody runs yet.
    pub async fn take(here: &'s Running, app: &str) -> Self {
        Self::first(here, app, ListParams::default().labels(&format!("app={app}")).fields("spec.nodeName=,status.phase=Pending")).await
    }

    /// Takes the pod of this name.
    pub async fn take_named(here: &'s Running, name: &str) -> Self {
        Self::first(here, name, ListParams::default().fields(&format!("metadata.name={name},spec.nodeName="))).await
    }

    async fn first(here: &'s Running, app: &str, mine: ListParams) -> Self {
        let admin = here.stage.cluster.admin().unwrap();
        let pods = Api::<Pod>::namespaced(admin.clone(), NAMESPACE);
        let what = format!("a pod of {app}");
        let bound = wait::until(&what, SOON, || async {
            let found = pods.list(&mine).await.ok()?.items.into_iter().find(|pod| pod.metadata.deletion_timestamp.is_none())?;
            bind(&admin, &found.name_any()).await.ok()?;
            pods.get(&found.name_any()).await.ok()
        });
        let pod = bound.await.unwrap();
        let token = workload::bound_token(&admin, &pod, &TokenOptions::default()).await.unwrap();
        let client = here.stage.cluster.client_with_token(&token).unwrap();
        let pod = stage::Pod { namespace: NAMESPACE.into(), pod, token, client };
        let mount = pod.mount(&here.stage).unwrap();
        let spec = serde_json::to_value(&pod.pod.spec).unwrap();
        let disk = here.stage.file(&format!("{}.volumes", pod.pod.name_any()));
        let scene = Scene { stage: &here.stage, name: app.into(), namespace: NAMESPACE.into(), pod, admin };
        let hosted = Self { scene, mount, spec, disk, more: Vec::new() };
        for name in hosted.spec["volumes"].as_array().into_iter().flatten().map(|volume| volume["name"].as_str().unwrap()) {
            let path = hosted.volume(name);
            std::fs::create_dir_all(&path).unwrap();
            // As an emptyDir is.
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
        }
        hosted
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.scene.pod.pod.name_any()
    }

    /// Where a volume is on this machine: in memory if the manifest says so.
    pub fn volume(&self, name: &str) -> PathBuf {
        let volume = self.spec["volumes"].as_array().into_iter().flatten().find(|volume| volume["name"] == name);
        let volume = volume.unwrap_or_else(|| panic!("no volume {name}"));
        if volume["emptyDir"]["medium"] == "Memory" { self.mount.volume.join(name) } else { self.disk.join(name) }
    }

    /// From now on this text is replaced by that one in what containers are given, for instance a port.
    pub fn replace(&mut self, this: &str, that: &str) {
        self.more.push((this.into(), that.into()));
    }

    /// A container, ready to be started: its own command, environment and mounts, with the paths of this machine.
    pub async fn container(&self, name: &str) -> Launch {
        let container = self.of(name);
        let paths = self.paths(container);
        self.lay_out_config_maps(container, &paths).await;
        let (mut command, args) = (words(&container["command"]), words(&container["args"]));
        if command.is_empty() && is_daypass(container) {
            // The entrypoint of Daypass's image.
            command.push(daypass().display().to_string());
        }
        let variables = container["env"].as_array().into_iter().flatten();
        let variable = |v: &Value| (v["name"].as_str().unwrap().to_owned(), paths.here(v["value"].as_str().expect("a plain value")));
        let mut env: Vec<_> = variables.map(variable).collect();
        env.extend(self.mount.environment().map(|(name, value)| (name.to_owned(), value)));
        // Pods have addresses of their own; here everybody shares one.
        env.push(("DAYPASS_AGENT_LISTEN".into(), "127.0.0.1:0".into()));
        let words = command.iter().chain(&args).map(|word| paths.here(word)).collect();
        Launch { words, env, paths, log: self.disk.join(format!("{name}.log")) }
    }

    /// Waits until the startup probe of a sidecar succeeds, as a kubelet does before it starts the next container.
    pub async fn started(&self, name: &str, process: &Process) {
        let container = self.of(name);
        assert_eq!(container["restartPolicy"], "Always", "{name} is no sidecar");
        let probe = &container["startupProbe"]["httpGet"];
        let named = container["ports"].as_array().into_iter().flatten().find(|port| port["name"] == probe["port"]);
        assert_eq!(named.map_or(&probe["port"], |port| &port["containerPort"]), &json!(AGENT_PORT));
        let path = probe["path"].as_str().unwrap();
        let log = || std::fs::read_to_string(process.log()).unwrap_or_default();
        let what = format!("{name} to be up");
        let up = wait::until(&what, SOON, || async {
            assert!(process.exit().is_none(), "{name} ended: {}", log());
            let address = stage::listening(process).await.ok()?;
            stage::get(&address, path).await.ok().filter(|(status, _)| *status == 200)
        });
        up.await.unwrap_or_else(|error| panic!("{error}: {}", log()));
    }

    /// One look at the volumes of Secrets: what is there now is in them now.
    pub async fn look_at_secrets(&self) {
        let secrets = Api::<Secret>::namespaced(self.scene.admin.clone(), NAMESPACE);
        for volume in self.spec["volumes"].as_array().into_iter().flatten().filter(|volume| !volume["secret"].is_null()) {
            let (path, secret) = (self.volume(volume["name"].as_str().unwrap()), &volume["secret"]);
            let found = secrets.get_opt(secret["secretName"].as_str().unwrap()).await.unwrap();
            assert!(found.is_some() || secret["optional"] == true, "without this Secret the pod's volumes are not mounted");
            for file in std::fs::read_dir(&path).unwrap().flatten() {
                std::fs::remove_file(file.path()).unwrap();
            }
            for (key, bytes) in found.and_then(|secret| secret.data).unwrap_or_default() {
                std::fs::write(path.join(key), bytes.0).unwrap();
            }
        }
    }

    /// Reports that all containers have ended: the main ones with this exit code, init containers and sidecars with 0.
    pub async fn finish(&self, exit_code: i32) {
        let ended = |field: &str, code: i32| -> Vec<Value> {
            let containers = self.spec[field].as_array().into_iter().flatten();
            let status = |container: &Value| {
                json!({
                    "name": container["name"], "image": container["image"], "imageID": container["image"], "ready": false, "restartCount": 0,
                    "state": {"terminated": {"exitCode": code}},
                })
            };
            containers.map(status).collect()
        };
        let phase = if exit_code == 0 { "Succeeded" } else { "Failed" };
        let status = json!({"status": {
            "phase": phase, "initContainerStatuses": ended("initContainers", 0), "containerStatuses": ended("containers", exit_code),
        }});
        let pods = Api::<Pod>::namespaced(self.scene.admin.clone(), NAMESPACE);
        pods.patch_status(&self.name(), &PatchParams::default(), &Patch::Strategic(status)).await.unwrap();
    }

    /// The requests of this pod.
    pub async fn requests(&self) -> Vec<AccessRequest> {
        let uid = self.scene.pod.pod.uid().unwrap();
        pods::requests(&self.scene).await.into_iter().filter(|request| request.spec.requester.pod_uid == uid).collect()
    }

    /// Waits until the pod has given back everything: it has no request but denied ones, and its leases know why.
    pub async fn given_back(&self) {
        let none = || async { self.requests().await.iter().all(|request| request.state() == RequestState::Denied).then_some(()) };
        wait::until("every request to be given back", SOON, none).await.unwrap();
        let known = || async {
            self.leases().await.iter().all(|lease| lease.status.as_ref().is_some_and(|status| status.reason.is_some())).then_some(())
        };
        wait::until("the leases to know", SOON, known).await.unwrap();
        let reasons: Vec<_> =
            self.leases().await.into_iter().filter_map(|lease| lease.status?.reason).map(|reason| reason.as_str()).collect();
        assert!(!reasons.is_empty() && reasons.iter().all(|reason| ["Completed", "Expired"].contains(reason)), "{reasons:?}");
    }

    /// The leases of this pod.
    pub async fn leases(&self) -> Vec<CredentialLease> {
        pods::leases(&self.scene).await
    }

    /// A field of a container.
    pub fn field(&self, container: &str, pointer: &str) -> Value {
        self.of(container).pointer(pointer).cloned().unwrap_or_default()
    }

    /// A field of the pod's spec.
    pub fn pod_field(&self, pointer: &str) -> Value {
        self.spec.pointer(pointer).cloned().unwrap_or_default()
    }

    fn of(&self, name: &str) -> &Value {
        containers(&self.spec).find(|container| container["name"] == name).unwrap_or_else(|| panic!("no container {name}"))
    }

    /// Where this container's mounts are.
    fn paths(&self, container: &Value) -> Paths {
        let mounts = container["volumeMounts"].as_array().into_iter().flatten();
        let mounts = mounts.filter(|mount| mount["mountPath"] != "/var/run/secrets/kubernetes.io/serviceaccount");
        let place = |mount: &Value| {
            let (path, volume) = (mount["mountPath"].as_str().unwrap(), mount["name"].as_str().unwrap());
            (path.to_owned(), self.volume(volume))
        };
        Paths { mounts: mounts.map(place).collect(), more: self.more.clone() }
    }

    async fn lay_out_config_maps(&self, container: &Value, paths: &Paths) {
        let maps = Api::<ConfigMap>::namespaced(self.scene.admin.clone(), NAMESPACE);
        let mounted: Vec<_> = container["volumeMounts"].as_array().into_iter().flatten().map(|mount| mount["name"].clone()).collect();
        for volume in self.spec["volumes"].as_array().into_iter().flatten().filter(|volume| mounted.contains(&volume["name"])) {
            let Some(name) = volume["configMap"]["name"].as_str() else { continue };
            let map = maps.get(name).await.unwrap_or_else(|error| panic!("ConfigMap {name}: {error}"));
            for (file, text) in map.data.unwrap_or_default() {
                write(&self.volume(volume["name"].as_str().unwrap()).join(file), &paths.here(&text));
            }
        }
    }
}

impl Drop for Hosted<'_> {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.disk).ok();
    }
}

/// Whether a container runs the image of this version of Daypass.
pub fn is_daypass(container: &Value) -> bool {
    container["image"] == json!(daypass::install::Values::default().image)
}

async fn bind(admin: &Client, pod: &str) -> kube::Result<Value> {
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod}, "target": {"apiVersion": "v1", "kind": "Node", "name": NODE},
    });
    let request =
        http::Request::post(format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}/binding")).header("content-type", "application/json");
    admin.request(request.body(binding.to_string().into_bytes()).unwrap()).await
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
