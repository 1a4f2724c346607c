//! Names and hashes that are derived, never chosen: the same input gives the same name on every replica and after every restart.

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::{BASE32_NOPAD, HEXLOWER};

/// SHA-256 in lower-case hex.
pub fn hex_sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest(&SHA256, bytes).as_ref())
}

/// Name of the lease of one attempt to serve one request: `lease-` and 160 bits of SHA-256(installation, request UID, attempt) in
/// lower-case base32.
pub fn lease_name(installation: &str, request_uid: &str, attempt: i64) -> String {
    // Length-prefixed, so that no two inputs run together to the same bytes.
    let input = format!("{}:{installation}{}:{request_uid}{attempt}", installation.len(), request_uid.len());
    let hash = digest(&SHA256, input.as_bytes());
    format!("lease-{}", BASE32_NOPAD.encode(&hash.as_ref()[..20]).to_lowercase())
}

/// Name of the Secret that the token of one attempt is bound to, where it lies in another namespace than the request: `daypass-token-` and
/// the same bits as in [`lease_name`].
pub fn bound_secret_name(installation: &str, request_uid: &str, attempt: i64) -> String {
    lease_name(installation, request_uid, attempt).replacen("lease-", "daypass-token-", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_like_everybody_else() {
        assert_eq!(hex_sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn lease_names_differ_whenever_anything_differs_and_fit_a_dns_label() {
        let names: std::collections::BTreeSet<String> = [("i", "u", 0), ("i", "u", 1), ("i", "u1", 0), ("iu", "", 0), ("", "iu", 0)]
            .iter()
            .map(|(i, u, a)| lease_name(i, u, *a))
            .collect();
        assert_eq!(names.len(), 5);
        assert!(
            names.iter().all(|n| n.len() == 38 && n.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')),
            "{names:?}"
        );
        assert_eq!(lease_name("i", "u", 0), lease_name("i", "u", 0));
    }
}
