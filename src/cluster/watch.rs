//! Runs one watch into one cache and tells a listener of every change. Never ends by itself.

use std::{fmt::Debug, sync::Arc};

use futures::StreamExt;
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;

use super::{
    Clock,
    cache::{Cache, Cached, Change},
};

/// Watches `api` into `cache`; `convert` prunes each object to what is needed.
pub async fn run<K, R>(
    api: Api<K>,
    config: watcher::Config,
    convert: impl Fn(K) -> R + Send,
    cache: Arc<Cache<R>>,
    clock: Arc<Clock>,
    on_change: impl Fn(&Change<R>) + Send,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    R: Cached,
{
    let mut stream = watcher::watcher(api, config).default_backoff().boxed();
    let mut listing = Vec::new();
    while let Some(event) = stream.next().await {
        let changes = match event {
            Ok(Event::Init) => {
                listing.clear();
                vec![]
            }
            Ok(Event::InitApply(object)) => {
                listing.push(convert(object));
                vec![]
            }
            Ok(Event::InitDone) => cache.replace(std::mem::take(&mut listing)),
            Ok(Event::Apply(object)) => {
                cache.mark(None);
                vec![cache.apply(convert(object))]
            }
            Ok(Event::Delete(object)) => {
                cache.mark(None);
                vec![cache.delete(convert(object))]
            }
            Err(error) => {
                tracing::warn!(kind = std::any::type_name::<R>(), %error, "watch failed; trying again");
                cache.mark(Some(clock.monotonic()));
                vec![]
            }
        };
        for change in &changes {
            on_change(change);
        }
    }
}
