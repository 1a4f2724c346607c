//! Keys as strangers write them, and keys in files.

use std::{io::Write, process::Stdio};

use data_encoding::{BASE64URL, BASE64URL_NOPAD};

use super::*;
use crate::issue::{
    seal::key::{PKCS8_PREFIX, SPKI_PREFIX},
    x509::{PemError, pem},
};

/// The low-order points of the curve and its twist as RFC 7748 reads them (little-endian), and 2^255 - 19 with what comes after it, which
/// are 0 and 1 again.
const LOW_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

fn refusal(bytes: &[u8]) -> SealKeyError {
    SealKey::parse(&BASE64.encode(bytes)).unwrap_err()
}

#[test]
fn no_point_of_low_order_is_sealed_to_in_whatever_form_it_is_written() {
    for point in LOW_ORDER {
        let point = hex(point);
        let mut with_top_bit = point.clone();
        with_top_bit[31] |= 0x80;
        for point in [point, with_top_bit] {
            let expected = if point.iter().all(|byte| *byte == 0) { SealKeyError::Zero } else { SealKeyError::LowOrder };
            assert_eq!(refusal(&point), expected, "{}", HEXLOWER.encode(&point));
        }
    }
}

#[test]
fn a_key_has_one_encoding() {
    for (last, first) in [(0x7f, 0xef), (0x7f, 0xff), (0xff, 0x05), (0x80, 0x09)] {
        let mut point = [if last == 0x80 { 0 } else { 0xff }; 32];
        (point[0], point[31]) = (first, last);
        assert_eq!(refusal(&point), SealKeyError::NotCanonical, "{point:x?}");
    }
    let mut base_point = [0; 32];
    base_point[0] = 9;
    assert_eq!(SealKey::parse(&BASE64.encode(&base_point)).unwrap().bytes(), &base_point);
    // The largest: 2^255 - 21, which lies on the twist, where X25519 is as good.
    let mut largest = [0xff; 32];
    (largest[0], largest[31]) = (0xeb, 0x7f);
    assert!(SealKey::parse(&BASE64.encode(&largest)).is_ok());
}

#[test]
fn what_is_no_key_of_this_suite_is_named() {
    let point = |length: usize, first: u8| [&[first][..], &vec![7; length - 1]].concat();
    for (bytes, kind) in [
        (point(65, 4), "a P-256 key"),
        (point(33, 2), "a P-256 key"),
        (point(97, 4), "a P-384 key"),
        (point(133, 4), "a P-521 key"),
        (point(56, 9), "an X448 key"),
        (point(800, 1), "an ML-KEM-512 key"),
        (point(1184, 1), "an ML-KEM-768 key"),
        (point(1216, 1), "an X-Wing key (ML-KEM-768 and X25519)"),
        (point(91, 0x30), "a key of another kind in DER"),
    ] {
        assert_eq!(refusal(&bytes), SealKeyError::OtherKind { kind });
    }
    assert_eq!(refusal(&[SPKI_PREFIX, &[9; 32]].concat()), SealKeyError::Wrapped);
    assert_eq!(refusal(&[PKCS8_PREFIX, &[9; 32]].concat()), SealKeyError::Private);
    for length in [1, 16, 31, 33, 64] {
        assert_eq!(refusal(&vec![7; length]), SealKeyError::Length { length });
    }
}

#[test]
fn what_is_no_key_at_all_is_named_too_and_every_refusal_says_what_to_send() {
    let key = [0xfb; 31].into_iter().chain([0x3f]).collect::<Vec<u8>>();
    let good = BASE64.encode(&key);
    assert!(SealKey::parse(&good).is_ok());
    let public = pem::encode("PUBLIC KEY", &[SPKI_PREFIX, &key].concat());
    let private = OpeningKey::generate().unwrap().to_pem();
    for (text, expected) in [
        (String::new(), SealKeyError::Empty),
        ("A".repeat(2049), SealKeyError::TooLong { length: 2049 }),
        (public, SealKeyError::Pem),
        (private.expose().clone(), SealKeyError::Private),
        (BASE64URL.encode(&key), SealKeyError::OtherBase64 { kind: "for URLs" }),
        (BASE64URL_NOPAD.encode(&key), SealKeyError::OtherBase64 { kind: "for URLs without padding" }),
        (good.trim_end_matches('=').to_owned(), SealKeyError::OtherBase64 { kind: "without padding" }),
        (format!("{good}\n"), SealKeyError::NotBase64),
        (format!(" {good}"), SealKeyError::NotBase64),
        ("my key".into(), SealKeyError::NotBase64),
        // The same bytes with other unused bits.
        (format!("{}9=", &good[..42]), SealKeyError::NotBase64),
    ] {
        let refused = SealKey::parse(&text).unwrap_err();
        assert_eq!(refused, expected, "{text}");
        let said = refused.to_string();
        assert!(said.contains("32 bytes of an X25519 public key in standard base64") && said.len() < 400, "{said}");
    }
}

#[test]
fn a_key_file_is_read_back_and_is_what_openssl_reads_and_writes() {
    let key = OpeningKey::generate().unwrap();
    let again = OpeningKey::from_pem(&key.to_pem()).unwrap();
    assert_eq!((again.public_base64(), again.to_pem()), (key.public_base64(), key.to_pem()));
    assert_eq!(key.fits(&key.public_base64()), Ok(true));
    assert_eq!(key.fits(&OpeningKey::generate().unwrap().public_base64()), Ok(false));
    assert!(key.fits("nonsense").is_err());

    let Some(spki) = openssl(&["pkey", "-pubout", "-outform", "DER"], key.to_pem().expose()) else { return };
    assert_eq!(spki, [SPKI_PREFIX, &BASE64.decode(key.public_base64().as_bytes()).unwrap()].concat());
    let made = String::from_utf8(openssl(&["genpkey", "-algorithm", "X25519"], "").unwrap()).unwrap();
    assert_eq!(OpeningKey::from_pem(&secret(&made)).unwrap().to_pem().expose(), &made);
}

/// What openssl prints; `None`, and said, where it is not installed.
fn openssl(args: &[&str], input: &str) -> Option<Vec<u8>> {
    let mut command = std::process::Command::new("openssl");
    let Ok(mut child) = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else {
        eprintln!("skipped what openssl would judge: it is not installed");
        return None;
    };
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{args:?}");
    Some(output.stdout)
}

#[test]
fn a_file_that_holds_no_such_key_is_told_what_it_is() {
    let key = OpeningKey::generate().unwrap();
    let pkcs8 = |bytes: &[u8]| pem::encode("PRIVATE KEY", bytes);
    for (text, expected) in [
        (String::new(), KeyFileError::Pem(PemError::Absent { label: "PRIVATE KEY" })),
        (key.public_base64(), KeyFileError::Public),
        (format!("{}\n", key.public_base64()), KeyFileError::Public),
        (pem::encode("PUBLIC KEY", &[SPKI_PREFIX, &[9; 32]].concat()), KeyFileError::Public),
        (pem::encode("ENCRYPTED PRIVATE KEY", b"x"), KeyFileError::Encrypted),
        (pem::encode("EC PRIVATE KEY", b"x"), KeyFileError::Pem(PemError::Label { label: "PRIVATE KEY" })),
        (crate::issue::x509::generate_key().unwrap().0.expose().clone(), KeyFileError::Kind),
        (pkcs8(&[PKCS8_PREFIX, &[9; 31]].concat()), KeyFileError::Kind),
        (pkcs8(&[PKCS8_PREFIX, &[9; 33]].concat()), KeyFileError::Kind),
        (format!("{0}{0}", key.to_pem().expose()), KeyFileError::Pem(PemError::Several)),
    ] {
        let refused = OpeningKey::from_pem(&secret(&text)).unwrap_err();
        assert_eq!(refused, expected);
    }
}

#[test]
fn a_private_key_is_never_printed() {
    let key = OpeningKey::generate().unwrap();
    let body = key.to_pem().expose().lines().nth(1).unwrap().to_owned();
    let said = format!("{key:?} {:?}", key.to_pem());
    assert!(said.contains("[redacted]") && !said.contains(&body[40..]), "{said}");
    // Nor is one that somebody took for a public key.
    for sent in [key.to_pem().expose().clone(), body.clone()] {
        let said = SealKey::parse(&sent).unwrap_err();
        assert_eq!(said, SealKeyError::Private);
        assert!(!format!("{said} {said:?}").contains(&body[22..32]));
    }
}
