//! `cargo xtask soak`: an application that connects all the time beside an agent that renews all the time, while the operator is restarted.
//!
//! The application opens a TLS connection ten times a second to a server that checks its certificate, each time with the files that are in
//! place at that moment, as a whole set. Every refused connection is counted and said.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use daypass::install::Values;
use devcluster::{Options, wait};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
};
use serde_json::json;
use stage::{OperatorOptions, Stage};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::binary;

/// Arguments of `cargo xtask soak`.
#[derive(Args, Debug)]
pub struct SoakArgs {
    /// For how many minutes.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    minutes: u64,
    /// Restart the operator this often, in minutes.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    restart_every: u64,
}

/// Life of each credential.
const TTL: &str = "60s";
/// From one connection to the next.
const EVERY: Duration = Duration::from_millis(100);
/// A connection that takes longer has failed.
const CONNECTED_WITHIN: Duration = Duration::from_secs(5);

/// What was seen.
#[derive(Default)]
struct Seen {
    connections: u64,
    failures: Vec<String>,
    credentials: u64,
    restarts: u64,
    /// Between two connections, the longest.
    longest_pause: Duration,
}

/// Runs it. `false`: a connection failed.
pub async fn run(args: SoakArgs) -> Result<bool, String> {
    let daypass = binary::daypass(false)?;
    let stage = Stage::set(Options::default(), Values::default()).await.map_err(|error| error.to_string())?;
    let operator = stage.operator(&daypass, OperatorOptions { log: "info".into(), ..Default::default() }).await;
    let operator = Arc::new(operator.map_err(|error| error.to_string())?);
    operator.ready().await.map_err(|error| error.to_string())?;
    offer(&stage).await?;
    let pod = stage.pod("soak", "soak-1", "soak").await.map_err(|error| error.to_string())?;
    let mount = pod.mount(&stage).map_err(|error| error.to_string())?;
    let directory = mount.volume.join("creds");
    let words =
        ["agent", "--class", "soak", "--ttl", TTL, "--dir", &directory.display().to_string(), "--listen", "127.0.0.1:0"].map(String::from);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let agent = mount.start(&daypass, &stage.file("agent.log"), &words).map_err(|error| error.to_string())?;
    let first = || async { directory.join("tls.key").exists().then_some(()) };
    wait::until("the first credential", Duration::from_secs(60), first)
        .await
        .map_err(|error| format!("{error}: {}", agent.log_tail(10)))?;

    let server = Server::start(&directory).await?;
    let (begun, limit) = (Instant::now(), Duration::from_secs(args.minutes * 60));
    let mut seen = Seen::default();
    let (mut last_set, mut last) = (PathBuf::new(), Instant::now());
    let mut restart = Instant::now() + Duration::from_secs(args.restart_every * 60);
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut restarting = None;
    while begun.elapsed() < limit {
        ticks.tick().await;
        seen.longest_pause = seen.longest_pause.max(last.elapsed());
        last = Instant::now();
        let set = std::fs::read_link(directory.join("..data")).map_err(|error| format!("..data: {error}"))?;
        if set != last_set {
            seen.credentials += 1;
            last_set = set;
        }
        seen.connections += 1;
        if let Err(problem) = server.connect(&directory).await {
            let at = begun.elapsed().as_secs();
            eprintln!("after {at} s: {problem}");
            seen.failures.push(problem);
        }
        if Instant::now() >= restart {
            restart += Duration::from_secs(args.restart_every * 60);
            seen.restarts += 1;
            eprintln!(
                "after {} s: {} connections, {} failed; the operator is restarted",
                begun.elapsed().as_secs(),
                seen.connections,
                seen.failures.len()
            );
            let operator = operator.clone();
            restarting = Some(tokio::spawn(async move {
                operator.process.stop().await;
                operator.process.start_again()
            }));
        }
        if restarting.as_ref().is_some_and(tokio::task::JoinHandle::is_finished)
            && let Some(done) = restarting.take()
        {
            done.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        }
    }
    agent.stop().await;
    operator.stop().await;
    println!(
        "soak: {} connections in {} min with {} credentials of {TTL} and {} restarts of the operator; longest pause between two {:.1} s",
        seen.connections,
        args.minutes,
        seen.credentials,
        seen.restarts,
        seen.longest_pause.as_secs_f64()
    );
    println!("soak: {} passed, {} failed", seen.connections - seen.failures.len() as u64, seen.failures.len());
    // Each lives a minute and is renewed before; one of them may be due.
    let (minutes, restarts) = (args.minutes, args.minutes.saturating_sub(1) / args.restart_every);
    if seen.credentials < minutes || seen.restarts < restarts {
        return Err(format!("only {} credentials and {} restarts: that was no soak", seen.credentials, seen.restarts));
    }
    Ok(seen.failures.is_empty())
}

async fn offer(stage: &Stage) -> Result<(), String> {
    let class = json!({
        "apiVersion": "daypass.dev/v1alpha1", "kind": "CredentialClass", "metadata": {"name": "soak"},
        "spec": {"ttl": {"default": TTL, "max": "15m"}, "x509": {"ca": {"managed": {}}, "trustDomain": "soak.example"}},
    });
    let policy = json!({
        "apiVersion": "daypass.dev/v1alpha1", "kind": "ClusterAccessPolicy", "metadata": {"name": "soak"},
        "spec": {"subjects": [{"namespaces": ["soak"], "serviceAccountNames": ["soak"]}], "classes": ["soak"], "limits": {"livePerPod": 2}},
    });
    stage.platform(class).await.map_err(|error| error.to_string())?;
    stage.platform(policy).await.map_err(|error| error.to_string())
}

/// A server that lets in whoever shows a certificate of the class, by the roots that came with the first credential.
struct Server {
    address: std::net::SocketAddr,
    roots: Arc<RootCertStore>,
}

impl Server {
    async fn start(directory: &Path) -> Result<Self, String> {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(|error| error.to_string())?;
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).map_err(str::to_owned)?;
        let verifier = WebPkiClientVerifier::builder(Arc::new(store(&certificates(&directory.join("ca.crt"))?)?)).build();
        let config = ServerConfig::builder()
            .with_client_cert_verifier(verifier.map_err(|error| error.to_string())?)
            .with_single_cert(vec![own.cert.der().clone()], key)
            .map_err(|error| error.to_string())?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    if let Ok(mut stream) = acceptor.accept(stream).await {
                        let _ = stream.write_all(b"welcome").await;
                        let _ = stream.shutdown().await;
                    }
                });
            }
        });
        Ok(Self { address, roots: Arc::new(store(&[own.cert.der().clone()])?) })
    }

    /// Connects with the set of files that is in place now, and is welcomed: in TLS 1.3 a server's refusal shows only at the first read.
    async fn connect(&self, directory: &Path) -> Result<(), String> {
        // A set that is replaced between two looks is gone: then there is another one.
        let (chain, key) = pair(directory).or_else(|_| pair(directory))?;
        let config = ClientConfig::builder()
            .with_root_certificates(self.roots.clone())
            .with_client_auth_cert(chain, key)
            .map_err(|error| format!("certificate and key: {error}"))?;
        let exchange = async {
            let stream = TcpStream::connect(self.address).await?;
            let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
            let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await?;
            Ok::<_, std::io::Error>(text)
        };
        match tokio::time::timeout(CONNECTED_WITHIN, exchange).await {
            Ok(Ok(text)) if text == "welcome" => Ok(()),
            Ok(Ok(text)) => Err(format!("the server said {text:?}")),
            Ok(Err(error)) => Err(format!("the server refuses: {error}")),
            Err(_) => Err("no connection within 5 s".into()),
        }
    }
}

/// Certificate and key of the set that is in place.
fn pair(directory: &Path) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let set = std::fs::canonicalize(directory.join("..data")).map_err(|error| format!("..data: {error}"))?;
    let key = PrivateKeyDer::from_pem_file(set.join("tls.key")).map_err(|error| format!("tls.key: {error}"))?;
    Ok((certificates(&set.join("tls.crt"))?, key))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).and_then(|found| found.collect::<Result<Vec<_>, _>>());
    read.map_err(|error| format!("{}: {error}", file.display()))
}

fn store(certificates: &[CertificateDer<'static>]) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in certificates {
        store.add(certificate.clone()).map_err(|error| error.to_string())?;
    }
    Ok(store)
}
