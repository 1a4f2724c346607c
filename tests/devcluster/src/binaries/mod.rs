//! Finds the programs of the control plane, each on its own: in `KUBEBUILDER_ASSETS`, else in a per-user cache, else builds it once.
//!
//! The versions are pinned by the Go modules beside this crate. Nothing is downloaded but their sources, by the Go toolchain. Called by
//! [`crate::Cluster::start`] and by tests that need `helm` or `kstatus`.

mod build;

use std::{
    env, io,
    path::{Path, PathBuf},
};

/// Why a program is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is nowhere, and cannot be built here.
    #[error(
        "{missing} of {release} not found, neither in KUBEBUILDER_ASSETS ({assets}) nor in the cache ({cache}), and cannot be built: {problem}. \
         Either install Go {go} or later (https://go.dev/dl/) and run this again: it builds once and keeps the result. Or set \
         KUBEBUILDER_ASSETS to a directory that holds the programs; the published sets never hold kube-controller-manager (nor helm), so \
         put one of that release there yourself.",
        go = build::NEEDED_GO
    )]
    Nowhere {
        /// The programs.
        missing: String,
        /// Of which release.
        release: &'static str,
        /// What `KUBEBUILDER_ASSETS` says.
        assets: String,
        /// Where else they were looked for.
        cache: PathBuf,
        /// What is wrong with the Go toolchain.
        problem: String,
    },
    /// `go build` failed.
    #[error("building {program} failed ({exit}); the last lines of {log}:\n{tail}", log = .log.display())]
    Build {
        /// The program.
        program: &'static str,
        /// How the build ended.
        exit: String,
        /// Where its output is.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// The build could not be started.
    #[error(transparent)]
    Supervisor(#[from] crate::supervisor::Error),
    /// The cache could not be written.
    #[error("cannot use the cache {path}: {source}", path = .path.display())]
    Cache {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The programs of a control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlPlane {
    /// The store.
    pub etcd: PathBuf,
    /// The API server.
    pub kube_apiserver: PathBuf,
    /// Garbage collection, quota, namespaces, service accounts.
    pub kube_controller_manager: PathBuf,
    /// For people, and for tests of what people see.
    pub kubectl: PathBuf,
}

/// The programs of [`KUBERNETES`], built where need be, with progress on stderr.
pub async fn control_plane() -> Result<ControlPlane, Error> {
    let [etcd, kube_apiserver, kube_controller_manager, kubectl] = all(&CONTROL_PLANE).await?;
    Ok(ControlPlane { etcd, kube_apiserver, kube_controller_manager, kubectl })
}

/// Helm, for tests of the chart; built where need be, with progress on stderr.
pub async fn helm() -> Result<PathBuf, Error> {
    let [helm] = all(&HELM).await?;
    Ok(helm)
}

/// The judge of status that GitOps tools use, for tests of what status says; built where need be, with progress on stderr. It reads objects
/// as JSON from standard input and prints a line of JSON for each, `{"status": …, "message": …}`.
pub async fn kstatus() -> Result<PathBuf, Error> {
    let [kstatus] = all(&KSTATUS).await?;
    Ok(kstatus)
}

/// Go's own HPKE, for tests of what is sealed; built where need be, with progress on stderr. It reads jobs as JSON from standard input and
/// prints a line of JSON for each.
pub async fn opener() -> Result<PathBuf, Error> {
    let [opener] = all(&OPENER).await?;
    Ok(opener)
}

/// Where built programs are kept: `DAYPASS_CACHE`, else `XDG_CACHE_HOME/daypass`, else `~/.cache/daypass`.
pub fn cache_root() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("DAYPASS_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("daypass")))
        .or_else(|| Some(set("HOME")?.join(".cache/daypass")))
        .unwrap_or_else(|| env::temp_dir().join("daypass-cache"))
}

/// What is built here.
pub const KUBERNETES: &str = "Kubernetes v1.37.2";

/// A pinned Go module whose tools are programs that we need.
struct Release<const N: usize> {
    /// What it releases, and which.
    title: &'static str,
    /// The directory in the cache.
    directory: &'static str,
    /// The directory of its `go.mod`.
    module: &'static str,
    /// Linker flags: without the version in them the programs report nonsense, and clients fail to parse it.
    ldflags: &'static str,
    programs: [Program; N],
}

struct Program {
    name: &'static str,
    package: &'static str,
    /// Measured on two cores with empty caches, in seconds.
    takes: u32,
}

/// Kubernetes and the etcd it is released with.
const CONTROL_PLANE: Release<4> = Release {
    title: KUBERNETES,
    directory: "kubernetes-v1.37.2",
    module: concat!(env!("CARGO_MANIFEST_DIR"), "/controlplane"),
    ldflags: "-s -w -X k8s.io/component-base/version.gitVersion=v1.37.2 -X k8s.io/component-base/version.gitMajor=1 \
              -X k8s.io/component-base/version.gitMinor=37 -X k8s.io/component-base/version.gitTreeState=clean",
    programs: [
        Program { name: "etcd", package: "go.etcd.io/etcd/server/v3", takes: 70 },
        Program { name: "kube-apiserver", package: "k8s.io/kubernetes/cmd/kube-apiserver", takes: 410 },
        Program { name: "kube-controller-manager", package: "k8s.io/kubernetes/cmd/kube-controller-manager", takes: 160 },
        Program { name: "kubectl", package: "k8s.io/kubernetes/cmd/kubectl", takes: 40 },
    ],
};

const HELM: Release<1> = Release {
    title: "Helm v4.3.1",
    directory: "helm-v4.3.1",
    module: concat!(env!("CARGO_MANIFEST_DIR"), "/helm"),
    ldflags: "-s -w -X helm.sh/helm/v4/internal/version.version=v4.3.1",
    programs: [Program { name: "helm", package: "helm.sh/helm/v4/cmd/helm", takes: 180 }],
};

/// The library is somebody else's, the program around it is ours.
const KSTATUS: Release<1> = Release {
    title: "kstatus v0.37.2",
    // The last number is the program's: it rises when `main.go` changes, or the cache would keep the old one.
    directory: "kstatus-v0.37.2-1",
    module: concat!(env!("CARGO_MANIFEST_DIR"), "/../kstatus"),
    ldflags: "-s -w",
    programs: [Program { name: "kstatus", package: ".", takes: 30 }],
};

/// The library is Go's, the program around it is ours.
const OPENER: Release<1> = Release {
    title: "Go's crypto/hpke",
    // The number is the program's, as above.
    directory: "opener-go-1",
    module: concat!(env!("CARGO_MANIFEST_DIR"), "/../openers/go"),
    ldflags: "-s -w",
    programs: [Program { name: "opener", package: ".", takes: 10 }],
};

/// All programs of a release, in its order.
async fn all<const N: usize>(release: &Release<N>) -> Result<[PathBuf; N], Error> {
    let assets = env::var_os("KUBEBUILDER_ASSETS").filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = cache_root().join(release.directory);
    let missing: Vec<_> = release.programs.iter().filter(|program| find(program.name, assets.as_deref(), &cache).is_none()).collect();
    if !missing.is_empty() {
        build::build(release, &missing, assets.as_deref(), &cache).await?;
    }
    Ok(release.programs.each_ref().map(|program| find(program.name, assets.as_deref(), &cache).unwrap_or_else(|| cache.join(program.name))))
}

/// Where a program is now.
fn find(name: &str, assets: Option<&Path>, cache: &Path) -> Option<PathBuf> {
    assets.into_iter().chain([cache]).map(|directory| directory.join(name)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests;
