//! `cargo xtask bench revoke`: how long after the API server's event a credential's checker has been told, how long until it is dead, what
//! that costs in API calls, and how long ten thousand ends take that are due at once.
//!
//! `kinds` says what is lent and how, `alone` ends one after the other on an idle control plane, `storm` all at once.

mod alone;
mod kinds;
mod storm;

use std::{path::PathBuf, time::Instant};

use clap::Args;

use self::kinds::lent_accounts;
use super::{
    ground::Ground,
    machine::{self, Machine},
    report::Report,
};
use crate::binary;

/// Arguments of `cargo xtask bench revoke`.
#[derive(Args, Debug)]
pub struct RevokeArgs {
    /// Write machine and figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// A few of everything, in about 5 minutes: shows that it works, its figures are no figures.
    #[arg(long)]
    quick: bool,
    /// How many grants end at once.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    at_once: Option<u32>,
    /// Measure this daypass instead of one built from here: to compare two.
    #[arg(long, value_name = "FILE")]
    daypass: Option<PathBuf>,
}

/// Ends of each kind, one after the other; of tokens that were just used, which take ten seconds each, a third.
const EACH: usize = 30;
const EACH_QUICK: usize = 3;
/// Ends at once.
const AT_ONCE: u32 = 10_000;
const AT_ONCE_QUICK: u32 = 300;

/// Runs it.
pub async fn run(args: RevokeArgs) -> Result<(), String> {
    let (each, at_once) = if args.quick { (EACH_QUICK, AT_ONCE_QUICK) } else { (EACH, AT_ONCE) };
    let at_once = args.at_once.unwrap_or(at_once) as usize;
    let begun = Instant::now();
    let daypass = args.daypass.clone().map_or_else(|| binary::daypass(true), Ok)?;
    eprintln!("two control planes are set: one with Daypass, one for the bare client");
    let (with, without) = futures::try_join!(Ground::set_lending(Some(&daypass), lent_accounts()), Ground::set_lending(None, vec![]))?;
    let version = with.stage.cluster.admin().map_err(|e| e.to_string())?.apiserver_version().await.map_err(|e| e.to_string())?;
    let mut report = Report::new(Machine::here(version.git_version));
    let measured = measure(&with, &without, each, at_once, &mut report).await;
    report.machine().load_after = machine::load();
    println!("{}", report.text("bench revoke"));
    println!("(took {:.0} s)", begun.elapsed().as_secs_f64());
    if let Some(file) = &args.json {
        report.write(file)?;
    }
    with.stop().await;
    // What was measured until then is printed above all the same.
    measured
}

async fn measure(with: &Ground, without: &Ground, each: usize, at_once: usize, report: &mut Report) -> Result<(), String> {
    alone::measure(with, each, report).await?;
    storm::measure(with, without, at_once, report).await
}
