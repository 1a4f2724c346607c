//! Seeded traffic: ten ways in which legitimate workloads ask, and attacks to mix into them. Times are hours since Monday 00:00 UTC.

use super::random::Random;

/// What an identity did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Traffic {
    /// Its requests, in order.
    pub requests: Vec<f64>,
    /// Legitimate starts of its pods, in order.
    pub starts: Vec<f64>,
}

/// A way to ask. All average 4 to 8 an hour at scale 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern {
    /// Evenly at random.
    Poisson,
    /// Every ten minutes.
    Cron,
    /// Six at once, each hour.
    HourlyCron,
    /// 130 in ten minutes each night, and little else.
    NightlyBatch,
    /// 19 an hour on weekdays from 9 to 18, little else.
    BusinessHours,
    /// Day and night, ten to one.
    Diurnal,
    /// Each hour at a level of its own, exponentially distributed.
    NegativeBinomial,
    /// Three rollouts of 20 pods a week, two requests a pod.
    Rollouts,
    /// Replicas follow the day; each renews hourly.
    Autoscaled,
    /// Pipelines of about six requests in a few minutes.
    Pipelines,
}

impl Pattern {
    /// All ten.
    pub const ALL: [Self; 10] = [
        Self::Poisson,
        Self::Cron,
        Self::HourlyCron,
        Self::NightlyBatch,
        Self::BusinessHours,
        Self::Diurnal,
        Self::NegativeBinomial,
        Self::Rollouts,
        Self::Autoscaled,
        Self::Pipelines,
    ];

    /// For tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Poisson => "Poisson",
            Self::Cron => "cron 10 min",
            Self::HourlyCron => "hourly cron ×6",
            Self::NightlyBatch => "nightly batch 130",
            Self::BusinessHours => "business hours",
            Self::Diurnal => "diurnal 10:1",
            Self::NegativeBinomial => "negative binomial",
            Self::Rollouts => "rollouts 3/week",
            Self::Autoscaled => "HPA, renewals",
            Self::Pipelines => "CI clusters",
        }
    }

    /// What an identity of this kind does in so many hours; `scale` multiplies how much it asks.
    pub fn traffic(self, random: &mut Random, hours: f64, scale: f64) -> Traffic {
        let (mut requests, mut starts) = match self {
            Self::Poisson => (poisson(random, 6.0 * scale, 0.0, hours), vec![]),
            Self::Cron => (cron(random, hours, scale), vec![]),
            Self::HourlyCron => (hourly_cron(random, hours, scale), vec![]),
            Self::NightlyBatch => (nightly_batch(random, hours, scale), vec![]),
            Self::BusinessHours => (varying(random, hours, 19.0 * scale, |hour| business(hour, 9.0, 18.0, 19.0, 1.0, 0.4) * scale), vec![]),
            Self::Diurnal => {
                let rate = |hour: f64| 6.0 * scale * (1.0 + 9.0 / 11.0 * (std::f64::consts::TAU * (hour - 9.0) / 24.0).sin());
                (varying(random, hours, 11.0 * scale, rate), vec![])
            }
            Self::NegativeBinomial => (negative_binomial(random, hours, scale), vec![]),
            Self::Rollouts => rollouts(random, hours, scale),
            Self::Autoscaled => autoscaled(random, hours, scale),
            Self::Pipelines => (pipelines(random, hours, scale), vec![]),
        };
        requests.retain(|at| (0.0..hours).contains(at));
        requests.sort_by(f64::total_cmp);
        starts.retain(|at| (0.0..hours).contains(at));
        starts.sort_by(f64::total_cmp);
        Traffic { requests, starts }
    }
}

/// A homogeneous Poisson stream from `from` to `to`.
pub fn poisson(random: &mut Random, rate: f64, from: f64, to: f64) -> Vec<f64> {
    let mut at = from;
    let mut events = vec![];
    loop {
        at += random.exponential() / rate;
        if at >= to || rate <= 0.0 {
            return events;
        }
        events.push(at);
    }
}

/// Both streams in order.
pub fn mixed(normal: &[f64], attack: &[f64]) -> Vec<f64> {
    let mut all = [normal, attack].concat();
    all.sort_by(f64::total_cmp);
    all
}

/// A Poisson stream whose rate grows from `rate` by doubling every `doubling` hours, from `from` to `to`: only what is above `rate`.
pub fn ramp(random: &mut Random, rate: f64, doubling: f64, from: f64, to: f64) -> Vec<f64> {
    let most = rate * ((to - from) / doubling).exp2();
    let mut events = poisson(random, most, from, to);
    events.retain(|at| random.unit() * most < rate * (((at - from) / doubling).exp2() - 1.0));
    events
}

fn varying(random: &mut Random, hours: f64, most: f64, rate: impl Fn(f64) -> f64) -> Vec<f64> {
    let mut events = poisson(random, most, 0.0, hours);
    events.retain(|at| random.unit() * most < rate(*at));
    events
}

fn business(hour: f64, from: f64, to: f64, busy: f64, weekday: f64, weekend: f64) -> f64 {
    let (day, of_day) = ((hour / 24.0).floor() % 7.0, hour % 24.0);
    match day < 5.0 {
        true if (from..to).contains(&of_day) => busy,
        true => weekday,
        false => weekend,
    }
}

fn cron(random: &mut Random, hours: f64, scale: f64) -> Vec<f64> {
    let period = 1.0 / (6.0 * scale);
    let phase = random.unit() * period;
    (0..(hours / period) as usize).map(|n| phase + n as f64 * period + random.normal() * 5.0 / 3600.0).collect()
}

fn hourly_cron(random: &mut Random, hours: f64, scale: f64) -> Vec<f64> {
    let phase = random.unit();
    let at_once = (6.0 * scale).round().max(1.0) as usize;
    let mut events = vec![];
    for hour in 0..hours as usize {
        let start = hour as f64 + phase + random.normal() * 30.0 / 3600.0;
        events.extend((0..at_once).map(|_| start + random.unit() * 20.0 / 3600.0));
    }
    events
}

fn nightly_batch(random: &mut Random, hours: f64, scale: f64) -> Vec<f64> {
    let mut events = poisson(random, 0.5 * scale, 0.0, hours);
    for day in 0..(hours / 24.0) as usize {
        let start = day as f64 * 24.0 + 2.0 + random.normal() * 3.0 / 60.0;
        let count = random.poisson(130.0 * scale);
        events.extend((0..count).map(|_| start + random.unit() * 10.0 / 60.0));
    }
    events
}

fn negative_binomial(random: &mut Random, hours: f64, scale: f64) -> Vec<f64> {
    let mut events = vec![];
    for hour in 0..hours as usize {
        let level = 6.0 * scale * random.exponential();
        let count = random.poisson(level);
        events.extend((0..count).map(|_| hour as f64 + random.unit()));
    }
    events
}

fn rollouts(random: &mut Random, hours: f64, scale: f64) -> (Vec<f64>, Vec<f64>) {
    let mut events = poisson(random, 5.3 * scale, 0.0, hours);
    let mut starts = vec![];
    for week in 0..=(hours / 168.0) as usize {
        for _ in 0..random.poisson(3.0) {
            let begin = week as f64 * 168.0 + random.below(5) as f64 * 24.0 + 9.0 + random.unit() * 8.0;
            if begin >= hours - 1.0 {
                continue;
            }
            for _ in 0..20 {
                let start = begin + random.unit() * 5.0 / 60.0;
                starts.push(start);
                events.extend((0..2).map(|_| start + random.unit() * 30.0 / 3600.0));
            }
        }
    }
    (events, starts)
}

fn autoscaled(random: &mut Random, hours: f64, scale: f64) -> (Vec<f64>, Vec<f64>) {
    let (mut events, mut starts, mut running) = (vec![], vec![], vec![]);
    for quarter in 0..(hours * 4.0) as usize {
        let now = quarter as f64 / 4.0;
        let mean = 5.5 + 4.0 * (std::f64::consts::TAU * (now - 9.0) / 24.0).sin();
        let wanted = ((mean * scale + random.normal() * 0.7 * scale.sqrt()).round() as usize).max(if scale < 1.0 { 1 } else { 2 });
        while running.len() < wanted {
            let start = now + random.unit() * 0.25;
            running.push(start);
            starts.push(start);
        }
        while running.len() > wanted {
            let start = running.swap_remove(random.below(running.len()));
            let end = now + 0.25;
            let late = random.unit() * 2.0 / 3600.0;
            events.extend((0..((end - start).max(0.0).ceil() as usize)).map(|renewal| start + renewal as f64 + late));
        }
    }
    for start in running {
        events.extend((0..((hours - start).max(0.0).ceil() as usize)).map(|renewal| start + renewal as f64));
    }
    (events, starts)
}

fn pipelines(random: &mut Random, hours: f64, scale: f64) -> Vec<f64> {
    let runs = varying(random, hours, 2.6 * scale, |hour| business(hour, 8.0, 19.0, 2.6, 0.2, 0.2) * scale);
    let mut events = vec![];
    for run in runs {
        let count = random.geometric(6.0);
        events.extend((0..count).map(|_| run + random.exponential() * 2.5 / 60.0));
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_asks_about_as_much_as_it_says_and_the_same_every_time() {
        for (series, pattern) in Pattern::ALL.into_iter().enumerate() {
            let take = || pattern.traffic(&mut Random::new(1, series as u64), 24.0 * 56.0, 1.0);
            let traffic = take();
            let rate = traffic.requests.len() as f64 / (24.0 * 56.0);
            assert!((4.0..8.5).contains(&rate), "{}: {rate} an hour", pattern.name());
            assert!(traffic.requests.is_sorted() && traffic.starts.is_sorted());
            assert_eq!(traffic, take());
        }
    }
}
