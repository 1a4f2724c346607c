//! B4, B5 and B14: ten ways in which legitimate workloads ask. False alarms, and how soon an attack is seen in each; the rivals beside.

use daypass_frequency::{
    Settings, Tier,
    lab::{
        random::Random,
        rivals::Rival,
        traffic::{self, Pattern, Traffic},
        trial::{Ablation, LEARNED, Run, mean_and_median},
    },
};

use super::{Size, parallel, plot::Plots};
use crate::bench::report::{Goal, Report, Row};

/// Days of a month.
const MONTH: f64 = 30.44;
/// Hours after which an attack counts as missed.
const CENSORED: f64 = 72.0;

/// What one identity came to.
struct Outcome {
    alarms: usize,
    revocations: usize,
    delays: [Option<f64>; 2],
    rivals: Vec<(usize, Option<f64>)>,
}

/// B4 and B5 at the scale of the table, B14 at a sixth and at ten times of it, with other seeds.
pub fn measure(size: &Size, report: &mut Report, plots: &mut Plots) -> Result<(), String> {
    at_scale(size, 1.0, ["B4", "B5"], report, plots);
    for scale in [1.0 / 6.0, 10.0] {
        at_scale(size, scale, ["B14", "B14"], report, plots);
    }
    Ok(())
}

fn at_scale(size: &Size, scale: f64, ids: [&'static str; 2], report: &mut Report, plots: &mut Plots) {
    let own = (scale - 1.0).abs() < 1e-9;
    let identities = if own { size.identities } else { size.identities.div_ceil(3) };
    let label = if own { String::new() } else { format!(" at {:.0}/h", 6.0 * scale) };
    for (number, pattern) in Pattern::ALL.into_iter().enumerate() {
        let series = 6_000_000 + (scale * 60.0) as u64 * 1_000_000 + number as u64 * 10_000;
        let outcomes = parallel(identities, |identity| outcome(size, pattern, scale, series + identity as u64, own));
        let months = identities as f64 * size.days / MONTH;
        let per_month = |count: usize| count as f64 / months;
        let alarms = per_month(outcomes.iter().map(|outcome| outcome.alarms).sum());
        let revocations: usize = outcomes.iter().map(|outcome| outcome.revocations).sum();
        let medians = [0, 1].map(|strength| {
            let delays: Vec<Option<f64>> = outcomes.iter().map(|outcome| outcome.delays[strength]).collect();
            mean_and_median(&delays, CENSORED).1
        });
        let rivals: Vec<(f64, f64)> = (0..if own { Rival::ALL.len() } else { 0 })
            .map(|rival| {
                let delays: Vec<Option<f64>> = outcomes.iter().map(|outcome| outcome.rivals[rival].1).collect();
                (per_month(outcomes.iter().map(|outcome| outcome.rivals[rival].0).sum()), mean_and_median(&delays, CENSORED).1)
            })
            .collect();
        let beside = |value: fn(&(f64, f64)) -> f64| {
            let texts: Vec<String> =
                Rival::ALL.iter().zip(&rivals).map(|(rival, both)| format!("{} {:.2}", rival.name(), value(both))).collect();
            texts.join(", ")
        };
        let name = pattern.name();
        let extra = if own { beside(|both| both.0) } else { String::new() };
        let extra = format!("{extra}{}{revocations} revoked", if own { "; " } else { "" });
        report.rows([Row::once(ids[0], format!("{name}{label}: FA a month"), alarms, Some(Goal::AtMost(0.17))).beside(extra)]);
        // An attack of ten times the normal on one request an hour takes six times as long to make itself seen as on six.
        let bound = accepted(pattern) * (1.0 / scale).max(1.0);
        let row = Row::once(ids[1], format!("{name}{label}: x10, median hours"), medians[1], Some(Goal::AtMost(bound)));
        let extra = if own { format!("x3 {:.2} h; {}", medians[0], beside(|both| both.1)) } else { format!("x3 {:.2} h", medians[0]) };
        report.rows([row.beside(extra)]);
        if own {
            plots.pattern(name, alarms, &rivals.iter().map(|both| both.0).collect::<Vec<_>>());
        }
    }
}

/// Median hours in which an attack of ten times the normal has to be seen.
fn accepted(pattern: Pattern) -> f64 {
    match pattern {
        Pattern::HourlyCron | Pattern::NightlyBatch => 0.6,
        Pattern::NegativeBinomial | Pattern::Pipelines => 2.0,
        _ => 0.25,
    }
}

fn outcome(size: &Size, pattern: Pattern, scale: f64, series: u64, rivals: bool) -> Outcome {
    let settings = Settings { identities: 5000, false_revocations_per_year: 1.0 };
    let until = LEARNED + size.days * 24.0;
    let mut random = Random::new(size.seed, series);
    let normal = pattern.traffic(&mut random, until, scale);
    let mut run = Run::new(&normal, Ablation::Whole);
    let learned = run.learned();
    let count = |tier| {
        let mut detector = learned;
        run.clone().alarms(&mut detector, until, tier, &settings).len()
    };
    let (alarms, revocations) = (count(Tier::Review), count(Tier::Revoke));
    let from = LEARNED + 24.0 * (size.days - 20.0) * random.unit() + 24.0;
    let mut delays = [None; 2];
    let mut by_rivals = vec![];
    for (strength, delay) in [3.0, 10.0].into_iter().zip(&mut delays) {
        let attack = traffic::poisson(&mut random, 6.0 * scale * (strength - 1.0), from, from + CENSORED);
        let mixed = Traffic { requests: traffic::mixed(&normal.requests, &attack), starts: normal.starts.clone() };
        let mut detector = learned;
        *delay = run.switch(&mixed, LEARNED).delay(&mut detector, from, from + CENSORED, Tier::Review, &settings);
        if rivals && strength > 5.0 {
            by_rivals = Rival::ALL
                .iter()
                .map(|rival| {
                    let threshold = rival.nominal();
                    let found = rival.alarms(&mixed, until, LEARNED, threshold, Some(from));
                    let delay = found.first().map(|at| at - from).filter(|delay| *delay < CENSORED);
                    (rival.alarms(&normal, until, LEARNED, threshold, None).len(), delay)
                })
                .collect();
        }
    }
    Outcome { alarms, revocations, delays, rivals: by_rivals }
}
