//! What excuses requests: starts of pods, restarts of containers, times in which nobody watched, peers that ask more as well, a person.
//! Each is bounded, and none of them is a request: whoever asks earns nothing by it.

use crate::{
    channel::Channel,
    detector::Detector,
    settings::{CREDIT_HOURS, LONGEST_GAP},
    small::Half,
    time::{HOUR, Time, cell},
};

/// Fewer siblings than this say nothing about what is usual.
pub const FEWEST_SIBLINGS: u16 = 5;
/// Most by which siblings let an identity ask more.
pub const MOST_BY_PEERS: f64 = 4.0;
/// Credits that may be open at once: a rollout of 200 pods that ask ten times each.
const MOST_CREDIT: f64 = 2000.0;

impl Detector {
    /// A pod of this identity started, and its controller, which exists, made it from its template: the caller has checked that. It excuses
    /// as many requests as a start usually makes, within 15 minutes.
    pub fn pod_started(&mut self, at: Time) {
        self.earn(at, self.per_start.get());
        self.starts = self.starts.saturating_add(1);
    }

    /// A container of a pod that asks restarted, as its status reports: one request within 15 minutes. The kubelet's back-off bounds these.
    pub fn container_restarted(&mut self, at: Time) {
        self.earn(at, 1.0);
        self.restarts = self.restarts.saturating_add(1);
    }

    /// Learns how many requests a pod makes in its first 15 minutes: a mean over about 20 pods, between 1 and 10.
    pub fn learn_start(&mut self, requests: u32) {
        let mean = self.per_start.get();
        self.per_start = Half::new((mean + (f64::from(requests.min(20)) - mean) / 20.0).clamp(1.0, 10.0));
    }

    /// Requests that one start of a pod excuses.
    pub fn requests_per_start(&self) -> f64 {
        self.per_start.get()
    }

    /// Nobody watched from the last moment seen to `until`: the operator was down, or the API server away. `found` requests were made
    /// meanwhile and will be observed now, with their own times; `ended` credentials ran out, whose renewals come all at once.
    ///
    /// What was expected meanwhile excuses at most what was found, request by request: silence drains nothing, and a backlog is no burst.
    pub fn unobserved(&mut self, until: Time, found: u16, ended: u16) {
        if until <= self.now {
            return;
        }
        self.flow();
        let expected = self.expected_until(until).map(|expected| expected.min(f64::from(found)));
        let long = until.hour() - self.now.hour() > LONGEST_GAP;
        self.gap_events = found;
        self.gap_expected = expected.map(Half::new);
        if long {
            self.begin_anew(until);
        } else {
            self.skip(until);
        }
        self.gap_until = self.now.second();
        if ended > 0 {
            self.earn(until, f64::from(ended));
        }
    }

    /// The siblings (identities of the same policy) asked `factor` times as often as usual in the last 30 minutes, this one left out:
    /// [`peer_factor`] computes it. Holds until it is set again.
    pub fn set_peers(&mut self, at: Time, siblings: u16, factor: f64) {
        self.advance(at);
        self.flow();
        let factor = if siblings >= FEWEST_SIBLINGS && factor.is_finite() { factor.clamp(1.0, MOST_BY_PEERS) } else { 1.0 };
        (self.peers, self.siblings) = (Half::new(factor), siblings);
    }

    /// A person expects up to `factor` times the normal rate until then (1 to 100), and what was held back because of an alarm is normal.
    pub fn expect(&mut self, until: Time, factor: f64) {
        self.flow();
        self.expect = Half::new(if factor.is_finite() { factor.clamp(1.0, 100.0) } else { 1.0 });
        self.expect_until = until.second();
        self.held = 0;
        self.flags &= !crate::detector::OPEN_HELD;
    }

    /// By how much more than normal is expected now: by a person, and because of the peers.
    pub(crate) fn factors(&self) -> [f64; 2] {
        let person = if self.now.second() < self.expect_until { self.expect.get().max(1.0) } else { 1.0 };
        [person, self.peers.get().max(1.0)]
    }

    /// Takes one credit for the request of this moment, if there is one.
    pub(crate) fn excuse(&mut self) -> bool {
        let open = self.credit.get() >= 1.0 && self.now.second() <= self.credit_until;
        if open {
            self.credit = Half::new(self.credit.get() - 1.0);
            self.excused = self.excused.saturating_add(1);
        }
        open
    }

    fn earn(&mut self, at: Time, requests: f64) {
        let at = at.max(self.now);
        if at.second() > self.credit_until {
            self.credit = Half::default();
            (self.excused, self.starts, self.restarts) = (0, 0, 0);
        }
        self.credit = Half::new((self.credit.get() + requests).min(MOST_CREDIT));
        self.credit_until = at.plus_hours(CREDIT_HOURS).second();
    }

    /// What the time without observation excuses of one request from it, in each channel.
    pub(crate) fn backlog(&mut self, stamp: Time) -> [f64; 2] {
        if self.gap_events == 0 {
            return [0.0; 2];
        }
        if stamp.second() > self.gap_until {
            self.gap_events = 0;
            return [0.0; 2];
        }
        let left = f64::from(self.gap_events);
        self.gap_events -= 1;
        let share = self.gap_expected.map(|expected| expected.get() / left);
        self.gap_expected = self.gap_expected.map(|expected| Half::new(expected.get() * (left - 1.0) / left));
        share
    }

    /// What is normal from now to `until`, in each channel.
    fn expected_until(&self, until: Time) -> [f64; 2] {
        let mut expected = [0.0; 2];
        let mut at = self.now;
        while at < until && at.hour() - self.now.hour() <= LONGEST_GAP {
            let next = at.next_hour().min(until);
            for (channel, sum) in [&self.raw, &self.sessions].into_iter().zip(&mut expected) {
                *sum += self.usual(channel, at) * next.hours_since(at);
            }
            at = next;
        }
        expected
    }

    /// Requests an hour that are normal in the hour of that moment.
    pub(crate) fn usual_rate(&self, at: Time) -> f64 {
        self.usual(&self.raw, at)
    }

    fn usual(&self, channel: &Channel, at: Time) -> f64 {
        let cell = cell(at.hour());
        if self.is_anchored() {
            f64::from(channel.reference.rate) * channel.reference.cells[cell].get()
        } else {
            channel.cell_rate(cell, self.visits[cell], f64::from(self.hours))
        }
    }
}

/// `clamp((N + 5) / (μ + 5), 1, 4)`: `asked` requests of all siblings together in the last 30 minutes where `expected` were normal, the
/// identity itself left out.
pub fn peer_factor(asked: f64, expected: f64) -> f64 {
    let factor = (asked.max(0.0) + 5.0) / (expected.max(0.0) + 5.0);
    if factor.is_finite() { factor.clamp(1.0, MOST_BY_PEERS) } else { 1.0 }
}

/// The span that [`peer_factor`] looks at, in milliseconds.
pub const PEER_SPAN: i64 = HOUR / 2;
