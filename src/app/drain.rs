//! Runs an operator that only ends: watches and the lease loop, with no request loop, no classes, no policies and no guard beside them.

use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};

use super::{AppError, build::Ground, named};
use crate::{api::CredentialLease, config::DrainArgs, controller::leaving::Drain};

/// What a drain came to.
#[derive(Debug)]
pub enum Drained {
    /// Nothing is open but these, which only time ends and which were not to be waited for.
    Done {
        /// The operator's namespace.
        namespace: String,
        /// The leases.
        left: Vec<CredentialLease>,
    },
    /// Its time was over before that.
    TimedOut,
    /// It was told to stop before that, by this signal.
    Stopped(u8),
}

/// Drains the installation that the own token belongs to, and tells of it as it goes.
pub async fn drain(args: DrainArgs, tell: impl Fn(&str) + Send + Sync + 'static) -> Result<Drained, AppError> {
    let ground = Ground::find(args.token_file.clone(), args.namespace.clone(), None).await?;
    let namespace = ground.name.namespace.clone();
    let operator = ground.operator(args.settings(namespace.clone()), &ground.guard(&[]))?;
    let how = Drain {
        account: ground.name.service_account.clone(),
        own_pod: ground.own.requester.pod_uid.clone(),
        accept_expiry: args.accept_expiry,
        tell: Box::new(tell),
    };
    (how.tell)(&format!("draining namespace {namespace} as {}", ground.own.requester.username));

    let mut tasks = JoinSet::new();
    tasks.spawn(named("the watches", operator.clone().watch_everything(ground.client()?)));
    tasks.spawn(named("the revocation lists", operator.clone().publish_lists()));
    tasks.spawn(named("the sweeper", operator.clone().sweep()));
    let (leases, workers, worker) = (operator.leases.clone(), operator.settings.workers, operator.clone());
    tasks.spawn(named("the lease loop", async move { leases.serve(workers, move |name| worker.clone().reconcile_lease(name)).await }));

    let stop = async |kind, number| {
        match signal(kind) {
            Ok(mut signals) => signals.recv().await,
            Err(_) => std::future::pending().await,
        };
        Drained::Stopped(number)
    };
    let limit = async {
        match args.timeout {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        left = operator.drain(&how) => Ok(Drained::Done { namespace, left }),
        ended = tasks.join_next() => Err(AppError::Ended(ended.and_then(Result::ok).unwrap_or("a task"))),
        () = limit => Ok(Drained::TimedOut),
        stopped = stop(SignalKind::terminate(), 15) => Ok(stopped),
        stopped = stop(SignalKind::interrupt(), 2) => Ok(stopped),
    };
    // What is being written is finished: a write whose reply is lost would only have to be looked for again.
    operator.leases.close();
    let _ = tokio::time::timeout(super::GRACE, operator.leases.idle()).await;
    tasks.shutdown().await;
    ended
}
