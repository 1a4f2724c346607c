//! Two implementations that share no code with ours, nor with each other: Go's crypto/hpke and the crate hpke. What is sealed here opens
//! there, what Go seals opens here, and what was changed opens nowhere.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use data_encoding::BASE64;
use daypass::{
    api::SealedCredential,
    issue::seal::{Context, INFO, OpeningKey, SUITE, SealKey, VERSION, seal},
    secret::Secret,
};
use devcluster::binaries;
use serde_json::{Value, json};

const CONTEXT: Context<'_> = Context { request_uid: "5b0ffb7c-7a5a", pod_uid: "0d6c1a5e-30bb", class: "orders-admin" };

fn encode(bytes: &[u8]) -> Value {
    BASE64.encode(bytes).into()
}

fn aad(context: &Context<'_>) -> String {
    format!("{}\n{}\n{}", context.request_uid, context.pod_uid, context.class)
}

/// The 32 bytes of the private key: the last of its DER.
fn private(key: &OpeningKey) -> Vec<u8> {
    let pem = key.to_pem();
    let der = BASE64.decode(pem.expose().lines().nth(1).unwrap().as_bytes()).unwrap();
    der[der.len() - 32..].to_vec()
}

/// A job that opens this.
fn opening(key: &OpeningKey, context: &Context<'_>, sealed: &SealedCredential) -> Value {
    json!({
        "privateKey": encode(&private(key)), "info": encode(INFO), "aad": encode(aad(context).as_bytes()), "enc": sealed.enc,
        "ciphertext": sealed.ciphertext,
    })
}

/// What a program answers to these jobs.
fn answers(program: &Path, jobs: &[Value]) -> Vec<Value> {
    let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let input: String = jobs.iter().map(|job| format!("{job}\n")).collect();
    let mut stdin = child.stdin.take().unwrap();
    // A pipe that nobody reads fills up: writing and reading at once.
    let writing = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, input.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap();
    assert!(output.status.success(), "{}", program.display());
    let answers: Vec<Value> = String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), jobs.len());
    answers
}

/// The program around the crate hpke, built into the cache. It is no dependency of this crate: its crates would give others features that
/// are not shipped.
fn rust_opener() -> PathBuf {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openers/rust/Cargo.toml");
    let target = binaries::cache_root().join("opener-rust");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--locked", "--manifest-path", manifest, "--target-dir"]).arg(&target);
    // What this test was built with is not meant for it.
    build.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("CARGO_TARGET_DIR");
    assert!(build.status().unwrap().success(), "the opener of the crate hpke is built");
    target.join("debug/opener")
}

#[tokio::test]
async fn two_other_implementations_open_what_is_sealed_and_nothing_that_was_changed() {
    let openers = [binaries::opener().await.unwrap(), rust_opener()];
    let (mut jobs, mut expected) = (vec![], vec![]);
    for text in ["a token", "", &"x".repeat(10_000), "pässword ✓\nof two lines"] {
        let key = OpeningKey::generate().unwrap();
        let sealed = seal(&SealKey::parse(&key.public_base64()).unwrap(), &CONTEXT, &Secret::new(text.into())).unwrap();
        let good = opening(&key, &CONTEXT, &sealed);
        for field in ["privateKey", "info", "aad", "enc", "ciphertext"] {
            let mut spoilt = good.clone();
            let mut bytes = BASE64.decode(good[field].as_str().unwrap().as_bytes()).unwrap();
            // Not a bit that X25519 sets or clears itself.
            bytes[7] ^= 0x10;
            spoilt[field] = encode(&bytes);
            jobs.push(spoilt);
            expected.push(None);
        }
        jobs.push(good);
        expected.push(Some(text.to_owned()));
    }
    for program in openers {
        for (answer, expected) in answers(&program, &jobs).iter().zip(&expected) {
            // Go leaves an empty plaintext out.
            let opened = (answer["error"].is_null()).then(|| {
                let plaintext = answer["plaintext"].as_str().unwrap_or_default();
                String::from_utf8(BASE64.decode(plaintext.as_bytes()).unwrap()).unwrap()
            });
            assert_eq!(&opened, expected, "{}: {answer}", program.display());
        }
    }
}

#[tokio::test]
async fn what_go_seals_opens_here() {
    let go = binaries::opener().await.unwrap();
    let key = OpeningKey::generate().unwrap();
    let texts = ["a token", "x", "pässword ✓"];
    let jobs = texts.map(|text| {
        json!({
            "publicKey": key.public_base64(), "info": encode(INFO), "aad": encode(aad(&CONTEXT).as_bytes()), "plaintext": encode(text.as_bytes()),
        })
    });
    for (answer, text) in answers(&go, &jobs).iter().zip(texts) {
        let field = |name: &str| answer[name].as_str().unwrap().to_owned();
        let sealed = SealedCredential { version: VERSION, suite: SUITE.into(), enc: field("enc"), ciphertext: field("ciphertext") };
        assert_eq!(key.open(&CONTEXT, &sealed).unwrap().expose(), text);
    }
}

#[test]
fn the_script_of_the_documentation_opens_every_vector() {
    let docs = include_str!("../../../docs/sealing.md");
    let script = docs.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let vectors: Value = serde_json::from_str(include_str!("../../vectors/seal.json")).unwrap();
    let directory = std::env::temp_dir().join(format!("daypass-sealing-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let [key, open] = ["key.pem", "open.py"].map(|name| directory.join(name));
    std::fs::write(&key, vectors["privateKeyPEM"].as_str().unwrap()).unwrap();
    std::fs::write(&open, script).unwrap();
    let there = Command::new("python3").args(["-c", "import cryptography"]).stderr(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no python3 with the package cryptography");
        return;
    }
    for case in vectors["sealed"].as_array().unwrap() {
        let request = json!({
            "metadata": {"uid": case["requestUID"]}, "spec": {"className": case["class"], "requester": {"podUID": case["podUID"]}},
            "status": {"credential": {"sealed": case["sealed"]}},
        });
        let mut child = Command::new("python3").args([&open, &key]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), request.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), case["plaintext"].as_str().unwrap(), "{}", case["what"]);
    }
    std::fs::remove_dir_all(&directory).ok();
}
