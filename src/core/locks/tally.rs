//! What became of the grants that a lock met, counted from the ledger, and the status that says so. Pure.
//!
//! Leases are forgotten some time after they are closed. What was counted before is kept: the caller says how many were forgotten.

use jiff::Timestamp;

use crate::{
    api::{
        AccessLock, CredentialLease,
        lease::LeaseState,
        lock::{AccessLockStatus, LockState},
        request::RevocationKind,
    },
    core::{
        health::{Conditions, Health},
        revocation,
    },
};

/// Grants that one lock met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Live, and about to be ended.
    open: i64,
    /// Ended, and certainly not accepted any more.
    dead: i64,
    /// Ended, and dead of their own age alone.
    expiring: i64,
    /// Ended and taken back, which is not proven yet.
    unproven: i64,
    /// When the last of what is not dead is so of its own age.
    dead_by: Option<Timestamp>,
}

impl Tally {
    /// Counts one lease that the lock has ended or is about to end.
    pub fn add(&mut self, lease: &CredentialLease) {
        match lease.state() {
            Some(LeaseState::Closed) => {
                self.dead += 1;
                return;
            }
            None => self.open += 1,
            Some(LeaseState::Revoking) if revocation::of_lease(&lease.spec).kind == RevocationKind::ExpiryOnly => self.expiring += 1,
            Some(LeaseState::Revoking) => self.unproven += 1,
        }
        self.dead_by = self.dead_by.max(Some(lease.spec.not_after()));
    }

    /// How many are proven dead and still in the ledger.
    pub fn dead(&self) -> i64 {
        self.dead
    }

    fn waiting(&self) -> i64 {
        self.open + self.expiring + self.unproven
    }

    /// What is waited for, for people.
    fn why(&self) -> String {
        let until = self.dead_by.map(|at| format!("{at:.0}")).unwrap_or_default();
        let parts = [
            (self.open, "about to be ended".to_owned()),
            (self.expiring, format!("cannot be taken back and may be accepted until {until}")),
            (self.unproven, format!("taken back, until it is proven that they are refused, by {until} at the latest")),
        ];
        let said = parts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        said.collect::<Vec<_>>().join("; ")
    }
}

/// What the status of a lock says now. `forgotten`: how many that it ended are dead and no more in the ledger. Equal to what is held where
/// nothing has changed.
pub fn status(lock: &AccessLock, tally: &Tally, forgotten: i64, now: Timestamp) -> AccessLockStatus {
    let held = lock.status.clone().unwrap_or_default();
    let (dead, waiting) = (forgotten + tally.dead, tally.waiting());
    let revoked = dead + waiting - tally.open;
    let in_force = lock.is_in_force(now);
    let mut conditions = Conditions::new(&held.conditions, lock.metadata.generation, now);
    let locks = match in_force {
        true => format!("it locks until {}", lock.spec.expires_at),
        false => format!("it locks nothing since {}; delete it when nobody needs to read it any more", lock.spec.expires_at),
    };
    if waiting > 0 {
        let message = format!("{locks}. Of {} grants {waiting} are not proven dead yet: {}", dead + waiting, tally.why());
        conditions.stand(Health::Reconciling, "NotDeadYet", &message);
    } else {
        let reason = if in_force { "InForce" } else { "Ended" };
        let message = match dead {
            0 => format!("{locks}. It met no live grant"),
            dead => format!("{locks}. Every grant that it met is ended and proven dead: {dead}"),
        };
        conditions.stand(Health::Ready, reason, &message);
    }
    AccessLockStatus {
        observed_generation: lock.metadata.generation,
        state: Some(if in_force { LockState::Active } else { LockState::Ended }),
        matched: Some(dead + waiting),
        revoked: Some(revoked),
        proven_dead: Some(dead),
        waiting: Some(waiting),
        dead_by: tally.dead_by,
        conditions: conditions.finish(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{
            AccessLockSpec, Condition,
            condition::ConditionStatus,
            lease::CredentialLeaseStatus,
            lock::{LockMatch, LockSource},
        },
        core::fixture::{self, at},
    };

    fn lock() -> AccessLock {
        let spec = AccessLockSpec {
            matches: LockMatch { everything: Some(true), ..LockMatch::default() },
            reason: "drill".into(),
            expires_at: at("2026-03-01T14:00:00Z"),
            source: LockSource::Person,
            by: "jane".into(),
        };
        let mut lock = AccessLock::new("drill", spec);
        lock.metadata.generation = Some(1);
        lock
    }

    fn lease(state: Option<LeaseState>) -> CredentialLease {
        let mut lease = CredentialLease::new("l", fixture::lease("orders"));
        lease.status = Some(CredentialLeaseStatus { state, ..CredentialLeaseStatus::default() });
        lease
    }

    fn tally(states: &[Option<LeaseState>]) -> Tally {
        let mut tally = Tally::default();
        states.iter().for_each(|state| tally.add(&lease(*state)));
        tally
    }

    fn ready(status: &AccessLockStatus) -> &Condition {
        status.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap()
    }

    const NOW: &str = "2026-03-01T12:05:00Z";

    #[test]
    fn what_is_waited_for_is_said_with_its_end_and_the_counts_add_up() {
        let told = status(&lock(), &tally(&[None, Some(LeaseState::Revoking), Some(LeaseState::Closed)]), 4, at(NOW));
        assert_eq!((told.matched, told.revoked, told.proven_dead, told.waiting), (Some(7), Some(6), Some(5), Some(2)));
        assert_eq!(told.dead_by, Some(at("2026-03-01T12:10:00Z")));
        assert_eq!(
            ready(&told).message,
            "it locks until 2026-03-01T14:00:00Z. Of 7 grants 2 are not proven dead yet: 1 about to be ended; 1 cannot be taken back and may \
             be accepted until 2026-03-01T12:10:00Z"
        );
        assert!(ready(&told).status == ConditionStatus::False && told.conditions.iter().any(|c| c.type_ == "Reconciling"));
    }

    #[test]
    fn a_lock_is_ready_once_everything_that_it_ended_is_dead_and_ended_at_its_end() {
        let told = status(&lock(), &tally(&[Some(LeaseState::Closed)]), 0, at(NOW));
        assert_eq!(
            (told.state, ready(&told).status, ready(&told).reason.as_str()),
            (Some(LockState::Active), ConditionStatus::True, "InForce")
        );
        assert_eq!(told.dead_by, None);
        let over = status(&lock(), &Tally::default(), 1, at("2026-03-01T14:00:00Z"));
        assert_eq!((over.state, ready(&over).reason.as_str(), over.proven_dead), (Some(LockState::Ended), "Ended", Some(1)));
    }

    #[test]
    fn the_same_again_is_not_worth_a_write() {
        let mut lock = lock();
        lock.status = Some(status(&lock, &tally(&[Some(LeaseState::Revoking)]), 0, at(NOW)));
        assert_eq!(Some(status(&lock, &tally(&[Some(LeaseState::Revoking)]), 0, at("2026-03-01T12:06:00Z"))), lock.status);
    }
}
