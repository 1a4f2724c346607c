//! A certificate authority that was judged, and signs.
//!
//! [`Authority::load`] trusts nothing that a Secret says: what `rcgen` would take without looking (a key of another certificate, a leaf as
//! a CA, an expired one, a subject that it cannot repeat) is refused here, and in the end a throw-away certificate must verify up to the
//! roots. [`Authority::issue`] releases nothing that was not read again and verified. Called by the controller.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rcgen::{Issuer, PublicKeyData};
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, RevocationOptions, anchor_from_trusted_cert};
use x509_parser::{certificate::X509Certificate, error::X509Error, extensions::ParsedExtension, prelude::FromDer};

use super::{
    key::{CaKey, RequestedKey, generate_key},
    leaf::{Certificate, IssueError, Leaf},
    material::{CaError, Material, certificates, validity},
    names::Names,
    pem,
    profile::{self, IssuerFacts},
    serial::Serial,
};
use crate::{api::class::Usage, core::names::hex_sha256};

/// Keys of a Secret, for errors.
const CHAIN: &str = "tls.crt";
const ROOTS: &str = "ca.crt";
/// Hex digits of an issuer's id: 160 bits.
const ISSUER_ID: usize = 40;

/// A certificate authority that passed every check and its self-test.
#[derive(Debug)]
pub struct Authority {
    pub(super) issuer: Issuer<'static, CaKey>,
    pub(super) facts: IssuerFacts,
    not_after: Timestamp,
    intermediates: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
    chain_pem: String,
    roots_pem: String,
    fingerprint: String,
    issuer_id: String,
}

impl Authority {
    /// Judges the material: key and certificate are a pair, CA:TRUE, keyCertSign, a subject that can be repeated, every certificate good
    /// at `now`, and a certificate signed now verifies up to one of the roots.
    pub fn load(material: &Material, now: Timestamp) -> Result<Self, CaError> {
        let chain = certificates(&material.certificate, CHAIN)?;
        let (roots, roots_part) = match &material.roots {
            Some(roots) => (certificates(roots, ROOTS)?, ROOTS),
            None => (chain[..1].to_vec(), CHAIN),
        };
        let key = CaKey::from_pem(&material.key)?;
        let facts = judge(&chain[0], &key)?;
        let issuer_id = hex_sha256(&[facts.subject.as_slice(), &key.subject_public_key_info()].concat())[..ISSUER_ID].to_owned();
        let issuer = Issuer::from_ca_cert_der(&chain[0], key).map_err(|_| CaError::RepeatedAttribute)?;

        let mut not_after = Timestamp::MAX;
        for certificate in &chain {
            not_after = not_after.min(good_until(certificate, CHAIN, now)?);
        }
        let mut anchors = Vec::new();
        for root in &roots {
            anchors.push(anchor(root, roots_part)?);
        }

        let intermediates: Vec<_> = chain.iter().filter(|certificate| !roots.contains(certificate)).cloned().collect();
        let mut authority = Self {
            issuer,
            facts,
            not_after,
            chain_pem: pem::encode_certificates(&intermediates),
            intermediates,
            anchors,
            roots_pem: pem::encode_certificates(&roots),
            fingerprint: hex_sha256(&chain[0]),
            issuer_id,
        };
        authority.not_after = not_after.min(authority.self_test(&roots, roots_part, now)?);
        Ok(authority)
    }

    /// The instant after which none of its certificates verifies: the earliest end on the way up to the root.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// PEM of the intermediates that follow a leaf, without roots; empty if the root itself signs.
    pub fn chain_pem(&self) -> &str {
        &self.chain_pem
    }

    /// PEM of the roots that verifiers trust.
    pub fn roots_pem(&self) -> &str {
        &self.roots_pem
    }

    /// SHA-256 of the signing certificate in lower-case hex.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// What tells issuers apart for verifiers: 160 bits of the SHA-256 of name and public key, in lower-case hex. A certificate that was renewed
    /// for the same name and key is the same issuer, and its revocation lists are good for what was signed before.
    pub fn issuer_id(&self) -> &str {
        &self.issuer_id
    }

    /// Signs what the lease says for a key, reads the result again, and releases it only if it is exactly that and a verifier accepts it.
    pub fn issue(&self, leaf: &Leaf, key: &RequestedKey) -> Result<Certificate, IssueError> {
        let der = self.sign(leaf, key)?;
        // At its last second: whatever is on the way to the root must hold out as long as the leaf does.
        for usage in &leaf.usages {
            self.verify(&der, leaf.not_after, *usage, None).map_err(IssueError::Verify)?;
        }
        Ok(Certificate { pem: pem::encode("CERTIFICATE", &der) + &self.chain_pem, der })
    }

    /// Asks the verifier of rustls, who trusts the roots; with revocation lists if there are any.
    pub(super) fn verify(
        &self,
        der: &[u8],
        at: Timestamp,
        usage: Usage,
        revocation: Option<RevocationOptions<'_>>,
    ) -> Result<(), webpki::Error> {
        verify(der, &self.intermediates, &self.anchors, at, usage, revocation).map(drop)
    }

    /// The last moment at which a certificate of a second could begin.
    pub(super) fn last_start(&self) -> Timestamp {
        self.not_after.saturating_add(SignedDuration::from_secs(-1)).unwrap_or(self.not_after)
    }

    pub(super) fn sign(&self, leaf: &Leaf, key: &RequestedKey) -> Result<Vec<u8>, IssueError> {
        if leaf.usages.is_empty() {
            return Err(IssueError::NoUsage);
        }
        if leaf.not_after > self.not_after {
            return Err(IssueError::OutlivesAuthority { not_after: leaf.not_after, ca_not_after: self.not_after });
        }
        let der = profile::parameters(leaf)?.signed_by(key.spki(), &self.issuer)?.der().to_vec();
        profile::check(&der, leaf, key, &self.facts)?;
        Ok(der)
    }

    /// Signs a certificate that nobody will see and verifies it up to each root. The end of the root that lasts longest.
    fn self_test(&self, roots: &[CertificateDer<'static>], roots_part: &'static str, now: Timestamp) -> Result<Timestamp, CaError> {
        let failed = |error: IssueError| CaError::SelfTest(Box::new(error));
        let (_, key) = generate_key()?;
        let start = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let leaf = |usage| -> Result<Leaf, CaError> {
            Ok(Leaf {
                names: Names { uri: "spiffe://daypass.invalid/self-test".into(), common_name: None, dns_names: Vec::new() },
                serial: Serial::random()?,
                not_before: start,
                not_after: start.saturating_add(SignedDuration::from_secs(60)).unwrap_or(start).min(self.not_after),
                usages: vec![usage],
                request_uid: "self-test".into(),
                class: "self-test".into(),
                crl_url: None,
            })
        };
        let (mut end, mut failure) = (None, webpki::Error::UnknownIssuer);
        // An authority may be limited to one of the usages; what a class asks for beyond that fails when it is issued.
        for usage in [Usage::ClientAuth, Usage::ServerAuth] {
            let leaf = leaf(usage)?;
            let der = self.sign(&leaf, &key).map_err(failed)?;
            for (root, anchor) in roots.iter().zip(&self.anchors) {
                match verify(&der, &self.intermediates, std::slice::from_ref(anchor), leaf.not_after, usage, None) {
                    // The verifier of rustls takes a trust anchor at its key; others mind the path length in the root as well.
                    Ok(below) if path_length(root).is_some_and(|length| below > length) => {
                        failure = webpki::Error::PathLenConstraintViolated
                    }
                    Ok(_) => end = end.max(Some(good_until(root, roots_part, now)?)),
                    Err(error) => failure = error,
                }
            }
        }
        end.ok_or(CaError::Chain(failure))
    }
}

/// The checks of the signing certificate that need nothing but itself and the key.
fn judge(signing: &CertificateDer<'_>, key: &CaKey) -> Result<IssuerFacts, CaError> {
    let (_, certificate) = X509Certificate::from_der(signing).map_err(|_| CaError::Certificate { part: CHAIN })?;
    if !key.belongs_to(signing) {
        return Err(CaError::KeyMismatch);
    }
    if !certificate.basic_constraints().ok().flatten().is_some_and(|constraints| constraints.value.ca) {
        return Err(CaError::NotCa);
    }
    if !certificate.key_usage().ok().flatten().is_some_and(|usage| usage.value.key_cert_sign()) {
        return Err(CaError::NoCertSign);
    }
    // The encoder keeps subjects in a map by attribute type: it would drop all but one of a kind, and panics on an empty RDN.
    let mut seen = Vec::new();
    for rdn in certificate.subject().iter() {
        let mut attributes = rdn.iter();
        match (attributes.next(), attributes.next()) {
            (Some(attribute), None) if !seen.contains(attribute.attr_type()) => seen.push(attribute.attr_type().clone()),
            _ => return Err(CaError::RepeatedAttribute),
        }
    }
    let key_id = certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    });
    Ok(IssuerFacts {
        subject: certificate.subject().as_raw().to_vec(),
        key_id: key_id.unwrap_or_else(|| profile::key_id(&key.subject_public_key_info())),
    })
}

/// The end of a certificate that is good at `now`.
fn good_until(certificate: &CertificateDer<'_>, part: &'static str, now: Timestamp) -> Result<Timestamp, CaError> {
    let (not_before, not_after) = validity(certificate, part)?;
    if now < not_before {
        Err(CaError::NotYetValid { part, not_before })
    } else if now > not_after {
        Err(CaError::Expired { part, not_after })
    } else {
        Ok(not_after)
    }
}

/// A root as a trust anchor. Self-signed, because many verifiers (openssl among them) stop nowhere else; and a CA, because they mind.
fn anchor(root: &CertificateDer<'static>, part: &'static str) -> Result<TrustAnchor<'static>, CaError> {
    let (_, certificate) = X509Certificate::from_der(root).map_err(|_| CaError::Certificate { part })?;
    let self_issued = certificate.subject().as_raw() == certificate.issuer().as_raw();
    // Some algorithms (ECDSA with SHA-512) are not known here; their signature is left to the verifiers, who trust the root by its key.
    let forged = matches!(certificate.verify_signature(None), Err(X509Error::SignatureVerificationError));
    if !self_issued || forged || !certificate.is_ca() {
        return Err(CaError::NotRoot { part });
    }
    Ok(anchor_from_trusted_cert(root).map_err(|_| CaError::Certificate { part })?.to_owned())
}

/// How many authorities a root allows below itself, if it says so.
fn path_length(root: &CertificateDer<'_>) -> Option<usize> {
    let (_, certificate) = X509Certificate::from_der(root).ok()?;
    usize::try_from(certificate.basic_constraints().ok()??.value.path_len_constraint?).ok()
}

/// Asks the verifier of rustls. The number of intermediates on the way up.
fn verify(
    der: &[u8],
    intermediates: &[CertificateDer<'static>],
    anchors: &[TrustAnchor<'static>],
    at: Timestamp,
    usage: Usage,
    revocation: Option<RevocationOptions<'_>>,
) -> Result<usize, webpki::Error> {
    let der = CertificateDer::from(der);
    let leaf = EndEntityCert::try_from(&der)?;
    let at = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(at.as_second()).unwrap_or(0)));
    let usage = match usage {
        Usage::ClientAuth => KeyUsage::client_auth(),
        Usage::ServerAuth => KeyUsage::server_auth(),
    };
    let path = leaf.verify_for_usage(ALL_VERIFICATION_ALGS, anchors, intermediates, at, usage, revocation, None)?;
    Ok(path.intermediate_certificates().count())
}
