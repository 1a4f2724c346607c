//! When the pod's side asks: for the next credential while one is live, and again after a refusal or a failure.
//!
//! Pure: a random number enters as a value from 0 up to 1, so that many pods that were started, refused or cut off together do not come
//! back together.

use std::time::Duration;

/// First and longest pause after a failure.
const FAILURE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// First and longest pause after a denial that time alone does not cure.
const DENIAL: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));

/// How long after its start a credential that lives this long is renewed: two thirds of the life, ±10 %.
///
/// Never before half of it: a pod then holds two credentials at most, the one that it gave back and that is accepted until its own end, and
/// the one that followed.
pub fn renew_after(life: Duration, chance: f64) -> Duration {
    let jitter = 0.9 + 0.2 * chance.clamp(0.0, 1.0);
    life.mul_f64(2.0 / 3.0 * jitter)
}

/// The pause before the next try after this many failures in a row: doubling, between half and the whole.
pub fn pause_after_failure(failures: u32, chance: f64) -> Duration {
    doubling(FAILURE, failures, chance)
}

/// The pause before asking again after this many denials in a row. Where the answer names a time it is kept, with up to a fifth on top, if it
/// is not far away: what lasts for hours, as a lock does, may be lifted before. Elsewhere a denial is an answer, and asking again soon would
/// only be noise.
pub fn pause_after_denial(denials: u32, retry_after: Option<Duration>, chance: f64) -> Duration {
    match retry_after {
        Some(after) => after.clamp(FAILURE.0, DENIAL.1).mul_f64(1.0 + 0.2 * chance.clamp(0.0, 1.0)),
        None => doubling(DENIAL, denials, chance),
    }
}

fn doubling((first, longest): (Duration, Duration), times: u32, chance: f64) -> Duration {
    let whole = first.saturating_mul(1 << times.saturating_sub(1).min(16)).min(longest);
    whole.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_credential_is_renewed_at_about_two_thirds_of_its_life() {
        let minute = Duration::from_secs(60);
        let at = |chance| renew_after(minute, chance).as_secs_f64().round();
        assert_eq!((at(0.0), at(0.5), at(1.0)), (36.0, 40.0, 44.0));
    }

    #[test]
    fn pauses_double_up_to_their_bound() {
        let longest = |n| pause_after_failure(n, 1.0).as_secs();
        assert_eq!((1..=6).map(longest).collect::<Vec<_>>(), [1, 2, 4, 8, 15, 15]);
        assert_eq!((1..=7).map(|n| pause_after_denial(n, None, 1.0).as_secs()).collect::<Vec<_>>(), [10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn a_time_to_ask_again_is_kept() {
        assert_eq!(pause_after_denial(9, Some(20 * SECOND), 0.0), 20 * SECOND);
        assert_eq!(pause_after_denial(9, Some(20 * SECOND), 1.0), 24 * SECOND);
    }

    #[test]
    fn what_is_locked_for_hours_is_asked_for_now_and_then() {
        assert_eq!(pause_after_denial(1, Some(7200 * SECOND), 0.0), 300 * SECOND);
    }

    proptest! {
        #[test]
        fn two_credentials_are_enough_to_always_hold_one(life in 1u64..86_400, first in 0.0..1.0f64, second in 0.0..1.0f64) {
            let life = Duration::from_secs(life);
            let third = renew_after(life, first) + renew_after(life, second);
            prop_assert!(third > life, "the first has ended when the third is asked for");
            prop_assert!(renew_after(life, first) < life, "the next is asked for while one is live");
        }

        #[test]
        fn no_pause_is_nothing_and_none_is_for_ever(times in 0u32..1_000, after in proptest::option::of(0u64..86_400), chance in -1.0..2.0f64) {
            let failure = pause_after_failure(times, chance);
            prop_assert!(failure >= SECOND / 2 && failure <= FAILURE.1);
            let denial = pause_after_denial(times, after.map(Duration::from_secs), chance);
            prop_assert!(denial >= SECOND && denial <= DENIAL.1.mul_f64(1.2));
        }
    }
}
