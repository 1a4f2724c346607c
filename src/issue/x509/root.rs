//! Roots of managed certificate authorities: made here, kept in a Secret, replaced before their end.
//!
//! Called by `managed`.

use jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, IsCa, KeyUsagePurpose, SerialNumber};

use super::{key::CaKey, leaf::IssueError, material::Material, pem, serial::Serial};

/// OID of the subject attribute serialNumber (X.520).
const SERIAL_NUMBER: [u64; 4] = [2, 5, 4, 5];

/// A fresh self-signed root: ECDSA P-256, `CN=Daypass <name>`, signing leaves only (path length 0).
///
/// The subject also carries the root's serial number, so that no two roots ever share a subject: while one follows another, verifiers hold
/// both, and several of them pick the issuer by its name alone.
pub fn generate_root(name: &str, not_before: Timestamp, not_after: Timestamp) -> Result<Material, IssueError> {
    let invalid = || IssueError::Validity { not_before, not_after };
    let date = |time: Timestamp| time::OffsetDateTime::from_unix_timestamp(time.as_second()).map_err(|_| invalid());
    if not_before >= not_after {
        return Err(invalid());
    }
    let serial = Serial::random()?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, format!("Daypass {name}"));
    subject.push(DnType::CustomDnType(SERIAL_NUMBER.to_vec()), DnValue::PrintableString(serial.to_string().as_str().try_into()?));

    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = subject;
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters.use_authority_key_identifier_extension = true;
    parameters.serial_number = Some(SerialNumber::from_slice(&serial.to_bytes()));
    (parameters.not_before, parameters.not_after) = (date(not_before)?, date(not_after)?);

    let key = CaKey::generate()?;
    let certificate = parameters.self_signed(&key)?;
    Ok(Material { certificate: pem::encode("CERTIFICATE", certificate.der()), key: key.to_pem(), roots: None })
}
