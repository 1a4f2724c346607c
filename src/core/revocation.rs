//! How fast a credential can be taken back, what stands on a revocation list, and when a list is signed: rules, no keys.
//!
//! A class never claims how fast it is: [`of_class`] derives it from the lists that are published. Called by the controller, and by whoever shows
//! a class or a lease.

use jiff::{SignedDuration, Timestamp};

use super::decide::BACKDATE;
use crate::api::{
    CredentialClassSpec, CredentialLease, CredentialLeaseSpec, EndReason, Proof, Ttl,
    class::Makes,
    request::{Revocation, RevocationKind},
};

/// An entry stays on its list until its certificate is over by this much: for verifiers whose clocks are behind.
pub const SKEW: SignedDuration = SignedDuration::from_secs(60);

/// Without a list, no credential lives longer than this, in seconds: that is how long a stolen one is good.
pub const CEILING_WITHOUT_LIST: u64 = 900;

/// The API server mints no token with a shorter life than this.
pub const MIN_TOKEN_LIFE: SignedDuration = SignedDuration::from_secs(600);
/// A token is minted this soon after its intent was written down, or not at all: so much later than the lease says it could end.
pub const MINTED_WITHIN: SignedDuration = SignedDuration::from_secs(60);

/// The shortest time from `thisUpdate` to `nextUpdate`, in seconds. Half a minute of it is gone when a list is signed.
pub const SHORTEST_LIFE: u64 = 60;

/// A certificate that goes onto a revocation list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Name of the authority.
    pub ca: &'a str,
    /// Id of the key that signed the certificate.
    pub issuer: &'a str,
    /// Serial number, as the lease writes it.
    pub serial: &'a str,
    /// When its grant ended.
    pub since: Timestamp,
    /// From when on nobody needs the entry.
    pub until: Timestamp,
}

/// The certificate of a lease, if it ended early and its class had a list when it was issued.
///
/// One that ran its full time needs no entry, and one that never left the operator neither.
pub fn entry(lease: &CredentialLease) -> Option<Entry<'_>> {
    let (x509, status) = (lease.spec.x509.as_ref()?, lease.status.as_ref()?);
    let (crl, since) = (x509.crl.as_ref()?, status.ended_time?);
    let early = status.state.is_some() && since < x509.not_after && status.proof != Some(Proof::NeverReleased);
    // A grant whose time was shortened expires before its certificate does.
    let expired = status.reason == Some(EndReason::Expired) && lease.spec.expires_at >= x509.not_after;
    (early && !expired).then_some(Entry { ca: &x509.ca, issuer: &crl.issuer, serial: &x509.serial, since, until: x509.not_after + SKEW })
}

/// Lists of an issuer that were good for longer than those of now, and may still be in some verifier's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Longer {
    /// For how long they were good, in seconds.
    pub life: i64,
    /// Until when one of them is.
    pub until: Timestamp,
}

impl Longer {
    /// What is to be remembered when a list that is good for `life` seconds takes the place of `replaced` (its life and its `nextUpdate`).
    pub fn after(before: Option<Self>, replaced: Option<(i64, Timestamp)>, life: i64, now: Timestamp) -> Option<Self> {
        let replaced = replaced.map(|(life, until)| Self { life, until });
        let longer = before.into_iter().chain(replaced).filter(|one| one.until > now && one.life > life);
        longer.reduce(|a, b| Self { life: a.life.max(b.life), until: a.until.max(b.until) })
    }
}

/// Seconds until every verifier that checks has a list of now or none, where lists are good for `life` seconds.
pub fn bound(life: i64, longer: Option<Longer>, now: Timestamp) -> i64 {
    longer.filter(|longer| longer.until > now).map_or(life, |longer| longer.life.max(life))
}

/// Start and end of a list that is signed now and good for `life` seconds, the half minute included by which it is backdated: verifiers' clocks
/// may be off by as much either way.
pub fn dates(life: i64, now: Timestamp) -> (Timestamp, Timestamp) {
    let start = now - BACKDATE;
    (start, start.saturating_add(SignedDuration::from_secs(life)).unwrap_or(Timestamp::MAX))
}

/// When the next list is due: at half of what was left of this one when it was signed, so that a try that fails has time for many more.
pub fn due(this_update: Timestamp, next_update: Timestamp) -> Timestamp {
    let signed = this_update + BACKDATE;
    signed + (next_update.duration_since(signed) / 2).max(SignedDuration::ZERO)
}

/// Number of the next list: from the time, so that a restored etcd does not lead back, and higher than the last in any case.
pub fn number(last: Option<u64>, now: Timestamp) -> u64 {
    let by_time = u64::try_from(now.as_millisecond()).unwrap_or_default();
    by_time.max(last.map_or(0, |last| last.saturating_add(1)))
}

/// How long lists have to be good for the classes that share them, in seconds: as long as the strictest of them says.
pub fn life<'a>(wishes: impl IntoIterator<Item = &'a Ttl>) -> Option<i64> {
    let seconds = |wish: &Ttl| wish.parse().ok().map(|wish| wish.as_secs().max(SHORTEST_LIFE) as i64);
    wishes.into_iter().filter_map(seconds).min()
}

/// How a credential of a class can be taken back. `bound`: that of its published lists, where it has any.
pub fn of_class(spec: &CredentialClassSpec, bound: Option<i64>) -> Revocation {
    let longest = spec.ttl.max.parse().map_or(CEILING_WITHOUT_LIST, |max| max.as_secs()) as i64;
    let expiry = |longest| Revocation { kind: RevocationKind::ExpiryOnly, bound_seconds: longest };
    match (spec.makes(), bound) {
        (Some(Makes::Token(token)), _) if token.revocable() => Revocation::of_a_token(),
        (Some(Makes::Token(_)), _) => expiry(longest.max((MIN_TOKEN_LIFE + MINTED_WITHIN).as_secs())),
        (Some(Makes::X509(x509)), Some(bound)) if x509.crl.is_some() => Revocation { kind: RevocationKind::Bounded, bound_seconds: bound },
        _ => expiry(longest),
    }
}

/// How the credential of a lease can be taken back.
pub fn of_lease(spec: &CredentialLeaseSpec) -> Revocation {
    let life = spec.not_after().duration_since(spec.not_before + BACKDATE).as_secs();
    match (&spec.token, spec.crl()) {
        (Some(token), _) if token.revocable => Revocation::of_a_token(),
        (None, Some(crl)) => Revocation { kind: RevocationKind::Bounded, bound_seconds: crl.bound_seconds },
        _ => Revocation { kind: RevocationKind::ExpiryOnly, bound_seconds: life.clamp(0, 86_400) },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        api::lease::{CredentialLeaseStatus, LeaseCrl, LeaseState},
        core::fixture,
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// A lease from 0 to 600 s that ended at a moment.
    fn ended(state: LeaseState, reason: EndReason, second: i64) -> CredentialLease {
        let mut spec = fixture::lease("orders");
        (spec.not_before, spec.expires_at) = (at(-30), at(600));
        let x509 = spec.x509.as_mut().unwrap();
        x509.not_after = at(600);
        x509.crl = Some(LeaseCrl { issuer: "issuer".into(), url: None, bound_seconds: 60 });
        let mut lease = CredentialLease::new("lease", spec);
        let status = CredentialLeaseStatus { state: Some(state), reason: Some(reason), ended_time: Some(at(second)), ..Default::default() };
        lease.status = Some(status);
        lease
    }

    #[test]
    fn what_ended_early_goes_onto_the_list_and_stays_until_verifiers_refuse_it_anyway() {
        for state in [LeaseState::Revoking, LeaseState::Closed] {
            let lease = ended(state, EndReason::PodGone, 100);
            let expected = Entry { ca: "default", issuer: "issuer", serial: "1", since: at(100), until: at(660) };
            assert_eq!(entry(&lease), Some(expected));
        }
    }

    #[test]
    fn what_ran_its_time_was_never_released_or_has_no_list_is_not_on_one() {
        assert_eq!(entry(&ended(LeaseState::Closed, EndReason::Expired, 600)), None);
        let mut shortened = ended(LeaseState::Revoking, EndReason::Expired, 300);
        shortened.spec.expires_at = at(300);
        assert!(entry(&shortened).is_some(), "its certificate would go on");
        let mut lease = ended(LeaseState::Closed, EndReason::NotReleased, 10);
        lease.status.as_mut().unwrap().proof = Some(Proof::NeverReleased);
        assert_eq!(entry(&lease), None);
        let mut lease = ended(LeaseState::Revoking, EndReason::PodGone, 10);
        lease.spec.x509.as_mut().unwrap().crl = None;
        assert_eq!(entry(&lease), None);
        lease.status = None;
        assert_eq!(entry(&lease), None);
    }

    #[test]
    fn a_shorter_life_binds_once_the_last_list_of_the_longer_one_is_over() {
        let longer = Longer::after(None, Some((3600, at(3000))), 60, at(0));
        assert_eq!(longer, Some(Longer { life: 3600, until: at(3000) }));
        assert_eq!((bound(60, longer, at(2999)), bound(60, longer, at(3000))), (3600, 60));
        let kept = Longer::after(longer, Some((60, at(40))), 60, at(15));
        assert_eq!(kept, longer, "lists of now make no difference");
        assert_eq!(Longer::after(kept, Some((60, at(3040))), 60, at(3015)), None);
        assert_eq!(Longer::after(None, Some((60, at(40))), 3600, at(15)), None, "a longer life binds at once");
        let twice = Longer::after(Some(Longer { life: 600, until: at(5000) }), Some((3600, at(3000))), 60, at(0));
        assert_eq!(twice, Some(Longer { life: 3600, until: at(5000) }));
    }

    #[test]
    fn the_strictest_class_says_how_long_lists_are_good() {
        let wishes = ["5m", "60s", "nonsense"].map(|wish| Ttl(wish.into()));
        assert_eq!(life(&wishes), Some(60));
        assert_eq!(life(&[Ttl("1s".into())]), Some(60), "what a schema should have refused");
        assert_eq!(life(&[]), None);
    }

    #[test]
    fn a_class_is_as_fast_as_its_published_lists_and_no_faster() {
        let mut class = fixture::class();
        assert_eq!(of_class(&class, Some(60)).kind, RevocationKind::ExpiryOnly);
        class.x509.as_mut().unwrap().crl = Some(crate::api::class::CrlSpec { url: None, next_update: Ttl("60s".into()) });
        assert_eq!(of_class(&class, Some(3600)), Revocation { kind: RevocationKind::Bounded, bound_seconds: 3600 });
        assert_eq!(of_class(&class, None), Revocation { kind: RevocationKind::ExpiryOnly, bound_seconds: 900 });
    }

    proptest! {
        #[test]
        fn numbers_rise_whatever_the_clock_does(last in 0..u64::MAX, now in -1000i64..1_000_000_000) {
            prop_assert!(number(Some(last), at(now)) > last);
            prop_assert!(number(None, at(now + 1)) > number(None, at(now)));
        }

        #[test]
        fn the_next_list_is_due_while_this_one_is_good(life in 60i64..86_400, now in 0i64..1_000_000) {
            let (this_update, next_update) = dates(life, at(now));
            let due = due(this_update, next_update);
            prop_assert_eq!(next_update.duration_since(this_update).as_secs(), life);
            prop_assert!(due > at(now) && due < next_update);
            // A verifier whose clock is half a minute behind still has refused by the end of the bound.
            prop_assert!(next_update + BACKDATE <= at(now + life));
        }
    }
}
