//! Clients and kubeconfigs for any identity.
//!
//! A client's connections belong to the runtime that made it, and tests run on many: each call makes a new client. None retries by itself:
//! a test must see what its one request did.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
};

use data_encoding::BASE64;
use kube::{Client, Config, config::AuthInfo};
use serde_json::json;

use super::{Cluster, Error, uri, write};
use crate::pki::{ClientCertificate, write_private};

impl Cluster {
    /// The administrator, member of system:masters.
    pub fn admin(&self) -> Result<Client, Error> {
        self.client(certified(&self.admin))
    }

    /// The administrator at one of the API servers: the first is 0.
    pub fn admin_at(&self, server: usize) -> Result<Client, Error> {
        let urls = self.server_urls();
        let url = urls.get(server).ok_or_else(|| Error::NoSuchProcess {
            name: super::components::apiserver_name(server),
            known: format!("{} API servers", urls.len()),
        })?;
        self.admin_on(url.clone())
    }

    /// The administrator's kubeconfig.
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.layout.admin_kubeconfig()
    }

    /// A user with a client certificate of its own, in at most two groups besides `system:authenticated`.
    pub fn client_for_user(&self, user: &str, groups: &[&str]) -> Result<Client, Error> {
        self.client(certified(&self.pki.client(user, groups)?))
    }

    /// Whoever this bearer token stands for.
    pub fn client_with_token(&self, token: &str) -> Result<Client, Error> {
        self.client(AuthInfo { token: Some(token.to_owned().into()), ..AuthInfo::default() })
    }

    /// The administrator pretending to be somebody: only what is given is sent, so no `uid` means none.
    pub fn client_impersonating(
        &self,
        user: &str,
        uid: Option<&str>,
        groups: &[&str],
        extra: &BTreeMap<String, Vec<String>>,
    ) -> Result<Client, Error> {
        let mut auth = certified(&self.admin);
        auth.impersonate = Some(user.to_owned());
        auth.impersonate_uid = uid.map(str::to_owned);
        auth.impersonate_groups = Some(groups.iter().map(|group| (*group).to_owned()).collect());
        auth.impersonate_user_extra = Some(extra.clone().into_iter().collect::<HashMap<_, _>>());
        self.client(auth)
    }

    /// How clients reach an API server and trust it, with no identity: for clients that need more than the ones here.
    pub fn config(&self, url: http::Uri) -> Config {
        let mut config = plain(url);
        config.root_cert = Some(vec![self.pki.ca().to_vec()]);
        config
    }

    /// Writes a kubeconfig for a user with a client certificate of its own, in at most two groups: for kubectl as that person.
    pub fn kubeconfig_for_user(&self, path: &Path, user: &str, groups: &[&str]) -> Result<(), Error> {
        write(path, &self.kubeconfig(&self.first_server()?, &embedded(&self.pki.client(user, groups)?))?)
    }

    /// Writes a kubeconfig for the bearer of a token that is read from a file again and again, as a pod's is. The server may be a proxy
    /// without TLS.
    pub fn kubeconfig_with_token_file(&self, path: &Path, token_file: &Path, server: &http::Uri) -> io::Result<()> {
        let user = json!({"tokenFile": token_file});
        write_private(path, &self.kubeconfig(server, &user).map_err(io::Error::other)?)
    }

    pub(super) fn admin_on(&self, url: http::Uri) -> Result<Client, Error> {
        let mut config = self.config(url);
        config.auth_info = certified(&self.admin);
        Ok(Client::try_from(config)?)
    }

    pub(super) fn write_kubeconfigs(&self) -> Result<(), Error> {
        let controllers = self.pki.client("system:kube-controller-manager", &[])?;
        let files = [(self.layout.admin_kubeconfig(), &self.admin), (self.layout.controller_manager_kubeconfig(), &controllers)];
        for (path, certificate) in files {
            write(&path, &self.kubeconfig(&self.first_server()?, &embedded(certificate))?)?;
        }
        Ok(())
    }

    fn client(&self, auth: AuthInfo) -> Result<Client, Error> {
        let mut config = self.config(self.first_server()?);
        config.auth_info = auth;
        Ok(Client::try_from(config)?)
    }

    fn first_server(&self) -> Result<http::Uri, Error> {
        self.server_urls().into_iter().next().ok_or_else(|| Error::Answer("no API server was started yet".to_owned()))
    }

    fn kubeconfig(&self, server: &http::Uri, user: &serde_json::Value) -> Result<String, Error> {
        let mut cluster = json!({"server": server.to_string()});
        if server.scheme() == Some(&http::uri::Scheme::HTTPS) {
            cluster["certificate-authority"] = json!(self.ca_file());
        }
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "devcluster", "cluster": cluster}],
            "users": [{"name": "devcluster", "user": user}],
            "contexts": [{"name": "devcluster", "context": {"cluster": "devcluster", "user": "devcluster"}}],
            "current-context": "devcluster",
        });
        serde_saphyr::to_string(&kubeconfig).map_err(|error| Error::Answer(error.to_string()))
    }
}

/// A client without identity, for servers that speak plain HTTP.
pub(super) fn anonymous(url: &str) -> Result<Client, Error> {
    Ok(Client::try_from(plain(uri(url)?))?)
}

fn plain(url: http::Uri) -> Config {
    let mut config = Config::new(url);
    config.default_retry = false;
    config
}

fn certified(certificate: &ClientCertificate) -> AuthInfo {
    AuthInfo {
        client_certificate_data: Some(base64(&certificate.certificate)),
        client_key_data: Some(base64(&certificate.key).into()),
        ..AuthInfo::default()
    }
}

/// A kubeconfig's user.
fn embedded(certificate: &ClientCertificate) -> serde_json::Value {
    json!({"client-certificate-data": base64(&certificate.certificate), "client-key-data": base64(&certificate.key)})
}

fn base64(pem: &str) -> String {
    BASE64.encode(pem.as_bytes())
}
