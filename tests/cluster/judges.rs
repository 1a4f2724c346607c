//! Judges of issued certificates that share no code with Daypass: the openssl program, and the verifier of rustls called as a stranger would.
//!
//! Every certificate that a test gets goes through [`judge`]; the two must agree at every moment they are asked about.

use std::{
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use daypass::api::CredentialLease;
use jiff::{SignedDuration, Timestamp};
use rcgen::PublicKeyData;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime, pem::PemObject};
use x509_parser::{extensions::GeneralName, prelude::*};

/// What a verifier is handed: the chain of its peer, and the roots that it trusts.
#[derive(Clone, Copy, Debug)]
pub struct Handed<'a> {
    /// PEM, leaf first.
    pub chain: &'a str,
    /// PEM.
    pub roots: &'a str,
}

/// Asserts that the certificate is exactly what the lease says, for this key, good now and up to its last second, and not after that.
pub fn judge(handed: Handed<'_>, lease: &CredentialLease, key: &rcgen::KeyPair) {
    let x509 = lease.spec.x509.as_ref().unwrap();
    assert_eq!(accepted(handed, Timestamp::now()), Ok(()), "good now");
    assert_eq!(accepted(handed, x509.not_after - SignedDuration::from_secs(1)), Ok(()), "good in its last second");
    assert!(accepted(handed, x509.not_after + SignedDuration::from_secs(1)).is_err(), "refused after its end");

    let chain = certificates(handed.chain);
    let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
    assert_eq!(leaf.public_key().raw, key.subject_public_key_info(), "the key of whoever asked");
    assert_eq!(format!("{:x}", leaf.tbs_certificate.serial), x509.serial.trim_start_matches('0'));
    let seconds = |time: ASN1Time| Timestamp::from_second(time.timestamp()).unwrap();
    assert_eq!((seconds(leaf.validity().not_before), seconds(leaf.validity().not_after)), (lease.spec.not_before, x509.not_after));
    let names: Vec<_> = leaf.subject().iter_common_name().map(|name| name.as_str().unwrap().to_owned()).collect();
    assert_eq!(names, x509.common_name.clone().into_iter().collect::<Vec<_>>());
    let alternatives = &leaf.subject_alternative_name().unwrap().unwrap().value.general_names;
    let uris: Vec<_> = alternatives.iter().filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None }).collect();
    let dns: Vec<_> = alternatives.iter().filter_map(|name| if let GeneralName::DNSName(dns) = name { Some(*dns) } else { None }).collect();
    assert_eq!((uris, dns.len()), (vec![x509.uri.as_str()], alternatives.len() - 1));
    assert_eq!(dns, x509.dns_names);
    assert!(!leaf.is_ca());
}

/// Whether both judges take the chain for a TLS client's at this time. They have to agree.
pub fn accepted(handed: Handed<'_>, at: Timestamp) -> Result<(), String> {
    let rustls = rustls_accepts(handed, at);
    if let Some(openssl) = openssl_accepts(handed, at) {
        assert_eq!(openssl.is_ok(), rustls.is_ok(), "openssl: {openssl:?}; rustls: {rustls:?}");
    }
    rustls
}

/// The same for a verifier that also has these revocation lists, in PEM. A certificate that is on one is `revoked`.
pub fn accepted_with_lists(handed: Handed<'_>, lists: &str, at: Timestamp) -> Result<(), String> {
    let (chain, roots) = (certificates(handed.chain), certificates(handed.roots));
    let anchors: Vec<_> = roots.iter().map(|root| webpki::anchor_from_trusted_cert(root).unwrap()).collect();
    let time = UnixTime::since_unix_epoch(Duration::from_secs(at.as_second() as u64));
    let ders: Vec<_> = CertificateRevocationListDer::pem_slice_iter(lists.as_bytes()).map(Result::unwrap).collect();
    let crls: Vec<webpki::CertRevocationList<'_>> =
        ders.iter().map(|der| webpki::BorrowedCertRevocationList::from_der(der).unwrap().into()).collect();
    let crls: Vec<&webpki::CertRevocationList<'_>> = crls.iter().collect();
    let options = webpki::RevocationOptionsBuilder::new(&crls).unwrap().with_depth(webpki::RevocationCheckDepth::EndEntity);
    let options = options.with_expiration_policy(webpki::ExpirationPolicy::Enforce).build();
    let usage = webpki::KeyUsage::client_auth();
    let rustls = webpki::EndEntityCert::try_from(&chain[0])
        .and_then(|leaf| {
            leaf.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, &chain[1..], time, usage, Some(options), None).map(drop)
        })
        .map_err(|error| if error == webpki::Error::CertRevoked { "revoked".into() } else { format!("{error:?}") });
    let files = Files::new();
    files.write("roots.pem", handed.roots).write("chain.pem", handed.chain).write("lists.pem", lists);
    let at = at.as_second().to_string();
    let arguments = ["verify", "-x509_strict", "-crl_check", "-CRLfile", "lists.pem", "-attime", &at, "-purpose", "sslclient"];
    let arguments = [&arguments[..], &["-CAfile", "roots.pem", "-untrusted", "chain.pem", "chain.pem"]].concat();
    match files.openssl(&arguments) {
        Ok(said) => {
            let said = said.map(drop).map_err(|said| if said.contains("certificate revoked") { "revoked".to_owned() } else { said });
            assert_eq!(said.is_ok(), rustls.is_ok(), "openssl: {said:?}; rustls: {rustls:?}");
            assert!(rustls != Err("revoked".into()) || said == rustls, "openssl: {said:?}");
        }
        Err(_) => eprintln!("skipped what openssl would judge: it is not installed"),
    }
    rustls
}

/// The DER of every certificate in a PEM text.
pub fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect()
}

/// The serial number of a chain's first certificate, as a lease writes it.
pub fn serial(chain: &str) -> String {
    serial_of(&certificates(chain)[0])
}

/// The same of a certificate.
pub fn serial_of(certificate: &CertificateDer<'_>) -> String {
    let (_, leaf) = X509Certificate::from_der(certificate).unwrap();
    leaf.raw_serial().iter().skip_while(|byte| **byte == 0).map(|byte| format!("{byte:02x}")).collect()
}

fn rustls_accepts(handed: Handed<'_>, at: Timestamp) -> Result<(), String> {
    let (chain, roots) = (certificates(handed.chain), certificates(handed.roots));
    let anchors: Vec<_> = roots.iter().map(|root| webpki::anchor_from_trusted_cert(root).unwrap()).collect();
    let time = UnixTime::since_unix_epoch(Duration::from_secs(at.as_second() as u64));
    let usage = webpki::KeyUsage::client_auth();
    webpki::EndEntityCert::try_from(&chain[0])
        .and_then(|leaf| leaf.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, &chain[1..], time, usage, None, None).map(drop))
        .map_err(|error| format!("{error:?}"))
}

/// `None`, with the reason printed, where openssl is not installed.
fn openssl_accepts(handed: Handed<'_>, at: Timestamp) -> Option<Result<(), String>> {
    let files = Files::new();
    files.write("roots.pem", handed.roots).write("chain.pem", handed.chain);
    let at = at.as_second().to_string();
    let arguments =
        ["verify", "-x509_strict", "-attime", &at, "-purpose", "sslclient", "-CAfile", "roots.pem", "-untrusted", "chain.pem", "chain.pem"];
    let Ok(said) = files.openssl(&arguments) else {
        eprintln!("skipped what openssl would judge: it is not installed");
        return None;
    };
    Some(said.map(drop))
}

/// A directory of its own for the files of one story; gone with it.
pub struct Files(PathBuf);

impl Files {
    /// An empty one.
    pub fn new() -> Self {
        static STORIES: AtomicU32 = AtomicU32::new(0);
        let name = format!("daypass-cluster-{}-{}", std::process::id(), STORIES.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        Self(directory)
    }

    /// Where a file of this name is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> &Self {
        std::fs::write(self.path(name), text).unwrap();
        self
    }

    /// Runs openssl here; the outer error says that there is none, the inner one is everything that it said when it failed.
    pub fn openssl(&self, arguments: &[&str]) -> std::io::Result<Result<String, String>> {
        let output = Command::new("openssl").args(arguments).current_dir(&self.0).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(if output.status.success() { Ok(said) } else { Err(said + &String::from_utf8_lossy(&output.stderr)) })
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}
