//! What a certificate says, read with a parser that is not the operator's own code.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, pem::PemObject};
use x509_parser::prelude::{CertificateRevocationList, FromDer, GeneralName, X509CertificationRequest};

/// Whether a serial number in hex is on one of these published revocation lists.
pub(super) fn is_listed(lists: &[ConfigMap], serial: &str) -> bool {
    let lists = lists.iter().flat_map(|map| map.binary_data.iter().flatten()).filter(|(key, _)| key.ends_with(".crl"));
    lists.into_iter().any(|(_, list)| {
        let Ok((_, list)) = CertificateRevocationList::from_der(&list.0) else { return false };
        list.iter_revoked_certificates().any(|one| {
            let listed: String = one.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect();
            listed.trim_start_matches('0') == serial.trim_start_matches('0')
        })
    })
}

/// The first certificate of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    /// In lower-case hex.
    pub(super) serial: String,
    pub(super) not_after: Timestamp,
    pub(super) is_ca: bool,
    pub(super) uris: Vec<String>,
    /// Sorted.
    pub(super) dns_names: Vec<String>,
    pub(super) common_name: Option<String>,
    /// The bits of the subject's public key.
    pub(super) public_key: Vec<u8>,
}

impl Leaf {
    /// Reads the first certificate of a PEM text.
    pub(super) fn parse(pem: &str) -> Result<Self, String> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| error.to_string())?;
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).map_err(|error| error.to_string())?;
        let alternative = certificate.subject_alternative_name().map_err(|error| error.to_string())?;
        let (mut uris, mut dns_names) = (Vec::new(), Vec::new());
        for name in alternative.iter().flat_map(|extension| &extension.value.general_names) {
            match name {
                GeneralName::URI(uri) => uris.push((*uri).to_owned()),
                GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
                other => return Err(format!("it has a name of an unexpected kind: {other:?}")),
            }
        }
        dns_names.sort();
        Ok(Self {
            serial: certificate.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect(),
            not_after: Timestamp::from_second(certificate.validity().not_after.timestamp()).map_err(|error| error.to_string())?,
            is_ca: certificate.is_ca(),
            uris,
            dns_names,
            common_name: certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok()).map(str::to_owned),
            public_key: certificate.public_key().subject_public_key.data.to_vec(),
        })
    }

    /// Whether it is for the key of this signing request.
    pub(super) fn is_of_csr(&self, pem: &str) -> bool {
        let Ok(der) = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()) else { return false };
        let Ok((_, csr)) = X509CertificationRequest::from_der(&der) else { return false };
        *csr.certification_request_info.subject_pki.subject_public_key.data == *self.public_key
    }

    /// Whether it is for this private key.
    pub(super) fn is_of_private_key(&self, pem: &str) -> bool {
        use rcgen::PublicKeyData;
        rcgen::KeyPair::from_pem(pem).is_ok_and(|key| key.der_bytes() == self.public_key)
    }
}
