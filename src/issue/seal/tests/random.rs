//! What nobody thought of: random texts, and one bit that is other than it was.

use proptest::prelude::*;

use super::*;

/// The text with one bit of its base64's bytes flipped.
fn flipped(base64: &str, bit: usize) -> String {
    let mut bytes = BASE64.decode(base64.as_bytes()).unwrap();
    let bit = bit % (bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
    BASE64.encode(&bytes)
}

fn name() -> impl Strategy<Value = String> {
    "[a-z0-9][-a-z0-9.]{0,60}"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_is_sealed_opens_to_the_same_and_one_flipped_bit_keeps_it_shut(
        text in "\\PC{0,200}", request_uid in name(), pod_uid in name(), class in name(), bit in any::<usize>(), which in 0..3,
    ) {
        let key = OpeningKey::generate().unwrap();
        let public = SealKey::parse(&key.public_base64()).unwrap();
        let context = Context { request_uid: &request_uid, pod_uid: &pod_uid, class: &class };
        let sealed = seal(&public, &context, &secret(&text)).unwrap();
        let opened = key.open(&context, &sealed).unwrap();
        prop_assert_eq!(opened.expose(), &text);

        let (mut spoilt, mut aad) = (sealed.clone(), context.aad().unwrap());
        match which {
            0 => spoilt.enc = flipped(&sealed.enc, bit),
            1 => spoilt.ciphertext = flipped(&sealed.ciphertext, bit),
            _ => {
                let bit = bit % (aad.len() * 8);
                aad[bit / 8] ^= 1 << (bit % 8);
            }
        }
        let [enc, ciphertext] = [&spoilt.enc, &spoilt.ciphertext].map(|text| BASE64.decode(text.as_bytes()).unwrap());
        let raw = key.open_raw(&enc, INFO, &aad, &ciphertext);
        // X25519 does not look at the top bit of a point, but HPKE hashes all of it.
        prop_assert!(raw.is_none(), "{which} {bit}");
        let mut info = INFO.to_vec();
        let bit = bit % (info.len() * 8);
        info[bit / 8] ^= 1 << (bit % 8);
        let [enc, ciphertext] = [&sealed.enc, &sealed.ciphertext].map(|text| BASE64.decode(text.as_bytes()).unwrap());
        let raw = key.open_raw(&enc, &info, &context.aad().unwrap(), &ciphertext);
        prop_assert!(raw.is_none());
    }

    #[test]
    fn no_text_panics_a_parser_and_what_is_taken_can_be_sealed_to(text in "\\PC{0,80}", bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        for text in [text.clone(), BASE64.encode(&bytes)] {
            if let Ok(key) = SealKey::parse(&text) {
                prop_assert_eq!(BASE64.encode(key.bytes()), text.clone());
                prop_assert!(seal(&key, &CONTEXT, &secret("a token")).is_ok());
            }
            let _ = OpeningKey::from_pem(&secret(&text));
            let _ = OpeningKey::from_pem(&secret(&format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")));
        }
        let sealed = SealedCredential { version: 1, suite: SUITE.into(), enc: BASE64.encode(&bytes), ciphertext: text };
        prop_assert!(OpeningKey::generate().unwrap().open(&CONTEXT, &sealed).is_err());
    }

    #[test]
    fn every_32_bytes_that_are_taken_are_a_key_and_most_are(mut bytes in any::<[u8; 32]>()) {
        let taken = SealKey::parse(&BASE64.encode(&bytes));
        prop_assert_eq!(taken.is_ok(), bytes[31] < 0x80, "{:?}", taken);
        bytes[31] &= 0x7f;
        prop_assert!(SealKey::parse(&BASE64.encode(&bytes)).is_ok());
    }
}
