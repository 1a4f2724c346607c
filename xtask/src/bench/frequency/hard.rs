//! B6, B7 and B15: what is hard to tell from an attack, and attacks that are hard to tell from what is normal.

use daypass_frequency::{
    Denials, Detector, Event, Peers, PodKey, Prior, Settings, Tier,
    lab::{
        self,
        random::Random,
        traffic::{self, Pattern, Traffic},
        trial::{Ablation, LEARNED, Run, mean_and_median},
    },
};

use super::{Size, parallel, plot::Plots};
use crate::bench::report::{Goal, Report, Row};

/// The days that a cold start takes.
const COLD: f64 = 14.0 * 24.0;
const SETTINGS: Settings = Settings { identities: 5000, false_revocations_per_year: 1.0 };

/// B6, B7, B15.
pub fn measure(size: &Size, report: &mut Report, _: &mut Plots) -> Result<(), String> {
    cold_start(size, report);
    ramps(size, report);
    report.rows([
        Row::once("B15", "crash loop, 12 h: highest tier (1 review, 2 deny, 3 revoke)", tier(crash_loop()), Some(Goal::AtMost(1.0))),
        Row::once("B15", "20 retries in 5 min after a denial: highest tier", tier(retries()), Some(Goal::AtMost(1.0))),
        Row::once("B15", "1 h without the operator at 10/h: highest tier", tier(away(size)), Some(Goal::AtMost(1.0))),
        Row::once("B15", "whole cluster starts cold: highest tier", tier(cluster_start(size)), Some(Goal::AtMost(1.0))),
        Row::once("B15", "rollout of 200 pods: highest tier", tier(rollout()), Some(Goal::AtMost(1.0))),
        Row::once("B14", "x10 of one identity spread over 12 siblings: hours until the sum alarms", spread(size), Some(Goal::AtMost(1.0)))
            .beside("each sibling at 1.75 times its own normal"),
    ]);
    Ok(())
}

fn tier(tier: Tier) -> f64 {
    f64::from(tier as u8)
}

/// B6: a newcomer, of whom its peers say what is normal.
fn cold_start(size: &Size, report: &mut Report) {
    for (number, pattern) in Pattern::ALL.into_iter().enumerate() {
        let series = 8_000_000 + number as u64 * 10_000;
        let peers: Vec<Detector> = parallel(12, |peer| {
            let normal = pattern.traffic(&mut Random::new(size.seed, series + 5_000 + peer as u64), LEARNED, 1.0);
            Run::new(&normal, Ablation::Whole).learned()
        });
        let prior = Peers::of(&peers).map_or(Prior::Unknown, Prior::Peers);
        let outcomes = parallel(size.identities, |identity| {
            let mut random = Random::new(size.seed, series + identity as u64);
            let normal = pattern.traffic(&mut random, COLD, 1.0);
            let mut detector = Detector::new(lab::at(0.0), prior);
            let alarms = Run::new(&normal, Ablation::Whole).alarms(&mut detector, COLD, Tier::Review, &SETTINGS).len();
            let from = 24.0 + random.unit() * (COLD - 96.0);
            let attack = traffic::poisson(&mut random, 54.0, from, COLD);
            let mixed = Traffic { requests: traffic::mixed(&normal.requests, &attack), starts: normal.starts };
            let mut detector = Detector::new(lab::at(0.0), prior);
            (alarms, Run::new(&mixed, Ablation::Whole).delay(&mut detector, from, COLD, Tier::Review, &SETTINGS))
        });
        let alarms = outcomes.iter().map(|(alarms, _)| *alarms).sum::<usize>() as f64 / outcomes.len() as f64;
        let delays: Vec<Option<f64>> = outcomes.iter().map(|(_, delay)| *delay).collect();
        let (_, median) = mean_and_median(&delays, 72.0);
        let name = pattern.name();
        let seasonal = matches!(pattern, Pattern::Poisson | Pattern::BusinessHours | Pattern::Diurnal);
        report.rows([
            Row::once("B6", format!("{name}: FA in the first 14 days, with peers"), alarms, Some(Goal::AtMost(0.5))),
            Row::once("B6", format!("{name}: x10 in the first 14 days, median hours"), median, seasonal.then_some(Goal::AtMost(0.3))),
        ]);
    }
}

/// B7: an attack that grows slowly, and one that lasts an hour of each day and grows.
fn ramps(size: &Size, report: &mut Report) {
    for days in [0.5, 2.0, 4.0, 10.0, 30.0, 60.0] {
        let runs = size.identities.min(60);
        let factors = parallel(runs, |run| caught(size.seed, run, days));
        let missed = factors.iter().filter(|factor| factor.is_none()).count();
        let (mean, _) = mean_and_median(&factors, 99.0);
        let bound = if days >= 4.0 { 1.6 } else { 2.2 };
        let row = Row::once("B7", format!("rate doubles in {days} d: mean factor when caught"), mean, Some(Goal::AtMost(bound)));
        report.rows([row.beside(format!("{missed} of {runs} missed"))]);
    }
    let factors = parallel(size.identities.min(60), |run| shape(size.seed, run));
    let (mean, _) = mean_and_median(&factors, 99.0);
    report.rows([Row::once("B7", "one hour of the day grows by a tenth each day: mean factor when caught", mean, Some(Goal::AtMost(6.0)))]);
}

fn caught(seed: u64, run: usize, days: f64) -> Option<f64> {
    let mut random = Random::new(seed, 9_000_000 + run as u64 + (days * 1000.0) as u64);
    let doubling = days * 24.0;
    let from = LEARNED + 72.0;
    let until = from + 2.5 * doubling + 24.0;
    let normal = traffic::poisson(&mut random, 6.0, 0.0, until);
    let more = traffic::ramp(&mut random, 6.0, doubling, from, until);
    let mixed = Traffic { requests: traffic::mixed(&normal, &more), starts: vec![] };
    let mut run = Run::new(&mixed, Ablation::Whole);
    let mut detector = run.learned();
    run.feed(&mut detector, from, |_, _| false);
    daily(&mut run, &mut detector, from, until).map(|hours| (hours / doubling).exp2())
}

fn shape(seed: u64, run: usize) -> Option<f64> {
    let mut random = Random::new(seed, 9_900_000 + run as u64);
    let until = LEARNED + 24.0 * 40.0;
    let normal = traffic::poisson(&mut random, 6.0, 0.0, until);
    let mut more = vec![];
    for day in 0..40 {
        let at = LEARNED + f64::from(day) * 24.0 + 14.0;
        more.extend(traffic::poisson(&mut random, 6.0 * (1.1_f64.powi(day) - 1.0), at, at + 1.0));
    }
    let mixed = Traffic { requests: traffic::mixed(&normal, &more), starts: vec![] };
    let mut run = Run::new(&mixed, Ablation::Whole);
    let mut detector = run.learned();
    daily(&mut run, &mut detector, LEARNED, until).map(|hours| 1.1_f64.powf((hours / 24.0).floor()))
}

/// Day by day, with the promotion that the operator looks at each day.
fn daily(run: &mut Run, detector: &mut Detector, from: f64, until: f64) -> Option<f64> {
    let mut day = from;
    while day < until {
        if let Some(hours) = run.delay(detector, from, day + 24.0, Tier::Review, &SETTINGS) {
            return Some(hours);
        }
        detector.promote(None);
        day += 24.0;
    }
    None
}

fn even(rate: f64) -> Detector {
    let normal = Traffic { requests: (0..(rate * LEARNED) as usize).map(|n| n as f64 / rate).collect(), starts: vec![] };
    Run::new(&normal, Ablation::Whole).learned()
}

fn event(hours: f64) -> Event {
    Event { at: lab::at(hours), pod: PodKey::of("a") }
}

/// One request each restart, the kubelet's back-off from 10 s to 5 min.
fn crash_loop() -> Tier {
    let mut detector = even(6.0);
    let (mut at, mut pause, mut most) = (LEARNED + 0.1, 10.0 / 3600.0, Tier::Normal);
    while at < LEARNED + 12.0 {
        detector.container_restarted(lab::at(at));
        detector.observe(event(at + 0.0003));
        most = most.max(detector.score(&SETTINGS).tier);
        at += pause;
        pause = f64::min(pause * 2.0, 300.0 / 3600.0);
    }
    most
}

/// A client that was denied once and asks again each 15 seconds: what repeats a denial is no event.
fn retries() -> Tier {
    let (mut detector, mut denials) = (even(6.0), Denials::default());
    let mut most = Tier::Normal;
    for retry in 0..20 {
        let event = event(LEARNED + 0.1 + f64::from(retry) * 15.0 / 3600.0);
        let Some(pod) = event.pod else { continue };
        if !denials.is_repeat(pod, 1, event.at) {
            detector.observe(event);
        }
        denials.denied(pod, 1, event.at);
        most = most.max(detector.score(&SETTINGS).tier);
    }
    most
}

/// An hour in which nobody watched, at ten an hour; then the backlog, and the renewals of what ended meanwhile at once.
fn away(size: &Size) -> Tier {
    let mut most = Tier::Normal;
    for run in 0..200 {
        let mut random = Random::new(size.seed, 9_950_000 + run);
        let mut detector = even(10.0);
        let backlog = traffic::poisson(&mut random, 10.0, LEARNED, LEARNED + 1.0);
        let count = u16::try_from(backlog.len()).unwrap_or(u16::MAX);
        detector.unobserved(lab::at(LEARNED + 1.0), count, 10);
        let renewals = (0..10).map(|n| LEARNED + 1.0 + f64::from(n) * 0.01);
        for at in backlog.into_iter().chain(renewals) {
            detector.observe(event(at));
            most = most.max(detector.score(&SETTINGS).tier);
        }
    }
    most
}

/// Twelve identities nobody knows, each with ten pods that start at once, restart twice and then renew hourly.
fn cluster_start(size: &Size) -> Tier {
    let mut most = Tier::Normal;
    for identity in 0..12 {
        let mut random = Random::new(size.seed, 9_960_000 + identity);
        let mut detector = Detector::new(lab::at(0.0), Prior::Unknown);
        let mut asks: Vec<(f64, bool)> = vec![];
        for _ in 0..10 {
            let start = 0.05 * random.unit();
            asks.extend([(start, true), (start + 0.01, true), (start + 0.02, true)]);
            asks.extend((1..48).map(|hour| (start + f64::from(hour), false)));
        }
        asks.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (at, starts) in asks {
            if starts {
                detector.pod_started(lab::at(at));
            }
            detector.observe(event(at));
            most = most.max(detector.score(&SETTINGS).tier);
        }
    }
    most
}

/// 200 pods in ten minutes, two requests each.
fn rollout() -> Tier {
    let mut detector = even(6.0);
    let mut most = Tier::Normal;
    for pod in 0..200 {
        let at = LEARNED + 0.1 + f64::from(pod) / 1200.0;
        detector.pod_started(lab::at(at));
        detector.observe(event(at + 0.0001));
        detector.observe(event(at + 0.0002));
        most = most.max(detector.score(&SETTINGS).tier);
    }
    most
}

/// Twelve siblings, and an attacker who takes a little through each: the sum of all is one stream more.
fn spread(size: &Size) -> f64 {
    let runs = size.identities.min(40);
    let delays = parallel(runs, |run| {
        let mut random = Random::new(size.seed, 9_970_000 + run as u64);
        let from = LEARNED + 30.0;
        let normal = traffic::poisson(&mut random, 12.0 * 6.0, 0.0, from + 72.0);
        let attack = traffic::poisson(&mut random, 9.0 * 6.0, from, from + 72.0);
        let mixed = Traffic { requests: traffic::mixed(&normal, &attack), starts: vec![] };
        let mut run = Run::new(&mixed, Ablation::Whole);
        let mut detector = run.learned();
        run.delay(&mut detector, from, from + 72.0, Tier::Review, &SETTINGS)
    });
    mean_and_median(&delays, 72.0).1
}
