//! Flags and environment of `daypass controller` and `daypass drain`, turned once into what the operator is told.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;
use jiff::SignedDuration;

use crate::{
    api::Ttl,
    controller::{Retention, Settings},
    telemetry::LogFormat,
};

/// Runs the operator. It needs its own pod-bound service-account token: in a pod everything is found by itself; elsewhere KUBECONFIG names a
/// kubeconfig whose user has a tokenFile.
#[derive(Args, Clone, Debug)]
pub struct ControllerArgs {
    /// Namespace that the operator runs in; its ledger lives there. Default: that of its own token.
    #[arg(long, env = "DAYPASS_NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,
    /// Service account that the operator runs as. Default: that of its own token.
    #[arg(long, env = "DAYPASS_SERVICE_ACCOUNT", value_name = "NAME")]
    pub service_account: Option<String>,
    /// Name of this cluster, for the variable {cluster} in classes.
    #[arg(long, env = "DAYPASS_CLUSTER", value_name = "NAME", default_value = "cluster")]
    pub cluster: String,
    /// What makes derived names differ between installations. Default: the UID of namespace kube-system.
    #[arg(long, env = "DAYPASS_INSTALLATION", value_name = "ID")]
    pub installation: Option<String>,
    /// Where /livez, /readyz and /metrics are served.
    #[arg(long, env = "DAYPASS_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:8081")]
    pub listen: SocketAddr,
    /// A further API server that must refuse forged requesters before anything is issued; repeat for each. Where several API servers stand
    /// behind one address, name every one of them here.
    #[arg(long = "apiserver", env = "DAYPASS_APISERVERS", value_name = "URL", value_delimiter = ',')]
    pub apiservers: Vec<http::Uri>,
    /// How long a request is kept after its credential ended by its time or was given back.
    #[arg(long, env = "DAYPASS_KEEP_CLEAN", value_name = "DURATION", default_value = "5m")]
    pub keep_clean: String,
    /// How long a request is kept after any other end: denied, failed, ended early.
    #[arg(long, env = "DAYPASS_KEEP_OTHER", value_name = "DURATION", default_value = "1h")]
    pub keep_other: String,
    /// How many finished requests are kept for one service account; the oldest go first.
    #[arg(long, env = "DAYPASS_KEEP_PER_IDENTITY", value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub keep_per_identity: u32,
    /// Requests that are worked on at once.
    #[arg(long, env = "DAYPASS_WORKERS", value_name = "COUNT", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: u16,
    /// The token file, where it is neither the in-cluster mount nor the tokenFile of the kubeconfig.
    #[arg(long, env = "DAYPASS_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// How log lines look.
    #[arg(long, env = "DAYPASS_LOG_FORMAT", value_enum, default_value = "json")]
    pub log_format: LogFormat,
    /// What is logged, in the syntax of tracing's EnvFilter.
    #[arg(long, env = "DAYPASS_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
}

/// A flag that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A duration.
    #[error("--{flag}: {error}")]
    Duration {
        /// Which flag.
        flag: &'static str,
        /// What is wrong.
        error: crate::api::ttl::TtlError,
    },
    /// The URL of an API server.
    #[error("--apiserver {0}: give a URL with scheme and host, for instance https://10.0.0.1:6443")]
    Url(http::Uri),
}

impl ControllerArgs {
    /// Checks everything that can be checked without asking anybody.
    pub fn retention(&self) -> Result<Retention, ConfigError> {
        let parse = |flag, text: &str| {
            let duration = Ttl(text.to_owned()).parse().map_err(|error| ConfigError::Duration { flag, error })?;
            Ok(SignedDuration::from_secs(duration.as_secs() as i64))
        };
        for url in &self.apiservers {
            if url.scheme().is_none() || url.host().is_none() {
                return Err(ConfigError::Url(url.clone()));
            }
        }
        Ok(Retention {
            clean: parse("keep-clean", &self.keep_clean)?,
            other: parse("keep-other", &self.keep_other)?,
            per_identity: self.keep_per_identity as usize,
        })
    }

    /// What the operator is told, with what was found out about itself and the cluster.
    pub fn settings(&self, namespace: String, installation: String) -> Result<Settings, ConfigError> {
        Ok(Settings {
            namespace,
            cluster: self.cluster.clone(),
            installation,
            retention: self.retention()?,
            answer_within: SignedDuration::from_secs(120),
            workers: usize::from(self.workers),
            draining: false,
        })
    }
}

/// Takes Daypass down: scales the operator to nothing, waits until its pods are gone, ends every credential, waits until each is proven dead,
/// and then marks the operator's namespace and the CustomResourceDefinitions, which cannot be deleted before. The chart runs this before it
/// is deleted.
///
/// It runs under the operator's service account, in a pod of the operator's namespace, with the rights of the ClusterRole and the Role
/// daypass-drain. It tries for ever, whatever the API server answers; started again it goes on where it was, and where everything is done it
/// passes. A certificate cannot be called back: waiting takes as long as the last one lives, 15 minutes at most.
///
/// Exit codes: 0 every credential is proven dead (or, with --accept-expiry, dies by itself at the time that is told); 1 failed; 2 wrong use;
/// 75 the time is over; 78 not in a pod. SIGTERM and SIGINT end it; what was begun stays begun.
#[derive(Args, Clone, Debug)]
pub struct DrainArgs {
    /// Namespace that the operator runs in. Default: that of the token.
    #[arg(long, env = "DAYPASS_NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,
    /// Do not wait for credentials that only time ends, such as certificates: what they are, and until when they live, is told.
    #[arg(long)]
    pub accept_expiry: bool,
    /// Give up after this long. Default: never.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// The token file, where it is neither the in-cluster mount nor the tokenFile of the kubeconfig.
    #[arg(long, env = "DAYPASS_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// How log lines look, on standard error; progress is told on standard output.
    #[arg(long, env = "DAYPASS_LOG_FORMAT", value_enum, default_value = "json")]
    pub log_format: LogFormat,
    /// What is logged, in the syntax of tracing's EnvFilter.
    #[arg(long, env = "DAYPASS_LOG", value_name = "FILTER", default_value = "warn")]
    pub log: String,
}

impl DrainArgs {
    /// What an operator is told that only ends.
    pub fn settings(&self, namespace: String) -> Settings {
        let for_ever = SignedDuration::from_hours(24 * 365);
        Settings {
            namespace,
            // Nothing is made, so nothing is named.
            cluster: String::new(),
            installation: String::new(),
            // Whoever asks afterwards what became of a credential finds its request and its lease.
            retention: Retention { clean: for_ever, other: for_ever, per_identity: usize::MAX },
            answer_within: SignedDuration::from_secs(120),
            workers: ENDS_AT_ONCE,
            draining: true,
        }
    }
}

/// Leases that a drain works on at once.
const ENDS_AT_ONCE: usize = 32;

fn duration(text: &str) -> Result<Duration, String> {
    Ttl(text.to_owned()).parse().map_err(|error| error.to_string())
}
