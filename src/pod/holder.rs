//! Holds one class's credential for an application: obtains it, keeps its files fresh, gives it back.
//!
//! The next credential is in place before the last one is given back. A failure takes nothing away that still lives. Called by `agent`,
//! `exec` and `request`.

use std::{
    cell::Cell,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::{
    ask::{Answer, AskError, Debts, Denied, Draft, Granted, Want, ask, chance},
    persist::persist,
    place::Place,
    record::{Left, files, is_filled, left_behind},
    set::{Directory, SetError},
    standing::{Live, Standing},
    tell::Tell,
    watch::Watch,
};
use crate::{
    api::{AccessRequest, RequestState},
    cluster::{ApiError, Clock, clock::skew_problem},
    core::renewal::{pause_after_denial, pause_after_failure, renew_after},
    telemetry::AgentMetrics,
};

/// The operator gives a request up after two minutes: ours is taken back before, and another one made.
const ANSWER_WITHIN: Duration = Duration::from_secs(115);
/// While nothing comes, that much is said this often.
const SAY_EVERY: Duration = Duration::from_secs(15);
/// Giving back may take that long before the next thing is done.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);
/// Refusals in a row that are believed.
const REFUSALS: u32 = 4;
/// The API server's time as it is known is up to a second behind: nothing is called live in its last one.
const MARGIN: Duration = Duration::from_secs(1);

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
    /// What may have been asked for.
    draft: Option<Draft>,
    /// What was granted and is not in place, because the files could not be written.
    unplaced: Option<Granted>,
    /// The application was not told of what is in place.
    untold: Cell<bool>,
    skew_said: bool,
}

struct Held {
    granted: AccessRequest,
    until: Instant,
    renew: Instant,
}

impl Held {
    /// An eye on it that lives by itself.
    fn watch(&self, holder: &Holder) -> Watch {
        let (place, standing, metrics) = (holder.place.clone(), holder.standing.clone(), holder.metrics.clone());
        Watch { place, standing, metrics, request: self.granted.clone() }
    }
}

impl Holder {
    /// Holds nothing yet.
    pub fn new(place: Arc<Place>, want: Want, directory: Directory, tell: Tell, metrics: Arc<AgentMetrics>) -> Self {
        let standing = Arc::new(Standing::new(&want.class));
        Self {
            place,
            want,
            directory,
            tell,
            debts: Debts::default(),
            standing,
            metrics,
            held: None,
            draft: None,
            unplaced: None,
            untold: Cell::new(false),
            skew_said: false,
        }
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

    /// Goes on with what an earlier process of this pod left in the directory, if it is still good; what cannot be gone on with is owed.
    /// Returns when that is known: while the API server is away, the credential in place counts as live until its date.
    pub async fn adopt(&mut self) {
        let Some((record, left)) = left_behind(&self.directory, &self.want.hand) else { return };
        let clock = self.place.clock().clone();
        let expires_at = self.directory.read_plain("expires-at").and_then(|text| text.trim().parse::<Timestamp>().ok());
        if let Some(expires_at) = expires_at.filter(|_| !matches!(left, Left::Nothing)) {
            let left = positive(expires_at.duration_since(clock.read().latest()));
            self.standing.holds(Live { until: clock.monotonic() + left.saturating_sub(MARGIN), expires_at });
        }
        // Until it is known it is ours to give back.
        self.debts.owe(&record.name, Some(record.uid.clone()));
        let (mut failures, mut refusals) = (0, 0);
        let found = loop {
            match self.place.session() {
                Ok(session) if session.namespace != record.namespace => break None,
                Ok(session) => match session.asks.get(&record.name).await {
                    Ok(request) => break Some((request, session)),
                    Err(ApiError::NotFound(_)) => break None,
                    // An API server that has just started refuses everybody.
                    Err(ApiError::Forbidden(_)) if refusals >= REFUSALS => break None,
                    Err(ApiError::Forbidden(_)) => refusals += 1,
                    Err(_) => {}
                },
                Err(_) => {}
            }
            failures += 1;
            tokio::time::sleep(pause_after_failure(failures, chance())).await;
        };
        self.debts.forget(&record.name);
        self.standing.nothing();
        let Some((request, session)) = found else { return };
        let status = request.status.clone().unwrap_or_default();
        let ours = request.uid().as_ref() == Some(&record.uid) && request.spec.requester.pod_uid == session.requester.pod_uid;
        let (Some(decision), Some(credential), true) = (status.decision, status.credential, ours && status.state == RequestState::Active)
        else {
            return;
        };
        let fits = record.class_name == self.want.class && left.is(&credential);
        let held = self.held_from(request, decision.time, credential.expires_at);
        if !fits || held.until <= clock.monotonic() {
            self.debts.owe(&record.name, Some(record.uid));
            return;
        }
        tracing::info!(class = self.want.class, request = record.name, expires_at = %credential.expires_at, "going on with the credential that is in place");
        self.standing.holds(Live { until: held.until, expires_at: credential.expires_at });
        self.held = Some(held);
    }

    /// Obtains a first credential, trying for this long, unless one is in place that need not be renewed yet. A denial that time may cure is
    /// waited for, any other is final at once.
    pub async fn obtain(&mut self, limit: Duration) -> Result<(), Refusal> {
        let clock = self.place.clock().clone();
        let deadline = clock.monotonic() + limit;
        let _ = tokio::time::timeout(limit, self.adopt()).await;
        let now = clock.monotonic();
        if self.held.as_ref().is_some_and(|held| held.renew > now) {
            return Ok(());
        }
        let class = self.want.class.clone();
        let left = deadline.saturating_duration_since(now);
        persist(&clock, &class, left, async |left| self.attempt(left.min(ANSWER_WITHIN)).await).await
    }

    /// Keeps a live credential in place. Never returns; it may be dropped at any moment, and [`Holder::release`] cleans up.
    pub async fn keep(&mut self) {
        let (mut failures, mut denials) = (0, 0);
        loop {
            self.while_good().await;
            // An early end is noticed meanwhile as well.
            let ends = self.held.as_ref().map(|held| held.watch(self));
            let round = self.round(&mut failures, &mut denials);
            match ends {
                Some(ends) => tokio::select! { () = round => {}, () = ends.and_wait() => {} },
                None => round.await,
            }
        }
    }

    /// One attempt, and the pause after it if it fails.
    async fn round(&mut self, failures: &mut u32, denials: &mut u32) {
        let (standing, clock) = (self.standing.clone(), self.place.clock().clone());
        let attempt = aloud(self.attempt(ANSWER_WITHIN), || {
            tracing::warn!(class = standing.class(), "still waiting for an answer; {}", standing.left(clock.monotonic()));
        });
        let Err(refusal) = attempt.await else {
            (*failures, *denials) = (0, 0);
            return;
        };
        let pause = match &refusal {
            Refusal::Denied(denied) => {
                *denials += 1;
                pause_after_denial(*denials, denied.retry_after, chance())
            }
            Refusal::Asking(error) => {
                *failures += 1;
                pause_after_failure(*failures, chance()).max(error.retry_after().unwrap_or_default())
            }
            Refusal::Files(_) => {
                *failures += 1;
                pause_after_failure(*failures, chance())
            }
        };
        self.standing.fails(refusal.to_string());
        let left = self.standing.left(self.place.clock().monotonic());
        tracing::warn!(class = self.want.class, "{refusal}; {left}; trying again in {:.0} s", pause.as_secs_f64());
        tokio::time::sleep(pause).await;
    }

    /// Gives back what is held and what may have been asked for, and removes the files. `false`, and said, if that could not be done in time.
    pub async fn release(&mut self, limit: Duration) -> bool {
        if let Some(held) = self.held.take() {
            self.debts.owe(&held.granted.name_any(), held.granted.uid());
        }
        if let Some(granted) = self.unplaced.take() {
            self.debts.owe(&granted.request.name_any(), granted.request.uid());
        }
        if let Some(draft) = self.draft.take() {
            self.debts.owe(&draft.name, None);
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
        let now = self.place.clock().monotonic();
        if self.standing.live(now).is_none() {
            // The request of one that ended early stays, for people to read why.
            if now >= held.until {
                self.debts.owe(&held.granted.name_any(), held.granted.uid());
            }
            // One that was over as soon as it came is no reason to ask without a pause.
            tokio::time::sleep(held.renew.saturating_duration_since(now)).await;
            self.held = None;
            return;
        }
        let due = held.renew.saturating_duration_since(self.place.clock().monotonic());
        tokio::select! {
            () = tokio::time::sleep(due) => return,
            () = held.watch(self).once() => {}
            () = self.chores() => {}
        }
        self.held = None;
        // Whatever ended it may have ended others too.
        tokio::time::sleep(Duration::from_secs(1).mul_f64(1.0 + chance())).await;
    }

    /// What was left undone, tried again until it is done. Never returns.
    async fn chores(&self) {
        let mut failures = 0;
        while !self.debts.is_empty() || self.untold.get() {
            failures += 1;
            tokio::time::sleep(pause_after_failure(failures, chance())).await;
            let _ = self.debts.settle(&self.place).await;
            if self.untold.get() {
                self.tell_the_application().await;
            }
        }
        std::future::pending().await
    }

    /// One request, and if it is granted its files in place. What was granted and could not be put in place is not asked for again.
    async fn attempt(&mut self, limit: Duration) -> Result<(), Refusal> {
        if let Some(granted) = self.unplaced.take() {
            let (_, renew) = instants(self.place.clock(), granted.granted_at, granted.expires_at, 0.0);
            if renew > self.place.clock().monotonic() {
                return self.put(granted).await;
            }
            self.debts.owe(&granted.request.name_any(), granted.request.uid());
        }
        let asked = ask(&self.place, &self.debts, &mut self.draft, &self.want, limit).await;
        self.mind_the_clock();
        let result = match asked {
            Ok(Answer::Granted(granted)) => self.put(*granted).await,
            Ok(Answer::Denied(denied)) => Err(Refusal::Denied(denied)),
            Err(error) => Err(Refusal::Asking(error)),
        };
        let outcome = match &result {
            Ok(()) | Err(Refusal::Files(_)) => "granted",
            Err(Refusal::Denied(_)) => "denied",
            Err(Refusal::Asking(_)) => "failed",
        };
        self.metrics.asked(&self.want.class, outcome);
        // Whatever cannot be given back now is a chore.
        if !self.debts.is_empty()
            && let Ok(Err(error)) = tokio::time::timeout(SETTLED_WITHIN, self.debts.settle(&self.place)).await
        {
            tracing::warn!(class = self.want.class, "what is not needed any more could not be given back yet: {error}");
        }
        result
    }

    async fn put(&mut self, granted: Granted) -> Result<(), Refusal> {
        let renewed = is_filled(&self.directory);
        if let Err(error) = self.directory.put(&files(&granted, &self.want.class)) {
            self.unplaced = Some(granted);
            return Err(error.into());
        }
        let mut held = self.held_from(granted.request, granted.granted_at, granted.expires_at);
        let (now, life) = (self.place.clock().monotonic(), positive(granted.expires_at.duration_since(granted.granted_at)));
        if held.until.saturating_duration_since(now) < life / 2 {
            tracing::warn!(
                class = self.want.class,
                "more than half of what was granted is over by the API server's clock: its clock and the operator's differ"
            );
        }
        // However the clocks stand, nothing is asked for without a pause.
        held.renew = held.renew.max(now + (life / 10).max(Duration::from_secs(1)));
        tracing::info!(class = self.want.class, request = held.granted.name_any(), expires_at = %granted.expires_at, "a credential is in place");
        self.standing.holds(Live { until: held.until, expires_at: granted.expires_at });
        if let Some(last) = self.held.replace(held) {
            self.debts.owe(&last.granted.name_any(), last.granted.uid());
        }
        if renewed {
            self.tell_the_application().await;
        }
        Ok(())
    }

    async fn tell_the_application(&self) {
        let told = self.tell.renewed(&self.want.class, self.directory.path()).await;
        self.untold.set(told.is_err());
        if let Err(problem) = told {
            self.metrics.untold(&self.want.class);
            tracing::warn!(class = self.want.class, "the application was not told of its new files: {problem}");
        }
    }

    fn held_from(&self, granted: AccessRequest, granted_at: Timestamp, expires_at: Timestamp) -> Held {
        let (until, renew) = instants(self.place.clock(), granted_at, expires_at, chance());
        Held { granted, until, renew }
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
