//! What strangers may send as a CSR, and what they get for it.

use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519, PKCS_RSA_SHA256,
    PublicKeyData, SigningKey,
};

use super::{super::der::*, judges::OpenSsl, *};

const LABEL: &str = "CERTIFICATE REQUEST";
const INTEGER: u8 = 0x02;
const BOOLEAN: u8 = 0x01;
const CONSTRUCTED_0: u8 = 0xa0;

/// A CSR, written out by hand so that every part of it can be wrong.
struct Draft {
    version: u8,
    spki: Vec<u8>,
    attributes: Vec<u8>,
    signature_algorithm: Vec<u8>,
    after_signature: Vec<u8>,
}

impl Draft {
    fn of(key: &KeyPair) -> Self {
        let ecdsa_sha256 = tlv(SEQUENCE, &[&tlv(OID, &[b"\x2a\x86\x48\xce\x3d\x04\x03\x02"])]);
        Self {
            version: 0,
            spki: key.subject_public_key_info(),
            attributes: Vec::new(),
            signature_algorithm: ecdsa_sha256,
            after_signature: Vec::new(),
        }
    }

    /// One extension request (attribute 1.2.840.113549.1.9.14) with these extensions.
    fn asking_for(mut self, extensions: &[Vec<u8>]) -> Self {
        let list = tlv(SEQUENCE, &[&extensions.concat()]);
        self.attributes.extend(tlv(SEQUENCE, &[&tlv(OID, &[b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0e"]), &tlv(SET, &[&list])]));
        self
    }

    fn info(&self) -> Vec<u8> {
        let subject = tlv(SEQUENCE, &[]);
        tlv(SEQUENCE, &[&tlv(INTEGER, &[&[self.version]]), &subject, &self.spki, &tlv(CONSTRUCTED_0, &[&self.attributes])])
    }

    fn with_signature(&self, signature: &[u8]) -> String {
        let bits = tlv(BIT_STRING, &[&[0], signature]);
        let der = tlv(SEQUENCE, &[&self.info(), &self.signature_algorithm, &bits]);
        pem::encode(LABEL, &[der, self.after_signature.clone()].concat())
    }

    fn signed_by(&self, key: &KeyPair) -> String {
        self.with_signature(&key.sign(&self.info()).unwrap())
    }
}

fn extension(oid: &[u8], value: &[u8]) -> Vec<u8> {
    tlv(SEQUENCE, &[&tlv(OID, &[oid]), &tlv(OCTET_STRING, &[value])])
}

fn san(names: &[(u8, &[u8])]) -> Vec<u8> {
    let names: Vec<u8> = names.iter().flat_map(|(tag, name)| tlv(*tag, &[name])).collect();
    extension(b"\x55\x1d\x11", &tlv(SEQUENCE, &[&names]))
}

fn ca_true() -> Vec<u8> {
    extension(b"\x55\x1d\x13", &tlv(SEQUENCE, &[&tlv(BOOLEAN, &[&[0xff]])]))
}

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

fn parse(pem: &str) -> Result<RequestedKey, CsrError> {
    csr::parse(pem, &permitted())
}

#[test]
fn a_plain_csr_of_each_allowed_kind_gives_its_key() {
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let csr = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        assert_eq!(parse(&csr).unwrap().spki_der(), key.subject_public_key_info(), "{algorithm:?}");
    }
}

#[test]
fn asking_for_the_names_that_the_class_gives_anyway_is_fine() {
    let key = key();
    let names = san(&[(context(6), permitted().uri.as_bytes()), (context(2), b"orders-db")]);
    let ca_false = extension(b"\x55\x1d\x13", &tlv(SEQUENCE, &[]));
    let unknown = extension(b"\x2a\x03\x04", b"whatever");
    let csr = Draft::of(&key).asking_for(&[names, ca_false, unknown]).signed_by(&key);
    assert_eq!(parse(&csr).unwrap().spki_der(), key.subject_public_key_info());
}

#[test]
fn names_that_the_certificate_would_not_carry_are_refused_one_by_one() {
    let key = key();
    for (tag, name, said) in [
        (context(6), "spiffe://shop.example/ns/shop/sa/admin", "the URI name \"spiffe://shop.example/ns/shop/sa/admin\""),
        (context(6), "spiffe://shop.example/ns/shop/sa/orders/", "the URI name \"spiffe://shop.example/ns/shop/sa/orders/\""),
        (context(2), "kubernetes.default.svc", "the DNS name \"kubernetes.default.svc\""),
        (context(2), "spiffe://shop.example/ns/shop/sa/orders", "the DNS name \"spiffe://shop.example/ns/shop/sa/orders\""),
        (context(2), "evil\n\u{1b}[2Jlog line", "the DNS name \"evil\\n\\u{1b}[2Jlog line\""),
        (context(1), "root@shop.example", "an e-mail address"),
        (context(7), "\u{a}\u{0}\u{0}\u{1}", "an IP address"),
        (context(8), "\u{2a}\u{3}", "a name of a kind that is never issued"),
        (context(2), "orders\u{202e}-db", "the DNS name \"orders\\u{202e}-db\""),
    ] {
        let wish = san(&[(context(2), b"orders-db"), (tag, name.as_bytes())]);
        assert_eq!(parse(&Draft::of(&key).asking_for(&[wish]).signed_by(&key)), Err(CsrError::Name(said.into())));
    }
}

#[test]
fn a_stranger_cannot_fill_the_log() {
    let key = key();
    let csr = Draft::of(&key).asking_for(&[san(&[(context(2), &[b'a'; 5000])])]).signed_by(&key);
    let said = parse(&csr).unwrap_err().to_string();
    assert!(said.contains("aaa") && said.len() < 300, "{said}");
}

#[test]
fn nobody_becomes_a_ca_or_asks_in_two_places() {
    let key = key();
    assert_eq!(parse(&Draft::of(&key).asking_for(&[ca_true()]).signed_by(&key)), Err(CsrError::Ca));
    assert_eq!(parse(&Draft::of(&key).asking_for(&[san(&[])]).signed_by(&key)), Err(CsrError::EmptyNames));
    // The parser's own accessor looks at the first request only.
    assert_eq!(parse(&Draft::of(&key).asking_for(&[]).asking_for(&[ca_true()]).signed_by(&key)), Err(CsrError::ExtensionRequests));
    // A second extension of the same kind is looked at too.
    let twice = [san(&[(context(2), b"orders-db")]), san(&[(context(2), b"other")])];
    assert!(matches!(parse(&Draft::of(&key).asking_for(&twice).signed_by(&key)), Err(CsrError::Name(_) | CsrError::Der)));
    for (oid, name) in [(b"\x55\x1d\x13", "basicConstraints"), (b"\x55\x1d\x11", "subjectAltName")] {
        assert_eq!(parse(&Draft::of(&key).asking_for(&[extension(oid, b"\x04\x01x")]).signed_by(&key)), Err(CsrError::Extension(name)));
    }
}

#[test]
fn the_text_is_one_request_and_nothing_else() {
    let key = key();
    let good = Draft::of(&key).signed_by(&key);
    assert!(parse(&good).is_ok());
    assert_eq!(parse(&format!("{good}{good}")), Err(CsrError::Pem(PemError::Several)));
    assert_eq!(parse(&format!("{good}and more")), Err(CsrError::Pem(PemError::Around)));
    assert_eq!(parse(&key.serialize_pem()), Err(CsrError::Pem(PemError::Label { label: LABEL })), "a private key sent by mistake");
    assert_eq!(parse(&pem::encode(LABEL, b"nonsense")), Err(CsrError::Der));
    assert_eq!(parse(&Draft { after_signature: vec![0], ..Draft::of(&key) }.signed_by(&key)), Err(CsrError::TrailingBytes));
    assert_eq!(parse(&Draft { version: 2, ..Draft::of(&key) }.signed_by(&key)), Err(CsrError::Version));
    let long = good.replacen('\n', &"\n".repeat(csr::MAX_BYTES), 1);
    assert_eq!(parse(&long), Err(CsrError::TooLong));
}

#[test]
fn whoever_does_not_hold_the_key_gets_nothing() {
    let (mine, theirs) = (key(), key());
    assert_eq!(parse(&Draft::of(&theirs).signed_by(&mine)), Err(CsrError::Signature));
    assert_eq!(parse(&Draft::of(&mine).with_signature(b"")), Err(CsrError::Signature));
    let sha1 = tlv(SEQUENCE, &[&tlv(OID, &[b"\x2a\x86\x48\xce\x3d\x04\x01"])]);
    assert_eq!(parse(&Draft { signature_algorithm: sha1, ..Draft::of(&mine) }.signed_by(&mine)), Err(CsrError::SignatureAlgorithm));
}

#[test]
fn a_key_with_which_everybody_can_sign_proves_nothing() {
    let mut draft = Draft::of(&KeyPair::generate_for(&PKCS_ED25519).unwrap());
    let identity = [&[1], &[0; 31][..]].concat();
    let start = draft.spki.len() - 32;
    draft.spki[start..].copy_from_slice(&identity);
    draft.signature_algorithm = tlv(SEQUENCE, &[&tlv(OID, &[b"\x2b\x65\x70"])]);
    let forged = draft.with_signature(&[identity, vec![0; 32]].concat());

    use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer};
    let der = pem::only_block(&forged, LABEL).unwrap();
    let verified = X509CertificationRequest::from_der(&der).unwrap().1.verify_signature();
    assert!(verified.is_ok(), "the signature check alone is content with a signature that needs no private key");
    assert_eq!(parse(&forged), Err(CsrError::Key(KeyError::Point)));
}

#[test]
fn keys_of_other_kinds_are_refused_by_name() {
    for (algorithm, found) in [(&PKCS_RSA_SHA256, "RSA"), (&PKCS_ECDSA_P521_SHA512, "ECDSA P-521")] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let csr = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        assert_eq!(parse(&csr), Err(CsrError::Key(KeyError::Kind { found })));
    }
}

#[test]
fn requests_that_openssl_makes_are_judged_the_same_way() {
    let Some(openssl) = OpenSsl::installed() else { return };
    let csr = |arguments: &str| {
        openssl.run(&format!("req -new -nodes -keyout k.pem -out r.pem -subj /CN=ignored/O=ignored {arguments}"));
        parse(&openssl.read("r.pem")).map(drop)
    };
    let ec = |curve: &str| format!("-newkey ec -pkeyopt ec_paramgen_curve:{curve}");
    let kind = |found| Err(CsrError::Key(KeyError::Kind { found }));

    assert_eq!(csr(&format!("{} -addext keyUsage=keyCertSign -addext subjectKeyIdentifier=hash", ec("P-256"))), Ok(()));
    assert_eq!(csr(&format!("{} -sha256", ec("P-384"))), Ok(()), "the hash says nothing about the curve");
    assert_eq!(csr(&format!("{} -sha384", ec("P-256"))), Ok(()));
    assert_eq!(csr("-newkey ed25519"), Ok(()));
    assert_eq!(csr(&format!("{} -sha512", ec("P-256"))), Err(CsrError::SignatureAlgorithm));

    assert_eq!(csr("-newkey rsa:2048"), kind("RSA"));
    assert_eq!(csr(&ec("P-224")), kind("ECDSA P-224"));
    assert_eq!(csr(&ec("secp256k1")), kind("ECDSA secp256k1"));
    assert_eq!(csr(&ec("brainpoolP256r1")), kind("ECDSA on an unknown curve"));
    assert_eq!(csr("-newkey ed448"), kind("Ed448"));
    assert_eq!(csr(&format!("{} -pkeyopt ec_param_enc:explicit", ec("P-256"))), kind("ECDSA without a named curve"));

    assert_eq!(csr(&format!("{} -addext basicConstraints=critical,CA:TRUE", ec("P-256"))), Err(CsrError::Ca));
    let foreign = csr(&format!("{} -addext subjectAltName=URI:spiffe://shop.example/ns/shop/sa/admin", ec("P-256")));
    assert!(matches!(foreign, Err(CsrError::Name(_))), "{foreign:?}");
}
