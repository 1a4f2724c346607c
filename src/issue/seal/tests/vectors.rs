//! The committed vectors: what others sealed opens here. That others open what is sealed here is shown in `tests/cluster/sealing`.

use serde_json::Value;

use super::*;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../../tests/vectors/seal.json")).unwrap()
}

#[test]
fn what_another_implementation_sealed_opens() {
    let vectors = vectors();
    let key = OpeningKey::from_pem(&secret(vectors["privateKeyPEM"].as_str().unwrap())).unwrap();
    assert_eq!(vectors["publicKey"], key.public_base64());
    assert_eq!((&vectors["suite"], vectors["info"].as_str().unwrap().as_bytes()), (&Value::from(SUITE), INFO));
    let cases = vectors["sealed"].as_array().unwrap();
    assert_eq!(cases.len(), 3);
    for case in cases {
        let text = |field: &str| case[field].as_str().unwrap();
        let context = Context { request_uid: text("requestUID"), pod_uid: text("podUID"), class: text("class") };
        let sealed: SealedCredential = serde_json::from_value(case["sealed"].clone()).unwrap();
        assert_eq!(key.open(&context, &sealed).unwrap().expose(), text("plaintext"), "{}", text("what"));
    }
}

#[test]
fn the_vector_of_rfc_9180_for_this_suite_opens() {
    let vector = &vectors()["rfc9180"];
    let bytes = |field: &str| hex(vector[field].as_str().unwrap());
    let pem = crate::issue::x509::pem::encode("PRIVATE KEY", &[key::PKCS8_PREFIX, &bytes("privateKey")].concat());
    let key = OpeningKey::from_pem(&secret(&pem)).unwrap();
    assert_eq!(key.public_base64(), BASE64.encode(&bytes("publicKey")));
    let opened = key.open_raw(&bytes("enc"), &bytes("info"), &bytes("aad"), &bytes("ciphertext"));
    assert_eq!(opened, Some(bytes("plaintext")));
}
