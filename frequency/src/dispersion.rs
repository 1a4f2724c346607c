//! How unevenly events come: in clumps (several at once) or at a wandering level (more on some hours or days), told apart by the scale at
//! which the excess shows. Learns from hours that were predicted before they were seen. Decides nothing.
//!
//! The index of dispersion `F = Σ(n − μ)² / Σμ` (Fano 1947; Cox and Lewis 1966) is 1 for Poisson at every scale. Clumps raise it alike at all
//! scales above their own; a level with coefficient of variation c adds `c² μ`, which grows with the scale. So the growth between scales
//! gives the level, and what is left is the clump. Taking clumps from the largest scale blinds the detector: day-to-day wander is a level.

use crate::{
    bank::Shape,
    settings::{BUCKETS, HALF_LIFE, LEVEL_DEVIATIONS, LEVEL_MOST, LN_RATIOS, OFFSETS, divergence, review_threshold},
    small::Half,
};

/// Five minutes, an hour, a day: in hours.
pub(crate) const SCALES: [f64; 3] = [1.0 / 12.0, 1.0, 24.0];
/// Pseudo-events that hold a short history near 1.
const LEAN: f64 = 3.0;

/// Sums of squared surprises and of expectations, by scale; all decayed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Dispersion {
    /// Σ(n − μ)².
    pub squares: [f32; 3],
    /// Σμ.
    pub expected: [f32; 3],
    /// Hours and days that are in it.
    pub bins: [f32; 2],
    /// Events and expectation of the day that is not over.
    pub day: [f32; 2],
}

impl Dispersion {
    /// What peers show, with the weight of 20 expected events.
    pub(crate) fn of_peers(clump: [f64; 3]) -> Self {
        Self { squares: clump.map(|clump| (20.0 * clump.clamp(1.0, 1e4)) as f32), expected: [20.0; 3], ..Self::default() }
    }

    /// One committed hour passes.
    pub(crate) fn decay(&mut self) {
        let keep = (-1.0 / HALF_LIFE).exp2() as f32;
        for value in self.squares.iter_mut().chain(&mut self.expected).chain(&mut self.bins) {
            *value *= keep;
        }
    }

    /// An hour with `count` events where `expected` were, and the squared surprises of its spans of five minutes. `counts` is false if its
    /// cell was seen too seldom to expect anything: then its day does not count either. `day_hours` are the hours of its day that count.
    pub(crate) fn hour(&mut self, day_hours: &mut u8, hour: i64, count: f64, expected: f64, squares: f64, counts: bool) {
        let of_day = hour.rem_euclid(24);
        if of_day == 0 {
            (self.day, *day_hours) = ([0.0; 2], 0);
        }
        if !counts {
            return;
        }
        let square = (count - expected).powi(2);
        for (scale, square) in [squares, square].into_iter().enumerate() {
            self.squares[scale] += square as f32;
            self.expected[scale] += expected as f32;
        }
        self.bins[0] += 1.0;
        // A day that lacks an hour is no day, and falls behind here.
        if i64::from(*day_hours) != of_day {
            return;
        }
        self.day[0] += count as f32;
        self.day[1] += expected as f32;
        *day_hours += 1;
        if *day_hours == 24 {
            self.squares[2] += (self.day[0] - self.day[1]).powi(2);
            self.expected[2] += self.day[1];
            self.bins[1] += 1.0;
        }
    }

    /// F by scale at a mean rate (events an hour), shrunk towards 1 by one standard error, at most by 60 %.
    pub(crate) fn clump(&self, rate: f64) -> [f64; 3] {
        let bins = [12.0 * f64::from(self.bins[0]), f64::from(self.bins[0]), f64::from(self.bins[1])];
        std::array::from_fn(|scale| {
            let raw = (f64::from(self.squares[scale]) + LEAN) / (f64::from(self.expected[scale]) + LEAN);
            let mean = (SCALES[scale] * rate).max(0.02);
            let error = ((2.0 + 1.0 / mean) / (bins[scale] + 1.0)).sqrt().min(0.6);
            raw * (1.0 - error * (1.0 - ((raw - 1.0) / (4.0 * error)).clamp(0.0, 1.0)))
        })
    }
}

/// What each bucket of a stream with this rate and dispersion has to be scaled with.
pub(crate) fn shape(clump: [f64; 3], rate: f64) -> Shape {
    let rate = rate.max(1e-6);
    let [minutes, hour, day] = clump;
    let mean = SCALES.map(|scale| scale * rate);
    let by_day = ((day - hour) / (mean[2] - mean[1])).max(0.0);
    let by_hour = ((hour - minutes) / (mean[1] - mean[0]) - by_day).max(0.0);
    let threshold = review_threshold(rate);
    let mut shape = Shape::default();
    for k in 0..BUCKETS {
        let height = threshold + OFFSETS[k];
        // How long this bucket takes to overflow when it is the right one.
        let matched = height / (divergence(k) * rate);
        let (own, wander, smaller) = match matched {
            short if short < (SCALES[0] * SCALES[1]).sqrt() => (minutes - (by_day + by_hour) * mean[0], by_day + by_hour, 0.0),
            middle if middle < (SCALES[1] * SCALES[2]).sqrt() => (hour - by_day * mean[1], by_day, minutes),
            _ => (day, 0.0, minutes.max(hour)),
        };
        // A clump that is large at a smaller scale must not fill the bucket by more than a quarter.
        let guard = 4.0 * LN_RATIOS[k] / height * smaller;
        shape.clump[k] = Half::new(own.max(guard).max(1.0));
        shape.level[k] = Half::new((1.0 + LEVEL_DEVIATIONS * wander.sqrt()).min(LEVEL_MOST));
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(days: i64, count: impl Fn(i64) -> f64, expected: f64, squares: f64) -> Dispersion {
        let (mut dispersion, mut day_hours) = (Dispersion::default(), 0);
        for hour in 0..days * 24 {
            dispersion.decay();
            dispersion.hour(&mut day_hours, hour, count(hour), expected, squares, true);
        }
        dispersion
    }

    #[test]
    fn an_even_stream_needs_no_scaling() {
        let even = learned(28, |hour| if hour % 2 == 0 { 8.0 } else { 4.0 }, 6.0, 6.0);
        let shape = shape(even.clump(6.0), 6.0);
        assert!(shape.clump.iter().all(|clump| clump.get() < 1.1), "{shape:?}");
        assert!(shape.level.iter().all(|level| level.get() < 1.5), "{shape:?}");
    }

    #[test]
    fn clumps_show_at_every_scale_and_are_no_level() {
        // Six at once, each hour: (0.5 − 6)² and eleven times 0.5².
        let clumps = learned(28, |_| 6.0, 6.0, 33.0);
        let shape = shape(clumps.clump(6.0), 6.0);
        assert!(shape.clump[3].get() > 4.0, "{shape:?}");
        assert!(shape.clump[1].get() > 1.0, "and the peak guard holds for slower buckets: {shape:?}");
    }

    #[test]
    fn days_that_differ_are_a_level_and_blind_no_fast_bucket() {
        let days = learned(28, |hour| if hour / 24 % 2 == 0 { 9.0 } else { 3.0 }, 6.0, 6.5);
        let shape = shape(days.clump(6.0), 6.0);
        assert!(shape.clump[3].get() < 2.0, "{shape:?}");
        assert!(shape.level[3].get() > 1.5, "{shape:?}");
    }

    #[test]
    fn nothing_learned_and_nothing_expected_are_no_division_by_zero() {
        for rate in [0.0, 1e-9, 6.0, 1e9] {
            let shape = shape(Dispersion::default().clump(rate), rate);
            for k in 0..BUCKETS {
                assert!(shape.clump[k].get() >= 1.0 && (1.0..=6.0).contains(&shape.level[k].get()), "{shape:?}");
            }
        }
    }
}
