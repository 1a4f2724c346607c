//! Four leaky buckets over one stream of events. Knows no clock, no season and no reason: it is given how many events were expected.
//!
//! The score of bucket k is a log Bayes factor: `n ln r + (a + n) ln((a + u) / (a + r u))` for n events where u were expected, with the
//! normal rate integrated out over a gamma distribution that rests on `a` earlier events (Poisson–gamma conjugacy). For `a → ∞` it is the
//! Poisson CUSUM: + ln r an event, − (r − 1) an expected one, never below zero (Page 1954); a leaky bucket. For a Haar prior the ratio is
//! the invariant e-value of Pérez-Ortiz, Lardy, de Heide, Grünwald, Ann. Statist. 52(4) 2024: it limits itself while history is short.
//!
//! What peers add to the expectation (`crowd`) is kept apart and decides no reset, so that it can lower a score and never raise one.

use crate::{
    settings::{BRIM, BUCKETS, LN_RATIOS, OFFSETS, RATIOS},
    small::Half,
};

/// How a bucket sees the stream: what its events and its expectation are scaled with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shape {
    /// φ: events come in clumps of this size, at least 1.
    pub clump: [Half; BUCKETS],
    /// lev: the level may be this many times normal, 1 to 6.
    pub level: [Half; BUCKETS],
}

impl Default for Shape {
    fn default() -> Self {
        Self { clump: [Half::new(1.0); BUCKETS], level: [Half::new(1.0); BUCKETS] }
    }
}

/// One bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Bucket {
    /// n: events since it was last empty, in clumps.
    pub n: f32,
    /// u: events that were expected meanwhile, in the same measure.
    pub u: f32,
    /// What peers had more than usual, in the same measure.
    pub crowd: f32,
    /// A: earlier events that the expectation rests on; 0 while it is empty.
    pub a: f32,
    /// The second since 1970 of its first event.
    pub start: u32,
    /// The pod that may have made most of its events: Boyer and Moore's candidate for the majority; 0 is none.
    pub who: u32,
    /// Events since it was last empty, as they came; saturates.
    pub asked: u16,
    /// Those of the candidate since it is one; a lower bound of all it made.
    pub by: u16,
    /// Votes for the candidate; saturate.
    pub votes: u8,
}

/// What happens at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// Events that were expected since the last step.
    pub expected: f64,
    /// Those that were expected on top because peers ask more than usual; at least 0.
    pub crowd: f64,
    /// Earlier events that the expectation of this cell rests on.
    pub evidence: f64,
}

/// The score of one bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Level {
    /// Which.
    pub bucket: usize,
    /// log evidence less the bucket's offset: comparable with a threshold.
    pub score: f64,
}

/// The bank.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Bank(pub(crate) [Bucket; BUCKETS]);

impl Bank {
    /// Takes in what was expected, and then one event of `pod` (0: unknown) at that second, unless it is excused.
    pub(crate) fn event(&mut self, step: Step, shape: &Shape, second: u32, pod: u32, excused: bool) {
        for (k, bucket) in self.0.iter_mut().enumerate() {
            let clump = shape.clump[k].get();
            bucket.flow(step, shape.level[k].get() / clump);
            let slope = bucket.page(k, step.evidence, clump);
            if !excused {
                bucket.add(k, step.evidence, clump, slope, second, pod);
            }
        }
    }

    /// Takes in what was expected, without an event: at the border of an hour, before the expectation changes.
    pub(crate) fn flow(&mut self, step: Step, shape: &Shape) {
        for (k, bucket) in self.0.iter_mut().enumerate() {
            bucket.flow(step, shape.level[k].get() / shape.clump[k].get());
        }
    }

    /// A new hour begins, whose expectation rests on other events as well: a bucket that spans both rests on all of them.
    pub(crate) fn hour(&mut self, evidence: f64, total: f64) {
        for bucket in &mut self.0 {
            if bucket.a > 0.0 {
                bucket.a = (f64::from(bucket.a) + evidence).min(total.max(evidence)) as f32;
            }
        }
    }

    /// Empties all buckets.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The fullest bucket that is not empty, of those from `least` on, once what was expected since the last step is taken in.
    pub(crate) fn level(&self, step: Step, shape: &Shape, least: usize) -> Option<Level> {
        let mut best: Option<Level> = None;
        for (k, bucket) in self.0.iter().enumerate().skip(least) {
            if bucket.n <= 0.0 {
                continue;
            }
            let mut bucket = *bucket;
            let clump = shape.clump[k].get();
            bucket.flow(step, shape.level[k].get() / clump);
            let a = f64::from(bucket.a).max(step.evidence) / clump;
            let own = bucket.evidence(k, a, f64::from(bucket.u));
            if own <= 0.0 {
                continue;
            }
            let crowded = |u: f64| bucket.evidence(k, a, u).clamp(0.0, own);
            let score = if bucket.crowd > 0.0 { crowded(f64::from(bucket.u) + f64::from(bucket.crowd)) } else { own } - OFFSETS[k];
            if best.is_none_or(|best| score > best.score) {
                best = Some(Level { bucket: k, score });
            }
        }
        best
    }
}

impl Bucket {
    fn flow(&mut self, step: Step, scale: f64) {
        self.u = (f64::from(self.u) + step.expected * scale) as f32;
        self.crowd = (f64::from(self.crowd) + step.crowd * scale) as f32;
    }

    /// ln of the Bayes factor when `u` events were expected.
    fn evidence(&self, k: usize, a: f64, u: f64) -> f64 {
        self.evidence_at(k, a, slope(k, a, u))
    }

    fn evidence_at(&self, k: usize, a: f64, slope: f64) -> f64 {
        let n = f64::from(self.n);
        n * LN_RATIOS[k] + (a + n) * slope
    }

    /// Page's reset: evidence for "nothing happened" is not saved up. Peers decide nothing here; what they excuse is cut to what there is.
    /// Returns the slope after it, which the next event needs.
    fn page(&mut self, k: usize, evidence: f64, clump: f64) -> f64 {
        if self.n <= 0.0 {
            *self = Self::default();
            return 0.0;
        }
        let a = f64::from(self.a).max(evidence) / clump;
        let u = f64::from(self.u);
        let slope = slope(k, a, u);
        if self.evidence_at(k, a, slope) <= 0.0 {
            *self = Self::default();
            return 0.0;
        }
        if self.crowd > 0.0 && self.evidence(k, a, u + f64::from(self.crowd)) < 0.0 {
            // The expectation at which the evidence is nil: (a + U) / (a + r U) = r^(−n / (a + n)).
            let n = f64::from(self.n);
            let share = (-LN_RATIOS[k] * n / (a + n)).exp();
            let nil = a * (1.0 - share) / (RATIOS[k] * share - 1.0);
            // Rounding must not make it negative: that would raise a score.
            self.crowd = (nil - u).clamp(0.0, f64::from(self.crowd)) as f32;
        }
        slope
    }

    fn add(&mut self, k: usize, evidence: f64, clump: f64, slope: f64, second: u32, pod: u32) {
        if self.a <= 0.0 {
            self.a = evidence as f32;
            self.start = second;
        }
        self.n = (f64::from(self.n) + 1.0 / clump) as f32;
        self.asked = self.asked.saturating_add(1);
        self.vote(pod);
        let a = f64::from(self.a).max(evidence) / clump;
        let most = BRIM + OFFSETS[k];
        // The brim is that of the stream alone: what peers excuse must not change how much flows over.
        if self.evidence_at(k, a, slope) > most {
            self.n = ((most - a * slope) / (LN_RATIOS[k] + slope)) as f32;
        }
    }

    fn vote(&mut self, pod: u32) {
        if pod != 0 && pod == self.who {
            self.votes = self.votes.saturating_add(1);
            self.by = self.by.saturating_add(1);
        } else if self.votes > 0 {
            self.votes -= 1;
        } else {
            (self.who, self.votes, self.by) = (pod, u8::from(pod != 0), u16::from(pod != 0));
        }
    }
}

/// ln((a + u) / (a + r u)). Its error, times a, is that of a score: for a billion remembered events still below 10⁻⁶.
fn slope(k: usize, a: f64, u: f64) -> f64 {
    ((a + u) / (a + RATIOS[k] * u)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(expected: f64, evidence: f64) -> Step {
        Step { expected, crowd: 0.0, evidence }
    }

    #[test]
    fn with_endless_history_a_bucket_is_a_cusum() {
        let (mut bank, shape) = (Bank::default(), Shape::default());
        let mut cusum = [0.0_f64; BUCKETS];
        for expected in [0.5, 0.1, 0.3, 2.0, 0.01, 0.02, 0.01, 0.3, 0.2] {
            bank.event(step(expected, 1e9), &shape, 0, 0, false);
            for (k, value) in cusum.iter_mut().enumerate() {
                *value = (*value - (RATIOS[k] - 1.0) * expected).max(0.0) + LN_RATIOS[k];
                let ours = bank.0[k].evidence(k, 1e9, f64::from(bank.0[k].u));
                assert!((ours - *value).abs() < 1e-4, "bucket {k}: {ours} and {value}");
            }
        }
    }

    #[test]
    fn eight_remembered_events_convict_a_thief_of_ten_times_the_normal_and_never_one_of_two_point_seven() {
        let shape = Shape::default();
        let highest = |factor: f64| {
            let mut bank = Bank::default();
            let mut highest = 0.0_f64;
            for _ in 0..5_000 {
                bank.event(step(1.0 / factor, 8.0), &shape, 0, 0, false);
                highest = highest.max(bank.level(step(0.0, 8.0), &shape, 1).map_or(0.0, |level| level.score));
            }
            highest
        };
        assert!(highest(2.7) < 8.0, "{}", highest(2.7));
        assert!(highest(10.0) > 12.0, "{}", highest(10.0));
    }

    #[test]
    fn a_full_bucket_gets_no_fuller() {
        let (mut bank, shape) = (Bank::default(), Shape::default());
        for _ in 0..100_000 {
            bank.event(step(1e-9, 100.0), &shape, 0, 0, false);
        }
        let level = bank.level(step(0.0, 100.0), &shape, 0).unwrap();
        assert!((level.score - BRIM).abs() < 0.01, "{level:?}");
        assert_eq!(bank.0[3].asked, u16::MAX);
        assert_eq!(bank.level(step(90.0, 100.0), &shape, 0).map_or(0.0, |level| level.score.max(0.0)), 0.0, "and it drains");
    }

    #[test]
    fn who_made_most_of_it_is_remembered() {
        let (mut bank, shape) = (Bank::default(), Shape::default());
        for at in 0..40_u32 {
            let pod = if at % 4 == 0 { 100 + at } else { 7 };
            bank.event(step(1e-6, 100.0), &shape, at, pod, false);
        }
        assert_eq!((bank.0[3].who, bank.0[3].by > 25), (7, true), "{:?}", bank.0[3]);
    }

    #[test]
    fn a_crowd_lowers_a_score_and_leaves_no_credit_behind() {
        let shape = Shape::default();
        let (mut alone, mut crowded) = (Bank::default(), Bank::default());
        for _ in 0..20 {
            alone.event(step(0.2, 100.0), &shape, 0, 0, false);
            crowded.event(Step { expected: 0.2, crowd: 0.6, evidence: 100.0 }, &shape, 0, 0, false);
        }
        let score = |bank: &Bank| bank.level(step(0.0, 100.0), &shape, 0).map_or(0.0, |level| level.score);
        assert!(score(&crowded) < score(&alone) - 3.0);
        let before = score(&crowded);
        for _ in 0..10 {
            crowded.event(step(0.01, 100.0), &shape, 0, 0, false);
        }
        assert!(score(&crowded) > before + 15.0, "what the crowd would have excused is not saved up: {}", score(&crowded));
    }
}
