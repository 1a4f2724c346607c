//! Holds one class's credential for an application: obtains it, keeps its files fresh, gives it back.
//!
//! The next credential is in place before the last one is given back. A failure takes nothing away that still lives. Called by `agent`,
//! `exec` and `request`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use serde::{Deserialize, Serialize};

use super::{
    ask::{Answer, AskError, Debts, Denied, Granted, Handed, Want, ask, chance, ended_early},
    persist::persist,
    place::Place,
    set::{Directory, Files, SetError},
    standing::{Live, Standing},
    tell::Tell,
};
use crate::{
    api::{AccessRequest, RequestState},
    cluster::{Clock, clock::skew_problem},
    core::renewal::{pause_after_denial, pause_after_failure, renew_after},
    issue::x509::belongs,
    secret::Secret,
    telemetry::AgentMetrics,
};

/// The operator gives a request up after two minutes: ours is taken back before, and another one made.
const ANSWER_WITHIN: Duration = Duration::from_secs(115);
/// While nothing comes, that much is said this often.
const SAY_EVERY: Duration = Duration::from_secs(15);
/// `API server's time as known` is up to a second behind: nothing is called live in its last one.
const MARGIN: Duration = Duration::from_secs(1);
/// File that says which request the others came from; what a restarted process goes on with.
const RECORD: &str = "request.json";

/// Why there is no credential.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// An answer.
    #[error("AccessRequest {} is denied, {}: {}", .0.request, .0.reason, .0.message)]
    Denied(Denied),
    /// No answer.
    #[error(transparent)]
    Asking(#[from] AskError),
    /// It cannot be written down.
    #[error(transparent)]
    Files(#[from] SetError),
}

/// The holder of one class's credential.
pub struct Holder {
    place: Arc<Place>,
    want: Want,
    directory: Directory,
    tell: Tell,
    debts: Debts,
    standing: Arc<Standing>,
    metrics: Arc<AgentMetrics>,
    held: Option<Held>,
    skew_said: bool,
}

struct Held {
    granted: AccessRequest,
    until: Instant,
    renew: Instant,
}

/// What is written beside the credential.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    namespace: String,
    name: String,
    uid: String,
    class_name: String,
}

impl Holder {
    /// Holds nothing yet.
    pub fn new(place: Arc<Place>, want: Want, directory: Directory, tell: Tell, metrics: Arc<AgentMetrics>) -> Self {
        let standing = Arc::new(Standing::new(&want.class));
        Self { place, want, directory, tell, debts: Debts::default(), standing, metrics, held: None, skew_said: false }
    }

    /// How it stands.
    pub fn standing(&self) -> Arc<Standing> {
        self.standing.clone()
    }

    /// Where its files are.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Who is told of renewals from now on.
    pub fn tells(&mut self, tell: Tell) {
        self.tell = tell;
    }

    /// When the credential ends that is in place.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.held.as_ref()?.granted.status.as_ref()?.credential.as_ref().map(|credential| credential.expires_at)
    }

    /// Goes on with what an earlier process of this pod left in the directory, if it is still good for a while; otherwise nothing.
    pub async fn adopt(&mut self) -> bool {
        let Some((record, chain, key)) = self.left_behind() else { return false };
        let Ok(session) = self.place.session() else { return false };
        if (&record.class_name, &record.namespace) != (&self.want.class, &session.namespace) || !belongs(&chain, &key) {
            return false;
        }
        let Ok(request) = session.asks.get(&record.name).await else { return false };
        let status = request.status.clone().unwrap_or_default();
        let (Some(decision), Some(credential)) = (status.decision, status.credential) else { return false };
        if request.uid().as_ref() != Some(&record.uid)
            || status.state != RequestState::Active
            || request.spec.requester.pod_uid != session.requester.pod_uid
            || credential.certificate.as_ref() != Some(&chain)
        {
            return false;
        }
        let held = self.held_from(request, decision.time, credential.expires_at);
        let now = self.place.clock().monotonic();
        if held.until <= now {
            return false;
        }
        tracing::info!(class = self.want.class, request = record.name, expires_at = %credential.expires_at, "going on with the credential that is in place");
        self.standing.holds(Live { until: held.until, expires_at: credential.expires_at });
        self.held = Some(held);
        true
    }

    /// Obtains a first credential, trying for this long. A denial that time may cure is waited for, any other is final at once.
    pub async fn obtain(&mut self, limit: Duration) -> Result<(), Refusal> {
        let (clock, class) = (self.place.clock().clone(), self.want.class.clone());
        persist(&clock, &class, limit, async |left| self.attempt(left.min(ANSWER_WITHIN)).await).await
    }

    /// Keeps a live credential in place. Never returns; it may be dropped at any moment, and [`Holder::release`] cleans up.
    pub async fn keep(&mut self) {
        let (mut failures, mut denials) = (0, 0);
        loop {
            self.while_good().await;
            let standing = self.standing.clone();
            let clock = self.place.clock().clone();
            let refusal = aloud(self.attempt(ANSWER_WITHIN), || {
                tracing::warn!(class = standing.class(), "still waiting for an answer; {}", standing.left(clock.monotonic()));
            })
            .await;
            let pause = match refusal {
                Ok(()) => {
                    (failures, denials) = (0, 0);
                    continue;
                }
                Err(refusal) => {
                    let pause = match &refusal {
                        Refusal::Denied(denied) => {
                            denials += 1;
                            pause_after_denial(denials, denied.retry_after, chance())
                        }
                        Refusal::Asking(_) | Refusal::Files(_) => {
                            failures += 1;
                            pause_after_failure(failures, chance())
                        }
                    };
                    self.standing.fails(refusal.to_string());
                    let left = self.standing.left(self.place.clock().monotonic());
                    tracing::warn!(class = self.want.class, "{refusal}; {left}; asking again in {:.0} s", pause.as_secs_f64());
                    pause
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Gives back what is held and what may have been asked for, and removes the files. `false`, and said, if that could not be done in time.
    pub async fn release(&mut self, limit: Duration) -> bool {
        if let Some(held) = self.held.take() {
            self.debts.owe(&held.granted.name_any(), held.granted.uid());
        }
        if let Err(error) = self.directory.clear() {
            tracing::warn!(class = self.want.class, "{error}");
        }
        let settled = tokio::time::timeout(limit, async {
            let mut failures = 0;
            while self.debts.settle(&self.place).await.is_err() {
                failures += 1;
                tokio::time::sleep(pause_after_failure(failures, chance())).await;
            }
        });
        let settled = settled.await.is_ok();
        if settled {
            tracing::info!(class = self.want.class, "given back");
        } else {
            tracing::warn!(class = self.want.class, "could not be given back in time: it ends with this pod or at its own date");
        }
        settled
    }

    /// Returns when the next credential is due: at about two thirds of this one's life, or when it ended early, or at once if there is none.
    async fn while_good(&mut self) {
        let Some(held) = &self.held else { return };
        let due = held.renew.saturating_duration_since(self.place.clock().monotonic());
        let why = tokio::select! {
            () = tokio::time::sleep(due) => return,
            why = ended_early(&self.place, &held.granted) => why,
        };
        tracing::warn!(class = self.want.class, request = held.granted.name_any(), "the credential ended early: {why}");
        self.metrics.ended_early(&self.want.class);
        self.standing.ended(why);
        self.held = None;
        // Whatever ended it may have ended others too.
        tokio::time::sleep(Duration::from_secs(1).mul_f64(1.0 + chance())).await;
    }

    /// One request, and if it is granted its files in place.
    async fn attempt(&mut self, limit: Duration) -> Result<(), Refusal> {
        let asked = ask(&self.place, &self.debts, &self.want, limit).await;
        self.mind_the_clock();
        let result = match asked {
            Ok(Answer::Granted(granted)) => self.put(*granted).await,
            Ok(Answer::Denied(denied)) => Err(Refusal::Denied(denied)),
            Err(error) => Err(Refusal::Asking(error)),
        };
        let outcome = match &result {
            Ok(()) => "granted",
            Err(Refusal::Denied(_)) => "denied",
            Err(_) => "failed",
        };
        self.metrics.asked(&self.want.class, outcome);
        if !self.debts.is_empty()
            && let Err(error) = self.debts.settle(&self.place).await
        {
            tracing::warn!(class = self.want.class, "what is not needed any more could not be given back yet: {error}");
        }
        result
    }

    async fn put(&mut self, granted: Granted) -> Result<(), Refusal> {
        let renewed = self.directory.read_plain(RECORD).is_some();
        if let Err(error) = self.directory.put(&files(&granted, &self.want.class)) {
            self.debts.owe(&granted.request.name_any(), granted.request.uid());
            return Err(error.into());
        }
        let held = self.held_from(granted.request, granted.granted_at, granted.expires_at);
        tracing::info!(class = self.want.class, request = held.granted.name_any(), expires_at = %granted.expires_at, "a credential is in place");
        self.standing.holds(Live { until: held.until, expires_at: granted.expires_at });
        if let Some(last) = self.held.replace(held) {
            self.debts.owe(&last.granted.name_any(), last.granted.uid());
        }
        if renewed && let Err(problem) = self.tell.renewed(&self.want.class, self.directory.path()).await {
            self.metrics.untold(&self.want.class);
            tracing::warn!(class = self.want.class, "the application was not told of its new files: {problem}");
        }
        Ok(())
    }

    fn held_from(&self, granted: AccessRequest, granted_at: Timestamp, expires_at: Timestamp) -> Held {
        let (until, renew) = instants(self.place.clock(), granted_at, expires_at, chance());
        Held { granted, until, renew }
    }

    /// What an earlier process left in the directory.
    fn left_behind(&self) -> Option<(Record, String, Secret<String>)> {
        let record = serde_json::from_str(&self.directory.read_plain(RECORD)?).ok()?;
        Some((record, self.directory.read_plain("tls.crt")?, self.directory.read("tls.key")?))
    }

    /// Dates are kept by the API server's clock; programs that look at their own refuse good certificates when it is off.
    fn mind_the_clock(&mut self) {
        let clock = self.place.clock();
        let Some(offset) = clock.server_offset() else { return };
        let off = skew_problem(Some(offset)).is_some();
        if off && !self.skew_said {
            tracing::warn!(
                "this pod's clock is {} s {} the API server's: renewals follow the API server's, but programs in this pod may refuse good certificates",
                offset.as_secs().abs(),
                if offset.is_negative() { "ahead of" } else { "behind" }
            );
        }
        self.skew_said = off;
    }
}

/// The files of a credential; what is in a Secret has none of its own here.
pub fn files(granted: &Granted, class: &str) -> Files {
    let record = Record {
        namespace: granted.request.namespace().unwrap_or_default(),
        name: granted.request.name_any(),
        uid: granted.request.uid().unwrap_or_default(),
        class_name: class.to_owned(),
    };
    let mut files: Files = vec![
        ("expires-at", Secret::new(format!("{:.0}\n", granted.expires_at))),
        (RECORD, Secret::new(serde_json::to_string(&record).unwrap_or_default())),
    ];
    if let Handed::Certificate { chain, roots, key } = &granted.handed {
        files.extend([("tls.crt", Secret::new(chain.clone())), ("ca.crt", Secret::new(roots.clone()))]);
        files.extend(key.clone().map(|key| ("tls.key", key)));
    }
    files
}

/// Until when a credential is live and when it is renewed, by the monotonic clock: its dates are the operator's, and how far away they are is
/// told by the API server's clock, whatever this pod's own says.
fn instants(clock: &Clock, granted_at: Timestamp, expires_at: Timestamp, chance: f64) -> (Instant, Instant) {
    let (now, server) = (clock.monotonic(), clock.server_now().unwrap_or_else(|| clock.now()));
    let life = positive(expires_at.duration_since(granted_at));
    let left = positive(expires_at.duration_since(server)).min(life);
    let renew_in = renew_after(life, chance).saturating_sub(life - left);
    (now + left.saturating_sub(MARGIN), now + renew_in)
}

fn positive(duration: SignedDuration) -> Duration {
    Duration::try_from(duration).unwrap_or_default()
}

/// Waits, and says so every now and then.
async fn aloud<T>(work: impl Future<Output = T>, mut say: impl FnMut()) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        match tokio::time::timeout(SAY_EVERY, &mut work).await {
            Ok(done) => return done,
            Err(_) => say(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: SignedDuration = SignedDuration::from_secs(60);

    /// Seconds from now until what was granted a moment ago for a minute ends and is renewed, as this pod's clock and the server's stand.
    fn of_a_minute(server_ahead: SignedDuration, granted_before: SignedDuration) -> (f64, f64) {
        let clock = Clock::default();
        let server = clock.now() + server_ahead;
        clock.observe_date(&jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&server).unwrap());
        let granted_at = server - granted_before;
        let (until, renew) = instants(&clock, granted_at, granted_at + MINUTE, 0.5);
        let now = clock.monotonic();
        ((until - now).as_secs_f64(), (renew - now).as_secs_f64())
    }

    #[test]
    fn a_pod_whose_clock_is_off_renews_and_is_ready_by_the_api_server_s_time() {
        for ahead in [0, 3600, -3600, 86_400 * 400] {
            let (until, renew) = of_a_minute(SignedDuration::from_secs(ahead), SignedDuration::ZERO);
            assert!((57.5..=60.0).contains(&until), "{ahead}: live for {until} s");
            assert!((38.5..=41.5).contains(&renew), "{ahead}: renewed after {renew} s");
        }
    }

    #[test]
    fn what_was_granted_a_while_ago_is_renewed_when_it_would_have_been() {
        let (until, renew) = of_a_minute(SignedDuration::ZERO, SignedDuration::from_secs(30));
        assert!((27.5..=30.0).contains(&until) && (8.5..=11.5).contains(&renew), "{until} {renew}");
        let (_, renew) = of_a_minute(SignedDuration::ZERO, SignedDuration::from_secs(50));
        assert!(renew < 0.1, "overdue: at once, not in {renew} s");
    }
}
