//! Certificate authorities that people bring, and why some of them are not taken.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use super::{judges::OpenSsl, *};

fn load(material: &Material) -> Result<Authority, CaError> {
    Authority::load(material, now())
}

fn spoilt(spoil: impl FnOnce(&mut CertificateParams)) -> Result<Authority, CaError> {
    let key = KeyPair::generate().unwrap();
    let mut parameters = ca_parameters("Corp CA");
    spoil(&mut parameters);
    load(&material(parameters.self_signed(&key).unwrap().pem(), &key, None))
}

#[test]
fn a_sound_authority_is_taken_and_knows_its_end() {
    let material = managed_root();
    let authority = load(&material).unwrap();
    assert_eq!(authority.not_after(), after(30 * 86_400));
    assert_eq!(authority.roots_pem(), material.certificate);
    assert_eq!(authority.fingerprint().len(), 64);
    assert!(!format!("{authority:?}{material:?}").contains(&material.key.expose()[30..60]));
}

#[test]
fn a_key_of_another_certificate_is_found() {
    let error = load(&Material { key: managed_root().key, ..managed_root() }).unwrap_err();
    assert!(matches!(error, CaError::KeyMismatch), "{error}");
}

#[test]
fn what_may_not_sign_is_not_taken() {
    for spoil in [IsCa::NoCa, IsCa::ExplicitNoCa] {
        assert!(matches!(spoilt(|ca| ca.is_ca = spoil), Err(CaError::NotCa)));
    }
    for usages in [vec![], vec![KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature]] {
        assert!(matches!(spoilt(|ca| ca.key_usages = usages), Err(CaError::NoCertSign)));
    }
}

#[test]
fn an_authority_out_of_its_time_is_not_taken() {
    assert!(matches!(spoilt(|ca| ca.not_after = date(-1)), Err(CaError::Expired { part: "tls.crt", .. })));
    assert!(matches!(spoilt(|ca| ca.not_before = date(1)), Err(CaError::NotYetValid { part: "tls.crt", .. })));
}

#[test]
fn a_subject_that_would_lose_a_part_is_not_taken() {
    // The encoder's map takes the same attribute twice if it is named in two ways; read again, one would be lost.
    let twice = spoilt(|ca| {
        ca.distinguished_name.push(DnType::OrganizationalUnitName, "one");
        ca.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 11]), "two");
    });
    assert!(matches!(twice, Err(CaError::RepeatedAttribute)));
    assert!(spoilt(|ca| ca.distinguished_name.push(DnType::OrganizationalUnitName, "one")).is_ok());
}

#[test]
fn an_intermediate_needs_its_root_and_ends_with_the_first_of_its_chain() {
    let (root, root_key) = (ca_parameters("Root"), KeyPair::generate().unwrap());
    let issuer = Issuer::from_params(&root, &root_key);
    let root_pem = root.self_signed(&root_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let intermediate = |end: i64| {
        let mut parameters = ca_parameters("Intermediate");
        parameters.not_after = date(end);
        parameters.signed_by(&key, &issuer).unwrap().pem()
    };
    let with_root = |end| load(&material(intermediate(end), &key, Some(root_pem.clone())));
    assert_eq!(with_root(900).unwrap().not_after(), after(900));
    assert_eq!(with_root(1000 * 86_400).unwrap().not_after(), after(365 * 86_400), "the root ends first");
    assert!(matches!(load(&material(intermediate(900), &key, None)), Err(CaError::NotRoot { part: "tls.crt" })));
    let not_a_root = load(&material(intermediate(900), &key, Some(intermediate(900))));
    assert!(matches!(not_a_root, Err(CaError::NotRoot { part: "ca.crt" })));
    // Names alone make no root: this one is called like its issuer, which has another key.
    let namesake = ca_parameters("Root").signed_by(&key, &issuer).unwrap().pem();
    assert!(matches!(load(&material(namesake, &key, None)), Err(CaError::NotRoot { part: "tls.crt" })));
}

#[test]
fn a_chain_that_leads_elsewhere_is_found_by_the_self_test() {
    let (root, root_key) = (ca_parameters("Root"), KeyPair::generate().unwrap());
    let key = KeyPair::generate().unwrap();
    let chain = ca_parameters("Intermediate").signed_by(&key, &Issuer::from_params(&root, &root_key)).unwrap().pem();
    let namesake = ca_parameters("Root").self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    assert!(matches!(load(&material(chain.clone(), &key, Some(namesake))), Err(CaError::Chain(_))));

    // A root that is no CA: the verifier of rustls would not mind.
    let mut no_ca = ca_parameters("Root");
    no_ca.is_ca = IsCa::ExplicitNoCa;
    let no_ca = no_ca.self_signed(&root_key).unwrap().pem();
    assert!(matches!(load(&material(chain, &key, Some(no_ca))), Err(CaError::NotRoot { part: "ca.crt" })));

    // A root that allows no further authority below it.
    let mut short = ca_parameters("Root");
    short.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let under = |parent: &CertificateParams, parent_key: &KeyPair, key: &KeyPair, name: &str| {
        ca_parameters(name).signed_by(key, &Issuer::from_params(parent, parent_key)).unwrap().pem()
    };
    let middle_key = KeyPair::generate().unwrap();
    let chain = under(&ca_parameters("Middle"), &middle_key, &key, "Lowest") + &under(&short, &root_key, &middle_key, "Middle");
    let short_pem = short.self_signed(&root_key).unwrap().pem();
    assert!(matches!(load(&material(chain.clone(), &key, Some(short_pem))), Err(CaError::Chain(_))));
    let long_pem = root.self_signed(&root_key).unwrap().pem();
    assert!(load(&material(chain, &key, Some(long_pem))).is_ok());
}

#[test]
fn one_good_root_among_several_is_enough() {
    let good = managed_root();
    let roots = format!("{}{}", managed_root().certificate, good.certificate);
    let authority = load(&Material { roots: Some(roots.clone()), ..good }).unwrap();
    assert_eq!(authority.roots_pem(), roots);
    assert!(authority.chain_pem().is_empty());
}

#[test]
fn what_cannot_be_read_is_said_by_its_key_in_the_secret() {
    let good = managed_root();
    let said = |material: Material| load(&material).unwrap_err().to_string();
    assert_eq!(
        said(Material { certificate: String::new(), ..good.clone() }),
        "tls.crt: there is no PEM block; it starts with -----BEGIN CERTIFICATE-----"
    );
    assert!(said(Material { roots: Some("x".into()), ..good.clone() }).starts_with("ca.crt: "));
    assert!(said(Material { key: Secret::new("x".into()), ..good.clone() }).starts_with("tls.key: "));
    let junk = pem::encode("CERTIFICATE", b"junk");
    assert_eq!(said(Material { certificate: junk, ..good }), "tls.crt does not hold an X.509 certificate");
}

#[test]
fn authorities_made_with_openssl_are_taken_or_refused_for_what_they_are() {
    let Some(openssl) = OpenSsl::installed() else { return };
    let make = |key: &str, rest: &str| {
        openssl.run(key);
        openssl.run(&format!("req -new -x509 -key k.pem -out c.pem -days 3650 {rest}"));
        let now = Timestamp::from_second(
            material::validity(&pem::certificates(&openssl.read("c.pem")).unwrap()[0], "c").unwrap().0.as_second() + 1,
        );
        Authority::load(
            &Material { certificate: openssl.read("c.pem"), key: Secret::new(openssl.read("k.pem")), roots: None },
            now.unwrap(),
        )
    };
    let sec1 = "ecparam -name prime256v1 -genkey -out k.pem";
    let sign = "-addext keyUsage=critical,keyCertSign";
    assert!(make(sec1, &format!("-subj /C=DE/O=Corp/CN=CA {sign}")).is_ok(), "SEC1 behind EC PARAMETERS");
    assert!(make("genrsa -traditional -out k.pem 2048", &format!("-subj /CN=CA {sign}")).is_ok(), "PKCS#1");
    assert!(make("genpkey -algorithm ed25519 -out k.pem", &format!("-subj /CN=CA {sign}")).is_ok());
    assert!(matches!(make(sec1, &format!("-subj /DC=com/DC=example/CN=CA {sign}")), Err(CaError::RepeatedAttribute)));
    assert!(matches!(make(sec1, &format!("-multivalue-rdn -subj /CN=CA+OU=x {sign}")), Err(CaError::RepeatedAttribute)));
    assert!(matches!(make(sec1, "-subj /CN=CA"), Err(CaError::NoCertSign)), "openssl leaves keyUsage out by default");
    assert!(matches!(make("ecparam -name secp256k1 -genkey -out k.pem", &format!("-subj /CN=CA {sign}")), Err(CaError::Key(_))));
}
