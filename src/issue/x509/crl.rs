//! Certificate revocation lists (RFC 5280, version 2): signed, read back, and put before a verifier.
//!
//! A list is of one issuer, by its name and its key: an authority that was followed by another has a list of its own for as long as its key
//! is there. Nothing is believed of a list that was published: [`Authority::read_list`] takes in only what this very authority has signed, and
//! [`Authority::sign_list`] releases only what reads back as it was meant. [`Authority::refuses`] is the proof that a certificate is dead: a
//! certificate with its serial number, made for the occasion, fails where every other one passes. Called by the controller.
//!
//! A list does not say when the certificates on it end by themselves, so that goes beside it: [`List::ends`], four bytes an entry in the
//! list's order. Reasons are left out: lists are public and the ledger is not, and each reason would make an entry half as large again.

use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateRevocationListParams, KeyIdMethod, KeyUsagePurpose, RevokedCertParams, SerialNumber};
use time::OffsetDateTime;
use webpki::{
    CertRevocationList, ExpirationPolicy, OwnedCertRevocationList, RevocationCheckDepth, RevocationOptions, RevocationOptionsBuilder,
    UnknownStatusPolicy,
};
use x509_parser::{
    extensions::ParsedExtension, oid_registry::OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER, prelude::FromDer,
    revocation_list::CertificateRevocationList, x509::X509Version,
};

use super::{
    authority::Authority,
    key::generate_key,
    leaf::{IssueError, Leaf},
    names::Names,
    pem,
    serial::{Serial, SerialError},
};
use crate::api::class::Usage;

/// An entry of which nobody knows when its certificate ends is kept for as long as any certificate may live, with a minute for clocks.
const LONGEST: SignedDuration = SignedDuration::from_secs(24 * 3600 + 60);

/// A certificate that was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revoked {
    /// Its serial number.
    pub serial: Serial,
    /// Since when, in whole seconds.
    pub since: Timestamp,
    /// From when on it may be left out, because the certificate has ended by itself; in whole seconds.
    pub until: Timestamp,
}

/// A list that its authority has signed.
#[derive(Debug)]
pub struct List {
    /// The list itself, as verifiers take it.
    pub der: Vec<u8>,
    /// Rises from each list of an issuer to the next.
    pub number: u64,
    /// From when on verifiers take it.
    pub this_update: Timestamp,
    /// From when on they take it no more.
    pub next_update: Timestamp,
    /// What is on it, in the order of serial numbers.
    pub revoked: Vec<Revoked>,
    /// The same for the judge.
    judged: CertRevocationList<'static>,
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The authority must not sign lists.
    #[error(
        "the first certificate of tls.crt may not sign revocation lists (keyUsage cRLSign is missing); make one with -addext keyUsage=critical,keyCertSign,cRLSign, or take spec.x509.crl out of the class"
    )]
    NotSigner,
    /// Its dates are not usable.
    #[error("the revocation list cannot be good from {this_update} until {next_update}")]
    Dates {
        /// Start that was given.
        this_update: Timestamp,
        /// End that was given.
        next_update: Timestamp,
    },
    /// The encoder refused.
    #[error("the revocation list could not be signed: {0}")]
    Sign(#[from] rcgen::Error),
    /// Somebody else's, changed, or not what was meant.
    #[error("the revocation list is not this authority's: its {0} is not what was meant")]
    Foreign(&'static str),
    /// A verifier that trusts the roots does not take it.
    #[error("the revocation list is not taken by a verifier that trusts the roots: {0:?}")]
    Verify(webpki::Error),
    /// No certificate could be made to try it with.
    #[error("the revocation list could not be tried: {0}")]
    Trial(#[from] IssueError),
    /// No serial number to try it with.
    #[error(transparent)]
    Serial(#[from] SerialError),
}

impl List {
    /// What goes beside the list: when each entry may go, in its order, as seconds since 1970 in four bytes each.
    pub fn ends(&self) -> Vec<u8> {
        ends(&self.revoked)
    }

    /// For how long a list of its kind is good, from `thisUpdate` to `nextUpdate`.
    pub fn life(&self) -> SignedDuration {
        self.next_update.duration_since(self.this_update)
    }
}

/// The list in PEM, for verifiers that read files.
pub fn list_pem(der: &[u8]) -> String {
    pem::encode("X509 CRL", der)
}

/// Until when verifiers take a list, whoever signed it; `None` if it cannot be read.
pub fn list_good_until(der: &[u8]) -> Option<Timestamp> {
    let (_, list) = CertificateRevocationList::from_der(der).ok()?;
    Timestamp::from_second(list.next_update()?.timestamp()).ok()
}

impl Authority {
    /// Whether its certificate allows signing lists.
    pub fn may_sign_lists(&self) -> bool {
        let usages = self.issuer.key_usages();
        usages.is_empty() || usages.contains(&KeyUsagePurpose::CrlSign)
    }

    /// Signs a list at `now`. The dates are cut to whole seconds; of two entries for one serial number the longer lasting one counts.
    pub fn sign_list(
        &self,
        revoked: &[Revoked],
        number: u64,
        (this_update, next_update): (Timestamp, Timestamp),
        now: Timestamp,
    ) -> Result<List, ListError> {
        if !self.may_sign_lists() {
            return Err(ListError::NotSigner);
        }
        let invalid = || ListError::Dates { this_update, next_update };
        let date = |time: Timestamp| OffsetDateTime::from_unix_timestamp(time.as_second()).map_err(|_| invalid());
        let revoked = in_order(revoked);
        let mut revoked_certs = Vec::with_capacity(revoked.len());
        for one in &revoked {
            revoked_certs.push(RevokedCertParams {
                serial_number: SerialNumber::from_slice(&one.serial.to_bytes()),
                revocation_time: date(one.since)?,
                reason_code: None,
                invalidity_date: None,
            });
        }
        let parameters = CertificateRevocationListParams {
            this_update: date(this_update)?,
            next_update: date(next_update)?,
            crl_number: SerialNumber::from_slice(&number_bytes(number)),
            issuing_distribution_point: None,
            revoked_certs,
            // The encoder would derive one from the key; verifiers compare it with the one that the authority's certificate has.
            key_identifier_method: KeyIdMethod::PreSpecified(self.facts.key_id.clone()),
        };
        if parameters.this_update >= parameters.next_update {
            return Err(invalid());
        }
        let der = parameters.signed_by(&self.issuer)?.der().to_vec();
        let list = self.read_list(&der, &ends(&revoked), now)?;
        let meant = (number, this_update.as_second(), next_update.as_second());
        if (list.number, list.this_update.as_second(), list.next_update.as_second()) != meant || list.revoked != revoked {
            return Err(ListError::Foreign("content"));
        }
        Ok(list)
    }

    /// Reads a list back at `now`, with what lay beside it. Only what this authority has signed passes, whether it is over or not.
    pub fn read_list(&self, der: &[u8], ends: &[u8], now: Timestamp) -> Result<List, ListError> {
        let (rest, parsed) = CertificateRevocationList::from_der(der).map_err(|_| ListError::Foreign("encoding"))?;
        let same = |part, holds: bool| if holds { Ok(()) } else { Err(ListError::Foreign(part)) };
        same("encoding", rest.is_empty())?;
        same("version", parsed.version() == Some(X509Version::V2))?;
        same("issuer", parsed.issuer().as_raw() == self.facts.subject)?;
        let key_id = parsed.extensions().iter().find(|extension| extension.oid == OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER);
        let key_id = key_id.and_then(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0),
            _ => None,
        });
        same("authorityKeyIdentifier", key_id == Some(self.facts.key_id.as_slice()))?;
        let number = parsed.crl_number().and_then(|number| u64::try_from(number).ok()).ok_or(ListError::Foreign("cRLNumber"))?;
        let instant = |second, part| Timestamp::from_second(second).map_err(|_| ListError::Foreign(part));
        let this_update = instant(parsed.last_update().timestamp(), "thisUpdate")?;
        let next_update = parsed.next_update().ok_or(ListError::Foreign("nextUpdate"))?;
        let next_update = instant(next_update.timestamp(), "nextUpdate")?;

        let count = parsed.iter_revoked_certificates().count();
        // What lay beside it may be lost or older than the list; then nothing is left out too early.
        let mut ends = ends.chunks_exact(4).map(|bytes| i64::from(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])));
        let known = ends.len() == count;
        let mut revoked = Vec::with_capacity(count);
        for one in parsed.iter_revoked_certificates() {
            let since = instant(one.revocation_date.timestamp(), "revocationDate")?;
            let told = ends.next().filter(|_| known).and_then(|second| Timestamp::from_second(second).ok());
            let until = told.unwrap_or_else(|| since.saturating_add(LONGEST).unwrap_or(Timestamp::MAX));
            revoked.push(Revoked { serial: Serial::from_der(one.raw_serial())?, since, until });
        }
        let judged = OwnedCertRevocationList::from_der(der).map_err(ListError::Verify)?.into();
        let list = List { der: der.to_vec(), number, this_update, next_update, revoked, judged };
        // The signature, judged by whoever will judge it: a certificate that is not on the list passes with it.
        self.try_with(&list, self.unlisted(&list)?, now, ExpirationPolicy::Ignore)?.map_err(ListError::Verify)?;
        Ok(list)
    }

    /// Whether a verifier that has this list refuses a certificate of this serial number at this time, and refuses it for being on the list.
    /// The certificate is made for the occasion: the one that was issued is known to its pod alone.
    pub fn refuses(&self, list: &List, serial: Serial, at: Timestamp) -> bool {
        // Most often it is not there yet, and trying costs two signatures.
        if list.revoked.binary_search_by_key(&serial, |one| one.serial).is_err() {
            return false;
        }
        let verdict = self.try_with(list, serial, at, ExpirationPolicy::Enforce);
        matches!(verdict, Ok(Err(webpki::Error::CertRevoked)))
    }

    /// A serial number that is not on the list.
    fn unlisted(&self, list: &List) -> Result<Serial, SerialError> {
        let serial = Serial::random()?;
        let listed = list.revoked.iter().any(|one| one.serial == serial);
        if listed { Serial::random() } else { Ok(serial) }
    }

    /// What a verifier that has the list says of a certificate with this serial number.
    fn try_with(
        &self,
        list: &List,
        serial: Serial,
        at: Timestamp,
        expiration: ExpirationPolicy,
    ) -> Result<Result<(), webpki::Error>, ListError> {
        let start = Timestamp::from_second(at.as_second()).unwrap_or(at).min(self.last_start());
        let (_, key) = generate_key().map_err(IssueError::from)?;
        let mut verdict = Ok(());
        // An authority may be limited to one of the usages.
        for usage in [Usage::ClientAuth, Usage::ServerAuth] {
            let leaf = Leaf {
                names: Names { uri: "spiffe://daypass.invalid/revoked".into(), common_name: None, dns_names: Vec::new() },
                serial,
                not_before: start,
                not_after: start.saturating_add(SignedDuration::from_secs(60)).unwrap_or(start).min(self.not_after()),
                usages: vec![usage],
                request_uid: "revoked".into(),
                class: "revoked".into(),
                crl_url: None,
            };
            let der = self.sign(&leaf, &key)?;
            let lists = [&list.judged];
            let revocation = revocation(&lists, expiration)?;
            verdict = self.verify(&der, at, usage, Some(revocation));
            if !matches!(verdict, Err(webpki::Error::RequiredEkuNotFoundContext(_))) {
                break;
            }
        }
        Ok(verdict)
    }
}

fn ends(revoked: &[Revoked]) -> Vec<u8> {
    revoked.iter().flat_map(|one| u32::try_from(one.until.as_second()).unwrap_or(u32::MAX).to_be_bytes()).collect()
}

fn revocation<'a>(lists: &'a [&'a CertRevocationList<'a>], expiration: ExpirationPolicy) -> Result<RevocationOptions<'a>, ListError> {
    // There is one, so this does not fail.
    let options = RevocationOptionsBuilder::new(lists).map_err(|_| ListError::Foreign("encoding"))?;
    // Intermediates above are their owner's business, whose lists are not known here.
    let options = options.with_depth(RevocationCheckDepth::EndEntity).with_status_policy(UnknownStatusPolicy::Deny);
    Ok(options.with_expiration_policy(expiration).build())
}

/// Each serial number once, in order, in whole seconds.
fn in_order(revoked: &[Revoked]) -> Vec<Revoked> {
    let whole = |time: Timestamp| Timestamp::from_second(time.as_second()).unwrap_or(time);
    let mut sorted: Vec<Revoked> =
        revoked.iter().map(|one| Revoked { serial: one.serial, since: whole(one.since), until: whole(one.until) }).collect();
    sorted.sort_by(|a, b| (a.serial, b.until, a.since).cmp(&(b.serial, a.until, b.since)));
    sorted.dedup_by_key(|one| one.serial);
    sorted
}

/// Big-endian without leading zero bytes, at least one byte.
fn number_bytes(number: u64) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    bytes[(number.leading_zeros() as usize / 8).min(7)..].to_vec()
}
