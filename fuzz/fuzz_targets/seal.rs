//! Whatever a pod sends as a key to seal to, and whatever somebody gives to open: nothing panics, what is taken as a key can be sealed to and
//! is written in one way, and nothing opens that was not sealed.
//!
//! The input is taken as text and as bytes: of a public key, of a private key's file, and of each field of what is sealed.
#![no_main]

use std::sync::LazyLock;

use daypass::{
    api::SealedCredential,
    issue::seal::{Context, OpeningKey, SUITE, SealKey, VERSION, seal},
    secret::Secret,
};
use data_encoding::BASE64;
use libfuzzer_sys::fuzz_target;

const CONTEXT: Context<'_> = Context { request_uid: "r", pod_uid: "p", class: "c" };

static OWN: LazyLock<(OpeningKey, SealedCredential)> = LazyLock::new(|| {
    let key = OpeningKey::generate().expect("a key");
    let public = SealKey::parse(&key.public_base64()).expect("its public half");
    let sealed = seal(&public, &CONTEXT, &Secret::new("a token".into())).expect("sealed");
    (key, sealed)
});

fuzz_target!(|data: &[u8]| {
    let (key, own) = &*OWN;
    for text in [String::from_utf8_lossy(data).into_owned(), BASE64.encode(data)] {
        if let Ok(public) = SealKey::parse(&text) {
            assert_eq!(BASE64.encode(public.bytes()), text, "a key has one encoding");
            assert!(seal(&public, &CONTEXT, &Secret::new("a token".into())).is_ok(), "what is taken can be sealed to");
        }
        let _ = OpeningKey::from_pem(&Secret::new(text.clone()));
        let block = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
        if let Ok(read) = OpeningKey::from_pem(&Secret::new(block)) {
            assert!(SealKey::parse(&read.public_base64()).is_ok(), "what opens can be sealed to");
        }
        for (enc, ciphertext) in [(&text, &own.ciphertext), (&own.enc, &text), (&text, &text)] {
            let sealed = SealedCredential { version: VERSION, suite: SUITE.into(), enc: enc.clone(), ciphertext: ciphertext.clone() };
            assert!(sealed == *own || key.open(&CONTEXT, &sealed).is_err(), "nothing opens that was not sealed");
        }
    }
});
