//! A relay between operator and fault proxy that can hold back the answers to some requests, watches among them, and nothing else.

use std::sync::Mutex;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// Whether the answer to the request with this first line is held back.
pub type Held = fn(&str) -> bool;

/// A running relay. It lives in the runtime that started it and ends when dropped.
pub struct Relay {
    url: http::Uri,
    held: watch::Sender<Option<Held>>,
    accepting: JoinHandle<()>,
}

impl Relay {
    /// Starts one in front of a server that speaks plain HTTP/1.1.
    pub async fn start(server: &http::Uri) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let (held, server) = (watch::Sender::new(None), server.authority().unwrap().to_string());
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

    /// From now on nothing is said in answer to such requests, those that were made before among them.
    pub fn hold(&self, held: Held) {
        self.held.send_replace(Some(held));
    }

    /// What was held back is said.
    pub fn release(&self) {
        self.held.send_replace(None);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Carries one connection until either side closes it.
async fn relay(client: TcpStream, server: String, mut held: watch::Receiver<Option<Held>>) -> Option<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = TcpStream::connect(server).await.ok()?.into_split();
    let asked = Mutex::new(String::new());
    let asking = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let n = from_client.read(&mut buffer).await.ok().filter(|n| *n > 0)?;
            // A connection carries one request after the other, and the head of a read fits the buffer.
            let line = String::from_utf8_lossy(&buffer[..n]).lines().next().unwrap_or_default().to_owned();
            *asked.lock().unwrap() = line;
            to_server.write_all(&buffer[..n]).await.ok()?;
        }
    };
    let answering = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let n = from_server.read(&mut buffer).await.ok().filter(|n| *n > 0)?;
            held.wait_for(|held| held.is_none_or(|held| !held(&asked.lock().unwrap()))).await.ok()?;
            to_client.write_all(&buffer[..n]).await.ok()?;
        }
    };
    tokio::select! {
        ended = asking => ended,
        ended = answering => ended,
    }
}
