//! How long a grant may live: what was asked for, and everything that cuts it.

use std::time::Duration;

use super::{
    super::{
        explain::duration,
        snapshot::{PolicyFacts, Snapshot},
    },
    gates::Ask,
};
use crate::api::ttl::TtlError;

/// The lifetime that one policy would give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lifetime {
    /// In whole seconds, at least one.
    pub ttl: Duration,
    /// Before anything cut it.
    pub asked: Duration,
    /// What cut it deepest.
    pub cut_by: Option<String>,
}

/// The lifetimes of a policy, read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PolicyLifetimes {
    /// When the request names none.
    pub default: Option<Duration>,
    /// The ceiling.
    pub max: Option<Duration>,
}

impl PolicyLifetimes {
    /// Reads them off a policy that is whole; the error says why it is not.
    pub fn of(policy: &PolicyFacts) -> Result<Self, String> {
        if let Some(problem) = &policy.broken {
            return Err(problem.clone());
        }
        let Some(ttl) = &policy.ttl else { return Ok(Self::default()) };
        let named = |field: &'static str| move |problem: TtlError| format!("spec.ttl.{field}: {problem}");
        Ok(Self {
            default: ttl.default.as_ref().map(|ttl| ttl.parse()).transpose().map_err(named("default"))?,
            max: ttl.max.as_ref().map(|ttl| ttl.parse()).transpose().map_err(named("max"))?,
        })
    }
}

/// What this policy would give: request, else the policy's default, else the class's, cut by the ceilings of policy, class and certificate
/// authority. Equal ceilings are told in this order.
pub(super) fn lifetime(snapshot: &Snapshot, ask: &Ask<'_>, policy: &PolicyFacts, own: PolicyLifetimes) -> Lifetime {
    let asked = ask.ttl.or(own.default).unwrap_or(ask.class_default);
    let class = &snapshot.request.spec.class_name;
    let (mut ttl, mut cut_by) = (asked, None);
    let mut cut = |ceiling: Duration, whose: &dyn Fn() -> String| {
        if ceiling < ttl {
            (ttl, cut_by) = (ceiling, Some(whose()));
        }
    };
    if let Some(max) = own.max {
        cut(max, &|| format!("{} gives at most {}", policy.id, duration(max)));
    }
    cut(ask.class_max, &|| format!("class {class} gives at most {}", duration(ask.class_max)));
    cut(ask.left, &|| format!("the certificate authority of class {class} ends at {}", ask.not_after));
    Lifetime { ttl, asked, cut_by }
}

#[cfg(test)]
mod tests {
    use super::super::super::{
        decide,
        decision::{Grant, Verdict},
        fixture::{class_mut, permit, snapshot, ttl},
    };
    use super::*;
    use crate::{api::Ttl, api::policy::PolicyTtl, core::snapshot::ClassFacts};

    fn granted(change: impl FnOnce(&mut Snapshot)) -> Grant {
        let mut world = snapshot();
        world.policies = vec![permit("orders")];
        change(&mut world);
        match decide(&world).verdict {
            Verdict::Allow(grant) => grant,
            other => panic!("{other:?}"),
        }
    }

    fn minutes(grant: &Grant) -> (u64, u64) {
        (grant.asked.as_secs() / 60, grant.ttl.as_secs() / 60)
    }

    #[test]
    fn the_request_comes_before_the_policys_default_and_that_before_the_classs() {
        assert_eq!(minutes(&granted(|_| ())), (10, 10), "the class's default");
        let default = |w: &mut Snapshot| w.policies[0].ttl = Some(PolicyTtl { default: Some(ttl("7m")), max: None });
        assert_eq!(minutes(&granted(default)), (7, 7));
        let both = |w: &mut Snapshot| {
            default(w);
            w.request.spec.ttl = Some(ttl("3m"));
        };
        assert_eq!(minutes(&granted(both)), (3, 3));
    }

    #[test]
    fn every_ceiling_cuts_and_says_so() {
        let policy = granted(|w| w.policies[0].ttl = Some(PolicyTtl { default: None, max: Some(ttl("5m")) }));
        assert_eq!((minutes(&policy), policy.cut_by.as_deref()), ((10, 5), Some("ClusterAccessPolicy/orders gives at most 5m")));
        let class = granted(|w| w.request.spec.ttl = Some(ttl("1h")));
        assert_eq!((minutes(&class), class.cut_by.as_deref()), ((60, 15), Some("class orders-db gives at most 15m")));
        let ca = granted(|w| {
            if let ClassFacts::Ready { not_after, .. } = &mut w.class {
                *not_after = "2026-03-01T12:04:00.9Z".parse().unwrap();
            }
        });
        let said = "the certificate authority of class orders-db ends at 2026-03-01T12:04:00Z";
        assert_eq!((minutes(&ca), ca.cut_by.as_deref()), ((10, 4), Some(said)));
        assert_eq!(ca.not_after.to_string(), "2026-03-01T12:04:00Z", "floored: certificates have no fractions");
    }

    #[test]
    fn a_second_that_has_begun_is_not_given() {
        let grant = granted(|w| {
            w.now = "2026-03-01T12:00:00.5Z".parse().unwrap();
            if let ClassFacts::Ready { not_after, .. } = &mut w.class {
                *not_after = "2026-03-01T12:04:00Z".parse().unwrap();
            }
        });
        assert_eq!(grant.ttl.as_secs(), 239);
    }

    #[test]
    fn a_default_above_a_ceiling_is_cut_like_any_ask() {
        let grant = granted(|w| class_mut(w).ttl.default = Ttl("24h".into()));
        assert_eq!(minutes(&grant), (1440, 15));
    }
}
