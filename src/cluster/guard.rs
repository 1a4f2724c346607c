//! Watches the admission guard, keeps the canary singing at every API server, and keeps the record that makes a restart deny nobody.
//!
//! A watch may be late: the process was frozen, or the connection hangs. A request from a gap that the watch has not shown yet would be
//! believed, so whoever is about to issue waits for a look at the two objects ([`Guard::look`]): equality with the record at a moment after
//! the request was made proves that there was no gap when it was made.
//!
//! The conclusions are drawn in `core::guard`; this is its eyes, voice and memory.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::StreamExt;
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use kube::{Api, Client, Config, Resource, ResourceExt, api::ListParams, runtime::watcher};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{Notify, watch};

use super::{
    ApiError, Clock,
    act::Writer,
    canary, client,
    client::{CALL_TIMEOUT, call},
    identity,
};
use crate::{
    core::{
        guard::{Answer, GuardState, Record, Seen},
        names::hex_sha256,
        snapshot::GuardFacts,
    },
    install::guard::{VERIFY, known_fields},
};

/// Between two canaries of one API server while all is well.
const CANARY_EVERY: Duration = Duration::from_secs(10);
/// The same while the guard is not proven.
const CANARY_WHILE_UNPROVEN: Duration = Duration::from_millis(500);
/// The API server ends a watch of the guard after this many seconds, so that a dead connection is found out.
const WATCH_SECONDS: u32 = 20;
/// Before a watch of the guard begins again.
const WATCH_PAUSE: Duration = Duration::from_millis(500);
/// A look that began this long before it is asked for still serves, so that a burst shares looks. An API server takes up to a second until
/// it no longer applies a policy that was taken away, so a request that nobody verified is younger than its gap by more than this.
const SHARED_LOOK: Duration = Duration::from_millis(50);
/// Between two looks when one has failed.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// The ConfigMap with the record.
const RECORD: &str = "daypass-guard";

/// The guard, as far as it is known.
pub struct Guard {
    state: Mutex<GuardState>,
    /// Woken when the watches show something new.
    look: Notify,
    /// Told when what a decision may rely on has changed.
    changed: Notify,
    /// Woken when somebody waits for a look.
    wanted: Notify,
    /// When the last look that succeeded began.
    looked: watch::Sender<Option<Instant>>,
    clock: Arc<Clock>,
}

/// What the guard's tasks need.
pub struct Settings {
    /// How to reach the API server; each canary server gets this with its own URL.
    pub config: Config,
    /// API servers besides the configured one.
    pub servers: Vec<http::Uri>,
    /// The operator's own token.
    pub token_file: Option<PathBuf>,
    /// Hashes of what is shipped: policy and binding.
    pub shipped: (String, String),
}

impl Guard {
    /// Knows nothing yet.
    pub fn new(settings: &Settings, clock: Arc<Clock>) -> Arc<Self> {
        let servers = servers(settings).iter().map(ToString::to_string).collect();
        let state = Mutex::new(GuardState::new(settings.shipped.clone(), servers));
        Arc::new(Self {
            state,
            look: Notify::new(),
            changed: Notify::new(),
            wanted: Notify::new(),
            looked: watch::Sender::new(None),
            clock,
        })
    }

    /// What a decision may rely on now.
    pub fn facts(&self) -> GuardFacts {
        self.state().facts(self.clock.now())
    }

    /// Returns once the facts rest on a look at the guard that is no older than this call, but for [`SHARED_LOOK`]. Whoever is about to
    /// issue calls it after the request was seen, and then asks for the facts.
    pub async fn look(&self) -> Result<(), ApiError> {
        let called = self.clock.monotonic();
        let mut looked = self.looked.subscribe();
        let fresh = |began: &Option<Instant>| began.is_some_and(|began| began + SHARED_LOOK >= called);
        if fresh(&looked.borrow()) {
            return Ok(());
        }
        self.wanted.notify_one();
        match tokio::time::timeout(CALL_TIMEOUT, looked.wait_for(fresh)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(ApiError::NoAnswer(format!("the admission guard could not be looked at within {} s", CALL_TIMEOUT.as_secs()))),
        }
    }

    /// Returns when the facts may have changed.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Watches, asks and records until the process ends.
    pub async fn run(self: Arc<Self>, settings: Settings, client: Client, writer: Writer) {
        let sightings = Sightings::new([(Sighting::Unknown, false), (Sighting::Unknown, false)]);
        tokio::join!(
            self.watch::<ValidatingAdmissionPolicy>(&client, 0, &sightings),
            self.watch::<ValidatingAdmissionPolicyBinding>(&client, 1, &sightings),
            self.look_when_wanted(&client),
            self.sing(&settings, &writer),
        );
    }

    /// Watches one of the two objects. After any error the watch begins again from a list: an edit and its undoing must not slip through.
    async fn watch<K>(&self, client: &Client, mine: usize, sightings: &Sightings)
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Serialize + std::fmt::Debug + Send + 'static,
    {
        let config = || watcher::Config::default().fields(&format!("metadata.name={VERIFY}")).timeout(WATCH_SECONDS);
        loop {
            let mut events = watcher::watcher(Api::<K>::all(client.clone()), config()).boxed();
            let mut listed = None;
            while let Some(event) = events.next().await {
                let sighting = match event {
                    Ok(watcher::Event::Init) => {
                        listed = None;
                        continue;
                    }
                    Ok(watcher::Event::InitApply(object)) => {
                        listed = seen(&object);
                        continue;
                    }
                    Ok(watcher::Event::InitDone) => listed.take().map_or(Sighting::Absent, Sighting::Present),
                    Ok(watcher::Event::Apply(object)) => seen(&object).map_or(Sighting::Absent, Sighting::Present),
                    Ok(watcher::Event::Delete(_)) => Sighting::Absent,
                    Err(error) => {
                        tracing::warn!(error = super::watch::describe(&error), "cannot watch the admission guard; trying again");
                        self.sighted(sightings, mine, None);
                        tokio::time::sleep(WATCH_PAUSE).await;
                        break;
                    }
                };
                self.sighted(sightings, mine, Some(sighting));
            }
        }
    }

    /// Takes in what one of the two watches shows; `None`: it cannot see.
    fn sighted(&self, sightings: &Sightings, mine: usize, sighting: Option<Sighting>) {
        let now = self.clock.now();
        let mut both = sightings.lock().unwrap_or_else(PoisonError::into_inner);
        both[mine].1 = sighting.is_some();
        if let Some(sighting) = sighting {
            both[mine].0 = sighting;
        }
        self.state().blind((!both.iter().all(|(_, sees)| *sees)).then_some(now));
        if let (Some(policy), Some(binding)) = (both[0].0.clone().known(), both[1].0.clone().known()) {
            self.see(policy, binding);
        }
    }

    /// Looks whenever somebody waits for it, at most as often as looks can be shared.
    async fn look_when_wanted(&self, client: &Client) {
        loop {
            self.wanted.notified().await;
            let began = self.clock.monotonic();
            match tokio::try_join!(find::<ValidatingAdmissionPolicy>(client), find::<ValidatingAdmissionPolicyBinding>(client)) {
                Ok((policy, binding)) => {
                    self.see(policy, binding);
                    self.looked.send_replace(Some(began));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot look at the admission guard; trying again");
                    self.wanted.notify_one();
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            }
        }
    }

    fn see(&self, policy: Option<Seen>, binding: Option<Seen>) {
        if self.state().see(policy, binding) {
            self.look.notify_one();
            self.changed.notify_waiters();
        }
    }

    /// Asks every API server in turn, for ever.
    async fn sing(&self, settings: &Settings, writer: &Writer) {
        let (mut turn, mut clients, mut token) = (0usize, BTreeMap::<String, Client>::new(), String::new());
        let mut stored: Option<(Record, Option<String>)> = None;
        let mut version = self.read_record(writer, &mut stored).await;
        let mut last = None;
        loop {
            match identity::read(settings.token_file.as_ref()).await {
                Err(problem) => {
                    for server in servers(settings) {
                        self.unclear(&server, problem.to_string());
                    }
                }
                Ok(own) => {
                    if *own.token.expose() != token {
                        token = own.token.expose().clone();
                        clients = self.clients(settings, &token);
                    }
                    let asked = clients.iter().map(|(server, client)| async {
                        let asked_at = self.state().sights();
                        let answer = canary::ask(client, &own, turn).await;
                        self.answer(server, answer, asked_at);
                    });
                    futures::future::join_all(asked).await;
                    turn += 1;
                }
            }
            self.store_record(writer, &mut stored, &mut version).await;
            let facts = self.facts();
            let proven = matches!(facts, GuardFacts::InForce { .. });
            if last.as_ref() != Some(&facts) {
                match &facts {
                    GuardFacts::InForce { since } => tracing::info!(%since, "the admission guard is in force"),
                    GuardFacts::NotInForce { reason } => tracing::warn!(reason, "the admission guard is not in force: nothing is issued"),
                    GuardFacts::Unknown { reason } => tracing::info!(reason, "the admission guard is not proven: nothing is issued"),
                }
                last = Some(facts);
                self.changed.notify_waiters();
            }
            let pause = if proven { CANARY_EVERY } else { CANARY_WHILE_UNPROVEN };
            let _ = tokio::time::timeout(pause, self.look.notified()).await;
        }
    }

    fn unclear(&self, server: &http::Uri, problem: String) {
        let asked_at = self.state().sights();
        self.answer(&server.to_string(), Answer::Unclear(problem), asked_at);
    }

    fn answer(&self, server: &str, answer: Answer, asked_at: u64) {
        if let Answer::Unclear(problem) = &answer {
            tracing::debug!(server, problem, "the canary got no clear answer");
        }
        let now = self.clock.now();
        self.state().answered(server, answer, asked_at, now);
    }

    fn clients(&self, settings: &Settings, token: &str) -> BTreeMap<String, Client> {
        let build = |server: http::Uri| {
            let mut config = settings.config.clone();
            config.cluster_url = server.clone();
            config.auth_info = kube::config::AuthInfo { token: Some(token.to_owned().into()), ..Default::default() };
            match client::build(config, &self.clock) {
                Ok(client) => Some((server.to_string(), client)),
                Err(error) => {
                    self.unclear(&server, error.to_string());
                    None
                }
            }
        };
        servers(settings).into_iter().filter_map(build).collect()
    }

    async fn read_record(&self, writer: &Writer, stored: &mut Option<(Record, Option<String>)>) -> Option<String> {
        loop {
            match writer.get_config_map(RECORD).await {
                Ok(map) => {
                    let version = map.as_ref().and_then(ResourceExt::resource_version);
                    let text = map.and_then(|map| map.data).and_then(|data| data.get("record").cloned());
                    // A record that cannot be read proves nothing: the guard is proven anew.
                    let record: Option<Record> = text.and_then(|text| serde_json::from_str(&text).ok());
                    *stored = record.clone().map(|record| (record, version.clone()));
                    self.state().remembered(record);
                    return version;
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot read the record of the admission guard; trying again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    async fn store_record(&self, writer: &Writer, stored: &mut Option<(Record, Option<String>)>, version: &mut Option<String>) {
        let Some(wanted) = self.state().to_store(stored.as_ref().map(|(record, _)| record)) else { return };
        let Ok(text) = serde_json::to_string(&wanted) else { return };
        match writer.put_config_map(RECORD, BTreeMap::from([("record".to_owned(), text)]), version.clone()).await {
            Ok(map) => {
                *version = map.resource_version();
                *stored = Some((wanted.clone(), version.clone()));
                self.state().stored(wanted);
            }
            Err(ApiError::AlreadyExists(_) | ApiError::Conflict(_) | ApiError::NotFound(_)) => {
                *version = self.read_record(writer, stored).await;
            }
            Err(error) => tracing::warn!(%error, "cannot store the record of the admission guard; trying again"),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, GuardState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the watches of policy and binding show, and whether each can see.
type Sightings = Mutex<[(Sighting, bool); 2]>;

#[derive(Clone)]
enum Sighting {
    Unknown,
    Absent,
    Present(Seen),
}

impl Sighting {
    #[expect(clippy::option_option, reason = "unknown, absent and present are three things")]
    fn known(self) -> Option<Option<Seen>> {
        match self {
            Self::Unknown => None,
            Self::Absent => Some(None),
            Self::Present(seen) => Some(Some(seen)),
        }
    }
}

fn servers(settings: &Settings) -> Vec<http::Uri> {
    let mut all = vec![settings.config.cluster_url.clone()];
    all.extend(settings.servers.iter().filter(|server| **server != settings.config.cluster_url).cloned());
    all
}

/// The object of verify of this kind, as it is now.
async fn find<K>(client: &Client) -> Result<Option<Seen>, ApiError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Serialize + std::fmt::Debug,
{
    // A list, because that is the right that the watch has too. By name the API server reads one key of etcd, as for a GET.
    let params = ListParams::default().fields(&format!("metadata.name={VERIFY}"));
    Ok(call(Api::<K>::all(client.clone()).list(&params)).await?.items.first().and_then(seen))
}

fn seen<K: Resource<DynamicType = ()> + Serialize>(object: &K) -> Option<Seen> {
    let value = serde_json::to_value(object).ok()?;
    Some(Seen {
        uid: object.uid().unwrap_or_default(),
        generation: object.meta().generation.unwrap_or_default(),
        hash: spec_hash(value.get("spec")?),
    })
}

/// Hash of the fields that we know of an admission object's spec, defaults filled in.
pub fn spec_hash(spec: &serde_json::Value) -> String {
    hex_sha256(known_fields(spec).to_string().as_bytes())
}
