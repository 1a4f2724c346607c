//! Certificate signing requests (PKCS#10, RFC 2986), which strangers write: one public key and the proof of possession come out, or a
//! reason for people.
//!
//! Nothing else is ever taken from a CSR. What it asks for beyond its key is looked at only in order to refuse what the certificate would
//! not carry, so that nobody waits for a name that never comes. Never panics, never repeats more than a few of the requester's bytes.
//! Called by the controller while it gathers facts for a decision.

use x509_parser::{
    certification_request::X509CertificationRequest,
    cri_attributes::ParsedCriAttribute,
    error::X509Error,
    extensions::{GeneralName, ParsedExtension, X509Extension},
    oid_registry::{OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_SUBJECT_ALT_NAME},
    prelude::FromDer,
    x509::X509Version,
};

use super::{
    key::{KeyError, RequestedKey},
    names::Names,
    pem::{self, PemError},
};

/// Longest CSR in bytes of PEM. The schema of AccessRequest says the same.
pub const MAX_BYTES: usize = 16 * 1024;

/// Why a CSR is denied. The text names the part and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// Longer than [`MAX_BYTES`].
    #[error("the CSR is longer than 16 KiB")]
    TooLong,
    /// Not one PEM block.
    #[error("{0}")]
    Pem(#[from] PemError),
    /// Not the DER of a certification request.
    #[error("the PEM block does not hold a PKCS#10 certification request")]
    Der,
    /// Bytes after the request, inside the PEM block.
    #[error("there are trailing bytes after the certification request")]
    TrailingBytes,
    /// Another version than v1.
    #[error("the version of the certification request is not v1 (0)")]
    Version,
    /// A key that is not issued for.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// A signature algorithm that is not checked.
    #[error("the CSR is signed with an unsupported algorithm; sign it with SHA-256 or SHA-384, or with Ed25519")]
    SignatureAlgorithm,
    /// The signature is not by the key inside.
    #[error("the signature of the CSR was not made by the key inside it")]
    Signature,
    /// More than one list of extensions.
    #[error("the CSR holds more than one extension request; give at most one")]
    ExtensionRequests,
    /// An extension that matters cannot be read.
    #[error("the {0} extension of the CSR cannot be read")]
    Extension(&'static str),
    /// It asks to be a certificate authority.
    #[error("the CSR asks for a CA certificate (basicConstraints CA:TRUE), which Daypass never issues")]
    Ca,
    /// A subject alternative name without any name.
    #[error("the subjectAltName of the CSR is empty; leave it out, the class gives the names")]
    EmptyNames,
    /// A name that the certificate would not carry.
    #[error("the CSR asks for {0}, which this class does not give; leave subjectAltName out, the class gives the names")]
    Name(String),
}

/// Reads a CSR whose certificate would carry the names `permitted`.
pub fn parse(pem: &str, permitted: &Names) -> Result<RequestedKey, CsrError> {
    if pem.len() > MAX_BYTES {
        return Err(CsrError::TooLong);
    }
    let der = pem::only_block(pem, "CERTIFICATE REQUEST")?;
    let (rest, csr) = X509CertificationRequest::from_der(&der).map_err(|_| CsrError::Der)?;
    if !rest.is_empty() {
        return Err(CsrError::TrailingBytes);
    }
    let info = &csr.certification_request_info;
    if info.version != X509Version::V1 {
        return Err(CsrError::Version);
    }
    let key = RequestedKey::from_spki(info.subject_pki.raw)?;
    csr.verify_signature().map_err(|error| match error {
        X509Error::SignatureUnsupportedAlgorithm => CsrError::SignatureAlgorithm,
        _ => CsrError::Signature,
    })?;

    let mut requests = info.iter_attributes().filter_map(|attribute| match attribute.parsed_attribute() {
        ParsedCriAttribute::ExtensionRequest(request) => Some(request),
        _ => None,
    });
    if let Some(request) = requests.next() {
        request.extensions.iter().try_for_each(|extension| refuse_wishes(extension, permitted))?;
    }
    if requests.next().is_some() {
        return Err(CsrError::ExtensionRequests);
    }
    Ok(key)
}

/// Every extension is ignored in the end; two kinds may say what the certificate will not say, and then the requester should know.
fn refuse_wishes(extension: &X509Extension<'_>, permitted: &Names) -> Result<(), CsrError> {
    match extension.parsed_extension() {
        ParsedExtension::BasicConstraints(constraints) if constraints.ca => Err(CsrError::Ca),
        ParsedExtension::SubjectAlternativeName(names) if names.general_names.is_empty() => Err(CsrError::EmptyNames),
        ParsedExtension::SubjectAlternativeName(names) => names.general_names.iter().try_for_each(|name| permit(name, permitted)),
        ParsedExtension::BasicConstraints(_) => Ok(()),
        _ if extension.oid == OID_X509_EXT_BASIC_CONSTRAINTS => Err(CsrError::Extension("basicConstraints")),
        _ if extension.oid == OID_X509_EXT_SUBJECT_ALT_NAME => Err(CsrError::Extension("subjectAltName")),
        _ => Ok(()),
    }
}

fn permit(name: &GeneralName<'_>, permitted: &Names) -> Result<(), CsrError> {
    let wish = match name {
        GeneralName::URI(uri) if *uri == permitted.uri => return Ok(()),
        GeneralName::DNSName(dns) if permitted.dns_names.iter().any(|name| name == dns) => return Ok(()),
        GeneralName::URI(uri) => format!("the URI name {}", excerpt(uri)),
        GeneralName::DNSName(dns) => format!("the DNS name {}", excerpt(dns)),
        GeneralName::RFC822Name(_) => "an e-mail address".into(),
        GeneralName::IPAddress(_) => "an IP address".into(),
        GeneralName::DirectoryName(_) => "a directory name".into(),
        _ => "a name of a kind that is never issued".into(),
    };
    Err(CsrError::Name(wish))
}

/// At most 80 characters of what a stranger wrote, with everything but printable ASCII escaped.
fn excerpt(text: &str) -> String {
    let head: String = text.chars().take(80).collect();
    let more = if head.len() < text.len() { "…" } else { "" };
    format!("\"{}\"{more}", head.escape_default())
}
