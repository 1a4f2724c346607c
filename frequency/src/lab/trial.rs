//! Runs detectors over traffic: learns, attacks, counts false alarms and delays as the operator's loop would, on simulated time.

use super::{at, random::Random, traffic::Traffic};
use crate::{Detector, Event, PodKey, Prior, Settings, Tier};

/// Hours of the 28 days that are learned first.
pub const LEARNED: f64 = 28.0 * 24.0;

/// A defence that can be left out, to see what it is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ablation {
    /// Nothing is left out.
    Whole,
    /// One rate for all hours.
    NoSeason,
    /// No clumps and no level.
    NoDispersion,
    /// Starts of pods excuse nothing.
    NoCredits,
    /// No channel for session starts.
    NoSessions,
    /// What is learned is judged by at once: no anchor.
    NoAnchor,
    /// The rate is taken for known, whatever it rests on.
    NoEvidence,
}

impl Ablation {
    /// All but the whole.
    pub const PARTS: [Self; 6] = [Self::NoSeason, Self::NoDispersion, Self::NoCredits, Self::NoSessions, Self::NoAnchor, Self::NoEvidence];

    /// For tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Whole => "ours",
            Self::NoSeason => "without hours of the week",
            Self::NoDispersion => "without dispersion",
            Self::NoCredits => "without credits",
            Self::NoSessions => "without sessions",
            Self::NoAnchor => "without anchor",
            Self::NoEvidence => "without evidence",
        }
    }
}

/// One alarm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alarm {
    /// Hours since Monday.
    pub at: f64,
    /// The tier it reached at that moment.
    pub tier: Tier,
}

/// A run over one identity's traffic.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    /// What it does.
    pub traffic: &'a Traffic,
    /// What is left out.
    pub without: Ablation,
    next: usize,
    next_start: usize,
}

impl<'a> Run<'a> {
    /// From the beginning of the traffic.
    pub fn new(traffic: &'a Traffic, without: Ablation) -> Self {
        Self { traffic, without, next: 0, next_start: 0 }
    }

    /// Goes on with other traffic from that hour on.
    #[must_use]
    pub fn switch(&self, traffic: &'a Traffic, from: f64) -> Self {
        let next = traffic.requests.partition_point(|at| *at < from);
        let next_start = traffic.starts.partition_point(|at| *at < from);
        Self { traffic, without: self.without, next, next_start }
    }

    /// Feeds the detector up to `until`, calling `each` after every request with its hour; stops when that says so.
    pub fn feed(&mut self, detector: &mut Detector, until: f64, mut each: impl FnMut(&mut Detector, f64) -> bool) {
        while let Some(request) = self.traffic.requests.get(self.next).copied().filter(|at| *at < until) {
            while let Some(start) = self.traffic.starts.get(self.next_start).copied().filter(|at| *at <= request) {
                if self.without != Ablation::NoCredits {
                    detector.pod_started(at(start));
                }
                self.next_start += 1;
            }
            self.next += 1;
            detector.observe(Event { at: at(request), pod: PodKey::of("a") });
            detector.ablate(self.without);
            if each(detector, request) {
                return;
            }
        }
        detector.advance(at(until));
    }

    /// A detector that has learned 28 days of this traffic and is anchored, unless that is left out.
    pub fn learned(&mut self) -> Detector {
        let mut detector = Detector::new(at(0.0), Prior::Unknown);
        detector.ablate(self.without);
        self.feed(&mut detector, LEARNED, |_, _| false);
        if self.without != Ablation::NoAnchor {
            detector.approve();
        }
        detector.ablate(self.without);
        detector
    }

    /// Alarms of at least that tier until `until`. Each resets the buckets, as a lock does; within 24 hours they are one.
    pub fn alarms(&mut self, detector: &mut Detector, until: f64, tier: Tier, settings: &Settings) -> Vec<Alarm> {
        let mut alarms: Vec<Alarm> = vec![];
        let without = self.without;
        self.feed(detector, until, |detector, at| {
            if let Some(reached) = reached(detector, without, settings).filter(|reached| *reached >= tier) {
                if alarms.last().is_none_or(|last| at > last.at + 24.0) {
                    alarms.push(Alarm { at, tier: reached });
                }
                detector.reset_buckets();
            }
            false
        });
        alarms
    }

    /// Hours until the first alarm of at least that tier, counted from `from`; `None` if there is none before `until`.
    pub fn delay(&mut self, detector: &mut Detector, from: f64, until: f64, tier: Tier, settings: &Settings) -> Option<f64> {
        let mut found = None;
        let without = self.without;
        self.feed(detector, until, |detector, at| {
            if at >= from && reached(detector, without, settings).is_some_and(|reached| reached >= tier) {
                found = Some(at - from);
            }
            found.is_some()
        });
        found
    }
}

fn reached(detector: &Detector, without: Ablation, settings: &Settings) -> Option<Tier> {
    let tier = match without {
        Ablation::NoSessions => detector.score_of(crate::Stream::Requests, settings).tier,
        _ => detector.score(settings).tier,
    };
    (tier > Tier::Normal).then_some(tier)
}

impl Detector {
    /// Leaves a defence out, by undoing what it did.
    fn ablate(&mut self, without: Ablation) {
        let rates = [self.mean(&self.raw), self.mean(&self.sessions)];
        for (channel, mean) in [&mut self.raw, &mut self.sessions].into_iter().zip(rates) {
            match without {
                Ablation::NoSeason => channel.rate = mean as f32,
                Ablation::NoDispersion => channel.shape = crate::bank::Shape::default(),
                Ablation::NoEvidence => channel.evidence = crate::small::Half::new(1e7),
                Ablation::Whole | Ablation::NoCredits | Ablation::NoSessions | Ablation::NoAnchor => {}
            }
        }
    }
}

/// Mean and median of delays; what was not found counts as `censored`.
pub fn mean_and_median(delays: &[Option<f64>], censored: f64) -> (f64, f64) {
    let mut hours: Vec<f64> = delays.iter().map(|delay| delay.unwrap_or(censored)).collect();
    hours.sort_by(f64::total_cmp);
    let mean = hours.iter().sum::<f64>() / hours.len().max(1) as f64;
    (mean, hours.get(hours.len() / 2).copied().unwrap_or(censored))
}

/// A bank that knows the rate, from empty: the operational time until its score reaches `threshold`, at `x` times the normal rate; at most
/// `most`.
pub fn known_rate(random: &mut Random, x: f64, threshold: f64, most: f64) -> f64 {
    let shape = crate::bank::Shape::default();
    let mut bank = crate::bank::Bank::default();
    let mut time = 0.0;
    while time < most {
        let gap = random.exponential() / x;
        time += gap;
        bank.event(crate::bank::Step { expected: gap, crowd: 0.0, evidence: 1e7 }, &shape, 0, 0, false);
        // Almost always this much is clear without a logarithm.
        let near = (0..crate::BUCKETS).any(|k| f64::from(bank.0[k].n) * crate::settings::LN_RATIOS[k] - crate::OFFSETS[k] >= threshold);
        let now = crate::bank::Step { expected: 0.0, crowd: 0.0, evidence: 1e7 };
        if near && bank.level(now, &shape, 0).is_some_and(|level| level.score >= threshold) {
            return time;
        }
    }
    most
}

/// One bucket for attacks of `r` times a known rate: the operational time until it reaches `threshold`, from empty, at `rho` times that rate.
pub fn one_bucket(random: &mut Random, r: f64, threshold: f64, rho: f64) -> f64 {
    let (mut level, mut time) = (0.0_f64, 0.0);
    loop {
        let gap = random.exponential() / rho;
        time += gap;
        level = (level - (r - 1.0) * gap).max(0.0) + r.ln();
        if level >= threshold {
            return time;
        }
    }
}

/// One detector, one event after each gap (milliseconds) and the score of each; the sum of scores, so that nothing is optimised away.
pub fn stream(detector: &mut Detector, gaps: &[i64], settings: &Settings) -> f64 {
    let mut sum = 0.0;
    for gap in gaps {
        detector.observe(Event { at: detector.now().plus_millis(*gap), pod: None });
        sum += detector.score(settings).value;
    }
    sum
}

/// Many detectors, one event each in the order given, within an hour from `from` (hours since Monday), and the score of each.
pub fn one_each(detectors: &mut [Detector], order: &[u32], from: f64, settings: &Settings) -> f64 {
    let mut sum = 0.0;
    for (number, which) in order.iter().enumerate() {
        let Some(detector) = detectors.get_mut(*which as usize) else { continue };
        detector.observe(Event { at: at(from + number as f64 / order.len() as f64), pod: None });
        sum += detector.score(settings).value;
    }
    sum
}

/// `count` events evenly between two moments (seconds since 1970); the highest score among them.
pub fn counts(detector: &mut Detector, from: i64, to: i64, count: usize, settings: &Settings) -> f64 {
    let mut highest = 0.0_f64;
    let (from, span) = (crate::Time::from_seconds(from), (to - from).max(0) as f64 * 1000.0);
    for event in 0..count {
        let at = from.plus_millis((span * (event as f64 + 0.5) / count as f64) as i64);
        detector.observe(Event { at, pod: None });
        highest = highest.max(detector.score(settings).value);
    }
    detector.advance(from.plus_millis(span as i64));
    highest
}
