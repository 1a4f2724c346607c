//! SealedCredential: a credential that only the holder of one private key can read, as it stands in a status.
//!
//! Owns the shape and its bounds. Must never hold anything readable: `issue::seal` makes and opens it, `daypass open` and the pod's side
//! read it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A credential, sealed with HPKE (RFC 9180, base mode) to the public key of `spec.sealTo`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SealedCredential {
    /// Version of what is sealed and of how it is bound to its request: 1.
    #[schemars(range(min = 1, max = 255))]
    pub version: i64,
    /// KEM, KDF and AEAD by the names that IANA gives them: `X25519-HKDF-SHA256/HKDF-SHA256/ChaCha20Poly1305`.
    #[schemars(length(min = 1, max = 128))]
    pub suite: String,
    /// The encapsulated key in base64.
    #[schemars(length(min = 1, max = 2048))]
    pub enc: String,
    /// The sealed credential in base64, at most 16 KiB of text.
    #[schemars(length(min = 1, max = 16384))]
    pub ciphertext: String,
}
