//! What nobody thought of: random and mutated input.

use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair, PublicKeyData, SanType};

use super::*;
use crate::api::{
    Requester,
    class::{CaSpec, SubjectSpec, X509Spec},
};

const LABEL: &str = "CERTIFICATE REQUEST";

/// A CSR with extensions, and the key inside it.
fn good() -> (Vec<u8>, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::default();
    parameters.subject_alt_names = vec![SanType::DnsName("orders-db".try_into().unwrap())];
    let csr = parameters.serialize_request(&key).unwrap();
    assert!(csr::parse(&csr.pem().unwrap(), &permitted()).is_ok());
    (csr.der().to_vec(), key.subject_public_key_info())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_csr_never_gives_anything_but_its_own_key(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..6),
    ) {
        thread_local!(static GOOD: (Vec<u8>, Vec<u8>) = good());
        GOOD.with(|(csr, key)| {
            let mut der = csr.clone();
            for (index, byte, how) in &changes {
                let at = index.index(der.len());
                match how {
                    0 => der[at] = *byte,
                    1 => der[at] ^= 1 << (byte % 8),
                    2 => der.insert(at, *byte),
                    _ => drop(der.remove(at)),
                }
            }
            if let Ok(accepted) = csr::parse(&pem::encode(LABEL, &der), &permitted()) {
                assert_eq!(&accepted.spki_der(), key);
            }
        });
    }

    #[test]
    fn bytes_that_only_look_like_a_csr_never_panic(der in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(csr::parse(&pem::encode(LABEL, &der), &permitted()).is_err());
    }

    #[test]
    fn text_of_every_kind_never_panics(text in "(-----BEGIN |-----END |CERTIFICATE REQUEST|-----|\n|[A-Za-z0-9+/=]{0,9}|\\PC){0,20}") {
        prop_assert!(csr::parse(&text, &permitted()).is_err());
        prop_assert!(Serial::parse(&text).is_err() || text.len() <= 32);
    }

    #[test]
    fn what_check_refuses_no_requester_gets(
        common_name in "(\\{namespace\\}|\\{serviceAccount\\}|\\{class\\}|\\{cluster\\}|\\{|\\}|[a-zA-Z0-9 .,_/=*-]){0,8}",
        dns in "(\\{namespace\\}|\\{serviceAccount\\}|\\{class\\}|[a-z0-9.*_-]){0,8}",
        namespace in "[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?",
        account in "[a-z0-9]([a-z0-9.-]{0,30}[a-z0-9])?",
    ) {
        let spec = X509Spec {
            ca: CaSpec { managed: None, secret_name: Some("ca".into()) },
            trust_domain: "shop.example".into(),
            subject: Some(SubjectSpec { common_name }),
            dns_names: vec![dns],
            usages: vec![Usage::ClientAuth],
            crl: None,
        };
        let requester = Requester {
            username: format!("system:serviceaccount:{namespace}:{account}"),
            uid: String::new(), pod_name: String::new(), pod_uid: String::new(),
            node_name: String::new(), node_uid: String::new(), credential_id: String::new(),
        };
        if let Ok(names) = names(&spec, "orders-db", &requester, "eu-1") {
            prop_assert!(check(&spec).is_ok(), "{spec:?}");
            prop_assert_eq!(names.uri, format!("spiffe://shop.example/ns/{namespace}/sa/{account}"));
            prop_assert!(names.common_name.is_some_and(|name| name.len() <= 64 && name.is_ascii()));
            // Every name that we would sign is one that a verifier can match.
            for name in names.dns_names {
                prop_assert!(rustls::pki_types::DnsName::try_from(name.as_str()).is_ok(), "{name}");
            }
        }
    }
}
