//! A running control plane: etcd, API servers on it, kube-controller-manager; each with handles to stop, pause and restart it.
//!
//! Called by tests, the demo and `cargo xtask cluster`. Clusters started at once, by one process or several, do not meet: ports,
//! directories and certificates are their own. Dropping one ends it; one that is never dropped ends with the process.

mod clients;
mod components;
mod error;

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::Output,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

pub use error::Error;
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, Client};

use self::components::Layout;
use crate::{
    audit,
    binaries::{self, ControlPlane},
    pki::{ClientCertificate, Pki},
    ports::Port,
    scratch::Scratch,
    supervisor::{Process, Spec},
    wait,
};

/// How long a component may take to be ready. It takes seconds; this is for a machine under load.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// How often a listener is started on another port when a stranger took its own.
const PORT_ATTEMPTS: usize = 5;

/// What to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to keep everything; a temporary directory, removed at the end unless DAYPASS_KEEP is set, if `None`.
    pub dir: Option<PathBuf>,
    /// How many API servers share the etcd, at least one.
    pub apiservers: usize,
    /// Whether nodes without a heartbeat are given up and their pods removed, as in production. Tests whose nodes are only objects
    /// need this off: with one Ready node around, all others would lose their pods after five minutes.
    pub node_controllers: bool,
    /// More flags for each API server.
    pub apiserver_args: Vec<String>,
    /// More flags for kube-controller-manager.
    pub controller_manager_args: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { dir: None, apiservers: 1, node_controllers: false, apiserver_args: Vec::new(), controller_manager_args: Vec::new() }
    }
}

/// A running control plane.
pub struct Cluster {
    binaries: ControlPlane,
    layout: Layout,
    pki: Pki,
    admin: ClientCertificate,
    options: Options,
    etcd_url: String,
    servers: Mutex<Vec<Server>>,
    processes: Mutex<BTreeMap<String, Arc<Process>>>,
    /// etcd's.
    _ports: [Port; 2],
    // Last: the processes end before their directory goes.
    _scratch: Option<Scratch>,
}

/// An API server.
struct Server {
    url: http::Uri,
    _port: Port,
}

impl Cluster {
    /// Starts everything and returns when it serves: all API servers ready, and the first service account made.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let binaries = binaries::control_plane().await?;
        let (layout, scratch) = directory(&options)?;
        let pki = Pki::create(&layout.pki())?;
        write(&layout.audit_policy(), components::AUDIT_POLICY)?;
        let (etcd, etcd_url, ports) = start_etcd(&binaries, &layout).await?;
        let admin = pki.client("admin", &["system:masters"])?;
        let cluster = Self {
            binaries,
            layout,
            pki,
            admin,
            etcd_url,
            servers: Mutex::new(Vec::new()),
            processes: Mutex::new(BTreeMap::from([("etcd".to_owned(), Arc::new(etcd))])),
            options,
            _ports: ports,
            _scratch: scratch,
        };
        let started = try_join_all((0..cluster.options.apiservers.max(1)).map(|server| cluster.serve(server))).await?;
        cluster.servers().extend(started);
        cluster.write_kubeconfigs()?;
        let spec = components::controller_manager(&cluster.binaries, &cluster.layout, &cluster.pki, &cluster.options);
        cluster.add("kube-controller-manager", spec)?;
        cluster.controllers_work().await?;
        Ok(cluster)
    }

    /// Starts one more API server on the same etcd and returns its number when it is ready. One at a time.
    pub async fn start_apiserver(&self) -> Result<usize, Error> {
        let number = self.servers().len();
        let server = self.serve(number).await?;
        self.servers().push(server);
        Ok(number)
    }

    /// Waits until every API server is ready, for instance after one was restarted.
    pub async fn ready(&self) -> Result<(), Error> {
        for (server, url) in self.server_urls().into_iter().enumerate() {
            let name = components::apiserver_name(server);
            self.apiserver_ready(&*self.process(&name)?, &name, url).await?;
        }
        Ok(())
    }

    /// A process by its name: `etcd`, `kube-apiserver-0`, …, `kube-controller-manager`.
    pub fn process(&self, name: &str) -> Result<Arc<Process>, Error> {
        let processes = self.processes();
        let known = || processes.keys().cloned().collect::<Vec<_>>().join(", ");
        processes.get(name).cloned().ok_or_else(|| Error::NoSuchProcess { name: name.to_owned(), known: known() })
    }

    /// The directory that holds everything.
    pub fn dir(&self) -> &Path {
        &self.layout.0
    }

    /// Where the API servers listen.
    pub fn server_urls(&self) -> Vec<http::Uri> {
        self.servers().iter().map(|server| server.url.clone()).collect()
    }

    /// The certificate authority of servers and clients, PEM.
    pub fn ca_file(&self) -> PathBuf {
        self.pki.file("ca.crt")
    }

    /// Runs kubectl as the administrator.
    pub async fn kubectl(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> io::Result<Output> {
        let mut kubectl = tokio::process::Command::new(&self.binaries.kubectl);
        // Its discovery cache must be neither the user's nor that of an earlier cluster on this port.
        kubectl.env("KUBECONFIG", self.admin_kubeconfig()).env("KUBECACHEDIR", self.layout.0.join("kubectl-cache"));
        kubectl.args(args).kill_on_drop(true).output().await
    }

    /// The kubectl of this release.
    pub fn kubectl_path(&self) -> &Path {
        &self.binaries.kubectl
    }

    /// What all API servers did so far, in the order in which it was asked. A request is logged when it is answered, a moment later.
    pub fn audit(&self) -> Result<Vec<audit::Event>, audit::Error> {
        let mut events = Vec::new();
        for server in 0..self.servers().len() {
            events.extend(audit::read(&self.layout.audit_log(server))?);
        }
        events.sort_by_key(|event| event.received);
        Ok(events)
    }

    /// What etcd holds under a prefix such as `/registry/secrets/shop/`: keys and values as they lie there, one after the other.
    pub async fn etcd_dump(&self, prefix: &str) -> Result<Vec<u8>, Error> {
        let base64 = |bytes: &[u8]| data_encoding::BASE64.encode(bytes);
        let mut end = prefix.as_bytes().to_vec();
        if let Some(last) = end.last_mut() {
            *last = last.saturating_add(1);
        }
        let body = serde_json::json!({"key": base64(prefix.as_bytes()), "range_end": base64(&end)}).to_string();
        let request = http::Request::post("/v3/kv/range").body(body.into_bytes()).map_err(|e| Error::Answer(e.to_string()))?;
        let answer: serde_json::Value = clients::anonymous(&self.etcd_url)?.request(request).await?;
        let pairs = answer["kvs"].as_array().into_iter().flatten().flat_map(|pair| [&pair["key"], &pair["value"]]);
        let mut dump = Vec::new();
        for text in pairs.filter_map(serde_json::Value::as_str) {
            dump.extend(data_encoding::BASE64.decode(text.as_bytes()).map_err(|e| Error::Answer(e.to_string()))?);
        }
        Ok(dump)
    }

    /// Starts API server `number` and waits until it is ready.
    async fn serve(&self, number: usize) -> Result<Server, Error> {
        let name = components::apiserver_name(number);
        on_free_ports(&name, async |[port]: [Port; 1]| {
            let url = uri(&format!("https://127.0.0.1:{}", port.number()))?;
            let (binaries, layout) = (&self.binaries, &self.layout);
            let spec = components::apiserver(binaries, layout, &self.pki, &self.etcd_url, number, port.number(), &self.options);
            let process = self.add(&name, spec)?;
            self.apiserver_ready(&process, &name, url.clone()).await?;
            Ok(Server { url, _port: port })
        })
        .await
    }

    async fn apiserver_ready(&self, process: &Process, name: &str, url: http::Uri) -> Result<(), Error> {
        let client = self.admin_on(url)?;
        until(process, name, "/readyz", || async { get(&client, "/readyz").await.ok() }).await.map(drop)
    }

    /// Waits for what kube-controller-manager does first: without this service account no pod could be created.
    async fn controllers_work(&self) -> Result<(), Error> {
        let name = "kube-controller-manager";
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin()?, "default");
        let made = || async { accounts.get_opt("default").await.ok().flatten() };
        until(&*self.process(name)?, name, "the service account of namespace default", made).await.map(drop)
    }

    fn add(&self, name: &str, spec: Spec) -> Result<Arc<Process>, Error> {
        let process = Arc::new(Process::start(spec)?);
        self.processes().insert(name.to_owned(), process.clone());
        Ok(process)
    }

    fn servers(&self) -> MutexGuard<'_, Vec<Server>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn processes(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Process>>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Nothing of it is needed any more: all at once, instead of one grace after the other.
        for process in self.processes().values() {
            process.kill_soon();
        }
    }
}

async fn start_etcd(binaries: &ControlPlane, layout: &Layout) -> Result<(Process, String, [Port; 2]), Error> {
    on_free_ports("etcd", async |ports: [Port; 2]| {
        let [client, peer] = ports.each_ref().map(|port| format!("http://127.0.0.1:{}", port.number()));
        let etcd = Process::start(components::etcd(binaries, layout, &client, &peer))?;
        let http = clients::anonymous(&client)?;
        until(&etcd, "etcd", "/health", || async { get(&http, "/health").await.ok() }).await?;
        Ok((etcd, client, ports))
    })
    .await
}

/// Starts a listener, on other ports when a stranger took one between our look and its bind.
async fn on_free_ports<T, const N: usize>(component: &str, mut start: impl AsyncFnMut([Port; N]) -> Result<T, Error>) -> Result<T, Error> {
    let mut attempts = PORT_ATTEMPTS;
    loop {
        attempts -= 1;
        let ports = Port::take_all().map_err(|source| Error::Port { component: component.to_owned(), source })?;
        match start(ports).await {
            Err(Error::Ended { tail, .. }) if attempts > 0 && tail.contains("address already in use") => {}
            result => return result,
        }
    }
}

/// Waits for a sign of life of a component, and fails at once when the component ends.
async fn until<T, F, Look>(process: &Process, component: &str, what: &str, look: F) -> Result<T, Error>
where
    F: FnMut() -> Look,
    Look: Future<Output = Option<T>>,
{
    let tail = || process.log_tail(15);
    tokio::select! {
        found = wait::until(what, READY_WITHIN, look) => {
            found.map_err(|source| Error::NotReady { component: component.to_owned(), source, tail: tail() })
        }
        exit = process.exited() => Err(Error::Ended { component: component.to_owned(), exit: format!("{exit:?}"), tail: tail() }),
    }
}

async fn get(client: &Client, path: &str) -> Result<String, Error> {
    let request = http::Request::get(path).body(Vec::new()).map_err(|e| Error::Answer(e.to_string()))?;
    Ok(client.request_text(request).await?)
}

/// The directory, made if need be, and its end if it is a temporary one.
fn directory(options: &Options) -> Result<(Layout, Option<Scratch>), Error> {
    let Some(dir) = &options.dir else {
        let scratch = Scratch::new().map_err(|source| Error::File { path: std::env::temp_dir(), source })?;
        return Ok((Layout(scratch.path().to_owned()), Some(scratch)));
    };
    let file = |source| Error::File { path: dir.clone(), source };
    fs::create_dir_all(dir).map_err(file)?;
    // Absolute: the processes get these paths, and kubeconfigs are read from anywhere.
    let layout = Layout(fs::canonicalize(dir).map_err(file)?);
    match layout.etcd().exists() {
        true => Err(Error::DirectoryInUse(layout.0)),
        false => Ok((layout, None)),
    }
}

fn uri(url: &str) -> Result<http::Uri, Error> {
    url.parse().map_err(|error| Error::Answer(format!("{url}: {error}")))
}

fn write(path: &Path, content: &str) -> Result<(), Error> {
    crate::pki::write_private(path, content).map_err(|source| Error::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(tail: &str) -> Error {
        Error::Ended { component: "etcd".into(), exit: "Code(1)".into(), tail: tail.into() }
    }

    #[tokio::test]
    async fn a_lost_port_is_tried_again_elsewhere_and_nothing_else_is() {
        let mut tried = Vec::new();
        let started = on_free_ports("etcd", async |[port]: [Port; 1]| {
            tried.push(port.number());
            if tried.len() < 3 { Err(ended("listen tcp 127.0.0.1:20000: bind: address already in use")) } else { Ok(()) }
        });
        assert!(started.await.is_ok());
        assert_eq!(tried.len(), 3);

        let mut tries = 0;
        let broken = on_free_ports("etcd", async |_: [Port; 1]| {
            tries += 1;
            Err::<(), _>(ended("unknown flag"))
        });
        assert!(broken.await.unwrap_err().to_string().contains("unknown flag"));
        assert_eq!(tries, 1);

        let mut tries = 0;
        let never = on_free_ports("etcd", async |_: [Port; 1]| {
            tries += 1;
            Err::<(), _>(ended("address already in use"))
        });
        assert!(never.await.is_err());
        assert_eq!(tries, PORT_ATTEMPTS);
    }

    #[test]
    fn a_directory_with_an_earlier_cluster_is_refused() {
        let scratch = Scratch::new().unwrap();
        let options = Options { dir: Some(scratch.path().join("new")), ..Options::default() };
        let (layout, temporary) = directory(&options).unwrap();
        assert!(temporary.is_none() && layout.0.is_absolute());
        fs::create_dir(layout.etcd()).unwrap();
        assert!(matches!(directory(&options), Err(Error::DirectoryInUse(_))));
    }
}
