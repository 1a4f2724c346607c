//! The pod's side: the real binary, with nothing but what a kubelet gives a container.

mod agent;
mod exec;
mod faults;
mod requests;

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use daypass::api::{AccessRequest, CredentialLease};
use devcluster::{supervisor::Process, wait};
use kube::ResourceExt;
use rcgen::KeyPair;
use stage::Mount;

use crate::{
    judges::{Handed, judge},
    scene::{SOON, Scene},
    support::daypass,
};

/// The container of one pod: what is mounted into it.
pub struct Container<'s> {
    scene: &'s Scene<'s>,
    mount: Mount,
}

/// An agent that runs.
pub struct Agent {
    process: Process,
    directory: PathBuf,
}

impl<'s> Container<'s> {
    /// Of the scene's pod.
    pub fn new(scene: &'s Scene<'s>) -> Self {
        Self { scene, mount: scene.pod.mount(scene.stage).unwrap() }
    }

    /// A path in the volume that the containers share.
    pub fn path(&self, name: &str) -> PathBuf {
        self.mount.volume.join(name)
    }

    /// Starts an agent of the scene's class, with its files in this directory of the volume.
    pub fn agent(&self, directory: &str, args: &[&str]) -> Agent {
        let directory = self.path(directory);
        let fixed = ["agent", "--class", &self.scene.name, "--dir", directory.to_str().unwrap(), "--listen", "127.0.0.1:0"];
        self.start(&[&fixed[..], args].concat(), directory.clone())
    }

    /// Starts an agent with exactly these arguments.
    pub fn start(&self, args: &[&str], directory: PathBuf) -> Agent {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let log = self.path(&format!("agent-{}.log", STARTED.fetch_add(1, Ordering::Relaxed)));
        Agent { process: self.mount.start(&daypass(), &log, args).unwrap(), directory }
    }

    /// Runs a command of the pod to its end.
    pub async fn run(&self, args: &[&str]) -> Said {
        let mut command = tokio::process::Command::from(self.mount.command(&daypass(), args));
        let output = tokio::time::timeout(2 * SOON, command.kill_on_drop(true).stdin(std::process::Stdio::null()).output()).await;
        let output = output.expect("it ends").unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// `daypass exec` of the scene's class with these arguments, a `--` among them.
    pub async fn exec(&self, args: &[&str]) -> Said {
        self.run(&[&["exec", "--class", &self.scene.name], args].concat()).await
    }
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub struct Said {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Agent {
    /// A file of the credential.
    pub fn file(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.directory.join(name)).ok()
    }

    /// Status and text of a path of its port.
    pub async fn get(&self, path: &str) -> (u16, String) {
        stage::get(&stage::listening(&self.process).await.unwrap(), path).await.unwrap()
    }

    /// Waits until it says that it is ready.
    pub async fn ready(&self) {
        let ready = wait::until("the agent to be ready", SOON, || async {
            assert!(self.process.exit().is_none(), "the agent ended: {}", self.log());
            (self.get("/readyz").await.0 == 200).then_some(())
        });
        ready.await.unwrap_or_else(|error| panic!("{error}: {}", self.log()));
    }

    /// Waits until another certificate than this one is in place, and returns it.
    pub async fn renewed(&self, last: &str) -> String {
        let fresh = wait::until("a renewal", 2 * SOON, || async { self.file("tls.crt").filter(|chain| chain != last) });
        fresh.await.unwrap_or_else(|error| panic!("{error}: {}", self.log()))
    }

    /// Everything that it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.process.log()).unwrap_or_default()
    }
}

/// The requests that the scene's pod has made, as the administrator sees them.
pub async fn requests(scene: &Scene<'_>) -> Vec<AccessRequest> {
    scene.requests().list(&Default::default()).await.unwrap().items
}

/// The leases of the scene's pod.
pub async fn leases(scene: &Scene<'_>) -> Vec<CredentialLease> {
    let uid = scene.pod.pod.uid().unwrap();
    scene.stage.leases().await.unwrap().into_iter().filter(|lease| lease.spec.requester.pod_uid == uid).collect()
}

/// Asserts that what lies in a directory is the credential of an open lease, for the key beside it.
pub async fn judged(scene: &Scene<'_>, directory: &Path) {
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
    let (chain, roots, key) = (read("tls.crt"), read("ca.crt"), KeyPair::from_pem(&read("tls.key")).unwrap());
    let serial = crate::judges::serial(&chain);
    let lease = leases(scene).await.into_iter().find(|lease| lease.spec.serial() == Some(&serial)).expect("a credential without a lease");
    judge(Handed { chain: &chain, roots: &roots }, &lease, &key);
    assert_eq!(read("expires-at").trim(), lease.spec.expires_at.to_string());
}

/// Waits until no request of the scene is left.
pub async fn all_given_back(scene: &Scene<'_>) {
    let none = || async { requests(scene).await.is_empty().then_some(()) };
    if let Err(error) = wait::until("every request to be given back", SOON, none).await {
        let left = requests(scene)
            .await
            .into_iter()
            .map(|request| (request.name_any(), request.spec.purpose, request.status.map(|s| (s.state, s.reason))));
        panic!("{error}; left: {:?}", left.collect::<Vec<_>>());
    }
}

/// A moment for what must not happen; where something else can be waited for, that is better.
pub const A_MOMENT: Duration = Duration::from_secs(3);
