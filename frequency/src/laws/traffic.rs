//! What legitimate and stolen traffic come to, in small; the benchmark measures it in full. One test for each defence fails without it.

use super::{event, hours_later, learned};
use crate::{
    Detector, Event, PodKey, Prior, Promotion, Scope, Settings, Tier, lab,
    lab::{
        random::Random,
        traffic,
        traffic::{Pattern, Traffic},
        trial::{Ablation, LEARNED, Run},
    },
};

const SEED: u64 = 2026;

/// False alarms (review tier) of so many identities in 60 days, a month and identity.
fn false_alarms(pattern: Pattern, without: Ablation, identities: u64) -> f64 {
    println!("seed {SEED}");
    let settings = Settings::default();
    let until = LEARNED + 60.0 * 24.0;
    let mut alarms = 0;
    for series in 0..identities {
        let traffic = pattern.traffic(&mut Random::new(SEED, series), until, 1.0);
        let mut run = Run::new(&traffic, without);
        let mut detector = run.learned();
        alarms += run.alarms(&mut detector, until, Tier::Review, &settings).len();
    }
    alarms as f64 / (identities as f64 * 60.0 / 30.44)
}

#[test]
fn business_hours_are_normal_because_the_week_is_known() {
    assert!(false_alarms(Pattern::BusinessHours, Ablation::Whole, 20) <= 0.17);
    assert!(false_alarms(Pattern::BusinessHours, Ablation::NoSeason, 4) > 1.0);
}

#[test]
fn pipelines_are_normal_because_clumps_are_known() {
    assert!(false_alarms(Pattern::Pipelines, Ablation::Whole, 20) <= 0.17);
    assert!(false_alarms(Pattern::Pipelines, Ablation::NoDispersion, 4) > 1.0);
}

#[test]
fn rollouts_are_normal_because_starts_excuse_what_they_cause() {
    assert!(false_alarms(Pattern::Rollouts, Ablation::Whole, 20) <= 0.17);
    assert!(false_alarms(Pattern::Rollouts, Ablation::NoCredits, 4) > 1.0);
}

#[test]
fn a_burst_of_new_sessions_in_a_nightly_batch_is_seen_by_the_sessions() {
    println!("seed {SEED}");
    let settings = Settings::default();
    let delay = |without: Ablation| {
        let mut delays = vec![];
        for series in 0..8 {
            let mut random = Random::new(SEED, series);
            let normal = Pattern::NightlyBatch.traffic(&mut random, 900.0, 1.0);
            let attack = traffic::poisson(&mut random, 12.0, 780.0, 852.0);
            let mixed = Traffic { requests: traffic::mixed(&normal.requests, &attack), starts: vec![] };
            let mut run = Run::new(&mixed, without);
            let mut detector = run.learned();
            delays.push(run.delay(&mut detector, 780.0, 852.0, Tier::Review, &settings));
        }
        crate::lab::trial::mean_and_median(&delays, 72.0).1
    };
    let (with, without) = (delay(Ablation::Whole), delay(Ablation::NoSessions));
    assert!(with < 2.0 && without > 3.0 * with, "{with} h with the channel, {without} h without");
}

#[test]
fn a_patient_thief_teaches_the_shadow_and_not_the_judge() {
    println!("seed {SEED}");
    let settings = Settings::default();
    let caught = |without: Ablation| {
        let mut random = Random::new(SEED, 0);
        let until = LEARNED + 24.0 * 60.0;
        let normal = traffic::poisson(&mut random, 6.0, 0.0, until);
        let more = traffic::ramp(&mut random, 6.0, 24.0 * 30.0, LEARNED, until);
        let mixed = Traffic { requests: traffic::mixed(&normal, &more), starts: vec![] };
        let mut run = Run::new(&mixed, without);
        let mut detector = run.learned();
        run.delay(&mut detector, LEARNED, until, Tier::Review, &settings).map(|hours| (hours / (24.0 * 30.0)).exp2())
    };
    let with = caught(Ablation::Whole);
    assert!(with.is_some_and(|factor| factor < 1.7), "caught at {with:?} times the normal");
    let without = caught(Ablation::NoAnchor);
    assert!(without.is_none_or(|factor| factor > with.unwrap_or(9.0)), "without an anchor: {without:?}");
}

#[test]
fn one_stolen_pod_is_named_and_a_burst_of_all_is_the_identitys() {
    let settings = Settings::default();
    let burst = |pods: usize| {
        let mut detector = learned(6.0);
        let at = hours_later(&detector, 0.1);
        for n in 0..30 {
            let pod = PodKey::of(&format!("pod-{}", n % pods));
            detector.observe(Event { at: at.plus_millis(n as i64 * 15_000), pod });
        }
        let score = detector.score(&settings);
        assert!(score.tier >= Tier::Deny, "{score:?}");
        detector.scope(&score)
    };
    assert_eq!(Some(burst(1)), PodKey::of("pod-0").map(Scope::Pod));
    assert_eq!(burst(6), Scope::Identity);
}

#[test]
fn an_alarm_explains_itself_with_its_numbers() {
    let settings = Settings { identities: 5000, false_revocations_per_year: 1.0 };
    let mut detector = learned(6.0);
    let at = hours_later(&detector, 2.5);
    for n in 0..40 {
        detector.observe(Event { at: at.plus_millis(n * 20_000), pod: PodKey::of("a") });
    }
    let score = detector.score(&settings);
    assert_eq!(score.tier, Tier::Revoke);
    let sentence = detector.explain("payments/batch-a", &score, &settings).to_string();
    for part in [
        "payments/batch-a asked 40 credentials in 13 min (since 02:30)",
        "for Mon 02:00",
        "28 d)",
        "Action: revoke for the pod",
        "holds",
        "identity-years",
    ] {
        assert!(sentence.contains(part), "{part:?} is not in {sentence}");
    }
}

#[test]
fn nothing_vouches_for_a_stranger_so_its_first_weeks_are_only_reviewed() {
    let settings = Settings::default();
    let burst = |prior: Prior| {
        let mut detector = Detector::new(lab::at(0.0), prior);
        for n in 0..400 {
            detector.observe(event(3.0 + 0.001 * f64::from(n)));
        }
        detector.score(&settings).tier
    };
    assert_eq!(burst(Prior::Unknown), Tier::Review);
    assert!(burst(Prior::Declared { rate: 6.0 }) >= Tier::Deny);
}

#[test]
fn what_an_alarm_held_back_is_learned_only_on_a_persons_word() {
    let learn = |accepted: bool| {
        let mut detector = learned(6.0);
        let before = detector.raw.learned_rate(f64::from(detector.hours));
        for n in 0..600 {
            detector.observe(event(672.2 + 0.001 * f64::from(n)));
        }
        if accepted {
            detector.expect(lab::at(674.0), 100.0);
        }
        detector.advance(lab::at(672.0 + 30.0));
        detector.raw.learned_rate(f64::from(detector.hours)) / before
    };
    assert!(learn(false) < 1.02, "{}", learn(false));
    assert!(learn(true) > 1.1, "{}", learn(true));
}

#[test]
fn a_small_change_is_promoted_and_a_large_one_is_a_persons() {
    let after = |factor: f64| {
        let mut detector = learned(6.0);
        let rate = 6.0 * factor;
        // Below the smallest bucket's leak, or expected: no alarm is open.
        detector.expect(lab::at(1e5), 3.0);
        for n in 0..(rate * 672.0 * 1.5) as usize {
            detector.observe(event(672.0 + n as f64 / rate));
        }
        detector.advance(lab::at(672.0 * 2.5));
        (detector.promote(None), detector.rate(), detector.promote(Some(factor)))
    };
    let (small, rate, _) = after(1.15);
    assert!(small == Promotion::Promoted && rate > 6.2, "{small:?} {rate}");
    let (large, rate, with_peers) = after(1.9);
    assert!(matches!(large, Promotion::Drift(_)) && rate < 6.2, "{large:?} {rate}");
    assert!(!matches!(with_peers, Promotion::NotDue), "{with_peers:?}");
}

#[test]
fn a_crash_loop_and_a_cluster_that_starts_cold_are_not_taken_back() {
    let settings = Settings { identities: 5000, false_revocations_per_year: 1.0 };
    let mut detector = learned(6.0);
    let (mut at, mut pause) = (672.1, 10.0 / 3600.0);
    let mut most = Tier::Normal;
    while at < 684.0 {
        detector.container_restarted(lab::at(at));
        detector.observe(event(at + 0.0003));
        most = most.max(detector.score(&settings).tier);
        at += pause;
        pause = f64::min(pause * 2.0, 300.0 / 3600.0);
    }
    assert_eq!(most, Tier::Normal, "each restart excuses its own request");
}

#[test]
fn a_newcomer_is_judged_by_its_peers_hours_of_requests_and_of_sessions() {
    println!("seed {SEED}");
    let settings = Settings::default();
    let peers: Vec<Detector> = (0..8)
        .map(|peer| {
            let normal = Pattern::NightlyBatch.traffic(&mut Random::new(SEED, 50 + peer), LEARNED, 1.0);
            Run::new(&normal, Ablation::Whole).learned()
        })
        .collect();
    let prior = Prior::Peers(crate::Peers::of(&peers).unwrap());
    let alarms: usize = (0..12)
        .map(|newcomer| {
            let normal = Pattern::NightlyBatch.traffic(&mut Random::new(SEED, 100 + newcomer), 336.0, 1.0);
            let mut detector = Detector::new(lab::at(0.0), prior);
            Run::new(&normal, Ablation::Whole).alarms(&mut detector, 336.0, Tier::Review, &settings).len()
        })
        .sum();
    assert!(alarms <= 6, "{alarms} false alarms of 12 newcomers in 14 days");
    assert!(crate::Peers::of(&peers[..4]).is_none(), "four are no peers");
}

#[test]
fn an_identity_whose_hours_differ_wildly_is_never_revoked() {
    println!("seed {SEED}");
    let settings = Settings { identities: 5000, false_revocations_per_year: 1.0 };
    let until = LEARNED + 90.0 * 24.0;
    for series in 0..6 {
        let normal = Pattern::NegativeBinomial.traffic(&mut Random::new(SEED, series), until, 10.0);
        let mut run = Run::new(&normal, Ablation::Whole);
        let mut detector = run.learned();
        assert_eq!(run.alarms(&mut detector, until, Tier::Revoke, &settings), []);
    }
}

#[test]
fn an_identity_that_nobody_knows_is_not_suspected_of_being_busy() {
    println!("seed {SEED}");
    let settings = Settings::default();
    for scale in [1.0 / 6.0, 1.0, 10.0] {
        let alarms: usize = (0..10)
            .map(|series| {
                let normal = Pattern::Poisson.traffic(&mut Random::new(SEED, series), 336.0, scale);
                let mut detector = Detector::new(lab::at(0.0), Prior::Unknown);
                Run::new(&normal, Ablation::Whole).alarms(&mut detector, 336.0, Tier::Review, &settings).len()
            })
            .sum();
        assert!(alarms <= 10, "{alarms} false alarms of ten newcomers with {} an hour in 14 days", 6.0 * scale);
    }
}
