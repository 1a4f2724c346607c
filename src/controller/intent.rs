//! What is written into the ledger before a grant has any effect, and what the certificate is made of afterwards: the lease alone.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::{Operator, authorities::Unavailable, observe::Observation};
use crate::{
    api::{
        AccessRequest, CredentialLease, CredentialLeaseSpec,
        class::{TokenSpec, X509Spec},
        condition::truncate,
        lease::{LeaseCrl, LeasePolicy, LeaseSecret, LeaseToken, LeaseX509},
    },
    cluster::{act::Reserved, cache::Cached},
    core::{
        Grant,
        decide::BACKDATE,
        revocation::{MIN_TOKEN_LIFE, MINTED_WITHIN},
    },
    issue::x509::{Leaf, Names, Serial},
};

/// What will be made, where it is fixed in a lease.
pub(super) enum Made<'a> {
    /// A certificate with these names and this serial number, which goes onto this list if it ends early.
    X509(&'a X509Spec, &'a Names, &'a Serial, Option<LeaseCrl>),
    /// A token of the account with this UID, bound to this Secret.
    Token(&'a TokenSpec, &'a str, &'a Reserved),
}

/// An id for the decision log: 128 random bits in hex.
pub fn decision_id() -> String {
    let mut bytes = [0u8; 16];
    // The id only joins log lines to objects; a generator that fails leaves zeros, and nothing depends on them.
    let _ = SystemRandom::new().fill(&mut bytes);
    data_encoding::HEXLOWER.encode(&bytes)
}

impl Operator {
    /// The revocation list of what is about to be granted, if its class has one.
    pub(super) fn list_of(&self, class: &X509Spec, grant: &Grant) -> Result<Option<LeaseCrl>, Unavailable> {
        let Some(crl) = &class.crl else { return Ok(None) };
        let loaded = self.classes.authorities.get(&class.ca.name())?;
        let issuer = loaded.authority.issuer_id().to_owned();
        let url = crl.url.as_ref().map(|url| url.replace("{issuer}", &issuer));
        Ok(Some(LeaseCrl { issuer, url, bound_seconds: grant.revocation.bound_seconds.clamp(1, 86_400) }))
    }

    /// The intent: who, what, until when, and the names and UIDs of all that will exist.
    pub(super) fn intent(
        &self,
        request: &AccessRequest,
        observed: &Observation,
        grant: &Grant,
        made: &Made<'_>,
        reserved: Option<&Reserved>,
        attempt: i64,
    ) -> CredentialLeaseSpec {
        let begin = Timestamp::from_second(self.clock.now().as_second()).unwrap_or_default();
        let end = (begin + SignedDuration::from_secs(grant.ttl.as_secs() as i64)).min(grant.not_after);
        let end = Timestamp::from_second(end.as_second()).unwrap_or(begin);
        let secret = |reserved: &Reserved| LeaseSecret { name: reserved.name.clone(), uid: reserved.uid.clone() };
        let (x509, token) = match made {
            Made::X509(class, names, serial, crl) => (Some(LeaseX509 { crl: crl.clone(), ..certificate(class, names, serial, end) }), None),
            Made::Token(class, account_uid, bound) => {
                let token = LeaseToken {
                    namespace: class.namespace.clone(),
                    service_account: class.name.clone(),
                    service_account_uid: (*account_uid).to_owned(),
                    audiences: class.audiences().to_vec(),
                    bound_to: secret(bound),
                    revocable: class.revocable(),
                    not_after: end.max(begin + MIN_TOKEN_LIFE) + MINTED_WITHIN,
                };
                (None, Some(token))
            }
        };
        CredentialLeaseSpec {
            request_namespace: request.namespace().unwrap_or_default(),
            request_name: request.name_any(),
            request_uid: request.object_uid().to_owned(),
            attempt,
            class_name: request.spec.class_name.clone(),
            delivery: request.delivery(),
            requester: request.spec.requester.clone(),
            workload: truncate(&observed.workload, 320),
            policy: LeasePolicy {
                name: grant.policy.to_string(),
                uid: grant.policy_uid.clone(),
                generation: grant.policy_generation,
                hash: grant.policy_hash.clone(),
            },
            decision_id: decision_id(),
            secret: reserved.map(secret),
            x509,
            token,
            not_before: begin - BACKDATE,
            expires_at: end,
            revoke: None,
        }
    }
}

fn certificate(class: &X509Spec, names: &Names, serial: &Serial, end: Timestamp) -> LeaseX509 {
    LeaseX509 {
        ca: class.ca.name(),
        serial: serial.to_string(),
        uri: names.uri.clone(),
        common_name: names.common_name.clone(),
        dns_names: names.dns_names.clone(),
        crl: None,
        not_after: end,
    }
}

/// What of a lease for a certificate that was written down earlier goes beyond what would be written now.
pub(super) fn exceeds(held: &CredentialLeaseSpec, now: &CredentialLeaseSpec, grant: &Grant) -> Option<&'static str> {
    let names = |spec: &CredentialLeaseSpec| {
        let said = |x509: &LeaseX509| (x509.ca.clone(), x509.uri.clone(), x509.common_name.clone(), x509.dns_names.clone());
        spec.x509.as_ref().map(said)
    };
    let life = held.not_after().duration_since(held.not_before + BACKDATE);
    if held.policy.name != now.policy.name || held.policy.uid != now.policy.uid {
        return Some("another policy");
    }
    if names(held) != names(now) {
        return Some("other names or another authority");
    }
    let list = |spec: &CredentialLeaseSpec| spec.crl().map(|crl| (crl.issuer.clone(), crl.url.clone()));
    if list(held) != list(now) {
        return Some("another revocation list");
    }
    if life.as_secs() > grant.ttl.as_secs() as i64 || held.not_after() > grant.not_after {
        return Some("a longer life");
    }
    None
}

/// What the certificate of a lease says.
pub(super) fn leaf_of(lease: &CredentialLease, class: &X509Spec) -> Result<Leaf, String> {
    let spec = &lease.spec;
    let Some(x509) = &spec.x509 else { return Err("the lease is not for a certificate".into()) };
    Ok(Leaf {
        names: Names { uri: x509.uri.clone(), common_name: x509.common_name.clone(), dns_names: x509.dns_names.clone() },
        serial: Serial::parse(&x509.serial).map_err(|error| error.to_string())?,
        not_before: spec.not_before,
        not_after: x509.not_after,
        usages: class.usages.clone(),
        request_uid: spec.request_uid.clone(),
        class: spec.class_name.clone(),
        crl_url: x509.crl.as_ref().and_then(|crl| crl.url.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{Verdict, decide, fixture};

    /// What is granted in the fixture's world.
    fn granted() -> Grant {
        let mut world = fixture::snapshot();
        world.policies = vec![fixture::permit("orders")];
        match decide(&world).verdict {
            Verdict::Allow(grant) => grant,
            other => panic!("{other:?}"),
        }
    }

    fn spec(grant: &Grant, seconds: i64) -> CredentialLeaseSpec {
        let begin = Timestamp::from_second(1_700_000_000).unwrap();
        let mut spec = fixture::lease(&grant.policy.to_string());
        spec.policy = LeasePolicy { name: grant.policy.to_string(), uid: grant.policy_uid.clone(), generation: 1, hash: String::new() };
        spec.not_before = begin - BACKDATE;
        spec.x509.as_mut().unwrap().not_after = begin + SignedDuration::from_secs(seconds);
        spec
    }

    #[test]
    fn what_was_written_down_before_a_restart_is_carried_on_only_within_what_would_be_granted_now() {
        let mut grant = granted();
        grant.not_after = Timestamp::MAX;
        let life = i64::try_from(grant.ttl.as_secs()).unwrap();
        let now = spec(&grant, life);
        assert_eq!(exceeds(&now, &now, &grant), None);
        assert_eq!(exceeds(&spec(&grant, life - 1), &now, &grant), None, "less is fine");
        assert_eq!(exceeds(&spec(&grant, life + 1), &now, &grant), Some("a longer life"));
        let mut other = now.clone();
        other.policy.uid = "another".into();
        assert_eq!(exceeds(&other, &now, &grant), Some("another policy"));
        let mut other = now.clone();
        other.x509.as_mut().unwrap().common_name = Some("root".into());
        assert_eq!(exceeds(&other, &now, &grant), Some("other names or another authority"));
        let mut other = now.clone();
        other.x509.as_mut().unwrap().crl = Some(LeaseCrl { issuer: "issuer".into(), url: None, bound_seconds: 60 });
        assert_eq!(exceeds(&other, &now, &grant), Some("another revocation list"));
        assert_eq!(exceeds(&now, &other, &grant), Some("another revocation list"), "nor one that could not be taken back");
        grant.not_after = now.not_after() - SignedDuration::from_secs(1);
        assert_eq!(exceeds(&now, &now, &grant), Some("a longer life"), "the authority ends before it would");
    }
}
