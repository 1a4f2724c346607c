//! What becomes of requests, as somebody who watches them sees it: one watch over all namespaces, kept by batch.
//!
//! A batch is what was asked with one `generateName`. Only reads; reads of each object only what it counts.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use daypass::api::RequestState;
use futures::StreamExt;
use jiff::Timestamp;
use kube::{
    Api, Client, ResourceExt,
    core::{ApiResource, Object},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use serde::Deserialize;
use tokio::{sync::Notify, task::JoinHandle};

/// Nothing new for this long means that nothing more will come.
const STALLED: Duration = Duration::from_secs(60);

/// The part of a request that is looked at.
type Seen = Object<Nothing, Status>;

#[derive(Clone, Debug, Deserialize)]
struct Nothing {}

#[derive(Clone, Debug, Default, Deserialize)]
struct Status {
    #[serde(default)]
    state: RequestState,
    reason: Option<String>,
    credential: Option<Credential>,
    ended: Option<End>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Credential {
    expires_at: Timestamp,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct End {
    verified_time: Option<Timestamp>,
}

/// One request that reached a state.
#[derive(Clone, Debug)]
pub struct Answer {
    /// UID of the request.
    pub uid: String,
    /// The state.
    pub state: RequestState,
    /// The reason in its status.
    pub reason: String,
    /// When the watch brought it.
    pub at: Instant,
    /// The same by the wall clock.
    pub arrived: Timestamp,
    /// When its credential ends.
    pub expires: Option<Timestamp>,
    /// When its credential was proven dead, by the operator's clock.
    pub verified: Option<Timestamp>,
}

#[derive(Default)]
struct Batch {
    answers: Vec<Answer>,
    counts: HashMap<RequestState, usize>,
    /// Latest state of each request: the watch may bring one state twice.
    latest: HashMap<String, RequestState>,
}

/// Every answer so far.
pub struct Answers {
    batches: Mutex<HashMap<String, Batch>>,
    news: Notify,
    watch: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Answers {
    fn drop(&mut self) {
        if let Some(watch) = self.watch.lock().unwrap_or_else(PoisonError::into_inner).take() {
            watch.abort();
        }
    }
}

impl Answers {
    /// Begins to watch.
    pub fn follow(client: Client) -> Arc<Self> {
        let answers = Arc::new(Self { batches: Mutex::default(), news: Notify::new(), watch: Mutex::default() });
        let weak = Arc::downgrade(&answers);
        let resource = ApiResource::erase::<daypass::api::AccessRequest>(&());
        // What is not answered yet is no news: half of the events stay on the server.
        let config = watcher::Config::default().fields("status.state!=,status.state!=Pending");
        let watch = tokio::spawn(async move {
            let mut events = watcher::watcher(Api::<Seen>::all_with(client, &resource), config).default_backoff().boxed();
            while let Some(event) = events.next().await {
                let Some(answers) = weak.upgrade() else { return };
                match event {
                    Ok(Event::Apply(seen) | Event::InitApply(seen)) => answers.take(&seen),
                    Ok(_) => {}
                    Err(error) => eprintln!("the benchmark's own watch failed and goes on: {error}"),
                }
            }
        });
        *answers.watch.lock().unwrap_or_else(PoisonError::into_inner) = Some(watch);
        answers
    }

    /// Returns once so many requests of a batch are or were in this state.
    pub async fn reached(&self, batch: &str, state: RequestState, count: usize) -> Result<(), String> {
        loop {
            let news = self.news.notified();
            let (reached, counts) = {
                let batches = self.lock();
                let counts = batches.get(batch).map(|batch| batch.counts.clone()).unwrap_or_default();
                (counts.get(&state).copied().unwrap_or_default(), counts)
            };
            if reached >= count {
                return Ok(());
            }
            if tokio::time::timeout(STALLED, news).await.is_err() {
                let reasons: Vec<String> = self.of(batch).into_iter().filter(|a| a.state != state).map(|a| a.reason).take(1).collect();
                return Err(format!(
                    "{reached} of {count} requests of batch {batch} became {state:?}, then nothing came for {} s; reached: {counts:?} {reasons:?}",
                    STALLED.as_secs()
                ));
            }
        }
    }

    /// Every answer of a batch, in the order in which they came.
    pub fn of(&self, batch: &str) -> Vec<Answer> {
        self.lock().get(batch).map(|batch| batch.answers.clone()).unwrap_or_default()
    }

    fn take(&self, seen: &Seen) {
        let Some(status) = &seen.status else { return };
        let (at, arrived) = (Instant::now(), Timestamp::now());
        let (Some(batch), uid) =
            (seen.metadata.generate_name.as_deref().and_then(|name| name.strip_suffix('-')), seen.uid().unwrap_or_default())
        else {
            return;
        };
        let mut batches = self.lock();
        let batch = batches.entry(batch.to_owned()).or_default();
        if batch.latest.insert(uid.clone(), status.state) == Some(status.state) {
            return;
        }
        *batch.counts.entry(status.state).or_default() += 1;
        batch.answers.push(Answer {
            uid,
            state: status.state,
            reason: status.reason.clone().unwrap_or_default(),
            at,
            arrived,
            expires: status.credential.as_ref().map(|credential| credential.expires_at),
            verified: status.ended.as_ref().and_then(|ended| ended.verified_time),
        });
        drop(batches);
        self.news.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Batch>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
