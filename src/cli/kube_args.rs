//! Which cluster, as whom, and which namespace: the flags that people know from kubectl, for the commands that people run.

use std::path::PathBuf;

use clap::Args;
use kube::{
    Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use crate::cluster::client::{infer, kubeconfig_problem};

/// How to reach the API server as a person.
#[derive(Args, Clone, Debug, Default)]
pub struct KubeArgs {
    /// Namespace. Default: that of the context.
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Context of the kubeconfig. Default: its current one.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Kubeconfig file. Default: what KUBECONFIG names, else ~/.kube/config, else the service account of the pod that this runs in.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// The way to the API server, and the namespace that is meant.
#[derive(Debug)]
pub struct Reach {
    /// Where and as whom.
    pub config: Config,
    /// What was said, else what the context says.
    pub namespace: String,
}

impl KubeArgs {
    /// Reads the kubeconfig. `Err` names the flag or the file, and what to do.
    pub async fn reach(&self) -> Result<Reach, String> {
        let config = match (&self.kubeconfig, &self.context) {
            (None, None) => infer()
                .await
                .map_err(|problem| format!("cannot tell how to reach the API server: {problem}. Set KUBECONFIG or give --kubeconfig"))?,
            _ => self.chosen().await?,
        };
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        Ok(Reach { config, namespace })
    }

    /// The kubeconfig that is meant.
    pub fn held(&self) -> Result<Kubeconfig, String> {
        let read = self.kubeconfig.as_ref().map_or_else(Kubeconfig::read, Kubeconfig::read_from);
        read.map_err(|error| self.problem(&error))
    }

    async fn chosen(&self) -> Result<Config, String> {
        let held = self.held()?;
        let names: Vec<String> = held.contexts.iter().take(20).map(|context| context.name.clone()).collect();
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        Config::from_custom_kubeconfig(held, &options).await.map_err(|error| match (&error, &self.context) {
            (KubeconfigError::LoadContext(_), Some(context)) if names.is_empty() => {
                format!("--context {context}: the kubeconfig has no context")
            }
            (KubeconfigError::LoadContext(_), Some(context)) => {
                format!("--context {context}: there is none of that name, only {}", names.join(", "))
            }
            _ => self.problem(&error),
        })
    }

    fn problem(&self, error: &KubeconfigError) -> String {
        let file = self.kubeconfig.as_ref().map(|file| format!("--kubeconfig {}: ", file.display()));
        format!("{}{}", file.unwrap_or_default(), kubeconfig_problem(error))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    const HELD: &str = r#"
apiVersion: v1
kind: Config
clusters: [{name: a, cluster: {server: "https://a.example:6443"}}, {name: b, cluster: {server: "https://b.example"}}]
contexts: [{name: day, context: {cluster: a, user: me, namespace: shop}}, {name: night, context: {cluster: b, user: me}}]
users: [{name: me, user: {token: secret}}]
current-context: day
"#;

    async fn reach(file: &Path, namespace: Option<&str>, context: Option<&str>) -> Result<(String, String), String> {
        let text = |text: Option<&str>| text.map(str::to_owned);
        let args = KubeArgs { namespace: text(namespace), context: text(context), kubeconfig: Some(file.to_owned()) };
        args.reach().await.map(|reach| (reach.config.cluster_url.host().unwrap().to_owned(), reach.namespace))
    }

    #[tokio::test]
    async fn flags_choose_file_context_and_namespace_and_errors_name_them() {
        let file = std::env::temp_dir().join(format!("daypass-kubeconfig-{}", std::process::id()));
        fs::write(&file, HELD).unwrap();
        let own = |host: &str, namespace: &str| Ok((host.to_owned(), namespace.to_owned()));
        assert_eq!(reach(&file, None, None).await, own("a.example", "shop"));
        assert_eq!(reach(&file, Some("pay"), None).await, own("a.example", "pay"));
        assert_eq!(reach(&file, None, Some("night")).await, own("b.example", "default"));
        let told = reach(&file, None, Some("noon")).await.unwrap_err();
        assert_eq!(told, "--context noon: there is none of that name, only day, night");
        fs::write(&file, format!("{HELD}  broken: [\n")).unwrap();
        let told = reach(&file, None, None).await.unwrap_err();
        assert!(
            told.starts_with(&format!("--kubeconfig {}: the kubeconfig is not one", file.display())) && !told.contains("secret"),
            "{told}"
        );
        fs::remove_file(&file).unwrap();
        assert!(reach(&file, None, None).await.unwrap_err().contains(&file.display().to_string()));
    }
}
