//! The plugin of kubectl: the real binary under the names by which the real kubectl finds it, as people with rights of their own.

mod completion;
mod detail;
mod list;
mod rights;

use std::{
    collections::BTreeSet,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Mutex,
};

use serde_json::json;
use stage::Stage;

use crate::{pods::Said, scene::SOON, support::daypass};

/// A directory of the stage that holds the program under its three names.
fn names(stage: &Stage) -> PathBuf {
    // Each control plane's directory goes with it.
    static MADE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let (mut made, directory) = (MADE.lock().unwrap(), stage.file("plugin"));
    if made.insert(directory.clone()) {
        std::fs::create_dir(&directory).unwrap();
        for name in ["daypass", "kubectl-daypass", "kubectl_complete-daypass"] {
            symlink(daypass(), directory.join(name)).unwrap();
        }
    }
    directory
}

/// Somebody at a terminal.
pub struct Person<'s> {
    pub stage: &'s Stage,
    pub kubeconfig: PathBuf,
}

impl<'s> Person<'s> {
    /// Who may do everything.
    pub fn admin(stage: &'s Stage) -> Self {
        Self { stage, kubeconfig: stage.cluster.admin_kubeconfig() }
    }

    /// Who may do nothing yet.
    pub fn named(stage: &'s Stage, name: &str) -> Self {
        let kubeconfig = stage.file(&format!("{name}.kubeconfig"));
        stage.cluster.kubeconfig_for_user(&kubeconfig, name, &["people"]).unwrap();
        Self { stage, kubeconfig }
    }

    /// Binds them to the ClusterRole daypass-viewer in a namespace.
    async fn may_view(&self, name: &str, namespace: &str) {
        self.may(name, "daypass-viewer", namespace).await;
    }

    /// Binds them to a ClusterRole in a namespace.
    pub async fn may(&self, name: &str, role: &str, namespace: &str) {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": format!("{name}-{role}"), "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
        });
        self.stage.platform(binding).await.unwrap();
    }

    /// Runs kubectl with the plugin on its PATH.
    pub async fn kubectl(&self, args: &[&str]) -> Said {
        self.run(self.stage.cluster.kubectl_path(), args).await
    }

    /// Runs any program with the plugin on its PATH.
    pub async fn run(&self, program: &Path, args: &[&str]) -> Said {
        let path = format!("{}:{}", names(self.stage).display(), std::env::var("PATH").unwrap_or_default());
        let mut command = tokio::process::Command::new(program);
        command.args(args).env("PATH", path).env("KUBECONFIG", &self.kubeconfig);
        command.env("KUBECACHEDIR", self.stage.file("kubectl-cache")).stdin(std::process::Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(4 * SOON, command.output()).await.expect("it ends").unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// The cells of each line, the headers first. Columns are apart by three spaces or more.
fn cells(table: &str) -> Vec<Vec<&str>> {
    table.lines().map(|line| line.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect()
}
