//! A fault proxy: plain HTTP on loopback in front of an API server, which counts writes and fails them by a script.
//!
//! The unmodified operator is pointed at it by a kubeconfig. Credentials pass through unread (but for replies that a test asks to keep, to
//! learn of what nobody else may ever hear), watches stream through. It never invents a change: what reaches the API server is what the
//! client sent, once or not at all. Called by crash and fault tests.

mod script;

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use jiff::{
    SignedDuration,
    fmt::rfc2822::{DateTimeParser, DateTimePrinter},
};
use kube::{Client, client::Body};
pub use script::{Action, Call, Fault, Script};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::Cluster;

/// Why there is no proxy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No way to the API server.
    #[error(transparent)]
    Kube(Box<kube::Error>),
    /// No port.
    #[error("cannot listen on 127.0.0.1: {0}")]
    Listen(#[from] io::Error),
    /// The cluster has no such API server.
    #[error("no API server {0} in this cluster")]
    NoSuchServer(usize),
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The request.
    pub call: Call,
    /// Its number among the counted writes, from 1.
    pub n: Option<usize>,
    /// The code of the API server's answer: from then on, what it changed is changed.
    pub upstream: Option<u16>,
    /// The code that the client was answered with; `None` while there is no answer, for ever if the connection was dropped.
    pub code: Option<u16>,
}

/// A running proxy. It lives in the runtime that started it and ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    url: http::Uri,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy in front of the first API server.
    pub async fn start(cluster: &Cluster, script: Script) -> Result<Self, Error> {
        Self::start_at(cluster, 0, script).await
    }

    /// Starts a proxy in front of one of the API servers: the first is 0.
    pub async fn start_at(cluster: &Cluster, server: usize, script: Script) -> Result<Self, Error> {
        let target = cluster.server_urls().into_iter().nth(server).ok_or(Error::NoSuchServer(server))?;
        let upstream = Client::try_from(cluster.config(target)).map_err(|error| Error::Kube(Box::new(error)))?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?).parse().map_err(io::Error::other)?;
        let shared = Arc::new(Shared {
            upstream,
            stage: Mutex::new(Stage::new(script, 0)),
            counted: watch::Sender::new(0),
            released: watch::Sender::new(false),
            wanted: Mutex::new(Box::new(|_| false)),
            kept: Mutex::new(Vec::new()),
            ahead: AtomicI64::new(0),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Ok(Self { url, shared, accepting })
    }

    /// Where to send requests.
    pub fn url(&self) -> &http::Uri {
        &self.url
    }

    /// All requests under this script, in the order in which they came.
    pub fn log(&self) -> Vec<Entry> {
        self.shared.stage().log.values().cloned().collect()
    }

    /// The counted writes among them.
    pub fn writes(&self) -> Vec<Entry> {
        self.log().into_iter().filter(|entry| entry.n.is_some()).collect()
    }

    /// Keeps the bodies of the API server's replies to such calls from now on, whatever the script lets the client hear of them.
    pub fn keep_replies(&self, to: impl Fn(&Call) -> bool + Send + Sync + 'static) {
        *self.shared.wanted.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(to);
    }

    /// Has clients hear from now on that the API server's clock is so many seconds ahead of what it is, in every `Date`.
    pub fn set_clock_ahead(&self, seconds: i64) {
        self.shared.ahead.store(seconds, Ordering::Relaxed);
    }

    /// What was kept, under whatever script.
    pub fn kept(&self) -> Vec<Vec<u8>> {
        self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the n-th counted write has come. What the script does to it may still be under way.
    pub async fn reached(&self, n: usize) {
        // The sender is ours, so this cannot fail.
        let _ = self.shared.counted.subscribe().wait_for(|counted| *counted >= n).await;
    }

    /// Lets go what hangs, now and later under this script.
    pub fn release(&self) {
        self.shared.released.send_replace(true);
    }

    /// Plays another script from its beginning, with an empty log. What hangs under the old one goes on hanging until released.
    pub fn play(&self, script: Script) {
        let mut stage = self.shared.stage();
        *stage = Stage::new(script, stage.next);
        self.shared.counted.send_replace(0);
        self.shared.released.send_replace(false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

struct Shared {
    upstream: Client,
    stage: Mutex<Stage>,
    counted: watch::Sender<usize>,
    released: watch::Sender<bool>,
    wanted: Mutex<Wanted>,
    kept: Mutex<Vec<Vec<u8>>>,
    /// Seconds that clients hear the API server's clock to be ahead.
    ahead: AtomicI64,
}

/// Calls whose replies are kept.
type Wanted = Box<dyn Fn(&Call) -> bool + Send + Sync>;

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// A script and how far it has been played.
struct Stage {
    script: Script,
    counted: usize,
    /// Never used twice, so that a late answer cannot be noted with a later script's request.
    next: u64,
    log: BTreeMap<u64, Entry>,
}

impl Stage {
    fn new(script: Script, next: u64) -> Self {
        Self { script, counted: 0, next, log: BTreeMap::new() }
    }
}

impl Shared {
    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request and says what is to happen to it.
    fn enter(&self, call: Call) -> (u64, Option<Fault>) {
        let mut stage = self.stage();
        let id = stage.next;
        stage.next += 1;
        let n = stage.script.counts(&call).then_some(stage.counted + 1);
        stage.log.insert(id, Entry { call, n, upstream: None, code: None });
        let Some(n) = n else { return (id, None) };
        stage.counted = n;
        self.counted.send_replace(n);
        (id, stage.script.fault(n))
    }

    fn note(&self, id: u64, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.stage().log.get_mut(&id) {
            change(entry);
        }
    }

    /// Does it, and says how to go on.
    async fn act(&self, action: &Action) -> Next {
        match action {
            Action::Drop => return Next::Drop,
            Action::Answer(code) => return Next::Answer(status(*code)),
            Action::Delay(time) => tokio::time::sleep(*time).await,
            Action::Hang => drop(self.released.subscribe().wait_for(|released| *released).await),
            Action::Call(hook) => {
                hook().await;
                return Next::Drop;
            }
        }
        Next::GoOn
    }

    /// A request's whole way. An error closes the connection.
    async fn pass(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Dropped> {
        let (id, fault) = self.enter(describe(&request));
        let response = self.pass_with(id, fault, request).await?;
        self.note(id, |entry| entry.code = Some(response.status().as_u16()));
        Ok(response)
    }

    async fn pass_with(&self, id: u64, fault: Option<Fault>, request: Request<Incoming>) -> Result<Response<Body>, Dropped> {
        if let Some(Fault::Before(action)) = &fault {
            match self.act(action).await {
                Next::GoOn => {}
                Next::Answer(response) => return Ok(response),
                Next::Drop => return Err(Dropped),
            }
        }
        let response = self.forward(request).await?;
        self.note(id, |entry| entry.upstream = Some(response.status().as_u16()));
        match fault {
            Some(Fault::After(action)) => match self.act(&action).await {
                Next::GoOn => Ok(response),
                Next::Answer(response) => Ok(response),
                Next::Drop => Err(Dropped),
            },
            _ => Ok(response),
        }
    }

    async fn forward(&self, request: Request<Incoming>) -> Result<Response<Body>, Dropped> {
        let wanted = (self.wanted.lock().unwrap_or_else(PoisonError::into_inner))(&describe(&request));
        let (mut parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Dropped)?.to_bytes();
        strip(&mut parts.headers);
        // Ours say where we are; the right ones are put in for the API server.
        parts.headers.remove(header::HOST);
        parts.headers.remove(header::CONTENT_LENGTH);
        // The client sees what it would see without us: an API server that is away closes the connection.
        let mut response = self.upstream.send(Request::from_parts(parts, Body::from(body))).await.map_err(|_| Dropped)?;
        strip(response.headers_mut());
        shift_date(response.headers_mut(), self.ahead.load(Ordering::Relaxed));
        if !wanted {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.map_err(|_| Dropped)?.to_bytes().to_vec();
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(bytes.clone());
        Ok(Response::from_parts(parts, Body::from(bytes)))
    }
}

/// How a request goes on after an action.
enum Next {
    GoOn,
    Answer(Response<Body>),
    Drop,
}

/// The connection closes without an answer.
#[derive(Debug, thiserror::Error)]
#[error("dropped by the script")]
struct Dropped;

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(serve(stream, shared.clone()))),
                // Such as a client that is gone already, or no file descriptor for now.
                Err(_) => tokio::task::yield_now().await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(move |request| {
        // In a task of its own: when the script kills the client, its write and the note of it are finished all the same.
        let passing = tokio::spawn(shared.clone().pass(request));
        async move { passing.await.unwrap_or(Err(Dropped)) }
    });
    // An error is a connection that ended, ours to drop or the client's.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

fn describe<B>(request: &Request<B>) -> Call {
    let agent = request.headers().get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    Call {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().map(str::to_owned),
        user_agent: agent.unwrap_or_default().to_owned(),
    }
}

/// Has the answer say another time.
fn shift_date(headers: &mut HeaderMap, ahead: i64) {
    let heard = headers.get(header::DATE).and_then(|date| date.to_str().ok());
    let Some(date) = heard.and_then(|date| DateTimeParser::new().parse_timestamp(date).ok()).filter(|_| ahead != 0) else { return };
    let shifted = DateTimePrinter::new().timestamp_to_rfc9110_string(&(date + SignedDuration::from_secs(ahead)));
    if let Some(value) = shifted.ok().and_then(|date| date.parse().ok()) {
        headers.insert(header::DATE, value);
    }
}

/// Headers of one connection do not belong on the next.
fn strip(headers: &mut HeaderMap) {
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE, header::TE, header::TRAILER] {
        headers.remove(name);
    }
}

/// An answer as an API server would give it.
fn status(code: u16) -> Response<Body> {
    let reason = match code {
        409 => "Conflict",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "Unknown",
    };
    let message = format!("the fault proxy answers {code}");
    let body = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code,
    });
    let mut response = Response::new(Body::from(body.to_string().into_bytes()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    if code == 429 {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    response
}
