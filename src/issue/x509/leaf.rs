//! What a certificate for a pod is made of, all of it fixed in the ledger before anything is signed.

use jiff::Timestamp;

use super::{
    key::KeyError,
    names::Names,
    profile::Deviation,
    serial::{Serial, SerialError},
};
use crate::api::class::Usage;

/// Everything that a certificate says, except the key: a value of the lease, so that the same lease always gives the same certificate
/// (up to the randomness of an ECDSA signature).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The names.
    pub names: Names,
    /// The serial number that the ledger allocated.
    pub serial: Serial,
    /// Start of validity, in whole seconds.
    pub not_before: Timestamp,
    /// End of validity, in whole seconds; not after the end of the certificate authority.
    pub not_after: Timestamp,
    /// Extended key usages, at least one.
    pub usages: Vec<Usage>,
    /// UID of the AccessRequest that it answers.
    pub request_uid: String,
    /// Name of the class.
    pub class: String,
    /// Where verifiers find the revocation list, if the class says so.
    pub crl_url: Option<String>,
}

/// A signed certificate that was read again and found to be what was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate and the intermediates up to, and without, the root, as PEM.
    pub pem: String,
    /// The certificate alone.
    pub der: Vec<u8>,
}

/// Why no certificate was released.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The dates are not usable.
    #[error("validity {not_before} to {not_after} is not a span of whole seconds")]
    Validity {
        /// Start that was given.
        not_before: Timestamp,
        /// End that was given.
        not_after: Timestamp,
    },
    /// It would outlive its issuer.
    #[error("the certificate would end at {not_after}, after its certificate authority, which ends at {ca_not_after}; renew the authority")]
    OutlivesAuthority {
        /// End that was given.
        not_after: Timestamp,
        /// End of the authority.
        ca_not_after: Timestamp,
    },
    /// A certificate that nobody could use.
    #[error("the class names no extended key usage")]
    NoUsage,
    /// The encoder refused.
    #[error("the certificate could not be built or signed: {0}")]
    Sign(#[from] rcgen::Error),
    /// What was built is not what was meant. A bug, or a certificate authority that Daypass cannot work with.
    #[error("the certificate was not released: {0}")]
    Profile(#[from] Deviation),
    /// A verifier that trusts the roots refuses it.
    #[error("the certificate was not released: a verifier that trusts the roots says {0:?}")]
    Verify(webpki::Error),
    /// No key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No serial number.
    #[error(transparent)]
    Serial(#[from] SerialError),
}
