//! Judges certificates with software that is not ours: rustls-webpki, and openssl where it is installed.

use std::{path::Path, process::Command};

use rustls::pki_types::{CertificateDer, UnixTime, pem::PemObject};

/// Every certificate of a PEM text.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().map_err(|error| format!("PEM: {error}"))
}

/// rustls-webpki accepts the chain as a TLS client's, now.
pub fn webpki(chain: &str, roots: &str) -> Result<(), String> {
    let (chain, roots) = (certificates(chain)?, certificates(roots)?);
    let anchors = roots.iter().map(webpki::anchor_from_trusted_cert).collect::<Result<Vec<_>, _>>().map_err(|e| format!("roots: {e}"))?;
    let (leaf, intermediates) = chain.split_first().ok_or("the chain is empty")?;
    let leaf = webpki::EndEntityCert::try_from(leaf).map_err(|e| format!("leaf: {e}"))?;
    let verified = leaf.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        intermediates,
        UnixTime::now(),
        webpki::KeyUsage::client_auth(),
        None,
        None,
    );
    verified.map(drop).map_err(|e| format!("rustls-webpki refuses it: {e}"))
}

/// `openssl verify` accepts it; `None` where openssl is not installed.
pub fn openssl(chain: &str, roots: &str, directory: &Path) -> Result<Option<String>, String> {
    openssl_says(chain, roots, None, directory)
}

/// The same with `-crl_check` and these lists (PEM).
pub fn openssl_with_lists(chain: &str, roots: &str, lists: &str, directory: &Path) -> Result<Option<String>, String> {
    openssl_says(chain, roots, Some(lists), directory)
}

fn openssl_says(chain: &str, roots: &str, lists: Option<&str>, directory: &Path) -> Result<Option<String>, String> {
    let (chain_file, roots_file, lists_file) =
        (directory.join("verify-chain.pem"), directory.join("verify-roots.pem"), directory.join("verify-lists.pem"));
    std::fs::write(&chain_file, chain).and_then(|()| std::fs::write(&roots_file, roots)).map_err(|e| e.to_string())?;
    let mut command = Command::new("openssl");
    command.args(["verify", "-purpose", "sslclient", "-x509_strict"]);
    if let Some(lists) = lists {
        std::fs::write(&lists_file, lists).map_err(|e| e.to_string())?;
        command.args(["-crl_check", "-CRLfile"]).arg(&lists_file);
    }
    let output = command.arg("-CAfile").arg(&roots_file).arg("-untrusted").arg(&chain_file).arg(&chain_file).output();
    match output {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("openssl: {error}")),
        Ok(output) if output.status.success() => {
            Ok(Some(format!("openssl verify{}: OK", if lists.is_some() { " -crl_check" } else { "" })))
        }
        Ok(output) => {
            Err(format!("openssl refuses it: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
        }
    }
}

/// The names that a certificate carries.
pub fn names(chain: &str) -> Result<String, String> {
    let chain = certificates(chain)?;
    let leaf = chain.first().ok_or("the chain is empty")?;
    let (_, leaf) = x509_parser::parse_x509_certificate(leaf).map_err(|e| e.to_string())?;
    let alternative = leaf.subject_alternative_name().map_err(|e| e.to_string())?;
    let mut names: Vec<String> = alternative
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .map(|name| match name {
            x509_parser::extensions::GeneralName::URI(uri) => (*uri).to_owned(),
            x509_parser::extensions::GeneralName::DNSName(name) => format!("DNS:{name}"),
            other => format!("{other:?}"),
        })
        .collect();
    let subject = leaf.subject().to_string();
    if !subject.is_empty() {
        names.push(subject);
    }
    Ok(names.join(", "))
}
