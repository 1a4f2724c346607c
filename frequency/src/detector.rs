//! The detector of one identity: two channels on one clock. Takes events and the passing of time; what follows from its score is its
//! caller's to do. Does no I/O, looks at no clock, and never panics: whatever order times come in, it goes on from what it knows.
//!
//! Its parts: `hours` learns, `credit` holds what excuses requests, `anchor` what it is judged by, `score` what it says.

use crate::{
    channel::Channel,
    prior::{Belief, Prior},
    settings::{LEAST_THRESHOLD, LONGEST_GAP, review_threshold},
    small::Half,
    time::{CELLS, HOUR, Time},
};

/// A pod as the detector remembers it: 32 bits of its UID, enough to tell the pods of one identity apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodKey(pub(crate) u32);

impl PodKey {
    /// The key of a pod's UID: FNV-1a over its bytes. Empty is no pod.
    pub fn of(uid: &str) -> Option<Self> {
        let key = uid.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        (!uid.is_empty()).then_some(Self(key.max(1)))
    }

    /// The key as a number, never 0.
    pub fn get(self) -> u32 {
        self.0
    }

    /// The key that [`Self::get`] gave; 0 is no pod.
    pub fn from_raw(key: u32) -> Option<Self> {
        (key != 0).then_some(Self(key))
    }
}

/// One request, as it was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its creation. Earlier than what was seen before, it counts as of the last moment seen.
    pub at: Time,
    /// Who asked, if known.
    pub pod: Option<PodKey>,
}

/// Everything that is remembered of one identity: a plain value of constant size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detector {
    pub(crate) raw: Channel,
    pub(crate) sessions: Channel,
    /// Up to here, time was seen to pass.
    pub(crate) now: Time,
    /// Milliseconds of the hour of `now` of which what was expected is in the buckets.
    pub(crate) flowed: u32,
    /// Second of the last event.
    pub(crate) last: u32,
    /// Hours that each cell was learned from.
    pub(crate) visits: [u8; CELLS],
    /// The same in all, decayed, with what the prior stands for.
    pub(crate) hours: f32,
    /// Hours of the day that wait to be learned, by hour of day, and those of them that an alarm holds back.
    pub(crate) waiting: u32,
    pub(crate) held: u32,
    pub(crate) exposures: [Half; 2],
    /// By how much the peers ask more than usual, and how many they are.
    pub(crate) peers: Half,
    pub(crate) siblings: u16,
    /// Mean rates at the last approval by a person, and the most that a cell may have grown since.
    pub(crate) approved: [Half; 2],
    pub(crate) grown: Half,
    /// Requests that are excused until then, and how many one start of a pod earns.
    pub(crate) credit: Half,
    pub(crate) credit_until: u32,
    pub(crate) per_start: Half,
    /// Since the first of these credits: what was excused, by how many starts of pods and of containers.
    pub(crate) excused: u16,
    pub(crate) starts: u16,
    pub(crate) restarts: u16,
    /// Events that were found after a time without observation and have not come yet, what was expected then, and when it ended.
    pub(crate) gap_events: u16,
    pub(crate) gap_expected: [Half; 2],
    pub(crate) gap_until: u32,
    /// Seconds by which the source's clock stepped back.
    pub(crate) behind: u32,
    /// What a person expects, as a multiple of normal, and until when.
    pub(crate) expect: Half,
    pub(crate) expect_until: u32,
    /// Hours since 1970 of the first moment and of the anchor.
    pub(crate) born: u32,
    pub(crate) anchored: u32,
    pub(crate) flags: u8,
}

/// A prior vouches for this identity.
pub(crate) const KNOWN: u8 = 1;
/// There is an anchor.
pub(crate) const ANCHORED: u8 = 2;
/// The open hour was not seen from its start, or not whole.
pub(crate) const OPEN_VOID: u8 = 4;
/// An alarm holds the open hour back.
pub(crate) const OPEN_HELD: u8 = 8;

/// A time that is earlier by more than this shows that the clock was set back, not that events came in disorder.
const DISORDER: i64 = 600_000;

impl Detector {
    /// Begins to watch an identity at that moment.
    pub fn new(at: Time, prior: Prior) -> Self {
        let belief = Belief::from(prior);
        let [raw, sessions] = belief.clump;
        let of_sessions = belief.weight * belief.sessions / belief.rate;
        let mut detector = Self {
            raw: Channel::new(belief.rate, belief.weight, belief.cells[0], raw),
            sessions: Channel::new(belief.sessions, of_sessions, belief.cells[1], sessions),
            now: at,
            flowed: at.of_hour(),
            last: 0,
            visits: [0; CELLS],
            hours: (belief.weight / belief.rate) as f32,
            waiting: 0,
            held: 0,
            exposures: [Half::default(); 2],
            peers: Half::new(1.0),
            siblings: 0,
            approved: [Half::default(); 2],
            grown: Half::new(1.0),
            credit: Half::default(),
            credit_until: 0,
            per_start: Half::new(2.5),
            excused: 0,
            starts: 0,
            restarts: 0,
            gap_events: 0,
            gap_expected: [Half::default(); 2],
            gap_until: 0,
            behind: 0,
            expect: Half::new(1.0),
            expect_until: 0,
            born: u32::try_from(at.hour()).unwrap_or(u32::MAX),
            anchored: 0,
            flags: OPEN_VOID | if prior == Prior::Unknown { 0 } else { KNOWN },
        };
        detector.open_hour();
        detector
    }

    /// Takes in one request. Call it for every request in the order of their creation; how late or early is defined for all:
    ///
    /// - at the moment of the last one: nothing was expected in between, so a burst counts in full;
    /// - earlier by up to ten minutes: as of the last moment seen; it excuses nothing;
    /// - earlier by more: the clock was set back. Time goes on from the last moment seen, and the two are one again when the clock has caught up;
    /// - later by more than 400 days: nobody watched that long. Nothing is learned of it and the buckets are emptied.
    pub fn observe(&mut self, event: Event) {
        let at = self.on_our_clock(event.at);
        self.advance(at);
        let backlog = self.backlog(event.at);
        let excused = self.excuse();
        let second = self.now.second();
        let pod = event.pod.map_or(0, |pod| pod.0);
        let starts_session = second - self.last > self.session_gap();
        self.last = second;

        let (hours, factor) = (self.pending(), self.factors());
        self.flowed = self.now.of_hour();
        let mut step = self.raw.step(hours, factor);
        step.expected += backlog[0];
        self.raw.bank.event(step, &self.raw.shape, second, pod, excused);
        let mut step = self.sessions.step(hours, factor);
        step.expected += backlog[1];
        let span = self.now.five_minutes();
        if starts_session && !excused {
            self.sessions.bank.event(step, &self.sessions.shape, second, pod, false);
            self.sessions.count(span);
        } else {
            self.sessions.bank.flow(step, &self.sessions.shape);
        }
        if !excused {
            self.raw.count(span);
            self.hold_if_alarmed();
        }
    }

    /// Lets time pass to `to` without a request; a moment that has passed changes nothing.
    pub fn advance(&mut self, to: Time) {
        if to.hour() - self.now.hour() > LONGEST_GAP {
            self.begin_anew(to);
            return;
        }
        while self.now < to {
            let border = self.now.next_hour();
            if to < border {
                self.now = to;
            } else {
                // What was expected in the old hour belongs into the buckets before the expectation changes.
                self.flow_to(HOUR as u32);
                self.now = border;
                self.flowed = 0;
                self.close_hour(border.hour() - 1);
                self.open_hour();
            }
        }
    }

    /// Empties the buckets: after a lock, whose time is punishment enough.
    pub fn reset_buckets(&mut self) {
        self.raw.bank.clear();
        self.sessions.bank.clear();
    }

    /// The last moment that was seen.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The first moment that was seen, to the hour.
    pub fn born(&self) -> Time {
        Time::from_millis(i64::from(self.born) * HOUR)
    }

    /// Normal requests an hour, averaged over the week.
    pub fn rate(&self) -> f64 {
        self.mean(&self.raw)
    }

    /// Requests an hour that this hour is judged by.
    pub fn rate_now(&self) -> f64 {
        f64::from(self.raw.rate)
    }

    /// Seconds without a request after which the next one starts a session: clamp(0.15 / λ, 30 s, 30 min) (runs declustering).
    pub(crate) fn session_gap(&self) -> u32 {
        (0.15 / self.rate() * 3600.0).clamp(30.0, 1800.0) as u32
    }

    pub(crate) fn mean(&self, channel: &Channel) -> f64 {
        if self.is_anchored() { f64::from(channel.reference.rate) } else { channel.learned_rate(f64::from(self.hours)) }
    }

    /// Hours whose expectation is not in the buckets yet.
    pub(crate) fn pending(&self) -> f64 {
        f64::from(self.now.of_hour().saturating_sub(self.flowed)) / HOUR as f64
    }

    /// Moves what was expected until now into the buckets.
    pub(crate) fn flow(&mut self) {
        self.flow_to(self.now.of_hour());
    }

    fn flow_to(&mut self, of_hour: u32) {
        let (hours, factor) = (f64::from(of_hour.saturating_sub(self.flowed)) / HOUR as f64, self.factors());
        self.flowed = of_hour;
        for channel in [&mut self.raw, &mut self.sessions] {
            let step = channel.step(hours, factor);
            channel.bank.flow(step, &channel.shape);
        }
    }

    /// A moment of the source's clock on ours, which is never set back.
    fn on_our_clock(&mut self, stamp: Time) -> Time {
        if stamp >= self.now {
            self.behind = 0;
            return stamp;
        }
        if self.gap_events > 0 && stamp.second() <= self.gap_until {
            return self.now;
        }
        let ours = stamp.plus_millis(i64::from(self.behind) * 1000);
        let late = self.now.millis() - ours.millis();
        if late > DISORDER {
            self.behind = self.now.second() - stamp.second();
        }
        ours.max(self.now)
    }

    /// An hour with an alarm, and those since the fullest bucket began to fill, are not learned unless a person says that they were expected.
    ///
    /// Where nothing vouches for the baseline there is nothing to hold it against: an unknown identity would never be learned.
    fn hold_if_alarmed(&mut self) {
        if self.flags & KNOWN == 0 && !self.is_anchored() {
            return;
        }
        for channel in [&self.raw, &self.sessions] {
            // Almost always this much is clear without a logarithm.
            if !channel.may_exceed(LEAST_THRESHOLD) {
                continue;
            }
            let threshold = review_threshold(self.mean(channel));
            let Some(level) = channel.own_level(0.0, 1.0).filter(|level| level.score >= threshold) else { continue };
            let since = i64::from(channel.bank.0[level.bucket].start) * 1000 / HOUR;
            self.flags |= OPEN_HELD;
            for back in 1..=(self.now.hour() - since).clamp(0, 24) {
                self.held |= 1 << (self.now.hour() - back).rem_euclid(24);
            }
            return;
        }
    }
}

impl Channel {
    fn may_exceed(&self, threshold: f64) -> bool {
        use crate::settings::{LN_RATIOS, OFFSETS};
        (0..crate::settings::BUCKETS).any(|k| f64::from(self.bank.0[k].n) * LN_RATIOS[k] - OFFSETS[k] >= threshold)
    }
}
