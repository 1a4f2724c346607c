//! Judges of certificates that share no code with us: the openssl program, and the verifier of rustls called as a stranger would.

use std::{
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use rustls::pki_types::{CertificateDer, UnixTime, pem::PemObject};

use super::*;

/// Both judges, as a verifier that knows the roots and got the chain from its peer.
pub(super) fn verify(certificate: &Certificate, roots: &str, at: Timestamp, usage: Usage) -> Result<(), String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate.pem.as_bytes()).map(Result::unwrap).collect();
    assert_eq!(chain[0].as_ref(), certificate.der);
    let roots_der: Vec<_> = CertificateDer::pem_slice_iter(roots.as_bytes()).map(Result::unwrap).collect();
    let anchors: Vec<_> = roots_der.iter().map(|root| webpki::anchor_from_trusted_cert(root).unwrap()).collect();
    let (purpose, key_usage) = match usage {
        Usage::ClientAuth => ("sslclient", webpki::KeyUsage::client_auth()),
        Usage::ServerAuth => ("sslserver", webpki::KeyUsage::server_auth()),
    };
    let time = UnixTime::since_unix_epoch(Duration::from_secs(at.as_second() as u64));
    let rustls = webpki::EndEntityCert::try_from(&chain[0])
        .and_then(|leaf| leaf.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, &chain[1..], time, key_usage, None, None).map(drop))
        .map_err(|error| format!("{error:?}"));
    if let Some(openssl) = OpenSsl::installed() {
        openssl.write("roots.pem", roots).write("chain.pem", &certificate.pem);
        let said = openssl.try_run(&format!(
            "verify -x509_strict -attime {} -purpose {purpose} -CAfile roots.pem -untrusted chain.pem chain.pem",
            at.as_second()
        ));
        assert_eq!(said.is_ok(), rustls.is_ok(), "openssl: {said:?}; rustls: {rustls:?}");
    }
    rustls
}

/// Both judges, with a revocation list: `revoked`, `expired` (the list is over), or what rustls said.
pub(super) fn verify_with_list(certificate: &Certificate, roots: &str, list: &[u8], at: Timestamp) -> Result<(), String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate.pem.as_bytes()).map(Result::unwrap).collect();
    let roots_der: Vec<_> = CertificateDer::pem_slice_iter(roots.as_bytes()).map(Result::unwrap).collect();
    let anchors: Vec<_> = roots_der.iter().map(|root| webpki::anchor_from_trusted_cert(root).unwrap()).collect();
    let time = UnixTime::since_unix_epoch(Duration::from_secs(at.as_second() as u64));
    let crl = webpki::BorrowedCertRevocationList::from_der(list).unwrap().into();
    let crls = [&crl];
    let options = webpki::RevocationOptionsBuilder::new(&crls).unwrap().with_depth(webpki::RevocationCheckDepth::EndEntity);
    let options = options.with_expiration_policy(webpki::ExpirationPolicy::Enforce).build();
    let usage = webpki::KeyUsage::client_auth();
    let rustls = webpki::EndEntityCert::try_from(&chain[0])
        .and_then(|leaf| {
            leaf.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, &chain[1..], time, usage, Some(options), None).map(drop)
        })
        .map_err(|error| match error {
            webpki::Error::CertRevoked => "revoked".to_owned(),
            webpki::Error::CrlExpired { .. } => "expired".to_owned(),
            other => format!("{other:?}"),
        });
    if let Some(openssl) = OpenSsl::installed() {
        openssl.write("roots.pem", roots).write("chain.pem", &certificate.pem).write("list.pem", &list_pem(list));
        let said = openssl.try_run(&format!(
            "verify -x509_strict -crl_check -CRLfile list.pem -attime {} -purpose sslclient -CAfile roots.pem -untrusted chain.pem chain.pem",
            at.as_second()
        ));
        let said = said.map(drop).map_err(|said| match said {
            said if said.contains("certificate revoked") => "revoked".to_owned(),
            said if said.contains("CRL has expired") => "expired".to_owned(),
            other => other,
        });
        assert_eq!(said, rustls, "openssl and rustls");
    }
    rustls
}

/// A directory of its own for the files of one story; gone with it.
pub(super) struct OpenSsl(PathBuf);

impl OpenSsl {
    /// `None`, with the reason printed, where openssl is not installed.
    pub(super) fn installed() -> Option<Self> {
        static STORIES: AtomicU32 = AtomicU32::new(0);
        if Command::new("openssl").arg("version").output().is_err() {
            eprintln!("skipped what openssl would judge: it is not installed");
            return None;
        }
        let directory = format!("daypass-x509-{}-{}", std::process::id(), STORIES.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(directory);
        std::fs::create_dir_all(&directory).unwrap();
        Some(Self(directory))
    }

    pub(super) fn write(&self, name: &str, text: &str) -> &Self {
        std::fs::write(self.0.join(name), text).unwrap();
        self
    }

    pub(super) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap()
    }

    /// Runs it in the directory; the output, or everything that it said if it failed.
    pub(super) fn try_run(&self, arguments: &str) -> Result<String, String> {
        let output = Command::new("openssl").args(arguments.split_whitespace()).current_dir(&self.0).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() { Ok(said) } else { Err(said + &String::from_utf8_lossy(&output.stderr)) }
    }

    pub(super) fn run(&self, arguments: &str) -> String {
        self.try_run(arguments).unwrap_or_else(|said| panic!("openssl {arguments}: {said}"))
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}
