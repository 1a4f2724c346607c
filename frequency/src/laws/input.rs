//! Whatever order times come in: no panic, no NaN, no credit for nothing.

use proptest::prelude::*;

use super::{hours_later, learned};
use crate::{Detector, Event, PodKey, Prior, Settings, Tier, Time, lab};

/// One thing that may happen to a detector.
#[derive(Clone, Debug)]
enum Happening {
    Event(i64, u8),
    Advance(i64),
    Start(i64),
    Restart(i64),
    Gap(i64, u16, u16),
    Peers(i64, u16, f64),
    Expect(i64, f64),
    Approve,
    Promote,
    Reset,
}

fn happening() -> impl Strategy<Value = Happening> {
    // Mostly small steps in either direction, and some that are absurd.
    let step = prop_oneof![
        8 => -30_000_i64..3_600_000,
        2 => -7_200_000_i64..864_000_000,
        1 => any::<i64>(),
    ];
    let factor = prop_oneof![0.0..10.0, Just(f64::NAN), Just(f64::INFINITY), Just(-1.0)];
    prop_oneof![
        12 => (step.clone(), 0_u8..4).prop_map(|(by, pod)| Happening::Event(by, pod)),
        3 => step.clone().prop_map(Happening::Advance),
        1 => step.clone().prop_map(Happening::Start),
        1 => step.clone().prop_map(Happening::Restart),
        1 => (step.clone(), any::<u16>(), any::<u16>()).prop_map(|(by, found, ended)| Happening::Gap(by, found, ended)),
        1 => (step.clone(), any::<u16>(), factor.clone()).prop_map(|(by, siblings, factor)| Happening::Peers(by, siblings, factor)),
        1 => (step, factor).prop_map(|(by, factor)| Happening::Expect(by, factor)),
        1 => Just(Happening::Approve),
        1 => Just(Happening::Promote),
        1 => Just(Happening::Reset),
    ]
}

fn happen(detector: &mut Detector, happening: &Happening) {
    let later = |by: i64| Time::from_millis(detector.now().millis().saturating_add(by));
    match *happening {
        Happening::Event(by, pod) => detector.observe(Event { at: later(by), pod: PodKey::of(&"x".repeat(usize::from(pod))) }),
        Happening::Advance(by) => detector.advance(later(by)),
        Happening::Start(by) => detector.pod_started(later(by)),
        Happening::Restart(by) => detector.container_restarted(later(by)),
        Happening::Gap(by, found, ended) => detector.unobserved(later(by), found, ended),
        Happening::Peers(by, siblings, factor) => detector.set_peers(later(by), siblings, factor),
        Happening::Expect(by, factor) => detector.expect(later(by), factor),
        Happening::Approve => detector.approve(),
        Happening::Promote => drop(detector.promote(None)),
        Happening::Reset => detector.reset_buckets(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_happens_scores_are_numbers_and_states_can_be_written(
        happenings in proptest::collection::vec(happening(), 1..120),
        rate in prop_oneof![Just(f64::NAN), 0.0..1e4],
    ) {
        let settings = Settings { identities: 50, false_revocations_per_year: 1.0 };
        let mut detector = Detector::new(lab::at(0.0), Prior::Declared { rate });
        for happening in &happenings {
            let before = detector.now();
            happen(&mut detector, happening);
            let score = detector.score(&settings);
            prop_assert!(score.value.is_finite() && score.value >= 0.0, "{score:?} after {happening:?}");
            prop_assert!(detector.now() >= before, "time went back");
            let sentence = detector.explain("a/b", &score, &settings).to_string();
            prop_assert!(!sentence.contains("NaN") && !sentence.contains("inf"), "{sentence}");
            prop_assert_eq!(Detector::from_bytes(&detector.to_bytes()), Ok(detector));
        }
    }

    /// What comes late excuses nothing: a burst in any order within ten minutes scores at least what it scores all at once at its end.
    #[test]
    fn a_burst_in_disorder_scores_no_less(offsets in proptest::collection::vec(0_i64..300_000, 5..60)) {
        let settings = Settings::default();
        let base = learned(6.0);
        let end = offsets.iter().copied().max().unwrap_or(0);
        let score = |order: &[i64]| {
            let mut detector = base;
            for by in order {
                detector.observe(Event { at: base.now().plus_millis(*by), pod: None });
            }
            detector.advance(base.now().plus_millis(end));
            detector.score_of(crate::Stream::Requests, &settings).value
        };
        let mut sorted = offsets.clone();
        sorted.sort_unstable();
        // In disorder an expectation may fall before an event where it should fall after; a request's worth of it.
        prop_assert!(score(&offsets) > score(&sorted) - 2.5, "{} and {}", score(&offsets), score(&sorted));
    }
}

#[test]
fn requests_at_the_same_instant_all_count() {
    let mut detector = learned(6.0);
    let at = hours_later(&detector, 0.2);
    for _ in 0..12 {
        detector.observe(Event { at, pod: None });
    }
    let score = detector.score(&Settings::default());
    assert!(score.tier >= Tier::Review, "{score:?}");
}

#[test]
fn a_clock_that_is_set_back_neither_alarms_nor_blinds() {
    let settings = Settings::default();
    let mut detector = learned(10.0);
    let before = detector.now();
    let back = before.plus_hours(-3.0);
    for n in 0..60 {
        detector.observe(Event { at: back.plus_hours(f64::from(n) * 0.1), pod: None });
        let score = detector.score(&settings);
        assert!(score.tier == Tier::Normal, "normal traffic on a clock that is three hours late, request {n}: {score:?}");
    }
    for n in 0..40 {
        detector.observe(Event { at: back.plus_hours(6.0 + f64::from(n) * 0.001), pod: None });
    }
    assert!(detector.score(&settings).tier >= Tier::Deny, "a burst on that clock is a burst");
}

#[test]
fn one_timestamp_from_the_far_future_does_not_end_watching() {
    let settings = Settings::default();
    let mut detector = learned(6.0);
    let now = detector.now();
    detector.observe(Event { at: now.plus_hours(87_000.0), pod: None });
    for n in 0..30 {
        detector.observe(Event { at: now.plus_hours(f64::from(n) / 6.0), pod: None });
        assert_eq!(detector.score(&settings).tier, Tier::Normal, "request {n}");
    }
    for n in 0..60 {
        detector.observe(Event { at: now.plus_hours(5.0 + f64::from(n) / 600.0), pod: None });
    }
    assert!(detector.score(&settings).tier >= Tier::Deny);
}

#[test]
fn a_gap_of_months_leaves_no_credit() {
    let settings = Settings::default();
    for days in [1.0, 90.0, 500.0] {
        let mut detector = learned(6.0);
        let later = hours_later(&detector, 24.0 * days);
        for n in 0..20 {
            detector.observe(Event { at: later.plus_hours(f64::from(n) * 0.005), pod: None });
        }
        let score = detector.score(&settings);
        assert!(score.tier >= Tier::Review, "after {days} days of silence: {score:?}");
    }
}

#[test]
fn silence_while_nobody_watched_drains_nothing_and_a_backlog_is_no_burst() {
    let settings = Settings { identities: 5000, false_revocations_per_year: 1.0 };
    let mut detector = learned(10.0);
    let down = detector.now();
    let up = hours_later(&detector, 1.0);
    detector.unobserved(up, 10, 0);
    for n in 0..10 {
        detector.observe(Event { at: down.plus_hours(f64::from(n) * 0.1), pod: None });
    }
    let score = detector.score(&settings);
    assert!(score.value < 4.5 && score.tier == Tier::Normal, "{score:?}");

    let mut thief = learned(10.0);
    for n in 0..8 {
        thief.observe(Event { at: down.plus_hours(0.001 * f64::from(n)), pod: None });
    }
    let before = thief.score(&settings).value;
    thief.unobserved(up, 0, 0);
    let after = thief.score(&settings).value;
    assert!((before - after).abs() < 0.2, "an hour without observation and without requests drained {before} to {after}");
}

#[test]
fn what_comes_after_the_gap_is_not_excused_by_it() {
    let settings = Settings::default();
    let mut detector = learned(10.0);
    let up = hours_later(&detector, 1.0);
    detector.unobserved(up, 500, 0);
    for n in 1..40 {
        detector.observe(Event { at: up.plus_hours(0.002 * f64::from(n)), pod: None });
    }
    assert!(detector.score(&settings).tier >= Tier::Deny, "{:?}", detector.score(&settings));
}
