//! A real nginx whose certificate is replaced under its visitors.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use devcluster::{supervisor::Exit, wait};
use rustls::{ClientConfig, ClientConnection, RootCertStore, Stream};

use super::{
    applied::{LIFE, applied},
    hosted::Hosted,
};
use crate::{judges, scene::SOON, support::shared};

/// What visitors call it: the name of its Service.
const NAME: &str = "web.shop.svc";
/// Between two visits.
const EVERY: Duration = Duration::from_millis(100);

#[tokio::test]
async fn nginx_serves_every_visitor_while_its_certificate_is_renewed_twice() {
    let Some(nginx) = program() else { return };
    let here = shared();
    applied(&here, "nginx.md").await;
    let mut pod = Hosted::take(&here, "web").await;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()));
    pod.replace("listen 8443 ssl", &format!("listen {address} ssl"));
    assert_eq!(pod.pod_field("/shareProcessNamespace"), true, "processes see each other, as here");
    let agent = pod.container("daypass").await.start();
    pod.started("daypass", &agent).await;
    let mut server = pod.container("nginx").await;
    assert_eq!(server.words[0], "nginx");
    server.words[0] = nginx.display().to_string();
    let server = server.start();
    let listens = || async {
        assert!(server.exit().is_none(), "nginx ended: {}", server.log_tail(20));
        TcpStream::connect(address).is_ok().then_some(())
    };
    wait::until("nginx to listen", SOON, listens).await.unwrap();

    let roots = crate::authorities::published(&here.stage, &pod.scene.admin, "default").await.unwrap();
    let visitor = Visitor::start(address, &roots);
    let twice = || async { (visitor.serials().len() >= 3 || visitor.failed()).then_some(()) };
    let waited = wait::until("two renewals", 3 * LIFE + SOON, twice).await;
    let visits = visitor.stop();
    let failures: Vec<_> = visits.iter().filter_map(|visit| visit.as_ref().err()).collect();
    assert!(failures.is_empty(), "{failures:?}; nginx: {}", server.log_tail(20));
    waited.unwrap();
    // Two renewals take more than one life: without the signal the first certificate would have been refused by then.
    assert!(visits.len() >= 200, "only {} visits", visits.len());
    let serials = serials(&visits);
    let leases = pod.leases().await;
    for serial in &serials {
        assert!(leases.iter().any(|lease| lease.spec.serial() == Some(serial)), "{serial} is in no lease of this pod");
    }
    let log = std::fs::read_to_string(agent.log()).unwrap();
    assert!(!log.contains("was not told") && !log.contains("is denied"), "{log}");
    println!("{} visits, {} certificates, no failure", visits.len(), serials.len());
    server.stop().await;
    assert_eq!(agent.stop().await, Exit::Code(0));
    pod.given_back().await;
}

/// The serial of the certificate that a visitor was shown, or what went wrong.
type Visit = Result<String, String>;

/// Somebody who trusts the class's roots and comes ten times a second, on a new connection each time, however long a visit takes.
struct Visitor {
    thread: JoinHandle<Vec<JoinHandle<()>>>,
    stop: Arc<AtomicBool>,
    visits: Arc<Mutex<Vec<Visit>>>,
}

impl Visitor {
    fn start(address: SocketAddr, roots: &str) -> Self {
        let mut store = RootCertStore::empty();
        for root in judges::certificates(roots) {
            store.add(root).unwrap();
        }
        let mut config = ClientConfig::builder().with_root_certificates(store).with_no_client_auth();
        // Each visit is to see a certificate.
        config.resumption = rustls::client::Resumption::disabled();
        let (config, stop, visits) = (Arc::new(config), Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let thread = {
            let (stop, visits) = (stop.clone(), visits.clone());
            std::thread::spawn(move || {
                let mut under_way = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let (config, visits) = (config.clone(), visits.clone());
                    under_way.push(std::thread::spawn(move || {
                        let visit = visit(address, config);
                        visits.lock().unwrap().push(visit);
                    }));
                    std::thread::sleep(EVERY);
                }
                under_way
            })
        };
        Self { thread, stop, visits }
    }

    fn serials(&self) -> Vec<String> {
        serials(&self.visits.lock().unwrap())
    }

    fn failed(&self) -> bool {
        self.visits.lock().unwrap().iter().any(Result::is_err)
    }

    fn stop(self) -> Vec<Visit> {
        self.stop.store(true, Ordering::Relaxed);
        for visit in self.thread.join().unwrap() {
            visit.join().unwrap();
        }
        std::mem::take(&mut self.visits.lock().unwrap())
    }
}

fn visit(address: SocketAddr, config: Arc<ClientConfig>) -> Visit {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let mut socket = TcpStream::connect_timeout(&address, SOON).map_err(|e| said(&e))?;
    socket.set_read_timeout(Some(SOON)).map_err(|e| said(&e))?;
    let mut connection = ClientConnection::new(config, NAME.try_into().unwrap()).map_err(|e| said(&e))?;
    let mut stream = Stream::new(&mut connection, &mut socket);
    write!(stream, "GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n").map_err(|e| said(&e))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|e| said(&e))?;
    if !(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello\n")) {
        return Err(format!("it answers {answer:?}"));
    }
    let leaf = connection.peer_certificates().and_then(|chain| chain.first()).ok_or("no certificate")?;
    Ok(judges::serial_of(leaf))
}

/// Each serial once, in the order of its first sight.
fn serials(visits: &[Visit]) -> Vec<String> {
    let mut serials: Vec<String> = Vec::new();
    for serial in visits.iter().flatten() {
        if !serials.contains(serial) {
            serials.push(serial.clone());
        }
    }
    serials
}

/// Where nginx is. A machine without it is told so; in CI it has to be there.
pub fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps it where only root looks.
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let found = places.map(|directory| directory.join("nginx")).find(|program| program.exists());
    assert!(found.is_some() || std::env::var_os("CI").is_none(), "nginx is not installed: apt-get install nginx");
    if found.is_none() {
        eprintln!("nginx is not installed: its tests are NOT run (apt-get install nginx)");
    }
    found
}
