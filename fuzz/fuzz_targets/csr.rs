//! Whatever a pod sends as a certificate signing request: nothing panics, and what is accepted gives a key and nothing else.
//!
//! The input is taken twice: as the text of `spec.csr`, and as DER that is put into one PEM block, which gets past the first checks.
#![no_main]

use daypass::issue::x509::{Names, csr};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let names = Names {
        uri: "spiffe://shop.example/ns/shop/sa/orders".into(),
        common_name: Some("orders".into()),
        dns_names: vec!["orders.shop.svc".into()],
    };
    let wrapped = format!("-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n", base64(data));
    for text in [String::from_utf8_lossy(data).into_owned(), wrapped] {
        if let Ok(key) = csr::parse(&text, &names) {
            assert!(key.spki_der().len() < 200, "a P-256, P-384 or Ed25519 key is short");
        }
    }
});

fn base64(data: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in data.chunks(3) {
        let bytes = [chunk[0], chunk.get(1).copied().unwrap_or(0), chunk.get(2).copied().unwrap_or(0)];
        let number = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
        for i in 0..4 {
            let character = ALPHABET[(number >> (18 - 6 * i) & 63) as usize] as char;
            text.push(if i > chunk.len() { '=' } else { character });
        }
    }
    text
}
