//! PEM, as strict as each use needs: strangers get exactly one block, platform teams may bring a chain.
//!
//! Never fails with the text that it was given. Called by `csr`, `key`, `material`, `authority`, `managed` and `issue::seal`.

use data_encoding::BASE64;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use zeroize::Zeroizing;

/// What is wrong with a PEM text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// No block at all.
    #[error("there is no PEM block; it starts with -----BEGIN {label}-----")]
    Absent {
        /// Label that was expected.
        label: &'static str,
    },
    /// Two or more blocks.
    #[error("there is more than one PEM block; give exactly one")]
    Several,
    /// A block of another kind.
    #[error("the PEM block must be labelled {label}")]
    Label {
        /// Label that was expected.
        label: &'static str,
    },
    /// Text around the block.
    #[error("there is text before or after the PEM block; give the block alone")]
    Around,
    /// The end line is missing.
    #[error("the PEM block does not end with -----END {label}-----")]
    Unterminated {
        /// Label that was expected.
        label: &'static str,
    },
    /// What is inside is not base64.
    #[error("the PEM block does not hold plain base64 (headers are not allowed)")]
    Base64,
}

/// Content of the one block that the text consists of. Nothing but white space may stand around it. What a private key is to be wiped of is
/// the result alone.
pub(in crate::issue) fn only_block(text: &str, label: &'static str) -> Result<Vec<u8>, PemError> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let text = text.trim_ascii();
    match text.matches("-----BEGIN ").count() {
        0 => return Err(PemError::Absent { label }),
        1 => {}
        _ => return Err(PemError::Several),
    }
    if !text.starts_with("-----BEGIN ") {
        return Err(PemError::Around);
    }
    let body = text.strip_prefix(&begin).ok_or(PemError::Label { label })?;
    let body = match body.strip_suffix(&end) {
        Some(body) => body,
        None if body.contains(&end) => return Err(PemError::Around),
        None => return Err(PemError::Unterminated { label }),
    };
    if !body.starts_with(['\n', '\r']) {
        return Err(PemError::Base64);
    }
    let packed = Zeroizing::new(body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect::<Vec<u8>>());
    BASE64.decode(&packed).map_err(|_| PemError::Base64)
}

/// Every certificate of a chain or bundle, in order; other blocks and text between them are left out. At least one.
pub(super) fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<_, _>>().map_err(|_| PemError::Base64)?;
    if found.is_empty() { Err(PemError::Absent { label: "CERTIFICATE" }) } else { Ok(found) }
}

/// Certificates as PEM, one block after the other: only what was parsed, so that nothing that stood between them is passed on.
pub(super) fn encode_certificates<'a>(certificates: impl IntoIterator<Item = &'a CertificateDer<'static>>) -> String {
    certificates.into_iter().map(|der| encode("CERTIFICATE", der)).collect()
}

/// One block, in lines of 64 characters. Works on one buffer that never grows and wipes the other, so that it may be given a private key.
pub(in crate::issue) fn encode(label: &str, der: &[u8]) -> String {
    let base64 = Zeroizing::new(BASE64.encode(der));
    let mut text = String::with_capacity(base64.len() + base64.len() / 64 + 2 * label.len() + 40);
    text.extend(["-----BEGIN ", label, "-----\n"]);
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.extend([line, "\n"]);
        rest = after;
    }
    text.extend(["-----END ", label, "-----\n"]);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABEL: &str = "CERTIFICATE REQUEST";

    #[test]
    fn one_block_with_white_space_around_it_is_read_back() {
        for length in [0, 1, 47, 48, 49, 200] {
            let der = vec![0xa5; length];
            let text = encode(LABEL, &der);
            assert!(text.lines().all(|line| line.len() <= 64));
            assert_eq!(only_block(&format!("\n \t{}\r\n\n", text.replace('\n', "\r\n")), LABEL).unwrap(), der);
        }
    }

    #[test]
    fn anything_but_one_plain_block_is_refused_for_what_it_is() {
        let good = encode(LABEL, b"some bytes of a request");
        let label = LABEL;
        for (text, expected) in [
            (String::new(), PemError::Absent { label }),
            (format!("{good}{good}"), PemError::Several),
            (format!("{good}{}", encode("CERTIFICATE", b"x")), PemError::Several),
            (format!("hello\n{good}"), PemError::Around),
            (format!("{good}hello"), PemError::Around),
            (format!("{good}-----END X-----"), PemError::Around),
            (encode("NEW CERTIFICATE REQUEST", b"x"), PemError::Label { label }),
            (good.replace("-----END CERTIFICATE REQUEST-----", ""), PemError::Unterminated { label }),
            (good.replacen("REQUEST-----\n", "REQUEST-----\nProc-Type: 4,ENCRYPTED\n\n", 1), PemError::Base64),
            (good.replacen('\n', "", 1), PemError::Base64),
            (good.replace('=', ""), PemError::Base64),
        ] {
            assert_eq!(only_block(&text, LABEL), Err(expected), "{text}");
        }
    }

    #[test]
    fn a_bundle_is_cleaned_of_everything_but_certificates() {
        let (a, b) = (CertificateDer::from(vec![1]), CertificateDer::from(vec![2]));
        let bundle =
            format!("# our root\n{}{}bye\n{}", encode("CERTIFICATE", &a), encode("PRIVATE KEY", b"key"), encode("CERTIFICATE", &b));
        let found = certificates(&bundle).unwrap();
        assert_eq!(found, [a, b]);
        assert!(!encode_certificates(&found).contains("PRIVATE"));
        assert_eq!(certificates("nothing"), Err(PemError::Absent { label: "CERTIFICATE" }));
    }
}
