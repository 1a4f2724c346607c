//! Public keys that can be sealed to, parsed from what a stranger wrote into `spec.sealTo`.
//!
//! Whatever is refused is named, so that a denial says what was sent and what to send. Never repeats the text that it was given: it may be
//! a private key. Called by the controller, by `daypass open` and by the pod's side.

use aws_lc_rs::{
    agreement::{PrivateKey, UnparsedPublicKey, X25519, agree},
    error::Unspecified,
};
use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD};

/// What the schema lets in: longer than the keys that somebody may send by mistake.
const LONGEST: usize = 2048;
/// What stands before the 32 bytes of a key in DER (RFC 8410): SubjectPublicKeyInfo and PKCS#8.
pub(super) const SPKI_PREFIX: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x6e\x03\x21\x00";
pub(super) const PKCS8_PREFIX: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x6e\x04\x22\x04\x20";

/// A public key of X25519 that somebody can hold the private key of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealKey([u8; 32]);

/// Why a text is no key that can be sealed to; a sentence that says what to send.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealKeyError {
    /// Nothing at all.
    #[error("it is empty; {NEXT}")]
    Empty,
    /// Far too much.
    #[error("it is {length} characters long, far longer than a key; {NEXT}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// A PEM block.
    #[error("it is PEM; {NEXT}")]
    Pem,
    /// A private key, which whoever can read the request has now.
    #[error("it is a private key, and whoever may read the request has read it: make a new pair, and {NEXT}")]
    Private,
    /// Base64 of another kind.
    #[error("it is base64 {kind}, not standard base64 with padding; {NEXT}")]
    OtherBase64 {
        /// What is different.
        kind: &'static str,
    },
    /// No base64.
    #[error("it is not standard base64 (line breaks and spaces are none either); {NEXT}")]
    NotBase64,
    /// A key of another suite, by its length or form.
    #[error("it looks like {kind}, and this version seals to X25519 alone; {NEXT}")]
    OtherKind {
        /// What it looks like.
        kind: &'static str,
    },
    /// A key with its algorithm around it.
    #[error("it is a whole SubjectPublicKeyInfo (DER), of which the key is the last 32 bytes; {NEXT}")]
    Wrapped,
    /// No key that is known.
    #[error("it is {length} bytes long, and a key of X25519 has 32; {NEXT}")]
    Length {
        /// Its length in bytes.
        length: usize,
    },
    /// Only zeros: what is left of a buffer that nobody filled.
    #[error("it is all zeros, which is no key; {NEXT}")]
    Zero,
    /// A point with which the shared secret is known to everybody.
    #[error("it is a point of low order: everybody could open what is sealed to it; {NEXT}")]
    LowOrder,
    /// Another way to write a key, which its owner would not recognise.
    #[error("it is a key in a form that nobody computes (not reduced modulo 2^255 - 19): what is sealed to it could not be opened; {NEXT}")]
    NotCanonical,
}

/// The next step that every one of them ends with.
const NEXT: &str = "send the 32 bytes of an X25519 public key in standard base64, as `daypass open --generate-key FILE` prints it";

impl SealKey {
    /// Reads a key from its base64 (44 characters).
    pub fn parse(text: &str) -> Result<Self, SealKeyError> {
        if text.is_empty() {
            return Err(SealKeyError::Empty);
        }
        if text.len() > LONGEST {
            return Err(SealKeyError::TooLong { length: text.len() });
        }
        if text.contains("-----BEGIN") {
            return Err(if text.contains("PRIVATE KEY") { SealKeyError::Private } else { SealKeyError::Pem });
        }
        let bytes = BASE64.decode(text.as_bytes()).map_err(|_| other_base64(text))?;
        let key = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| other_key(&bytes))?;
        if key == [0; 32] {
            return Err(SealKeyError::Zero);
        }
        if has_low_order(&key) {
            return Err(SealKeyError::LowOrder);
        }
        if !is_canonical(&key) {
            return Err(SealKeyError::NotCanonical);
        }
        Ok(Self(key))
    }

    /// The key itself.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

fn other_base64(text: &str) -> SealKeyError {
    let text = text.as_bytes();
    let kinds = [
        (BASE64_NOPAD.decode(text), "without padding"),
        (BASE64URL.decode(text), "for URLs"),
        (BASE64URL_NOPAD.decode(text), "for URLs without padding"),
    ];
    let found = kinds.into_iter().find(|(decoded, _)| decoded.as_ref().is_ok_and(|bytes| bytes.len() == 32));
    found.map_or(SealKeyError::NotBase64, |(_, kind)| SealKeyError::OtherBase64 { kind })
}

/// What bytes of another length than ours look like. Lengths of the KEMs of RFC 9180 and of those that IANA has registered since.
fn other_key(bytes: &[u8]) -> SealKeyError {
    if bytes.len() == 44 && bytes.starts_with(SPKI_PREFIX) {
        return SealKeyError::Wrapped;
    }
    if bytes.len() == 48 && bytes.starts_with(PKCS8_PREFIX) {
        return SealKeyError::Private;
    }
    let kind = match (bytes.len(), bytes.first()) {
        (65, Some(4)) | (33, Some(2 | 3)) => "a P-256 key",
        (97, Some(4)) | (49, Some(2 | 3)) => "a P-384 key",
        (133, Some(4)) | (67, Some(2 | 3)) => "a P-521 key",
        (56, _) => "an X448 key",
        (800, _) => "an ML-KEM-512 key",
        (1184, _) => "an ML-KEM-768 key",
        (1216, _) => "an X-Wing key (ML-KEM-768 and X25519)",
        (1249, _) => "a key of ML-KEM-768 and P-256",
        (length, Some(0x30)) if length > 32 => "a key of another kind in DER",
        (length, _) => return SealKeyError::Length { length },
    };
    SealKeyError::OtherKind { kind }
}

/// Whether the shared secret with this point is known to everybody, in whatever form it is written: a secret scalar is a multiple of eight
/// and less than the large orders of the curve and its twist times eight, so it takes such a point to zero, and no other one. Computed rather
/// than looked up; the library refuses a result of zero.
fn has_low_order(point: &[u8; 32]) -> bool {
    // Any scalar shows it, so one that is known does.
    let Ok(scalar) = PrivateKey::from_private_key(&X25519, &[0x5a; 32]) else { return true };
    agree(&scalar, UnparsedPublicKey::new(&X25519, point), Unspecified, |_| Ok(())).is_err()
}

/// Whether the point is written as a number below 2^255 - 19. X25519 would take the others too, but HPKE hashes what is written.
fn is_canonical(point: &[u8; 32]) -> bool {
    let [first, middle @ .., last] = point;
    *last < 0x7f || (*last == 0x7f && (*first < 0xed || middle.iter().any(|byte| *byte != 0xff)))
}
