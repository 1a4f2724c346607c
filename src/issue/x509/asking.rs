//! The pod's half of a certificate: a key pair made in memory and a signing request that asks for nothing but its key.
//!
//! Called by the pod's side; the operator never makes one.

use rcgen::{CertificateParams, DistinguishedName, PublicKeyData};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::{
    key::{CaKey, KeyError},
    pem,
};
use crate::secret::Secret;

/// A private key and the signing request for it.
#[derive(Debug)]
pub struct KeyRequest {
    /// The private key as PKCS#8 PEM.
    pub key: Secret<String>,
    /// The signing request as PKCS#10 PEM.
    pub csr: String,
}

impl KeyRequest {
    /// A fresh ECDSA P-256 key pair.
    pub fn generate() -> Result<Self, KeyError> {
        let pair = CaKey::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&pair).map_err(|_| KeyError::Generate)?;
        Ok(Self { key: pair.to_pem(), csr: pem::encode("CERTIFICATE REQUEST", request.der()) })
    }
}

/// Whether the first certificate of a chain (PEM) is for this private key (PEM).
pub fn belongs(chain: &str, key: &Secret<String>) -> bool {
    let (Ok(chain), Ok(pair)) = (pem::certificates(chain), CaKey::from_pem(key)) else { return false };
    X509Certificate::from_der(&chain[0]).is_ok_and(|(_, leaf)| leaf.public_key().raw == pair.subject_public_key_info())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issue::x509::{Names, csr};

    #[test]
    fn what_a_pod_sends_is_what_the_operator_takes() {
        let made = KeyRequest::generate().unwrap();
        let nothing = Names { uri: String::new(), common_name: None, dns_names: Vec::new() };
        let asked = csr::parse(&made.csr, &nothing).unwrap();
        assert_eq!(asked.spki_der(), CaKey::from_pem(&made.key).unwrap().subject_public_key_info());
        assert!(!format!("{made:?}").contains("PRIVATE"), "the key is not printed");
    }

    #[test]
    fn a_certificate_belongs_to_its_own_key_alone() {
        let pair = rcgen::KeyPair::generate().unwrap();
        let chain = CertificateParams::new(["a".to_owned()]).unwrap().self_signed(&pair).unwrap().pem();
        assert!(belongs(&chain, &Secret::new(pair.serialize_pem())));
        assert!(!belongs(&chain, &KeyRequest::generate().unwrap().key));
        assert!(!belongs("", &Secret::new(pair.serialize_pem())) && !belongs(&chain, &Secret::new(String::new())));
    }
}
