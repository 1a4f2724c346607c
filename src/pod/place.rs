//! Where a pod finds itself: the files that its kubelet keeps for it, and the address of the API server.
//!
//! Token and CA bundle are rotated under a running pod, so both are read again for every conversation. Called by the commands of the pod's
//! side.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use kube::Config;
use rustls::pki_types::{CertificateDer, pem::PemObject};

use crate::{
    api::Requester,
    cluster::{
        ApiError, Clock,
        act::Asks,
        client,
        identity::{self, IdentityError},
    },
    core::names::hex_sha256,
};

/// Why there is no way to ask from here.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PlaceError {
    /// No address of an API server.
    #[error(
        "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this command runs in a pod, whose kubelet sets both (as a person use `daypass request --pod NAME`)"
    )]
    NoAddress,
    /// The address is none.
    #[error("{0:?} is no address of an API server: KUBERNETES_SERVICE_HOST is a name or an IP address, KUBERNETES_SERVICE_PORT a number")]
    Address(String),
    /// The CA bundle.
    #[error("cannot read the API server's CA bundle {path}: {problem}")]
    Roots {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The token.
    #[error("{0}. The pod needs a token of its own: do not set automountServiceAccountToken: false, or project one to {1}")]
    Token(IdentityError, PathBuf),
    /// No client can be built.
    #[error("cannot talk to the API server: {0}")]
    Client(#[from] ApiError),
}

/// One conversation with the API server, as this pod.
#[derive(Clone)]
pub struct Session {
    /// The pod's requests.
    pub asks: Asks,
    /// What the API server will stamp; filled in for clusters that do not stamp.
    pub requester: Requester,
    /// The pod's namespace.
    pub namespace: String,
}

/// The way to the API server.
pub struct Place {
    source: Source,
    clock: Arc<Clock>,
    open: Mutex<Option<(String, Session)>>,
}

enum Source {
    /// As a kubelet lays it out.
    Mounted { server: http::Uri, directory: PathBuf },
    /// A conversation that a person opened.
    Opened,
}

impl Place {
    /// A pod's: its service-account directory, and the address that its environment names.
    pub fn mounted(directory: &Path, host: Option<&str>, port: Option<&str>, clock: Arc<Clock>) -> Result<Self, PlaceError> {
        let (Some(host), Some(port)) = (host, port) else { return Err(PlaceError::NoAddress) };
        let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
        let text = format!("https://{host}:{port}");
        let server = text.parse().ok().filter(|_| port.parse::<u16>().is_ok_and(|port| port > 0)).ok_or(PlaceError::Address(text))?;
        Ok(Self { source: Source::Mounted { server, directory: directory.to_owned() }, clock, open: Mutex::default() })
    }

    /// A person's, who holds the token of a pod.
    pub fn opened(session: Session, clock: Arc<Clock>) -> Self {
        Self { source: Source::Opened, clock, open: Mutex::new(Some((String::new(), session))) }
    }

    /// The clock that hears every answer.
    pub fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }

    /// The conversation, begun anew when token or CA bundle are no longer those that it was begun with.
    pub fn session(&self) -> Result<Session, PlaceError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Source::Mounted { server, directory } = &self.source else {
            return open.as_ref().map(|(_, session)| session.clone()).ok_or(PlaceError::NoAddress);
        };
        let (roots_file, token_file) = (directory.join("ca.crt"), directory.join("token"));
        let roots_error = |problem: String| PlaceError::Roots { path: roots_file.clone(), problem };
        let roots = std::fs::read(&roots_file).map_err(|error| roots_error(error.to_string()))?;
        let token = identity::read_now(&token_file).map_err(|error| PlaceError::Token(error, token_file.clone()))?;
        let begun_with = format!("{} {}", hex_sha256(&roots), token.fingerprint());
        if let Some((with, session)) = open.as_ref()
            && *with == begun_with
        {
            return Ok(session.clone());
        }
        let certificates: Vec<_> =
            CertificateDer::pem_slice_iter(&roots).collect::<Result<_, _>>().map_err(|e| roots_error(e.to_string()))?;
        if certificates.is_empty() {
            return Err(roots_error("there is no certificate in it".into()));
        }
        let mut config = Config::new(server.clone());
        config.root_cert = Some(certificates.into_iter().map(|der| der.to_vec()).collect());
        config.auth_info.token_file = Some(token_file.display().to_string());
        let session = Session {
            asks: Asks::new(client::build(config, &self.clock)?, &token.namespace),
            requester: token.requester,
            namespace: token.namespace,
        };
        *open = Some((begun_with, session.clone()));
        Ok(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(host: Option<&str>, port: Option<&str>) -> Result<Place, PlaceError> {
        Place::mounted(Path::new("/nowhere"), host, port, Arc::default())
    }

    #[test]
    fn an_address_that_is_missing_or_none_is_named() {
        for (host, port, says) in [
            (None, Some("443"), "KUBERNETES_SERVICE_HOST"),
            (Some("10.0.0.1"), None, "KUBERNETES_SERVICE_PORT"),
            (Some("10.0.0.1"), Some("https"), "\"https://10.0.0.1:https\""),
            (Some("10.0.0.1"), Some("0"), "a number"),
            (Some("not a host"), Some("443"), "not a host"),
        ] {
            let problem = place(host, port).err().expect("no address").to_string();
            assert!(problem.contains(says), "{problem}");
        }
    }

    #[test]
    fn addresses_of_both_families_are_taken() {
        for host in ["10.0.0.1", "fd00::1", "[fd00::1]", "kubernetes.default.svc"] {
            assert!(place(Some(host), Some("443")).is_ok(), "{host}");
        }
    }

    #[test]
    fn what_the_kubelet_would_have_laid_out_is_named_when_it_is_missing() {
        let problem = place(Some("10.0.0.1"), Some("443")).unwrap().session().err().expect("nothing is there").to_string();
        assert!(problem.contains("/nowhere/ca.crt"), "{problem}");
    }
}
