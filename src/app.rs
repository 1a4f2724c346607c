//! Builds the operator, starts its tasks, and stops at the first that ends or when told to.

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Config, ResourceExt};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};

use crate::{
    admin,
    cluster::{
        ApiError, Clock, World,
        act::Writer,
        client,
        client::call,
        events::Events,
        guard::{self, Guard, spec_hash},
        identity::{self, IdentityError},
    },
    config::{ConfigError, ControllerArgs},
    controller::{Operator, classes::Classes, notes::Notes, policies::Policies, queue::Queue, slots::Slots, tokens::Tokens},
    core::snapshot::GuardFacts,
    expr::Expressions,
    install::{OperatorName, guard as shipped},
    telemetry::Metrics,
};

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

/// Longest pause between two tries of an answer or a judgement.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(10);
/// The same for ends: they must be proven within 5 s of what can be.
const LONGEST_PAUSE_OF_ENDS: SignedDuration = SignedDuration::from_secs(3);
/// Leases that are judged again at once.
const JUDGES: usize = 8;

const IN_CLUSTER_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// How long tasks in flight may take to finish after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);

/// Runs until SIGTERM or SIGINT.
pub async fn run(args: ControllerArgs) -> Result<(), AppError> {
    args.retention()?;
    let config = client::infer().await.map_err(AppError::Kubeconfig)?;
    let clock = Arc::new(Clock::default());
    let token_file = args.token_file.clone().or_else(|| token_file_of(&config));
    let own = identity::read(token_file.as_ref()).await?;
    let (_, account) = own.requester.service_account().unwrap_or_default();
    let name = OperatorName {
        namespace: args.namespace.clone().unwrap_or_else(|| own.namespace.clone()),
        service_account: args.service_account.clone().unwrap_or_else(|| account.to_owned()),
    };
    let build =
        |config: &Config| client::build(config.clone(), &clock).map_err(|error| AppError::Api { what: "cannot build a client", error });
    // Three sets of connections: an end never waits behind a grant, and neither waits behind a watch.
    let (watching, issuing, ending) = (build(&config)?, build(&config)?, build(&config)?);
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener.map_err(|error| AppError::System { what: format!("cannot listen on {}", args.listen), error })?;
    let address = listener.local_addr().map_err(|error| AppError::System { what: "cannot listen".into(), error })?;
    let installation = match args.installation.clone() {
        Some(id) => id,
        None => kube_system_uid(&watching).await?,
    };
    let settings = args.settings(name.namespace.clone(), installation)?;
    let (policy, binding) = shipped::shipped(&name);
    let guard_settings = guard::Settings {
        config: config.clone(),
        servers: args.apiservers.clone(),
        token_file,
        shipped: (spec_hash(&policy), spec_hash(&binding)),
    };
    let expressions = Expressions::start(2)
        .map_err(|error| AppError::System { what: "cannot start the threads that evaluate expressions".into(), error })?;
    let mut reviewers = vec![ending.clone()];
    for server in args.apiservers.iter().filter(|server| **server != config.cluster_url) {
        let mut of_this_server = config.clone();
        of_this_server.cluster_url = server.clone();
        reviewers.push(build(&of_this_server)?);
    }
    let guard = Guard::new(&guard_settings, clock.clone());
    let operator = Arc::new(Operator {
        world: World::default(),
        guard: guard.clone(),
        issuing: Writer::new(issuing.clone(), &settings.namespace),
        ending: Writer::new(ending, &settings.namespace),
        reviewers,
        tokens: Tokens::default(),
        expressions,
        policies: Policies::default(),
        classes: Classes::default(),
        slots: Slots::default(),
        events: Events::new(issuing.clone(), Some(own.requester.pod_name.clone()), clock.clone()),
        metrics: Arc::new(Metrics::default()),
        requests: Arc::new(Queue::new(clock.clone(), LONGEST_PAUSE)),
        leases: Arc::new(Queue::new(clock.clone(), LONGEST_PAUSE_OF_ENDS)),
        judging: Arc::new(Queue::new(clock.clone(), LONGEST_PAUSE)),
        watch_again: tokio::sync::watch::channel(0).0,
        notes: Notes::new(clock.now()),
        policies_changed: tokio::sync::Notify::new(),
        classes_changed: tokio::sync::Notify::new(),
        clock,
        settings,
    });
    tracing::info!(version = env!("CARGO_PKG_VERSION"), namespace = operator.settings.namespace, %address, "starting");

    let mut tasks = JoinSet::new();
    let writer = operator.issuing.clone();
    tasks.spawn(named("the guard's watch", guard.run(guard_settings, watching.clone(), writer)));
    tasks.spawn(named("the watches", operator.clone().watch_everything(watching)));
    tasks.spawn(named("the class loop", operator.clone().judge_classes()));
    tasks.spawn(named("the policy loop", operator.clone().judge_policies()));
    tasks.spawn(named("the sweeper", operator.clone().sweep()));
    tasks.spawn(named("the sweeper of what tokens were bound to", operator.clone().sweep_bound()));
    tasks.spawn(named("the guard's consequences", guard_changes(operator.clone())));
    let (requests, leases, workers) = (operator.requests.clone(), operator.leases.clone(), operator.settings.workers);
    let worker = operator.clone();
    tasks.spawn(named("the request loop", async move { requests.serve(workers, move |uid| worker.clone().reconcile_request(uid)).await }));
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

/// A change of the guard concerns every unanswered request and every class's condition.
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
        if said.as_ref() != Some(&facts) {
            if let GuardFacts::NotInForce { reason } = &facts {
                operator.say_guard_is_open(reason).await;
            }
            operator.classes_changed.notify_one();
            operator.wake_pending();
            said = Some(facts);
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

fn token_file_of(config: &Config) -> Option<PathBuf> {
    config.auth_info.token_file.as_ref().map(PathBuf::from).or_else(|| {
        let mounted = PathBuf::from(IN_CLUSTER_TOKEN);
        mounted.exists().then_some(mounted)
    })
}
