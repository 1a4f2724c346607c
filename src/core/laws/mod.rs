//! The laws of decisions, tested on random worlds: total, deterministic, blind to order, monotone, within bounds, stable.
//!
//! A failing case is shrunk and printed with its seed. The last test shows that the worlds are rich enough for the laws to mean something.

mod coverage;
mod world;

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;

use self::world::{lease_of, live_grants, locks, policies, policy_sets, snapshots};
use super::{
    could_apply, decide,
    decision::{Consideration, Reconsideration, Verdict},
    fixture, reconsider,
    snapshot::{ClassFacts, LockFacts, PolicyFacts, Snapshot, Tri},
};
use crate::api::{CredentialLeaseSpec, DenialReason, lease::LeasePolicy, lock::LockMatch, policy::Effect};

fn allows(world: &Snapshot) -> bool {
    matches!(decide(world).verdict, Verdict::Allow(_))
}

fn with(world: &Snapshot, change: impl FnOnce(&mut Snapshot)) -> Snapshot {
    let mut world = world.clone();
    change(&mut world);
    world
}

/// The lease after the answer has been carried out; `None` unless the grant goes on.
fn carried_out(lease: &CredentialLeaseSpec, answer: &Reconsideration) -> Option<CredentialLeaseSpec> {
    let Reconsideration::Keep { policy, policy_uid, policy_generation, policy_hash, expires_at } = answer else { return None };
    let policy =
        LeasePolicy { name: policy.to_string(), uid: policy_uid.clone(), generation: *policy_generation, hash: policy_hash.clone() };
    Some(CredentialLeaseSpec { policy, expires_at: *expires_at, ..lease.clone() })
}

proptest! {
    #[test]
    fn every_world_has_an_answer_that_can_be_told(world in snapshots()) {
        let decision = decide(&world);
        if let Verdict::Deny(denial) = &decision.verdict {
            prop_assert!(!denial.message.is_empty() && denial.message.len() <= 1024, "status holds 1024: {:?}", denial.message);
            let curable = [DenialReason::LimitReached, DenialReason::ClassUnavailable, DenialReason::GuardGap].contains(&denial.reason);
            // A lock says by itself when it is over.
            prop_assert_eq!(denial.retry_after.is_some(), curable || denial.lock.is_some());
        }
        let ids: Vec<_> = decision.considered.iter().map(|one| &one.policy).collect();
        prop_assert!(ids.is_sorted() && (ids.is_empty() || ids.len() == world.policies.len()), "each policy once, in order: {ids:?}");
    }

    #[test]
    fn the_same_world_gets_the_same_answer_in_whatever_order_its_policies_come(world in snapshots(), seed in any::<u64>()) {
        let shuffled = with(&world, |w| shuffle(&mut w.policies, seed));
        prop_assert_eq!(decide(&shuffled), decide(&world));
    }

    #[test]
    fn the_order_of_subjects_classes_and_conditions_does_not_decide(world in snapshots(), seed in any::<u64>()) {
        let shuffled = with(&world, |w| for policy in &mut w.policies {
            shuffle(&mut policy.subjects, seed);
            shuffle(&mut policy.classes, seed);
            shuffle(&mut policy.require, seed);
        });
        let (before, after) = (decide(&world).verdict, decide(&shuffled).verdict);
        match (before, after) {
            // Which of several failed conditions is told first is the order in which their author wrote them.
            (Verdict::Deny(before), Verdict::Deny(after)) => prop_assert_eq!((before.reason, before.policy), (after.reason, after.policy)),
            (before, after) => prop_assert_eq!(before, after),
        }
    }

    #[test]
    fn another_forbid_never_allows(world in snapshots(), mut another in policies()) {
        (another.effect, another.id.name) = (Effect::Forbid, "another".into());
        prop_assert!(allows(&world) || !allows(&with(&world, |w| w.policies.push(another))));
    }

    #[test]
    fn taking_a_permit_away_breaking_it_or_losing_its_verdicts_never_allows(world in snapshots()) {
        prop_assume!(!allows(&world));
        for index in (0..world.policies.len()).filter(|index| world.policies[*index].effect == Effect::Permit) {
            let worse: [&dyn Fn(&mut PolicyFacts); 3] = [
                &|p| p.broken = Some("spec cannot be read".into()),
                &|p| (p.has_when, p.when) = (true, Some(Tri::Error("late".into()))),
                &|p| p.require.iter_mut().for_each(|(_, verdict)| *verdict = None),
            ];
            for make in worse {
                prop_assert!(!allows(&with(&world, |w| make(&mut w.policies[index]))));
            }
            let without = with(&world, |w| drop(w.policies.remove(index)));
            prop_assert!(!allows(&without));
        }
    }

    #[test]
    fn breaking_a_forbid_never_allows(world in snapshots()) {
        prop_assume!(!allows(&world));
        for index in (0..world.policies.len()).filter(|index| world.policies[*index].effect == Effect::Forbid) {
            prop_assert!(!allows(&with(&world, |w| w.policies[index].broken = Some("when: unknown root".into()))));
        }
    }

    #[test]
    fn another_lock_never_allows_and_one_that_is_about_the_request_forbids(world in snapshots(), mut another in locks()) {
        another.name = "another".into();
        let locked = with(&world, |w| w.locks.push(another));
        prop_assert!(allows(&world) || !allows(&locked));
        let everything = LockMatch { everything: Some(true), ..LockMatch::default() };
        let all = with(&world, |w| w.locks.push(LockFacts { matches: everything, ..fixture::lock("all") }));
        prop_assert!(!allows(&all));
    }

    #[test]
    fn the_order_of_locks_decides_nothing(world in snapshots(), seed in any::<u64>()) {
        prop_assert_eq!(decide(&with(&world, |w| shuffle(&mut w.locks, seed))), decide(&world));
    }

    #[test]
    fn more_live_credentials_never_allow(world in snapshots(), live in 0..9u64, of_pod in 0..9u64) {
        let busier = with(&world, |w| for policy in &mut w.policies {
            (policy.live, policy.live_of_pod) = (policy.live + live, policy.live_of_pod + of_pod);
        });
        prop_assert!(allows(&world) || !allows(&busier));
    }

    #[test]
    fn granted_is_within_asked_and_every_ceiling(world in snapshots()) {
        let Verdict::Allow(grant) = decide(&world).verdict else { return Ok(()) };
        let ClassFacts::Ready { spec, not_after, revocation } = &world.class else { panic!("granted by a class that is not Ready") };
        let policy = world.policies.iter().find(|policy| policy.id == grant.policy).unwrap();
        prop_assert!(policy.effect == Effect::Permit && policy.broken.is_none());
        prop_assert!(grant.ttl >= Duration::from_secs(1) && grant.ttl.subsec_nanos() == 0);
        prop_assert!(grant.ttl <= grant.asked);
        prop_assert!(world.request.spec.ttl.as_ref().is_none_or(|asked| grant.asked == asked.parse().unwrap()));
        prop_assert!(grant.ttl <= spec.ttl.max.parse().unwrap());
        let own = policy.ttl.as_ref().and_then(|ttl| ttl.max.as_ref());
        prop_assert!(own.is_none_or(|max| grant.ttl <= max.parse().unwrap()));
        prop_assert!(grant.not_after <= *not_after && world.now + grant.ttl <= grant.not_after);
        prop_assert_eq!(grant.cut_by.is_some(), grant.ttl < grant.asked);
        prop_assert!(policy.revocation_at_most.is_none_or(|at_most| revocation.bound_seconds <= at_most), "taken back as fast as demanded");
    }

    #[test]
    fn a_policy_that_did_not_apply_may_as_well_not_be_there(world in snapshots()) {
        let decision = decide(&world);
        for one in decision.considered.iter().filter(|one| matches!(one.result, Consideration::DoesNotApply(_))) {
            let without = with(&world, |w| w.policies.retain(|policy| policy.id != one.policy));
            prop_assert_eq!(&decide(&without).verdict, &decision.verdict, "{}", one.policy);
        }
    }

    #[test]
    fn expressions_of_a_policy_that_could_not_apply_are_not_needed(world in snapshots(), (other, _, _) in live_grants()) {
        // Verdicts by name, as different as another world has them.
        let verdicts: BTreeMap<_, _> = other.policies.iter().map(|p| (p.id.name.clone(), p.when.clone())).collect();
        let unasked = with(&world, |w| for index in 0..w.policies.len() {
            if !could_apply(&w.policies[index], w) {
                let policy = &mut w.policies[index];
                policy.when = verdicts.get(&policy.id.name).cloned().flatten();
                policy.require.iter_mut().for_each(|(_, verdict)| *verdict = None);
            }
        });
        prop_assert_eq!(decide(&unasked), decide(&world));
    }

    #[test]
    fn what_is_granted_now_is_kept_a_moment_later(world in snapshots()) {
        let Verdict::Allow(grant) = decide(&world).verdict else { return Ok(()) };
        let lease = lease_of(&world, &grant);
        prop_assume!(lease.expires_at > world.now);
        let answer = reconsider(&world, &lease, Default::default());
        prop_assert_eq!(carried_out(&lease, &answer), Some(lease), "{:?}", answer);
    }

    #[test]
    fn a_grant_that_goes_on_never_grows_and_judging_it_again_changes_nothing((world, lease, gone) in live_grants()) {
        let answer = reconsider(&world, &lease, gone);
        let Some(next) = carried_out(&lease, &answer) else { return Ok(()) };
        prop_assert!(next.expires_at <= lease.expires_at && next.expires_at > world.now);
        prop_assert_eq!(reconsider(&world, &next, gone), answer);
    }

    #[test]
    fn the_order_of_policies_ends_no_grant((world, lease, gone) in live_grants(), seed in any::<u64>()) {
        let shuffled = with(&world, |w| shuffle(&mut w.policies, seed));
        prop_assert_eq!(reconsider(&shuffled, &lease, gone), reconsider(&world, &lease, gone));
    }

    #[test]
    fn a_policy_that_breaks_ends_no_grant_that_went_on((world, lease, gone) in live_grants()) {
        let Some(lease) = carried_out(&lease, &reconsider(&world, &lease, gone)) else { return Ok(()) };
        for index in 0..world.policies.len() {
            let broken: [&dyn Fn(&mut PolicyFacts); 2] = [
                &|p| p.broken = Some("when: unknown root".into()),
                // The whole spec cannot be read, its effect included.
                &|p| (p.broken, p.effect, p.subjects, p.classes) = (Some("no such field".into()), Effect::Forbid, vec![], vec![]),
            ];
            for make in broken {
                let answer = reconsider(&with(&world, |w| make(&mut w.policies[index])), &lease, gone);
                prop_assert!(!matches!(answer, Reconsideration::End { .. }), "{answer:?}");
            }
        }
    }

    #[test]
    fn expressions_that_fail_or_come_late_end_no_grant_that_went_on((world, lease, gone) in live_grants()) {
        let Some(lease) = carried_out(&lease, &reconsider(&world, &lease, gone)) else { return Ok(()) };
        let late = with(&world, |w| for policy in &mut w.policies {
            policy.when = policy.when.is_some().then(|| Tri::Error("late".into()));
            policy.require.iter_mut().for_each(|(_, verdict)| *verdict = Some(Tri::Error("late".into())));
        });
        let answer = reconsider(&late, &lease, gone);
        prop_assert!(!matches!(answer, Reconsideration::End { .. }), "{answer:?}");
    }

    #[test]
    fn a_foreign_policy_that_could_not_apply_does_not_touch_a_grant((world, lease, gone) in live_grants(), more in policy_sets()) {
        let answer = reconsider(&world, &lease, gone);
        let more = more.into_iter().map(|mut policy| { policy.id.name.insert(0, 'x'); policy });
        let unrelated: Vec<_> = more.filter(|policy| !could_apply(policy, &world)).collect();
        prop_assert_eq!(reconsider(&with(&world, |w| w.policies.extend(unrelated)), &lease, gone), answer);
    }
}

/// Fisher and Yates with a generator of two lines: enough to get every order of a few things.
fn shuffle<T>(items: &mut [T], mut seed: u64) {
    for end in (1..items.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        items.swap(end, (seed >> 33) as usize % (end + 1));
    }
}
