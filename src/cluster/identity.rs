//! Who this pod is, the operator's or any other, read from the claims of its own pod-bound token.

use std::path::{Path, PathBuf};

use kube::Config;
use serde::Deserialize;

use crate::{api::Requester, core::names::hex_sha256, secret::Secret};

/// Why a pod's own token cannot serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// There is no token file.
    #[error(
        "no token file is configured: Daypass must run with its own pod-bound service-account token (a tokenFile in the kubeconfig, or the in-cluster mount)"
    )]
    NoTokenFile,
    /// The file cannot be read.
    #[error("cannot read the token file {path}: {error}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: String,
    },
    /// It is no service-account token.
    #[error("the token file holds no service-account token: {0}")]
    NotAToken(&'static str),
    /// The token is bound to no pod.
    #[error("the token is not bound to a pod: only the token that a kubelet projects into a pod says which pod asks")]
    NotPodBound,
}

/// A token and the identity that the API server will read from it.
#[derive(Clone, Debug)]
pub struct OwnToken {
    /// The bearer token.
    pub token: Secret<String>,
    /// What `spec.requester` must say for it.
    pub requester: Requester,
    /// The namespace it belongs to.
    pub namespace: String,
}

impl OwnToken {
    /// Differs when the token differs, and says nothing of it.
    pub fn fingerprint(&self) -> String {
        hex_sha256(self.token.expose().as_bytes())
    }

    /// The same way to the API server, with this token as the only identity.
    pub fn log_in(&self, mut config: Config) -> Config {
        config.auth_info = kube::config::AuthInfo { token: Some(self.token.expose().as_str().into()), ..Default::default() };
        config
    }
}

/// Reads the operator's token anew: the kubelet replaces it about once an hour.
pub async fn read(path: Option<&PathBuf>) -> Result<OwnToken, IdentityError> {
    let path = path.ok_or(IdentityError::NoTokenFile)?.clone();
    let read = tokio::task::spawn_blocking({
        let path = path.clone();
        move || read_now(&path)
    });
    read.await.unwrap_or_else(|error| Err(IdentityError::Unreadable { path, error: error.to_string() }))
}

/// Reads a token file.
pub fn read_now(path: &Path) -> Result<OwnToken, IdentityError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| IdentityError::Unreadable { path: path.to_owned(), error: error.to_string() })?;
    parse(text.trim())
}

/// The identity in a token that the API server has just handed out.
pub fn of(token: &Secret<String>) -> Result<OwnToken, IdentityError> {
    parse(token.expose())
}

/// The identity in a token. The signature is not checked: the API server does that when the token is used.
pub fn parse(token: &str) -> Result<OwnToken, IdentityError> {
    let payload = token.split('.').nth(1).ok_or(IdentityError::NotAToken("it is no JWT"))?;
    let payload =
        data_encoding::BASE64URL_NOPAD.decode(payload.as_bytes()).map_err(|_| IdentityError::NotAToken("its payload is no base64url"))?;
    let claims: Claims =
        serde_json::from_slice(&payload).map_err(|_| IdentityError::NotAToken("its claims are not those of a service account"))?;
    let pod = claims.kubernetes.pod.ok_or(IdentityError::NotPodBound)?;
    let node = claims.kubernetes.node.unwrap_or_default();
    let requester = Requester {
        username: format!("system:serviceaccount:{}:{}", claims.kubernetes.namespace, claims.kubernetes.serviceaccount.name),
        uid: claims.kubernetes.serviceaccount.uid,
        pod_name: pod.name,
        pod_uid: pod.uid,
        node_name: node.name,
        node_uid: node.uid,
        credential_id: claims.jti.map(|jti| format!("JTI={jti}")).unwrap_or_default(),
    };
    Ok(OwnToken { token: Secret::new(token.to_owned()), requester, namespace: claims.kubernetes.namespace })
}

#[derive(Deserialize)]
struct Claims {
    jti: Option<String>,
    #[serde(rename = "kubernetes.io")]
    kubernetes: KubernetesClaims,
}

#[derive(Deserialize)]
struct KubernetesClaims {
    namespace: String,
    serviceaccount: Named,
    pod: Option<Named>,
    node: Option<Named>,
}

#[derive(Deserialize, Default)]
struct Named {
    name: String,
    uid: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.sig", data_encoding::BASE64URL_NOPAD.encode(claims.as_bytes()))
    }

    #[test]
    fn reads_what_the_api_server_will_put_into_user_info() {
        let claims = r#"{"jti":"j1","kubernetes.io":{"namespace":"daypass-system","serviceaccount":{"name":"daypass","uid":"s1"},
            "pod":{"name":"daypass-0","uid":"p1"},"node":{"name":"node1","uid":"n1"}}}"#;
        let own = parse(&token(claims)).unwrap();
        assert_eq!(own.requester.username, "system:serviceaccount:daypass-system:daypass");
        assert_eq!((own.requester.pod_uid.as_str(), own.requester.credential_id.as_str()), ("p1", "JTI=j1"));
        assert!(!format!("{own:?}").contains("sig"), "the token is not printed");
    }

    #[test]
    fn a_token_without_a_pod_cannot_serve() {
        let claims = r#"{"kubernetes.io":{"namespace":"n","serviceaccount":{"name":"s","uid":"u"}}}"#;
        assert_eq!(parse(&token(claims)).unwrap_err(), IdentityError::NotPodBound);
        assert!(matches!(parse("opaque").unwrap_err(), IdentityError::NotAToken(_)));
    }
}
