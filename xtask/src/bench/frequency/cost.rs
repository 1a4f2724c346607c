//! B12 and B13: what an event costs, how large the state is, and that a restart changes nothing.

use std::hint::black_box;

use daypass_frequency::{
    Detector, Settings,
    lab::{
        random::Random,
        traffic::{self, Pattern, Traffic},
        trial::{Ablation, LEARNED, Run, one_each, stream},
    },
};

use super::{Size, parallel, plot::Plots};
use crate::bench::{
    machine,
    report::{Goal, Report, Row},
};

/// Rounds, of which the middle counts.
const ROUNDS: usize = 3;

/// B12 and B13.
pub fn measure(size: &Size, report: &mut Report, _: &mut Plots) -> Result<(), String> {
    report.rows([
        Row::once("B12", "state in memory, two channels, bytes", size_of::<Detector>() as f64, Some(Goal::AtMost(1024.0))),
        Row::once("B12", "state written down, two channels, bytes", Detector::state_size() as f64, Some(Goal::AtMost(1024.0))),
    ]);
    let settings = Settings { identities: 5000, false_revocations_per_year: 1.0 };
    let mut random = Random::new(size.seed, 11_000_000);
    let normal = Traffic { requests: traffic::poisson(&mut random, 6.0, 0.0, LEARNED), starts: vec![] };
    let learned = Run::new(&normal, Ablation::Whole).learned();

    let events = 2_000_000;
    let gaps: Vec<i64> = (0..events).map(|_| (random.exponential() * 600_000.0) as i64).collect();
    let warm = rounds(events, || {
        let mut detector = learned;
        black_box(stream(&mut detector, &gaps, &settings));
    });
    report.rows(Row::of("B12", "one event and its score, warm, processor time, ns", &warm, Some(Goal::AtMost(300.0))));

    let mut many = vec![learned; size.many];
    let order: Vec<u32> = (0..events).map(|_| random.below(size.many) as u32).collect();
    let mut at = LEARNED;
    let cold = rounds(events, || {
        black_box(one_each(&mut many, &order, at, &settings));
        // The next round is an hour later.
        at += 1.0;
    });
    report.rows(Row::of("B12", format!("the same at random over {} identities, ns", size.many), &cold, Some(Goal::AtMost(1000.0))));
    report.rows([Row::once(
        "B13",
        "scores that differ after restarts at random",
        restarts(size, &settings) as f64,
        Some(Goal::Exactly(0.0)),
    )]);
    Ok(())
}

fn rounds(events: usize, mut each: impl FnMut()) -> Vec<f64> {
    each();
    (0..ROUNDS)
        .map(|_| {
            let begun = machine::cpu_of(std::process::id());
            each();
            (machine::cpu_of(std::process::id()) - begun).as_nanos() as f64 / events as f64
        })
        .collect()
}

fn restarts(size: &Size, settings: &Settings) -> usize {
    let differing = parallel(Pattern::ALL.len(), |number| {
        let until = LEARNED + 30.0 * 24.0;
        let normal = Pattern::ALL[number].traffic(&mut Random::new(size.seed, 11_100_000 + number as u64), until, 1.0);
        let run = |restarts: bool| {
            let mut random = Random::new(size.seed, 11_200_000);
            let mut run = Run::new(&normal, Ablation::Whole);
            let mut detector = run.learned();
            let mut scores = vec![];
            run.feed(&mut detector, until, |detector, _| {
                scores.push(detector.score(settings).value.to_bits());
                if restarts && random.unit() < 0.01 {
                    match Detector::from_bytes(&detector.to_bytes()) {
                        Ok(again) => *detector = again,
                        Err(_) => scores.push(0),
                    }
                }
                false
            });
            scores
        };
        let (plain, restarted) = (run(false), run(true));
        plain.iter().zip(&restarted).filter(|(a, b)| a != b).count() + plain.len().abs_diff(restarted.len())
    });
    differing.iter().sum()
}
