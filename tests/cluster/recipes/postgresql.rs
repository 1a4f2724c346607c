//! A real PostgreSQL, and psql beside an agent and through exec.

use std::{path::Path, process::Stdio};

use devcluster::{supervisor::Exit, wait};
use jiff::Timestamp;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    sync::{Mutex, MutexGuard},
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{
    applied::{LIFE, NAMESPACE, applied, kubectl},
    hosted::Hosted,
    launch::Launch,
};
use crate::{
    judges::{Files, certificates},
    postgres::server::{self, Postgres},
    scene::SOON,
    support::{Running, shared},
};

/// What the server knows of the certificate that this connection was opened with.
const SERIAL: &str = "SELECT client_serial FROM pg_stat_ssl WHERE pid = pg_backend_pid();";

#[tokio::test]
async fn a_connection_is_kept_across_a_renewal_and_a_new_one_shows_the_new_certificate() {
    if !server::is_installed() {
        return;
    }
    let here = shared();
    let (postgres, _turn) = database(&here).await;
    applied(&here, "postgresql.md").await;
    let pod = Hosted::take(&here, "orders-ledger").await;
    let agent = pod.container("daypass").await.start();
    pod.started("daypass", &agent).await;
    let directory = pod.volume("credential");
    let application = at(pod.container("app").await, &postgres);

    let (chain, ends) = (read(&directory, "tls.crt"), read(&directory, "expires-at"));
    let mut kept = Session::open(&application).await;
    let first = kept.ask(SERIAL).await;
    assert_eq!(first, serial(&chain));
    let over: Timestamp = ends.trim().parse().unwrap();
    let renewed = || async { (read(&directory, "tls.crt") != chain && Timestamp::now() > over).then_some(()) };
    wait::until("a renewal, and the end of the first certificate", LIFE + SOON, renewed).await.unwrap();
    assert_eq!(kept.ask(SERIAL).await, first, "the same connection, beyond its certificate's end");

    // Another renewal may come between a look at the file and the login.
    let before = serial(&read(&directory, "tls.crt"));
    let fresh = Session::open(&application).await.ask(SERIAL).await;
    assert!([before, serial(&read(&directory, "tls.crt"))].contains(&fresh) && fresh != first, "the certificate of now: {fresh}");
    drop(kept);
    assert_eq!(agent.stop().await, Exit::Code(0));
    pod.given_back().await;
    let said = application.instead(&["psql", "-XAtw", "-c", SERIAL]).run().await;
    assert!(said.code != 0, "without a certificate nobody comes in: {said:?}");
}

#[tokio::test]
async fn psql_runs_through_exec_and_its_connection_outlives_a_renewal() {
    if !server::is_installed() {
        return;
    }
    let here = shared();
    let (postgres, _turn) = database(&here).await;
    applied(&here, "postgresql.md").await;
    let pod = Hosted::take(&here, "orders-cleanup").await;
    let installed = pod.container("daypass").await.run().await;
    assert_eq!(installed.code, 0, "{installed:?}");
    let psql = at(pod.container("psql").await, &postgres);
    let said = psql.run().await;
    assert_eq!((said.code, said.out.as_str()), (0, "DELETE 2\n"), "the recipe's own command: {said:?}");

    let files = Files::new();
    files.write("first", "").write(
        "script",
        format!(
            "{SERIAL}\n\\! cp \"$DAYPASS_DIR/expires-at\" {0}; while cmp -s \"$DAYPASS_DIR/expires-at\" {0}; do sleep 0.1; done\n{SERIAL}\n\\connect\n{SERIAL}\n",
            files.path("first").display()
        ),
    );
    let said = psql.instead(&["psql", "-XAtqw", "-v", "ON_ERROR_STOP=1", "-f", files.path("script").to_str().unwrap()]).run().await;
    let serials: Vec<_> = said.out.lines().collect();
    assert!(said.code == 0 && serials.len() == 3, "{said:?}");
    assert_eq!(serials[0], serials[1], "a connection is kept");
    assert_ne!(serials[1], serials[2], "a new one shows the new certificate");
    pod.given_back().await;
}

#[tokio::test]
async fn libpq_refuses_a_key_that_others_may_read() {
    if !server::is_installed() {
        return;
    }
    let here = shared();
    let (postgres, _turn) = database(&here).await;
    applied(&here, "postgresql.md").await;
    let pod = Hosted::take(&here, "orders-ledger").await;
    let mut agent = pod.container("daypass").await;
    agent.words.extend(["--mode", "0644"].map(String::from));
    let agent = agent.start();
    pod.started("daypass", &agent).await;
    let said = at(pod.container("app").await, &postgres).instead(&["psql", "-XAtw", "-c", SERIAL]).run().await;
    assert!(said.code != 0 && said.err.contains("has group or world access"), "{said:?}");
    agent.stop().await;
}

/// A database as the recipe describes it, and the ConfigMap with who signed its certificate: one at a time, since that has one name.
async fn database(here: &Running) -> (Postgres, MutexGuard<'static, ()>) {
    static TURN: Mutex<()> = Mutex::const_new(());
    let turn = TURN.lock().await;
    // The class's authority is there once the class is.
    applied(here, "README.md").await;
    let roots = crate::authorities::published(&here.stage, &here.stage.cluster.admin().unwrap(), "default").await.unwrap();
    let postgres = Postgres::start(&roots, &["orders"]).await;
    for (database, sql) in [
        ("postgres", "CREATE DATABASE orders OWNER orders"),
        ("orders", "CREATE TABLE done (at timestamptz); ALTER TABLE done OWNER TO orders"),
        ("orders", "INSERT INTO done VALUES (now()), (now() - interval '31 days'), (now() - interval '1 year')"),
    ] {
        postgres.administer(database, sql).unwrap();
    }
    let ca = here.stage.file("orders-db-ca.crt");
    std::fs::write(&ca, postgres.certificate()).unwrap();
    let from = format!("--from-file=ca.crt={}", ca.display());
    let map = kubectl(here, &["-n", NAMESPACE, "create", "configmap", "orders-db-ca", &from, "--dry-run=client", "-o", "yaml"]).await;
    super::applied::apply_text(here, "orders-db-ca", &map).await;
    (postgres, turn)
}

/// With the database's address in the place of the manifest's.
fn at(launch: Launch, postgres: &Postgres) -> Launch {
    for name in ["PGHOST", "PGPORT"] {
        assert!(launch.env.iter().any(|(known, _)| known == name), "the recipe names {name}");
    }
    let path =
        std::env::join_paths([postgres.programs().to_owned()].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())));
    let launch = launch.env("PGHOST", "127.0.0.1").env("PGPORT", &postgres.port().to_string());
    launch.env("PATH", path.unwrap().to_str().unwrap())
}

/// psql on one connection.
struct Session {
    psql: tokio::process::Child,
    answers: Lines<BufReader<tokio::process::ChildStdout>>,
}

impl Session {
    async fn open(application: &Launch) -> Self {
        let launch = application.clone().instead(&["psql", "-XAtqw"]);
        let mut command = tokio::process::Command::from(launch.command());
        let mut psql = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let answers = BufReader::new(psql.stdout.take().unwrap()).lines();
        Self { psql, answers }
    }

    async fn ask(&mut self, sql: &str) -> String {
        self.psql.stdin.as_mut().unwrap().write_all(format!("{sql}\n").as_bytes()).await.unwrap();
        let answer = tokio::time::timeout(SOON, self.answers.next_line()).await.expect("psql answers");
        answer.unwrap().expect("psql goes on")
    }
}

fn read(directory: &Path, file: &str) -> String {
    std::fs::read_to_string(directory.join(file)).unwrap()
}

/// The serial number as PostgreSQL writes it: in decimal digits.
fn serial(chain: &str) -> String {
    let chain = certificates(chain);
    let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
    leaf.tbs_certificate.serial.to_string()
}
