//! `cargo xtask bench`: figures of performance.md, measured on control planes of its own. Nothing here judges but by the goals written there.
//!
//! `frequency` is the detector, on simulated traffic; `agent` is the pod's side; `revoke` is the ends; of grants, `throughput` P1 and P5, `budget` P2, `lag` P4 and P7, `standing` P6, P8 and P9; `ground` is what they stand on, `answers` what they look
//! at, `bare` what Daypass is compared with, `report` what comes out. docs/benchmarks.md says how to read it.
#![allow(clippy::disallowed_methods, reason = "measures, so it looks at clocks; plays pods, people and the bare client, who all write")]

mod agent;
mod answers;
mod bare;
mod budget;
mod frequency;
mod ground;
mod lag;
mod machine;
mod report;
mod revoke;
mod standing;
mod stats;
mod throughput;

use std::{
    os::unix::process::CommandExt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::{Args, Subcommand};
use daypass::api::Delivery;

use self::{
    bare::{Bare, Template},
    budget::Lives,
    ground::Ground,
    lag::Lags,
    machine::Machine,
    report::Report,
    throughput::Rounds,
};
use crate::binary;

/// Arguments of `cargo xtask bench`.
#[derive(Args, Debug)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Grants a second against a bare client, API calls, lag at the end of life, CPU and memory (about 8 minutes).
    Grants(GrantsArgs),
    /// The pod's side: first credential, renewals, size, memory, many agents after an outage (about 12 minutes).
    Agent(agent::AgentArgs),
    /// The ends: seconds to told and to dead by kind, API calls, ten thousand due at once against bare DELETEs (about 20 minutes).
    Revoke(revoke::RevokeArgs),
    /// The frequency detector, on simulated traffic: needs no control plane (about 10 minutes; `--quick` 1).
    Frequency(frequency::FrequencyArgs),
}

/// Arguments of `cargo xtask bench grants`.
#[derive(Args, Debug)]
struct GrantsArgs {
    /// Write machine and figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// A tenth of everything, in about 4 minutes: shows that it works, its figures are no figures.
    #[arg(long)]
    quick: bool,
    /// Measure this daypass instead of one built from here: to compare two.
    #[arg(long, value_name = "FILE")]
    daypass: Option<PathBuf>,
}

/// How much of everything.
struct Size {
    rounds: usize,
    requests: usize,
    lives: usize,
    stream: usize,
    live: usize,
    idle: Duration,
}

const FULL: Size = Size { rounds: 5, requests: 400, lives: 20, stream: 40, live: 10_000, idle: Duration::from_secs(60) };
const QUICK: Size = Size { rounds: 3, requests: 60, lives: 5, stream: 20, live: 1_000, idle: Duration::from_secs(20) };

/// Life of the credentials of the stream.
const STREAM_TTL: &str = "15s";

/// Runs a benchmark; that of grants in an optimised build: what asks and what is compared must not be slower than what it measures.
pub async fn run(args: BenchArgs) -> Result<(), String> {
    match args.what {
        What::Grants(_) | What::Revoke(_) if cfg!(debug_assertions) => Err(again_optimised()),
        What::Grants(args) => grants(args).await,
        What::Revoke(args) => revoke::run(args).await,
        // Here the processes that are measured do all the work.
        What::Agent(args) => agent::run(args).await,
        // Its arithmetic is optimised in every profile, and it is nobody else's time that it takes.
        What::Frequency(args) => frequency::run(&args),
    }
}

async fn grants(args: GrantsArgs) -> Result<(), String> {
    let size = if args.quick { QUICK } else { FULL };
    let begun = Instant::now();
    let daypass = args.daypass.clone().map_or_else(|| binary::daypass(true), Ok)?;
    eprintln!("two control planes are set: one with Daypass, one for the bare client");
    let (with, without) = futures::try_join!(Ground::set(Some(&daypass)), Ground::set(None))?;
    let version = with.stage.cluster.admin().map_err(|e| e.to_string())?.apiserver_version().await.map_err(|e| e.to_string())?;
    let mut report = Report::new(Machine::here(version.git_version));
    let measured = measure(&with, &without, &size, &mut report).await;
    report.machine().load_after = machine::load();
    println!("{}", report.text("bench grants"));
    println!("(took {:.0} s)", begun.elapsed().as_secs_f64());
    if let Some(file) = &args.json {
        report.write(file)?;
    }
    with.stop().await;
    // What was measured until then is printed above all the same.
    measured
}

/// Everything, in an order in which one part does not disturb the next: what removes tombstones comes after what measures rates.
async fn measure(with: &Ground, without: &Ground, size: &Size, report: &mut Report) -> Result<(), String> {
    let csr = Arc::new(Template::take(with, Delivery::CSR).await?);
    let secret = Arc::new(Template::take(with, Delivery::Secret).await?);
    let bare = Bare::new(without, &csr, &secret).await?;
    let mut others = vec![];
    for delivery in [Delivery::CSR, Delivery::Secret] {
        eprintln!("P1, P5: grants a second, {}", delivery.as_str());
        let rounds = Rounds::measure(with, without, &bare, delivery, size.rounds, size.requests).await?;
        rounds.report(report);
        others.extend(rounds.others());
    }
    report.machine().others = others.iter().sum::<f64>() / others.len().max(1) as f64;
    eprintln!("P2: whole lives, of which every call is counted");
    let lives = Lives::live(with, size.lives).await?;
    eprintln!("P4, P7: a steady stream of grants and ends");
    Lags::measure(with, without, &bare, size.stream, STREAM_TTL).await?.report(report);
    eprintln!("P6: {} live", size.live);
    let live = standing::fill(with, size.live).await?;
    if let Some(operator) = &with.operator {
        eprintln!("P9: nothing happens for {} s", size.idle.as_secs());
        standing::idle(with, operator, live, size.idle, report).await?;
        eprintln!("P8: a restart");
        standing::restart(with, operator, live, report).await?;
    }
    eprintln!("P2: the audit log is read");
    lives.report(with, report).await
}

/// Replaces this process by an optimised build of itself. Returns only if that cannot be had.
fn again_optimised() -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = std::process::Command::new(cargo);
    command.args(["run", "--release", "--package", "xtask", "--"]).args(std::env::args_os().skip(1));
    format!("cannot run cargo: {}", command.exec())
}
