//! The certificates and keys of one control plane, made new for each.
//!
//! They last for ever and lie unencrypted in the cluster's directory, as a test's may. Called by [`crate::Cluster`].

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// The most groups a client certificate can carry: rcgen keeps one value per attribute type, and organisation has two names there.
pub const MAX_GROUPS: usize = 2;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// rcgen refused.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// Not written.
    #[error("cannot write {path}: {source}", path = .path.display())]
    Write {
        /// Where to.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// More groups than fit.
    #[error("a client certificate holds at most {MAX_GROUPS} groups, not {0}: impersonate instead")]
    TooManyGroups(usize),
}

/// A certificate and its key.
#[derive(Clone)]
pub struct ClientCertificate {
    /// The certificate, PEM.
    pub certificate: String,
    /// Its key, PEM.
    pub key: String,
}

/// The authority and the files that the servers are started with.
pub struct Pki {
    directory: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    ca: Vec<u8>,
}

impl Pki {
    /// Makes everything and writes it to a directory, keys readable by this user only.
    pub fn create(directory: &Path) -> Result<Self, Error> {
        fs::create_dir_all(directory).map_err(|source| Error::Write { path: directory.to_owned(), source })?;
        let key = KeyPair::generate()?;
        let mut params = named("daypass-devcluster", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        let pki = Self { directory: directory.to_owned(), ca: certificate.der().to_vec(), issuer: Issuer::new(params, key) };
        pki.write("ca.crt", &certificate.pem())?;
        pki.write_server_certificate()?;
        // kube-apiserver signs tokens with any of RSA and ECDSA; P-256 is what rcgen makes.
        let signing = KeyPair::generate()?;
        pki.write("service-accounts.key", &signing.serialize_pem())?;
        pki.write("service-accounts.pub", &signing.public_key_pem())?;
        Ok(pki)
    }

    /// A file by its name: `ca.crt`, `apiserver.crt`, `apiserver.key`, `service-accounts.key`, `service-accounts.pub`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The authority's certificate, DER.
    pub fn ca(&self) -> &[u8] {
        &self.ca
    }

    /// A certificate that authenticates as a user in these groups, at most [`MAX_GROUPS`].
    pub fn client(&self, user: &str, groups: &[&str]) -> Result<ClientCertificate, Error> {
        if groups.len() > MAX_GROUPS {
            return Err(Error::TooManyGroups(groups.len()));
        }
        self.issue(named(user, groups), ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn write_server_certificate(&self) -> Result<(), Error> {
        let service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"];
        let names = ["localhost", "127.0.0.1", "10.0.0.1"].into_iter().chain(service);
        let mut params = CertificateParams::new(names.map(str::to_owned).collect::<Vec<_>>())?;
        params.distinguished_name = named("kube-apiserver", &[]).distinguished_name;
        let server = self.issue(params, ExtendedKeyUsagePurpose::ServerAuth)?;
        self.write("apiserver.crt", &server.certificate)?;
        self.write("apiserver.key", &server.key)
    }

    fn issue(&self, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Result<ClientCertificate, Error> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(ClientCertificate { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    fn write(&self, name: &str, content: &str) -> Result<(), Error> {
        let path = self.file(name);
        write_private(&path, content).map_err(|source| Error::Write { path, source })
    }
}

/// Writes a new file that only this user can read.
pub(crate) fn write_private(path: &Path, content: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(content.as_bytes())
}

/// Parameters with the subject that Kubernetes reads a user and its groups from.
fn named(user: &str, groups: &[&str]) -> CertificateParams {
    let organisations = [DnType::OrganizationName, DnType::CustomDnType(vec![2, 5, 4, 10])];
    let mut subject = DistinguishedName::new();
    for (attribute, group) in organisations.into_iter().zip(groups) {
        subject.push(attribute, *group);
    }
    subject.push(DnType::CommonName, user);
    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    params
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn more_groups_than_fit_are_refused_not_dropped() {
        let scratch = Scratch::new().unwrap();
        let pki = Pki::create(&scratch.path().join("pki")).unwrap();
        assert!(pki.client("jane", &["a", "b"]).is_ok());
        assert!(matches!(pki.client("jane", &["a", "b", "c"]), Err(Error::TooManyGroups(3))));
    }

    #[test]
    fn keys_are_readable_by_their_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let scratch = Scratch::new().unwrap();
        let pki = Pki::create(&scratch.path().join("pki")).unwrap();
        for name in ["apiserver.key", "service-accounts.key"] {
            assert_eq!(fs::metadata(pki.file(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        }
    }
}
