//! Public keys that a certificate may carry, and key pairs made here.
//!
//! A [`RequestedKey`] exists only for a key of an allowed kind in its one canonical encoding. Private keys live in
//! [`crate::secret::Secret`] alone. Called by `csr`, `authority`, `root` and the controller (delivery Secret).

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ParsedPublicKey};
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData, SignatureAlgorithm, SigningKey,
    SubjectPublicKeyInfo,
};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use x509_parser::prelude::FromDer;
use zeroize::Zeroize;

use super::pem;
use crate::secret::Secret;

/// A public key that may be put into a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestedKey(SubjectPublicKeyInfo);

/// Why a key is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The SubjectPublicKeyInfo is not one, or not in its canonical form.
    #[error("the public key is not a well-formed SubjectPublicKeyInfo")]
    Malformed,
    /// A kind of key that is not issued for.
    #[error("the public key is {found}; use ECDSA P-256, ECDSA P-384 or Ed25519")]
    Kind {
        /// Kind that was found.
        found: &'static str,
    },
    /// The bytes are no point of the named curve, or a point that proves nothing.
    #[error("the public key is not a valid point of its curve in uncompressed form")]
    Point,
    /// A private key could not be read.
    #[error("the private key cannot be read; give an unencrypted PKCS#8, SEC1 or PKCS#1 key in PEM")]
    Private,
    /// A key pair could not be made.
    #[error("no key pair could be generated")]
    Generate,
}

impl RequestedKey {
    /// Accepts the DER of a SubjectPublicKeyInfo, or says why not.
    pub(super) fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        let key = SubjectPublicKeyInfo::from_der(der).map_err(|_| kind(der))?;
        let point = key.der_bytes();
        // Lengths are checked here because the verifier below is more generous: it also takes compressed points, and even a whole
        // SubjectPublicKeyInfo inside the bit string, and such a key would go into the certificate as it stands.
        let valid = if key.algorithm() == &PKCS_ECDSA_P256_SHA256 {
            point.len() == 65 && point[0] == 4 && ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).is_ok()
        } else if key.algorithm() == &PKCS_ECDSA_P384_SHA384 {
            point.len() == 97 && point[0] == 4 && ParsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, point).is_ok()
        } else if key.algorithm() == &PKCS_ED25519 {
            point.len() == 32 && !has_small_order(point)
        } else {
            return Err(kind(der));
        };
        if !valid {
            return Err(KeyError::Point);
        }
        // One key, one encoding: unused bits, sloppy lengths and trailing bytes would not survive being written again.
        if key.subject_public_key_info() != der {
            return Err(KeyError::Malformed);
        }
        Ok(Self(key))
    }

    /// DER of the SubjectPublicKeyInfo.
    pub fn spki_der(&self) -> Vec<u8> {
        self.0.subject_public_key_info()
    }

    pub(super) fn spki(&self) -> &SubjectPublicKeyInfo {
        &self.0
    }
}

/// A fresh ECDSA P-256 key pair, for delivery in a Secret: the private key as PKCS#8 PEM, and its public half.
pub fn generate_key() -> Result<(Secret<String>, RequestedKey), KeyError> {
    let pair = CaKey::generate()?;
    let public = RequestedKey::from_spki(&pair.subject_public_key_info())?;
    Ok((pair.to_pem(), public))
}

/// The key pair of a certificate authority.
pub(super) struct CaKey(Secret<KeyPair>);

impl CaKey {
    pub(super) fn generate() -> Result<Self, KeyError> {
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map(|pair| Self(Secret::new(pair))).map_err(|_| KeyError::Generate)
    }

    /// The first private key of a PEM text; other blocks (`EC PARAMETERS`) are passed over.
    pub(super) fn from_pem(text: &Secret<String>) -> Result<Self, KeyError> {
        let mut der = PrivateKeyDer::from_pem_slice(text.expose().as_bytes()).map_err(|_| KeyError::Private)?;
        let pair = KeyPair::try_from(&der).map(|pair| Self(Secret::new(pair))).map_err(|_| KeyError::Private);
        der.zeroize();
        pair
    }

    /// Whether this is the key of that certificate.
    pub(super) fn belongs_to(&self, certificate: &[u8]) -> bool {
        let parsed = x509_parser::certificate::X509Certificate::from_der(certificate);
        parsed.is_ok_and(|(_, parsed)| parsed.public_key().subject_public_key.data.as_ref() == self.der_bytes())
    }

    pub(super) fn to_pem(&self) -> Secret<String> {
        Secret::new(pem::encode("PRIVATE KEY", self.0.expose().serialized_der()))
    }
}

impl PublicKeyData for CaKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.expose().der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.0.expose().algorithm()
    }
}

impl SigningKey for CaKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.expose().sign(message)
    }
}

/// What a refused key is called among people.
fn kind(spki: &[u8]) -> KeyError {
    use x509_parser::{asn1_rs::Tag, x509::SubjectPublicKeyInfo};

    let Ok((_, spki)) = SubjectPublicKeyInfo::from_der(spki) else { return KeyError::Malformed };
    // The tag is asked for because as_oid() does not: explicit parameters would pass for the OID of some curve.
    let parameters = spki.algorithm.parameters.as_ref().filter(|parameters| parameters.tag() == Tag::Oid);
    let curve = parameters.and_then(|parameters| parameters.as_oid().ok()).map(|oid| oid.to_id_string());
    let found = match (spki.algorithm.algorithm.to_id_string().as_str(), curve.as_deref()) {
        ("1.2.840.113549.1.1.1" | "1.2.840.113549.1.1.10", _) => "RSA",
        ("1.2.840.10040.4.1", _) => "DSA",
        ("1.3.101.113", _) => "Ed448",
        ("1.3.101.110" | "1.3.101.111", _) => "a key-agreement key, which cannot sign",
        ("1.2.840.10045.2.1", Some("1.3.132.0.33")) => "ECDSA P-224",
        ("1.2.840.10045.2.1", Some("1.3.132.0.35")) => "ECDSA P-521",
        ("1.2.840.10045.2.1", Some("1.3.132.0.10")) => "ECDSA secp256k1",
        // An allowed kind, but not written as it should be.
        ("1.3.101.112", _) | ("1.2.840.10045.2.1", Some("1.2.840.10045.3.1.7" | "1.3.132.0.34")) => return KeyError::Malformed,
        ("1.2.840.10045.2.1", Some(_)) => "ECDSA on an unknown curve",
        ("1.2.840.10045.2.1", None) => "ECDSA without a named curve",
        _ => "of an unknown kind",
    };
    KeyError::Kind { found }
}

/// The encodings of the eight Ed25519 points of small order, without their sign bit. With such a "key" everybody can make signatures, so
/// the signature of a CSR would prove nothing (RFC 8032 leaves the check to the user; the list is libsodium's).
fn has_small_order(point: &[u8]) -> bool {
    const ORDER_8: [[u8; 32]; 2] = [
        *b"\x26\xe8\x95\x8f\xc2\xb2\x27\xb0\x45\xc3\xf4\x89\xf2\xef\x98\xf0\xd5\xdf\xac\x05\xd3\xc6\x33\x39\xb1\x38\x02\x88\x6d\x53\xfc\x05",
        *b"\xc7\x17\x6a\x70\x3d\x4d\xd8\x4f\xba\x3c\x0b\x76\x0d\x10\x67\x0f\x2a\x20\x53\xfa\x2c\x39\xcc\xc6\x4e\xc7\xfd\x77\x92\xac\x03\x7a",
    ];
    let Some((last, rest)) = point.split_last() else { return true };
    let last = last & 0x7f;
    let is = |first: &[u8], fill: u8, end: u8| last == end && first.contains(&rest[0]) && rest[1..].iter().all(|byte| *byte == fill);
    // y = 0 and 1; y = p - 1, and p and p + 1, which are 0 and 1 again.
    let trivial = is(&[0, 1], 0, 0) || is(&[0xec, 0xed, 0xee], 0xff, 0x7f);
    trivial || ORDER_8.iter().any(|known| known[..31] == *rest && known[31] == last)
}

#[cfg(test)]
mod tests {
    use rcgen::{PKCS_ECDSA_P521_SHA512, PKCS_RSA_SHA256};

    use super::*;
    use crate::issue::x509::der::{BIT_STRING, SEQUENCE, tlv};

    fn spki(algorithm: &'static SignatureAlgorithm) -> Vec<u8> {
        KeyPair::generate_for(algorithm).unwrap().subject_public_key_info()
    }

    /// The SubjectPublicKeyInfo with other bytes (unused-bits byte first) in its bit string.
    fn with_bits(der: &[u8], bits: &[u8]) -> Vec<u8> {
        let (_, parsed) = x509_parser::x509::SubjectPublicKeyInfo::from_der(der).unwrap();
        let length = usize::from(der[3]) + 2;
        assert_eq!(parsed.raw, der);
        tlv(SEQUENCE, &[&der[2..2 + length], &tlv(BIT_STRING, &[bits])])
    }

    #[test]
    fn keys_of_the_three_kinds_are_accepted_as_they_are() {
        for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
            let der = spki(algorithm);
            assert_eq!(RequestedKey::from_spki(&der).unwrap().spki_der(), der, "{algorithm:?}");
        }
    }

    #[test]
    fn other_kinds_are_refused_by_name() {
        for (algorithm, found) in [(&PKCS_RSA_SHA256, "RSA"), (&PKCS_ECDSA_P521_SHA512, "ECDSA P-521")] {
            assert_eq!(RequestedKey::from_spki(&spki(algorithm)), Err(KeyError::Kind { found }));
        }
    }

    #[test]
    fn a_key_has_one_encoding() {
        let der = spki(&PKCS_ECDSA_P256_SHA256);
        let mut bits = vec![0];
        bits.extend_from_slice(&der[der.len() - 65..]);
        assert_eq!(with_bits(&der, &bits), der);

        let compressed = [&[0, 2 + (bits[65] & 1)], &bits[2..34]].concat();
        assert_eq!(RequestedKey::from_spki(&with_bits(&der, &compressed)), Err(KeyError::Point));
        let nested = [&[0], der.as_slice()].concat();
        assert_eq!(RequestedKey::from_spki(&with_bits(&der, &nested)), Err(KeyError::Point), "aws-lc verifies with this one");
        let mut off_curve = bits.clone();
        off_curve[65] ^= 1;
        assert_eq!(RequestedKey::from_spki(&with_bits(&der, &off_curve)), Err(KeyError::Point));
        assert_eq!(RequestedKey::from_spki(&with_bits(&der, &[0, 0])), Err(KeyError::Point), "the point at infinity");
        assert_eq!(RequestedKey::from_spki(&[der.as_slice(), &[0]].concat()), Err(KeyError::Malformed));
        assert_eq!(RequestedKey::from_spki(b""), Err(KeyError::Malformed));
    }

    #[test]
    fn unused_bits_do_not_make_a_second_encoding() {
        let der = spki(&PKCS_ED25519);
        let mut bits = [&[1], &der[12..]].concat();
        let last = bits.len() - 1;
        bits[last] &= 0xfe;
        assert!(matches!(RequestedKey::from_spki(&with_bits(&der, &bits)), Err(KeyError::Malformed)));
    }

    #[test]
    fn points_with_which_everybody_can_sign_are_refused() {
        let der = spki(&PKCS_ED25519);
        let end = |fill: u8, last: u8| [vec![fill; 30], vec![last]].concat();
        let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
        let points = [
            [vec![0], end(0, 0)].concat(),
            [vec![1], end(0, 0)].concat(),
            [vec![0xec], end(0xff, 0x7f)].concat(),
            [vec![0xed], end(0xff, 0x7f)].concat(),
            [vec![0xee], end(0xff, 0x7f)].concat(),
            hex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
            hex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
        ];
        for mut point in points {
            for sign in [0, 0x80] {
                point[31] |= sign;
                let bits = [&[0], point.as_slice()].concat();
                assert_eq!(RequestedKey::from_spki(&with_bits(&der, &bits)), Err(KeyError::Point), "{point:x?}");
            }
        }
    }

    #[test]
    fn a_generated_key_reads_back_and_is_never_printed() {
        let (private, public) = generate_key().unwrap();
        assert_eq!(CaKey::from_pem(&private).unwrap().subject_public_key_info(), public.spki_der());
        assert_eq!(format!("{private:?}"), "[redacted]");
        assert!(matches!(CaKey::from_pem(&Secret::new("nonsense".into())), Err(KeyError::Private)));
    }
}
