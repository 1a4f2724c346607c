//! B3: the whole detector after 28 days of learning, on Poisson traffic of three rates: delay over the optimum, and false alarms.

use daypass_frequency::{
    Settings, Tier,
    lab::{
        random::Random,
        theory,
        traffic::{self, Traffic},
        trial::{Ablation, LEARNED, Run, mean_and_median},
    },
};

use super::{Size, parallel, plot::Plots};
use crate::bench::report::{Goal, Report, Row};

/// Attacks on each identity that has learned.
const EACH: usize = 10;

/// B3.
pub fn measure(size: &Size, report: &mut Report, plots: &mut Plots) -> Result<(), String> {
    let settings = Settings::default();
    for rate in [1.0, 6.0, 60.0] {
        let events = rate * 8760.0;
        for x in [2.0, 3.0, 5.0, 10.0] {
            let best = theory::optimum(x, events) / rate;
            let censored = best * 60.0;
            let delays = parallel(size.attacks / EACH, |identity| attacks(size.seed, identity, rate, x, censored, &settings));
            let delays: Vec<Option<f64>> = delays.into_iter().flatten().collect();
            let (mean, _) = mean_and_median(&delays, censored);
            let missed = delays.iter().filter(|delay| delay.is_none()).count();
            let row = Row::once("B3", format!("learned, {rate}/h, x{x}: mean delay over optimum"), mean / best, Some(Goal::AtMost(1.45)));
            report.rows([row.beside(format!("{mean:.2} h; {missed} of {} not found", delays.len()))]);
            plots.delay(&format!("learned, {rate}/h"), x, mean / best);
        }
        let identities = if size.full { 100 } else { 24 };
        let alarms = parallel(identities, |identity| year(size.seed, identity, rate, &settings));
        let a_year = alarms.iter().sum::<usize>() as f64 / identities as f64;
        report.rows([Row::once("B3", format!("learned, {rate}/h: FA a year"), a_year, Some(Goal::AtMost(1.0)))]);
    }
    Ok(())
}

fn attacks(seed: u64, identity: usize, rate: f64, x: f64, censored: f64, settings: &Settings) -> Vec<Option<f64>> {
    let mut random = Random::new(seed, 4_000_000 + identity as u64);
    let normal = Traffic { requests: traffic::poisson(&mut random, rate, 0.0, LEARNED), starts: vec![] };
    let mut run = Run::new(&normal, Ablation::Whole);
    let learned = run.learned();
    (0..EACH)
        .map(|_| {
            let from = LEARNED + 24.0 + 48.0 * random.unit();
            let until = from + censored;
            let normal = traffic::poisson(&mut random, rate, LEARNED, until);
            let attack = traffic::poisson(&mut random, rate * (x - 1.0), from, until);
            let mixed = Traffic { requests: traffic::mixed(&normal, &attack), starts: vec![] };
            let mut detector = learned;
            run.switch(&mixed, LEARNED).delay(&mut detector, from, until, Tier::Review, settings)
        })
        .collect()
}

fn year(seed: u64, identity: usize, rate: f64, settings: &Settings) -> usize {
    let mut random = Random::new(seed, 5_000_000 + identity as u64);
    let until = LEARNED + 8760.0;
    let normal = Traffic { requests: traffic::poisson(&mut random, rate, 0.0, until), starts: vec![] };
    let mut run = Run::new(&normal, Ablation::Whole);
    let mut detector = run.learned();
    run.alarms(&mut detector, until, Tier::Review, settings).len()
}
