//! Detectors that people use instead, to be compared with ours at the same rate of false alarms. Each looks at the same times (hours since
//! Monday) and says when it raises an alarm; `threshold` decides how often.

use super::traffic::Traffic;
use crate::lab::theory;

/// A rule that is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rival {
    /// Deviation of the hourly count from an exponentially weighted mean, in standard deviations.
    Ewma,
    /// Deviation of the hourly count from the median of 14 days, in median absolute deviations.
    Mad,
    /// A token bucket that refills at twice the learned mean rate.
    TokenBucket,
    /// The improbability of the count in the last 1, 5 and 15 minutes, 1, 6 and 24 hours, under a negative binomial prediction.
    Windows,
}

/// Least hours between two alarms that count.
const REFRACTORY: f64 = 24.0;

impl Rival {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Ewma, Self::Mad, Self::TokenBucket, Self::Windows];

    /// For tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ewma => "EWMA z",
            Self::Mad => "MAD",
            Self::TokenBucket => "token bucket ×2",
            Self::Windows => "window tails",
        }
    }

    /// The threshold of one false alarm a year on Poisson traffic of 6 an hour: deviations, or decimal places of improbability. That of the
    /// token bucket is its size in requests, from the exact theory.
    pub fn nominal(self) -> f64 {
        match self {
            Self::Ewma => 4.457,
            Self::Mad => 4.047,
            Self::TokenBucket => {
                // Leaks at (r − 1) / ln r = 2 times the rate: r = 3.513.
                let r = 3.512_862;
                theory::threshold(r, 6.0 * 8760.0) / f64::ln(r)
            }
            Self::Windows => 5.615,
        }
    }

    /// Hours at which it raises alarms in traffic of so many hours, from `learned` on; only the first after `first`, if that is given.
    pub fn alarms(self, traffic: &Traffic, hours: f64, learned: f64, threshold: f64, first: Option<f64>) -> Vec<f64> {
        let mut alarms = Alarms { from: first.unwrap_or(learned), at: vec![], one: first.is_some() };
        match self {
            Self::Ewma => ewma(&hourly(&traffic.requests, hours), learned, threshold, &mut alarms),
            Self::Mad => mad(&hourly(&traffic.requests, hours), learned, threshold, &mut alarms),
            Self::TokenBucket => token_bucket(&traffic.requests, learned, threshold, &mut alarms),
            Self::Windows => windows(&traffic.requests, learned, threshold, &mut alarms),
        }
        alarms.at
    }
}

struct Alarms {
    from: f64,
    at: Vec<f64>,
    one: bool,
}

impl Alarms {
    /// Returns whether enough is known.
    fn raise(&mut self, at: f64) -> bool {
        if at >= self.from && self.at.last().is_none_or(|last| at > last + REFRACTORY) {
            self.at.push(at);
        }
        self.one && !self.at.is_empty()
    }
}

fn hourly(requests: &[f64], hours: f64) -> Vec<f64> {
    let mut counts = vec![0.0; hours as usize];
    for at in requests {
        if let Some(count) = counts.get_mut(*at as usize) {
            *count += 1.0;
        }
    }
    counts
}

fn ewma(counts: &[f64], learned: f64, threshold: f64, alarms: &mut Alarms) {
    let weight = 1.0 - (-1.0_f64 / (24.0 * 3.0)).exp2();
    let (mut mean, mut variance) = (0.0, 0.0);
    for (hour, count) in counts.iter().enumerate() {
        let deviation = count - mean;
        let z = deviation / f64::max(variance, mean).max(0.05).sqrt();
        if hour as f64 >= learned && z >= threshold && alarms.raise(hour as f64 + 1.0) {
            return;
        }
        let weight = weight.max(1.0 / (hour as f64 + 1.0));
        mean += weight * deviation;
        variance = (1.0 - weight) * (variance + weight * deviation * deviation);
    }
}

fn mad(counts: &[f64], learned: f64, threshold: f64, alarms: &mut Alarms) {
    let (mut median, mut deviation) = (0.0, 0.0);
    for (hour, count) in counts.iter().enumerate() {
        if hour >= 48 && hour % 6 == 0 {
            let past = &counts[hour.saturating_sub(14 * 24)..hour];
            median = middle(past.to_vec());
            deviation = 1.4826 * middle(past.iter().map(|count| (count - median).abs()).collect());
        }
        let z = (count - median) / deviation.max(f64::max(median, 0.25).sqrt());
        if hour as f64 >= learned && z >= threshold && alarms.raise(hour as f64 + 1.0) {
            return;
        }
    }
}

fn token_bucket(requests: &[f64], learned: f64, threshold: f64, alarms: &mut Alarms) {
    let rate = (requests.iter().take_while(|at| **at < learned).count() as f64 / learned).max(0.02);
    let (mut level, mut last) = (0.0_f64, learned);
    for at in requests.iter().filter(|at| **at >= learned) {
        level = (level - 2.0 * rate * (at - last)).max(0.0) + 1.0;
        last = *at;
        if level >= threshold {
            level = 0.0;
            if alarms.raise(*at) {
                return;
            }
        }
    }
}

/// In hours.
const WINDOWS: [f64; 6] = [1.0 / 60.0, 5.0 / 60.0, 0.25, 1.0, 6.0, 24.0];

fn windows(requests: &[f64], learned: f64, threshold: f64, alarms: &mut Alarms) {
    let mut oldest = [0_usize; WINDOWS.len()];
    let keep = (-1.0_f64 / (24.0 * 14.0)).exp2();
    let (mut events, mut hours, mut hour, mut in_hour) = (0.5, 0.0, 0.0, 0.0);
    for (index, at) in requests.iter().enumerate() {
        while hour + 1.0 <= *at {
            (events, hours, in_hour) = (events * keep + in_hour, hours * keep + 1.0, 0.0);
            hour += 1.0;
        }
        in_hour += 1.0;
        let mut most = -1.0_f64;
        for (window, first) in WINDOWS.iter().zip(&mut oldest) {
            while requests[*first] < at - window {
                *first += 1;
            }
            if *at < learned || hours <= 0.0 {
                continue;
            }
            let count = (index - *first + 1) as f64;
            let mean = events / hours * window;
            if count > mean + 2.0 * mean.sqrt() + 1.0 {
                most = most.max(tail(count, events, hours, *window));
            }
        }
        if most >= threshold && alarms.raise(*at) {
            return;
        }
    }
}

/// Decimal places of the probability of `count` or more, where `events` in `hours` were seen before: a negative binomial prediction.
fn tail(count: f64, events: f64, hours: f64, window: f64) -> f64 {
    let share = window / (hours + window);
    let first = ln_gamma(events + count) - ln_gamma(events) - ln_gamma(count + 1.0) + events * (1.0 - share).ln() + count * share.ln();
    let (mut sum, mut term) = (1.0, 1.0);
    for more in 0..2000 {
        let next = count + f64::from(more);
        term *= share * (events + next) / (next + 1.0);
        sum += term;
        if term < 1e-10 * sum {
            break;
        }
    }
    -(first + sum.ln()) / std::f64::consts::LN_10
}

/// Stirling's series, shifted to where it is exact to ten digits.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x, 0.0);
    while x < 10.0 {
        shift += x.ln();
        x += 1.0;
    }
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square / 1260.0)) - shift
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[odd / 2],
        even => (values[even / 2 - 1] + values[even / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rivals_stay_quiet_on_what_they_were_made_for_and_see_what_is_gross() {
        use crate::lab::{random::Random, traffic};
        let seed = 3;
        println!("seed {seed}");
        let mut random = Random::new(seed, 0);
        let normal = traffic::poisson(&mut random, 6.0, 0.0, 24.0 * 118.0);
        let attack = traffic::poisson(&mut random, 54.0, 1500.0, 1524.0);
        let attacked = Traffic { requests: traffic::mixed(&normal, &attack), starts: vec![] };
        let normal = Traffic { requests: normal, starts: vec![] };
        for rival in Rival::ALL {
            let false_alarms = rival.alarms(&normal, 24.0 * 118.0, 672.0, rival.nominal(), None);
            assert!(false_alarms.len() <= 2, "{}: {false_alarms:?}", rival.name());
            let found = rival.alarms(&attacked, 24.0 * 118.0, 672.0, rival.nominal(), Some(1500.0));
            assert!(found.first().is_some_and(|at| *at < 1503.0), "{}: {found:?}", rival.name());
        }
    }

    #[test]
    fn the_logarithm_of_factorials() {
        for (x, factorial) in [(1.0, 1.0), (5.0, 24.0), (11.0, 3_628_800.0)] {
            assert!((ln_gamma(x) - f64::ln(factorial)).abs() < 1e-9, "{x}");
        }
    }
}
