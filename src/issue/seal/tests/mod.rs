//! What can be sealed to, what opens, and what never does.

mod keys;
mod random;
mod vectors;

use data_encoding::HEXLOWER;

use super::*;

const CONTEXT: Context<'_> = Context { request_uid: "5b0ffb7c-7a5a-4e0b-a2a1-6a7c5f0f9f10", pod_uid: "0d6c1a5e", class: "orders-admin" };

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn sealed_to(key: &OpeningKey, text: &str) -> SealedCredential {
    seal(&SealKey::parse(&key.public_base64()).unwrap(), &CONTEXT, &secret(text)).unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    HEXLOWER.decode(text.as_bytes()).unwrap()
}

#[test]
fn what_is_sealed_is_read_by_the_holder_of_the_key_and_by_nobody_else() {
    let (key, other) = (OpeningKey::generate().unwrap(), OpeningKey::generate().unwrap());
    let sealed = sealed_to(&key, "a token");
    assert_eq!((sealed.version, sealed.suite.as_str()), (1, SUITE));
    assert_eq!(key.open(&CONTEXT, &sealed).unwrap().expose(), "a token");
    assert_eq!(other.open(&CONTEXT, &sealed), Err(OpenError::Refused));
    assert_ne!(sealed, sealed_to(&key, "a token"), "each has a key of its own");
    assert!(!serde_json::to_string(&sealed).unwrap().contains("a token"));
}

#[test]
fn it_opens_for_its_own_request_pod_and_class_alone() {
    let key = OpeningKey::generate().unwrap();
    let sealed = sealed_to(&key, "a token");
    for other in [
        Context { request_uid: "another", ..CONTEXT },
        Context { pod_uid: "another", ..CONTEXT },
        Context { class: "another", ..CONTEXT },
        Context { request_uid: CONTEXT.pod_uid, pod_uid: CONTEXT.request_uid, ..CONTEXT },
    ] {
        assert_eq!(key.open(&other, &sealed), Err(OpenError::Refused), "{other:?}");
    }
}

#[test]
fn two_contexts_never_look_the_same() {
    let key = OpeningKey::generate().unwrap();
    let public = SealKey::parse(&key.public_base64()).unwrap();
    for strange in [
        Context { request_uid: "", ..CONTEXT },
        Context { pod_uid: "", ..CONTEXT },
        Context { class: "", ..CONTEXT },
        Context { request_uid: "a\nb", ..CONTEXT },
        Context { class: "c\n", ..CONTEXT },
    ] {
        assert_eq!(seal(&public, &strange, &secret("a token")), Err(SealError::Context));
        assert_eq!(key.open(&strange, &sealed_to(&key, "a token")), Err(OpenError::Context));
    }
}

#[test]
fn the_longest_credential_fills_what_a_status_may_hold() {
    let key = OpeningKey::generate().unwrap();
    let sealed = sealed_to(&key, &"x".repeat(LONGEST));
    assert_eq!(sealed.ciphertext.len(), 16384);
    assert_eq!(key.open(&CONTEXT, &sealed).unwrap().expose().len(), LONGEST);
    let public = SealKey::parse(&key.public_base64()).unwrap();
    let refused = seal(&public, &CONTEXT, &secret(&"x".repeat(LONGEST + 1)));
    assert_eq!(refused, Err(SealError::TooLong { length: LONGEST + 1 }));
}

#[test]
fn what_this_program_cannot_open_is_said_for_what_it_is() {
    let key = OpeningKey::generate().unwrap();
    let sealed = sealed_to(&key, "a token");
    let opened = |change: fn(&mut SealedCredential)| {
        let mut changed = sealed.clone();
        change(&mut changed);
        key.open(&CONTEXT, &changed).unwrap_err()
    };
    assert_eq!(opened(|s| s.version = 2), OpenError::Version { found: 2 });
    assert_eq!(opened(|s| s.suite = "X-Wing/…".into()), OpenError::Suite { found: "X-Wing/…".into() });
    assert_eq!(opened(|s| s.enc.push('A')), OpenError::Malformed { field: "enc" });
    assert_eq!(opened(|s| s.enc = "AAAA".into()), OpenError::Malformed { field: "enc" });
    assert_eq!(opened(|s| s.ciphertext.push(' ')), OpenError::Malformed { field: "ciphertext" });
    assert_eq!(opened(|s| s.ciphertext.clear()), OpenError::Refused);
    let long = opened(|s| s.suite = "s".repeat(128)).to_string();
    assert!(long.len() < 300 && long.contains(SUITE), "{long}");
    let public = HpkePublicKey(BASE64.decode(key.public_base64().as_bytes()).unwrap());
    let (enc, ciphertext) = HPKE.seal(INFO, &CONTEXT.aad().unwrap(), b"\xff\xfe", &public).unwrap();
    let binary = SealedCredential { enc: BASE64.encode(&enc.0), ciphertext: BASE64.encode(&ciphertext), ..sealed.clone() };
    assert_eq!(key.open(&CONTEXT, &binary), Err(OpenError::NotText));
}

#[test]
fn what_was_sealed_for_another_protocol_does_not_open() {
    let key = OpeningKey::generate().unwrap();
    let public = HpkePublicKey(BASE64.decode(key.public_base64().as_bytes()).unwrap());
    let (enc, ciphertext) = HPKE.seal(b"daypass.dev/seal/v2", &CONTEXT.aad().unwrap(), b"a token", &public).unwrap();
    let sealed =
        SealedCredential { version: VERSION, suite: SUITE.into(), enc: BASE64.encode(&enc.0), ciphertext: BASE64.encode(&ciphertext) };
    assert_eq!(key.open(&CONTEXT, &sealed), Err(OpenError::Refused));
}
