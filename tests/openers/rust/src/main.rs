//! Opens what Daypass seals with the crate hpke, which shares no code with it.
//!
//! Reads a job of JSON from each line of standard input and prints a line for each: `{"plaintext": "..."}` or `{"error": "..."}`. Bytes are in
//! base64. The same jobs as those of the opener in Go beside it, but for sealing. Built and asked by `tests/cluster/sealing`.

use std::{error::Error, io};

use data_encoding::BASE64;
use hpke::{Deserializable, Kem, OpModeR, aead::ChaCha20Poly1305, kdf::HkdfSha256, kem::X25519HkdfSha256, setup_receiver};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    for line in io::stdin().lines() {
        let job: Value = serde_json::from_str(&line?)?;
        let answer = open(&job).map_or_else(|error| json!({"error": error.to_string()}), |text| json!({"plaintext": BASE64.encode(&text)}));
        println!("{answer}");
    }
    Ok(())
}

fn open(job: &Value) -> Result<Vec<u8>, Box<dyn Error>> {
    let bytes = |field: &str| BASE64.decode(job[field].as_str().unwrap_or_default().as_bytes());
    let key = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(&bytes("privateKey")?)?;
    let enc = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(&bytes("enc")?)?;
    let mut opener =
        setup_receiver::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(&OpModeR::Base, &key, &enc, &bytes("info")?)?;
    Ok(opener.open(&bytes("ciphertext")?, &bytes("aad")?)?)
}
