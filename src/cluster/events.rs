//! Events for people: denials, failures, guard trouble. At most one for each identity and reason a minute, so that a flood of requests
//! does not become a flood of Events.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

use super::Clock;
use crate::api::{AccessRequest, condition::truncate};

const QUIET: Duration = Duration::from_secs(60);

/// A request, as Events refer to it.
pub fn regarding(request: &AccessRequest) -> ObjectReference {
    request.object_ref(&())
}

/// Writes Events.
pub struct Events {
    recorder: Recorder,
    clock: Arc<Clock>,
    /// `(about whom, reason)` → when it was last said.
    said: Mutex<HashMap<(String, String), Instant>>,
}

impl Events {
    /// Events in the name of this pod.
    pub fn new(client: Client, pod_name: Option<String>, clock: Arc<Clock>) -> Self {
        let reporter = Reporter { controller: "daypass.dev/controller".into(), instance: pod_name };
        Self { recorder: Recorder::new(client, reporter), clock, said: Mutex::default() }
    }

    /// Says it, unless the same was said of `whom` within the last minute. Failure to write an Event changes nothing.
    pub async fn warn(&self, regarding: &ObjectReference, whom: &str, reason: &str, note: &str) {
        if !self.due(whom, reason) {
            return;
        }
        let event = Event {
            type_: EventType::Warning,
            reason: reason.to_owned(),
            note: Some(truncate(note, 1000)),
            action: "Decide".into(),
            secondary: None,
        };
        if let Ok(Err(error)) = tokio::time::timeout(super::client::CALL_TIMEOUT, self.recorder.publish(&event, regarding)).await {
            tracing::debug!(reason, error = %super::ApiError::from(error), "event not written");
        }
    }

    fn due(&self, whom: &str, reason: &str) -> bool {
        let now = self.clock.monotonic();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.retain(|_, at| now.duration_since(*at) < QUIET);
        if said.contains_key(&(whom.to_owned(), reason.to_owned())) || said.len() > 10_000 {
            return false;
        }
        said.insert((whom.to_owned(), reason.to_owned()), now);
        true
    }
}
