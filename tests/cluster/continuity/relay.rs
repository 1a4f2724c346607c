//! A relay between operator and fault proxy that can hold back what is said on the watches of the guard, and nothing else.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// A running relay. It lives in the runtime that started it and ends when dropped.
pub struct Relay {
    url: http::Uri,
    held: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Relay {
    /// Starts one in front of a server that speaks plain HTTP/1.1.
    pub async fn start(server: &http::Uri) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let (held, server) = (watch::Sender::new(false), server.authority().unwrap().to_string());
        let held_by_all = held.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, server.clone(), held_by_all.subscribe()));
            }
        });
        Self { url, held, accepting }
    }

    /// Where to send requests.
    pub fn url(&self) -> &http::Uri {
        &self.url
    }

    /// From now on the watches of the guard say nothing more.
    pub fn hold(&self) {
        self.held.send_replace(true);
    }

    /// They say what they had to say, and go on.
    pub fn release(&self) {
        self.held.send_replace(false);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Carries one connection until either side closes it.
async fn relay(client: TcpStream, server: String, mut held: watch::Receiver<bool>) -> Option<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = TcpStream::connect(server).await.ok()?.into_split();
    let watches_guard = Arc::new(AtomicBool::new(false));
    let asking = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let n = from_client.read(&mut buffer).await.ok().filter(|n| *n > 0)?;
            // A request's head is far smaller than the buffer, and a connection carries one request after the other.
            let text = String::from_utf8_lossy(&buffer[..n]);
            watches_guard.store(text.contains("/validatingadmissionpolic") && text.contains("watch=true"), Ordering::SeqCst);
            to_server.write_all(&buffer[..n]).await.ok()?;
        }
    };
    let answering = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let n = from_server.read(&mut buffer).await.ok().filter(|n| *n > 0)?;
            if watches_guard.load(Ordering::SeqCst) {
                held.wait_for(|held| !held).await.ok()?;
            }
            to_client.write_all(&buffer[..n]).await.ok()?;
        }
    };
    tokio::select! {
        ended = asking => ended,
        ended = answering => ended,
    }
}
