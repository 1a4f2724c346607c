//! A real nginx that checks the list: it refuses the client whose certificate was taken back, once it has read the list again.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::Arc,
};

use devcluster::{
    supervisor::{Process, Spec},
    wait,
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, Stream,
    pki_types::{PrivateKeyDer, pem::PemObject},
};
use serde_json::json;
use stage::Csr;

use super::crl::{revoke, served, with_list};
use crate::{
    judges::{Files, certificates},
    recipes::nginx_program,
    scene::{Granted, SOON, Scene},
    support::shared,
};

/// What visitors call it.
const NAME: &str = "nginx.test";

#[tokio::test]
async fn nginx_refuses_a_client_whose_certificate_was_taken_back_and_serves_its_sibling() {
    let Some(program) = nginx_program() else { return };
    let here = shared();
    let scene = Scene::with(&here.stage, "crl-nginx", "crl-nginx", with_list("crl-nginx", "5m"), json!({})).await;
    let ((taken, taken_key), (kept, kept_key)) = (client(&scene).await, client(&scene).await);
    let roots = &taken.request.status.as_ref().unwrap().credential.as_ref().unwrap().ca_bundle;

    let files = Files::new();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()));
    let server = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    files.write("server.pem", server.cert.pem()).write("server.key", server.signing_key.serialize_pem()).write("roots.pem", roots);
    files.write("lists.pem", served(&here, "crl-nginx").await);
    let configuration = format!(
        "daemon off; pid nginx.pid; error_log stderr; events {{}}
        http {{
          access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
          scgi_temp_path scgi;
          server {{
            listen {address} ssl; ssl_certificate server.pem; ssl_certificate_key server.key; ssl_session_tickets off;
            ssl_client_certificate roots.pem; ssl_verify_client on; ssl_crl lists.pem;
            return 200 \"hello\\n\";
          }}
        }}"
    );
    files.write("nginx.conf", configuration);
    let prefix = files.path("");
    let arguments = ["-p".to_owned(), prefix.display().to_string(), "-c".into(), "nginx.conf".into(), "-e".into(), "stderr".into()];
    let process = Process::start(Spec::new(&program, files.path("nginx.log")).args(arguments.iter().map(String::as_str))).unwrap();
    let listens = || async {
        assert!(process.exit().is_none(), "nginx ended: {}", process.log_tail(20));
        TcpStream::connect(address).is_ok().then_some(())
    };
    wait::until("nginx to listen", SOON, listens).await.unwrap();

    let visit = |granted: &Granted, key: &str| visit(address, &server.cert.pem(), granted, key);
    assert_eq!((visit(&taken, &taken_key), visit(&kept, &kept_key)), ("200".into(), "200".into()));
    revoke(&scene, &taken).await;
    scene.taken_back(&taken).await;
    assert_eq!(visit(&taken, &taken_key), "200", "nginx goes on with the list that it has read");
    files.write("lists.pem", served(&here, "crl-nginx").await);
    let reload = Command::new(&program).args(&arguments).args(["-s", "reload"]).output().unwrap();
    assert!(reload.status.success(), "{}", String::from_utf8_lossy(&reload.stderr));
    // nginx answers over TLS that it does not take the certificate.
    let refused = || async { (visit(&taken, &taken_key) == "400").then_some(()) };
    wait::until("nginx to refuse what was taken back", SOON, refused).await.unwrap();
    assert_eq!(visit(&kept, &kept_key), "200", "the sibling is served");
    process.stop().await;
}

/// A grant with its private key.
async fn client(scene: &Scene<'_>) -> (Granted, String) {
    let csr = Csr::new().unwrap();
    let request = scene.pod.ask_with_csr(&scene.name, Some("30m"), &csr).await.unwrap();
    let request = scene.pod.answer(&request).await.unwrap();
    let lease = scene.stage.lease_of(&request).await.unwrap().unwrap();
    (Granted { request, lease }, csr.key.serialize_pem())
}

/// The status that a visitor with this certificate gets, or what went wrong.
fn visit(address: SocketAddr, server: &str, granted: &Granted, key: &str) -> String {
    let mut store = RootCertStore::empty();
    store.add(certificates(server).remove(0)).unwrap();
    let chain = certificates(granted.request.status.as_ref().unwrap().credential.as_ref().unwrap().certificate.as_deref().unwrap());
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let mut config = ClientConfig::builder().with_root_certificates(store).with_client_auth_cert(chain, key).unwrap();
    config.resumption = rustls::client::Resumption::disabled();
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let talk = || -> Result<String, String> {
        let mut socket = TcpStream::connect_timeout(&address, SOON).map_err(|e| said(&e))?;
        socket.set_read_timeout(Some(SOON)).map_err(|e| said(&e))?;
        let mut connection = ClientConnection::new(Arc::new(config), NAME.try_into().unwrap()).map_err(|e| said(&e))?;
        let mut stream = Stream::new(&mut connection, &mut socket);
        write!(stream, "GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n").map_err(|e| said(&e))?;
        let mut answer = Vec::new();
        // It may end the connection without saying so.
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        Ok(answer.split(' ').nth(1).unwrap_or_default().to_owned())
    };
    talk().unwrap_or_else(|error| error)
}
