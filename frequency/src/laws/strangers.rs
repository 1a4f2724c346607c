//! No request of a stranger can raise a victim's score; siblings can lower it, within limits.

use proptest::prelude::*;

use super::learned;
use crate::{Event, Fleet, Settings, Tier, lab};

const SIBLINGS: usize = 7;

/// A fleet of eight identities of one group that have all learned the same, and one of another group.
fn fleet() -> Fleet {
    let mut fleet = Fleet::default();
    let detector = learned(6.0);
    fleet.adopt("victim", "policy", detector);
    for sibling in 0..SIBLINGS {
        fleet.adopt(&format!("sibling-{sibling}"), "policy", detector);
    }
    fleet.adopt("stranger", "other", detector);
    fleet
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// The same requests of the victim, with and without those of everybody else: they never raise its score.
    #[test]
    fn no_request_of_another_identity_raises_a_victims_score(
        victim in proptest::collection::vec(0.0_f64..6.0, 0..120),
        others in proptest::collection::vec((0.0_f64..6.0, 0..=SIBLINGS), 0..400),
    ) {
        let settings = Settings::default();
        let mut all: Vec<(f64, Option<usize>)> = victim.iter().map(|at| (*at, None)).collect();
        all.extend(others.iter().map(|(at, who)| (*at, Some(*who))));
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (mut with, mut without) = (fleet(), fleet());
        for (at, who) in all {
            let event = Event { at: lab::at(672.0 + at), pod: None };
            match who {
                None => {
                    with.observe("victim", event);
                    without.observe("victim", event);
                }
                Some(SIBLINGS) => with.observe("stranger", event),
                Some(sibling) => with.observe(&format!("sibling-{sibling}"), event),
            }
            let scores = [&mut with, &mut without].map(|fleet| fleet.score("victim", event.at, &settings).map_or(0.0, |score| score.value));
            prop_assert!(scores[0] <= scores[1] + 1e-9, "with others {} and without {}", scores[0], scores[1]);
        }
    }
}

/// A detector's own traffic, `factor` times the normal for an hour, and its siblings' alike.
fn crowd(siblings_too: bool, factor: usize) -> (Fleet, f64) {
    let mut fleet = fleet();
    let count = 6 * factor;
    for n in 0..count {
        let at = 672.0 + (n as f64 + 0.5) / count as f64;
        if siblings_too {
            for sibling in 0..SIBLINGS {
                fleet.observe(&format!("sibling-{sibling}"), Event { at: lab::at(at - 0.0005 * sibling as f64), pod: None });
            }
        }
        fleet.observe("victim", Event { at: lab::at(at), pod: None });
    }
    (fleet, 673.0)
}

#[test]
fn what_all_siblings_do_at_once_is_no_attack_and_what_one_does_alone_is() {
    let settings = Settings::default();
    let tier = |(mut fleet, at): (Fleet, f64)| fleet.score("victim", lab::at(at), &settings).unwrap().tier;
    assert_eq!(tier(crowd(true, 4)), Tier::Normal);
    assert!(tier(crowd(false, 4)) >= Tier::Review);
    assert!(tier(crowd(true, 40)) >= Tier::Deny, "siblings excuse no more than four times the normal");
}

#[test]
fn fewer_than_five_siblings_excuse_nothing() {
    let mut detector = learned(6.0);
    let at = detector.now();
    detector.set_peers(at, 4, 4.0);
    assert_eq!(detector.factors(), [1.0, 1.0]);
    detector.set_peers(at, 5, 400.0);
    assert_eq!(detector.factors(), [1.0, 4.0]);
}
