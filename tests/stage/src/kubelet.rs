//! What a kubelet gives the containers of a pod: a directory with token, CA bundle and namespace, and the address of the API server. The real
//! binary that is started with these is, to the API server, in that pod.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use devcluster::{
    supervisor::{Process, Spec},
    wait,
    workload::{self, TokenOptions},
};
use kube::ResourceExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{Error, Pod, Stage};

/// A pod's mounted files and environment; the volume goes with it.
#[derive(Debug)]
pub struct Mount {
    /// The service-account directory.
    pub directory: PathBuf,
    /// A directory for whatever the pod's containers share; in memory, as an emptyDir with `medium: Memory` is.
    pub volume: PathBuf,
    server: http::Uri,
}

impl Pod {
    /// Lays out the files of this pod.
    pub fn mount(&self, stage: &Stage) -> Result<Mount, Error> {
        let unique = format!("{}.{}", self.namespace, self.pod.name_any());
        let directory = stage.file(&format!("{unique}.serviceaccount"));
        // One control plane's directory differs from any other's; that of a volume follows it.
        let cluster = stage.cluster.dir().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let volume = PathBuf::from(format!("/dev/shm/{cluster}.{unique}"));
        for made in [&directory, &volume] {
            std::fs::create_dir_all(made).map_err(Error::file(made.display().to_string()))?;
        }
        let server = stage.cluster.server_urls().into_iter().next().unwrap_or_default();
        let mount = Mount { directory, volume, server };
        let roots = std::fs::read(stage.cluster.ca_file()).map_err(Error::file("the CA bundle"))?;
        mount.write("ca.crt", &roots)?;
        mount.write("namespace", self.namespace.as_bytes())?;
        mount.write("token", self.token.as_bytes())?;
        Ok(mount)
    }

    /// Rotates the pod's token, as its kubelet does about once an hour.
    pub async fn rotate_token(&self, stage: &Stage, mount: &Mount) -> Result<(), Error> {
        let token = workload::bound_token(&stage.cluster.admin()?, &self.pod, &TokenOptions::default()).await?;
        mount.write("token", token.as_bytes())
    }
}

impl Mount {
    /// Replaces a mounted file.
    pub fn write(&self, file: &str, content: &[u8]) -> Result<(), Error> {
        let (beside, path) = (self.directory.join(format!(".{file}")), self.directory.join(file));
        std::fs::write(&beside, content).and_then(|()| std::fs::rename(&beside, &path)).map_err(Error::file(path.display().to_string()))
    }

    /// The environment that a kubelet sets, and the directory, which in a container is where everybody looks.
    pub fn environment(&self) -> [(&'static str, String); 3] {
        [
            ("KUBERNETES_SERVICE_HOST", self.server.host().unwrap_or_default().to_owned()),
            ("KUBERNETES_SERVICE_PORT", self.server.port_u16().unwrap_or_default().to_string()),
            ("DAYPASS_SERVICE_ACCOUNT_DIR", self.directory.display().to_string()),
        ]
    }

    /// A command of this pod that ends by itself.
    pub fn command(&self, binary: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(binary);
        command.args(args).envs(self.environment()).env_remove("KUBECONFIG");
        command
    }

    /// A process of this pod that runs until it is stopped.
    pub fn start(&self, binary: &Path, log: &Path, args: &[&str]) -> Result<Process, Error> {
        let mut spec = Spec::new(binary, log).args(args.iter().copied());
        for (name, value) in self.environment() {
            spec = spec.env(name, value);
        }
        spec.grace = std::time::Duration::from_secs(30);
        Ok(Process::start(spec)?)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.volume).ok();
    }
}

/// The address that a process of the pod's side said it listens on.
pub async fn listening(process: &Process) -> Result<String, Error> {
    let look = || async {
        let log = std::fs::read_to_string(process.log()).unwrap_or_default();
        let line = log.lines().rev().find(|line| line.contains("starting") || line.contains("serving"))?.to_owned();
        line.split("address=").nth(1).map(|rest| rest.split_whitespace().next().unwrap_or_default().to_owned())
    };
    Ok(wait::until("a process to listen", std::time::Duration::from_secs(30), look).await?)
}

/// What a path of somebody's HTTP port answers: status and text.
pub async fn get(address: &str, path: &str) -> Result<(u16, String), Error> {
    let exchange = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = exchange.await.map_err(Error::file(format!("GET {path} at {address}")))?;
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
    Ok((status, text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()))
}
