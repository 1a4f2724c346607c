//! Stories that go through several files of X.509, told with real judges: openssl and rustls-webpki.

mod issue;
mod judges;
mod lists;
mod load;
mod random;
mod requests;
mod rotation;

use jiff::{SignedDuration, Timestamp};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose};

use super::*;
use crate::{api::class::Usage, secret::Secret};

/// The moment at which all stories happen.
fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn after(seconds: i64) -> Timestamp {
    now() + SignedDuration::from_secs(seconds)
}

fn permitted() -> Names {
    Names {
        uri: "spiffe://shop.example/ns/shop/sa/orders".into(),
        common_name: Some("orders".into()),
        dns_names: vec!["orders.shop.svc".into(), "orders-db".into()],
    }
}

/// What the ledger fixed for a pod: ten minutes from now, backdated.
fn leaf() -> Leaf {
    Leaf {
        names: permitted(),
        serial: Serial::parse("ab54a98ceb1f0ad2").unwrap(),
        not_before: after(-30),
        not_after: after(600),
        usages: vec![Usage::ClientAuth],
        request_uid: "5b0ffb7c-7a5a-4e0b-a2a1-6a7c5f0f9f10".into(),
        class: "orders-db".into(),
        crl_url: None,
    }
}

fn managed_root() -> Material {
    generate_root("default", after(-300), after(30 * 86_400)).unwrap()
}

/// A CA certificate to be spoilt: `CN=<name>`, good for a year around now.
fn ca_parameters(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters.use_authority_key_identifier_extension = true;
    (parameters.not_before, parameters.not_after) = (date(-86_400), date(365 * 86_400));
    parameters
}

fn date(seconds: i64) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(after(seconds).as_second()).unwrap()
}

fn material(certificate: impl Into<String>, key: &KeyPair, roots: Option<String>) -> Material {
    Material { certificate: certificate.into(), key: Secret::new(key.serialize_pem()), roots }
}
