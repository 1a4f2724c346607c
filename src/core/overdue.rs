//! Ends whose proof is late: by when each should have been there. Pure; `controller::overdue` looks and tells.

use jiff::{SignedDuration, Timestamp};

use super::revocation;
use crate::api::{CredentialLease, request::RevocationKind};

/// Longer than a proof may take by design an end is given before anybody is alarmed: tries that fail are repeated within 3 s.
pub const MARGIN: SignedDuration = SignedDuration::from_secs(15);

/// An end that should have been proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// When the grant ended.
    pub ended: Timestamp,
    /// By when it should have been proven.
    pub due: Timestamp,
}

/// Whether the proof of a lease's end is late: not within what its class promises of how fast it takes back, and not at the credential's own
/// end where that comes first or nothing takes it back.
pub fn overdue(lease: &CredentialLease, now: Timestamp) -> Option<Overdue> {
    if lease.is_closed() {
        return None;
    }
    let spec = &lease.spec;
    let told = lease.status.as_ref().and_then(|status| status.ended_time);
    let ended = told.or((now >= spec.expires_at).then_some(spec.expires_at))?;
    let own_end = spec.not_after().max(ended);
    let revocation = revocation::of_lease(spec);
    let dead = match revocation.kind {
        RevocationKind::Bounded => own_end.min(ended + SignedDuration::from_secs(revocation.bound_seconds)),
        RevocationKind::ExpiryOnly => own_end,
    };
    let due = dead + MARGIN;
    (now > due).then_some(Overdue { ended, due })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::lease::{CredentialLeaseStatus, LeaseCrl, LeaseSecret, LeaseState, LeaseToken},
        core::fixture,
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// Good until 600 s; ended early at 100 s, or not yet.
    fn certificate(ended: bool) -> CredentialLease {
        let mut spec = fixture::lease("orders");
        (spec.not_before, spec.expires_at) = (at(-30), at(600));
        spec.x509.as_mut().unwrap().not_after = at(600);
        let mut lease = CredentialLease::new("lease", spec);
        let status = CredentialLeaseStatus { state: Some(LeaseState::Revoking), ended_time: Some(at(100)), ..Default::default() };
        lease.status = ended.then_some(status);
        lease
    }

    fn listed(ended: bool) -> CredentialLease {
        let mut lease = certificate(ended);
        lease.spec.x509.as_mut().unwrap().crl = Some(LeaseCrl { issuer: "issuer".into(), url: None, bound_seconds: 60 });
        lease
    }

    fn token(ended: bool) -> CredentialLease {
        let mut lease = certificate(ended);
        lease.spec.x509 = None;
        lease.spec.token = Some(LeaseToken {
            namespace: "lent".into(),
            service_account: "reader".into(),
            service_account_uid: "a".into(),
            audiences: vec![],
            bound_to: LeaseSecret { name: "daypass-token-r".into(), uid: "b".into() },
            revocable: true,
            not_after: at(1200),
        });
        lease
    }

    #[test]
    fn each_kind_is_given_the_time_that_its_class_promises_and_a_margin() {
        for (lease, dead) in [(certificate(true), 600), (listed(true), 160), (token(true), 175), (token(false), 675), (listed(false), 600)]
        {
            let due = at(dead) + MARGIN;
            assert_eq!(overdue(&lease, due), None, "until {dead}");
            let late = overdue(&lease, due + SignedDuration::from_secs(1)).unwrap();
            assert_eq!(late.due, due);
            assert_eq!(late.ended, lease.status.as_ref().map_or(at(600), |_| at(100)));
        }
    }

    #[test]
    fn what_is_live_or_proven_dead_is_never_late() {
        assert_eq!(overdue(&certificate(false), at(599)), None);
        let mut closed = listed(true);
        closed.status.as_mut().unwrap().state = Some(LeaseState::Closed);
        assert_eq!(overdue(&closed, at(9999)), None);
    }
}
