//! A work queue that is fair between namespaces, first-in-first-out within one, never runs one key twice at once, and wakes keys at
//! absolute times without a timer for each.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, Semaphore};

use crate::cluster::{ApiError, Clock};

/// What follows a run of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing until something changes.
    Done,
    /// Run again at this time, or earlier if something changes.
    At(Timestamp),
    /// It failed: run again after a growing pause, and not before this long if the API server asked for that.
    Retry(Option<Duration>),
}

impl Next {
    /// Try again after this failure.
    pub fn after(error: &ApiError) -> Self {
        Self::Retry(error.retry_after())
    }
}

/// Longest sleep: a clock that was stepped is noticed within this.
const LONGEST_SLEEP: Duration = Duration::from_secs(2);
/// Longest that a key waits for another queue to be worked off, and between two looks at that.
const HOLD: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(10);
/// First pause after a failure.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_millis(100);

/// The queue; lanes are namespaces.
pub struct Queue {
    state: Mutex<State>,
    wake: Notify,
    clock: Arc<Clock>,
    longest_pause: SignedDuration,
}

#[derive(Default)]
struct State {
    lanes: HashMap<String, VecDeque<String>>,
    /// Lanes that have work, in the order of their turns.
    turns: VecDeque<String>,
    queued: HashSet<String>,
    /// Running keys, with their lane; `true` = something changed meanwhile.
    running: HashMap<String, bool>,
    later: BTreeMap<(Timestamp, String), String>,
    later_of: HashMap<String, Timestamp>,
    failures: HashMap<String, u32>,
    closed: bool,
}

impl Queue {
    /// An empty queue; failing keys are tried again after this long at the latest (and a third of it).
    pub fn new(clock: Arc<Clock>, longest_pause: SignedDuration) -> Self {
        Self { state: Mutex::default(), wake: Notify::new(), clock, longest_pause }
    }

    /// Run this key soon.
    pub fn add(&self, lane: &str, key: &str) {
        self.state().push(lane, key);
        self.wake.notify_one();
    }

    /// Run this key at that time, or earlier if it is asked for earlier.
    pub fn add_at(&self, lane: &str, key: &str, at: Timestamp) {
        let mut state = self.state();
        if let Some(held) = state.later_of.get(key).copied() {
            if held <= at {
                return;
            }
            state.later.remove(&(held, key.to_owned()));
        }
        state.later.insert((at, key.to_owned()), lane.to_owned());
        state.later_of.insert(key.to_owned(), at);
        drop(state);
        self.wake.notify_one();
    }

    /// Keys that wait or run.
    pub fn depth(&self) -> usize {
        let state = self.state();
        state.queued.len() + state.running.len()
    }

    /// Hands out nothing more: what runs may finish.
    pub fn close(&self) {
        self.state().closed = true;
        self.wake.notify_one();
    }

    /// Returns once nothing runs.
    pub async fn idle(&self) {
        while !self.state().running.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Serves the queue for ever with at most `workers` keys at once.
    pub async fn serve<F>(self: &Arc<Self>, workers: usize, work: impl Fn(String) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Next> + Send + 'static,
    {
        self.serve_behind(None, workers, work).await;
    }

    /// The same, but while more keys of `first` wait than as many workers can take at once, hands out one key a [`HOLD`] and no more: slowly,
    /// but never not at all, so that nobody who keeps the other queue full keeps this one still.
    pub async fn serve_behind<F>(
        self: &Arc<Self>,
        first: Option<&Arc<Self>>,
        workers: usize,
        work: impl Fn(String) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = Next> + Send + 'static,
    {
        let permits = Arc::new(Semaphore::new(workers));
        let work = Arc::new(work);
        loop {
            let Ok(permit) = permits.clone().acquire_owned().await else { return };
            if let Some(first) = first {
                let _ = tokio::time::timeout(HOLD, first.until_at_most(workers)).await;
            }
            let (lane, key) = self.next().await;
            let (queue, work) = (self.clone(), work.clone());
            tokio::spawn(async move {
                // Whatever happens to the task (a panic included), the key is given back.
                let mut turn = Turn { queue: &queue, lane, key: key.clone(), next: Next::Retry(None) };
                turn.next = work(key).await;
                drop(turn);
                drop(permit);
            });
        }
    }

    /// Returns once no more keys than these wait for their turn.
    async fn until_at_most(&self, most: usize) {
        loop {
            let waiting = {
                let mut state = self.state();
                state.promote(self.clock.read().latest());
                state.queued.len()
            };
            if waiting <= most {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn next(&self) -> (String, String) {
        loop {
            let (found, sleep) = {
                let mut state = self.state();
                let now = self.clock.read().latest();
                state.promote(now);
                let sleep = state.later.keys().next().map(|(at, _)| now.duration_until(*at).unsigned_abs());
                (state.pop(), sleep.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP))
            };
            if let Some(found) = found {
                return found;
            }
            let _ = tokio::time::timeout(sleep.max(Duration::from_millis(1)), self.wake.notified()).await;
        }
    }

    fn finish(&self, lane: &str, key: &str, next: &Next) {
        let mut state = self.state();
        let again = state.running.remove(key).unwrap_or(false);
        let failures = match next {
            Next::Retry(_) => {
                let count = state.failures.entry(key.to_owned()).or_default();
                *count = count.saturating_add(1);
                *count
            }
            _ => {
                state.failures.remove(key);
                0
            }
        };
        if again && failures == 0 {
            state.push(lane, key);
        }
        drop(state);
        match next {
            Next::Done => {}
            Next::At(at) => self.add_at(lane, key, *at),
            // Even when something changed meanwhile: a failing key must not spin.
            Next::Retry(asked) => {
                let pause = backoff(key, failures, self.longest_pause);
                let asked = asked.and_then(|asked| SignedDuration::try_from(asked).ok()).unwrap_or_default();
                self.add_at(lane, key, self.clock.read().latest() + pause.max(asked.min(self.longest_pause * 2)));
            }
        }
        self.wake.notify_one();
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Turn<'a> {
    queue: &'a Queue,
    lane: String,
    key: String,
    next: Next,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.queue.finish(&self.lane, &self.key, &self.next);
    }
}

impl State {
    fn push(&mut self, lane: &str, key: &str) {
        if let Some(again) = self.running.get_mut(key) {
            *again = true;
            return;
        }
        if !self.queued.insert(key.to_owned()) {
            return;
        }
        let waiting = self.lanes.entry(lane.to_owned()).or_default();
        if waiting.is_empty() {
            self.turns.push_back(lane.to_owned());
        }
        waiting.push_back(key.to_owned());
    }

    fn promote(&mut self, now: Timestamp) {
        while let Some(((at, key), lane)) = self.later.pop_first() {
            if at > now {
                self.later.insert((at, key), lane);
                return;
            }
            self.later_of.remove(&key);
            self.push(&lane, &key);
        }
    }

    fn pop(&mut self) -> Option<(String, String)> {
        if self.closed {
            return None;
        }
        let lane = self.turns.pop_front()?;
        let waiting = self.lanes.get_mut(&lane)?;
        let key = waiting.pop_front()?;
        if waiting.is_empty() {
            self.lanes.remove(&lane);
        } else {
            self.turns.push_back(lane.clone());
        }
        self.queued.remove(&key);
        self.running.insert(key.clone(), false);
        Some((lane, key))
    }
}

/// Doubling from the first pause to the longest, spread by up to a third so that keys that failed together do not return together.
fn backoff(key: &str, failures: u32, longest: SignedDuration) -> SignedDuration {
    let exponential = FIRST_PAUSE * 2i32.saturating_pow(failures.saturating_sub(1).min(12));
    let pause = exponential.min(longest);
    let spread = key.bytes().fold(u64::from(failures), |h, b| h.wrapping_mul(0x0100_0000_01b3) ^ u64::from(b)) % 1000;
    pause + SignedDuration::from_micros(pause.as_micros() as i64 / 3 * spread as i64 / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: SignedDuration = SignedDuration::from_secs(20);

    fn queue() -> Queue {
        Queue::new(Arc::new(Clock::default()), LONGEST)
    }

    #[tokio::test]
    async fn namespaces_take_turns_however_much_one_of_them_asks() {
        let queue = queue();
        for i in 0..100 {
            queue.add("noisy", &format!("n{i}"));
        }
        queue.add("quiet", "q");
        let first = [queue.next().await, queue.next().await];
        assert!(first.iter().any(|(lane, _)| lane == "quiet"), "{first:?}");
    }

    #[tokio::test]
    async fn one_key_never_runs_twice_at_once_and_no_change_is_lost() {
        let queue = queue();
        queue.add("ns", "a");
        queue.add("ns", "a");
        assert_eq!(queue.next().await.1, "a");
        queue.add("ns", "a");
        assert!(queue.state().pop().is_none(), "it is running");
        queue.finish("ns", "a", &Next::Done);
        assert_eq!(queue.next().await.1, "a", "it changed while it ran");
    }

    #[tokio::test]
    async fn the_earliest_of_two_times_wins() {
        let queue = queue();
        let now = queue.clock.now();
        queue.add_at("ns", "a", now + SignedDuration::from_hours(1));
        queue.add_at("ns", "a", now - SignedDuration::from_secs(1));
        assert_eq!(queue.next().await.1, "a");
        assert!(queue.state().later.is_empty());
    }

    #[tokio::test]
    async fn what_comes_behind_another_queue_waits_until_that_is_worked_off_but_not_for_ever() {
        let (first, second) = (Arc::new(queue()), Arc::new(queue()));
        let served = Arc::new(Mutex::new(vec![]));
        (0..3).for_each(|n| first.add("ns", &format!("first-{n}")));
        (0..2).for_each(|n| second.add("ns", &format!("second-{n}")));
        let serving = tokio::spawn({
            let (first, second, served) = (first.clone(), second.clone(), served.clone());
            async move {
                let note = move |key| {
                    served.lock().unwrap().push(key);
                    std::future::ready(Next::Done)
                };
                second.serve_behind(Some(&first), 1, note).await;
            }
        });
        let count = || served.lock().unwrap().len();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(count(), 0, "three wait, and one worker cannot take them at once");
        // One key goes after a while, whatever waits.
        let begun = first.clock.monotonic();
        while count() == 0 {
            tokio::time::sleep(LOOK).await;
        }
        assert!(first.clock.monotonic().duration_since(begun) >= HOLD / 2);
        // The next goes at once when only as many wait as are taken next.
        let begun = first.clock.monotonic();
        first.next().await;
        first.next().await;
        while count() == 1 {
            tokio::time::sleep(LOOK).await;
        }
        assert!(first.clock.monotonic().duration_since(begun) < HOLD / 2);
        serving.abort();
    }

    #[test]
    fn pauses_grow_and_stay_bounded() {
        let pauses: Vec<_> = (1..40).map(|n| backoff("k", n, LONGEST)).collect();
        assert!(pauses[0] >= FIRST_PAUSE && pauses[5] > pauses[0]);
        assert!(pauses.iter().all(|p| *p <= LONGEST + LONGEST / 3), "{pauses:?}");
    }
}
