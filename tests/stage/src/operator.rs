//! The operator's process: the real binary, with nothing but what its pod would have.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use daypass::core::decide::GUARD_SETTLES;
use devcluster::{
    supervisor::{Exit, Process, Spec},
    wait,
    workload::{self, PodSpec, TokenOptions},
};

use jiff::{SignedDuration, Timestamp};

use crate::{Error, NODE, Stage};

/// How to run an operator.
#[derive(Clone, Debug)]
pub struct OperatorOptions {
    /// Name of its pod.
    pub pod: String,
    /// Where it finds the API server, if not directly: a proxy.
    pub server: Option<http::Uri>,
    /// More arguments of `daypass controller`.
    pub args: Vec<String>,
    /// What it logs.
    pub log: String,
}

impl Default for OperatorOptions {
    fn default() -> Self {
        Self { pod: "daypass-0".into(), server: None, args: vec![], log: "info,daypass=debug".into() }
    }
}

/// A running operator.
pub struct Operator {
    /// Its process.
    pub process: Process,
    /// The kubeconfig that it uses: its own token, nothing else.
    pub kubeconfig: PathBuf,
    /// The token, as the kubelet would keep it.
    pub token_file: PathBuf,
}

/// How long it may take to list everything and to prove the guard.
const READY_WITHIN: Duration = Duration::from_secs(60);

impl Operator {
    pub(crate) async fn start(stage: &Stage, binary: &Path, options: OperatorOptions) -> Result<Self, Error> {
        let admin = stage.cluster.admin()?;
        let name = stage.operator_name();
        let spec = PodSpec::new(&name.namespace, &options.pod).service_account(&name.service_account).node(NODE);
        let pod = workload::run_pod(&admin, &spec).await?;
        let token = workload::bound_token(&admin, &pod, &TokenOptions::default()).await?;
        let (token_file, kubeconfig) = (stage.file(&format!("{}.token", options.pod)), stage.file(&format!("{}.kubeconfig", options.pod)));
        std::fs::write(&token_file, token).map_err(Error::file("the operator's token"))?;
        let direct = stage.cluster.server_urls().into_iter().next().unwrap_or_default();
        let server = options.server.clone().unwrap_or(direct);
        stage.cluster.kubeconfig_with_token_file(&kubeconfig, &token_file, &server).map_err(Error::file("the operator's kubeconfig"))?;
        let log = stage.file(&format!("{}.log", options.pod));
        let mut spec = Spec::new(binary, log)
            .args(["controller", "--listen", "127.0.0.1:0", "--log-format", "json", "--log", options.log.as_str()])
            .args(options.args.iter().map(String::as_str))
            .env("KUBECONFIG", &kubeconfig);
        // As its pod has: what is in flight may finish.
        spec.grace = Duration::from_secs(30);
        Ok(Self { process: Process::start(spec)?, kubeconfig, token_file })
    }

    /// Address of its HTTP port.
    pub async fn address(&self) -> Result<String, Error> {
        let found = wait::until("the operator to listen", READY_WITHIN, || async {
            if self.process.exit().is_some() {
                return Some(None);
            }
            self.log_lines()
                .iter()
                .rev()
                .find(|line| line["message"] == "starting")
                .and_then(|line| line["address"].as_str().map(|a| Some(a.to_owned())))
        })
        .await?;
        found.ok_or_else(|| self.ended())
    }

    /// Returns once it issues: everything listed, the guard proven, and requests that are made from now on trusted.
    pub async fn ready(&self) -> Result<(), Error> {
        let look = || async {
            if self.process.exit().is_some() {
                return Some(false);
            }
            let text = self.readyz().await.ok()?;
            let since: Timestamp = text.split("guard: in force since ").nth(1)?.lines().next()?.parse().ok()?;
            let settled = since + GUARD_SETTLES + SignedDuration::from_secs(1);
            (Timestamp::now() >= settled && !text.contains("issuing: NO")).then_some(true)
        };
        match wait::until("the operator to issue", READY_WITHIN, look).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.ended()),
            Err(error) => {
                let last = self.readyz().await.unwrap_or_default();
                let what = format!("{}; /readyz says: {last}; log:\n{}", error.what, self.process.log_tail(20));
                Err(Error::TimedOut(wait::TimedOut { what, limit: error.limit }))
            }
        }
    }

    /// What /readyz says.
    pub async fn readyz(&self) -> Result<String, Error> {
        self.http("/readyz").await.map(|(_, text)| text)
    }

    /// What a path of its HTTP port answers: status and text.
    pub async fn http(&self, path: &str) -> Result<(u16, String), Error> {
        crate::get(&self.address().await?, path).await
    }

    /// Every line that it has logged so far.
    pub fn log_lines(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.process.log()).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Ends it as a kubelet would: SIGTERM, then SIGKILL after the grace.
    pub async fn stop(&self) -> Exit {
        self.process.stop().await
    }

    fn ended(&self) -> Error {
        let exit = self.process.exit().unwrap_or(Exit::Unknown);
        Error::OperatorEnded { exit, log: self.process.log_tail(20) }
    }
}
