//! One stream of one identity (its requests, or the starts of its sessions): the bank, what is learned of it, and the frozen reference that it
//! is judged by. Counts hours as it is told; which hours count is the detector's to say.

use crate::{
    bank::{Bank, Level, Shape, Step},
    dispersion::{Dispersion, shape},
    settings::{HALF_LIFE, SHRINKAGE},
    small::{Half, Quarter, Ratio},
    time::{CELLS, cell, is_weekend},
};

/// The hours that wait to be learned.
const RING: usize = crate::settings::LAG as usize;

/// What a stream is judged by: a prior while it is learned, then the approved anchor, which nothing changes but an approval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reference {
    /// Rate of each cell of the week over the mean.
    pub cells: [Ratio; CELLS],
    /// Mean events an hour.
    pub rate: f32,
    /// Events that it rests on.
    pub events: f32,
    /// F by scale, shrunk.
    pub clump: [Half; 3],
}

/// One stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Channel {
    pub bank: Bank,
    pub shape: Shape,
    /// Events an hour that this hour is judged by.
    pub rate: f32,
    /// Earlier events that this rests on.
    pub evidence: Half,
    /// Events an hour that the learner expects in this hour; `rate`, unless that is frozen.
    pub learner_rate: Half,
    /// Decayed counts by cell.
    pub counts: [Half; CELLS],
    /// Decayed count in all.
    pub learned: f32,
    pub dispersion: Dispersion,
    /// Counts of the hours that wait to be learned, and their squared surprises over five minutes.
    pub waiting: [Half; RING],
    pub squares: [Quarter; RING],
    /// Events of the open hour, of its open span of five minutes, and the squared surprises of its closed ones.
    pub in_hour: f32,
    pub in_span: f32,
    pub span_squares: f32,
    /// The open span of five minutes.
    pub span: u8,
    /// Hours of the day that is being learned that count for its dispersion.
    pub day_hours: u8,
    pub reference: Reference,
}

/// Learned hours before buckets of an identity that nobody vouches for last longer than an hour.
const GUESSED_HOURS: f64 = 24.0;
/// Learned events at which a mean rate that nobody vouched for has half of its weight.
const GUESS: f64 = 20.0;

/// The decayed number of hours that a cell was learned from, after so many of them: each keeps half its weight for 28 days.
pub(crate) fn exposure(visits: u8, weekend: bool) -> f64 {
    let keep = keep(weekend);
    (1.0 - keep.powi(i32::from(visits))) / (1.0 - keep)
}

/// What a visit leaves of the ones before: a cell of weekdays is visited five times a week, one of the weekend twice.
fn keep(weekend: bool) -> f64 {
    let visits_per_week = if weekend { 2.0 } else { 5.0 };
    (-168.0 / (HALF_LIFE * visits_per_week)).exp2()
}

impl Channel {
    /// Nothing seen yet: all rests on a prior of `events` events at `rate` an hour.
    pub(crate) fn new(rate: f64, events: f64, cells: [Ratio; CELLS], clump: Option<[f64; 3]>) -> Self {
        let dispersion = clump.map_or_else(Dispersion::default, Dispersion::of_peers);
        let reference = Reference { cells, rate: rate as f32, events: events as f32, clump: [Half::new(1.0); 3] };
        Self {
            bank: Bank::default(),
            shape: Shape::default(),
            rate: 0.0,
            evidence: Half::default(),
            learner_rate: Half::default(),
            counts: [Half::default(); CELLS],
            learned: events as f32,
            dispersion,
            waiting: [Half::default(); RING],
            squares: [Quarter::default(); RING],
            in_hour: 0.0,
            in_span: 0.0,
            span_squares: 0.0,
            span: 0,
            day_hours: 0,
            reference,
        }
    }

    /// Mean events an hour as learned so far, from decayed hours `hours`.
    pub(crate) fn learned_rate(&self, hours: f64) -> f64 {
        ((f64::from(self.learned) + 0.5) / hours.max(1e-3)).max(1e-4)
    }

    /// Events an hour of a cell as learned: `(C + m) / (E + m / (λ p))`, a gamma prior of m events at the mean rate and the reference's week.
    pub(crate) fn cell_rate(&self, cell: usize, visits: u8, hours: f64) -> f64 {
        let typical = (self.learned_rate(hours) * self.reference.cells[cell].get()).max(1e-6);
        (self.counts[cell].get() + SHRINKAGE) / (exposure(visits, cell >= 24) + SHRINKAGE / typical)
    }

    /// One event of the open hour, for the learner.
    pub(crate) fn count(&mut self, span: u8) {
        if span > self.span {
            self.close_spans(span);
        }
        self.in_span += 1.0;
        self.in_hour += 1.0;
    }

    fn close_spans(&mut self, next: u8) {
        let mean = self.learner_rate.get() as f32 / 12.0;
        self.span_squares += (self.in_span - mean).powi(2) + f32::from(next - self.span - 1) * mean * mean;
        (self.span, self.in_span) = (next, 0.0);
    }

    /// The open hour is over: it waits in `slot` to be learned.
    pub(crate) fn close_hour(&mut self, slot: usize) {
        self.close_spans(12);
        self.waiting[slot] = Half::new(f64::from(self.in_hour));
        self.squares[slot] = Quarter::new(f64::from(self.span_squares));
        self.forget_hour();
    }

    /// The open hour begins again at nothing.
    pub(crate) fn forget_hour(&mut self) {
        (self.in_hour, self.in_span, self.span_squares, self.span) = (0.0, 0.0, 0.0, 0);
    }

    /// Learns the hour that waits in `slot`. `visits` of its cell are without this one, `hours` too.
    pub(crate) fn commit(&mut self, slot: usize, hour: i64, visits: u8, hours: f64) {
        let cell = cell(hour);
        let count = self.waiting[slot].get();
        let expected = self.cell_rate(cell, visits, hours);
        self.dispersion.decay();
        self.dispersion.hour(&mut self.day_hours, hour, count, expected, self.squares[slot].get(), visits >= 2);
        self.counts[cell] = Half::new(self.counts[cell].get() * keep(is_weekend(hour)) + count);
        self.learned = (f64::from(self.learned) * (-1.0 / HALF_LIFE).exp2() + count) as f32;
    }

    /// Begins an hour: what is expected in it, and how the buckets see it. `frozen` holds the exposures of weekdays and weekends of the
    /// anchor, if there is one; without one, `vouched` says whether the prior is more than a guess.
    pub(crate) fn open_hour(&mut self, hour: i64, visits: u8, hours: f64, frozen: Option<[f64; 2]>, vouched: bool) {
        let cell = cell(hour);
        let learner = self.cell_rate(cell, visits, hours);
        self.learner_rate = Half::new(learner);
        let mut lean = SHRINKAGE;
        let total = if let Some(exposures) = frozen {
            let rate = f64::from(self.reference.rate) * self.reference.cells[cell].get();
            self.rate = rate as f32;
            self.evidence = Half::new(rate * exposures[usize::from(is_weekend(hour))] + SHRINKAGE);
            f64::from(self.reference.events)
        } else {
            self.rate = learner as f32;
            if !vouched {
                // A guess convicts nobody: what it weighs grows with what was seen.
                lean *= f64::from(self.learned) / (f64::from(self.learned) + GUESS);
            }
            self.evidence = Half::new(self.counts[cell].get() + lean);
            self.shape = shape(self.dispersion.clump(self.learned_rate(hours)), self.learned_rate(hours));
            f64::from(self.learned)
        };
        if frozen.is_none() && !vouched && hours < GUESSED_HOURS {
            // What was expected by a guess must not be held against anybody with the weight of what was learned later.
            self.bank.clear();
        }
        self.bank.hour(self.evidence.get(), total + lean);
    }

    /// What was learned, as what to be judged by from now on.
    pub(crate) fn as_reference(&self, visits: &[u8; CELLS], hours: f64) -> Reference {
        let rate = self.learned_rate(hours);
        let cells = std::array::from_fn(|cell| Ratio::new(self.cell_rate(cell, visits[cell], hours) / rate));
        Reference { cells, rate: rate as f32, events: self.learned, clump: self.dispersion.clump(rate).map(Half::new) }
    }

    /// Is judged by that from now on.
    pub(crate) fn freeze(&mut self, reference: Reference) {
        self.reference = reference;
        self.shape = shape(reference.clump.map(Half::get), f64::from(reference.rate));
    }

    /// What is expected over so many hours of the open hour; a person and the peers let it be that many times as much.
    pub(crate) fn step(&self, hours: f64, [person, peers]: [f64; 2]) -> Step {
        let expected = f64::from(self.rate) * hours * person;
        Step { expected, crowd: expected * (peers - 1.0).max(0.0), evidence: self.evidence.get() }
    }

    /// The fullest bucket as if there were no peers: what decides on learning, where nobody else may have a say.
    pub(crate) fn own_level(&self, hours: f64, person: f64) -> Option<Level> {
        let mut bank = self.bank;
        for bucket in &mut bank.0 {
            bucket.crowd = 0.0;
        }
        bank.level(self.step(hours, [person, 1.0]), &self.shape, 0)
    }

    /// The fullest bucket from `least` on, after `hours` without an event.
    pub(crate) fn level(&self, hours: f64, factors: [f64; 2], least: usize) -> Option<Level> {
        self.bank.level(self.step(hours, factors), &self.shape, least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exposure_grows_to_what_28_days_of_half_life_hold() {
        assert_eq!(exposure(0, false), 0.0);
        assert!((exposure(1, true) - 1.0).abs() < 1e-12);
        assert!((exposure(255, false) - 29.4).abs() < 0.1, "{}", exposure(255, false));
        assert!((exposure(255, true) - 12.05).abs() < 0.1, "{}", exposure(255, true));
    }

    #[test]
    fn the_hours_of_the_week_are_learned_apart() {
        let mut channel = Channel::new(6.0, 6.0, [Ratio::default(); CELLS], None);
        let (mut visits, mut hours) = ([0_u8; CELLS], 1.0);
        for hour in 0..24 * 7 * 8 {
            let busy = (9..17).contains(&(hour % 24)) && !is_weekend(hour);
            channel.waiting[0] = Half::new(if busy { 20.0 } else { 1.0 });
            channel.commit(0, hour, visits[cell(hour)], hours);
            visits[cell(hour)] += 1;
            hours = hours * (-1.0 / HALF_LIFE).exp2() + 1.0;
        }
        let rate = |cell: usize| channel.cell_rate(cell, visits[cell], hours);
        assert!((rate(12) - 20.0).abs() < 2.5, "{}", rate(12));
        assert!(rate(3) < 1.3 && rate(36) < 1.7, "{} {}", rate(3), rate(36));
        let reference = channel.as_reference(&visits, hours);
        assert!((f64::from(reference.rate) * reference.cells[12].get() / rate(12) - 1.0).abs() < 0.03);
    }

    #[test]
    fn spans_of_five_minutes_are_squared_whether_anything_happened_or_not() {
        let mut channel = Channel { learner_rate: Half::new(12.0), ..Channel::new(6.0, 6.0, [Ratio::default(); CELLS], None) };
        for _ in 0..3 {
            channel.count(4);
        }
        channel.close_hour(5);
        assert_eq!((channel.waiting[5].get(), channel.squares[5].get()), (3.0, 15.0), "eleven times 1, and once (3 − 1)²");
        assert_eq!((channel.in_hour, channel.span), (0.0, 0));
    }
}
