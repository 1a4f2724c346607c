//! Certificates as they leave the house, judged by openssl and by rustls-webpki.

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256};
use rustls::pki_types::{CertificateDer, ServerName};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::{
    judges::{OpenSsl, verify},
    *,
};

fn intermediate(root: &CertificateParams, root_key: &KeyPair) -> Material {
    let root_pem = root.self_signed(root_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let certificate = ca_parameters("Intermediate").signed_by(&key, &rcgen::Issuer::from_params(root, root_key)).unwrap();
    material(certificate.pem(), &key, Some(root_pem))
}

#[test]
fn both_judges_accept_what_every_kind_of_authority_signs_for_every_kind_of_key() {
    let mut authorities = vec![managed_root(), intermediate(&ca_parameters("Root"), &KeyPair::generate().unwrap())];
    for algorithm in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519, &PKCS_RSA_SHA256] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        authorities.push(material(ca_parameters("Corp CA").self_signed(&key).unwrap().pem(), &key, None));
    }
    let ed25519 = CertificateParams::default().serialize_request(&KeyPair::generate_for(&PKCS_ED25519).unwrap()).unwrap();
    let keys = [generate_key().unwrap().1, csr::parse(&ed25519.pem().unwrap(), &permitted()).unwrap()];

    for authority in authorities.iter().map(|material| Authority::load(material, now()).unwrap()) {
        for key in &keys {
            let certificate = authority.issue(&leaf(), key).unwrap();
            // Not at its last second itself: there the two differ (RFC 5280 includes it, openssl does not).
            for at in [after(-30), now(), after(599)] {
                assert_eq!(verify(&certificate, authority.roots_pem(), at, Usage::ClientAuth), Ok(()), "{at}");
            }
            for at in [after(-31), after(601)] {
                assert!(verify(&certificate, authority.roots_pem(), at, Usage::ClientAuth).is_err(), "{at}");
            }
            let server = verify(&certificate, authority.roots_pem(), now(), Usage::ServerAuth);
            assert!(server.is_err(), "the class did not name ServerAuth");
        }
    }
}

#[test]
fn a_person_reads_in_it_what_the_class_said() {
    let authority = Authority::load(&managed_root(), now()).unwrap();
    let certificate = authority.issue(&leaf(), &generate_key().unwrap().1).unwrap();
    let Some(openssl) = OpenSsl::installed() else { return };
    openssl.write("c.pem", &certificate.pem);
    let text = openssl.run("x509 -in c.pem -noout -text -nameopt RFC2253");
    for line in [
        "Serial Number:\n            ab:54:a9:8c:eb:1f:0a:d2\n",
        "Not Before: Nov 24 11:59:30 2026 GMT",
        "Not After : Nov 24 12:10:00 2026 GMT",
        "Subject: CN=orders\n",
        "X509v3 Subject Alternative Name: \n                URI:spiffe://shop.example/ns/shop/sa/orders, DNS:orders.shop.svc, DNS:orders-db\n",
        "X509v3 Basic Constraints: critical\n                CA:FALSE\n",
        "X509v3 Key Usage: critical\n                Digital Signature\n",
        "X509v3 Extended Key Usage: \n                TLS Web Client Authentication\n",
        "X509v3 Authority Key Identifier:",
        "1.2.840.113556.1.8000.2554.39872.40694.11119.19318.37550.13368196.4215692: \n",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    assert_eq!(openssl.run("x509 -in c.pem -noout -serial"), "serial=AB54A98CEB1F0AD2\n");
    let parsed = openssl.run("asn1parse -in c.pem");
    assert!(parsed.contains("OCTET STRING") && !parsed.contains("Error"), "{parsed}");
}

#[test]
fn the_provenance_extension_is_der_that_a_log_can_be_joined_by() {
    let authority = Authority::load(&managed_root(), now()).unwrap();
    let certificate = authority.issue(&leaf(), &generate_key().unwrap().1).unwrap();
    let (_, parsed) = X509Certificate::from_der(&certificate.der).unwrap();
    let extension =
        parsed.extensions().iter().find(|extension| extension.oid.to_id_string().starts_with("1.2.840.113556.1.8000.2554.")).unwrap();
    assert!(!extension.critical);
    let (rest, sequence) = x509_parser::der_parser::parse_der(extension.value).unwrap();
    assert!(rest.is_empty());
    let texts: Vec<_> = sequence.as_sequence().unwrap().iter().map(|item| item.as_str().unwrap()).collect();
    assert_eq!(texts, ["5b0ffb7c-7a5a-4e0b-a2a1-6a7c5f0f9f10", "orders-db"]);
}

#[test]
fn without_a_common_name_the_subject_is_empty_and_the_names_are_critical() {
    let authority = Authority::load(&managed_root(), now()).unwrap();
    for (common_name, critical) in [(None, true), (Some("orders".to_owned()), false)] {
        let names = Names { common_name, dns_names: Vec::new(), ..permitted() };
        let certificate = authority.issue(&Leaf { names, ..leaf() }, &generate_key().unwrap().1).unwrap();
        let (_, parsed) = X509Certificate::from_der(&certificate.der).unwrap();
        assert_eq!(parsed.subject().iter().next().is_none(), critical);
        assert_eq!(parsed.subject_alternative_name().unwrap().unwrap().critical, critical);
        assert_eq!(verify(&certificate, authority.roots_pem(), now(), Usage::ClientAuth), Ok(()));
    }
}

#[test]
fn a_server_certificate_is_good_for_its_dns_names_and_no_other() {
    let authority = Authority::load(&managed_root(), now()).unwrap();
    let leaf = Leaf { usages: vec![Usage::ServerAuth, Usage::ClientAuth], ..leaf() };
    let certificate = authority.issue(&leaf, &generate_key().unwrap().1).unwrap();
    for usage in [Usage::ServerAuth, Usage::ClientAuth] {
        assert_eq!(verify(&certificate, authority.roots_pem(), now(), usage), Ok(()));
    }
    let der = CertificateDer::from(certificate.der);
    let end_entity = webpki::EndEntityCert::try_from(&der).unwrap();
    let good_for = |name: &'static str| end_entity.verify_is_valid_for_subject_name(&ServerName::try_from(name).unwrap()).is_ok();
    assert!(good_for("orders.shop.svc") && good_for("orders-db"));
    assert!(!good_for("orders") && !good_for("shop.svc") && !good_for("x.orders.shop.svc"));
}

#[test]
fn the_same_lease_gives_the_same_certificate_whoever_signs_and_whenever() {
    let material = managed_root();
    let key = generate_key().unwrap().1;
    let signed = |at| {
        let der = Authority::load(&material, at).unwrap().issue(&leaf(), &key).unwrap().der;
        let (_, parsed) = X509Certificate::from_der(&der).unwrap();
        parsed.tbs_certificate.as_ref().to_vec()
    };
    assert_eq!(signed(now()), signed(after(86_400)));
}

#[test]
fn two_certificates_for_one_key_have_the_serials_of_their_leases() {
    let authority = Authority::load(&managed_root(), now()).unwrap();
    let key = generate_key().unwrap().1;
    for serial in [Serial::random().unwrap(), Serial::random().unwrap(), Serial::parse("01").unwrap()] {
        let der = authority.issue(&Leaf { serial, ..leaf() }, &key).unwrap().der;
        let (_, parsed) = X509Certificate::from_der(&der).unwrap();
        assert_eq!(parsed.serial, x509_parser::num_bigint::BigUint::parse_bytes(serial.to_string().as_bytes(), 16).unwrap());
    }
}

#[test]
fn the_chain_that_a_pod_gets_holds_the_intermediates_and_no_root() {
    let (root, root_key) = (ca_parameters("Root"), KeyPair::generate().unwrap());
    let mut brought = intermediate(&root, &root_key);
    // People like to put the root, and the key, and a comment into the chain.
    brought.certificate = format!("# chain\n{}{}{}", brought.certificate, brought.roots.clone().unwrap(), root_key.serialize_pem());
    let authority = Authority::load(&brought, now()).unwrap();
    let certificate = authority.issue(&leaf(), &generate_key().unwrap().1).unwrap();
    assert_eq!(certificate.pem.matches("BEGIN CERTIFICATE").count(), 2);
    assert_eq!(authority.chain_pem().matches("BEGIN CERTIFICATE").count(), 1);
    assert_eq!(authority.roots_pem().matches("BEGIN CERTIFICATE").count(), 1);
    for published in [&certificate.pem, authority.chain_pem(), authority.roots_pem()] {
        assert!(!published.contains("PRIVATE") && !published.contains('#'));
    }
    assert!(Authority::load(&managed_root(), now()).unwrap().chain_pem().is_empty());
}

#[test]
fn what_cannot_be_a_good_certificate_is_not_signed() {
    let authority = Authority::load(&managed_root(), now()).unwrap();
    let key = generate_key().unwrap().1;
    let issue = |leaf: Leaf| authority.issue(&leaf, &key).unwrap_err();
    let end = authority.not_after();
    assert!(authority.issue(&Leaf { not_after: end, ..leaf() }, &key).is_ok());
    assert!(matches!(issue(Leaf { not_after: end + SignedDuration::from_secs(1), ..leaf() }), IssueError::OutlivesAuthority { .. }));
    assert!(matches!(issue(Leaf { not_after: after(600) + SignedDuration::from_millis(1), ..leaf() }), IssueError::Validity { .. }));
    assert!(matches!(issue(Leaf { not_before: after(600), ..leaf() }), IssueError::Validity { .. }));
    assert!(matches!(issue(Leaf { usages: Vec::new(), ..leaf() }), IssueError::NoUsage));
    let names = Names { uri: "spiffe://ümlaut".into(), ..permitted() };
    assert!(matches!(issue(Leaf { names, ..leaf() }), IssueError::Sign(_)));
}

#[test]
fn names_that_a_constrained_authority_may_not_give_are_found_before_a_verifier_finds_them() {
    let mut parameters = ca_parameters("Constrained");
    parameters.name_constraints = Some(rcgen::NameConstraints {
        permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("shop.svc".into())],
        excluded_subtrees: vec![],
    });
    let key = KeyPair::generate().unwrap();
    let authority = Authority::load(&material(parameters.self_signed(&key).unwrap().pem(), &key, None), now());
    let authority = authority.unwrap();
    let issue = |dns: &str| {
        authority.issue(&Leaf { names: Names { dns_names: vec![dns.into()], ..permitted() }, ..leaf() }, &generate_key().unwrap().1)
    };
    assert!(issue("orders.shop.svc").is_ok());
    assert!(matches!(issue("orders.other.svc"), Err(IssueError::Verify(webpki::Error::NameConstraintViolation))));
}
