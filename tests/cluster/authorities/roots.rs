//! Where verifiers find the roots, and authorities that people bring.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use stage::Stage;

/// A certificate authority of a company.
pub type Ca = CertifiedIssuer<'static, KeyPair>;

/// Its certificate, from a minute ago for as long as given.
pub fn parameters(name: &str, seconds: i64) -> CertificateParams {
    let now = time::OffsetDateTime::from_unix_timestamp(jiff::Timestamp::now().as_second()).unwrap();
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    parameters.use_authority_key_identifier_extension = true;
    parameters.not_before = now - time::Duration::days(1);
    parameters.not_after = now + time::Duration::seconds(seconds);
    parameters
}

/// A root of its own.
pub fn root(name: &str, seconds: i64) -> Ca {
    Ca::self_signed(parameters(name, seconds), KeyPair::generate().unwrap()).unwrap()
}

/// The same, allowed to sign revocation lists.
pub fn list_signer(name: &str, seconds: i64) -> Ca {
    let mut parameters = parameters(name, seconds);
    parameters.key_usages.push(KeyUsagePurpose::CrlSign);
    Ca::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

/// Puts a Secret of type kubernetes.io/tls into the operator's namespace, as a platform team would.
pub async fn bring(stage: &Stage, name: &str, certificate: &str, key: &str, roots: Option<&str>) {
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let mut data = BTreeMap::from([("tls.crt".to_owned(), bytes(certificate)), ("tls.key".to_owned(), bytes(key))]);
    data.extend(roots.map(|roots| ("ca.crt".to_owned(), bytes(roots))));
    let metadata = ObjectMeta { name: Some(name.into()), ..Default::default() };
    let secret = Secret { metadata, type_: Some("kubernetes.io/tls".into()), data: Some(data), ..Default::default() };
    let params = PatchParams::apply("platform").force();
    secrets(stage).patch(name, &params, &Patch::Apply(&secret)).await.unwrap();
}

/// The Secrets of the operator's namespace.
pub fn secrets(stage: &Stage) -> Api<Secret> {
    Api::namespaced(stage.cluster.admin().unwrap(), &stage.operator_name().namespace)
}

/// The roots of an authority that everybody may read, as this client reads them.
pub async fn published(stage: &Stage, client: &Client, authority: &str) -> Option<String> {
    let maps = Api::<ConfigMap>::namespaced(client.clone(), &stage.operator_name().namespace);
    maps.get("daypass-roots").await.unwrap().data?.remove(&format!("{authority}.pem"))
}

/// The same from the ClusterTrustBundle.
pub async fn bundled(stage: &Stage, authority: &str) -> String {
    let name = format!("daypass.dev:x509:{authority}");
    let bundle = stage.cluster.kubectl(["get", "clustertrustbundle", &name, "-o", "jsonpath={.spec.trustBundle}"]).await.unwrap();
    assert!(bundle.status.success(), "{}", String::from_utf8_lossy(&bundle.stderr));
    String::from_utf8(bundle.stdout).unwrap()
}
