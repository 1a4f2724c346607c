//! A PostgreSQL of one's own on loopback that knows people by nothing but certificates: method `cert`, the common name is the role.

use std::{
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use devcluster::{
    supervisor::{Process, Spec},
    wait,
};
use rcgen::{CertificateParams, KeyPair};

use crate::{judges::Files, scene::SOON};

/// Who may come: over TLS with a certificate of the configured roots and the role's name in it; the administrator by the socket.
const HBA: &str = "\
hostssl all all 127.0.0.1/32 cert
local   all postgres         trust
";

/// A running server; dropping it stops it.
pub struct Postgres {
    port: u16,
    process: Process,
    programs: PathBuf,
    // Last: the server ends before its files go.
    files: Files,
}

/// What a client shows.
pub struct Identity {
    /// Chain in PEM.
    pub certificate: String,
    /// Key in PEM.
    pub key: String,
}

impl Postgres {
    /// Starts one that trusts these roots, with these roles.
    pub async fn start(roots: &str, roles: &[&str]) -> Self {
        let programs = programs().expect("asked before");
        let files = Files::new();
        let data = files.path("data");
        // The socket and everything else lie in the directory of the tests; a name as long as /tmp allows stays below the limit of 107.
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
        files
            .write("server.crt", certificate.pem())
            .write("server.key", key.serialize_pem())
            .write("roots.crt", roots)
            .write("hba.conf", HBA);
        std::fs::set_permissions(files.path("server.key"), PermissionsExt::from_mode(0o600)).unwrap();
        own(&files.path("."));
        let initdb =
            [programs.join("initdb").display().to_string(), "-D".into(), data.display().to_string(), "-U".into(), "postgres".into()];
        let made = as_postgres(&initdb).args(["--auth=trust", "--no-sync"]).output().unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));

        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = |name: &str| files.path(name).display().to_string();
        let settings = [
            format!("port={port}"),
            "listen_addresses=127.0.0.1".into(),
            format!("unix_socket_directories={}", file("")),
            "fsync=off".into(),
            "ssl=on".into(),
            format!("ssl_cert_file={}", file("server.crt")),
            format!("ssl_key_file={}", file("server.key")),
            format!("ssl_ca_file={}", file("roots.crt")),
            format!("hba_file={}", file("hba.conf")),
        ];
        let server = [programs.join("postgres").display().to_string(), "-D".into(), data.display().to_string()];
        let words = words_as_postgres(&server);
        let spec = Spec::new(&words[0], files.path("server.log"))
            .args(&words[1..])
            .args(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]));
        let postgres = Self { port, process: Process::start(spec).unwrap(), programs, files };
        postgres.answers().await;
        for role in roles {
            postgres.administer("postgres", &format!("CREATE ROLE \"{role}\" LOGIN")).unwrap();
        }
        postgres
    }

    /// Connects as this role with whatever identity, and asks the server who it is; the error is what libpq says.
    pub fn log_in(&self, role: &str, identity: Option<&Identity>) -> Result<String, String> {
        let files = Files::new();
        let mut connection =
            format!("host=127.0.0.1 port={} dbname=postgres user={role} sslmode=verify-full connect_timeout=10", self.port);
        connection += &format!(" sslrootcert={}", self.files.path("server.crt").display());
        // Absent files mean no client certificate.
        connection += &format!(" sslcert={} sslkey={}", files.path("tls.crt").display(), files.path("tls.key").display());
        if let Some(identity) = identity {
            files.write("tls.crt", &identity.certificate).write("tls.key", &identity.key);
            std::fs::set_permissions(files.path("tls.key"), PermissionsExt::from_mode(0o600)).unwrap();
        }
        self.psql(&connection, "SELECT session_user")
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its certificate in PEM, which clients trust.
    pub fn certificate(&self) -> String {
        std::fs::read_to_string(self.files.path("server.crt")).unwrap()
    }

    /// Where psql is.
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// Runs SQL in a database as its administrator.
    pub fn administer(&self, database: &str, sql: &str) -> Result<String, String> {
        self.psql(&format!("host={} port={} dbname={database} user=postgres", self.files.path("").display(), self.port), sql)
    }

    fn psql(&self, connection: &str, sql: &str) -> Result<String, String> {
        let output = Command::new(self.programs.join("psql")).args([connection, "-XAtw", "-c", sql]).output().unwrap();
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(said(&output.stdout)) } else { Err(said(&output.stderr)) }
    }

    async fn answers(&self) {
        let look = || async {
            assert!(self.process.exit().is_none(), "PostgreSQL ended: {}", self.process.log_tail(20));
            self.administer("postgres", "SELECT 1").ok()
        };
        wait::until("PostgreSQL to answer", SOON, look).await.unwrap();
    }
}

/// Whether there is a PostgreSQL to ask. A machine with nothing but Rust, Go and a C compiler has none, and is told so; in CI it has to be
/// there.
pub fn is_installed() -> bool {
    let found = programs().is_some();
    assert!(found || std::env::var_os("CI").is_none(), "PostgreSQL is not installed: apt-get install postgresql");
    if !found {
        eprintln!("PostgreSQL's server programs are not installed: this judge is not asked (apt-get install postgresql)");
    }
    found
}

/// Where the newest installed PostgreSQL has its programs: Debian keeps them off the PATH.
fn programs() -> Option<PathBuf> {
    let mut installed: Vec<PathBuf> =
        std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path().join("bin")).collect();
    installed.sort();
    let on_path = std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let mut all = installed.into_iter().rev().chain(on_path);
    all.find(|directory| directory.join("initdb").exists())
}

/// It refuses to run as root, so there it runs as the user of Debian's package.
fn words_as_postgres(command: &[String]) -> Vec<String> {
    let root = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"].map(String::from);
    if is_root() { [&root[..], command].concat() } else { command.to_vec() }
}

fn as_postgres(command: &[String]) -> Command {
    let words = words_as_postgres(command);
    let mut process = Command::new(&words[0]);
    process.args(&words[1..]).current_dir("/");
    process
}

/// Gives the files to whoever the server runs as.
fn own(directory: &Path) {
    if is_root() {
        let owned = Command::new("chown").args(["-R", "postgres:postgres"]).arg(directory).status().unwrap();
        assert!(owned.success(), "chown to postgres");
    }
}

/// Whether these tests run as root.
pub fn is_root() -> bool {
    let said = Command::new("id").arg("-u").output().unwrap();
    String::from_utf8_lossy(&said.stdout).trim() == "0"
}
