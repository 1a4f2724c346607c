//! The material of a certificate authority as it is stored, and everything that can be wrong with it.
//!
//! Holds no logic beyond reading a certificate's dates. Made by the controller from a Secret, by `root` and by `managed`; judged by
//! `authority`.

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::{
    key::KeyError,
    leaf::IssueError,
    pem::{self, PemError},
    serial::SerialError,
};
use crate::secret::Secret;

/// A certificate authority as it lies in a Secret. Nothing is known about it until [`super::Authority::load`] has looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Material {
    /// PEM chain, the signing certificate first (`tls.crt`).
    pub certificate: String,
    /// PEM private key: PKCS#8, SEC1 or PKCS#1, unencrypted (`tls.key`).
    pub key: Secret<String>,
    /// PEM roots (`ca.crt`); `None` if the signing certificate is the root.
    pub roots: Option<String>,
}

/// Why a certificate authority cannot issue. The text is for the class's status: it names the part and the next step.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A certificate could not be read as PEM.
    #[error("{part}: {problem}")]
    Pem {
        /// Which part, by its key in the Secret.
        part: &'static str,
        /// What is wrong with it.
        problem: PemError,
    },
    /// A certificate could not be read as X.509.
    #[error("{part} does not hold an X.509 certificate")]
    Certificate {
        /// Which part, by its key in the Secret.
        part: &'static str,
    },
    /// The private key could not be read.
    #[error("tls.key: {0}")]
    Key(#[from] KeyError),
    /// Certificate and key are not a pair.
    #[error("tls.key does not belong to the first certificate of tls.crt; put the signing certificate first")]
    KeyMismatch,
    /// The signing certificate is none of a CA.
    #[error(
        "the first certificate of tls.crt is not a CA (basicConstraints CA:TRUE is missing); make one with -addext basicConstraints=critical,CA:TRUE"
    )]
    NotCa,
    /// The signing certificate must not sign.
    #[error(
        "the first certificate of tls.crt may not sign (keyUsage keyCertSign is missing); make one with -addext keyUsage=critical,keyCertSign,cRLSign"
    )]
    NoCertSign,
    /// The subject could not be repeated faithfully as an issuer.
    #[error(
        "the subject of the CA holds an attribute twice or several in one RDN, which cannot be repeated in certificates; use a CA whose subject has each attribute once"
    )]
    RepeatedAttribute,
    /// A certificate is over.
    #[error("a certificate of {part} ended at {not_after}; renew it")]
    Expired {
        /// Which part, by its key in the Secret.
        part: &'static str,
        /// Its end.
        not_after: Timestamp,
    },
    /// A certificate is not good yet.
    #[error("a certificate of {part} is good from {not_before} only")]
    NotYetValid {
        /// Which part, by its key in the Secret.
        part: &'static str,
        /// Its start.
        not_before: Timestamp,
    },
    /// There is no root to verify up to.
    #[error("{part} holds a certificate that is not a self-signed CA; put the root, and nothing but roots, into ca.crt")]
    NotRoot {
        /// Which part, by its key in the Secret.
        part: &'static str,
    },
    /// A test certificate does not verify up to a root.
    #[error("certificates of this CA would not verify: the chain of tls.crt does not lead to a root of ca.crt ({0:?})")]
    Chain(webpki::Error),
    /// No test certificate could be made.
    #[error("the CA failed its self-test: {0}")]
    SelfTest(Box<IssueError>),
    /// The Secret of a managed authority is incomplete.
    #[error(
        "the Secret of the managed CA has no {0}; restore it from a backup, or delete the Secret to start a new CA (no live certificate will verify with the new roots)"
    )]
    Missing(&'static str),
    /// A value in the Secret of a managed authority cannot be read.
    #[error("{0} in the Secret of the managed CA cannot be read; restore it from a backup")]
    Unreadable(&'static str),
    /// Lifetimes that would never settle.
    #[error("a managed CA needs lifetime > renewBefore > overlap + the longest leaf, all positive")]
    Lifetimes,
    /// No random numbers.
    #[error(transparent)]
    Serial(#[from] SerialError),
}

/// Start and end of a certificate.
pub(super) fn validity(der: &CertificateDer<'_>, part: &'static str) -> Result<(Timestamp, Timestamp), CaError> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| CaError::Certificate { part })?;
    let instant = |second| Timestamp::from_second(second).map_err(|_| CaError::Certificate { part });
    let validity = certificate.validity();
    Ok((instant(validity.not_before.timestamp())?, instant(validity.not_after.timestamp())?))
}

/// The certificates of one part.
pub(super) fn certificates(text: &str, part: &'static str) -> Result<Vec<CertificateDer<'static>>, CaError> {
    pem::certificates(text).map_err(|problem| CaError::Pem { part, problem })
}
