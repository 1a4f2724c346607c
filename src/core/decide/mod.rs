//! From a snapshot to a decision, one stage a file: [`gates`] (guard, identity, class, ask), [`policies`] (Forbid, Permit), [`lifetime`]
//! (ceilings); and [`mod@reconsider`] for a grant that is already live.
//!
//! Pure: the controller, `daypass explain` and the stories in `tests/decisions` call the same functions on the same facts and get the same
//! answer. Must never read a clock, log, or guess: what is not in the snapshot leads to
//! [`Verdict::Wait`](super::Verdict::Wait) or [`Reconsideration::Undecided`](super::Reconsideration::Undecided).

mod gates;
mod lifetime;
mod policies;
mod reconsider;

use std::ops::ControlFlow;

use super::{
    decision::Decision,
    matching::{self, Match},
    snapshot::{PolicyFacts, Snapshot},
};

pub use gates::{GUARD_SETTLES, subject};
pub use policies::applicability;
pub use reconsider::{BACKDATE, DELETED_POLICY_GRACE, Gone, reconsider};

/// Decides about a new request.
///
/// The gates come first and deny for everybody; what policies say is asked only of a request that passed them, so a denial at a gate has
/// considered no policy.
pub fn decide(snapshot: &Snapshot) -> Decision {
    match gates::pass(snapshot) {
        ControlFlow::Break(verdict) => Decision { verdict, considered: vec![] },
        ControlFlow::Continue(ask) => policies::judge(snapshot, &ask),
    }
}

/// Whether only the expressions of this policy can still keep it from applying to the request: evaluate them if so, and only then.
///
/// Reads neither `when` nor `require`. A broken policy has nothing to evaluate.
pub fn could_apply(policy: &PolicyFacts, snapshot: &Snapshot) -> bool {
    policy.broken.is_none() && !matches!(matching::policy(policy, snapshot), Match::No(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{
        fixture::{permit, snapshot},
        snapshot::Tri,
    };

    #[test]
    fn expressions_are_asked_of_a_policy_that_matches_in_everything_else() {
        let mut policy = permit("orders");
        (policy.has_when, policy.when) = (true, None);
        assert!(could_apply(&policy, &snapshot()));
        policy.when = Some(Tri::False);
        assert!(could_apply(&policy, &snapshot()), "an earlier verdict is not a reason not to ask again");
        policy.classes = vec!["orders-ro".into()];
        assert!(!could_apply(&policy, &snapshot()));
    }

    #[test]
    fn a_broken_policy_is_asked_nothing() {
        let broken = PolicyFacts { broken: Some("when: no such word".into()), ..permit("orders") };
        assert!(!could_apply(&broken, &snapshot()));
    }

    #[test]
    fn a_denial_at_a_gate_has_considered_no_policy() {
        let mut world = snapshot();
        world.operator_namespace = world.request.namespace.clone();
        assert_eq!(decide(&world).considered, []);
    }
}
