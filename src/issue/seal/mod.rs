//! Sealed delivery: what a pod gets lies in etcd, and in its backups, readable with a key that never left the pod.
//!
//! HPKE (RFC 9180), base mode, one suite. A [`SealKey`] exists only for a public key that can be sealed to; [`seal`] binds what it seals to the
//! request, the pod and the class of its [`Context`]; an [`OpeningKey`] is the pod's half. docs/sealing.md says the same for those who write
//! an opener of their own, and `tests/vectors/seal.json` holds examples.
//!
//! No I/O, no clock, and random only where a key is made. The operator parses and seals; the pod's side and `daypass open` make keys and open.

mod key;
mod opening;
#[cfg(test)]
mod tests;

use data_encoding::BASE64;
pub use key::{SealKey, SealKeyError};
pub use opening::{KeyFileError, OpenError, OpeningKey};
use rustls::crypto::{
    aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_CHACHA20_POLY1305,
    hpke::{Hpke, HpkePublicKey},
};

use crate::{api::SealedCredential, secret::Secret};

/// What version 1 is made with.
static HPKE: &dyn Hpke = DH_KEM_X25519_HKDF_SHA256_CHACHA20_POLY1305;
/// The same by the names that IANA gives to KEM, KDF and AEAD; what stands in `suite`.
pub const SUITE: &str = "X25519-HKDF-SHA256/HKDF-SHA256/ChaCha20Poly1305";
/// Version of what is sealed and of how it is bound: the credential's own text, and [`Context`].
pub const VERSION: i64 = 1;
/// HPKE's `info`: keeps a key from opening what another protocol sealed to it.
pub const INFO: &[u8] = b"daypass.dev/seal/v1";
/// Longest text that can be sealed, in bytes: with its tag it fills the 16 KiB of base64 that a status may hold.
pub const LONGEST: usize = 16384 / 4 * 3 - TAG;

/// What the AEAD adds, in bytes.
const TAG: usize = 16;

/// What a sealed credential is bound to: it opens for this request alone, and says nothing of any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context<'a> {
    /// UID of the AccessRequest.
    pub request_uid: &'a str,
    /// UID of the pod that asked, as stamped.
    pub pod_uid: &'a str,
    /// Name of the class.
    pub class: &'a str,
}

impl Context<'_> {
    /// HPKE's `aad`: the three in this order, a line feed between them. `None` if one is empty or holds a line feed itself, which the names
    /// and UIDs of Kubernetes never do: two contexts must not look the same.
    fn aad(&self) -> Option<Vec<u8>> {
        let parts = [self.request_uid, self.pod_uid, self.class];
        let plain = parts.iter().all(|part| !part.is_empty() && !part.contains('\n'));
        plain.then(|| parts.join("\n").into_bytes())
    }
}

/// Why nothing was sealed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// A part of the context is empty or holds a line break.
    #[error("a credential can only be sealed for a request, a pod and a class that have a UID or a name")]
    Context,
    /// The credential is too long for a status.
    #[error("the credential has {length} bytes; at most {LONGEST} can be sealed into a status")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// The cryptographic library refuses; [`SealKey::parse`] keeps every known cause out.
    #[error("the credential could not be sealed")]
    Refused,
}

/// Seals a credential to a key. Two calls never give the same result.
pub fn seal(key: &SealKey, context: &Context<'_>, plaintext: &Secret<String>) -> Result<SealedCredential, SealError> {
    let aad = context.aad().ok_or(SealError::Context)?;
    let text = plaintext.expose().as_bytes();
    if text.len() > LONGEST {
        return Err(SealError::TooLong { length: text.len() });
    }
    let (enc, ciphertext) = HPKE.seal(INFO, &aad, text, &HpkePublicKey(key.bytes().to_vec())).map_err(|_| SealError::Refused)?;
    Ok(SealedCredential { version: VERSION, suite: SUITE.into(), enc: BASE64.encode(&enc.0), ciphertext: BASE64.encode(&ciphertext) })
}
