//! Signing requests that strangers may send. Of each nothing is taken but its key, and most do not even get that far.

use data_encoding::BASE64;
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256};
use serde_json::json;
use stage::Csr;

use crate::{
    judges::{self, Files, Handed},
    scene::Scene,
    support::shared,
};

/// The PEM of this DER.
fn pem(der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n", lines.join("\n"))
}

fn der(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    BASE64.decode(body.as_bytes()).unwrap()
}

/// What openssl makes of these arguments; `None`, with the reason printed, where it is not installed.
fn openssl(arguments: &str) -> Option<String> {
    let files = Files::new();
    let all = format!("req -new -nodes -keyout key.pem -out request.pem -subj /CN=ignored {arguments}");
    let Ok(said) = files.openssl(&all.split(' ').collect::<Vec<_>>()) else {
        eprintln!("skipped {arguments}: openssl is not installed");
        return None;
    };
    said.unwrap();
    Some(std::fs::read_to_string(files.path("request.pem")).unwrap())
}

#[tokio::test]
async fn what_is_no_proper_request_is_denied_with_the_offending_part_named() {
    let here = shared();
    let scene = Scene::set(&here.stage, "input-csr").await;
    let good = Csr::new().unwrap().pem;
    let mut forged = der(&good);
    *forged.last_mut().unwrap() ^= 1;
    let trailing = [der(&good), vec![0]].concat();
    let rsa = CertificateParams::default().serialize_request(&KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap()).unwrap().pem().unwrap();
    let ec = |curve: &str| format!("-newkey ec -pkeyopt ec_paramgen_curve:{curve}");
    let rows = [
        (Some(format!("{good}{good}")), "more than one PEM block"),
        (Some(format!("{good}and more")), "text before or after the PEM block"),
        (Some(KeyPair::generate().unwrap().serialize_pem()), "must be labelled CERTIFICATE REQUEST"),
        (Some("nonsense".into()), "there is no PEM block"),
        (Some(pem(b"nonsense")), "does not hold a PKCS#10 certification request"),
        (Some(pem(&trailing)), "trailing bytes after the certification request"),
        (Some(pem(&forged)), "was not made by the key inside it"),
        (Some(rsa), "the public key is RSA"),
        (openssl(&ec("P-224")), "the public key is ECDSA P-224"),
        (openssl(&ec("brainpoolP256r1")), "ECDSA on an unknown curve"),
        (openssl(&format!("{} -addext basicConstraints=critical,CA:TRUE", ec("P-256"))), "CA:TRUE"),
        (openssl(&format!("{} -addext subjectAltName=DNS:kubernetes.default.svc", ec("P-256"))), "the DNS name \"kubernetes.default.svc\""),
        (
            openssl(&format!("{} -addext subjectAltName=URI:spiffe://test.example/ns/input-csr/sa/admin", ec("P-256"))),
            "the URI name \"spiffe://test.example/ns/input-csr/sa/admin\"",
        ),
    ];
    for (csr, said) in rows {
        let Some(csr) = csr else { continue };
        let denied = scene.refused(json!({"className": scene.name, "csr": csr})).await;
        assert_eq!((denied.reason.as_str(), denied.retry_after), ("InvalidCSR", None), "{said}");
        assert!(denied.message.starts_with("spec.csr: ") && denied.message.contains(said), "{said}: {}", denied.message);
    }
    scene.granted("1m").await;
}

#[tokio::test]
async fn a_request_of_more_than_16_kib_is_not_even_stored() {
    let here = shared();
    let scene = Scene::set(&here.stage, "input-csr-long").await;
    let long = Csr::new().unwrap().pem.replacen('\n', &"\n".repeat(16 * 1024), 1);
    let refused = scene.pod.ask("long", json!({"className": scene.name, "csr": long})).await.unwrap_err().to_string();
    assert!(refused.contains("spec.csr") && refused.contains("16384"), "{refused}");
    assert!(scene.requests().list(&Default::default()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn nothing_is_taken_from_a_request_but_its_key() {
    let here = shared();
    let scene = Scene::set(&here.stage, "input-csr-key").await;
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    for key in [p384, ed25519] {
        let mut wishes = CertificateParams::default();
        wishes.distinguished_name.push(DnType::CommonName, "admin");
        wishes.distinguished_name.push(DnType::OrganizationName, "system:masters");
        let csr = Csr { pem: wishes.serialize_request(&key).unwrap().pem().unwrap(), key };
        let request = scene.pod.ask_with_csr(&scene.name, Some("1m"), &csr).await.unwrap();
        let status = scene.pod.answer(&request).await.unwrap().status.unwrap();
        let credential = status.credential.unwrap();
        let lease = here.stage.lease_of(&request).await.unwrap().unwrap();
        judges::judge(Handed { chain: credential.certificate.as_deref().unwrap(), roots: &credential.ca_bundle }, &lease, &csr.key);
        assert_eq!(lease.spec.x509.as_ref().unwrap().common_name.as_deref(), Some("input-csr-key"), "the subject is the class's");
    }
}
