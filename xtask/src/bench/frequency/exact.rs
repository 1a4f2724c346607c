//! B1 and B2: one bucket and the bank of four, which know the rate, against the exact theory.

use daypass_frequency::lab::{
    random::Random,
    theory,
    trial::{known_rate, one_bucket},
};

use super::{Size, mean, parallel, plot::Plots};
use crate::bench::report::{Goal, Report, Row};

/// Runs of a batch: one random series each.
const BATCH: usize = 50;

/// B1: closed-form mean times of one bucket against simulation.
pub fn buckets(size: &Size, report: &mut Report, _: &mut Plots) -> Result<(), String> {
    let mut errors = vec![];
    for r in [2.0, 3.0, 5.0, 10.0] {
        for rho in [1.0, r] {
            let batches = parallel(size.runs / BATCH, |batch| {
                let mut random = Random::new(size.seed, 1_000_000 + batch as u64);
                (0..BATCH).map(|_| one_bucket(&mut random, r, 5.0, rho)).sum::<f64>() / BATCH as f64
            });
            errors.push(100.0 * (mean(&batches) / theory::mean_time(r, 5.0, rho) - 1.0).abs());
        }
    }
    let bound = if size.full { 2.0 } else { 5.0 };
    let measure = "one bucket (r = 2, 3, 5, 10): simulated ARL and delay off the exact ones, %";
    report.rows(worst("B1", measure, &errors, Goal::AtMost(bound)));
    Ok(())
}

/// B2: the delay of the bank over that of a rule that knows rate and attack, at the bank's own mean time between false alarms.
pub fn bank(size: &Size, report: &mut Report, plots: &mut Plots) -> Result<(), String> {
    let gammas: &[f64] = if size.full { &[8_760.0, 525_600.0] } else { &[8_760.0] };
    for &gamma in gammas {
        let threshold = gamma.ln() + 1.2;
        let runs = if size.full { 400 } else { 200 };
        let between = parallel(runs, |run| known_rate(&mut Random::new(size.seed, 2_000_000 + run as u64), 1.0, threshold, f64::MAX));
        let measured = mean(&between);
        for x in [1.5, 2.0, 3.0, 5.0, 10.0] {
            let batches = parallel(size.runs / 4 / BATCH, |batch| {
                let mut random = Random::new(size.seed, 3_000_000 + batch as u64);
                (0..BATCH).map(|_| known_rate(&mut random, x, threshold, f64::MAX)).sum::<f64>() / BATCH as f64
            });
            let ratio = mean(&batches) / theory::optimum(x, measured);
            let goal = if x < 2.0 { 1.20 } else { 1.15 };
            report.rows([Row::once(
                "B2",
                format!("bank, rate known, γ = {gamma}, x{x}: delay over optimum"),
                ratio,
                Some(Goal::AtMost(goal)),
            )
            .beside(format!("measured ARL {measured:.0}"))]);
            plots.delay(&format!("bank, γ = {gamma}"), x, ratio);
        }
    }
    Ok(())
}

/// The worst of several, with their spread.
pub fn worst(id: &'static str, measure: &str, values: &[f64], goal: Goal) -> Option<Row> {
    let worst = values.iter().copied().fold(f64::MIN, f64::max);
    let least = values.iter().copied().fold(f64::MAX, f64::min);
    (!values.is_empty()).then(|| Row::once(id, measure, worst, Some(goal)).beside(format!("best {least:.2}")))
}
