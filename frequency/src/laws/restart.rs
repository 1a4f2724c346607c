//! A restart changes nothing: the state that is read is the state that was written.

use crate::{
    Detector, Settings,
    lab::{
        self,
        random::Random,
        traffic::Pattern,
        trial::{Ablation, Run},
    },
};

#[test]
fn restarts_at_random_times_leave_every_score_as_it_was() {
    let seed = 11;
    println!("seed {seed}");
    let settings = Settings { identities: 100, false_revocations_per_year: 1.0 };
    for (series, pattern) in Pattern::ALL.into_iter().enumerate() {
        let mut random = Random::new(seed, series as u64);
        let traffic = pattern.traffic(&mut random, 24.0 * 50.0, 1.0);
        let run = |restarts: bool| {
            let mut random = Random::new(seed, 100);
            let mut run = Run::new(&traffic, Ablation::Whole);
            let mut detector = run.learned();
            let mut scores = vec![];
            run.feed(&mut detector, 24.0 * 50.0, |detector, _| {
                scores.push(detector.score(&settings).value.to_bits());
                if restarts && random.unit() < 0.02 {
                    *detector = Detector::from_bytes(&detector.to_bytes()).unwrap();
                }
                false
            });
            scores
        };
        assert!(run(true) == run(false), "{}", pattern.name());
    }
}

#[test]
fn downtime_drains_nothing() {
    let settings = Settings::default();
    let mut detector = super::learned(6.0);
    for n in 0..6 {
        detector.observe(super::event(672.0 + 0.001 * f64::from(n)));
    }
    let before = detector.score(&settings).value;
    let mut again = Detector::from_bytes(&detector.to_bytes()).unwrap();
    again.unobserved(lab::at(680.0), 0, 0);
    assert!(again.score(&settings).value > before - 0.5, "{} after {before}", again.score(&settings).value);
}
