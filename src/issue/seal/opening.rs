//! The pod's half of sealed delivery: a key pair, the form in which its private key is kept in a file, and opening.
//!
//! Says of what cannot be opened as much as can be known, and nothing of what was inside. Called by the pod's side and `daypass open`; the
//! operator never holds one of these.

use aws_lc_rs::agreement::{PrivateKey, X25519};
use data_encoding::BASE64;
use rustls::crypto::hpke::{EncapsulatedSecret, HpkePrivateKey};
use zeroize::Zeroizing;

use super::{
    Context, HPKE, INFO, SUITE, VERSION,
    key::{PKCS8_PREFIX, SealKey, SealKeyError},
};
use crate::{
    api::SealedCredential,
    issue::x509::{PemError, pem},
    secret::Secret,
};

/// The one label of a PEM block that is read.
const LABEL: &str = "PRIVATE KEY";

/// A private key of X25519 and its public half.
#[derive(Clone, Debug)]
pub struct OpeningKey {
    private: Secret<[u8; 32]>,
    public: [u8; 32],
}

/// Why a file holds no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// No key pair could be made.
    #[error("no key pair could be generated")]
    Generate,
    /// A public key.
    #[error("it holds a public key; give the file of the private key")]
    Public,
    /// A key that a passphrase protects.
    #[error("the key is encrypted with a passphrase; write it without one (openssl pkey)")]
    Encrypted,
    /// Not one block of PEM.
    #[error("{0}; {NEXT}")]
    Pem(#[from] PemError),
    /// A private key of another kind.
    #[error("it is no private key of X25519 in PKCS#8; {NEXT}")]
    Kind,
}

/// The next step.
const NEXT: &str = "`daypass open --generate-key FILE` or `openssl genpkey -algorithm X25519` makes one";

/// Why a sealed credential was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Sealed by a version that is not known here.
    #[error("it is of version {found}, and this program knows version {VERSION}: use a newer one")]
    Version {
        /// What it says.
        found: i64,
    },
    /// Sealed with another suite.
    #[error("it is sealed with {found:?}, and this program opens {SUITE:?}: use a newer one")]
    Suite {
        /// The beginning of what it says.
        found: String,
    },
    /// A field is no base64, or not as long as it must be.
    #[error("{field} is not what was sealed: it was cut or changed on its way")]
    Malformed {
        /// Which field.
        field: &'static str,
    },
    /// A part of the context is empty or holds a line break.
    #[error("the request has no UID, no pod's UID or no class: give the object as the API server returns it")]
    Context,
    /// It was not made with this key for this request, or was changed since.
    #[error("it was sealed to another key or for another request, or it was changed since")]
    Refused,
    /// What is inside is no text.
    #[error("what was sealed is not text, and so no credential of version {VERSION}")]
    NotText,
}

impl OpeningKey {
    /// A fresh key pair.
    pub fn generate() -> Result<Self, KeyFileError> {
        let (_, private) = HPKE.generate_key_pair().map_err(|_| KeyFileError::Generate)?;
        let bytes = private.secret_bytes().try_into().map_err(|_| KeyFileError::Generate)?;
        Self::from_bytes(bytes)
    }

    /// Reads PKCS#8 in PEM, exactly as `openssl genpkey -algorithm X25519` and [`Self::to_pem`] write it.
    pub fn from_pem(text: &Secret<String>) -> Result<Self, KeyFileError> {
        let text = text.expose();
        if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
            return Err(KeyFileError::Encrypted);
        }
        if text.contains("-----BEGIN PUBLIC KEY-----") || SealKey::parse(text.trim()).is_ok() {
            return Err(KeyFileError::Public);
        }
        let der = Zeroizing::new(pem::only_block(text, LABEL)?);
        let bytes = der.strip_prefix(PKCS8_PREFIX).and_then(|rest| rest.try_into().ok()).ok_or(KeyFileError::Kind)?;
        Self::from_bytes(bytes)
    }

    /// The private key as PKCS#8 in PEM, for a file that its owner alone can read.
    pub fn to_pem(&self) -> Secret<String> {
        let mut der = Zeroizing::new(Vec::with_capacity(PKCS8_PREFIX.len() + 32));
        der.extend_from_slice(PKCS8_PREFIX);
        der.extend_from_slice(self.private.expose());
        Secret::new(pem::encode(LABEL, &der))
    }

    /// The public key as it goes into `spec.sealTo`.
    pub fn public_base64(&self) -> String {
        BASE64.encode(&self.public)
    }

    /// Whether what is sealed to the key of this text can be opened with this one; `Err` says what is wrong with the text.
    pub fn fits(&self, seal_to: &str) -> Result<bool, SealKeyError> {
        SealKey::parse(seal_to).map(|key| *key.bytes() == self.public)
    }

    /// Opens what was sealed to this key in this context.
    pub fn open(&self, context: &Context<'_>, sealed: &SealedCredential) -> Result<Secret<String>, OpenError> {
        if sealed.version != VERSION {
            return Err(OpenError::Version { found: sealed.version });
        }
        if sealed.suite != SUITE {
            return Err(OpenError::Suite { found: sealed.suite.chars().take(80).collect() });
        }
        let malformed = |field| move |_| OpenError::Malformed { field };
        let enc = BASE64.decode(sealed.enc.as_bytes()).map_err(malformed("enc"))?;
        let ciphertext = BASE64.decode(sealed.ciphertext.as_bytes()).map_err(malformed("ciphertext"))?;
        if enc.len() != 32 {
            return Err(OpenError::Malformed { field: "enc" });
        }
        let aad = context.aad().ok_or(OpenError::Context)?;
        let text = self.open_raw(&enc, INFO, &aad, &ciphertext).ok_or(OpenError::Refused)?;
        String::from_utf8(text).map(Secret::new).map_err(|error| {
            drop(Zeroizing::new(error.into_bytes()));
            OpenError::NotText
        })
    }

    /// HPKE alone, without what is ours: what the vectors of RFC 9180 try.
    pub(super) fn open_raw(&self, enc: &[u8], info: &[u8], aad: &[u8], ciphertext: &[u8]) -> Option<Vec<u8>> {
        let private = HpkePrivateKey::from(self.private.expose().to_vec());
        HPKE.open(&EncapsulatedSecret(enc.to_vec()), info, aad, ciphertext, &private).ok()
    }

    fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyFileError> {
        let private = Secret::new(*bytes);
        let computed = PrivateKey::from_private_key(&X25519, private.expose()).ok().and_then(|key| key.compute_public_key().ok());
        let public = computed.and_then(|public| <[u8; 32]>::try_from(public.as_ref()).ok()).ok_or(KeyFileError::Kind)?;
        Ok(Self { private, public })
    }
}
