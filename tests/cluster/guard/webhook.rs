//! A mutating webhook on loopback that rewrites whatever it is asked about: just enough HTTP and TLS for an API server to believe it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use data_encoding::BASE64;
use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivatePkcs8KeyDer};
use serde_json::{Value, json};

/// A running webhook. It ends with the test process.
pub struct Webhook {
    port: u16,
    certificate: String,
    asked: Arc<AtomicUsize>,
}

impl Webhook {
    /// Answers every review with this JSON patch.
    pub fn start(patch: Value) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key.into()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let webhook = Self { port: listener.local_addr().unwrap().port(), certificate: made.cert.pem(), asked: Arc::default() };
        let (config, asked) = (Arc::new(config), webhook.asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, patch, asked) = (config.clone(), patch.clone(), asked.clone());
                // Whoever goes away in the middle is not answered.
                std::thread::spawn(move || serve(stream, config, &patch, &asked));
            }
        });
        webhook
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// What makes the API server ask it about requests of this namespace; the configuration is named after it.
    pub fn configuration(&self, namespace: &str, reinvocation: &str) -> Value {
        let url = format!("https://127.0.0.1:{}/", self.port);
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration", "metadata": {"name": namespace},
            "webhooks": [{
                "name": "hostile.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Fail",
                "reinvocationPolicy": reinvocation, "timeoutSeconds": 5,
                "clientConfig": {"url": url, "caBundle": BASE64.encode(self.certificate.as_bytes())},
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "rules": [{"apiGroups": ["daypass.dev"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["accessrequests"]}],
            }],
        })
    }
}

/// Answers one request of one connection.
fn serve(stream: TcpStream, config: Arc<ServerConfig>, patch: &Value, asked: &AtomicUsize) -> Option<()> {
    let mut stream = BufReader::new(StreamOwned::new(ServerConnection::new(config).ok()?, stream));
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let review: Value = serde_json::from_slice(&body).ok()?;
    asked.fetch_add(1, Ordering::Relaxed);
    let response = json!({
        "uid": review["request"]["uid"], "allowed": true, "patchType": "JSONPatch", "patch": BASE64.encode(patch.to_string().as_bytes()),
    });
    let answer = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}).to_string();
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
    let stream = stream.get_mut();
    stream.write_all(format!("{head}{answer}").as_bytes()).ok()?;
    stream.conn.send_close_notify();
    stream.flush().ok()
}
