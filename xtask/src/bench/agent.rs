//! `cargo xtask bench agent`: what the pod's side costs and how fast it is. A1 time to a first credential, A2 overlap of renewals, A3 size
//! and memory, A4 many agents after an outage of the operator.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::Args;
use daypass::install::Values;
use devcluster::{Options, supervisor::Process, wait};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde_json::json;
use stage::{Mount, Operator, OperatorOptions, Pod, Stage};

use super::{
    machine::{self, Machine},
    report::{Goal, Report, Row},
};
use crate::binary;

/// Arguments of `cargo xtask bench agent`.
#[derive(Args, Debug)]
pub struct AgentArgs {
    /// Write machine and figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// A tenth of everything: shows that it works, its figures are no figures.
    #[arg(long)]
    quick: bool,
    /// Measure this daypass instead of one built from here, for instance the static one of the image.
    #[arg(long, value_name = "FILE")]
    daypass: Option<PathBuf>,
}

/// Name of the class, and of the namespace and the account that may have it.
const CLASS: &str = "bench-agent";
/// Life of credentials whose renewals are looked at.
const RENEWED: Duration = Duration::from_secs(10);
/// Life of the many agents' credentials.
const CROWD: Duration = Duration::from_secs(60);
/// How long the operator is away: longer than the crowd's credentials live, and than a request is waited for.
const OUTAGE: Duration = Duration::from_secs(150);

struct Ground {
    stage: Stage,
    operator: Operator,
    daypass: PathBuf,
}

/// Measures everything.
pub async fn run(args: AgentArgs) -> Result<(), String> {
    let daypass = args.daypass.clone().map_or_else(|| binary::daypass(true), Ok)?;
    let (firsts, renewals, crowd) = if args.quick { (3, 3, 20) } else { (20, 10, 200) };
    let ground = Ground::set(daypass).await?;
    let version = ground.stage.cluster.admin().map_err(said)?.apiserver_version().await.map_err(said)?;
    let mut report = Report::new(Machine::here(version.git_version));
    let measured = async {
        eprintln!("A1: first credentials");
        ground.first(firsts, &mut report).await?;
        eprintln!("A2, A3: renewals, size, memory");
        ground.renewals(renewals, &mut report).await?;
        eprintln!("A4: {crowd} agents and an outage of {} s", OUTAGE.as_secs());
        ground.crowd(crowd, &mut report).await
    };
    let measured = measured.await;
    report.machine().load_after = machine::load();
    println!("{}", report.text("bench agent"));
    if let Some(file) = &args.json {
        report.write(file)?;
    }
    ground.operator.stop().await;
    measured
}

impl Ground {
    async fn set(daypass: PathBuf) -> Result<Self, String> {
        let stage = Stage::set(Options::default(), Values::default()).await.map_err(said)?;
        let operator = stage.operator(&daypass, OperatorOptions { log: "info".into(), ..Default::default() }).await.map_err(said)?;
        operator.ready().await.map_err(said)?;
        let class = json!({
            "apiVersion": "daypass.dev/v1alpha1", "kind": "CredentialClass", "metadata": {"name": CLASS},
            "spec": {"ttl": {"default": "5m", "max": "15m"}, "x509": {"ca": {"managed": {}}, "trustDomain": "bench.example"}},
        });
        let policy = json!({
            "apiVersion": "daypass.dev/v1alpha1", "kind": "ClusterAccessPolicy", "metadata": {"name": CLASS},
            "spec": {"subjects": [{"namespaces": [CLASS], "serviceAccountNames": [CLASS]}], "classes": [CLASS]},
        });
        stage.platform(class).await.map_err(said)?;
        stage.platform(policy).await.map_err(said)?;
        let ready = format!("dpclass/{CLASS}");
        let waited = stage.cluster.kubectl(["wait", "--for=condition=Ready", "--timeout=30s", &ready]).await.map_err(said)?;
        if !waited.status.success() {
            return Err(format!("the class is not Ready: {}", String::from_utf8_lossy(&waited.stderr)));
        }
        Ok(Self { stage, operator, daypass })
    }

    async fn pod(&self, name: &str) -> Result<(Pod, Mount), String> {
        let pod = self.stage.pod(CLASS, name, CLASS).await.map_err(said)?;
        let mount = pod.mount(&self.stage).map_err(said)?;
        Ok((pod, mount))
    }

    fn agent(&self, mount: &Mount, name: &str, ttl: Duration) -> Result<Process, String> {
        let (directory, ttl) = (mount.volume.join("creds").display().to_string(), format!("{}s", ttl.as_secs()));
        let args = ["agent", "--class", CLASS, "--ttl", &ttl, "--dir", &directory, "--listen", "127.0.0.1:0"];
        mount.start(&self.daypass, &self.stage.file(&format!("{name}.log")), &args).map_err(said)
    }

    /// From the start of `exec` to the start of its command, one after the other.
    async fn first(&self, times: usize, report: &mut Report) -> Result<(), String> {
        let (_pod, mount) = self.pod("first").await?;
        let mut seconds = vec![];
        for _ in 0..times {
            let begun = Timestamp::now();
            let mut command =
                tokio::process::Command::from(mount.command(&self.daypass, &["exec", "--class", CLASS, "--", "date", "+%s.%N"]));
            let output = command.output().await.map_err(said)?;
            let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            let at: f64 = text.parse().map_err(|_| format!("exec: {}", String::from_utf8_lossy(&output.stderr)))?;
            seconds.push(at - begun.as_millisecond() as f64 / 1000.0);
        }
        report.rows(Row::of("A1", "start of exec to start of its command, s", &seconds, Some(Goal::AtMost(1.0))));
        Ok(())
    }

    /// How long the last credential still lived when the next was in place, and what the agent takes.
    async fn renewals(&self, times: usize, report: &mut Report) -> Result<(), String> {
        let (_pod, mount) = self.pod("renewals").await?;
        let agent = self.agent(&mount, "renewals", RENEWED)?;
        let directory = mount.volume.join("creds");
        let mut ends = wait::until("a first credential", Duration::from_secs(30), || async { end_of(&directory) }).await.map_err(said)?;
        let mut overlaps = vec![];
        for _ in 0..times {
            let fresh =
                wait::until("a renewal", 3 * RENEWED, || async { end_of(&directory).filter(|end| *end != ends) }).await.map_err(said)?;
            overlaps.push(ends.duration_since(Timestamp::now()).as_secs_f64());
            ends = fresh;
        }
        let least = overlaps.iter().copied().fold(f64::INFINITY, f64::min);
        let measure = format!("what the last credential of {} s still lives when the next is in place, s", RENEWED.as_secs());
        report.rows(Row::of("A2", measure, &overlaps, None));
        report.rows([Row::once("A2", "the least of these: no gap", least, Some(Goal::AtLeast(0.0)))]);
        let size = std::fs::metadata(&self.daypass).map_err(said)?.len() as f64 / 1e6;
        report.rows([Row::once("A3", "size of the binary, MB", size, Some(Goal::AtMost(20.0)))]);
        let (now, most) = machine::memory_of(agent.pid()).ok_or("the agent is gone")?;
        report.rows([
            Row::once("A3", format!("RSS of an agent after {times} renewals, MB"), now, Some(Goal::AtMost(15.0))),
            Row::once("A3", "the most that it had, MB", most, None),
        ]);
        agent.stop().await;
        Ok(())
    }

    /// Many agents, each in a pod of its own, while the operator is away for longer than their credentials live.
    async fn crowd(&self, size: usize, report: &mut Report) -> Result<(), String> {
        let pods: Vec<(Pod, Mount)> =
            stream::iter(0..size).map(|n| async move { self.pod(&format!("crowd-{n}")).await }).buffer_unordered(16).try_collect().await?;
        let mut agents = vec![];
        for (number, (_, mount)) in pods.iter().enumerate() {
            agents.push(self.agent(mount, &format!("crowd-{number}"), CROWD)?);
        }
        let live = || async { pods.iter().all(|(_, mount)| is_live(&mount.volume.join("creds"))).then_some(()) };
        wait::until("all agents to hold a credential", Duration::from_secs(240), live).await.map_err(said)?;
        self.operator.stop().await;
        let away = Timestamp::now();
        tokio::time::sleep(OUTAGE).await;
        let back = Timestamp::now();
        self.operator.process.start_again().map_err(said)?;
        let begun = Instant::now();
        wait::until("all agents to hold a credential again", Duration::from_secs(300), live).await.map_err(said)?;
        let again = begun.elapsed().as_secs_f64();
        let creates: Vec<Timestamp> = self
            .stage
            .cluster
            .audit()
            .map_err(said)?
            .iter()
            .filter(|event| event.is("create", "accessrequests") && !event.dry_run() && event.username().ends_with(&format!(":{CLASS}")))
            .map(|event| event.received)
            .collect();
        let during = creates.iter().filter(|at| **at >= away && **at < back).count() as f64 / size as f64;
        let busiest = |from: Timestamp, to: Timestamp| {
            let within: Vec<i64> = creates.iter().filter(|at| **at >= from && **at < to).map(|at| at.as_second()).collect();
            within.iter().map(|second| within.iter().filter(|other| *other == second).count()).max().unwrap_or_default() as f64
        };
        let share = 100.0 / size as f64;
        report.rows([
            Row::once("A4", format!("{size} agents: from the operator's start until all hold a credential again, s"), again, None),
            Row::once("A4", format!("requests made by an agent in the {} s of the outage", OUTAGE.as_secs()), during, None),
            Row::once("A4", "requests made in the busiest second of the outage, % of all agents", busiest(away, back) * share, None),
            Row::once(
                "A4",
                "requests made in the busiest second after the return, % of all agents",
                busiest(back, Timestamp::now()) * share,
                Some(Goal::AtMost(20.0)),
            ),
        ]);
        for agent in &agents {
            agent.signal("TERM").await;
        }
        Ok(())
    }
}

fn end_of(directory: &Path) -> Option<Timestamp> {
    std::fs::read_to_string(directory.join("expires-at")).ok()?.trim().parse().ok()
}

fn is_live(directory: &Path) -> bool {
    end_of(directory).is_some_and(|end| end > Timestamp::now())
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}
