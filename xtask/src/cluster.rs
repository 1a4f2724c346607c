//! `cargo xtask cluster`: the control plane with Daypass on it, in the foreground, for people to play with.

use std::path::PathBuf;

use clap::Args;
use daypass::install::Values;
use devcluster::Options;
use stage::{OperatorOptions, Stage};
use tokio::signal::unix::{SignalKind, signal};

use crate::binary;

/// Arguments of `cargo xtask cluster`.
#[derive(Args, Debug)]
pub struct ClusterArgs {
    /// Where everything is kept: kubeconfig, certificates, logs.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// CRDs, guard and RBAC, but no operator process.
    #[arg(long)]
    no_operator: bool,
    /// Namespaces that Secrets may be delivered into.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "shop")]
    secret_namespaces: Vec<String>,
}

/// Runs until SIGINT or SIGTERM.
pub async fn run(args: ClusterArgs) -> Result<(), String> {
    let mut signals =
        (signal(SignalKind::interrupt()).map_err(|e| e.to_string())?, signal(SignalKind::terminate()).map_err(|e| e.to_string())?);
    let stop = async move {
        tokio::select! { _ = signals.0.recv() => {}, _ = signals.1.recv() => {} }
    };
    let up = async {
        let binary = if args.no_operator { None } else { Some(binary::daypass(false)?) };
        std::fs::create_dir_all(&args.dir).map_err(|error| format!("--dir {}: {error}", args.dir.display()))?;
        let dir = args.dir.canonicalize().map_err(|error| format!("--dir {}: {error}", args.dir.display()))?;
        let values = Values { secret_namespaces: args.secret_namespaces.clone(), ..Values::default() };
        let stage = Stage::set(Options { dir: Some(dir), ..Options::default() }, values).await.map_err(|error| error.to_string())?;
        let operator = match &binary {
            Some(binary) => {
                let operator = stage.operator(binary, OperatorOptions::default()).await.map_err(|error| error.to_string())?;
                operator.ready().await.map_err(|error| error.to_string())?;
                Some(operator)
            }
            None => None,
        };
        println!("ready: KUBECONFIG={}", stage.cluster.admin_kubeconfig().display());
        Ok::<_, String>((stage, operator))
    };
    tokio::pin!(stop);
    let (stage, operator) = tokio::select! {
        up = up => up?,
        () = &mut stop => return Ok(()),
    };
    let ended = async {
        match &operator {
            Some(operator) => operator.process.exited().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = stop => {}
        exit = ended => eprintln!("the operator ended by itself ({exit:?}); the control plane stops too"),
    }
    if let Some(operator) = operator {
        operator.stop().await;
    }
    drop(stage);
    println!("stopped");
    Ok(())
}
