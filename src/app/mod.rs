//! Builds the operator, starts its tasks, and stops at the first that ends or when told to. `build` makes what every such process has, `drain`
//! runs one that only ends.

mod build;
mod drain;

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};

use crate::{
    admin,
    cluster::{ApiError, client::call, identity::IdentityError},
    config::{ConfigError, ControllerArgs},
    controller::Operator,
    core::snapshot::GuardFacts,
};
use build::Ground;
pub use drain::{Drained, drain};

/// Why the operator cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A flag.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// How to reach the API server is not known.
    #[error("cannot tell how to reach the API server: {0}. Run in a pod, or set KUBECONFIG")]
    Kubeconfig(String),
    /// Its own token.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The API server.
    #[error("{what}: {error}")]
    Api {
        /// What was attempted.
        what: &'static str,
        /// What came of it.
        error: ApiError,
    },
    /// The system.
    #[error("{what}: {error}")]
    System {
        /// What was attempted.
        what: String,
        /// What came of it.
        error: std::io::Error,
    },
    /// A part ended that never should.
    #[error("{0} ended; the operator cannot go on without it")]
    Ended(&'static str),
}

/// Leases that are judged again at once.
const JUDGES: usize = 8;

/// How long tasks in flight may take to finish after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);

/// Runs until SIGTERM or SIGINT.
pub async fn run(args: ControllerArgs) -> Result<(), AppError> {
    args.retention()?;
    let ground = Ground::find(args.token_file.clone(), args.namespace.clone(), args.service_account.clone()).await?;
    let watching = ground.client()?;
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener.map_err(|error| AppError::System { what: format!("cannot listen on {}", args.listen), error })?;
    let address = listener.local_addr().map_err(|error| AppError::System { what: "cannot listen".into(), error })?;
    let installation = match args.installation.clone() {
        Some(id) => id,
        None => kube_system_uid(&watching).await?,
    };
    let settings = args.settings(ground.name.namespace.clone(), installation)?;
    let guard_settings = ground.guard(&args.apiservers);
    let operator = ground.operator(settings, &guard_settings)?;
    let guard = operator.guard.clone();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), namespace = operator.settings.namespace, %address, "starting");

    let mut tasks = JoinSet::new();
    let writer = operator.issuing.clone();
    tasks.spawn(named("the guard's watch", guard.run(guard_settings, watching.clone(), writer)));
    tasks.spawn(named("the watches", operator.clone().watch_everything(watching)));
    tasks.spawn(named("the class loop", operator.clone().judge_classes()));
    tasks.spawn(named("the policy loop", operator.clone().judge_policies()));
    tasks.spawn(named("the lock loop", operator.clone().judge_locks()));
    tasks.spawn(named("the revocation lists", operator.clone().publish_lists()));
    tasks.spawn(named("the look for late proofs", operator.clone().look_for_late_proofs()));
    tasks.spawn(named("the sweeper", operator.clone().sweep()));
    tasks.spawn(named("the sweeper of what tokens were bound to", operator.clone().sweep_bound()));
    tasks.spawn(named("the guard's consequences", guard_changes(operator.clone())));
    let (requests, leases, workers) = (operator.requests.clone(), operator.leases.clone(), operator.settings.workers);
    let worker = operator.clone();
    let ends = leases.clone();
    tasks.spawn(named("the request loop", async move {
        // Ends go before grants: while more of them are due than can be worked on, what is new waits.
        requests.serve_behind(Some(&ends), workers, move |uid| worker.clone().reconcile_request(uid)).await
    }));
    let (judging, worker) = (operator.judging.clone(), operator.clone());
    tasks
        .spawn(named("the judging loop", async move { judging.serve(JUDGES, move |name| worker.clone().reconcile_judgement(name)).await }));
    let worker = operator.clone();
    tasks.spawn(named("the lease loop", async move { leases.serve(workers, move |name| worker.clone().reconcile_lease(name)).await }));
    let served = operator.clone();
    tasks.spawn(named("the HTTP server", async move {
        if let Err(error) = admin::operator::serve(listener, served).await {
            tracing::error!(%error, "the HTTP server failed");
        }
    }));

    let stop = async |kind| {
        match signal(kind) {
            Ok(mut signals) => signals.recv().await,
            Err(_) => std::future::pending().await,
        };
    };
    tokio::select! {
        ended = tasks.join_next() => match ended {
            Some(Ok(what)) => Err(AppError::Ended(what)),
            _ => Err(AppError::Ended("a task")),
        },
        () = stop(SignalKind::terminate()) => { wind_down(&operator, &mut tasks).await; Ok(()) }
        () = stop(SignalKind::interrupt()) => { wind_down(&operator, &mut tasks).await; Ok(()) }
    }
}

/// What is in flight may finish; whatever does not is recovered from the ledger by the next process.
async fn wind_down(operator: &Operator, tasks: &mut JoinSet<&'static str>) {
    tracing::info!("stopping");
    operator.requests.close();
    operator.leases.close();
    operator.judging.close();
    let _ = tokio::time::timeout(GRACE, async {
        operator.requests.idle().await;
        operator.leases.idle().await;
        operator.judging.idle().await;
    })
    .await;
    tasks.shutdown().await;
    tracing::info!("stopped");
}

async fn named(name: &'static str, work: impl Future<Output = ()>) -> &'static str {
    work.await;
    name
}

/// A change of the guard or of the clocks concerns every unanswered request and every class's condition.
async fn guard_changes(operator: Arc<Operator>) {
    let mut said = None;
    loop {
        let facts = operator.guard.facts();
        let state = match &facts {
            GuardFacts::InForce { .. } => "InForce",
            GuardFacts::NotInForce { .. } => "NotInForce",
            GuardFacts::Unknown { .. } => "Unknown",
        };
        let issuing = state == "InForce" && operator.not_issuing().is_none();
        operator.metrics.standing(state, issuing, operator.clock.server_offset());
        let differ = operator.clocks_differ();
        if said.as_ref() != Some(&(facts.clone(), differ)) {
            if let GuardFacts::NotInForce { reason } = &facts {
                operator.say_guard_is_open(reason).await;
            }
            operator.classes_changed.notify_one();
            operator.wake_pending();
            said = Some((facts, differ));
        }
        let _ = tokio::time::timeout(Duration::from_secs(2), operator.guard.changed()).await;
    }
}

async fn kube_system_uid(client: &kube::Client) -> Result<String, AppError> {
    let what = "cannot read namespace kube-system, whose UID tells installations apart (give --installation to do without)";
    let mut pause = Duration::from_millis(200);
    loop {
        match call(Api::<Namespace>::all(client.clone()).get("kube-system")).await {
            Ok(namespace) => return Ok(namespace.uid().unwrap_or_default()),
            Err(error @ (ApiError::Forbidden(_) | ApiError::NotFound(_) | ApiError::Invalid(_))) => {
                return Err(AppError::Api { what, error });
            }
            Err(error) => {
                tracing::warn!(%error, "{what}; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(10));
            }
        }
    }
}
