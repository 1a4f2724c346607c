//! Runs one watch into one cache and tells a listener of every change. Never ends by itself.
//!
//! Whatever goes wrong, the watch begins again from a full list: kube's watcher resumes in silence after an error, and a kind that changes
//! rarely would then look as if its watch were still failing, or, worse, as if it were current.

use std::{fmt::Debug, sync::Arc, time::Duration};

use futures::StreamExt;
use kube::{
    Api, Resource,
    runtime::watcher::{self, Event},
};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::{
    Clock,
    cache::{Cache, Cached, Change},
};

/// Shortest and longest pause before a watch begins again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(8));
/// The API server ends a watch after this many seconds: a connection that is dead without saying so is found out this soon.
const TIMEOUT_SECONDS: u32 = 30;

/// What every watch shares.
#[derive(Clone)]
pub struct Setting {
    /// For how long a watch has been failing.
    pub clock: Arc<Clock>,
    /// Whenever this changes, every watch begins again.
    pub again: watch::Receiver<u64>,
}

/// Watches `api` into `cache`; `convert` prunes each object to what is needed, or leaves out one that cannot be read.
pub async fn run<K, R>(
    api: Api<K>,
    config: watcher::Config,
    convert: impl Fn(K) -> Option<R> + Send,
    cache: Arc<Cache<R>>,
    mut setting: Setting,
    on_change: impl Fn(&Change<R>) + Send,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    R: Cached,
{
    let mut pause = PAUSE.0;
    loop {
        let mut stream = watcher::watcher(api.clone(), config.clone().timeout(TIMEOUT_SECONDS)).boxed();
        let mut listing = Vec::new();
        loop {
            let event = tokio::select! {
                event = stream.next() => event,
                _ = setting.again.changed() => break,
            };
            let changes = match event {
                Some(Ok(Event::Init)) => {
                    listing.clear();
                    vec![]
                }
                Some(Ok(Event::InitApply(object))) => {
                    listing.extend(convert(object));
                    vec![]
                }
                Some(Ok(Event::InitDone)) => {
                    pause = PAUSE.0;
                    cache.replace(std::mem::take(&mut listing))
                }
                Some(Ok(Event::Apply(object))) => convert(object).map(|object| cache.apply(object)).into_iter().collect(),
                Some(Ok(Event::Delete(object))) => convert(object).map(|object| cache.delete(object)).into_iter().collect(),
                Some(Err(error)) => {
                    tracing::warn!(kind = std::any::type_name::<R>(), error = %describe(&error), "watch failed; it begins again");
                    cache.mark_failing(setting.clock.monotonic());
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                    break;
                }
                None => break,
            };
            for change in &changes {
                on_change(change);
            }
        }
    }
}

/// What is wrong, without the body of an answer.
pub(super) fn describe(error: &watcher::Error) -> String {
    use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error) => super::error::describe(error),
        other => other.to_string().chars().take(300).collect(),
    }
}
