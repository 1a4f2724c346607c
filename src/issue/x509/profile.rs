//! The profile of a pod's certificate, twice: how it is built, and what must be in it when it is read again.
//!
//! The two halves share nothing but the [`Leaf`]: [`parameters`] speaks to the encoder, [`check`] compares the finished bytes with
//! encodings of its own. Whatever the encoder adds, drops or mistakes is found before a certificate is released. Called by `authority`.

use jiff::Timestamp;
use rcgen::{
    CertificateParams, CrlDistributionPoint, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    SanType, SerialNumber, string::Ia5String,
};
use time::OffsetDateTime;
use x509_parser::{
    certificate::X509Certificate,
    extensions::X509Extension,
    oid_registry::{self, Oid},
    prelude::FromDer,
    x509::X509Version,
};

use super::{
    der::{BIT_STRING, OCTET_STRING, OID, SEQUENCE, SET, UTF8_STRING, constructed, context, tlv},
    key::RequestedKey,
    leaf::{IssueError, Leaf},
    provenance,
};
use crate::api::class::Usage;

/// What every certificate of an authority repeats of it.
#[derive(Clone, Debug)]
pub(super) struct IssuerFacts {
    /// DER of its subject.
    pub(super) subject: Vec<u8>,
    /// Its key identifier.
    pub(super) key_id: Vec<u8>,
}

/// A finished certificate is not what was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its {0} is not what was meant")]
pub struct Deviation(pub &'static str);

/// Parameters for the encoder, from scratch: every field of the default that would put something into the certificate is set.
pub(super) fn parameters(leaf: &Leaf) -> Result<CertificateParams, IssueError> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    if let Some(name) = &leaf.names.common_name {
        parameters.distinguished_name.push(DnType::CommonName, name.as_str());
    }
    // URI first; with an empty subject the encoder marks the extension critical, as RFC 5280 §4.2.1.6 asks.
    parameters.subject_alt_names.push(SanType::URI(Ia5String::try_from(leaf.names.uri.as_str())?));
    for name in &leaf.names.dns_names {
        parameters.subject_alt_names.push(SanType::DnsName(Ia5String::try_from(name.as_str())?));
    }
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = leaf
        .usages
        .iter()
        .map(|usage| match usage {
            Usage::ClientAuth => ExtendedKeyUsagePurpose::ClientAuth,
            Usage::ServerAuth => ExtendedKeyUsagePurpose::ServerAuth,
        })
        .collect();
    parameters.crl_distribution_points = leaf.crl_url.iter().map(|url| CrlDistributionPoint { uris: vec![url.clone()] }).collect();
    parameters.use_authority_key_identifier_extension = true;
    parameters.serial_number = Some(SerialNumber::from_slice(&leaf.serial.to_bytes()));
    (parameters.not_before, parameters.not_after) = whole_seconds(leaf.not_before)
        .zip(whole_seconds(leaf.not_after))
        .filter(|(start, end)| start < end)
        .ok_or(IssueError::Validity { not_before: leaf.not_before, not_after: leaf.not_after })?;
    parameters.custom_extensions =
        vec![CustomExtension::from_oid_content(&provenance::OID, provenance::encode(&leaf.request_uid, &leaf.class))];
    Ok(parameters)
}

/// Compares a finished certificate with what was meant, to the byte.
pub(super) fn check(der: &[u8], leaf: &Leaf, key: &RequestedKey, issuer: &IssuerFacts) -> Result<(), Deviation> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| Deviation("encoding"))?;
    let tbs = &certificate.tbs_certificate;
    same("encoding", rest.is_empty())?;
    same("version", tbs.version == X509Version::V3)?;
    same("serial number", unsigned(tbs.raw_serial()) == leaf.serial.to_bytes())?;
    same("signature algorithm", tbs.signature == certificate.signature_algorithm)?;
    same("issuer", tbs.issuer.as_raw() == issuer.subject)?;
    same("start of validity", tbs.validity.not_before.timestamp() == leaf.not_before.as_second())?;
    same("end of validity", tbs.validity.not_after.timestamp() == leaf.not_after.as_second())?;
    same("subject", tbs.subject.as_raw() == subject(leaf))?;
    same("public key", tbs.subject_pki.raw == key.spki_der())?;
    same("issuerUniqueID", tbs.issuer_uid.is_none())?;
    same("subjectUniqueID", tbs.subject_uid.is_none())?;

    let expected = extensions(leaf, key, issuer);
    for (name, oid, critical, value) in &expected {
        let same_oid = |extension: &&X509Extension<'_>| extension.oid == *oid;
        let found: Vec<_> = tbs.extensions().iter().filter(same_oid).collect();
        same(name, matches!(found[..], [extension] if extension.critical == *critical && extension.value == value.as_slice()))?;
    }
    same("list of extensions", tbs.extensions().len() == expected.len())
}

fn same(part: &'static str, holds: bool) -> Result<(), Deviation> {
    if holds { Ok(()) } else { Err(Deviation(part)) }
}

fn whole_seconds(time: Timestamp) -> Option<OffsetDateTime> {
    if time.subsec_nanosecond() != 0 { None } else { OffsetDateTime::from_unix_timestamp(time.as_second()).ok() }
}

/// Content of a positive INTEGER without the byte that keeps its sign.
fn unsigned(integer: &[u8]) -> &[u8] {
    integer.strip_prefix(&[0]).unwrap_or(integer)
}

fn subject(leaf: &Leaf) -> Vec<u8> {
    let Some(name) = &leaf.names.common_name else { return tlv(SEQUENCE, &[]) };
    let attribute = tlv(SEQUENCE, &[&tlv(OID, &[b"\x55\x04\x03"]), &tlv(UTF8_STRING, &[name.as_bytes()])]);
    tlv(SEQUENCE, &[&tlv(SET, &[&attribute])])
}

/// Every extension: what it is called in an error, its OID, whether it is critical, its value.
fn extensions(leaf: &Leaf, key: &RequestedKey, issuer: &IssuerFacts) -> Vec<(&'static str, Oid<'static>, bool, Vec<u8>)> {
    let names: Vec<u8> = std::iter::once(tlv(context(6), &[leaf.names.uri.as_bytes()]))
        .chain(leaf.names.dns_names.iter().map(|name| tlv(context(2), &[name.as_bytes()])))
        .flatten()
        .collect();
    let usages: Vec<u8> = leaf.usages.iter().flat_map(|usage| tlv(OID, &[key_purpose(*usage)])).collect();
    let subject_key_id = key_id(&key.spki_der());
    let mut extensions = vec![
        (
            "authorityKeyIdentifier",
            oid_registry::OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER,
            false,
            tlv(SEQUENCE, &[&tlv(context(0), &[&issuer.key_id])]),
        ),
        ("subjectKeyIdentifier", oid_registry::OID_X509_EXT_SUBJECT_KEY_IDENTIFIER, false, tlv(OCTET_STRING, &[&subject_key_id])),
        ("basicConstraints", oid_registry::OID_X509_EXT_BASIC_CONSTRAINTS, true, tlv(SEQUENCE, &[])),
        // Bit 0, digitalSignature: one byte with seven unused bits.
        ("keyUsage", oid_registry::OID_X509_EXT_KEY_USAGE, true, tlv(BIT_STRING, &[&[7, 0x80]])),
        ("extendedKeyUsage", oid_registry::OID_X509_EXT_EXTENDED_KEY_USAGE, false, tlv(SEQUENCE, &[&usages])),
        ("subjectAltName", oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME, leaf.names.common_name.is_none(), tlv(SEQUENCE, &[&names])),
    ];
    if let Some(url) = &leaf.crl_url {
        // One distribution point with a fullName of one URI.
        let name = tlv(constructed(0), &[&tlv(constructed(0), &[&tlv(context(6), &[url.as_bytes()])])]);
        let points = tlv(SEQUENCE, &[&tlv(SEQUENCE, &[&name])]);
        extensions.push(("cRLDistributionPoints", oid_registry::OID_X509_EXT_CRL_DISTRIBUTION_POINTS, false, points));
    }
    if let Ok(oid) = Oid::from(&provenance::OID) {
        extensions.push(("provenance extension", oid, false, provenance::encode(&leaf.request_uid, &leaf.class)));
    }
    extensions
}

fn key_purpose(usage: Usage) -> &'static [u8] {
    match usage {
        Usage::ServerAuth => b"\x2b\x06\x01\x05\x05\x07\x03\x01",
        Usage::ClientAuth => b"\x2b\x06\x01\x05\x05\x07\x03\x02",
    }
}

/// RFC 7093 §2 method 1 over the whole SubjectPublicKeyInfo, as the encoder derives it: the leftmost 160 bits of its SHA-256.
pub(super) fn key_id(spki: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, spki).as_ref()[..20].to_vec()
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, Issuer, KeyIdMethod, KeyPair, PublicKeyData};

    use super::*;
    use crate::issue::x509::{Names, Serial, key::generate_key};

    fn leaf() -> Leaf {
        Leaf {
            names: Names {
                uri: "spiffe://shop.example/ns/shop/sa/orders".into(),
                common_name: Some("orders".into()),
                dns_names: vec!["orders.shop.svc".into()],
            },
            serial: Serial::parse("7f00ff").unwrap(),
            not_before: "2026-11-24T12:00:00Z".parse().unwrap(),
            not_after: "2026-11-24T12:10:00Z".parse().unwrap(),
            usages: vec![Usage::ClientAuth, Usage::ServerAuth],
            request_uid: "uid-1".into(),
            class: "orders-db".into(),
            crl_url: Some("http://daypass.daypass-system/crl/default.crl".into()),
        }
    }

    /// An authority that signs whatever it is given.
    struct Careless {
        parameters: CertificateParams,
        key: KeyPair,
        leaf_key: RequestedKey,
    }

    impl Careless {
        fn new() -> Self {
            let mut parameters = CertificateParams::default();
            parameters.key_identifier_method = KeyIdMethod::PreSpecified(vec![7; 20]);
            Self { parameters, key: KeyPair::generate().unwrap(), leaf_key: generate_key().unwrap().1 }
        }

        fn facts(&self) -> IssuerFacts {
            let certificate = self.parameters.self_signed(&self.key).unwrap();
            let (_, parsed) = X509Certificate::from_der(certificate.der()).unwrap();
            IssuerFacts { subject: parsed.subject().as_raw().to_vec(), key_id: vec![7; 20] }
        }

        fn judge(&self, parameters: &CertificateParams, key: &impl PublicKeyData) -> Result<(), Deviation> {
            let issuer = Issuer::from_params(&self.parameters, &self.key);
            check(parameters.signed_by(key, &issuer).unwrap().der(), &leaf(), &self.leaf_key, &self.facts())
        }

        /// The verdict on a certificate that is right but for one change.
        fn altered(&self, alter: impl FnOnce(&mut CertificateParams)) -> Result<(), Deviation> {
            let mut parameters = parameters(&leaf()).unwrap();
            alter(&mut parameters);
            self.judge(&parameters, self.leaf_key.spki())
        }
    }

    type Alteration = Box<dyn FnOnce(&mut CertificateParams)>;

    #[test]
    fn the_profile_as_built_passes() {
        assert_eq!(Careless::new().altered(|_| ()), Ok(()));
    }

    #[test]
    fn every_alteration_of_the_profile_is_caught_and_named() {
        let careless = Careless::new();
        let second = time::Duration::SECOND;
        let alterations: Vec<(&str, Alteration)> = vec![
            ("serial number", Box::new(|p| p.serial_number = None)),
            ("serial number", Box::new(|p| p.serial_number = Some(SerialNumber::from_slice(&[0x7f, 0, 0xfe])))),
            ("start of validity", Box::new(move |p| p.not_before -= second)),
            ("end of validity", Box::new(move |p| p.not_after += second)),
            ("subject", Box::new(|p| p.distinguished_name.push(DnType::OrganizationName, "system:masters"))),
            ("subject", Box::new(|p| p.distinguished_name.push(DnType::CommonName, "admin"))),
            ("subjectAltName", Box::new(|p| drop(p.subject_alt_names.pop()))),
            ("subjectAltName", Box::new(|p| p.subject_alt_names.swap(0, 1))),
            ("subjectAltName", Box::new(|p| p.subject_alt_names.push(SanType::IpAddress([10, 0, 0, 1].into())))),
            ("basicConstraints", Box::new(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))),
            ("basicConstraints", Box::new(|p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)))),
            ("subjectKeyIdentifier", Box::new(|p| p.is_ca = IsCa::NoCa)),
            ("subjectKeyIdentifier", Box::new(|p| p.key_identifier_method = KeyIdMethod::Sha384)),
            ("authorityKeyIdentifier", Box::new(|p| p.use_authority_key_identifier_extension = false)),
            ("keyUsage", Box::new(|p| p.key_usages.clear())),
            ("keyUsage", Box::new(|p| p.key_usages.push(KeyUsagePurpose::KeyCertSign))),
            ("cRLDistributionPoints", Box::new(|p| p.crl_distribution_points.clear())),
            ("cRLDistributionPoints", Box::new(|p| p.crl_distribution_points[0].uris[0].push('x'))),
            ("cRLDistributionPoints", Box::new(|p| p.crl_distribution_points[0].uris.push("http://elsewhere.example".into()))),
            ("cRLDistributionPoints", Box::new(|p| p.crl_distribution_points.push(p.crl_distribution_points[0].clone()))),
            ("extendedKeyUsage", Box::new(|p| p.extended_key_usages.clear())),
            ("extendedKeyUsage", Box::new(|p| drop(p.extended_key_usages.pop()))),
            ("extendedKeyUsage", Box::new(|p| p.extended_key_usages.push(ExtendedKeyUsagePurpose::Any))),
            ("provenance extension", Box::new(|p| p.custom_extensions.clear())),
            ("provenance extension", Box::new(|p| p.custom_extensions[0].set_criticality(true))),
            (
                "provenance extension",
                Box::new(|p| {
                    p.custom_extensions[0] = CustomExtension::from_oid_content(&provenance::OID, provenance::encode("uid-2", "orders-db"))
                }),
            ),
            // Twice is not once, even if one of them is right.
            ("provenance extension", Box::new(|p| p.custom_extensions.push(p.custom_extensions[0].clone()))),
            ("list of extensions", Box::new(|p| p.custom_extensions.push(CustomExtension::from_oid_content(&[1, 2, 3], vec![5, 0])))),
        ];
        for (part, alter) in alterations {
            assert_eq!(careless.altered(alter), Err(Deviation(part)));
        }
    }

    #[test]
    fn the_wrong_key_or_issuer_is_caught() {
        let careless = Careless::new();
        let right = parameters(&leaf()).unwrap();
        assert_eq!(careless.judge(&right, generate_key().unwrap().1.spki()), Err(Deviation("public key")));

        let issuer = Issuer::from_params(&careless.parameters, &careless.key);
        let der = right.signed_by(careless.leaf_key.spki(), &issuer).unwrap().der().to_vec();
        let judge = |der: &[u8], facts: IssuerFacts| check(der, &leaf(), &careless.leaf_key, &facts);
        assert_eq!(judge(&der, careless.facts()), Ok(()));
        assert_eq!(judge(&der, IssuerFacts { subject: tlv(SEQUENCE, &[]), ..careless.facts() }), Err(Deviation("issuer")));
        assert_eq!(judge(&der, IssuerFacts { key_id: vec![8; 20], ..careless.facts() }), Err(Deviation("authorityKeyIdentifier")));
        assert_eq!(judge(&[der.as_slice(), &[0]].concat(), careless.facts()), Err(Deviation("encoding")));
        assert_eq!(judge(b"", careless.facts()), Err(Deviation("encoding")));
    }

    #[test]
    fn every_date_is_written_as_it_was_given() {
        let careless = Careless::new();
        // RFC 5280 §4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050.
        for (start, end) in [("2049-12-31T23:59:59Z", "2050-01-01T00:00:00Z"), ("2026-02-28T23:59:59Z", "2026-03-01T00:00:00Z")] {
            let leaf = Leaf { not_before: start.parse().unwrap(), not_after: end.parse().unwrap(), ..leaf() };
            let issuer = Issuer::from_params(&careless.parameters, &careless.key);
            let certificate = parameters(&leaf).unwrap().signed_by(careless.leaf_key.spki(), &issuer).unwrap();
            assert_eq!(check(certificate.der(), &leaf, &careless.leaf_key, &careless.facts()), Ok(()));
        }
    }
}
