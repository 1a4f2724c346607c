//! The command lines of the control plane.
//!
//! Pure: paths and ports in, a [`Spec`] out. Where the flags come from: the minimal secure set of Kubernetes 1.37, measured.

use std::path::{Path, PathBuf};

use super::Options;
use crate::{binaries::ControlPlane, pki::Pki, supervisor::Spec};

/// Everything is logged, bodies never: a body would put tokens into the log.
pub(super) const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
";

/// Where things lie in a cluster's directory.
#[derive(Clone, Debug)]
pub(super) struct Layout(pub PathBuf);

impl Layout {
    pub fn pki(&self) -> PathBuf {
        self.0.join("pki")
    }

    pub fn etcd(&self) -> PathBuf {
        self.0.join("etcd")
    }

    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.0.join("kubeconfig")
    }

    pub fn controller_manager_kubeconfig(&self) -> PathBuf {
        self.0.join("kube-controller-manager.kubeconfig")
    }

    pub fn audit_policy(&self) -> PathBuf {
        self.0.join("audit-policy.yaml")
    }

    pub fn audit_log(&self, server: usize) -> PathBuf {
        self.0.join(format!("audit-{server}.jsonl"))
    }

    pub fn log(&self, component: &str) -> PathBuf {
        self.0.join("logs").join(format!("{component}.log"))
    }
}

/// The name of an API server's process.
pub(super) fn apiserver_name(server: usize) -> String {
    format!("kube-apiserver-{server}")
}

/// One member, on loopback without authentication, as in envtest: whoever is on this machine as somebody else can reach it.
pub(super) fn etcd(binaries: &ControlPlane, layout: &Layout, client: &str, peer: &str) -> Spec {
    Spec::new(&binaries.etcd, layout.log("etcd"))
        .args([flag("data-dir", layout.etcd())])
        .args(["--name=devcluster", "--unsafe-no-fsync=true", "--log-level=warn"])
        .args([format!("--listen-client-urls={client}"), format!("--advertise-client-urls={client}")])
        .args([format!("--listen-peer-urls={peer}"), format!("--initial-advertise-peer-urls={peer}")])
        .args([format!("--initial-cluster=devcluster={peer}")])
}

/// One of the API servers.
pub(super) fn apiserver(
    binaries: &ControlPlane,
    layout: &Layout,
    pki: &Pki,
    etcd: &str,
    server: usize,
    port: u16,
    options: &Options,
) -> Spec {
    let name = apiserver_name(server);
    let mut spec = Spec::new(&binaries.kube_apiserver, layout.log(&name))
        .args([format!("--etcd-servers={etcd}"), format!("--secure-port={port}")])
        .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"])
        // A loopback address in the endpoints of `kubernetes` is refused, and the lease reconciler aborts over it.
        .args(["--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.0.0.0/24"])
        .args(["--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true"])
        .args([flag("client-ca-file", pki.file("ca.crt")), flag("cert-dir", layout.0.join(&name))])
        .args([flag("tls-cert-file", pki.file("apiserver.crt")), flag("tls-private-key-file", pki.file("apiserver.key"))])
        .args(["--service-account-issuer=https://kubernetes.default.svc"])
        .args([flag("service-account-key-file", pki.file("service-accounts.pub"))])
        .args([flag("service-account-signing-key-file", pki.file("service-accounts.key"))])
        .args([flag("audit-policy-file", layout.audit_policy()), flag("audit-log-path", layout.audit_log(server))])
        // Never rotated: tests read it whole.
        .args(["--audit-log-format=json", "--audit-log-maxsize=100000", "--profiling=false"])
        .args(&options.apiserver_args);
    spec.grace = std::time::Duration::from_secs(5);
    spec
}

/// kube-controller-manager, without the controllers that would mourn nodes on which no kubelet runs.
pub(super) fn controller_manager(binaries: &ControlPlane, layout: &Layout, pki: &Pki, options: &Options) -> Spec {
    let controllers = match options.node_controllers {
        true => "*",
        false => "*,-node-lifecycle-controller,-taint-eviction-controller,-pod-garbage-collector-controller",
    };
    Spec::new(&binaries.kube_controller_manager, layout.log("kube-controller-manager"))
        .args([flag("kubeconfig", layout.controller_manager_kubeconfig())])
        .args([format!("--controllers={controllers}")])
        .args([flag("root-ca-file", pki.file("ca.crt"))])
        .args([flag("service-account-private-key-file", pki.file("service-accounts.key"))])
        // One instance, and it serves nothing: no election, no port.
        .args(["--use-service-account-credentials=true", "--leader-elect=false", "--secure-port=0", "--profiling=false"])
        // The defaults make a test wait for the service account of each new namespace.
        .args(["--kube-api-qps=500", "--kube-api-burst=1000"])
        .args(&options.controller_manager_args)
}

fn flag(name: &str, value: impl AsRef<Path>) -> std::ffi::OsString {
    let mut flag = std::ffi::OsString::from(format!("--{name}="));
    flag.push(value.as_ref());
    flag
}
