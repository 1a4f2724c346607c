//! One row for each defence: what it is good for, shown by what happens without it.

use daypass_frequency::{
    Detector, Event, Fleet, Peers, Prior, Settings, Tier,
    lab::{
        self,
        random::Random,
        traffic::{self, Pattern, Traffic},
        trial::{Ablation, LEARNED, Run, mean_and_median},
    },
};

use super::{Size, mean, parallel, plot::Plots};
use crate::bench::report::{Report, Row};

const MONTH: f64 = 30.44;
const SETTINGS: Settings = Settings { identities: 5000, false_revocations_per_year: 1.0 };

/// One row a defence.
pub fn measure(size: &Size, report: &mut Report, _: &mut Plots) -> Result<(), String> {
    let alarms = |pattern, without| false_alarms(size, pattern, without);
    for (what, pattern, without) in [
        ("hours of the week: FA a month, business hours", Pattern::BusinessHours, Ablation::NoSeason),
        ("hours of the week: FA a month, diurnal", Pattern::Diurnal, Ablation::NoSeason),
        ("clumps and level: FA a month, CI clusters", Pattern::Pipelines, Ablation::NoDispersion),
        ("clumps and level: FA a month, hourly cron ×6", Pattern::HourlyCron, Ablation::NoDispersion),
        ("credits for pod starts: FA a month, rollouts", Pattern::Rollouts, Ablation::NoCredits),
    ] {
        beside(report, what, alarms(pattern, Ablation::Whole), alarms(pattern, without));
    }
    for pattern in [Pattern::NightlyBatch, Pattern::Pipelines] {
        let what = format!("session starts: x3 on {}, median hours", pattern.name());
        beside(report, &what, delay(size, pattern, Ablation::Whole), delay(size, pattern, Ablation::NoSessions));
    }
    beside(
        report,
        "evidence of short history: FA in 14 days, cold Poisson whose peers ask half as much",
        cold(size, Ablation::Whole),
        cold(size, Ablation::NoEvidence),
    );
    beside(
        report,
        "frozen anchor: factor when a rate that doubles in 30 d is caught",
        ramp(size, Ablation::Whole),
        ramp(size, Ablation::NoAnchor),
    );
    beside(report, "peers: share of 8 siblings that a flash crowd (x3, 2 h) makes alarm", crowd(size, true), crowd(size, false));
    Ok(())
}

fn beside(report: &mut Report, what: &str, with: f64, without: f64) {
    report.rows([Row::once("part", what, with, None).beside(format!("without it {without:.2}"))]);
}

fn false_alarms(size: &Size, pattern: Pattern, without: Ablation) -> f64 {
    let identities = size.identities.min(40);
    let until = LEARNED + size.days * 24.0;
    let alarms = parallel(identities, |identity| {
        let normal = pattern.traffic(&mut Random::new(size.seed, 10_000_000 + identity as u64), until, 1.0);
        let mut run = Run::new(&normal, without);
        let mut detector = run.learned();
        run.alarms(&mut detector, until, Tier::Review, &SETTINGS).len()
    });
    alarms.iter().sum::<usize>() as f64 / (identities as f64 * size.days / MONTH)
}

fn delay(size: &Size, pattern: Pattern, without: Ablation) -> f64 {
    let delays = parallel(size.identities.min(60), |identity| {
        let mut random = Random::new(size.seed, 10_100_000 + identity as u64);
        let from = LEARNED + 24.0 + 240.0 * random.unit();
        let until = from + 72.0;
        let normal = pattern.traffic(&mut random, until, 1.0);
        let attack = traffic::poisson(&mut random, 12.0, from, until);
        let mixed = Traffic { requests: traffic::mixed(&normal.requests, &attack), starts: normal.starts };
        let mut run = Run::new(&mixed, without);
        let mut detector = run.learned();
        run.delay(&mut detector, from, until, Tier::Review, &SETTINGS)
    });
    mean_and_median(&delays, 72.0).1
}

/// A newcomer that asks twice as much as its peers.
fn cold(size: &Size, without: Ablation) -> f64 {
    let peers: Vec<Detector> = parallel(8, |peer| {
        let mut random = Random::new(size.seed, 10_200_000 + peer as u64);
        let normal = Traffic { requests: traffic::poisson(&mut random, 6.0, 0.0, LEARNED), starts: vec![] };
        Run::new(&normal, Ablation::Whole).learned()
    });
    let prior = Peers::of(&peers).map_or(Prior::Unknown, Prior::Peers);
    let alarms = parallel(size.identities, |identity| {
        let mut random = Random::new(size.seed, 10_300_000 + identity as u64);
        let normal = Traffic { requests: traffic::poisson(&mut random, 12.0, 0.0, 336.0), starts: vec![] };
        let mut detector = Detector::new(lab::at(0.0), prior);
        Run::new(&normal, without).alarms(&mut detector, 336.0, Tier::Review, &SETTINGS).len()
    });
    mean(&alarms.iter().map(|count| *count as f64).collect::<Vec<_>>())
}

fn ramp(size: &Size, without: Ablation) -> f64 {
    let factors = parallel(size.identities.min(30), |run| {
        let mut random = Random::new(size.seed, 10_400_000 + run as u64);
        let until = LEARNED + 60.0 * 24.0;
        let normal = traffic::poisson(&mut random, 6.0, 0.0, until);
        let more = traffic::ramp(&mut random, 6.0, 30.0 * 24.0, LEARNED, until);
        let mixed = Traffic { requests: traffic::mixed(&normal, &more), starts: vec![] };
        let mut run = Run::new(&mixed, without);
        let mut detector = run.learned();
        run.delay(&mut detector, LEARNED, until, Tier::Review, &SETTINGS).map(|hours| (hours / 720.0).exp2())
    });
    mean_and_median(&factors, 4.0).0
}

fn crowd(size: &Size, peers: bool) -> f64 {
    let shares = parallel(size.identities.min(20), |run| {
        let mut random = Random::new(size.seed, 10_500_000 + run as u64);
        let mut fleet = Fleet::default();
        let mut all: Vec<(f64, usize)> = vec![];
        for sibling in 0..8 {
            let normal = Traffic { requests: traffic::poisson(&mut random, 6.0, 0.0, LEARNED), starts: vec![] };
            let group = if peers { "policy".to_owned() } else { sibling.to_string() };
            fleet.adopt(&sibling.to_string(), &group, Run::new(&normal, Ablation::Whole).learned());
            let crowd = traffic::poisson(&mut random, 18.0, LEARNED + 1.0, LEARNED + 3.0);
            all.extend(crowd.into_iter().map(|at| (at, sibling)));
        }
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut alarmed = [false; 8];
        for (at, sibling) in all {
            let (name, at) = (sibling.to_string(), lab::at(at));
            fleet.observe(&name, Event { at, pod: None });
            alarmed[sibling] |= fleet.score(&name, at, &SETTINGS).is_some_and(|score| score.tier > Tier::Normal);
        }
        alarmed.iter().filter(|alarmed| **alarmed).count() as f64 / 8.0
    });
    mean(&shares)
}
